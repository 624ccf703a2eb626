"""What the end of a task does to the tasks that hang on it.

Every terminal move of a row, however it came about, is handed to `_follow` in the transaction that made it: rows that
waited are made ready, or end with it; groups are counted down; error callbacks are written. So no crash can come
between a result and what it releases, and nothing waits for what has ended.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import apsw

from litequeue.core import state
from litequeue.core.failure import encode_chord_error, encode_exception
from litequeue.core.ids import new_id
from litequeue.core.journal import ENDS, Move, move
from litequeue.core.records import ERROR, ROW_FIELDS, UPSTREAM, NewCanvas, NewGroup, NewTask
from litequeue.core.ties import ERRBACK, ERRBACKS, KEYED, LEADS, MEMBER, QUEUED, read_errbacks
from litequeue.exceptions import DuplicateTaskError, TaskRevokedError
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.journal import sent
from litequeue.store.sqlite.keys import Keying
from litequeue.store.sqlite.logs import Logs
from litequeue.store.sqlite.stats import Counting

_COLUMNS: Final = ", ".join(ROW_FIELDS)
_QUEUE: Final = ROW_FIELDS.index("queue") + 1
_WIDTH: Final = len(ROW_FIELDS)
_GROUP_COLUMNS: Final = ", ".join(NewGroup._fields)


REVOKE_SET: Final = """
    UPDATE litequeue_tasks
    SET state = 'revoked', custom_state = NULL, result = ?1, result_serializer = 'error', result_compression = NULL,
        finished_at = ?2, prune_at = iif(ignore_result = 2, 0, ?3)
"""
"""Ends rows that have not started; which ones, follows."""
REVOKED_ROW: Final = " RETURNING id, ties, group_id, reply_port, iif(takes_input, after, NULL)"
OPEN: Final = "state IN ('waiting', 'scheduled', 'ready')"


def _needed(told: str = "") -> str:
    return f"""
    EXISTS (
        WITH RECURSIVE up (id) AS (
            SELECT task.id
            UNION SELECT own.group_id FROM up JOIN litequeue_tasks own USING (id) WHERE own.ties & 4
            UNION SELECT litequeue_groups.group_id FROM up JOIN litequeue_groups USING (id)
            {told})
        SELECT 1 FROM up JOIN litequeue_tasks next ON next.after = up.id
        WHERE next.state = 'waiting' OR next.takes_input AND next.state IN ('scheduled', 'ready', 'running'))
    """


NEEDED: Final = _needed("""
            UNION SELECT told.id FROM up JOIN litequeue_tasks told ON told.result = up.id
                WHERE told.result_serializer = 'upstream' AND told.ties & 4
""")
"""Whether a row that has not ended takes the value of the row `task`, or of a member that failed with it and shows its
error, or of a group that one of these is in."""


def parts_of(group: str) -> str:
    """The query for the ids of a group, given as a parameter, and of the groups in it."""
    return f"""
        WITH RECURSIVE part (id) AS (
            VALUES ({group}) UNION SELECT nested.id FROM part JOIN litequeue_groups nested ON nested.group_id = part.id)
        SELECT id FROM part
    """


DROP_VALUES: Final = f"""
    UPDATE litequeue_tasks AS task SET result = NULL, result_serializer = NULL, result_compression = NULL
    WHERE ignore_result AND result IS NOT NULL AND state = 'succeeded' AND NOT {_needed()}
