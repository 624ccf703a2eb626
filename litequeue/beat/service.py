"""Running a scheduler: in a program of its own (`litequeue beat`), or inside a worker."""

from __future__ import annotations

import logging
import select
import socket
import threading
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from litequeue import exceptions, signals
from litequeue.beat.in_memory import Scheduler
from litequeue.beat.in_the_file import PersistentScheduler

logger = logging.getLogger("litequeue.beat")

_AFTER_ERROR: Final = 1.0
"""Seconds until the next turn, after one that went wrong."""
_OURS: Final = ("celery.beat:PersistentScheduler", "celery.beat.PersistentScheduler")
"""How programs that come from Celery name the default."""


def scheduler_class(app: Any, given: Any = None) -> type[Scheduler]:
    """The class that `given`, or else the setting `beat_scheduler`, names. ImproperlyConfigured: it is none."""
    asked = given or app.conf.beat_scheduler
    if asked is None or asked in _OURS:
        return PersistentScheduler
    try:
        found = app.resolve(asked) if isinstance(asked, str) else asked
    except ImportError as error:
        raise exceptions.ImproperlyConfigured(f"beat_scheduler {asked!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Scheduler)):
        raise exceptions.ImproperlyConfigured(
            f"beat_scheduler {asked!r} is no scheduler; derive a class from litequeue.beat.Scheduler"
        )
    return found


class Service:
    """A scheduler that runs until it is stopped."""

    scheduler_cls: Any = None

    def __init__(
        self,
        app: Any,
        max_interval: float | None = None,
        schedule_filename: str | None = None,
        scheduler_cls: Any = None,
        remote_control: Any = None,
        hostname: str | None = None,
        *,
        parent: int | None = None,
    ) -> None:
        """`max_interval` is the longest sleep in seconds; `parent` the process number of the worker it is a part of.

        `schedule_filename` and `remote_control` are accepted from Celery: the schedule is in the queue's file.
        """
        self.app = app
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or None
        self.schedule_filename = schedule_filename
        self.scheduler_cls = scheduler_class(app, scheduler_cls or self.scheduler_cls)
        self.hostname = hostname
        self.parent = parent
        self._stopping = False  # set by signal handlers too, which may take no lock
        self._stopped = threading.Event()
        self._interrupt, self._interrupter = socket.socketpair()
        self._interrupt.setblocking(False)
        self._interrupter.setblocking(False)

    @cached_property
    def scheduler(self) -> Any:
        """The scheduler, made when it is first asked for."""
        return self.get_scheduler()

    def get_scheduler(self, lazy: bool = False) -> Any:
        """A scheduler; a `lazy` one has not read its entries."""
        options = {"app": self.app, "max_interval": self.max_interval, "lazy": lazy}
        if issubclass(self.scheduler_cls, PersistentScheduler):
            return self.scheduler_cls(**options, hostname=self.hostname, parent=self.parent)
        return self.scheduler_cls(**options, schedule_filename=self.schedule_filename)

    def start(self, embedded_process: bool = False) -> None:
        """Fire what is due until `stop` is called. StoreLost: the file cannot be used any more."""
        logger.info("beat: Starting...")
        try:
            scheduler = self._made()
            signals.beat_init.send(sender=self)
            if embedded_process:
                signals.beat_embedded_init.send(sender=self)
            while not self._stopping and scheduler is not None:
                self._turn(scheduler)
        except (KeyboardInterrupt, SystemExit):
            self._stopping = True
        finally:
            self.sync()

    run = start

    def _made(self) -> Any:
        """The scheduler; a file that is busy is tried again. None: stopped before."""
        while not self._stopping:
            try:
                return self.scheduler
            except exceptions.StoreBusy as error:
                logger.error("beat: %s", error)
                select.select([self._interrupt], [], [], _AFTER_ERROR)
        return None

    def _turn(self, scheduler: Any) -> None:
        try:
            seconds = scheduler.tick()
        except exceptions.StoreLost:
            raise
        except exceptions.OperationalError as error:
            logger.error("beat: %s", error)
            seconds = _AFTER_ERROR
        except Exception:
            logger.exception("beat: a turn of the scheduler went wrong; it goes on")
            seconds = _AFTER_ERROR
        if seconds and seconds > 0 and not self._stopping:
            self._wait(scheduler, seconds)

    def _wait(self, scheduler: Any, seconds: float) -> None:
        scheduler.wait(seconds, self._interrupt)
        if scheduler.should_sync():
            scheduler._do_sync()

    def stop(self, wait: bool = False) -> None:
        """End after the turn that is on; with `wait`, return when that is so."""
        self._stopping = True
        with suppress(OSError):
            self._interrupter.send(b"!")
        if wait:
            self._stopped.wait()

    def sync(self) -> None:
        """Let the scheduler write down what it has to."""
        scheduler = self.__dict__.get("scheduler")
        try:
            if scheduler is not None:
                with suppress(exceptions.OperationalError):  # whoever looks next sees that this process is gone
                    scheduler.close()
        finally:
            self._stopped.set()
            self._interrupt.close()
            self._interrupter.close()


class EmbeddedService(threading.Thread):
    """A scheduler in a thread of this program: `start()`, `stop()`."""

    def __init__(self, app: Any, max_interval: float | None = None, thread: bool = True, **kwargs: Any) -> None:
        super().__init__(name="litequeue-beat", daemon=True)
        self.service = Service(app, max_interval=max_interval, **kwargs)

    def run(self) -> None:
        """Run the scheduler."""
        self.service.start(embedded_process=True)

    def stop(self) -> None:
        """End it, and wait for its end."""
        self.service.stop()
        if self.is_alive() and self is not threading.current_thread():
            self.join()
