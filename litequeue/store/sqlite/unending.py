"""Taking back what the end of a task did to others: the exact inverse of `release`, in one transaction."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import apsw

from litequeue.core.ties import BODY, KEYED, LEADS, MEMBER
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.release import Moves, Releasing, parts_of

_SHOWN: Final = 3  # how many tasks a refusal names
_OPEN_AGAIN: Final = """
    custom_state = NULL, result = NULL, result_serializer = NULL, result_compression = NULL, traceback = NULL,
    finished_at = NULL, prune_at = NULL, cancel = NULL, holder = NULL, lane = queue,
    expires_at = iif(expires_at <= ?2, NULL, expires_at)
"""
"""What an ended row loses that is open again. `?2` is now: an expiry that has passed would end it at once."""
_UPSTREAM: Final = "iif(result_serializer IS 'upstream', result, NULL)"
BY_ITS_GROUP: Final = "edge IS 'body' AND started_at IS NULL AND result_serializer IS 'error'"
"""Of failed rows: bodies that did not run, because a member of their group failed."""


# The error of an attempt is kept when it ends; this is for what ended without one, or in place.
_KEEP_END: Final = """
    INSERT OR {} INTO litequeue_attempts (seq, attempt, outcome, error, traceback, worker, started_at, finished_at)
    SELECT seq, attempt, state, result, traceback, worker, started_at, finished_at FROM litequeue_tasks
    WHERE {} AND result_serializer = 'error' AND typeof(result) = 'text' AND finished_at IS NOT NULL
