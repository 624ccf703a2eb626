"""Waiting for tasks, and reading what became of them.

An `AsyncResult` is an id and the app whose file knows it. Everything it shows is read from the task's row; once the
task has ended, the row is kept and not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from litequeue import exceptions
from litequeue.app.current import app_or_default
from litequeue.core import clock
from litequeue.core.state import FAILED, READY, REVOKED, SUCCEEDED, TERMINAL
from litequeue.exceptions import TaskRevokedError, TimeoutError
from litequeue.result.before import Before
from litequeue.result.joining import assert_will_not_block
from litequeue.result.looking import looks
from litequeue.result.reading import (
    Attempt,
    attempt_of,
    call_of,
    ending_of,
    has_no_result,
    meta_of,
    standing_of,
    state_of,
    with_traceback,
)
from litequeue.result.revoking import Replies, revoke
from litequeue.result.tree import ResultBase
from litequeue.result.waiting import wait_for

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord
    from litequeue.result.logged import LoggedLine
    from litequeue.result.progress import Progress


class AsyncResult(ResultBase):
    """The state, and in the end the result, of a task."""

    app: LiteQueue = None  # type: ignore[assignment]
    id: str
    TimeoutError = TimeoutError
    supports_native_join = True
    ignored: bool = False
    """No result is kept for this task: `get()` returns None at once."""
    existed: bool = False
    """The call enqueued nothing: this is the task that held its unique key."""
    _ended: TaskRecord | None = None
    _ending: tuple[Any, str | None] | None = None

    def __init__(
        self,
        id: str,
        backend: Any = None,
        task_name: str | None = None,
        app: LiteQueue | None = None,
        parent: ResultBase | None = None,
    ) -> None:
        if not isinstance(id, str):  # None, most often
            raise ValueError(f"AsyncResult needs the id of a task, as text, not {id!r}")
        self.id = id
        if app is not None:
            self.app = app
        elif not self.app:
            self.app = app_or_default()
        if parent is not None:
            self.parent = parent

    # Reading

    def _record(self) -> TaskRecord | None:
        """The task's row; None when the file has never seen the id or has pruned it."""
        if self._ended is not None:
            return self._ended
        record = self.app.store.task(self.id)
        if record is not None and record.state in TERMINAL:
            self._ended = record
        return record

    @property
    def task_id(self) -> str:
        """The id, under Celery's older name."""
        return self.id

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, IGNORED, or what `update_state` set."""
        return state_of(self._record())

    status = state

    @property
    def engine_state(self) -> str | None:
        """The file's own, finer state, one of `litequeue.core.state.ALL`; None: it does not have the task.

        `unregistered`: it is ready, but no running worker knows its task.
        """
        record = self._record()
        if record is None:
            return None
        if record.aside and record.state == READY and not self._is_registered(record.name):
            return "unregistered"
        return record.state

    def _is_registered(self, name: str) -> bool:
        return any(name in process.info.get("tasks", ()) for process in self.app.store.processes())

    @property
    def result(self) -> Any:
        """What the task returned; the exception of a failed task, and of one that waits for a retry; the `meta` of a
        custom state; None as long as there is nothing."""
        return self._ending_of(self._record())[0]

    info = result

    def _ending_of(self, record: TaskRecord | None) -> tuple[Any, str | None]:
        """(result, traceback)."""
        if record is None:
            return None, None
        if record is not self._ended:
            return ending_of(self.app, record)
        if self._ending is None:
            self._ending = ending_of(self.app, record)
        return self._ending

    @property
    def traceback(self) -> str | None:
        """The formatted traceback of a failed task, and of one that waits for a retry."""
        return self._ending_of(self._record())[1]

    def exists(self) -> bool:
        """Whether the file has this task: tells a task that waits from an id that nobody ever sent."""
        return self._ended is not None or bool(self.app.store.states((self.id,)))

    def ready(self) -> bool:
        """Whether the task has ended."""
        record = self._record()
        return record is not None and record.state in TERMINAL

    def successful(self) -> bool:
        """Whether the task has ended well."""
        record = self._record()
        return record is not None and record.state == SUCCEEDED

    def failed(self) -> bool:
        """Whether the task has failed."""
        record = self._record()
        return record is not None and record.state == FAILED

    def _field(self, name: str) -> Any:
        record = self._record()
        return None if record is None else getattr(record, name)

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._field("name")  # type: ignore[no-any-return]

    @property
    def args(self) -> list[Any] | None:
        """The positional arguments it was called with."""
        record = self._record()
        return None if record is None else call_of(self.app, record)[0]

    @property
    def kwargs(self) -> dict[str, Any] | None:
        """The keyword arguments it was called with."""
        record = self._record()
        return None if record is None else call_of(self.app, record)[1]

    @property
    def worker(self) -> str | None:
        """The node name of the worker that took it last."""
        return self._field("worker")  # type: ignore[no-any-return]

    @property
    def retries(self) -> int | None:
        """How many times it was retried."""
        return self._field("retries")  # type: ignore[no-any-return]

    @property
    def attempts(self) -> int | None:
        """How many times it was started, retries and runs that a process died in included."""
        return self._field("attempt")  # type: ignore[no-any-return]

    @property
    def history(self) -> list[Attempt]:
        """The attempts that did not succeed, oldest first: retries, failures, and processes that died."""
        return [attempt_of(record) for record in self.app.store.attempts(self.id)]

    @property
    def progress(self) -> Progress | None:
        """How far the running task said last that it is (`Task.progress`); None: it does not run, or said nothing."""
        from litequeue.result.progress import progress_of

        return progress_of(self.app, self._record())

    @property
    def logs(self) -> list[LoggedLine]:
        """What is kept of what the task logged (`task_log_lines`), oldest first."""
        from litequeue.result.logged import logged_line

        return [logged_line(line) for line in self.app.store.logs(self.id)]

    @property
    def queue(self) -> str | None:
        """Its queue."""
        return self._field("queue")  # type: ignore[no-any-return]

    @property
    def priority(self) -> int | None:
        """Its priority, 0 to 255; higher runs first."""
        return self._field("priority")  # type: ignore[no-any-return]

    @property
    def date_done(self) -> datetime | None:
        """When it ended (UTC)."""
        finished = self._field("finished_at")
        return None if finished is None else clock.to_datetime(finished)

    @property
    def children(self) -> list[Any] | None:
        """The results of what it called: tasks, and groups; in a chain, of what comes next."""
        app = self.app
        return [
            app.GroupResult(member.id) if member.is_group else app.AsyncResult(member.id)
            for member in app.store.children(self.id)
        ]

    def _get_task_meta(self) -> dict[str, Any]:
        """Everything at once, in the shape of Celery's result backends."""
        return {**meta_of(self.app, self.id, self._record()), "children": self.children}

    @property
    def backend(self) -> Any:
        """Results by task id, as code written for Celery's result backends reads them."""
        return self.app.backend

    # Waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[..., Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """Wait until the task has ended, and return its result or raise its exception.

        `timeout` is in seconds (TimeoutError; the task goes on); None waits for ever. With `propagate=False` the
        exception is returned. `on_interval()` is called each time the file was looked at in vain, at least every
        `interval` seconds; the result is noticed at once whatever `interval` is. `callback(id, result)` is called in
        the end. RuntimeError: called inside a task, without `disable_sync_subtasks=False`. `no_ack` and `on_message`
        mean nothing here.
        """
        if self.ignored:
            return None
        if disable_sync_subtasks:
            assert_will_not_block(lambda: self._field("finished_at"))
        before = Before(self) if follow_parents and propagate and self.parent is not None else None
        record = self._wait(timeout, interval, before, on_interval)
        if has_no_result(record):
            return None
        return self.maybe_throw(propagate, callback)

    wait = get

    def _wait(
        self, timeout: float | None, interval: float, before: Before | None, on_interval: Callable[[], Any] | None
    ) -> TaskRecord:
        if self._ended is not None:
            if before is not None:
                before.check(self._ended)
            return self._ended
        self.app.require_results()
        known = False
        for _ in looks(self.app.store, timeout, interval, on_interval):
            record = self._record()
            if before is not None:
                before.check(record)
            if record is not None and (record.state in TERMINAL or record.ignore_result):
                return record
            if known and record is None:
                raise TaskRevokedError(f"task {self.id} was deleted from the file while get() waited for it")
            known = record is not None
        raise self._timed_out(timeout, known)

    def _timed_out(self, timeout: float | None, known: bool) -> exceptions.TimeoutError:
        record = self._record() if known else None
        if record is not None:
            return TimeoutError(f"task {self.id} did not end within {timeout:g} s; {standing_of(self.app, record)}")
        return TimeoutError(f"the file {self.app.store.path} has never seen task {self.id} (waited {timeout:g} s)")

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise the exception of a task that failed or was revoked; else return what there is of a result."""
        record = self._record()
        value, traceback = self._ending_of(record)
        if propagate and record is not None and record.state in (FAILED, REVOKED):
            raise with_traceback(value, traceback)
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def throw(self, exc: BaseException, *args: Any, **kwargs: Any) -> None:
        """Raise `exc`."""
        raise exc

    def then(
        self,
        callback: Callable[[AsyncResult], Any],
        on_error: Callable[[BaseException], Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult:
        """Call `callback(result)` when the task has ended, or `on_error(exception)` where that is given and it failed.

        The call comes from one thread of the app that watches for all such results, or at once if the task has ended.
        """

        def ended(result: AsyncResult) -> None:
            if on_error is not None and not result.successful():
                on_error(result.result)
            else:
                callback(result)

        self.app.watcher.watch(self, ended)
        return self

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any:
        """`get()` for coroutines: the event loop goes on while the task runs."""
        if self.ignored:
            return None
        self.app.require_results()
        if not await wait_for(self, timeout):
            raise self._timed_out(timeout, self.exists())
        if propagate and self.parent is not None:
            Before(self).check(self._record())
        return self.maybe_throw(propagate)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.aget().__await__()

    # Acting

    def forget(self) -> None:
        """Delete what is kept of this task, and of its parents, once they have ended."""
        self.app.store.forget([task_id for node in (self, *self._parents()) for task_id in node._forget_ids()])

    def _forget_ids(self) -> list[str]:
        self._ended = self._ending = None
        return [self.id]

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Replies | None:
        """Make a task that has not started REVOKED: it never starts, whether or not a worker is up.

        One that runs is told (`Task.is_cancelled`), goes on, and is never run again. With `terminate` its worker ends
        it by `signal`, a name or a number (SIGTERM), and it is REVOKED as well.

        Returns when that is in the file; with `wait`, when a task that is terminated has ended, at most after `timeout`
        seconds (None: however long that takes), and what the workers say, in the shape of Celery's replies.
        ValueError: no such signal.
        """
        return revoke(self.app, (self.id,), terminate, signal, wait, timeout)

    def link(self, callback: Any) -> Any:
        """Call the signature `callback` with the task's result when it succeeds, at once if it has; returns it.

        LookupError: the file does not have the task.
        """
        from litequeue.calling.canvas import link

        link(self.app, self.id, callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call the signature `errback` when the task fails, at once if it has; returns it. LookupError as in `link`."""
        from litequeue.calling.canvas import link_error

        link_error(self.app, self.id, errback)
        return errback

    # As a value

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return self.id == other.id
        if isinstance(other, str):
            return self.id == other
        return NotImplemented

    def __copy__(self) -> AsyncResult:
        return type(self)(self.id, app=self.app, parent=self.parent)

    __class_getitem__ = classmethod(GenericAlias)  # type: ignore[var-annotated]
