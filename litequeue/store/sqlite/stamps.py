"""Stamps: headers under which tasks can be found, and revoked before they exist."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import apsw

from litequeue.core.records import NewTask
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.journal import Journaling

_MOST_REVOKED: Final = 10_000  # revoked stamps that are kept; the oldest are dropped


class Stamping(Journaling):
    """Writing stamps, and finding rows by them."""

    _KEEP_STAMP = """
        INSERT OR IGNORE INTO litequeue_stamps (header, value, seq)
        SELECT ?, ?, seq FROM litequeue_tasks WHERE id = ?
    """
    _ANY_REVOKED_STAMP = "SELECT 1 FROM litequeue_revoked_stamps LIMIT 1"
    _UNDER_REVOKED_STAMP = """
        SELECT DISTINCT seq FROM litequeue_stamps JOIN litequeue_revoked_stamps USING (header, value)
        WHERE seq = (SELECT seq FROM litequeue_tasks WHERE id = ?)
    """

    def _keep_stamps(self, connection: apsw.Connection, tasks: Sequence[NewTask]) -> list[int]:
        """Keep the stamps of new rows; returns the seq of those that have a revoked one."""
        connection.executemany(
            self._KEEP_STAMP, ((header, value, task.id) for task in tasks for header, value in stamps_of(task.stamps))
        )
        if not connection.execute(self._ANY_REVOKED_STAMP).get:
            return []
        found = (fetch(connection, self._UNDER_REVOKED_STAMP, (task.id,)) for task in tasks)
        return [seq for rows in found for (seq,) in rows]

    _REVOKE_STAMP = "INSERT OR REPLACE INTO litequeue_revoked_stamps (header, value, revoked_at) VALUES (?, ?, ?)"
    _DROP_OLD_STAMPS = f"""
        DELETE FROM litequeue_revoked_stamps WHERE (header, value) IN (
            SELECT header, value FROM litequeue_revoked_stamps
            ORDER BY revoked_at DESC LIMIT -1 OFFSET {_MOST_REVOKED})
    """
    _STAMPED = "SELECT seq FROM litequeue_stamps WHERE header = ? AND value = ?"

    def _revoke_stamps(
        self, connection: apsw.Connection, headers: Mapping[str, Sequence[Any]], now: float
    ) -> list[int]:
        """Remember revoked stamps; returns the seq of every row that has one."""
        found: set[int] = set()
        for header, value in _pairs(headers):
            connection.execute(self._REVOKE_STAMP, (header, value, now))
            found.update(seq for (seq,) in fetch(connection, self._STAMPED, (header, value)))
        connection.execute(self._DROP_OLD_STAMPS)
        return sorted(found)

    _DELETE_STAMPS = "DELETE FROM litequeue_stamps WHERE seq = ?"


def stamps_of(text: str | None) -> Iterator[tuple[str, str]]:
    """The stamps of a row as (header, value in JSON); a header with a list of values has each of them."""
    try:
        stamps = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return
    if isinstance(stamps, dict):
        yield from _pairs(stamps)


def _pairs(headers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for header, values in headers.items():
        for value in values if isinstance(values, (list, tuple, set, frozenset)) else (values,):
            yield header, json.dumps(value, sort_keys=True, default=str)
