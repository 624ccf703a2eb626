"""Dead letters: what ended badly is listed, run again, or deleted.

Running a task again takes back what its end did to others (`release`), in the transaction that makes it ready: what
ended because of it waits again, groups count it again, and bodies that failed with their group wait for it again, and
so on. Where that cannot be done whole nothing is done, and the answer says why.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from itertools import islice
from typing import Any, Final

import apsw

from litequeue.core import clock, state
from litequeue.core.journal import REVIVED, move
from litequeue.core.records import UPSTREAM, TaskRecord
from litequeue.core.steering import DeadFilter, Revived
from litequeue.core.ties import APART, BODY, ERRBACK, QUEUE
from litequeue.store.sqlite.engine import fetch, task_records
from litequeue.store.sqlite.release import NEEDED, Moves
from litequeue.store.sqlite.unending import BY_ITS_GROUP, EndedRow, Opened, Refused, Unending

_SLICE: Final = 500  # tasks in one transaction; what hangs on one of them comes on top
_STATES: Final = (state.FAILED, state.REVOKED)
_OWN: Final = f"""
    result_serializer IS NOT 'upstream' AND NOT (state = 'failed' AND {BY_ITS_GROUP})
"""
"""Of rows that ended badly: those that did so themselves."""
_ERROR_TYPE: Final = """
    CASE WHEN typeof(result) = 'text' AND result_serializer = 'error' THEN
        CASE WHEN json_valid(result) THEN json_extract(result, {}) END END
