"""Keeping what tasks log, with their rows: a ring of lines for each task that runs.

Whatever is logged in the context of a task, by any logger, is taken where `logging` hands a record to its handlers.
The lines are written by a thread while the task runs, and the last of them by the transaction that ends it. So whoever
logs never waits for the file, and neither does an event loop.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from litequeue import exceptions
from litequeue.core.records import Claimed, Input, LogLine, Outcome, Ticket
from litequeue.utils.log import LoggingProxy, let_through
from litequeue.worker.executor import Executor

if TYPE_CHECKING:
    from litequeue.store.contract import Store
    from litequeue.worker.runtime import Runtime

LONGEST: Final = 4096
"""Characters of a line that are kept."""
CUT: Final = " … (cut)"
"""What stands at the end of a line that was longer."""
INTERVAL: Final = 0.75
"""Seconds after which what a running task has logged is written."""
_IDLE: Final = 5.0  # seconds without a line after which the thread that writes ends
_OURS: Final = "litequeue.worker"  # what the worker says of its tasks is in their rows

_log: ContextVar[TaskLog | None] = ContextVar("litequeue_log", default=None)
_formatter: Final = logging.Formatter()


def make_executor(runtime: Runtime, node: str, holder: int) -> Executor:
    """What runs tasks; where no task keeps what it logs, it knows nothing of that."""
    if not any(task.log_lines for task in runtime.registry.values()):
        return Executor(runtime, node, holder)
    let_through(runtime.task_log_level)
    _listen()
    return KeepingExecutor(runtime, node, holder)


class KeepingExecutor(Executor):
    """Runs tasks, and adds to the outcome of each what it has logged."""

    def run(self, claimed: Claimed, given: Input | None = None, *, eager: bool = False) -> Outcome:
        """Run the task of `claimed` in this thread, and say how it ended."""
        log = self._open_log(claimed)
        if log is None:
            return super().run(claimed, given, eager=eager)
        token = _log.set(log)
        try:
            outcome = super().run(claimed, given, eager=eager)
            _end_printed_lines()
        except BaseException:  # the process ends
            with suppress(exceptions.OperationalError):
                log.write()
            raise
        finally:
            _log.reset(token)
        return outcome._replace(log=log) if log.heard else outcome

    async def run_async(
        self, claimed: Claimed, given: Input | None = None, drive: Callable[[Any], Awaitable[Any]] | None = None
    ) -> Outcome:
        """`run` for a task that is a coroutine."""
        log = self._open_log(claimed)
        if log is None:
            return await super().run_async(claimed, given, drive)
        token = _log.set(log)
        try:
            outcome = await super().run_async(claimed, given, drive)
        finally:
            _log.reset(token)
        return outcome._replace(log=log) if log.heard else outcome

    def _open_log(self, claimed: Claimed) -> TaskLog | None:
        limit = self._registry[claimed.name].log_lines
        return TaskLog(self._runtime.store, claimed, limit, self._runtime.task_log_level) if limit else None


class TaskLog:
    """What one attempt of a task logs; `core.records.Log`. `hear` may be called from any thread."""

    def __init__(self, store: Store, claimed: Claimed, limit: int, level: int) -> None:
        self.limit = limit
        self.heard = False
        """Whether it has logged anything."""
        self._store = store
        self._ticket = Ticket(claimed.seq, claimed.attempt)
        self._level = level
        self._lines: deque[LogLine] = deque(maxlen=limit)
        self._rest: Sequence[LogLine] | None = None
        self._lock = threading.RLock()  # formatting a message may run code that logs
        self._writing = threading.Lock()

    def hear(self, record: logging.LogRecord) -> None:
        """Take a record; never raises."""
        try:
            line = self._line(record)
        except Exception:  # somebody has put something into the record that has no business there
            return
        with self._lock:
            if line is None or self._rest is not None:  # logged by what the task has left behind
                return
            first = not self._lines
            self._lines.append(line)
            self.heard = True
        if first:
            _writer.add(self)

    def _line(self, record: logging.LogRecord) -> LogLine | None:
        name = str(record.name)
        if record.levelno < self._level or name == _OURS or name.startswith(_OURS + "."):
            return None
        at = float(record.created)
        level = max(0, min(int(record.levelno), 1000))
        return LogLine(self._ticket.attempt, at if math.isfinite(at) else 0.0, level, _text(name), text_of(record))

    def write(self) -> None:
        """Write what has been logged since the last time; what the file refuses is kept for the next."""
        with self._writing:
            with self._lock:
                if self._rest is not None or not self._lines:
                    return
                lines, self._lines = self._lines, deque(maxlen=self.limit)
            try:
                self._store.keep_log(self._ticket, tuple(lines), self.limit)
            except BaseException:
                with self._lock:
                    self._lines = deque((*lines, *self._lines), maxlen=self.limit)
                raise

    def rest(self) -> Sequence[LogLine]:
        """What the transaction that ends the attempt is to write. Waits for a write that is under way."""
        if self._rest is None:
            _writer.discard(self)
            with self._writing, self._lock:
                self._rest = tuple(self._lines)
        return self._rest


def text_of(record: logging.LogRecord) -> str:
    """The message of a record, with its traceback, as it is kept."""
    try:
        text = record.getMessage()
    except Exception as error:
        text = f"<message that cannot be formatted: {type(error).__name__}>"
    try:
        if record.exc_info:
            text = f"{text}\n{record.exc_text or _formatter.formatException(record.exc_info)}"
        if record.stack_info:
            text = f"{text}\n{record.stack_info}"
    except Exception:  # what somebody has put there is no exception
        pass
    return _text(text)


def _text(text: str) -> str:
    """What the file can take: no halves of surrogate pairs, and not too long."""
    if len(text) > LONGEST:
        text = text[: LONGEST - len(CUT)] + CUT
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _end_printed_lines() -> None:
    """What a task has printed without an end of line belongs to it, and not to the next one."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LoggingProxy):
            stream.flush()


