"""What a client writes: new tasks, revokes, custom states."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import apsw

from litequeue import exceptions
from litequeue.core import clock
from litequeue.core.failure import encode_exception
from litequeue.core.keys import RAISE, REPLACE, conflict_of
from litequeue.core.records import NORMAL, Encoded, Keys, NewTask, Outcome
from litequeue.core.state import READY, WAITING
from litequeue.core.ties import KEYED
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.keys import Holder
from litequeue.store.sqlite.release import (
    NEEDED,
    OPEN,
    REVOKE_SET,
    REVOKED_ROW,
    Moves,
    Releasing,
    first_state,
    parts_of,
)

_NOBODY: Final[Mapping[str, str]] = {}
# What a row that has not started takes from a call that replaces it.
_REPLACED: Final = (
    "queue",
    "priority",
    "payload",
    "serializer",
    "compression",
    "run_at",
    "expires_at",
    "ignore_result",
    "time_limit",
    "soft_time_limit",
    "origin",
    "reply_port",
    "headers",
    "options",
    "countdown",
    "lifetime",
)
_CANCEL_RUNNING: Final = "UPDATE litequeue_tasks SET cancel = coalesce(?2, cancel, '') WHERE state = 'running'"
_OPEN_IN: Final = f"{OPEN} AND queue IN (SELECT value FROM json_each(?))"


class Enqueueing(Releasing):
    """The verbs of `contract.Enqueuer`."""

    def enqueue(self, tasks: Sequence[NewTask], durability: str | None = None) -> Mapping[str, str]:
        """Write all of `tasks`, or none; returns who stands for those that were not written."""
        durability, now = self._durability_of(durability), clock.now()
        # Who is idle is read after the commit: a slot that went idle before it is seen here, and one that goes idle
        # after it has looked for rows once more, and seen these.
        try:
            if len(tasks) == 1 and tasks[0].stamps is None and tasks[0].keys is None and not self._options.sent_events:
                task = tasks[0]
                bindings = (*task[:-1], now, first_state(task, now))
                idle = self._database.write_one(durability, self._INSERT, bindings, self._IDLE_SLOTS)
                if idle:
                    self._wake_idle(idle, {task.queue: 1})
                return _NOBODY
            moves, stand_in = Moves(), dict[str, str]()
            with self._database.write(durability) as connection:
                if any(task.keys is not None and task.keys.unique_key is not None for task in tasks):
                    tasks, stand_in = self._unique(connection, tasks, now, moves)
                self._insert(connection, tasks, now, moves)
                if self._options.sent_events:
                    self._journal(connection, moves.all_moves(), now)
        except apsw.ConstraintError as error:
            raise self._duplicate(tasks, error) from error
        idle = []
        with suppress(exceptions.OperationalError), self._database.read() as connection:
            idle = self._idle_slots(connection)
        self._wake(moves, idle)
        return stand_in

    def _unique(
        self, connection: apsw.Connection, tasks: Sequence[NewTask], now: float, moves: Moves
    ) -> tuple[list[NewTask], dict[str, str]]:
        """Sort out those whose unique key is held: (what is to be written, who stands for the others)."""
        left: list[NewTask] = []
        stand_in: dict[str, str] = {}
        mine: dict[str, int] = {}  # where in `left` the holder of a key is
        for task in tasks:
            keys = task.keys or Keys()
            if keys.unique_key is None:
                left.append(task)
                continue
            conflict, at = conflict_of(keys.unique_hold), mine.get(keys.unique_key)
            if at is None:
                holder = self._make_room(connection, task, now)
            elif conflict == RAISE:
                raise self._not_unique(task, Holder(0, left[at].id, READY))
            else:
                holder = Holder(0, left[at].id, READY)
            if holder is None:
                mine[keys.unique_key] = len(left)
                left.append(task)
                continue
            stand_in[task.id] = holder.id
            if conflict == REPLACE and at is not None:
                left[at] = task._replace(id=holder.id)
            elif conflict == REPLACE:
                self._replace(connection, task, holder, now, moves)
        return left, stand_in

    # What stays is the row's: its id, its place in its canvas and in the queue's order, and its history.
    _REPLACE = f"""
        UPDATE litequeue_tasks
        SET {", ".join(f"{name} = ?" for name in _REPLACED)}, lane = ?, state = iif(state = 'waiting', state, ?),
            ties = ties & {~KEYED} | ?
        WHERE seq = ?
    """

    def _replace(self, connection: apsw.Connection, task: NewTask, holder: Holder, now: float, moves: Moves) -> None:
        """Give a row that has not started the arguments, options and time of a new call."""
        first = first_state(task, now)
        moves.ready.update(self._unpark(connection, holder.id))  # it may have been its turn, under its old key
        values = (getattr(task, name) for name in _REPLACED)
        connection.execute(self._REPLACE, (*values, task.queue, first, task.ties & KEYED, holder.seq))
        self._keep_keys(connection, [task._replace(id=holder.id)], now)
        if holder.state != WAITING:
            moves.ready[holder.seq] = task.queue

    _RECORD = """
        UPDATE litequeue_tasks
        SET attempt = ?, started_at = enqueued_at, finished_at = ?, prune_at = ?, result = ?, result_serializer = ?,
            result_compression = ?, traceback = ?
        WHERE id = ?
    """

    def record(self, task: NewTask, outcome: Outcome) -> None:
        """Write a task that was run in place."""
        result = outcome.result or (None, None, None)
        ended = (outcome.claimed.attempt, outcome.finished_at, outcome.prune_at, *result, outcome.traceback, task.id)
        try:
            with self._database.write(self._durability) as connection:
                connection.execute(self._INSERT, (*task[:-1], outcome.claimed.enqueued_at, outcome.state))
                connection.execute(self._RECORD, ended)
        except apsw.ConstraintError as error:
            raise self._duplicate([task], error) from error

    _CANCEL_TASK = f"{_CANCEL_RUNNING} AND id = ?1"
    _CANCEL_MEMBERS = f"{_CANCEL_RUNNING} AND ties & 4 AND group_id IN ({parts_of('?1')})"
    _REVOKE = f"{REVOKE_SET} WHERE id = ?4 AND {OPEN} {REVOKED_ROW}"
    _REVOKE_MEMBERS = f"""{REVOKE_SET}
        WHERE ties & 4 AND {OPEN} AND group_id IN ({parts_of("?4")}) {REVOKED_ROW}
    """

    def revoke(self, ids: Sequence[str], reason: str = "revoked", signal: str | None = None) -> tuple[str, ...]:
        """Make every task of `ids` that has not started REVOKED, with what waits for it; of a group, each member."""
        now, moves = clock.now(), Moves()
        error = encode_exception(exceptions.TaskRevokedError(reason))
        ended = (error, now, self._prune_at(now))
        rows: list[tuple[Any, ...]] = []
        with self._database.write(self._durability) as connection:
            for task_id in ids:
                for statement in (self._REVOKE, self._REVOKE_MEMBERS):
                    rows += fetch(connection, statement, (*ended, task_id))
                for statement in (self._CANCEL_TASK, self._CANCEL_MEMBERS):
                    connection.execute(statement, (task_id, signal))
            revoked = self._follow_revoked(connection, rows, now, moves)
            slots = self._close(connection, moves, now)
            workers = self._control_ports(connection) if signal else ()
        self._wake(moves, slots)
        self._sender.send_all(workers)
        return (*revoked, *moves.revoked())

    _CANCEL = f"""
        UPDATE litequeue_tasks SET cancel = coalesce(cancel, ''), custom_state = ?2
        WHERE id = ?1 AND (state = 'running' OR {OPEN})
    """
    _IS_CANCELLED = "SELECT cancel IS NOT NULL FROM litequeue_tasks WHERE id = ?"

    def cancel(self, task_id: str, state: str) -> bool:
        """Tell a task that has not ended to stop of its own accord, and show `state` until it ends."""
        with self._database.write(self._durability) as connection:
            connection.execute(self._CANCEL, (task_id, state))
            return connection.changes() > 0

    def is_cancelled(self, task_id: str) -> bool:
        """Whether a task was told to stop."""
        with self._database.read() as connection:
            return bool(connection.execute(self._IS_CANCELLED, (task_id,)).get)

    # What an open row still needs is kept until that row has ended: the values of a chord's header, of a chain's step.
    _FORGET = f"""
        SELECT seq FROM litequeue_tasks task
        WHERE id = ? AND state IN ('succeeded', 'failed', 'revoked', 'ignored') AND NOT {NEEDED}
    """
    _FORGET_LATER = """
        UPDATE litequeue_tasks SET ignore_result = 2, prune_at = iif(finished_at IS NULL, prune_at, 0) WHERE id = ?
    """

    def forget(self, ids: Sequence[str]) -> int:
        """Delete the rows of `ids` that have ended; the others are deleted soon after their end."""
        forgotten = 0
        with self._database.write(self._durability) as connection:
            for task_id in ids:
                ended = fetch(connection, self._FORGET, (task_id,))
                if ended:
                    self._delete_rows(connection, ended)
                    forgotten += 1
                else:
                    connection.execute(self._FORGET_LATER, (task_id,))
                    forgotten += connection.changes()
        return forgotten

    _PURGE_TIED = f"SELECT id FROM litequeue_tasks WHERE ties AND {_OPEN_IN}"
    _PURGE_ENDED = "SELECT seq FROM litequeue_tasks WHERE id = ? AND queue IN (SELECT value FROM json_each(?))"
    _PURGE_ATTEMPTS = f"DELETE FROM litequeue_attempts WHERE seq IN (SELECT seq FROM litequeue_tasks WHERE {_OPEN_IN})"
    _PURGE_STAMPS = f"DELETE FROM litequeue_stamps WHERE seq IN (SELECT seq FROM litequeue_tasks WHERE {_OPEN_IN})"
    _PURGE_LOGS = f"""
        DELETE FROM litequeue_logs WHERE EXISTS (
            SELECT 1 FROM litequeue_tasks task WHERE task.seq = litequeue_logs.seq AND {_OPEN_IN})
    """
    _PURGE = f"DELETE FROM litequeue_tasks WHERE {_OPEN_IN}"
    _QUEUES = "SELECT json_group_array(DISTINCT queue) FROM litequeue_tasks"

    def purge(self, queues: Collection[str] | None = None) -> int:
        """Delete what has not started; what hangs on it, and is not deleted with it, is revoked."""
        now, moves = clock.now(), Moves()
        ended = (encode_exception(exceptions.TaskRevokedError("purged")), now, self._prune_at(now))
        with self._database.write(self._durability) as connection:
            chosen = connection.execute(self._QUEUES).get if queues is None else json.dumps(sorted(queues))
            revoked: list[str] = []
            while tied := fetch(connection, self._PURGE_TIED, (chosen,)):  # again: their ends may write error callbacks
                for (task_id,) in tied:
                    rows = fetch(connection, self._REVOKE, (*ended, task_id))
                    revoked += self._follow_revoked(connection, rows, now, moves)
            gone = [row for task_id in (*revoked, *moves.ended) for row in self._ended_in(connection, task_id, chosen)]
            self._delete_rows(connection, gone)
            for statement in (self._PURGE_ATTEMPTS, self._PURGE_STAMPS, self._PURGE_LOGS, self._PURGE):
                connection.execute(statement, (chosen,))
            deleted = len(gone) + connection.changes()
            slots = self._close(connection, moves, now)
        self._wake(moves, slots)
        return deleted

    def _ended_in(self, connection: apsw.Connection, task_id: str, queues: str) -> list[tuple[int]]:
        return fetch(connection, self._PURGE_ENDED, (task_id, queues))

    _UPDATE_STATE = """
        UPDATE litequeue_tasks
        SET custom_state = ?, result = ?, result_serializer = ?, result_compression = ?
        WHERE id = ? AND state NOT IN ('succeeded', 'failed', 'revoked', 'ignored')
    """
    _UPDATE_STATE_HELD = _UPDATE_STATE + " AND holder = ? AND attempt = ?"

    def update_state(
        self, task_id: str, state: str, meta: Encoded | None, fence: tuple[int, int] | None = None
    ) -> bool:
        """Show `state` with `meta` until the task's next move.

        Progress is not worth a disk sync, so this commits at NORMAL; the settle that follows makes it durable with it.
        """
        statement = self._UPDATE_STATE if fence is None else self._UPDATE_STATE_HELD
        with self._database.write(NORMAL) as connection:
            connection.execute(statement, (state, *(meta or (None, None, None)), task_id, *(fence or ())))
            return connection.changes() > 0

    def reply_port(self) -> int | None:
        """The UDP port on which this process waits for the ends of tasks it enqueued."""
        return self._changes.port()
