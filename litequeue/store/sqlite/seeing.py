"""What a viewer asks: tasks by a filter, queues at a glance, and what stands before a task.

Nothing here reads the whole table: counts come from the partial indexes, and a search goes through the newest rows in
slices, so that no read is long, whatever the size of the file.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import apsw

from litequeue.core import state
from litequeue.core.keys import PARKED
from litequeue.core.records import TaskRecord
from litequeue.store.sqlite.engine import LANE_SEPARATOR, TASK_COLUMNS, fetch, read_queues
from litequeue.store.sqlite.gates import Gating

if TYPE_CHECKING:  # whoever looks imports it; in a process that only calls, it would cost its first call 3 ms
    from litequeue.core.viewing import Found, QueueRecord, TaskFilter

_FROM: Final = f"SELECT {TASK_COLUMNS} FROM litequeue_tasks"
_FEW: Final = (state.RUNNING, state.FAILED)
"""States whose rows an index gives without the others."""
# A value or an error in a form that has no text in it cannot be searched; CAST keeps LIKE from failing on it.
_TEXTS: Final = ("id", "name", "CAST(payload AS TEXT)", "options", "CAST(result AS TEXT)")
_HAS_TEXT: Final = "(" + " OR ".join(f"{text} LIKE ? ESCAPE '\\'" for text in _TEXTS) + ")"


class Seeing(Gating):
    """The verbs of `contract.Viewer` that look for tasks, and at queues."""

    # Searching

    _NEWEST = "SELECT coalesce(max(seq), 0) + 1 FROM litequeue_tasks"
    # The first of the next rows: seq has gaps where rows were pruned.
    _SLICE_FROM = "SELECT min(seq) FROM (SELECT seq FROM litequeue_tasks WHERE seq < ? ORDER BY seq DESC LIMIT ?)"

    _ANY_SINCE = "SELECT 1 FROM litequeue_tasks WHERE seq >= ? AND seq < ? AND enqueued_at >= ? LIMIT 1"

    def find(self, which: TaskFilter, limit: int, before: int | None = None, scan: int = 20_000) -> Found:
        """Up to `limit` tasks that `which` means, the newest first; looks at some `scan` rows."""
        from litequeue.core.viewing import Found

        conditions, bindings = _conditions(which)
        indexed = which.states is not None and not which.custom_states and set(which.states) <= set(_FEW)
        with self._database.read() as connection:
            if before is None:
                before = connection.execute(self._NEWEST).get
            first = None if indexed else connection.execute(self._SLICE_FROM, (before, scan)).get
            where = ["seq < ?", *([] if first is None else ["seq >= ?"]), *conditions]
            values = (before, *([] if first is None else [first]), *bindings, limit)
            rows = fetch(connection, f"{_FROM} WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?", values)
            tasks = [TaskRecord._make(row) for row in rows]
            if len(tasks) == limit:
                return Found(tasks, tasks[-1].seq)
            goes_on = first is not None and self._goes_on(connection, first, before, which.since)
        return Found(tasks, first if goes_on else None)

    def _goes_on(self, connection: apsw.Connection, first: int, before: int | None, since: float | None) -> bool:
        """Whether there are rows below `first`; behind a slice without one since a time, all are older than that."""
        if since is not None and not connection.execute(self._ANY_SINCE, (first, before, since)).get:
            return False
        return connection.execute(self._SLICE_FROM, (first, 1)).get is not None

    _IDS = "SELECT id FROM litequeue_tasks WHERE id >= ?1 AND id < ?1 || char(1114111) ORDER BY id LIMIT ?2"

    def ids(self, beginning: str, limit: int) -> list[str]:
        """Up to `limit` ids of tasks that begin so."""
        with self._database.read() as connection:
            return [task_id for (task_id,) in fetch(connection, self._IDS, (beginning, limit))]

    # Queues

    _READY_LANES = "SELECT lane, count(*) FROM litequeue_tasks WHERE state = 'ready' GROUP BY lane"
    _IN_STATE: Final = {
        name: f"SELECT queue, count(*) FROM litequeue_tasks WHERE state = '{name}' GROUP BY queue"
        for name in (state.SCHEDULED, state.WAITING, state.RUNNING, state.FAILED)
    }
    _SERVED = "SELECT queues FROM litequeue_processes WHERE role = 'worker'"

    def queues(self) -> list[QueueRecord]:
        """The queues that have a task which has not ended, or failed, or that a worker serves, by name."""
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        with self._database.read() as connection:
            for (queues,) in fetch(connection, self._SERVED):
                for queue in read_queues(queues):
                    counts[queue][state.READY] += 0
            for lane, count in fetch(connection, self._READY_LANES):
                queue, kind = _place_of(lane)
                counts[queue][state.READY] += count
                counts[queue][kind] += count
            for name, statement in self._IN_STATE.items():
                for queue, count in fetch(connection, statement):
                    counts[queue][name] = count
            return [self._queue(connection, queue, counts[queue]) for queue in sorted(counts)]

    _NEXT = f"{_FROM} WHERE state = 'ready' AND lane = ? ORDER BY priority DESC, seq LIMIT 1"
    _ENDED_AT = """
        SELECT max(finished_at) FROM (
            SELECT finished_at FROM litequeue_tasks WHERE id = ?1
            UNION ALL SELECT finished_at FROM litequeue_groups WHERE id = ?1)
    """

    def _queue(self, connection: apsw.Connection, name: str, counts: dict[str, int]) -> QueueRecord:
        from litequeue.core.viewing import QueueRecord

        row = connection.execute(self._NEXT, (name,)).fetchone()
        task = None if row is None else TaskRecord._make(row)
        return QueueRecord(
            name=name,
            ready=counts[state.READY],
            aside=counts[_ASIDE],
            parked=counts[PARKED],
            scheduled=counts[state.SCHEDULED],
            waiting=counts[state.WAITING],
            running=counts[state.RUNNING],
            failed=counts[state.FAILED],
            next=task,
            ready_since=None if task is None else self._ready_since(connection, task),
        )

    def _ready_since(self, connection: apsw.Connection, task: TaskRecord) -> float:
        """When a ready task could have started: the latest of what it had to wait for."""
        released = None if task.after is None else connection.execute(self._ENDED_AT, (task.after,)).get
        return max(task.enqueued_at, task.run_at or 0.0, released or 0.0)

    # What stands before a task

    _BEFORE = """
        SELECT count(*) FROM (
            SELECT 1 FROM litequeue_tasks
            WHERE state = 'ready' AND lane = ?1 AND (priority > ?2 OR priority = ?2 AND seq < ?3) LIMIT ?4)
    """

    def place(self, task: TaskRecord, limit: int = 1000) -> int:
        """How many ready tasks start before the ready one `task`, in its lane; at most `limit`."""
        with self._database.read() as connection:
            count: int = connection.execute(self._BEFORE, (task.lane, task.priority, task.seq, limit)).get
            return count

    _WITH_KEY = "SELECT id FROM litequeue_tasks WHERE concurrency_key = ? AND state = 'running' ORDER BY seq"

    def running_with(self, key: str) -> list[str]:
        """The ids of the tasks that run with the concurrency key `key`."""
        with self._database.read() as connection:
            return [task_id for (task_id,) in fetch(connection, self._WITH_KEY, (key,))]

    def opens_at(self, name: str) -> float:
        """When its rate limit lets the next task of `name` start; in the past: now."""
        with self._database.read() as connection:
            rate = self._gates_of(connection).rates.get(name)
            return 0.0 if rate is None else self._opens_at(connection, name, rate)


_ASIDE: Final = "aside"


def _place_of(lane: str) -> tuple[str, str]:
    """(queue, where its rows are) of a lane: in the queue itself, apart, or waiting for a concurrency key."""
    if lane.startswith(PARKED):
        return lane.rpartition(PARKED)[2].partition(LANE_SEPARATOR)[0], PARKED
    queue, separator, _ = lane.partition(LANE_SEPARATOR)
    return queue, _ASIDE if separator else ""


def _conditions(which: TaskFilter) -> tuple[list[str], list[Any]]:
    """The filter as SQL: conditions, and what is bound to them."""
    found: list[str] = []
    bindings: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        found.append(condition)
        bindings.extend(values)

    if which.states is not None or which.custom_states is not None:
        # Written out, so that the partial indexes count.
        either = [f"state = '{name}'" for name in which.states or () if name in state.ALL]
        either += ["custom_state = ?"] * len(which.custom_states or ())
        add(f"({' OR '.join(either) or 'FALSE'})", *(which.custom_states or ()))
    if which.retried is not None:
        add("retries > 0" if which.retried else "retries = 0")
    for column, patterns in (("name", which.names), ("queue", which.queues)):
        if patterns is not None:
            add(f"({' OR '.join([f'{column} GLOB ?'] * len(patterns)) or 'FALSE'})", *patterns)
    for condition, value in (
        ("worker = ?", which.worker),
        ("coalesce(root_id, id) = ?", which.root_id),
        ("enqueued_at >= ?", which.since),
        ("enqueued_at < ?", which.before),
    ):
        if value is not None:
            add(condition, value)
    if which.text is not None:
        pattern = "%" + "".join(f"\\{char}" if char in "\\%_" else char for char in which.text) + "%"
        add(_HAS_TEXT, *[pattern] * len(_TEXTS))
    return found, bindings