"""


class EndedRow(NamedTuple):
    """What is asked of a row that is to be run again."""

    seq: int
    id: str
    state: str
    ties: int
    group_id: str | None
    after: str | None
    edge: str | None
    takes_input: int
    attempt: int
    started_at: float | None
    ignore_result: int
    result: str | None
    """The task because of which it ended; None: it has another result."""
    result_serializer: str | None
    unique_key: str | None
    unique_hold: int | None
    schedule: str | None

    @property
    def by_its_group(self) -> bool:
        """Whether it is a body that did not run, because a member of its group failed."""
        return self.edge == BODY and self.started_at is None and self.result_serializer == "error"

    @property
    def plain(self) -> bool:
        """Whether nothing but its own state has to be looked at."""
        return not (self.ties or self.after is not None or (self.unique_hold and self.unique_key is None))


class Refused(Exception):
    """Why a task cannot be run again; `causes` are tasks that would have to be run again first."""

    def __init__(self, reason: str, causes: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.causes = causes


class Opened:
    """What is opened again together, from one task on."""

    def __init__(self) -> None:
        self.roots: dict[str, None] = {}
        """The tasks that are run again."""
        self.also: deque[str] = deque()
        """Tasks whose failures would fail something of it again."""
        self.put_off: list[str] = []
        """Of those: what was refused while ends were still to be taken back, and may be because of one of these."""
        self.pending: deque[tuple[str, int, str | None]] = deque()
        """Tasks that are open again and whose end is to be taken back: id, ties, group."""
        self.counts: Counter[str] = Counter()
        """How many members each group has to count again."""
        self.awaited: dict[str, int] = {}
        """The groups that something waits for again; above 0: and takes their values."""
        self.looked: set[str] = set()
        """The groups whose other failures have been looked at."""

    def wait_for(self, group_id: str, takes_input: int) -> None:
        """Note that something waits for a group again."""
        self.awaited[group_id] = max(takes_input, self.awaited.get(group_id, 0))


class Unending(Releasing):
    """What the verbs have in common that open tasks again which have ended."""

    _ROWS = f"""
        SELECT {", ".join(_UPSTREAM if name == "result" else name for name in EndedRow._fields)}
        FROM litequeue_tasks WHERE id IN (SELECT value FROM json_each(?))
    """

    def _rows(self, connection: apsw.Connection, ids: Sequence[str]) -> list[EndedRow]:
        """The rows of `ids`, in that order."""
        found = {row[1]: EndedRow._make(row) for row in fetch(connection, self._ROWS, (json.dumps(ids),))}
        return [found[task_id] for task_id in ids if task_id in found]

    _KEEP_ENDS = _KEEP_END.format("IGNORE", "seq IN (SELECT value FROM json_each(?))")
    _KEEP_BODIES = _KEEP_END.format("REPLACE", f"after = ? AND state = 'failed' AND {BY_ITS_GROUP}")
    _OPEN_ROWS = f"""
        UPDATE litequeue_tasks SET state = 'ready', retries = 0, deaths = 0, run_at = NULL, {_OPEN_AGAIN}
        WHERE seq IN (SELECT value FROM json_each(?1)) AND state IN ('failed', 'revoked')
        RETURNING seq, queue
    """
    _OPEN_WAITING = f"""
        UPDATE litequeue_tasks SET state = 'waiting', retries = 0, deaths = 0, {_OPEN_AGAIN}
        WHERE seq = ?1 AND state IN ('failed', 'revoked')
    """

    def _open_plain(self, connection: apsw.Connection, rows: Iterable[EndedRow], now: float, moves: Moves) -> None:
        """Make rows ready."""
        seqs = json.dumps([row.seq for row in rows])
        connection.execute(self._KEEP_ENDS, (seqs,))
        moves.ready.update(fetch(connection, self._OPEN_ROWS, (seqs, now)))

    # Whether it can be

    _INCOMPLETE = f"""
        SELECT id FROM litequeue_groups own WHERE id IN ({parts_of("?")}) AND size <> (
            SELECT count(*) FROM litequeue_tasks WHERE group_id = own.id AND ties & 4
        ) + (SELECT count(*) FROM litequeue_groups WHERE group_id = own.id) LIMIT 1
    """
    _DROPPED = f"""
        SELECT id FROM litequeue_tasks WHERE group_id IN ({parts_of("?")}) AND ties & 4
            AND state = 'succeeded' AND ignore_result AND result IS NULL LIMIT 1
    """

    def _check_group(self, connection: apsw.Connection, group_id: str, takes_values: bool, open_again: bool) -> None:
        """Refused: what waits for the group would wait for ever, or not get the values of all its members."""
        group = connection.execute(self._GROUP_STANDS, (group_id,)).fetchone()
        if group is not None and open_again and group[0] <= 0:
            if causes := list(islice(self._failures_in(connection, group_id), _SHOWN)):
                raise Refused(
                    f"the group {group_id}, which is waited for, ended badly too: retry it together with"
                    f" {' and '.join(causes)}"
                )
            group = None
        if group is None:
            raise Refused(f"the members of the group {group_id}, which is waited for, are not in the file any more")
        if not takes_values:
            return
        lacks = connection.execute(self._INCOMPLETE, (group_id,)).get
        if lacks is not None:
            raise Refused(f"the values of the group {lacks} are needed, and not all its members are in the file")
        dropped = connection.execute(self._DROPPED, (group_id,)).get
        if dropped is not None:
            raise Refused(
                f"the values of the group {group_id} are needed, and that of {dropped} was not kept (ignore_result)"
            )

    _GROUP_STANDS = "SELECT remaining, failed_id IS NOT NULL AND NOT tolerant FROM litequeue_groups WHERE id = ?"

    # A key that was taken from a row is noted in its options.
    _LOST_KEY = """
        SELECT iif(json_valid(options), json_extract(options, '$.unique_key'), NULL)
        FROM litequeue_tasks WHERE seq = ? AND options IS NOT NULL
    """
    _GIVE_KEY = """
        UPDATE litequeue_tasks SET unique_key = ?, options = json_remove(options, '$.unique_key') WHERE seq = ?
    """

    def _take_key_back(self, connection: apsw.Connection, seq: int, unique_hold: int | None, now: float) -> None:
        """Give a row the unique key that another took when it had ended. Refused: a task holds it.

        `unique_hold` is 0 for a row that has its key.
        """
        if not unique_hold:
            return
        key = connection.execute(self._LOST_KEY, (seq,)).get
        if not isinstance(key, str):
            return
        holder = self._holder_of(connection, key, now)
        if holder is not None:
            raise Refused(f"its unique key {key!r} is held by {holder.id}, which is {holder.state}")
        connection.execute(self._GIVE_KEY, (key, seq))

    # Because of whom it ended

    _CAUSE = f"""
        SELECT iif(state = 'failed' AND {BY_ITS_GROUP}, after, NULL),
            {_UPSTREAM} FROM litequeue_tasks WHERE id = ?
    """
    _FAILED_MEMBERS = """
        SELECT iif(result_serializer IS 'upstream', result, id) FROM litequeue_tasks
        WHERE group_id = ? AND ties & 4 AND state IN ('failed', 'revoked') ORDER BY finished_at
    """
    _FAILED_PARTS = "SELECT id FROM litequeue_groups WHERE group_id = ? AND failed_id IS NOT NULL AND NOT tolerant"

    def _roots_of(self, connection: apsw.Connection, task_id: str) -> Iterator[str]:
        """The tasks that ended badly themselves, and because of which the task `task_id` did."""
        nodes, seen = deque([task_id]), {task_id}
        while nodes:
            node = nodes.popleft()
            cause = connection.execute(self._CAUSE, (node,)).fetchone()
            if cause is None:
                continue
            group_id, upstream = cause
            found = [upstream] if upstream is not None else self._members_of(connection, group_id) if group_id else None
            if found is None:
                yield node
            else:
                nodes += (each for each in found if each not in seen)
                seen.update(found)

    def _members_of(self, connection: apsw.Connection, group_id: str) -> list[str]:
        """Because of whom members of a group, or of a group in it, have failed."""
        found: dict[str, None] = {}
        groups = [group_id]
        while groups:
            group_id = groups.pop()
            found.update((task_id, None) for (task_id,) in fetch(connection, self._FAILED_MEMBERS, (group_id,)))
            groups += (part for (part,) in fetch(connection, self._FAILED_PARTS, (group_id,)))
        return list(found)

    def _failures_in(self, connection: apsw.Connection, group_id: str | None) -> Iterator[str]:
        """The tasks whose failures are those of the group."""
        seen: set[str] = set()
        for member in self._members_of(connection, group_id or ""):
            for root in self._roots_of(connection, member):
                if root not in seen:
                    seen.add(root)
                    yield root

    def _because_of(self, connection: apsw.Connection, causes: Iterator[str]) -> Refused:
        """The reason to give for a task that did not run because of others."""
        found = list(causes)
        if not found:
            return Refused("it ended because of another task, which the file does not have any more")
        shown = " and ".join(f"{cause} ({connection.execute(self._NAME, (cause,)).get})" for cause in found[:_SHOWN])
        more = ", and of others" if len(found) > _SHOWN else ""
        return Refused(f"it did not run, because of {shown}{more}: retry that, and it comes with it", found)

    _NAME = "SELECT name FROM litequeue_tasks WHERE id = ?"

    # Taking an end back

    _OPEN_AFTER = f"""
        WITH RECURSIVE down (id) AS (
            SELECT id FROM litequeue_tasks WHERE after = ?1 AND result = ?1 AND result_serializer = 'upstream'
            UNION SELECT id FROM litequeue_groups WHERE after = ?1
            UNION SELECT next.id FROM down JOIN litequeue_tasks next ON next.after = down.id
                WHERE next.result = ?1 AND next.result_serializer = 'upstream'
            UNION SELECT next.id FROM down JOIN litequeue_groups next ON next.after = down.id)
        UPDATE litequeue_tasks SET state = 'waiting', {_OPEN_AGAIN}
        WHERE id IN (SELECT id FROM down) AND state IN ('failed', 'revoked')
        RETURNING ties, group_id, edge, after, takes_input, seq, iif(unique_key IS NULL, unique_hold, 0)
    """

    def _take_back(
        self, connection: apsw.Connection, canvas: Opened, wanted: Container[str], now: float, moves: Moves
    ) -> None:
        """Take back what the ends of tasks did to others, until nothing moves any more.

        Those of `wanted` whose failures would fail something of it again are added to `canvas.also`.
        """
        while canvas.pending or canvas.counts:
            while canvas.pending:
                task_id, ties, group_id = canvas.pending.popleft()
                if ties & MEMBER and group_id is not None:
                    canvas.counts[group_id] += 1
                if ties & LEADS:
                    self._open_after(connection, task_id, canvas, now)
            counts, canvas.counts = canvas.counts, Counter()
            for group_id, count in counts.items():
                self._uncount(connection, group_id, count, canvas, now, moves)
                self._look_for_more(connection, group_id, canvas, wanted)
        for group_id in canvas.awaited:
            self._look_for_more(connection, group_id, canvas, wanted)

    def _look_for_more(
        self, connection: apsw.Connection, group_id: str, canvas: Opened, wanted: Container[str]
    ) -> None:
        """Add those of `wanted` to the canvas because of which the group has failed, too."""
        if wanted and group_id not in canvas.looked:
            canvas.looked.add(group_id)
            canvas.also += (cause for cause in self._failures_in(connection, group_id) if cause in wanted)

    def _open_after(self, connection: apsw.Connection, task_id: str, canvas: Opened, now: float) -> None:
        """Have what ended because of a task wait again."""
        for ties, group_id, edge, after, takes_input, seq, hold in fetch(connection, self._OPEN_AFTER, (task_id, now)):
            self._take_key_back(connection, seq, hold, now)
            if ties & MEMBER and group_id is not None:
                canvas.counts[group_id] += 1
            if edge == BODY:
                canvas.wait_for(after, takes_input)

    _COUNTED = "SELECT remaining, group_id FROM litequeue_groups WHERE id = ?"
    # The failure of a member that is gone cannot be taken back.
    _UNCOUNT = """
        UPDATE litequeue_groups
        SET remaining = remaining + ?2, finished_at = NULL, prune_at = NULL, failed_id = coalesce(
            (SELECT cause FROM (
                SELECT iif(result_serializer IS 'upstream', result, id) AS cause, finished_at AS since
                    FROM litequeue_tasks WHERE group_id = ?1 AND ties & 4 AND state IN ('failed', 'revoked')
                UNION ALL SELECT failed_id, finished_at FROM litequeue_groups
                    WHERE group_id = ?1 AND remaining = 0 AND failed_id IS NOT NULL AND NOT tolerant)
                ORDER BY since LIMIT 1),
            iif(EXISTS (SELECT 1 FROM litequeue_tasks WHERE id = litequeue_groups.failed_id), NULL, failed_id))
        WHERE id = ?1
    """
    _LEFT_BODY = f"SELECT 1 FROM litequeue_tasks WHERE after = ? AND state = 'failed' AND {BY_ITS_GROUP}"

    def _uncount(
        self,
        connection: apsw.Connection,
        group_id: str,
        count: int,
        canvas: Opened,
        now: float,
        moves: Moves,
    ) -> None:
        """Have a group count members again; if it had ended, what waited for it waits again, and so outwards."""
        group = connection.execute(self._COUNTED, (group_id,)).fetchone()
        if group is None:
            if connection.execute(self._LEFT_BODY, (group_id,)).get:
                raise Refused(f"its group {group_id} is not in the file any more, and the body of that failed with it")
            return
        remaining, outer_id = group
        connection.execute(self._UNCOUNT, (group_id, count))
        if remaining <= 0:
            if outer_id is not None:
                canvas.counts[outer_id] += 1
            self._hold_bodies(connection, group_id, canvas, now, moves)

    _OPEN_BODIES = f"""
        UPDATE litequeue_tasks SET state = 'waiting', {_OPEN_AGAIN}
        WHERE after = ?1 AND state = 'failed' AND {BY_ITS_GROUP}
        RETURNING id, ties, group_id, takes_input, seq, iif(unique_key IS NULL, unique_hold, 0)
    """
    _BUSY_BODIES = """
        SELECT id FROM litequeue_tasks WHERE after = ? AND edge IS 'body' AND takes_input
            AND (state = 'running' OR state IN ('ready', 'scheduled') AND started_at IS NOT NULL)
    """
    _HOLD_BODIES = """
        UPDATE litequeue_tasks SET state = 'waiting', lane = queue
        WHERE after = ?1 AND edge IS 'body' AND state IN ('ready', 'scheduled')
            AND (started_at IS NULL OR id IN (SELECT value FROM json_each(?2)))
        RETURNING id, ties, takes_input
    """

    def _hold_bodies(
        self, connection: apsw.Connection, group_id: str, canvas: Opened, now: float, moves: Moves
    ) -> None:
        """Have bodies wait for a group that had ended: those that failed with it, and those that have not begun."""
        connection.execute(self._KEEP_BODIES, (group_id,))
        for task_id, ties, outer_id, takes_input, seq, hold in fetch(connection, self._OPEN_BODIES, (group_id, now)):
            self._take_key_back(connection, seq, hold, now)
            canvas.pending.append((task_id, ties, outer_id))
            canvas.wait_for(group_id, takes_input)
        # Those that were made ready in this transaction wait again like those that have never begun.
        begun = [task_id for (task_id,) in fetch(connection, self._BUSY_BODIES, (group_id,))]
        busy = next((task_id for task_id in begun if task_id not in canvas.roots), None)
        if busy is not None:
            raise Refused(f"{busy}, which takes the values of its group {group_id}, is under way: wait for its end")
        for task_id, ties, takes_input in fetch(connection, self._HOLD_BODIES, (group_id, json.dumps(begun))):
            canvas.wait_for(group_id, takes_input)
            if ties & KEYED:
                moves.ready.update(self._unpark(connection, task_id))
