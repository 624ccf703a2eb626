"""The keys that rows share: who waits for a concurrency key, and who holds a unique one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import apsw

from litequeue.core import state
from litequeue.core.keys import EXISTING, PARKED, REPLACE, STATES, conflict_of
from litequeue.core.records import NewTask
from litequeue.exceptions import NotUniqueError
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.stamps import Stamping

_AFTER_PARKED: Final = chr(ord(PARKED) + 1)


class Holder(NamedTuple):
    """The row that has a unique key, and holds it."""

    seq: int
    id: str
    state: str


class Keying(Stamping):
    """Writing keys, letting rows go on that wait for one, and finding who holds one."""

    _KEEP_KEYS = """
        UPDATE litequeue_tasks
        SET concurrency_key = ?2, concurrency_limit = ?3, unique_key = ?4, unique_hold = ?5, unique_until = ?6 + ?7
        WHERE id = ?1
    """

    def _keep_keys(self, connection: apsw.Connection, tasks: Iterable[NewTask], now: float) -> None:
        """Write the keys of rows that have been written."""
        connection.executemany(
            self._KEEP_KEYS,
            ((task.id, *task.keys[:4], now, task.keys.unique_window) for task in tasks if task.keys is not None),
        )

    # Concurrency keys

    _CONCURRENCY_KEY = "SELECT concurrency_key FROM litequeue_tasks WHERE id = ?"
    _NEXT_LANE = "SELECT min(lane) FROM litequeue_tasks WHERE state = 'ready' AND lane > ? AND lane < ?"
    _FIRST = "SELECT seq FROM litequeue_tasks WHERE state = 'ready' AND lane = ? ORDER BY priority DESC, seq LIMIT 1"
    _UNPARK = "UPDATE litequeue_tasks SET lane = queue WHERE seq = ? RETURNING seq, queue"

    def _unpark(self, connection: apsw.Connection, task_id: str) -> dict[int, str]:
        """Let rows go on that wait for the concurrency key of a task; returns their queue by their seq.

        Called when that task leaves `running`, and when it ends without having run: it may be the one that was let go
        on last. One row of each queue and name goes on, as nobody knows which of them a worker will claim; those that
        meet a key which is taken again are parked again.
        """
        key = connection.execute(self._CONCURRENCY_KEY, (task_id,)).get
        going: dict[int, str] = {}
        if key is not None:
            for lane in self._parked_lanes(connection, key):
                seq = connection.execute(self._FIRST, (lane,)).get
                going.update(fetch(connection, self._UNPARK, (seq,)))
        return going

    def _parked_lanes(self, connection: apsw.Connection, key: str) -> Iterator[str]:
        lane, end = f"{PARKED}{key}{PARKED}", f"{PARKED}{key}{_AFTER_PARKED}"
        while (found := connection.execute(self._NEXT_LANE, (lane, end)).get) is not None:
            lane = found
            yield lane

    # Unique keys

    _HAS_KEY = "SELECT seq, id, state, unique_hold, unique_until FROM litequeue_tasks WHERE unique_key = ?"
    # Its options note the key, for a retry after its end.
    _TAKE_KEY = """
        UPDATE litequeue_tasks
        SET unique_key = NULL, options = CASE WHEN options IS NULL THEN json_object('unique_key', unique_key)
            WHEN json_valid(options) THEN json_set(options, '$.unique_key', unique_key) ELSE options END
        WHERE seq = ?
    """

    def _holder_of(self, connection: apsw.Connection, unique_key: str, now: float) -> Holder | None:
        """Who holds the key. From a row that has it and holds it no more, it is taken."""
        row = connection.execute(self._HAS_KEY, (unique_key,)).fetchone()
        if row is None:
            return None
        seq, task_id, stands, bits, until = row
        if (bits or 0) & STATES.get(stands, 0) and (until is None or now < until):
            return Holder(seq, task_id, stands)
        connection.execute(self._TAKE_KEY, (seq,))
        return None

    def _make_room(self, connection: apsw.Connection, task: NewTask, now: float) -> Holder | None:
        """See that a new row may have its unique key; returns who stands for it otherwise.

        NotUniqueError: its key is held, and it was to raise.
        """
        if task.keys is None or task.keys.unique_key is None:
            return None
        holder = self._holder_of(connection, task.keys.unique_key, now)
        if holder is None:
            return None
        conflict = conflict_of(task.keys.unique_hold)
        if conflict == REPLACE and holder.state not in state.OPEN:
            connection.execute(self._TAKE_KEY, (holder.seq,))
            return None
        if conflict in (EXISTING, REPLACE):
            return holder
        raise self._not_unique(task, holder)

    def _not_unique(self, task: NewTask, holder: Holder, why: str = "") -> NotUniqueError:
        assert task.keys is not None, "the caller looked"
        return NotUniqueError(
            f"{task.name}: the unique key {task.keys.unique_key!r} is held by the task {holder.id} ({holder.state});"
            f" nothing was enqueued{why}.",
            holder.id,
        )

    def _refuse_held(self, connection: apsw.Connection, tasks: Iterable[NewTask], now: float) -> None:
        """Write the keys of a canvas's rows. NotUniqueError: one is held, and nobody stands for a part of a canvas."""
        for task in tasks:
            holder = self._make_room(connection, task, now)
            if holder is not None:
                why = ", as no other task can take a place in a canvas: call it by itself, or leave its unique key out"
                raise self._not_unique(task, holder, why)
            self._keep_keys(connection, (task,), now)