"""


class _Wanted:
    """The tasks that one call is to run again, and what has become of them."""

    def __init__(self, ids: Iterable[str], which: DeadFilter) -> None:
        self.left = dict.fromkeys(ids)
        self.which = which
        self.ready: list[str] = []
        self.refused: dict[str, str] = {}
        self.later: dict[str, str] = {}
        """Those that are to be looked at again when others of them are open, with the reason."""
        self.again = False
        """Whether it is those that are looked at."""
        self._before = 0

    def __len__(self) -> int:
        return len(self.left) + len(self.later)

    def __contains__(self, task_id: object) -> bool:
        """Whether it is still to be decided on."""
        return task_id in self.left or task_id in self.later

    def refuse(self, task_id: str, refused: Refused) -> None:
        """Keep the reason; what waits for another that is still to come is looked at again after that."""
        if any(cause in self for cause in refused.causes):
            self.later[task_id] = str(refused)
        else:
            self.refused[task_id] = str(refused)

    def turn(self) -> bool:
        """Go on with those that were put off; False: there are none, or none that something has become of."""
        if not self.later or (self.again and len(self.later) >= self._before):
            self.refused.update(self.later)
            return False
        self.left, self.later, self.again = dict.fromkeys(self.later), {}, True
        self._before = len(self.left)
        return True


class Reopening(Unending):
    """The verbs of `contract.Controller` that are about dead letters."""

    # Finding

    def dead(self, which: DeadFilter) -> list[TaskRecord]:
        """The tasks that ended badly, newest call first.

        Failed ones are found through an index that has nothing else in it; to find revoked ones the whole table is
        read, until there are as many as asked for.
        """
        found: list[TaskRecord] = []
        ids = self._dead_ids(which)
        for start in range(0, len(ids), _SLICE):
            with self._database.read() as connection:
                found += task_records(connection, ids[start : start + _SLICE])
        found = [record for record in found if record.state in _STATES]
        return sorted(found, key=lambda record: -record.seq)

    def _dead_ids(self, which: DeadFilter) -> list[str]:
        statement, bindings = _dead_statement(which)
        with self._database.read() as connection:
            return [task_id for (task_id,) in fetch(connection, statement, bindings)]

    # Running again

    def retry(self, which: DeadFilter) -> Revived:
        """Let them run again, each with all that hangs on it in one transaction."""
        found = self._dead_ids(which)
        if which.ids is None:
            wanted = _Wanted(reversed(found), which)  # the oldest first, as they were called
        else:
            wanted = _Wanted(which.ids, which)
            self._refuse_others(wanted, frozenset(found))
        while True:
            while wanted.left:
                self._retry_slice(wanted)
            if not wanted.turn():
                return Revived(ready=tuple(wanted.ready), refused=wanted.refused)

    def _refuse_others(self, wanted: _Wanted, found: frozenset[str]) -> None:
        """Of tasks that were named: say of those that are not meant why that is."""
        others = [task_id for task_id in wanted.left if task_id not in found]
        for start in range(0, len(others), _SLICE):
            part = others[start : start + _SLICE]
            with self._database.read() as connection:
                rows = {row.id: row for row in self._rows(connection, part)}
            for task_id in part:
                del wanted.left[task_id]
                wanted.refused[task_id] = self._not_meant(rows.get(task_id), wanted.which)

    def _not_meant(self, row: EndedRow | None, which: DeadFilter) -> str:
        if row is None:
            return f"{self.path} has no such task"
        if row.state not in _STATES:
            return f"it is {row.state}: only what failed or was revoked can be run again"
        if row.ignore_result == 2:
            return "it was forgotten, and is deleted soon"
        return f"it is {row.state}, and not one of those that were asked for"

    def _retry_slice(self, wanted: _Wanted) -> None:
        """Run the next few of `wanted` again, in one transaction."""
        now, moves = clock.now(), Moves()
        ids = list(islice(wanted.left, _SLICE))
        before = len(wanted.ready)
        with self._database.write(self._durability) as connection:
            plain: list[EndedRow] = []
            tied = dict.fromkeys(ids)
            for row in self._rows(connection, ids):
                if row.plain and row.state in wanted.which.states:
                    plain.append(row)
                    del tied[row.id], wanted.left[row.id]
            self._open_plain(connection, plain, now, moves)
            wanted.ready += (row.id for row in plain)
            for task_id in tied:
                if task_id in wanted.left:
                    self._retry_canvas(connection, task_id, wanted, now, moves)
            moves.journal += (move(REVIVED, task_id) for task_id in wanted.ready[before:])
            slots = self._close(connection, moves, now)
        self._wake(moves, slots)

    # One canvas

    def _retry_canvas(
        self, connection: apsw.Connection, task_id: str, wanted: _Wanted, now: float, moves: Moves
    ) -> None:
        """Open a task and all that ended because of it, or nothing of it. Those of `wanted` whose failure would fail
        that again are opened with it: nothing is seen half open."""
        canvas, mine = Opened(), Moves()
        canvas.also.append(task_id)
        try:
            with connection:  # a savepoint
                while canvas.also:
                    while canvas.also:
                        self._open_root(connection, canvas.also.popleft(), canvas, wanted, now, mine)
                    self._take_back(connection, canvas, wanted, now, mine)
                    canvas.also += canvas.put_off
                    canvas.put_off.clear()
                for group_id, takes_values in canvas.awaited.items():
                    self._check_group(connection, group_id, bool(takes_values), open_again=True)
        except Refused as refused:
            wanted.refused.update(dict.fromkeys(canvas.roots, str(refused)))
        else:
            wanted.ready += canvas.roots
            moves.ready.update(mine.ready)

    def _open_root(
        self, connection: apsw.Connection, task_id: str, canvas: Opened, wanted: _Wanted, now: float, moves: Moves
    ) -> None:
        """Open one of `wanted`; where it is refused, nothing is written."""
        if task_id not in wanted.left:
            return
        del wanted.left[task_id]
        row = next(iter(self._rows(connection, [task_id])), None)
        if row is not None and row.state not in state.TERMINAL:  # opened with what it had ended with
            wanted.ready.append(task_id)
            return
        try:
            if row is None or row.state not in wanted.which.states:
                raise Refused(self._not_meant(row, wanted.which))
            opens_as = self._opens_as(connection, row, wanted)
            self._take_key_back(connection, row.seq, 0 if row.unique_key is not None else row.unique_hold, now)
        except Refused as refused:
            if canvas.pending:
                wanted.left[task_id] = None
                canvas.put_off.append(task_id)
            else:
                wanted.refuse(task_id, refused)
            return
        if opens_as == state.READY:
            self._open_plain(connection, (row,), now, moves)
        else:
            connection.execute(self._KEEP_ENDS, (json.dumps([row.seq]),))
            connection.execute(self._OPEN_WAITING, (row.seq, now))
            if row.edge == BODY and row.after is not None:
                canvas.wait_for(row.after, row.takes_input)
        canvas.roots[task_id] = None
        canvas.pending.append((row.id, row.ties, row.group_id))

    # Whether it can be run again

    _NODE = """
        SELECT state, name, state = 'succeeded' AND ignore_result AND result IS NULL FROM litequeue_tasks WHERE id = ?
    """
    _ANOTHER_RUN = """
        SELECT id FROM litequeue_tasks
        WHERE schedule = ? AND ties & 32 AND state IN ('waiting', 'scheduled', 'ready', 'running') LIMIT 1
    """

    def _opens_as(self, connection: apsw.Connection, row: EndedRow, wanted: Container[str]) -> str:
        """The state in which a row that has ended is open again: ready, or waiting. Refused: it cannot be."""
        if row.result_serializer == UPSTREAM:
            raise self._because_of(connection, self._roots_of(connection, row.result or ""))
        if row.by_its_group and row.state == state.FAILED:
            raise self._because_of(connection, self._failures_in(connection, row.after))
        if row.ties & APART and (other := connection.execute(self._ANOTHER_RUN, (row.schedule,)).get):
            raise Refused(f"runs of its entry do not overlap, and {other} has not ended")
        if row.after is None or row.edge == QUEUE:
            return state.READY
        if row.edge == BODY:
            return self._opens_after_group(connection, row, row.after, wanted)
        node = connection.execute(self._NODE, (row.after,)).fetchone()
        if row.edge == ERRBACK and (node is not None or not row.takes_input):
            return state.READY
        if node is None:
            return self._opens_after_nothing(row)
        stands, name, dropped = node
        if stands in state.TERMINAL and stands != state.SUCCEEDED:
            roots = tuple(self._roots_of(connection, row.after))
            raise Refused(f"it waits for {row.after} ({name}), which ended {stands}: retry that first", roots)
        if dropped and row.takes_input:
            raise Refused(f"the value of {row.after} ({name}), which it takes, was not kept (ignore_result)")
        return state.READY if stands == state.SUCCEEDED else state.WAITING

    def _opens_after_nothing(self, row: EndedRow) -> str:
        """What a row waited for is gone: no matter where it has run, and takes nothing of it."""
        if row.takes_input or not row.attempt:
            raise Refused(f"it needs {row.after}, and the file does not have that any more")
        return state.READY

    def _opens_after_group(
        self, connection: apsw.Connection, row: EndedRow, group_id: str, wanted: Container[str]
    ) -> str:
        group = connection.execute(self._GROUP_STANDS, (group_id,)).fetchone()
        if group is None:
            return self._opens_after_nothing(row)
        remaining, failed = group
        if remaining > 0:
            return state.WAITING
        if failed:
            raise self._because_of(connection, self._failures_in(connection, group_id))
        if wanted:
            for cause in self._failures_in(connection, group_id):
                if cause in wanted:  # it is a member of the group, and that is to be seen to wait for it
                    raise Refused(f"the group {group_id}, which it waits for, has not ended", (cause,))
        self._check_group(connection, group_id, bool(row.takes_input), open_again=False)
        return state.READY

    # Deleting

    _DISCARD = f"""
        SELECT seq FROM litequeue_tasks task
        WHERE id = ? AND state IN ('failed', 'revoked') AND NOT (ties AND {NEEDED})
    """
    _DISCARD_LATER = """
        UPDATE litequeue_tasks SET ignore_result = 2, prune_at = 0
        WHERE id = ? AND state IN ('failed', 'revoked') AND ignore_result < 2
    """

    def discard(self, which: DeadFilter) -> int:
        """Delete them with their history; what others still need is deleted when it is not needed any more."""
        ids, discarded = self._dead_ids(which), 0
        for start in range(0, len(ids), _SLICE):
            with self._database.write(self._durability) as connection:
                for task_id in ids[start : start + _SLICE]:
                    rows = fetch(connection, self._DISCARD, (task_id,))
                    self._delete_rows(connection, rows)
                    if not rows:
                        connection.execute(self._DISCARD_LATER, (task_id,))
                    discarded += len(rows) or connection.changes()
        return discarded


def _dead_statement(which: DeadFilter) -> tuple[str, tuple[Any, ...]]:
    """The query for the ids that are meant, newest call first. What is named may have ended because of another."""
    for name in which.states:
        if name not in _STATES:
            raise ValueError(f"states={which.states!r}: a dead letter is {' or '.join(_STATES)}.")
    source, conditions = "litequeue_tasks", [f"state IN ({', '.join(map(repr, which.states))})", "ignore_result < 2"]
    if which.ids is None:
        conditions.append(_OWN)
        if which.states == (state.FAILED,):
            source, conditions[0] = "litequeue_tasks INDEXED BY litequeue_tasks_failed", "state = 'failed'"
    bindings: list[Any] = []
    for column, values in (("id", which.ids), ("name", which.names), ("queue", which.queues)):
        if values is not None:
            conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
            bindings.append(json.dumps(values))
    for condition, instant in (("finished_at >= ?", which.since), ("finished_at < ?", which.before)):
        if instant is not None:
            conditions.append(condition)
            bindings.append(instant)
    if which.error is not None:
        kind, module = (_ERROR_TYPE.format(f"'$.{key}'") for key in ("type", "module"))
        conditions.append(f"? IN ({kind}, {module} || '.' || {kind})")
        bindings.append(which.error)
    bindings.append(-1 if which.limit is None else which.limit)
    where = " AND ".join(f"({condition})" for condition in conditions)
    return f"SELECT id FROM {source} WHERE {where} ORDER BY seq DESC LIMIT ?", tuple(bindings)
