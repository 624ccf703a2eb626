"""What must be true of a queue's file at any instant and after any crash, asked with SQL.

`violations` needs nothing but the file. `dump` gives the contents of the queue's tables in a form that can be compared:
a file after a crash must equal what it was after one of the transactions that had begun, not earlier than the last one
whose durability was acknowledged.
"""

from __future__ import annotations

import hashlib

import apsw

from litequeue.core import state

TABLES = ("litequeue_meta", "litequeue_tasks", "litequeue_attempts", "litequeue_lanes", "litequeue_processes")


def _names(states: object) -> str:
    return ", ".join(f"'{name}'" for name in sorted(states))  # type: ignore[call-overload]


RULES = {
    "a row is in a state that exists": f"SELECT id FROM litequeue_tasks WHERE state NOT IN ({_names(state.ALL)})",
    "an id exists once": "SELECT id FROM litequeue_tasks GROUP BY id HAVING count(*) > 1",
    "a running row says who runs it, and that process can be rescued from": """
        SELECT id FROM litequeue_tasks WHERE state = 'running' AND (
            holder IS NULL OR attempt < 1 OR started_at IS NULL
            OR holder NOT IN (SELECT id FROM litequeue_processes))
    """,
    "a row that has not started is held by nobody": f"""
        SELECT id FROM litequeue_tasks WHERE state IN ({_names(state.OPEN)}) AND holder IS NOT NULL
    """,
    "a row has an end exactly when it has ended": f"""
        SELECT id FROM litequeue_tasks WHERE (state IN ({_names(state.TERMINAL)})) <> (finished_at IS NOT NULL)
    """,
    "a failure keeps its error": """
        SELECT id FROM litequeue_tasks WHERE state IN ('failed', 'revoked') AND (
            result IS NULL OR result_serializer IS NOT 'error')
    """,
    "a scheduled row has a time": "SELECT id FROM litequeue_tasks WHERE state = 'scheduled' AND run_at IS NULL",
    "deaths are attempts": "SELECT id FROM litequeue_tasks WHERE deaths > attempt OR deaths < 0",
    "a row stands in its queue's lane, or in one that claimers know": """
        SELECT id FROM litequeue_tasks WHERE lane <> queue AND (
            lane <> queue || char(9) || name
            OR NOT EXISTS (
                SELECT 1 FROM litequeue_lanes AS l
                WHERE l.queue = litequeue_tasks.queue AND l.name = litequeue_tasks.name))
    """,
    "an attempt belongs to a task that has made so many": """
        SELECT seq FROM litequeue_attempts AS a WHERE NOT EXISTS (
            SELECT 1 FROM litequeue_tasks AS t WHERE t.seq = a.seq AND a.attempt BETWEEN 1 AND t.attempt)
    """,
    "a child has a supervisor or had one": """
        SELECT id FROM litequeue_processes WHERE role NOT IN ('worker', 'child') OR (role = 'child' AND parent IS NULL)
    """,
}
"""Each rule with the statement that finds the rows which break it."""


def violations(db: apsw.Connection) -> list[str]:
    """Every rule that the file breaks, with the rows that do."""
    found = []
    whole = db.execute("PRAGMA integrity_check").fetchall()
    if whole != [("ok",)]:
        found.append(f"integrity_check: {whole}")
    for rule, statement in RULES.items():
        rows = db.execute(statement).fetchall()
        if rows:
            found.append(f"{rule}: {rows[:5]}")
    return found


def dump(db: apsw.Connection) -> str:
    """A digest of everything in the queue's tables."""
    digest = hashlib.sha256()
    for table in TABLES:
        for row in db.execute(f"SELECT * FROM {table} ORDER BY 1, 2"):
            digest.update(repr(row).encode())
        digest.update(table.encode())
    return digest.hexdigest()
