"""Rows with text that is not UTF-8: SQLite takes it from any program, and nobody can read it.

No text of ours is so. Whoever claims and meets such a row writes out each byte that is not UTF-8 (`\\xff`); then it can
be read, and goes the way of any other row that we did not write: FAILURE with its reason, or put aside.
"""

from __future__ import annotations

from typing import Final

import apsw

from litequeue.core.records import TaskRecord
from litequeue.store.sqlite.engine import TASK_COLUMNS, Engine

_ROW: Final = f"SELECT {TASK_COLUMNS} FROM litequeue_tasks WHERE seq = ?"


class Mending(Engine):
    """What a claimer does about rows that it cannot read."""

    _SEQS = "SELECT seq FROM litequeue_tasks WHERE state = 'ready' AND lane = ? ORDER BY priority DESC, seq"

    def _mend_ready(self, connection: apsw.Connection, lanes: list[str]) -> None:
        """Make the first row of each of these lanes that cannot be read one that can be."""
        for lane in lanes:
            for (seq,) in connection.execute(self._SEQS, (lane,)):
                if not _is_readable(connection, seq):
                    _mend(connection, seq)
                    break


def _is_readable(connection: apsw.Connection, seq: int) -> bool:
    try:
        connection.execute(_ROW, (seq,)).fetchall()
    except UnicodeDecodeError:
        return False
    return True


def _mend(connection: apsw.Connection, seq: int) -> None:
    for column in TaskRecord._fields:
        text = f"SELECT CAST({column} AS BLOB) FROM litequeue_tasks WHERE seq = ? AND typeof({column}) = 'text'"
        raw: bytes | None = connection.execute(text, (seq,)).get
        if raw is None:
            continue
        readable = raw.decode("utf-8", "backslashreplace")
        if readable.encode() != raw:
            connection.execute(f"UPDATE litequeue_tasks SET {column} = ? WHERE seq = ?", (readable, seq))
