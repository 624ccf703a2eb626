"""What a client writes: new tasks, revokes, custom states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress

import apsw

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.failure import encode_exception
from litequeue.core.records import DURABILITIES, NORMAL, Encoded, NewTask, Outcome
from litequeue.store.sqlite.engine import Engine, fetch

_COLUMNS = ", ".join(NewTask._fields)
_QUEUE = NewTask._fields.index("queue") + 1
_WIDTH = len(NewTask._fields)

_SLICE = 500  # ids bound to one statement


class Enqueueing(Engine):
    """The verbs of `contract.Enqueuer`."""

    # A record is bound as it is, followed by now and the state. The lane of a new row is its queue.
    _INSERT = (
        f"INSERT INTO litequeue_tasks ({_COLUMNS}, lane, enqueued_at, state)"
        f" VALUES ({', '.join(f'?{n}' for n in range(1, _WIDTH + 1))}, ?{_QUEUE}, ?{_WIDTH + 1}, ?{_WIDTH + 2})"
    )

    def enqueue(self, tasks: Sequence[NewTask], durability: str | None = None) -> None:
        """Write all of `tasks`, or none."""
        if durability is None:
            durability = self._durability
        elif durability not in DURABILITIES:
            raise ValueError(f"durability={durability!r}: give one of {', '.join(map(repr, DURABILITIES))}.")
        now = clock.now()
        # Who is idle is read after the commit: a slot that went idle before it is seen here, and one that goes idle
        # after it has looked for rows once more, and seen these.
        try:
            if len(tasks) == 1:
                task = tasks[0]
                bindings = (*task, now, _first_state(task, now))
                idle = self._database.write_one(durability, self._INSERT, bindings, self._IDLE_SLOTS)
            else:
                with self._database.write(durability) as connection:
                    connection.executemany(self._INSERT, ((*task, now, _first_state(task, now)) for task in tasks))
                idle = []
                with suppress(exceptions.OperationalError), self._database.read() as connection:
                    idle = self._idle_slots(connection)
        except apsw.ConstraintError as error:
            raise self._duplicate(tasks, error) from error
        if idle:
            self._wake_idle(idle, Counter(task.queue for task in tasks))

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
                connection.execute(self._INSERT, (*task, outcome.claimed.enqueued_at, outcome.state))
                connection.execute(self._RECORD, ended)
        except apsw.ConstraintError as error:
            raise self._duplicate([task], error) from error

    _HAS_ID = "SELECT 1 FROM litequeue_tasks WHERE id = ?"

    def _duplicate(self, tasks: Sequence[NewTask], error: apsw.ConstraintError) -> Exception:
        seen: set[str] = set()
        with self._database.read() as connection:
            for task in tasks:
                if task.id in seen or connection.execute(self._HAS_ID, (task.id,)).get:
                    return exceptions.DuplicateTaskError(
                        f"{task.id}: {self.path} already has a task with this id; nothing was enqueued. Leave"
                        " task_id out, or forget() the old task first."
                    )
                seen.add(task.id)
        return exceptions.InvalidTaskError(f"{self.path}: the file refused the task: {error}")

    _REVOKE = """
        UPDATE litequeue_tasks
        SET state = 'revoked', custom_state = NULL, result = ?, result_serializer = 'error', result_compression = NULL,
            finished_at = ?, prune_at = ?
        WHERE id = ? AND state IN ('waiting', 'scheduled', 'ready')
        RETURNING id, reply_port
    """

    def revoke(self, ids: Sequence[str], reason: str = "revoked") -> tuple[str, ...]:
        """Make every task of `ids` that has not started REVOKED."""
        now = clock.now()
        error = encode_exception(exceptions.TaskRevokedError(reason))
        revoked: list[tuple[str, int | None]] = []
        with self._database.write(self._durability) as connection:
            for task_id in ids:
                revoked += fetch(connection, self._REVOKE, (error, now, self._prune_at(now), task_id))
        self._sender.send_all({port for _, port in revoked if port})
        return tuple(task_id for task_id, _ in revoked)

    _FORGET_ENDED = """
        DELETE FROM litequeue_tasks
        WHERE id = ? AND state IN ('succeeded', 'failed', 'revoked', 'ignored')
        RETURNING seq
    """
    _FORGET_OPEN = "UPDATE litequeue_tasks SET ignore_result = 2 WHERE id = ?"

    def forget(self, ids: Sequence[str]) -> int:
        """Delete the rows of `ids` that have ended; the others are deleted soon after their end."""
        forgotten = 0
        with self._database.write(self._durability) as connection:
            for task_id in ids:
                deleted = fetch(connection, self._FORGET_ENDED, (task_id,))
                if deleted:
                    connection.executemany(self._DELETE_ATTEMPTS, deleted)
                    forgotten += 1
                else:
                    connection.execute(self._FORGET_OPEN, (task_id,))
                    forgotten += connection.changes()
        return forgotten

    _PURGE_ATTEMPTS = """
        DELETE FROM litequeue_attempts WHERE seq IN (
            SELECT seq FROM litequeue_tasks
            WHERE state IN ('waiting', 'scheduled', 'ready') AND queue IN (SELECT value FROM json_each(?)))
    """
    _PURGE = """
        DELETE FROM litequeue_tasks
        WHERE state IN ('waiting', 'scheduled', 'ready') AND queue IN (SELECT value FROM json_each(?))
    """
    _QUEUES = "SELECT json_group_array(DISTINCT queue) FROM litequeue_tasks"

    def purge(self, queues: Collection[str] | None = None) -> int:
        """Delete what has not started."""
        import json

        with self._database.write(self._durability) as connection:
            chosen = connection.execute(self._QUEUES).get if queues is None else json.dumps(sorted(queues))
            connection.execute(self._PURGE_ATTEMPTS, (chosen,))
            connection.execute(self._PURGE, (chosen,))
            return connection.changes()

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


def _first_state(task: NewTask, now: float) -> str:
    return state.READY if task.run_at is None or task.run_at <= now else state.SCHEDULED
