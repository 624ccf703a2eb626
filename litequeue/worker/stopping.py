"""How a worker stops: what signals ask for, and the ladder from warm over soft to cold.

    SIGTERM, one SIGINT     warm   what runs is finished; what has not started is given back at once
    SIGQUIT, two SIGINT     cold   with a soft timeout what runs may first end within it; the rest is given back
    one more during soft    cold   at once

A signal handler only notes the signal and wakes the loop; the loop acts.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from litequeue import exceptions, signals
from litequeue.core import clock

if TYPE_CHECKING:
    from litequeue.worker.pools import Own
    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")

_STOPS: Final = ("SIGTERM", "SIGINT", "SIGBREAK", "SIGQUIT")
_LOOK: Final = 1.0  # seconds between looks while running tasks may end


class Request(NamedTuple):
    """A stop that was asked for."""

    name: str
    """The signal's name, as listeners are told it."""
    cold: bool


class Stopping:
    """What was asked of one worker, and how far its stop has come."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._requests: deque[Request] = deque()
        self._interrupts = 0
        self._timer: threading.Timer | None = None
        self._remapped = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
        self.begun = False
        """Whether a stop has begun, of whatever kind."""
        self.cold = False
        self.exit_code = 0
        self.failure: str | None = None
        """Why the worker stops by itself."""

    # Signals

    def install(self) -> dict[int, Any]:
        """Answer signals from now on; returns who answered them before."""
        handlers: list[tuple[str, Callable[..., None]]] = [(name, self._on_signal) for name in _STOPS]
        handlers.append(("SIGUSR1", self._on_stacks))
        previous: dict[int, Any] = {}
        for name, handler in handlers:
            number = getattr(signal, name, None)
            if number is not None:
                previous[number] = signal.signal(number, handler)
        return previous

    def _on_signal(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        if name == "SIGINT":
            self._interrupts += 1
        cold = name == "SIGQUIT" or self._interrupts > 1 or (name == "SIGTERM" and self._remapped)
        cold = cold or (self._timer is not None and name != "SIGTERM")
        self.ask(name, cold)
        if cold and self._worker.options.pool == "solo" and not self._softly():
            cast("Own", self._worker.pool).strike(exceptions.WorkerTerminate(1))

    def _softly(self) -> bool:
        """Give the task of a solo worker its time; False where there is none, or it is over."""
        seconds = self._worker.options.soft_shutdown_timeout
        if seconds <= 0 or self._timer is not None:
            return False
        self._timer = threading.Timer(seconds, signal.raise_signal, (signal.SIGINT,))
        if hasattr(signal, "pthread_kill"):
            args = (threading.main_thread().ident, signal.SIGQUIT)
            self._timer = threading.Timer(seconds, signal.pthread_kill, args)
        self._timer.daemon = True
        self._timer.start()
        return True

    def _on_stacks(self, number: int, frame: object) -> None:
        self._worker.log_stacks()

    # What was asked for

    def ask(self, name: str, cold: bool = False) -> None:
        """Ask for a stop, from any thread or a signal handler."""
        self._requests.append(Request(name, cold))
        self._worker.wake()

    def asked(self) -> bool:
        """Whether there is something to act on."""
        return bool(self._requests)

    def fail(self, reason: str) -> None:
        """Stop, because the worker cannot do its work."""
        if self.failure is None:
            logger.critical("The worker stops: %s", reason)
        self.failure = reason
        self.exit_code = 1
        self.ask("SIGTERM")

    def act(self) -> bool:
        """Carry out what was asked for; returns whether the worker goes on."""
        while self._requests:
            name, cold = self._requests.popleft()
            if cold:
                self._stop_cold(name)
            elif not self.begun:
                self._stop_warm(name)
        return not self.begun

    # The ladder

    def _stop_warm(self, name: str) -> None:
        self.begun = True
        self._tell(name, "Warm")
        if name == "SIGINT":
            logger.warning("Warm shutdown: the running tasks are finished first (once more to stop at once)")
        else:
            logger.info("Warm shutdown: the running tasks are finished first")
        self._worker.pool.stop()

    def _stop_cold(self, name: str) -> None:
        again, self.begun, self.cold = self.cold, True, True
        self.exit_code = self.exit_code or 1
        if not again:
            self._tell(name, "Cold")
            if self._worker.options.pool != "solo":  # there the task has ended when this is reached
                self._let_finish(self._worker.options.soft_shutdown_timeout)
            logger.warning("Cold shutdown: everything unfinished is given back")
        self.end_pool()

    def _tell(self, name: str, how: str) -> None:
        if signals.worker_shutting_down.receivers:
            node = self._worker.options.node
            signals.worker_shutting_down.send(sender=node, sig=name, how=how, exitcode=self.exit_code)

    def _let_finish(self, seconds: float) -> None:
        """The soft part of a cold stop: running tasks may end within `seconds`; one more signal cuts it short."""
        pool, deadline = self._worker.pool, clock.monotonic() + seconds
        if seconds > 0 and not pool.is_down():
            logger.warning("Soft shutdown: running tasks have %s seconds to finish", seconds)
            pool.stop()
        while not pool.is_down() and not self._requests and (left := deadline - clock.monotonic()) > 0:
            pool.watch(min(left, _LOOK))
            self._worker.answer_calls()

    def end_pool(self) -> None:
        """Kill what still runs, where the pool can; else leave without it."""
        pool = self._worker.pool
        if not pool.kill() and not pool.is_down():
            self._abandon()

    def _abandon(self) -> None:
        """A cold stop of threads: give their tasks back and leave without them, since a thread cannot be killed."""
        worker = self._worker
        if not worker.in_main_thread:  # inside another program: its threads end their tasks, and only then it is over
            while not worker.pool.is_down():
                worker.pool.watch(_LOOK)
            return
        for number in worker.process_ids():
            worker.runtime.store.deregister(number)
        worker.leave_schedule(_LOOK)  # it may be about to register
        logging.shutdown()
        os._exit(self.exit_code or 1)
