"""Waiting for tasks, and reading what became of them.

An `AsyncResult` is an id and the app whose file knows it. Everything it shows is read from the task's row; once the
task has ended, the row is kept and not read again.
"""

from __future__ import annotations

import builtins
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from litequeue import exceptions
from litequeue.app.current import app_or_default
from litequeue.core import clock
from litequeue.core.state import FAILED, READY, REVOKED, SUCCEEDED, TERMINAL
from litequeue.exceptions import IncompleteStream, TaskRevokedError, TimeoutError
from litequeue.result.joining import assert_will_not_block
from litequeue.result.reading import (
    Attempt,
    attempt_of,
    call_of,
    has_no_result,
    meta_of,
    standing_of,
    state_of,
    value_of,
    with_traceback,
)

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord


class ResultBase:
    """The root of results."""

    parent: ResultBase | None = None
    """The result of the task before, in a chain."""


class AsyncResult(ResultBase):
    """The state, and in the end the result, of a task."""

    app: LiteQueue = None  # type: ignore[assignment]
    TimeoutError = TimeoutError
    ignored: bool = False
    """No result is kept for this task: `get()` returns None at once."""
    _ended: TaskRecord | None = None
    _value: tuple[Any] | None = None

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
        return self._result_of(self._record())

    info = result

    def _result_of(self, record: TaskRecord | None) -> Any:
        if record is None:
            return None
        if record is not self._ended:
            return value_of(self.app, record)
        if self._value is None:
            self._value = (value_of(self.app, record),)
        return self._value[0]

    @property
    def traceback(self) -> str | None:
        """The formatted traceback of a failed task, and of one that waits for a retry."""
        record = self._record()
        return None if record is None else record.traceback

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
    def children(self) -> list[AsyncResult] | None:
        """The results of the tasks that it called."""
        return [self.app.AsyncResult(task_id) for task_id in self.app.store.children(self.id)]

    def _get_task_meta(self) -> dict[str, Any]:
        """Everything at once, in the shape of Celery's result backends."""
        return meta_of(self.app, self.id, self._record())

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
            assert_will_not_block()
        parents = self._parents() if follow_parents and propagate and self.parent is not None else []

        def between() -> None:
            for parent in parents:
                parent.maybe_throw()
            if on_interval is not None:
                on_interval()

        for parent in parents:
            parent.maybe_throw()
        record = self._wait(timeout, interval, between if parents or on_interval is not None else None)
        if has_no_result(record):
            return None
        if propagate:
            self.maybe_throw(callback=callback)
        elif callback is not None:
            callback(self.id, self.result)
        return self.result

    wait = get

    def _wait(self, timeout: float | None, interval: float, between: Callable[[], Any] | None) -> TaskRecord:
        if self._ended is not None:
            return self._ended
        self.app.require_results()
        store = self.app.store
        began = clock.monotonic()
        deadline = None if timeout is None else began + timeout
        known = False
        while True:
            seen = store.changes()
            record = self._record()
            if record is not None and (record.state in TERMINAL or record.ignore_result):
                return record
            if known and record is None:
                raise TaskRevokedError(f"task {self.id} was deleted from the file while get() waited for it")
            known = record is not None
            if between is not None:
                between()
            pause = max(interval, 0.001)
            if deadline is not None:
                pause = min(pause, deadline - clock.monotonic())
                if pause <= 0:
                    raise self._timed_out(timeout, known)
            store.wait_for_change(seen, pause)
            self._linger(clock.monotonic() - began)

    @staticmethod
    def _linger(waited: float) -> None:
        """Let changes gather: who has waited long may wait 2 % longer, and leaves the processor to the workers.

        On a busy file every commit is a change, some thousand a second.
        """
        if waited > 0.05:
            time.sleep(min(waited * 0.02, 0.01))

    def _timed_out(self, timeout: float | None, known: bool) -> exceptions.TimeoutError:
        record = self._record() if known else None
        if record is not None:
            return TimeoutError(f"task {self.id} did not end within {timeout:g} s; {standing_of(record)}")
        return TimeoutError(f"the file {self.app.store.path} has never seen task {self.id} (waited {timeout:g} s)")

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise the exception of a task that failed or was revoked; else return what there is of a result."""
        record = self._record()
        value = self._result_of(record)
        if propagate and record is not None and record.state in (FAILED, REVOKED):
            raise with_traceback(value, record.traceback)
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
        import asyncio

        if self.ignored:
            return None
        self.app.require_results()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        def ended(_result: AsyncResult) -> None:
            try:
                loop.call_soon_threadsafe(finish)
            except RuntimeError:  # the loop was closed before the task ended: nobody waits any more
                pass

        self.app.watcher.watch(self, ended)
        try:
            async with asyncio.timeout(timeout):
                await done
        except builtins.TimeoutError:
            known = await asyncio.to_thread(self.exists)
            raise self._timed_out(timeout, known) from None
        finally:
            self.app.watcher.unwatch(self, ended)
        if propagate:
            self.maybe_throw()
        return self.result

    def __await__(self) -> Generator[Any, None, Any]:
        return self.aget().__await__()

    # Acting

    def forget(self) -> None:
        """Delete what is kept of this task, and of its parents, once they have ended."""
        self._ended = self._value = None
        if isinstance(self.parent, AsyncResult):
            self.parent.forget()
        self.app.store.forget((self.id,))

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Make a task that has not started REVOKED: it never starts, whether or not a worker is up.

        Returns when that is in the file. A task that has started is left as it is.
        """
        if terminate:
            raise NotImplementedError(
                "terminate=True needs task control, which this version of litequeue does not have"
            )
        self.app.store.revoke((self.id,))

    # The tree of results

    def _parents(self) -> list[AsyncResult]:
        """The results before this one, first one first."""
        found: list[AsyncResult] = []
        node = self.parent
        while isinstance(node, AsyncResult):
            found.append(node)
            node = node.parent
        return found[::-1]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[AsyncResult | None, AsyncResult]]:
        """(parent, result) of this task and of all that it called, in breadth. IncompleteStream: one has not ended."""
        stack: deque[tuple[AsyncResult | None, AsyncResult]] = deque([(None, self)])
        while stack:
            parent, node = stack.popleft()
            yield parent, node
            if node.ready():
                stack.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream(f"task {node.id} has not ended")

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[AsyncResult, Any]]:
        """(result, value) of this task and of all that it called, waiting for each; `options` are those of `get()`."""
        for _parent, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """The value of the last of the tasks that this one led to."""
        value = None
        for _parent, node in self.iterdeps():
            value = node.get()
        return value

    def as_tuple(self) -> tuple[Any, None]:
        """The ids of this result and its parents, as `result_from_tuple` reads them."""
        parent = self.parent
        return (self.id, parent.as_tuple() if isinstance(parent, AsyncResult) else None), None

    def as_list(self) -> list[str]:
        """The ids of this result and its parents."""
        parent = self.parent
        return [self.id, *(parent.as_list() if isinstance(parent, AsyncResult) else ())]

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

    def __reduce__(self) -> Any:
        return result_from_tuple, (self.as_tuple(),)

    def __copy__(self) -> AsyncResult:
        return type(self)(self.id, app=self.app, parent=self.parent)

    __class_getitem__ = classmethod(GenericAlias)  # type: ignore[var-annotated]


def result_from_tuple(r: Any, app: LiteQueue | None = None) -> Any:
    """The result that `as_tuple()` described."""
    if isinstance(r, ResultBase):
        return r
    app = app_or_default(app)
    node, members = r
    task_id, parent = node if isinstance(node, (list, tuple)) else (node, None)
    if members is not None:
        raise NotImplementedError("groups of results need the canvas, which this version of litequeue does not have")
    return app.AsyncResult(task_id, parent=result_from_tuple(parent, app) if parent else None)
