"""The journal: what a transaction moved is written with it, where somebody wants to be told; and read in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import apsw

from litequeue.core import clock
from litequeue.core.journal import (
    ENDS,
    REJECTED,
    REPLACED,
    RETRIED,
    SNOOZED,
    Move,
    claim,
    events_of,
    move,
    publication,
    sending,
    sendings,
    size_of,
    write_moves,
)
from litequeue.core.records import NORMAL, Claimed, NewTask, Outcome
from litequeue.core.state import REVOKED
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.gates import Gating

if TYPE_CHECKING:  # whoever looks imports it; in a process that only calls, it would cost its first call 3 ms
    from litequeue.core.viewing import EventRange, EventRecord

_LAST: Final = 2**63 - 1  # the highest number that SQLite has
_ROWS: Final = 500  # rows of the journal that are deleted, or read, at a time


class Journaling(Gating):
    """Writing the journal, for every room that moves tasks; and its verbs."""

    # The newest row is always there (see `_trim_journal`), so the numbers go on from it.
    _APPEND = """
        INSERT INTO litequeue_events (number, size, at, worker, moves)
        SELECT coalesce((SELECT number + size FROM litequeue_events ORDER BY number DESC LIMIT 1), 1), ?1, ?2, ?3, ?4
    """

    def _append(self, connection: apsw.Connection, moves: Sequence[Move], now: float, worker: str | None) -> None:
        """Write what a transaction moved, as one row."""
        if moves:
            connection.execute(self._APPEND, (size_of(moves), now, worker, write_moves(moves)))

    def _journal(self, connection: apsw.Connection, moves: Sequence[Move], now: float) -> None:
        """Write what somebody moved who is no worker: its calls, and the rest if any worker is to be written about."""
        if moves and not self._gates_of(connection).events:
            moves = sendings(moves)  # there are some with `sent_events`
        self._append(connection, moves, now, None)

    # Switching

    _SET_EVENTS = """
        UPDATE litequeue_processes SET events = ?2
        WHERE (id = ?1 OR parent = ?1) AND role IN ('worker', 'child') AND events <> ?2
    """

    def set_events(self, worker: int, on: bool) -> bool:
        """Whether what the processes of the worker do is written into the journal. False: it was so already."""
        with self._database.write(NORMAL) as connection:
            connection.execute(self._SET_EVENTS, (worker, int(on)))
            changed = connection.changes() > 0
            if changed:
                self._gates_changed(connection)
        return changed

    def publish(self, events: Sequence[tuple[str, Mapping[str, Any]]], worker: str | None = None) -> None:
        """Write events of one's own into the journal: (type, fields) each."""
        if events:
            moves = [publication(kind, fields) for kind, fields in events]
            with self._database.write(NORMAL) as connection:
                self._append(connection, moves, clock.now(), worker)

    # Reading

    _RANGE = """
        SELECT coalesce((SELECT number FROM litequeue_events ORDER BY number LIMIT 1), 1),
               coalesce((SELECT number + size - 1 FROM litequeue_events ORDER BY number DESC LIMIT 1), 0)
    """

    def event_range(self) -> EventRange:
        """What the journal holds."""
        from litequeue.core.viewing import EventRange

        with self._database.read() as connection:
            ((first, last),) = fetch(connection, self._RANGE)
        return EventRange(first, last)

    # A row may begin before the event that is asked for.
    _EVENTS = """
        SELECT number, at, worker, moves FROM litequeue_events
        WHERE number >= coalesce((SELECT max(number) FROM litequeue_events WHERE number <= ?), 0)
        ORDER BY number LIMIT ?
    """

    def events(self, after: int, limit: int = 1000) -> list[EventRecord]:
        """The events with numbers above `after`, oldest first."""
        found: list[EventRecord] = []
        with self._database.read() as connection:
            for number, at, worker, moves in connection.execute(self._EVENTS, (min(after + 1, _LAST), _ROWS)):
                found += (event for event in _readable(number, at, worker, moves) if event.number > after)
                if len(found) >= limit:
                    break
        return found[:limit]

    # Bounds

    _TRIM = """
        DELETE FROM litequeue_events WHERE number IN (
            SELECT number FROM (SELECT number, size, at FROM litequeue_events ORDER BY number LIMIT ?3)
            WHERE at < ?1 OR number + size <= ?2 + 1)
        AND number < (SELECT max(number) FROM litequeue_events)
    """

    def _trim_journal(self, connection: apsw.Connection, now: float) -> None:
        """Delete what is past its retention, and the oldest above the limit; never the newest row."""
        retention = self._options.event_retention
        ((_, last),) = fetch(connection, self._RANGE)
        keep_from = last - self._options.event_limit
        oldest = float("-inf") if retention is None else now - retention
        connection.execute(self._TRIM, (oldest, keep_from, _ROWS))


def _readable(number: int, at: float, worker: str | None, moves: str) -> Iterable[EventRecord]:
    """The events of a row; none where somebody has written something else there."""
    try:
        return list(events_of(number, at, worker, moves))
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError):
        return ()


# What became of rows, as moves


def sent(tasks: Iterable[NewTask]) -> list[Move]:
    """The moves of new tasks."""
    return [sending(task.id, task.name, task.queue) for task in tasks]


def claims(rows: Iterable[Claimed]) -> list[Move]:
    """The moves of rows that were claimed."""
    return [claim(row.id, row.attempt, row.name) for row in rows]


def ends(outcomes: Iterable[Outcome], lost: Sequence[Claimed], cancelled: Collection[str] = ()) -> list[Move]:
    """The moves of outcomes that were settled; those of the ids `cancelled` ended as revoked."""
    return [
        move(ENDS[REVOKED] if o.claimed.id in cancelled else _kind(o), o.claimed.id, o.claimed.attempt)
        for o in outcomes
        if not lost or o.claimed not in lost
    ]


def _kind(outcome: Outcome) -> str:
    rerun = outcome.rerun
    if rerun is None:
        return REPLACED if outcome.graft is not None and outcome.graft.become is not None else ENDS[outcome.state]
    if rerun.snooze:
        return SNOOZED
    return REJECTED if rerun.retries is None else RETRIED
