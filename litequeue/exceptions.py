"""Every exception litequeue raises.

    LiteQueueError                      the root (also importable as CeleryError)
    ├── ImproperlyConfigured            a setting, a URL, an option or a module that cannot be used
    │   └── SecurityError               pickle beside a world-writable file
    ├── OperationalError                the file could not do it; also kept as Task.OperationalError
    │   ├── StoreBusy                   another process held the file longer than the budget
    │   ├── StoreFull                   no space left (or the page limit of the file)
    │   ├── StoreReadOnly               the file or its folder cannot be written
    │   ├── StoreMissing                the folder does not exist, or the path cannot be opened
    │   ├── StoreForeign                not SQLite, or another program's tables
    │   ├── StoreTooNew                 written by a newer litequeue
    │   ├── StoreTooOld                 written by an older one, and not to be changed now
    │   └── StoreLost                   this process cannot use the file any more
    │       ├── StoreCorrupt            SQLite found damaged pages
    │       ├── StoreMoved              the file was moved, replaced or deleted while open
    │       └── StoreForked             a handle was used on the wrong side of a fork
    ├── SerializationError              a value that cannot cross, named by its path
    │   ├── EncodeError
    │   ├── DecodeError
    │   ├── ContentDisallowed           a serializer that accept_content does not allow
    │   └── PayloadTooLarge
    ├── TaskPredicate                   raised inside a task to steer it
    │   ├── Retry  Reject  Snooze
    │   ├── Ignore
    │   │   └── Replaced                what Task.replace raises
    ├── TaskError
    │   ├── QueueNotFound  IncompleteStream  NotRegistered  AlreadyRegistered
    │   ├── TimeoutError                get() waited long enough
    │   ├── MaxRetriesExceededError  TaskRevokedError  InvalidTaskError  ChordError
    │   ├── DuplicateTaskError          a task id that the file already has
    │   ├── NotUniqueError              a unique key that another task holds
    │   └── RemoteError                 stands in for an exception whose class cannot be rebuilt
    ├── SoftTimeLimitExceeded  TimeLimitExceeded  WorkerLostError  Terminated
    └── LiteQueueCommandException       a command line that cannot be carried out
    WorkerShutdown, WorkerTerminate     SystemExit: stop the worker, warm or cold
    LiteQueueWarning                    the root of warnings

The message says what happened, names the thing, and says what to do.
"""

from __future__ import annotations

import builtins
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litequeue.core.records import Graft, Rerun


class LiteQueueError(Exception):
    """The root of everything litequeue raises."""


CeleryError = LiteQueueError


class LiteQueueWarning(UserWarning):
    """The root of litequeue's warnings."""


CeleryWarning = LiteQueueWarning


class AlwaysEagerIgnored(LiteQueueWarning):
    """`send_task` ignores `task_always_eager`: it does not have the task's code."""


class DuplicateNodenameWarning(LiteQueueWarning):
    """Two workers run under one node name."""


class DuplicateTaskNameWarning(LiteQueueWarning):
    """Two functions were declared as tasks under one name; the first is used."""


class LostEvents(LiteQueueWarning):
    """A receiver of events asks for some that are no longer kept; make `event_retention` or `event_limit` larger."""


class NotConfigured(LiteQueueWarning):
    """The app has no configuration module."""


class FixupWarning(LiteQueueWarning):
    """An integration could not be set up."""


class CDeprecationWarning(DeprecationWarning):
    """An old spelling that still works."""


# Configuration and the file


class ImproperlyConfigured(LiteQueueError):
    """A setting, a URL, an option or a module cannot be used as given."""


class SecurityError(ImproperlyConfigured):
    """The combination asked for would let another user of the machine run code here."""


class OperationalError(LiteQueueError):
    """The queue's file could not do what was asked; nothing was half-written."""


class StoreBusy(OperationalError):
    """Another process held the file for longer than the busy budget."""


class StoreFull(OperationalError):
    """There is no space left for the file."""


class StoreReadOnly(OperationalError):
    """The file or its folder cannot be written."""


class StoreMissing(OperationalError):
    """The folder of the file does not exist, or the path cannot be opened."""


class StoreForeign(OperationalError):
    """The file is not SQLite, or has tables of another program under our names."""


class StoreTooNew(OperationalError):
    """The file was written by a newer litequeue."""


class StoreTooOld(OperationalError):
    """The file was written by an older litequeue, and what was asked may not change it."""


class StoreLost(OperationalError):
    """This process cannot use the file any more."""


class StoreCorrupt(StoreLost):
    """SQLite found damaged pages; this process writes nothing more to the file."""


class StoreMoved(StoreLost):
    """The file was moved, replaced or deleted while it was open."""


class StoreForked(StoreLost):
    """A connection was used on the wrong side of a fork."""


# What crosses the file


class SerializationError(LiteQueueError):
    """A value cannot be written to the file, or read back."""


class EncodeError(SerializationError):
    """A value cannot be encoded; the message names its path, as in `args[0]['when']`."""


class DecodeError(SerializationError):
    """Stored bytes cannot be decoded."""


class ContentDisallowed(SerializationError):
    """A serializer is not in `accept_content`."""


class PayloadTooLarge(EncodeError):
    """An encoded value is larger than `max_payload_bytes`."""


# Raised inside a task to steer it


class TaskPredicate(LiteQueueError):
    """Raised inside a task to say how it ends; not an error of the task."""


