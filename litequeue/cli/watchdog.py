"""`litequeue worker -P solo --watchdog`: a process beside a solo worker, which kills it at a hard time limit.

The watchdog starts the same command line again, with its own address in the environment, and that process is the
worker. It passes signals on, hears which task has to end by when, and kills the worker that is late. Then it ends the
task in the name of the dead process, takes that out of the file, and starts the worker again.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litequeue.exceptions import LiteQueueCommandException

if TYPE_CHECKING:
    from litequeue.cli.detach import Background
    from litequeue.cli.invocation import Invocation
    from litequeue.core.records import Ticket
    from litequeue.worker.runtime import Loader, Runtime, WorkerOptions
    from litequeue.worker.watched import Address

_PASSED_ON: Final = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGBREAK")
_COLD: Final = ("SIGQUIT",)
_AGAIN: Final = 0.5  # seconds after which what the file refused is tried again
_TRIES: Final = 20


class Watched(NamedTuple):
    """A command line with --watchdog."""

    command: list[str]
    """What starts the worker."""
    folder: str
    """Where."""
    address: Address | None
    """Its watchdog, where this process is the worker; None: this process is the watchdog."""


def asked_for(call: Invocation) -> Watched:
    """What --watchdog means in this process; called before anything else, as the app may be in another folder.

    LiteQueueCommandException: a program of the user's own has called us, which cannot be started again.
    """
    from litequeue.worker.watched import ENVIRONMENT, Address

    if call.app is not None:
        raise LiteQueueCommandException(
            "--watchdog: it starts the worker by its command line, so write `litequeue -A proj worker -P solo"
            " --watchdog ...` in place of calling the app",
            exit_code=2,
        )
    text = os.environ.pop(ENVIRONMENT, None)  # what a task starts is not watched
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [sys.executable, *flags, "-m", "litequeue", *call.argv]
    return Watched(command, os.getcwd(), None if text is None else Address.read(text))


def checked(options: WorkerOptions, watched: Watched) -> WorkerOptions:
    """The options of a worker that is watched. LiteQueueCommandException: its pool is not solo."""
    if options.pool != "solo":
        better = "keeps hard time limits by itself" if options.pool == "prefork" else "has no hard time limits"
        raise LiteQueueCommandException(
            f"--watchdog belongs to -P solo; pool {options.pool} {better}, leave it out", exit_code=2
        )
    return options if watched.address is None else replace(options, watchdog=watched.address)


def run(watched: Watched, options: WorkerOptions, loader: Loader, background: Background) -> int:
    """Watch the worker until it ends by itself; its exit code."""
    from litequeue.utils.nodenames import node_format

    streams = sys.stdout, sys.stderr
    try:
        loader.set_up_logging(options)
        watchdog = Watchdog(watched, options, loader.load(), background.environment)
        background.let_go(node_format(options.logfile, options.node) if options.logfile else None)
        return watchdog.run()
    finally:
        sys.stdout, sys.stderr = streams


class Due(NamedTuple):
    """The task that runs, and when it has to end."""

    holder: int
    ticket: Ticket
    limit: float
    at: float


class Watchdog:
    """Starts one worker after another."""

    def __init__(
        self, watched: Watched, options: WorkerOptions, runtime: Runtime, environment: Mapping[str, str]
    ) -> None:
        from litequeue.worker.watched import FromWorker

        self._watched = watched
        self._environment = environment
        self._options = options
        self._runtime = runtime
        self._line = FromWorker(secrets.token_bytes(16))
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._signals: deque[str] = deque()
        self._stop: str | None = None
        self._due: Due | None = None
        self._starts = 0

    def run(self) -> int:
        """Until a worker ends by itself, or was killed while it was to stop."""
        with self._answering_signals():
            while True:
                worker = self._start()
                code = self._watch(worker)
                if code is not None:
                    return code if code >= 0 else 128 - code
                if self._stop is not None:
                    return 1 if self._stop in _COLD else 0

    # One worker

    def _start(self) -> subprocess.Popen[bytes]:
        from litequeue.worker.watched import ENVIRONMENT, Address

        address = Address(self._line.port, self._line.token, os.getpid(), self._starts)
        environment = {**os.environ, **self._environment, ENVIRONMENT: address.written()}
        # A group of its own: what the terminal sends to ours comes to it through us, and once.
        group: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        worker = subprocess.Popen(self._watched.command, cwd=self._watched.folder, env=environment, **group)
        self._starts += 1
        self._due = None
        threading.Thread(target=self._tell_end, args=(worker,), name="litequeue-watchdog", daemon=True).start()
        return worker

    def _tell_end(self, worker: subprocess.Popen[bytes]) -> None:
        worker.wait()
        self._ring()

    def _watch(self, worker: subprocess.Popen[bytes]) -> int | None:
        """The exit code of a worker that has ended; None: it was killed at a hard limit, and what it ran is settled."""
        from litequeue.core import clock
        from litequeue.worker.waiting import wait_for

        try:
            while worker.poll() is None:
                left = 60.0 if self._due is None else max(0.0, self._due.at - clock.monotonic())
                wait_for([self._bell, self._line.socket], [], left)
                with suppress(BlockingIOError):
                    self._bell.recv(64)
                self._pass_on(worker)
                self._hear()
                due = self._due
                if due is not None and clock.monotonic() >= due.at and self._kill(worker, due):
                    self._clean_up(due)
                    return None
            return worker.returncode
        except BaseException:
            worker.kill()
            raise

    def _hear(self) -> None:
        from litequeue.core import clock

        for message in self._line.hear():
            self._due = None
            if message.ticket is not None:
                at = clock.monotonic() + message.limit
                self._due = Due(message.holder, message.ticket, message.limit, at)

    # At the limit

    def _kill(self, worker: subprocess.Popen[bytes], due: Due) -> bool:
        """Kill it if it still runs that task."""
        from litequeue.core import clock
        from litequeue.worker.aiming import strike

        held = True

        def still() -> bool:
            nonlocal held
            self._hear()
            held = self._due == due and self._holds(due)
            return held

        killed = strike(worker.pid, still, worker.kill)
        if killed:
            worker.wait()
        elif self._due == due:  # it has ended and we have not heard of it, or the file could not be read
            self._due = due._replace(at=clock.monotonic() + _AGAIN) if held else None
        return killed

    def _holds(self, due: Due) -> bool:
        held = self._runtime.store.held(due.holder)
        return any((claimed.seq, claimed.attempt) == due.ticket for claimed in held)

    def _clean_up(self, due: Due) -> None:
        """End the task of the dead worker, and take all that is the worker's out of the file."""
        import logging
        import time

        from litequeue import exceptions

        for _ in range(_TRIES):
            try:
                self._settle(due)
                return
            except exceptions.OperationalError as error:
                logging.getLogger("litequeue.worker").error("%s; trying again", error)
                time.sleep(_AGAIN)

    def _settle(self, due: Due) -> None:
        from litequeue.core import clock
        from litequeue.worker.afterwards import Afterwards

        store, runtime = self._runtime.store, self._runtime
        again = Afterwards(runtime, self._options, due.holder).time_out(due.holder, due.ticket, due.limit, clock.now())
        reason = again or f"the worker {self._options.node} was killed at a hard time limit"
        for record in store.processes():
            if due.holder in (record.id, record.parent):
                store.bury(record.id, reason, runtime.death_limit, (due.ticket,) if again else ())

    # Signals

    @contextmanager
    def _answering_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self._on_signal)
            for name in _PASSED_ON
            if (number := getattr(signal, name, None)) is not None
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._line.close()

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals.append(signal.Signals(number).name)
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):
            self._ringer.send(b"!")

    def _pass_on(self, worker: subprocess.Popen[bytes]) -> None:
        while self._signals:
            name = self._signals.popleft()
            if name != "SIGUSR1":
                self._stop = name
            with suppress(ProcessLookupError):
                if sys.platform == "win32":
                    worker.send_signal(signal.CTRL_BREAK_EVENT)
                else:
                    worker.send_signal(getattr(signal, name))
