"""Pictures of how things stand, taken at intervals: subclass `Polaroid`, and define `on_shutter`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from litequeue.core import clock
from litequeue.core.rates import parse_rate
from litequeue.events.state import State
from litequeue.signals import Signal

__all__ = ("Polaroid", "Timer", "evcam")

logger = logging.getLogger("litequeue.evcam")

camera_ready = Signal("camera_ready", ("state",))
"""Sent by `evcam` when it begins."""


class _Repeated:
    """Calls a function every so many seconds, in a thread of its own; called itself, it does so at once."""

    def __init__(self, seconds: float, function: Callable[[], Any]) -> None:
        self._seconds = seconds
        self._function = function
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="litequeue-camera", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._function()
            except Exception:
                logger.exception("A snapshot went wrong; the next is taken all the same")

    def __call__(self) -> None:
        self._function()

    def cancel(self) -> None:
        """No more calls; one that is on is waited for."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()


class Timer:
    """What a camera is driven by."""

    def call_repeatedly(self, seconds: float, function: Callable[[], Any]) -> _Repeated:
        """Call `function` every `seconds`, until `cancel()` of what is returned."""
        return _Repeated(seconds, function)


class _Bucket:
    """Lets through no more than a rate."""

    def __init__(self, rate: Any) -> None:
        parsed = parse_rate(rate)
        self._pause = 0.0 if parsed is None else parsed.period / parsed.amount
        self._next = 0.0

    def can_consume(self) -> bool:
        """Whether one more may pass now; then it has."""
        now = clock.monotonic()
        if now < self._next:
            return False
        self._next = now + self._pause
        return True


class Polaroid:
    """Takes a picture of `state` every `freq` seconds, while a `with` block lasts; `maxrate` (`10/m`) bounds them.

    `on_shutter(state)` is called for each, while no event is taken in. With `clear_after` the state forgets then what
    has ended. `on_cleanup` is called every `cleanup_freq` seconds. The last picture is taken at the end of the block.
    """

    timer: Any = None
    shutter_signal = Signal("shutter_signal", ("state",))
    cleanup_signal = Signal("cleanup_signal")
    clear_after = False

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: Any = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: Any = None,
    ) -> None:
        from litequeue.app.current import app_or_default

        self.app = app_or_default(app)
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self.timer = timer or self.timer or Timer()
        self.logger = logger
        self.maxrate = _Bucket(maxrate) if maxrate else None
        self._taking: Any = None
        self._cleaning: Any = None

    def install(self) -> None:
        """Begin."""
        self._taking = self.timer.call_repeatedly(self.freq, self.capture)
        self._cleaning = self.timer.call_repeatedly(self.cleanup_freq, self.cleanup)

    def on_shutter(self, state: State) -> Any:
        """Called for each picture."""

    def on_cleanup(self) -> Any:
        """Called now and then, to clean up what pictures left behind."""

    def capture(self) -> None:
        """Take a picture."""
        self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def shutter(self) -> None:
        """Call `on_shutter`, unless `maxrate` is reached."""
        if self.maxrate is None or self.maxrate.can_consume():
            logger.debug("Shutter: %s", self.state)
            self.shutter_signal.send(sender=self.state)
            self.on_shutter(self.state)

    def cleanup(self) -> None:
        """Call `on_cleanup`."""
        logger.debug("Cleanup: Running...")
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def cancel(self) -> None:
        """Take a last picture, and end."""
        for each in (self._taking, self._cleaning):
            if each is not None:
                each.cancel()
        if self._taking is not None:
            self._taking()
        self._taking = self._cleaning = None

    def __enter__(self) -> Polaroid:
        self.install()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()


def evcam(
    camera: Any,
    freq: float = 1.0,
    maxrate: Any = None,
    loglevel: Any = 0,
    logfile: str | None = None,
    pidfile: str | None = None,
    timer: Any = None,
    app: Any = None,
    *,
    after: int | None = None,
    **kwargs: Any,
) -> None:
    """Take pictures with `camera`, a class or its dotted name, until Ctrl-C; `after` as for a receiver.

    Logging is set up where `loglevel` or `logfile` is given. `pidfile` is held meanwhile; `multi.pidfile.Held`: another
    process holds it. Celery's other options are accepted, and change nothing.
    """
    from litequeue.app.current import app_or_default

    app = app_or_default(app)
    kind = app.resolve(camera) if isinstance(camera, str) else camera
    if loglevel or logfile:
        from litequeue.utils import log

        log.setup(loglevel or None, logfile, **{**log.log_options(app.conf), "redirect_stdouts": False})
    state = app.events.State()
    receiver = app.events.Receiver(handlers={"*": state.event}, after=after)
    with _held(pidfile), kind(state, app=app, freq=freq, maxrate=maxrate, timer=timer):
        camera_ready.send(sender=state, state=state)
        receiver.capture()


@contextmanager
def _held(pidfile: str | None) -> Iterator[None]:
    if pidfile is None:
        yield
        return
    from pathlib import Path

    from litequeue.multi.pidfile import Pidfile

    held = Pidfile(Path(pidfile).absolute())
    try:
        yield
    finally:
        held.release()
