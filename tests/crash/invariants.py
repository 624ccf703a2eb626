"""What must be true of a queue's file at any instant and after any crash, asked with SQL.

`violations` needs nothing but the file. `dump` gives the contents of the queue's tables in a form that can be compared:
a file after a crash must equal what it was after one of the transactions that had begun, not earlier than the last one
whose durability was acknowledged.
"""

from __future__ import annotations

import hashlib

import apsw

from litequeue.core import state

TABLES = (
    "litequeue_meta",
    "litequeue_tasks",
    "litequeue_groups",
    "litequeue_stamps",
    "litequeue_revoked_stamps",
    "litequeue_attempts",
    "litequeue_lanes",
    "litequeue_processes",
    "litequeue_stats",
    "litequeue_events",
    "litequeue_logs",
)


def _names(states: object) -> str:
    return ", ".join(f"'{name}'" for name in sorted(states))  # type: ignore[call-overload]


_STARTED = {state.READY, state.SCHEDULED, state.RUNNING, state.SUCCEEDED}

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
    "a failure keeps its error, or the id of the task that it failed with": """
        SELECT id FROM litequeue_tasks WHERE state IN ('failed', 'revoked') AND (
            (result IS NULL AND NOT ignore_result) OR result_serializer NOT IN ('error', 'upstream'))
    """,
    "a scheduled row has a time": "SELECT id FROM litequeue_tasks WHERE state = 'scheduled' AND run_at IS NULL",
    "deaths are attempts": "SELECT id FROM litequeue_tasks WHERE deaths > attempt OR deaths < 0",
    "a row stands in its queue's lane, in one that claimers know, or in that of its concurrency key": """
        SELECT id FROM litequeue_tasks
        WHERE lane <> queue AND lane IS NOT char(31) || concurrency_key || char(31) || queue || char(9) || name AND (
            lane <> queue || char(9) || name
            OR NOT EXISTS (
                SELECT 1 FROM litequeue_lanes AS l
                WHERE l.queue = litequeue_tasks.queue AND l.name = litequeue_tasks.name))
    """,
    "an attempt belongs to a task that has made so many": """
        SELECT seq FROM litequeue_attempts AS a WHERE NOT EXISTS (
            SELECT 1 FROM litequeue_tasks AS t WHERE t.seq = a.seq AND a.attempt BETWEEN 0 AND t.attempt)
    """,
    "a kept line belongs to a task": """
        SELECT seq FROM litequeue_logs AS l WHERE NOT EXISTS (SELECT 1 FROM litequeue_tasks AS t WHERE t.seq = l.seq)
    """,
    "the journal has no gaps": """
        SELECT number FROM (
            SELECT number, size, lead(number) OVER (ORDER BY number) AS following FROM litequeue_events)
        WHERE following <> number + size OR size < 1
    """,
    "the journal's rows hold as many events as they say": """
        SELECT number FROM litequeue_events
        WHERE size <> json_array_length(moves)
            + (SELECT count(*) FROM json_each(moves) WHERE json_extract(value, '$[0]') = 'claimed')
    """,
    "a child has a supervisor or had one": """
        SELECT id FROM litequeue_processes
        WHERE role NOT IN ('worker', 'child', 'control', 'beat') OR (role = 'child' AND parent IS NULL)
    """,
    "nothing waits for a task that has ended": f"""
        SELECT row.id FROM litequeue_tasks row JOIN litequeue_tasks node ON node.id = row.after
        WHERE row.state = 'waiting' AND node.state IN ({_names(state.TERMINAL)})
    """,
    "nothing waits for a group that has ended": """
        SELECT row.id FROM litequeue_tasks row JOIN litequeue_groups node ON node.id = row.after
        WHERE row.state = 'waiting' AND node.remaining <= 0
    """,
    "what a row waits for is there": """
        SELECT id FROM litequeue_tasks row WHERE state = 'waiting' AND (
            after IS NULL OR NOT EXISTS (SELECT 1 FROM litequeue_tasks WHERE id = row.after)
            AND NOT EXISTS (SELECT 1 FROM litequeue_groups WHERE id = row.after))
    """,
    "a task that is waited for knows it, and keeps what is taken from it": """
        SELECT row.id FROM litequeue_tasks row JOIN litequeue_tasks node ON node.id = row.after
        WHERE row.state = 'waiting' AND (node.ties & 2 = 0 OR row.takes_input AND node.ties & 1 = 0)
    """,
    "a row starts only after the task that it waited for has succeeded": f"""
        SELECT row.id FROM litequeue_tasks row JOIN litequeue_tasks node ON node.id = row.after
        WHERE row.edge NOT IN ('error', 'queue') AND node.state <> 'succeeded' AND row.state IN ({_names(_STARTED)})
    """,
    # Where a body runs whatever its members do, one of them may be tried again when it has.
    "a row starts only after the group that it waited for has ended well": f"""
        SELECT row.id FROM litequeue_tasks row JOIN litequeue_groups node ON node.id = row.after
        WHERE row.state IN ({_names(_STARTED)})
            AND (node.remaining > 0 AND (NOT node.tolerant OR row.started_at IS NULL)
                OR node.failed_id IS NOT NULL AND NOT node.tolerant)
    """,
    "a group counts its members that have not ended": f"""
        SELECT id, remaining, size FROM litequeue_groups g WHERE remaining < 0 OR remaining > size OR remaining <> (
            SELECT count(*) FROM litequeue_tasks
            WHERE group_id = g.id AND ties & 4 AND state NOT IN ({_names(state.TERMINAL)})
        ) + (SELECT count(*) FROM litequeue_groups WHERE group_id = g.id AND remaining > 0)
    """,
    "a group has an end exactly when its members have ended": """
        SELECT id FROM litequeue_groups WHERE (remaining = 0) <> (finished_at IS NOT NULL)
    """,
    "a slot of a group is one member's": """
        SELECT g.id, slot FROM litequeue_groups g JOIN (
            SELECT group_id, group_index AS slot FROM litequeue_tasks WHERE ties & 4
            UNION ALL SELECT group_id, group_index FROM litequeue_groups) AS part ON part.group_id = g.id
        GROUP BY g.id, slot HAVING count(*) > 1 OR slot IS NULL OR slot < 0 OR slot >= g.size
    """,
    # A task that was tried again has its earlier failures among its attempts; of a body that did not run, the last.
    "an error callback follows a task that failed by itself, and no more often than it is written there": """
        WITH told AS (
            SELECT node.*, count(*) AS times, (
                SELECT count(*) FROM litequeue_attempts WHERE seq = node.seq AND outcome IN ('failed', 'lost')
            ) AS failures
            FROM litequeue_tasks row JOIN litequeue_tasks node ON node.id = row.after
            WHERE row.edge = 'error' GROUP BY node.id)
        SELECT id FROM told
        WHERE failures = 0 AND (state <> 'failed' OR result_serializer IS 'upstream')
            OR edge IS NOT 'body' AND times > max(failures, 1) * coalesce(json_array_length(errbacks), 0)
            OR errbacks IS NULL
    """,
    "a stamp belongs to a row": """
        SELECT seq FROM litequeue_stamps WHERE seq NOT IN (SELECT seq FROM litequeue_tasks WHERE stamps IS NOT NULL)
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