class Retry(TaskPredicate):
    """The task is to run again, at `when`.

    `when` is the delay in seconds or the datetime of the next try; `exc` the cause, if there is one; `message` a
    sentence.
    """

    _sig: Any = None

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        rerun: Rerun | None = None,
    ) -> None:
        self.message = message
        self.excs: str | None
        self.exc: BaseException | None
        if isinstance(exc, str):
            self.exc, self.excs = None, exc
        else:
            self.exc, self.excs = exc, None if exc is None else repr(exc)
        self.when = when
        self.is_eager = is_eager
        self._sig = sig
        self.rerun = rerun
        super().__init__(message, self.excs, when)

    @property
    def sig(self) -> Any:
        """The signature of the next try; it is made when somebody asks for it."""
        if callable(self._sig) and not isinstance(self._sig, dict):
            self._sig = self._sig()
        return self._sig

    @sig.setter
    def sig(self, sig: Any) -> None:
        self._sig = sig

    def humanize(self) -> str:
        """The delay in words: `in 3s` or `at 2030-01-01 …`."""
        if isinstance(self.when, (int, float)):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.exc if self.exc is not None else self.excs, self.when)


class Ignore(TaskPredicate):
    """The task ends and keeps no result."""


class Replaced(Ignore):
    """The task becomes another one; `Task.replace` raises it."""

    def __init__(self, message: str, graft: Graft) -> None:
        self.graft = graft
        super().__init__(message)


class Reject(TaskPredicate):
    """The task refuses its row: `requeue=True` gives it back to be run again, else it is FAILURE."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Snooze(TaskPredicate):
    """The task is to run again later: no attempt is counted, and no retry."""

    LONGEST = 1e11
    """Seconds, some 3,000 years: more is a mistake, and no datetime could show it."""

    def __init__(self, seconds: float | timedelta | None = None, eta: datetime | None = None) -> None:
        """In `seconds`, or at `eta` (naive: in the app's time zone).

        TypeError, ValueError: it is no such time, neither is given, or both are.
        """
        if (seconds is None) == (eta is None):
            raise TypeError("Snooze needs either seconds or eta")
        if eta is not None and not isinstance(eta, datetime):
            raise TypeError(f"Snooze: eta must be a datetime, not {eta!r}; for seconds from now there is seconds")
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
            raise TypeError(f"Snooze: seconds must be a number of seconds, not {seconds!r}")
        if seconds is not None and not 0 <= seconds <= self.LONGEST:
            raise ValueError(f"Snooze: seconds must be from 0 to {self.LONGEST:g}, not {seconds!r}")
        self.seconds = seconds
        self.eta = eta
        super().__init__(seconds, eta)


# How tasks and calls fail


class TaskError(LiteQueueError):
    """The root of what can be wrong with a task or a call of it."""


class QueueNotFound(KeyError, TaskError):
    """A queue that `task_queues` does not name, with `task_create_missing_queues` off; or that nobody knows."""

    __str__ = Exception.__str__  # KeyError's would put the sentence in quotes


class IncompleteStream(TaskError):
    """The end of a stream was found before all of it was read."""


class NotRegistered(KeyError, TaskError):
    """No task of that name is known to this app."""

    def __repr__(self) -> str:
        hint = f"; {self.args[1]}" if len(self.args) > 1 else ""
        return f"{self.args[0] if self.args else ''!r}: no task of that name is registered{hint}"

    __str__ = __repr__


class AlreadyRegistered(TaskError):
    """A task of that name is known already."""


class TimeoutError(TaskError, builtins.TimeoutError):
    """`get()` waited for its time-out; the task goes on."""


class MaxRetriesExceededError(TaskError):
    """The task used up its retries."""

    def __init__(self, *args: Any, task_args: Any = (), task_kwargs: Any = None) -> None:
        self.task_args = task_args
        self.task_kwargs = {} if task_kwargs is None else task_kwargs
        super().__init__(*args)


class TaskRevokedError(TaskError):
    """The task was revoked, or expired before it started."""


class InvalidTaskError(TaskError):
    """A row that cannot be run: its payload cannot be read, or its fields make no sense."""


class ChordError(TaskError):
    """A member of a chord's header failed; `__cause__` is its exception."""


class DuplicateTaskError(TaskError):
    """The file already has a task with that id."""


class NotUniqueError(TaskError):
    """Another task holds the unique key of this call; `task_id` is its id."""

    def __init__(self, message: str, task_id: str | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id


class RemoteError(TaskError):
    """Stands in for an exception whose class cannot be rebuilt here.

    `type_name` and `module` are those of the original; `args` are its arguments where they could be read, and `text`
    what `str()` gave.
    """

    type_name: str
    module: str
    text: str

    def __init__(self, *args: Any, type_name: str = "Exception", module: str = "builtins", text: str = "") -> None:
        self.type_name = type_name
        self.module = module
        self.text = text
        super().__init__(*args)

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}" if self.text else self.type_name


class SoftTimeLimitExceeded(LiteQueueError):
    """The task ran into its soft time limit; raised inside it."""

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{self.args}"


class TimeLimitExceeded(LiteQueueError):
    """The task ran into its hard time limit, and its process was killed."""

    def __str__(self) -> str:
        return f"TimeLimitExceeded{self.args}"


class WorkerLostError(LiteQueueError):
    """The process that ran the task died."""


class Terminated(LiteQueueError):
    """The task was terminated by request."""


class LiteQueueCommandException(LiteQueueError):
    """A command line that cannot be carried out; the command exits with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


CeleryCommandException = LiteQueueCommandException


class WorkerTerminate(SystemExit):
    """Stop the worker cold: give everything unfinished back at once."""


class WorkerShutdown(SystemExit):
    """Stop the worker warm: finish what runs."""


def reraise(tp: type[BaseException], value: BaseException, tb: Any = None) -> None:
    """Raise `value` with the traceback `tb`."""
    raise value.with_traceback(tb) if value.__traceback__ is not tb else value
