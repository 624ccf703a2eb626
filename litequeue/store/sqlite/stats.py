"""How many tasks of each queue start and end.

Counts are kept in memory and added to the file by the next transaction that moves tasks, but not more often than each
half second: a row more in every transaction would cost a single task some 15 us twice. A process that is killed loses
what it had counted since; nothing but rates in a viewer depends on that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

import apsw

from litequeue.core.periods import HISTORY, PERIOD
from litequeue.core.records import Claimed, Outcome
from litequeue.core.state import FAILED, IGNORED, REVOKED, SUCCEEDED
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite.engine import Engine, fetch

if TYPE_CHECKING:  # whoever looks imports it; in a process that only calls, it would cost its first call 3 ms
    from litequeue.core.viewing import Period

_STARTED, _SUCCEEDED, _FAILED, _RETRIED, _TIMED, _WAITED = range(6)
_COLUMN: Final = {SUCCEEDED: _SUCCEEDED, IGNORED: _SUCCEEDED, FAILED: _FAILED, REVOKED: _FAILED}
_EVERY: Final = 0.5  # seconds between two writes of the counts


class Counting(Engine):
    """Counting, inside write transactions, of which a process has one at a time; and the verb that reads it."""

    def __init__(self, path: str, options: StoreOptions) -> None:
        super().__init__(path, options)
        self._tally: dict[int, defaultdict[str, list[float]]] = {}
        self._counted_at = 0.0

    def _count_up(
        self,
        connection: apsw.Connection,
        outcomes: Sequence[Outcome],
        lost: Collection[Claimed],
        claimed: Sequence[Claimed],
        now: float,
    ) -> None:
        """Count what has ended, or is to run again, and what has started; write the counts when it is time."""
        if outcomes or claimed:
            tally = self._tally.setdefault(int(now) // PERIOD * PERIOD, defaultdict(_nothing))
            for outcome in outcomes:
                if not lost or outcome.claimed not in lost:
                    tally[outcome.claimed.queue][_COLUMN.get(outcome.state, _RETRIED)] += 1
            for row in claimed:
                _count_start(tally[row.queue], row, now)
        if self._has_counts(now):
            self._write_counts(connection, now)

    def _has_counts(self, now: float) -> bool:
        """Whether counts are to be written."""
        return bool(self._tally) and not 0 <= now - self._counted_at < _EVERY

    _COUNT_UP = """
        INSERT INTO litequeue_stats (at, queue, started, succeeded, failed, retried, timed, waited)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (at, queue) DO UPDATE
        SET started = started + excluded.started, succeeded = succeeded + excluded.succeeded,
            failed = failed + excluded.failed, retried = retried + excluded.retried,
            timed = timed + excluded.timed, waited = waited + excluded.waited
    """

    def _write_counts(self, connection: apsw.Connection, now: float) -> None:
        """Add what was counted to what the file has."""
        connection.executemany(
            self._COUNT_UP,
            ((at, queue, *counts) for at, tally in self._tally.items() for queue, counts in tally.items()),
        )
        self._tally.clear()
        self._counted_at = now

    _TRIM_STATS = "DELETE FROM litequeue_stats WHERE at < ?"

    def _trim_stats(self, connection: apsw.Connection, now: float) -> None:
        """Delete what is older than the history that is kept."""
        connection.execute(self._TRIM_STATS, (int(now) - HISTORY - PERIOD,))

    _PERIODS = """
        SELECT at, queue, started, succeeded, failed, retried, timed, waited FROM litequeue_stats
        WHERE at > ? ORDER BY at, queue
    """

    def periods(self, since: float) -> list[Period]:
        """What happened to the tasks of each queue, in periods that ended after `since`."""
        from litequeue.core.viewing import Period

        with self._database.read() as connection:
            return [Period._make(row) for row in fetch(connection, self._PERIODS, (since - PERIOD,))]


def _nothing() -> list[float]:
    return [0, 0, 0, 0, 0, 0.0]


def _count_start(counts: list[float], row: Claimed, now: float) -> None:
    counts[_STARTED] += 1
    if row.after is None and row.attempt == 1:  # of the others the row does not say since when they could start
        counts[_TIMED] += 1
        since = row.enqueued_at if row.run_at is None else max(row.enqueued_at, row.run_at)
        counts[_WAITED] += max(0.0, now - since)
