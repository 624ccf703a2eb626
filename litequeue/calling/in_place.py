"""Running a canvas in place, to its end.

Its rows are written to a queue in memory and taken from there one after the other, by the same statements as in a file
and by the same executor as in a worker, so that a canvas that is run in place does what it does in a worker. Nothing is
delayed: neither by a countdown nor before a retry.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from litequeue import states
from litequeue.calling.eager import EagerExecutor
from litequeue.core import process, state
from litequeue.core.failure import decode_exception, encode_exception
from litequeue.core.records import (
    ERROR,
    NORMAL,
    ROW_FIELDS,
    UPSTREAM,
    Claimed,
    Encoded,
    Member,
    NewCanvas,
    NewProcess,
    NewTask,
    Outcome,
)
from litequeue.core.ties import read_errbacks
from litequeue.exceptions import Reject
from litequeue.result.eager_result import EagerResult
from litequeue.result.group_result import GroupResult
from litequeue.store import open_store
from litequeue.store.contract import Claimant, Pick, StoreOptions
from litequeue.utils.nodenames import gethostname

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord
    from litequeue.result.tree import ResultBase


class _OneByOne:
    """Takes what comes."""

    def __init__(self, registry: Any) -> None:
        self.names = registry.keys()

    def pick(self, name: str, deaths: int) -> Pick:
        """Decide on the next ready row."""
        return Pick.LAST if name in self.names else Pick.ASIDE

    def at_most_once(self, name: str) -> bool:
        """Whether the task must never be run twice: nothing here is."""
        return False


class _Wanted:
    """Rows, as if the results of all of them were wanted."""

    def __init__(self, rows: Iterable[NewTask], unwanted: set[str]) -> None:
        self._rows = rows
        self._unwanted = unwanted

    def __iter__(self) -> Iterator[NewTask]:
        for row in self._rows:
            if row.ignore_result:
                self._unwanted.add(row.id)
                row = row._replace(ignore_result=0)
            yield row


class InPlace:
    """The queue in memory in which one canvas is run."""

    def __init__(self, app: LiteQueue) -> None:
        self._app = app
        self._store = open_store(":memory:", StoreOptions(durability=NORMAL, failure_retention=None))
        runtime = dataclasses.replace(app.eager_executor.runtime, store=self._store)
        self._executor = EagerExecutor(runtime, gethostname())
        self._picker = _OneByOne(runtime.registry)
        self._queues: set[str] = set()
        self._unwanted: set[str] = set()
        """The tasks whose results nobody wants to have kept; who runs them in place gets them all the same."""
        self._errors: dict[str, BaseException] = {}
        self._results: dict[str, EagerResult] = {}
        self.first_error: BaseException | None = None
        """The first exception that a task failed with."""

    def run(self, canvas: NewCanvas) -> None:
        """Run the tasks of `canvas`, and all that they lead to."""
        store = self._store
        new = NewProcess(worker=gethostname(), role="worker", parent=None, identity=process.current(), queues=())
        holder = store.register(new)
        self._note(canvas.tasks)
        store.enqueue_canvas(NewCanvas(_Wanted(canvas.tasks, self._unwanted), canvas.groups))
        claimed = store.claim(self._claimant(holder), 1).claimed
        while claimed:
            outcome = self._attempt(claimed[0])
            if outcome.graft is not None:
                self._note(outcome.graft.canvas.tasks)
                self._note(() if outcome.graft.become is None else (outcome.graft.become,))
            claimed = store.settle(self._claimant(holder), [outcome], 1).claimed
            self._keep(outcome)

    def _claimant(self, holder: int) -> Claimant:
        return Claimant(
            holder=holder, worker=gethostname(), pid=os.getpid(), queues=tuple(self._queues), picker=self._picker
        )

    def _note(self, rows: Iterable[NewTask]) -> None:
        """Take from the queues of these rows as well."""
        for row in rows:
            self._queues.add(row.queue)
            if row.errbacks is not None:
                self._note(read_errbacks(row.errbacks))

    def _attempt(self, claimed: Claimed) -> Outcome:
        """Run a task once."""
        given = self._store.inputs(claimed) if claimed.takes_input else None
        outcome, error = self._executor.attempt(claimed, given)
        if error is not None:
            self._errors[claimed.id] = error
            self.first_error = self.first_error or error
        if outcome.rerun is None:
            return outcome
        rerun = outcome.rerun
        if rerun.retries is None and not rerun.snooze:  # Reject(requeue=True): nobody else is here to take it
            record = outcome.result or Encoded(encode_exception(Reject("requeued in place")), ERROR)
            return Outcome(claimed, state.FAILED, outcome.finished_at, record)
        return outcome._replace(state=state.READY, rerun=rerun._replace(run_at=None, expires_at=None))

    def _keep(self, outcome: Outcome) -> None:
        """Write the row of a task that wants to be found in the file."""
        claimed = outcome.claimed
        task = self._executor.runtime.registry[claimed.name]
        if outcome.state in state.TERMINAL and task.store_eager_result and claimed.id not in self._unwanted:  # type: ignore[attr-defined]
            row = NewTask._make((*claimed[1 : 1 + len(ROW_FIELDS)], None))
            row = row._replace(after=None, edge=None, takes_input=0, ties=0, errbacks=None, origin=None)
            self._app.store.record(row, outcome._replace(graft=None))

    # Results

    def result(self, planned: Any) -> Any:
        """The result that `planned` stands for, with its parents and members, as it is now."""
        made = self._tree_of(planned)
        self._fill_children()
        return made

    def _tree_of(self, planned: Any) -> Any:
        made: ResultBase | None = None
        for node in (*planned._parents(), planned):
            made = self._result_of(node, made)
        return made

    def _fill_children(self) -> None:
        """Give every result those of what its task called, or led to."""
        todo = list(self._results.values())
        while todo:
            known = len(self._results)
            for each in todo:
                each._eager_children = [self._child(child) for child in self._store.children(each.id)]
            todo = list(self._results.values())[known:]

    def _child(self, child: Member) -> Any:
        if not child.is_group:
            return self._task_result(child.id)
        return self._app.GroupResult(child.id, [self._child(member) for member in self._store.members(child.id)])

    def _result_of(self, node: Any, parent: ResultBase | None) -> Any:
        if isinstance(node, GroupResult):
            members = [self._member(member) for member in node._loaded()]
            return self._app.GroupResult(node.id, members, parent=parent)
        return self._task_result(node.id, parent)

    def _member(self, member: Any) -> Any:
        return self._task_result(member) if isinstance(member, str) else self._tree_of(member)

    def _task_result(self, task_id: str, parent: ResultBase | None = None) -> EagerResult:
        made = self._results.get(task_id)
        if made is None:
            made = self._results[task_id] = self._read(task_id)
        if parent is not None:
            made.parent = parent
        return made

    def _read(self, task_id: str) -> EagerResult:
        record = self._store.task(task_id)
        if record is None:  # nothing led to it
            return EagerResult(task_id, None, states.PENDING)
        shown = states.IGNORED if record.state == state.IGNORED else state.celery_state(record.state)
        return EagerResult(task_id, self._value(record), shown, traceback=record.traceback, name=record.name)

    def _value(self, record: TaskRecord) -> Any:
        if record.result is None or record.state == state.IGNORED:
            return None
        if record.result_serializer == UPSTREAM:
            cause = self._store.task(str(record.result))
            return None if cause is None else self._value(cause)
        if record.result_serializer == ERROR:
            return self._errors.get(record.id) or decode_exception(record.result)
        return self._executor.runtime.result_codec.decode(
            record.result, record.result_serializer or "json", record.result_compression
        )

    def close(self) -> None:
        """Give the queue up."""
        self._store.close()
