"""What tasks logged, where that is kept: a ring of lines for each task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import apsw

from litequeue.core.records import NORMAL, LogLine, Outcome, Ticket
from litequeue.store.sqlite.engine import Engine, fetch


class LastLines(NamedTuple):
    """What an attempt that ends has logged and is not yet kept."""

    ticket: Ticket
    lines: Sequence[LogLine]
    limit: int


def last_lines(outcomes: Iterable[Outcome]) -> list[LastLines]:
    """What attempts that end have left to be kept; may wait for their last write to get through."""
    return [
        LastLines(Ticket(o.claimed.seq, o.claimed.attempt), o.log.rest(), o.log.limit)
        for o in outcomes
        if o.log is not None
    ]


class Logs(Engine):
    """The verbs about what tasks logged."""

    def keep_log(self, ticket: Ticket, lines: Sequence[LogLine], limit: int) -> None:
        """Keep what a running task logged, and of all that it logged the newest `limit` lines.

        That is not worth a disk sync, so this commits at NORMAL; the settle that follows makes it durable with it.
        """
        with self._database.write(NORMAL) as connection:
            self._keep_lines(connection, None, [LastLines(ticket, lines, limit)])

    # Nothing of an attempt that its process no longer holds: the number of the row may be another task's by now.
    _LAST_LINE = """
        SELECT coalesce((SELECT max(number) FROM litequeue_logs WHERE seq = ?1), 0) FROM litequeue_tasks
        WHERE seq = ?1 AND attempt = ?2 AND state = 'running' AND holder = coalesce(?3, holder)
    """
    _KEEP_LINE = """
        INSERT INTO litequeue_logs (seq, number, attempt, at, level, logger, message) VALUES (?, ?, ?, ?, ?, ?, ?)
    """
    _DROP_LINES = "DELETE FROM litequeue_logs WHERE seq = ? AND number <= ?"
    _DELETE_LOGS = "DELETE FROM litequeue_logs WHERE seq = ?"

    def _keep_lines(self, connection: apsw.Connection, holder: int | None, logs: Iterable[LastLines]) -> None:
        """Write lines of attempts that are still held."""
        for (seq, attempt), lines, limit in logs:
            last = connection.execute(self._LAST_LINE, (seq, attempt, holder)).get if lines else None
            if last is None:
                continue
            connection.executemany(
                self._KEEP_LINE, ((seq, number, *line) for number, line in enumerate(lines, last + 1))
            )
            if last + len(lines) > limit:
                connection.execute(self._DROP_LINES, (seq, last + len(lines) - limit))

    _LOGS = """
        SELECT litequeue_logs.attempt, at, level, logger, message
        FROM litequeue_logs JOIN litequeue_tasks USING (seq) WHERE id = ? ORDER BY number
    """

    def logs(self, task_id: str) -> list[LogLine]:
        """What is kept of what the task logged, oldest first."""
        with self._database.read() as connection:
            return [LogLine._make(row) for row in fetch(connection, self._LOGS, (task_id,))]