class Writer:
    """A thread that writes what running tasks have logged; it is there as long as any does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._logs: dict[TaskLog, None] = {}
        self._thread: threading.Thread | None = None

    def add(self, log: TaskLog) -> None:
        """There is something to be written."""
        with self._changed:
            self._logs[log] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="litequeue-task-logs", daemon=True)
                self._thread.start()
            elif len(self._logs) == 1:
                self._changed.notify()

    def discard(self, log: TaskLog) -> None:
        """There is not any more."""
        with self._changed:
            self._logs.pop(log, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._logs, _IDLE):
                    self._thread = None
                    return
            time.sleep(INTERVAL)
            with self._changed:
                logs, self._logs = list(self._logs), {}
            for log in logs:
                try:
                    log.write()
                except exceptions.OperationalError:
                    self.add(log)  # it is tried again


_writer: Final = Writer()


# Listening

_installing: Final = threading.Lock()
_call_handlers = logging.Logger.callHandlers
_listening = False


def _listen() -> None:
    """Hear of every record from now on, whichever logger it comes from and wherever that leads.

    A handler hears only of what gets as far as its own logger, and loggers may keep their records to themselves
    (`propagate`), or lose their handlers when the program sets its logging up again.
    """
    global _call_handlers, _listening
    with _installing:
        if not _listening:
            _call_handlers, _listening = logging.Logger.callHandlers, True
            logging.Logger.callHandlers = _heard  # type: ignore[method-assign]


def _heard(self: logging.Logger, record: logging.LogRecord) -> None:
    log = _log.get()
    if log is not None:
        log.hear(record)
    _call_handlers(self, record)


def _stop_listening() -> None:
    # What a process says that a task has forked is lost: the thread that writes is not in it, and its lock may be held.
    _log.set(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stop_listening)
