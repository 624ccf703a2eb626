"""Many results as one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from litequeue import exceptions
from litequeue.app.current import app_or_default
from litequeue.core.state import FAILED, REVOKED, SUCCEEDED, TERMINAL
from litequeue.exceptions import ChordError, TaskRevokedError, TimeoutError
from litequeue.result.async_result import AsyncResult
from litequeue.result.before import Before
from litequeue.result.joining import assert_will_not_block
from litequeue.result.looking import looks
from litequeue.result.reading import ending_of, has_no_result, meta_of, with_traceback
from litequeue.result.revoking import Replies, revoke
from litequeue.result.tree import ResultBase
from litequeue.result.waiting import wait_for

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord

SLICE = 500
"""How many rows are read in one statement."""


class ResultSet(ResultBase):
    """Results that are waited for and read together: tasks, and groups of them.

    A member may be given as the id of a task. Its result is made when somebody asks for `results`; waiting and reading
    work on the ids, so that a set of 100,000 is as cheap as its rows.
    """

    app: LiteQueue = None  # type: ignore[assignment]
    id: str | None = None
    TimeoutError = TimeoutError
    _members: list[Any] | None = None
    """Ids of tasks, and results; only results once somebody has seen the list. None: not read from the file yet."""
    _bare: bool = True
    """Whether there may be ids in it."""

    def __init__(
        self,
        results: Iterable[Any] | None = (),
        app: LiteQueue | None = None,
        ready_barrier: Any = None,
        parent: ResultBase | None = None,
    ) -> None:
        if results is not None:
            self._members = list(results)
        if app is not None:
            self.app = app
        elif not self.app:
            own = next((member.app for member in self._members or () if not isinstance(member, str)), None)
            self.app = own or app_or_default()
        if parent is not None:
            self.parent = parent

    # Members

    def _loaded(self) -> list[Any]:
        """The members: ids of tasks, and results."""
        if self._members is None:
            self._members = self._read_members()
        return self._members

    def _read_members(self) -> list[Any]:
        return []

    @property
    def results(self) -> list[Any]:
        """The members; the list may be changed."""
        members = self._loaded()
        if self._bare:
            make = self.app.AsyncResult
            members[:] = [make(member) if isinstance(member, str) else member for member in members]
            self._bare = False
        return members

    @results.setter
    def results(self, results: Iterable[Any]) -> None:
        self._members, self._bare = list(results), True

    @property
    def children(self) -> list[Any]:
        """The members."""
        return self.results

    def add(self, result: Any) -> None:
        """Add a result, if it is not there already."""
        if result not in self._loaded():
            self._loaded().append(result)
            self._bare = self._bare or isinstance(result, str)

    def update(self, results: Iterable[Any]) -> None:
        """Add several results, those that are not there already."""
        for result in results:
            self.add(result)

    def remove(self, result: Any) -> None:
        """Take a result, or the task of an id, out. KeyError: it is not there."""
        try:
            self._loaded().remove(result)
        except ValueError:
            raise KeyError(f"{result} is not a member of {self!r}") from None

    def discard(self, result: Any) -> None:
        """Take a result out, if it is there."""
        if result in self:
            self.remove(result)

    def clear(self) -> None:
        """Take all results out."""
        self._loaded().clear()

    def __len__(self) -> int:
        return len(self._loaded())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __contains__(self, result: object) -> bool:
        return result in self._loaded()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultSet):
            return self._loaded() == other._loaded()
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    # Tasks of the file are asked for together, by their ids; groups, and what was run in place, one by one.

    def _task_id(self, member: Any) -> str | None:
        if isinstance(member, str):
            return member
        own = isinstance(member, AsyncResult) and member.in_file and member.app is self.app
        return member.id if own else None

    def _task_ids(self) -> list[str]:
        return [task_id for member in self._loaded() if (task_id := self._task_id(member)) is not None]

    def _others(self) -> list[Any]:
        return [member for member in self._loaded() if self._task_id(member) is None]

    def _states(self) -> dict[str, str]:
        """The engine states of the tasks by id."""
        ids = self._task_ids()
        return self.app.store.states(ids) if ids else {}

    def _records(self, ids: Sequence[str]) -> Iterator[dict[str, TaskRecord]]:
        """The rows by id, in slices."""
        for start in range(0, len(ids), SLICE):
            yield {record.id: record for record in self.app.store.tasks(ids[start : start + SLICE])}

    @property
    def enqueued(self) -> bool:
        """Whether it is a group that the file has a row of, with these members."""
        return False

    # States

    def ready(self) -> bool:
        """Whether all have ended."""
        states = self._states()
        return all(states.get(task_id) in TERMINAL for task_id in self._task_ids()) and all(
            other.ready() for other in self._others()
        )

    def waiting(self) -> bool:
        """Whether one has not ended."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all have ended well."""
        states = self._states()
        return all(states.get(task_id) == SUCCEEDED for task_id in self._task_ids()) and all(
            other.successful() for other in self._others()
        )

    def failed(self) -> bool:
        """Whether one has failed."""
        return FAILED in self._states().values() or any(other.failed() for other in self._others())

    def completed_count(self) -> int:
        """How many have ended well."""
        states = self._states()
        done = sum(states.get(task_id) == SUCCEEDED for task_id in self._task_ids())
        return done + sum(1 for other in self._others() if other.successful())

    # Waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[..., Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> Any:
        """Wait until all have ended, and return their values in the order of the set; a group's is a list.

        With `propagate` the first exception is raised as soon as it is known, else exceptions stand among the values.
        With `callback` each value is given to `callback(id, value)` as it comes, and None is returned. TimeoutError
        after `timeout` seconds; the tasks go on. RuntimeError: called inside a task, without
        `disable_sync_subtasks=False`. `no_ack` and `on_message` mean nothing here.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        if callback is None:
            before = Before(self) if propagate and self.parent is not None else None
            try:
                self._wait(timeout, interval, on_interval, propagate, before)
                return self._values(propagate)
            except ChordError:
                if before is not None:
                    before.check_headers()
                raise
        for key, result in self._as_they_end(timeout, interval, on_interval):
            callback(key, self._value_of(result, propagate))
        return None

    join_native = get

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[..., Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """`get()`, which with a `callback` returns an empty list."""
        values = self.get(
            timeout, propagate, interval, callback, no_ack, on_message, disable_sync_subtasks, on_interval
        )
        return [] if callback is not None else values

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[..., Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """(id, meta) of each as it ends; meta in the shape of Celery's result backends, a group's its results."""
        for key, result in self._as_they_end(timeout, interval, on_interval):
            if isinstance(result, ResultSet):
                yield key, result.results
            elif isinstance(result, AsyncResult):
                yield key, result._get_task_meta()
            else:
                yield key, meta_of(self.app, key, result)

    def iterate(self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5) -> Iterator[Any]:
        """The value of each as it ends."""
        for _key, result in self._as_they_end(timeout, interval, None):
            yield self._value_of(result, propagate)

    def as_completed(self, timeout: float | None = None) -> Iterator[Any]:
        """The result of each as it ends."""
        for key, result in self._as_they_end(timeout, 0.5, None):
            yield result if isinstance(result, ResultBase) else self.app.AsyncResult(key)

    def _as_they_end(
        self, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None
    ) -> Iterator[tuple[str, Any]]:
        """(id, row) of each task, and (id, result) of each other member, as they end."""
        pending, others = dict.fromkeys(self._task_ids()), self._others()
        if not pending:  # nothing of it is in the file
            ended = [other for other in others if other.ready()]
            yield from ((other.id, other) for other in ended)
            others = [other for other in others if other not in ended]
            if not others:
                return
        known: set[str] = set()
        for _ in looks(self.app.store, timeout, interval, on_interval):
            states = self.app.store.states(list(pending))
            self._missed(known - states.keys())
            ended = [task_id for task_id in pending if states.get(task_id) in TERMINAL]
            for task_id in ended:
                del pending[task_id]
            known = pending.keys() & states.keys()
            yield from self._in_order(ended)
            for other in [other for other in others if other.ready()]:
                others.remove(other)
                yield other.id, other
            if not pending and not others:
                return
        raise self._timed_out(timeout)

    def _in_order(self, ids: Sequence[str]) -> Iterator[tuple[str, TaskRecord]]:
        """(id, row) in the order in which the tasks ended, as near as one slice tells."""
        for records in self._records(ids):
            yield from sorted(records.items(), key=lambda item: item[1].finished_at or 0.0)

    def _wait(
        self,
        timeout: float | None,
        interval: float,
        on_interval: Callable[[], Any] | None,
        propagate: bool,
        before: Before | None = None,
    ) -> None:
        """Wait until all have ended, or, with `propagate`, raise what one failed with."""
        pending, others, known = dict.fromkeys(self._task_ids()), self._others(), set[str]()
        if not pending and all(other.ready() for other in others):
            return
        for _ in looks(self.app.store, timeout, interval, on_interval):
            states = self.app.store.states(list(pending))
            self._missed(known - states.keys())
            if propagate:
                self._raise_first([key for key, state in states.items() if state in (FAILED, REVOKED)])
            pending = {key: None for key in pending if states.get(key) not in TERMINAL}
            known = pending.keys() & states.keys()
            for other in others:
                if propagate:
                    other.maybe_throw()
            others = [other for other in others if not other.ready()]
            if not pending and not others:
                return
        raise self._timed_out(timeout)

    def _missed(self, ids: Iterable[str]) -> None:
        for task_id in ids:
            raise TaskRevokedError(f"task {task_id} was deleted from the file while get() waited for it")

    def _timed_out(self, timeout: float | None) -> exceptions.TimeoutError:
        states, ids, others = self._states(), self._task_ids(), self._others()
        left = sum(states.get(task_id) not in TERMINAL for task_id in ids) + sum(not other.ready() for other in others)
        unseen = len(ids) - len(states)
        never = f"; {unseen} of them the file {self.app.store.path} has never seen" if unseen else ""
        return TimeoutError(
            f"{left} of {len(self)} results of {self._called} did not end within {timeout:g} s{never}; the tasks go on"
        )

    _called = "the set"

    # Values

    def _values(self, propagate: bool) -> Any:
        """The values in order, of members that have ended."""
        values: dict[str, Any] = {}
        ids = list(dict.fromkeys(self._task_ids()))
        for start, records in enumerate(self._records(ids)):
            for task_id in ids[start * SLICE : (start + 1) * SLICE]:
                if task_id not in records:
                    raise TaskRevokedError(f"task {task_id} of {self._called} is not in the file any more")
                values[task_id] = self._value_of(records[task_id], propagate)
        own = [(member, self._task_id(member)) for member in self._loaded()]
        return [self._value_of(member, propagate) if key is None else values[key] for member, key in own]

    def _value_of(self, ended: Any, propagate: bool) -> Any:
        """The value of a row, or of a member that has none."""
        if isinstance(ended, ResultSet):
            return ended._values(propagate)
        if isinstance(ended, ResultBase):
            return ended.get(propagate=propagate, disable_sync_subtasks=False)
        if has_no_result(ended):
            return None
        value, traceback = ending_of(self.app, ended)
        if propagate and ended.state in (FAILED, REVOKED):
            raise with_traceback(value, traceback)
        return value

    def _raise_first(self, ids: Sequence[str]) -> None:
        """Raise what the first of these tasks to end failed with."""
        first: TaskRecord | None = None
        for _, record in self._in_order(ids):
            if first is None or (record.finished_at or 0.0) < (first.finished_at or 0.0):
                first = record
        if first is not None:
            self._value_of(first, propagate=True)

    def throw_first(self) -> None:
        """Raise what the first member that failed, or was revoked, ended with; nothing where none has."""
        states = self._states()
        self._raise_first([key for key, state in states.items() if state in (FAILED, REVOKED)])
        for other in self._others():
            other.maybe_throw()

    def ended_as_header(self) -> bool:
        """Whether all have ended; raises what the first that failed ended with, if a body does not run then."""
        ended = self.ready()  # asked for first: what fails in between is found by the next look
        self.throw_first()
        return ended

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> Any:
        """Raise the exception of a member that failed or was revoked; `callback(id, value)` for each of the others."""
        if callback is None:
            if propagate:
                self.throw_first()
            return
        for records in self._records(self._task_ids()):
            for task_id, record in records.items():
                callback(task_id, self._value_of(record, propagate))
        for other in self._others():
            other.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def then(
        self, callback: Callable[[Any], Any], on_error: Callable[[BaseException], Any] | None = None, weak: bool = False
    ) -> ResultSet:
        """Call `callback(self)` when all have ended, or `on_error(exception)` where that is given and one failed.

        The call comes from one thread of the app that watches for all such results, or at once if all have ended.
        """

        def ended(_result: ResultBase) -> None:
            if on_error is not None:
                try:
                    self.throw_first()
                except Exception as error:
                    on_error(error)
                    return
            callback(self)

        self.app.watcher.watch(self, ended, self.ready)
        return self

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any:
        """`get()` for coroutines: the event loop goes on while the tasks run."""
        import asyncio

        if not await wait_for(self, timeout, self._failed_or_ready if propagate else self.ready):
            raise self._timed_out(timeout)
        # In a thread: the values of thousands of tasks are not read in a moment.
        return await asyncio.to_thread(self.get, None, propagate, disable_sync_subtasks=False)

    def _failed_or_ready(self) -> bool:
        try:
            self.throw_first()
        except Exception:
            return True
        return self.ready()

    def __await__(self) -> Generator[Any, None, Any]:
        return self.aget().__await__()

    # Acting

    def _forget_ids(self) -> list[str]:
        ids = self._task_ids()
        for member in self._loaded():
            if isinstance(member, ResultBase):
                ids += [task_id for node in (member, *member._parents()) for task_id in node._forget_ids()]
        return ids

    def forget(self) -> None:
        """Delete what is kept of the members, and of what came before them, once they have ended."""
        ids = self._forget_ids()
        if ids:
            self.app.store.forget(list(dict.fromkeys(ids)))

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Replies | None:
        """Make every member that has not started REVOKED, all in one transaction; those that run as in
        `AsyncResult.revoke`."""
        watched = self._watched_ids() if wait else None
        replies = revoke(self.app, self._revoke_ids(), terminate, signal, wait, timeout, watched)
        for other in self._others():
            if not isinstance(other, ResultSet):
                other.revoke()
        return replies

    def _watched_ids(self) -> list[str]:
        """The tasks among the members, and among the members of those that are groups."""
        ids = self._task_ids()
        for other in self._others():
            if isinstance(other, ResultSet):
                ids += other._watched_ids()
        return ids

    def _revoke_ids(self) -> list[str]:
        ids = self._task_ids()
        for other in self._others():
            if isinstance(other, ResultSet):
                ids += other._revoke_ids()
        return ids

    # As a value

    @property
    def backend(self) -> Any:
        """Results by task id, as code written for Celery's result backends reads them."""
        return self.app.backend

    supports_native_join = True

    def _member_tuples(self) -> list[Any]:
        return [((member, None), None) if isinstance(member, str) else member.as_tuple() for member in self._loaded()]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(map(str, self._loaded()))}]>"

    def __copy__(self) -> ResultSet:
        return type(self)(list(self._loaded()), app=self.app)

    def __reduce__(self) -> Any:
        return type(self), (self._loaded(),)