"""
"""Drops values that only others wanted, of rows that no open row takes them of."""


class Ended(NamedTuple):
    """A task that has just ended, and what of it others depend on."""

    id: str
    state: str
    ties: int
    group_id: str | None
    cause: str | None = None
    """The task whose failure or revoke it was, where it did not end well; its own id when it failed itself."""
    prune_at: float | None = None
    transient: bool = False
    """Its value is kept for those that take it, and dropped after."""

    @property
    def failed_itself(self) -> bool:
        """Whether it ran, or was a body, and failed: then its error callbacks are due."""
        return self.state == state.FAILED and self.cause == self.id


class Moves:
    """What a transaction has moved, for those who are to be woken after its commit."""

    __slots__ = ("cancelled", "ended", "fresh", "journal", "ports", "ready")

    def __init__(self) -> None:
        self.ready: dict[int, str] = {}
        """The rows that became ready, or scheduled: their queue by their seq."""
        self.fresh: Counter[str] = Counter()
        """How many new rows of each queue are ready, or scheduled."""
        self.ports: set[int] = set()
        """Where clients wait for tasks that have ended."""
        self.ended: dict[str, str] = {}
        """The tasks that ended because of others: their state by their id."""
        self.cancelled: set[str] = set()
        """The tasks that ended in place of another try, because they were revoked while they ran."""
        self.journal: list[Move] = []
        """What the journal is to say of it, if somebody wants to be told."""

    def queues(self) -> Counter[str]:
        """How many rows of each queue became ready."""
        return Counter(self.ready.values()) + self.fresh

    def all_moves(self) -> list[Move]:
        """What the journal is to say, with the tasks that ended because of others."""
        return [*self.journal, *(move(ENDS[ended], task_id) for task_id, ended in self.ended.items())]

    def revoked(self) -> list[str]:
        """The ids of tasks that were revoked because of others."""
        return [task_id for task_id, ended in self.ended.items() if ended == state.REVOKED]


class _Count:
    """What the members of one group that have just ended add up to."""

    __slots__ = ("ended", "failed_id", "prune_at", "transient")

    def __init__(
        self, ended: int = 0, failed_id: str | None = None, prune_at: float = 0.0, transient: bool = False
    ) -> None:
        self.ended = ended
        self.failed_id = failed_id
        self.prune_at = prune_at
        """Until when the last of them is kept; infinity: for ever."""
        self.transient = transient


class Releasing(Keying, Counting, Logs):
    """What the rooms that end tasks, and those that write new ones, have in common."""

    # Writing new rows. A record is bound as it is, followed by now and the state. The lane of a new row is its queue.
    _INSERT = (
        f"INSERT INTO litequeue_tasks ({_COLUMNS}, lane, enqueued_at, state)"
        f" VALUES ({', '.join(f'?{n}' for n in range(1, _WIDTH + 1))}, ?{_QUEUE}, ?{_WIDTH + 1}, ?{_WIDTH + 2})"
    )
    _INSERT_GROUP = (
        f"INSERT INTO litequeue_groups ({_GROUP_COLUMNS}, remaining, created_at)"
        f" VALUES ({', '.join(f'?{n}' for n in range(1, len(NewGroup._fields) + 1))}, ?2, ?{len(NewGroup._fields) + 1})"
    )

    def _insert_canvas(self, connection: apsw.Connection, canvas: NewCanvas, now: float, moves: Moves) -> None:
        """Write the rows of a canvas."""
        groups = [(*group, now) for group in canvas.groups]
        if groups:
            connection.executemany(self._INSERT_GROUP, groups)
        self._insert(connection, canvas.tasks, now, moves)
        for group in canvas.groups:
            if connection.execute(self._HAS_ID, (group.id,)).get:
                raise DuplicateTaskError(
                    f"{group.id}: {self.path} has a task with this id, so no group can have it; nothing was enqueued."
                    " Give the group another task_id, or none."
                )
            if group.size == 0:
                self._follow(connection, self._count(connection, group.id, _Count(), now, moves), now, moves)

    _REVOKE_OPEN = f"{REVOKE_SET} WHERE seq = ?4 AND {OPEN} {REVOKED_ROW}"

    def _insert(self, connection: apsw.Connection, tasks: Iterable[NewTask], now: float, moves: Moves) -> None:
        """Write new rows; those under a stamp that was revoked are revoked at once."""
        stamped: list[NewTask] = []
        keyed: list[NewTask] = []
        connection.executemany(self._INSERT, _bound(tasks, now, moves.fresh, stamped, keyed))
        if self._options.sent_events:
            moves.journal += sent(tasks)
        if keyed:
            self._refuse_held(connection, keyed, now)
        self._check_stamps(connection, stamped, now, moves)

    def _check_stamps(self, connection: apsw.Connection, tasks: Sequence[NewTask], now: float, moves: Moves) -> None:
        """Keep the stamps of tasks that have been written, and revoke those under a stamp that was revoked."""
        under_revoked = self._keep_stamps(connection, tasks) if tasks else []
        if under_revoked:
            ended = (encode_exception(TaskRevokedError("revoked")), now, self._prune_at(now))
            rows = [row for seq in under_revoked for row in fetch(connection, self._REVOKE_OPEN, (*ended, seq))]
            self._follow_revoked(connection, rows, now, moves)

    def _revoke_row(self, connection: apsw.Connection, seq: int, now: float, moves: Moves) -> None:
        """Revoke a row that does not run."""
        error = encode_exception(TaskRevokedError("revoked"))
        rows = fetch(connection, self._REVOKE_OPEN, (error, now, self._prune_at(now), seq))
        self._follow_revoked(connection, rows, now, moves)

    _DELETE = "DELETE FROM litequeue_tasks WHERE seq = ?"

    def _delete_rows(self, connection: apsw.Connection, rows: Sequence[tuple[int]]) -> None:
        """Delete rows, given as (seq,), with what belongs to them: the seq of a deleted row may be given again."""
        for statement in (self._DELETE, self._DELETE_ATTEMPTS, self._DELETE_STAMPS, self._DELETE_LOGS):
            connection.executemany(statement, rows)

    # Following an end

    def _follow(self, connection: apsw.Connection, ended: Iterable[Ended], now: float, moves: Moves) -> None:
        """Carry the ends of tasks on to what hangs on them, until nothing moves any more."""
        pending = deque(ended)
        while pending:
            counts: dict[str, _Count] = {}
            while pending:
                end = pending.popleft()
                if end.ties & MEMBER and end.group_id is not None:
                    _add(counts.setdefault(end.group_id, _Count()), end)
                if end.ties & LEADS:
                    self._lead(connection, end, now, moves, pending)
                if end.ties & ERRBACKS and end.failed_itself:
                    self._fire_errbacks(connection, end.id, now, moves)
                if end.ties & KEYED:
                    moves.ready.update(self._unpark(connection, end.id))
            for group_id, count in counts.items():
                pending += self._count(connection, group_id, count, now, moves)

    def _lead(self, connection: apsw.Connection, end: Ended, now: float, moves: Moves, pending: deque[Ended]) -> None:
        """Release what waits for a task that succeeded; end what waits for one that did not."""
        if end.state == state.SUCCEEDED:
            moves.ready.update(fetch(connection, self._RELEASE_AFTER, (end.id, now)))
            if end.transient:  # the only one that would have taken its value may have been revoked
                self._drop_taken(connection, (end.id,))
        else:
            if end.ties & QUEUED:
                self._release_queued(connection, end.id, now, moves)
            pending += self._end_after(connection, end, now, moves)

    # A row's countdown and lifetime begin when it is released.
    _RELEASE_AFTER = """
        UPDATE litequeue_tasks
        SET state = iif(coalesce(?2 + countdown, run_at, 0) > ?2, 'scheduled', 'ready'),
            run_at = coalesce(?2 + countdown, run_at), expires_at = coalesce(?2 + lifetime, expires_at)
        WHERE after = ?1 AND state = 'waiting' AND edge IS NOT 'body'
        RETURNING seq, queue
    """
    _RELEASE_BODIES = _RELEASE_AFTER.replace("edge IS NOT", "edge IS")
    _RELEASE_QUEUED = _RELEASE_AFTER.replace("edge IS NOT 'body'", "edge IS 'queue'")
    _QUEUED_BEHIND = """
        SELECT before.id FROM litequeue_tasks task JOIN litequeue_tasks before ON before.id = task.after
        WHERE task.id = ? AND task.edge = 'queue' AND before.finished_at IS NULL
    """
    _QUEUE_BEHIND = "UPDATE litequeue_tasks SET after = ? WHERE after = ? AND edge = 'queue' AND state = 'waiting'"

    def _release_queued(self, connection: apsw.Connection, task_id: str, now: float, moves: Moves) -> None:
        """Let the next run of an entry go on: this one has ended, or is not to be.

        Where it was itself waiting for the run before, the next one waits for that.
        """
        before = connection.execute(self._QUEUED_BEHIND, (task_id,)).get
        if before is not None:
            connection.execute(self._QUEUE_BEHIND, (before, task_id))
        moves.ready.update(fetch(connection, self._RELEASE_QUEUED, (task_id, now)))

    # All that waits for a task, and for those again: a chain of 100,000 ends in one statement. With a group whose
    # members end so, what waits for the group ends: it never began, so that is no failure of its own.
    _END_AFTER = """
        WITH RECURSIVE down (id) AS (
            SELECT id FROM litequeue_tasks
                WHERE after = ?1 AND state = 'waiting' AND coalesce(edge, '') NOT IN ('queue', 'body')
                AND (?7 IS NULL OR edge = ?7)
            UNION ALL SELECT id FROM litequeue_groups own
                WHERE after = ?1 AND (?7 IS NULL OR EXISTS (
                    SELECT 1 FROM litequeue_tasks WHERE group_id = own.id AND after = ?1 AND edge = ?7))
            UNION ALL SELECT next.id FROM down JOIN litequeue_tasks next ON next.after = down.id
                WHERE next.state = 'waiting' AND next.edge IS NOT 'queue'
            UNION ALL SELECT next.id FROM down JOIN litequeue_groups next ON next.after = down.id)
        UPDATE litequeue_tasks
        SET state = ?2, custom_state = NULL, result = ?3, result_serializer = ?4, result_compression = NULL,
            finished_at = ?5, prune_at = iif(ignore_result = 2, 0, ?6)
        WHERE id IN (SELECT id FROM down)
        RETURNING id, ties, group_id, reply_port
    """

    def _end_after(
        self, connection: apsw.Connection, end: Ended, now: float, moves: Moves, edge: str | None = None
    ) -> list[Ended]:
        """End all that waits for a task that ended without a value; returns the members of groups among it.

        With `edge`, only what hangs on the task in that way, and what waits for it.
        """
        cause = end.cause
        upstream = (cause, UPSTREAM) if cause is not None else (None, None)
        prune_at = self._prune_at(now)
        rows = fetch(connection, self._END_AFTER, (end.id, end.state, *upstream, now, prune_at, edge))
        members = []
        for task_id, ties, group_id, reply_port in rows:
            moves.ended[task_id] = end.state
            if reply_port:
                moves.ports.add(reply_port)
            if ties & QUEUED:
                self._release_queued(connection, task_id, now, moves)
            if ties & MEMBER:
                members.append(Ended(task_id, end.state, MEMBER, group_id, cause, prune_at))
        return members

    # Groups

    _COUNT = """
        UPDATE litequeue_groups
        SET remaining = remaining - ?2, failed_id = coalesce(failed_id, ?3), transient = max(transient, ?4),
            finished_at = iif(remaining = ?2, ?5, NULL), prune_at = iif(remaining = ?2, ?6, NULL)
        WHERE id = ?1
        RETURNING remaining, failed_id, tolerant, transient, group_id
    """

    def _count(
        self, connection: apsw.Connection, group_id: str | None, count: _Count, now: float, moves: Moves
    ) -> list[Ended]:
        """Take members that ended from a group's count; the last one releases, or fails, what waits for the group.

        So up to the outermost group. Returns what failed with them.
        """
        ended: list[Ended] = []
        own = self._prune_at(now)
        while group_id is not None:
            kept_until = max(count.prune_at, math.inf if own is None else own)
            prune_at = None if kept_until == math.inf else kept_until
            bindings = (group_id, count.ended, count.failed_id, count.transient, now, prune_at)
            row = connection.execute(self._COUNT, bindings).fetchone()
            if row is None or row[0]:
                break
            _, failed_id, tolerant, transient, outer_id = row
            failed = failed_id is not None and not tolerant
            ready = len(moves.ready)
            if failed:
                ended += self._fail_bodies(connection, group_id, failed_id, now, moves)
            else:
                moves.ready.update(fetch(connection, self._RELEASE_BODIES, (group_id, now)))
            if transient and outer_id is None and len(moves.ready) == ready:  # nobody is to take the values
                connection.execute(self._DROP_MEMBERS, (group_id,))
            count = _Count(1, failed_id if failed else None, count.prune_at, bool(transient))
            group_id = outer_id
        return ended

    _FAIL_BODIES = """
        UPDATE litequeue_tasks
        SET state = 'failed', custom_state = NULL, result = ?2, result_serializer = 'error', result_compression = NULL,
            finished_at = ?3, prune_at = iif(ignore_result = 2, 0, ?4)
        WHERE after = ?1 AND state = 'waiting' AND edge IS 'body'
        RETURNING id, ties, group_id, reply_port
    """
    _ERROR_OF = "SELECT result, result_serializer FROM litequeue_tasks WHERE id = ?"

    def _fail_bodies(
        self, connection: apsw.Connection, group_id: str, failed_id: str, now: float, moves: Moves
    ) -> list[Ended]:
        """Fail what waits for a group of which a member failed: ChordError, with that member's exception as cause."""
        kept = connection.execute(self._ERROR_OF, (failed_id,)).fetchone()
        record = kept[0] if kept is not None and kept[1] == ERROR else None
        error = encode_chord_error(failed_id, record)
        prune_at = self._prune_at(now)
        ended = []
        for task_id, ties, outer, reply_port in fetch(connection, self._FAIL_BODIES, (group_id, error, now, prune_at)):
            moves.ended[task_id] = state.FAILED
            if reply_port:
                moves.ports.add(reply_port)
            ended.append(Ended(task_id, state.FAILED, ties, outer, task_id, prune_at))
        return ended

    # Error callbacks

    _ERRBACKS_OF = "SELECT errbacks FROM litequeue_tasks WHERE id = ?"
    _ROOT_OF = "SELECT coalesce(root_id, id) FROM litequeue_tasks WHERE id = ?"

    def _fire_errbacks(self, connection: apsw.Connection, failed_id: str, now: float, moves: Moves) -> None:
        """Write the error callbacks of a task that failed, as ready rows."""
        # Somebody may have written into the row: the failure itself must still be kept.
        errbacks = kept_errbacks(connection.execute(self._ERRBACKS_OF, (failed_id,)).get)
        with suppress(TypeError, OverflowError, apsw.ConstraintError), connection:
            self._write_errbacks(connection, failed_id, errbacks, now, moves)

    def _write_errbacks(
        self, connection: apsw.Connection, failed_id: str, errbacks: Sequence[NewTask], now: float, moves: Moves
    ) -> None:
        # They are a group among the failed task's children, as in Celery.
        if not errbacks:
            return
        root_id = connection.execute(self._ROOT_OF, (failed_id,)).get
        group = NewGroup(new_id(), len(errbacks), root_id=root_id, parent_id=failed_id)
        tasks = [
            errback._replace(
                id=new_id(),
                root_id=root_id,
                parent_id=failed_id,
                group_id=group.id,
                group_index=index,
                after=failed_id,
                edge=ERRBACK,
                run_at=errback.run_at if errback.countdown is None else now + errback.countdown,
                expires_at=errback.expires_at if errback.lifetime is None else now + errback.lifetime,
                ties=MEMBER | (ERRBACKS if errback.errbacks else 0) | errback.ties & KEYED,
                keys=None if errback.keys is None else errback.keys._replace(unique_key=None),
            )
            for index, errback in enumerate(errbacks)
        ]
        self._insert_canvas(connection, NewCanvas(tasks, (group,)), now, moves)

    # Ending rows that have not started

    def _follow_revoked(
        self, connection: apsw.Connection, rows: Iterable[tuple[Any, ...]], now: float, moves: Moves
    ) -> list[str]:
        """Follow rows of `REVOKED_ROW`, all that are revoked together; returns their ids."""
        rows = list(rows)
        prune_at = self._prune_at(now)
        moves.ports.update(port for _, _, _, port, _ in rows if port)
        moves.journal += (move(ENDS[state.REVOKED], task_id) for task_id, _, _, _, _ in rows)
        self._follow(
            connection,
            [
                Ended(task_id, state.REVOKED, ties, group_id, task_id, prune_at)
                for task_id, ties, group_id, _, _ in rows
            ],
            now,
            moves,
        )
        self._drop_taken(connection, {node for _, _, _, _, node in rows if node is not None})
        return [task_id for task_id, _, _, _, _ in rows]

    # Values that only others want

    _OF_TRANSIENT = "SELECT 1 FROM litequeue_groups WHERE id = ? AND transient"
    _DROP_VALUE = f"{DROP_VALUES} AND id = ?1"
    _DROP_MEMBERS = f"{DROP_VALUES} AND ties & 4 AND group_id IN ({parts_of('?1')})"

    def _drop_taken(self, connection: apsw.Connection, nodes: Iterable[str]) -> None:
        """Drop the values of tasks that want no result, once those that take them have ended."""
        for node_id in nodes:
            connection.execute(self._DROP_VALUE, (node_id,))
            if not connection.changes() and connection.execute(self._OF_TRANSIENT, (node_id,)).get:
                connection.execute(self._DROP_MEMBERS, (node_id,))

    # Waking, after the commit

    def _close(self, connection: apsw.Connection, moves: Moves, now: float) -> list[tuple[int, int, str]]:
        """What comes last in the transaction of somebody who is no slot: the journal; returns whom to wake after it."""
        moved = moves.journal or moves.ended
        if moved and (self._options.sent_events or self._gates_of(connection).events):
            self._journal(connection, moves.all_moves(), now)
        return self._slots_for(connection, moves)

    def _slots_for(self, connection: apsw.Connection, moves: Moves) -> list[tuple[int, int, str]]:
        """Who is idle, if there is something to wake them for."""
        return self._idle_slots(connection) if moves.ready or moves.fresh else []

    def _wake(self, moves: Moves, slots: list[tuple[int, int, str]]) -> None:
        """Wake idle slots for the rows that became ready, and the clients that wait for those that ended."""
        if slots:
            self._wake_idle(slots, moves.queues())
        if moves.ports:
            self._sender.send_all(moves.ports)


