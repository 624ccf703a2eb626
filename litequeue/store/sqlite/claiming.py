"""Taking ready rows: which lanes are looked into, and which of the rows there this process may run now."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import apsw

from litequeue import exceptions
from litequeue.core import clock
from litequeue.core.failure import encode_exception
from litequeue.core.keys import parked_lane
from litequeue.core.records import Claimed
from litequeue.core.ties import KEYED
from litequeue.store.contract import ONCE, Claimant, Pick
from litequeue.store.sqlite.engine import LANE_SEPARATOR, fetch
from litequeue.store.sqlite.gates import Gates
from litequeue.store.sqlite.mending import Mending
from litequeue.store.sqlite.release import Moves, Releasing

_PROMOTE_SLICE: Final = 500  # rows made ready by one claim when many fall due at once
_ASIDE_SLICE: Final = 500  # rows put into other lanes, or found expired, by one claim
# The attempt that a claim begins; never over what SQLite can count, whatever somebody has written.
_CLAIMED_COLUMNS: Final = tuple(
    "min(attempt, 9223372036854775806) + 1" if name == "attempt" else name for name in Claimed._fields
)
_ORDER: Final = (Claimed._fields.index("priority"), Claimed._fields.index("seq"))


class NotDurable(Exception):
    """An at-most-once row was met in a transaction that would not survive a power cut."""


class Taken(NamedTuple):
    """What one look at the ready rows came to."""

    claimed: list[Claimed]
    aside: list[Claimed]
    """Of tasks that this process does not know."""
    expired: list[Claimed]
    moved: list[tuple[str, Claimed]]
    """What is not to be claimed now, with the lane that it goes to: paused, limited, or waiting for its key."""

    def unseen(self) -> bool:
        """Whether rows may have been left unseen behind those that were not claimed."""
        return len(self.aside) + len(self.expired) + len(self.moved) >= _ASIDE_SLICE


class Claiming(Releasing, Mending):
    """Looking for work, and taking it."""

    # Looking, before the door is taken

    _NEXT_AT = "SELECT min(run_at) FROM litequeue_tasks WHERE state = 'scheduled'"

    def _look(self, claimant: Claimant) -> tuple[float | None, bool]:
        """When the next row is due, and whether there may be something to claim now."""
        with self._database.read() as connection:
            next_at = connection.execute(self._NEXT_AT).get
            if next_at is not None and next_at <= clock.now():
                return next_at, True
            gates = self._gates_of(connection)
            queues = gates.queues_of(claimant.holder, claimant.queues)
            opened = self._open_lanes(connection, gates, queues, claimant.picker.names, claimant.rate_limited)
            return earlier(next_at, opened.opens_at), self._survey(connection, opened.lanes)

    # Claiming

    _PROMOTE = f"""
        UPDATE litequeue_tasks SET state = 'ready'
        WHERE seq IN (
            SELECT seq FROM litequeue_tasks
            WHERE state = 'scheduled' AND run_at <= ? ORDER BY run_at LIMIT {_PROMOTE_SLICE})
        RETURNING seq, queue
    """

    def _promote(self, connection: apsw.Connection, now: float, moves: Moves) -> float | None:
        """Make ready what is due; returns when the next row is."""
        next_at: float | None = connection.execute(self._NEXT_AT).get
        if next_at is None or next_at > now:
            return next_at
        moves.ready.update(fetch(connection, self._PROMOTE, (now,)))
        later: float | None = connection.execute(self._NEXT_AT).get
        return later

    _CLAIM = """
        UPDATE litequeue_tasks
        SET state = 'running', holder = ?, worker = ?, pid = ?, at_most_once = ?, attempt = ?, started_at = ?,
            custom_state = iif(cancel IS NULL, NULL, custom_state)
        WHERE seq = ?
    """

    def _take(
        self,
        connection: apsw.Connection,
        claimant: Claimant,
        gates: Gates,
        limit: int,
        now: float,
        moves: Moves,
        durability: str,
    ) -> tuple[Taken, float | None]:
        """Choose among the ready rows and claim them; returns also when the next limited row may start."""
        queues = gates.queues_of(claimant.holder, claimant.queues)
        lanes, opens_at = self._open_lanes(connection, gates, queues, claimant.picker.names, claimant.rate_limited)
        choice = _Choice(self, connection, claimant, gates, limit, now)
        try:
            taken = choice.among(self._candidates(connection, lanes))
        except UnicodeDecodeError:
            self._mend_ready(connection, lanes)
            return Taken([], [], [], []), now
        picker, (holder, worker, pid) = claimant.picker, (claimant.holder, claimant.worker, claimant.pid)
        bindings = []
        for row in taken.claimed:
            once = picker.at_most_once(row.name)
            if once == ONCE and durability != self._durability:
                raise NotDurable
            bindings.append((holder, worker, pid, once, row.attempt, now, row.seq))
        connection.executemany(self._CLAIM, bindings)
        if taken.aside or taken.moved:
            self._move(connection, taken)
            opens_at = now  # look again: some of them may be claimed from where they are now
        if taken.expired:
            self._expire(connection, taken.expired, now, moves)
        if gates.time_limits:
            taken = taken._replace(claimed=[_limited(row, gates) for row in taken.claimed])
        return taken, opens_at

    _READY = f"""
        SELECT {", ".join(_CLAIMED_COLUMNS)} FROM litequeue_tasks
        WHERE state = 'ready' AND lane = ?
        ORDER BY priority DESC, seq
    """

    def _candidates(self, connection: apsw.Connection, lanes: list[str]) -> Iterator[tuple[Any, ...]]:
        """The ready rows in the order they are to be run, read one at a time."""
        if len(lanes) == 1:
            return iter(connection.execute(self._READY, (lanes[0],)))
        priority, seq = _ORDER
        return heapq.merge(
            *(connection.execute(self._READY, (lane,)) for lane in lanes), key=lambda row: (-row[priority], row[seq])
        )

    # What is not claimed

    _SET_LANE = "UPDATE litequeue_tasks SET lane = ? WHERE seq = ?"
    _ADD_LANE = "INSERT OR IGNORE INTO litequeue_lanes (queue, name) VALUES (?, ?)"

    def _move(self, connection: apsw.Connection, taken: Taken) -> None:
        """Put rows into lanes of their own."""
        moved = [*taken.moved, *((lane_apart(row), row) for row in taken.aside)]
        connection.executemany(self._SET_LANE, ((lane, row.seq) for lane, row in moved))
        apart = {(row.queue, row.name) for lane, row in moved if lane == lane_apart(row)}
        before = connection.total_changes()
        connection.executemany(self._ADD_LANE, apart)
        if connection.total_changes() != before:
            self._gates_changed(connection)

    def _expire(self, connection: apsw.Connection, expired: Iterable[Claimed], now: float, moves: Moves) -> None:
        error = encode_exception(exceptions.TaskRevokedError("expired"))
        rows = [fetch(connection, self._REVOKE_OPEN, (error, now, self._prune_at(now), row.seq)) for row in expired]
        self._follow_revoked(connection, (row for found in rows for row in found), now, moves)

    # Concurrency keys

    _KEY = "SELECT concurrency_key, coalesce(concurrency_limit, 1) FROM litequeue_tasks WHERE seq = ?"
    _RUNNING_WITH = "SELECT count(*) FROM litequeue_tasks WHERE concurrency_key = ? AND state = 'running'"

    def key_of(self, connection: apsw.Connection, seq: int) -> tuple[str | None, int]:
        """The concurrency key of a row and its limit."""
        ((key, limit),) = fetch(connection, self._KEY, (seq,))
        return key, limit

    def count_running_with(self, connection: apsw.Connection, key: str) -> int:
        """How many rows with this concurrency key run."""
        count: int = connection.execute(self._RUNNING_WITH, (key,)).get
        return count


class _Choice:
    """Which of the ready rows one claim takes."""

    def __init__(
        self, store: Claiming, connection: apsw.Connection, claimant: Claimant, gates: Gates, limit: int, now: float
    ) -> None:
        self._store = store
        self._connection = connection
        self._claimant = claimant
        self._gates = gates
        self._limit = limit
        self._now = now
        self._running: dict[str, int] = {}
        self._taken = Taken([], [], [], [])

    def among(self, candidates: Iterator[tuple[Any, ...]]) -> Taken:
        """Go through the rows in order, until enough are taken."""
        taken, pick, apart = self._taken, self._claimant.picker.pick, self._gates.apart
        claimed, now = taken.claimed, self._now
        for values in candidates:
            row = Claimed._make(values)
            if row.expires_at is not None and row.expires_at <= now:
                taken.expired.append(row)
            else:
                choice = pick(row.name, row.deaths)
                if choice is Pick.STOP:
                    break
                if choice is Pick.ASIDE:
                    taken.aside.append(row)
                elif row.name in apart and not self._is_open(row.name):
                    taken.moved.append((lane_apart(row), row))
                elif row.ties & KEYED and (lane := self._parked(row)) is not None:
                    taken.moved.append((lane, row))
                elif row.name in apart and not self._count_start(row, bool(claimed)):
                    break
                else:
                    claimed.append(row)
                    if choice is Pick.LAST or len(claimed) >= self._limit or row.name in apart:
                        break
            if taken.unseen():
                break  # keep the transaction short; the next claim goes on behind them
        return taken

    def _is_open(self, name: str) -> bool:
        """Whether a task of a name that is paused or limited may start now."""
        if name in self._gates.paused_names:
            return False
        if not self._claimant.rate_limited:
            return True
        return self._store._opens_at(self._connection, name, self._gates.rates[name]) <= self._now

    def _count_start(self, row: Claimed, others: bool) -> bool:
        """Count the start of a limited task, which is claimed alone; False where it would start behind others."""
        if not self._claimant.rate_limited:
            return True
        if others:
            return False
        self._store._count_start(self._connection, row.name, self._gates.rates[row.name], self._now)
        return True

    def _parked(self, row: Claimed) -> str | None:
        """The lane in which the row waits for its concurrency key; None: it need not wait."""
        key, limit = self._store.key_of(self._connection, row.seq)
        if key is None:
            return None
        running = self._running.get(key)
        if running is None:
            running = self._store.count_running_with(self._connection, key)
        if running >= limit:
            self._running[key] = running
            return parked_lane(key, row.queue, row.name)
        self._running[key] = running + 1
        return None


def lane_apart(row: Claimed) -> str:
    """The lane of rows of one name, apart from the others of its queue."""
    return row.queue + LANE_SEPARATOR + row.name


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two times, either of which may be never."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _limited(row: Claimed, gates: Gates) -> Claimed:
    """The row with the time limits that were set for its name at run time, in place of its own."""
    hard, soft = gates.time_limits.get(row.name, (None, None))
    return row._replace(
        time_limit=row.time_limit if hard is None else hard or None,
        soft_time_limit=row.soft_time_limit if soft is None else soft or None,
    )