def kept_errbacks(text: str | None) -> list[NewTask]:
    """The error callbacks of a row; none where somebody has written something else there."""
    with suppress(ValueError, RecursionError):
        return read_errbacks(text)
    return []


def first_state(task: NewTask, now: float) -> str:
    """The state of a new row."""
    if task.after is not None and task.edge != ERRBACK:
        return state.WAITING
    return state.READY if task.run_at is None or task.run_at <= now else state.SCHEDULED


def _bound(
    tasks: Iterable[NewTask], now: float, ready: Counter[str], stamped: list[NewTask], keyed: list[NewTask]
) -> Iterable[tuple[Any, ...]]:
    """The bindings of `_INSERT`; counts what does not wait by queue, collects what has stamps and what has keys."""
    as_ready: tuple[Any, ...] = (now, state.READY)
    for task in tasks:
        if task.after is None and task.run_at is None:  # the row of a plain group: nothing is asked twice of it
            ready[task.queue] += 1
            bound = as_ready
        else:
            bound = (now, first_state(task, now))
            if bound[1] != state.WAITING:
                ready[task.queue] += 1
        if task.stamps is not None:
            stamped.append(task)
        if task.keys is not None:
            keyed.append(task)
        yield task[:-1] + bound


def _add(count: _Count, end: Ended) -> None:
    count.ended += 1
    count.transient = count.transient or end.transient
    count.prune_at = max(count.prune_at, math.inf if end.prune_at is None else end.prune_at)
    if count.failed_id is None and end.state in (state.FAILED, state.REVOKED):
        count.failed_id = end.cause or end.id
