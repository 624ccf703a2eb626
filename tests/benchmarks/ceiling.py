"""The same row changes without litequeue: a bare apsw loop, json, a generated id. Nothing on this machine is faster."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from tests.benchmarks.machinery import new_folder

TABLE = """
CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, queue TEXT NOT NULL,
    priority INTEGER NOT NULL, state TEXT NOT NULL, payload TEXT NOT NULL, serializer TEXT NOT NULL, origin TEXT,
    enqueued_at REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, holder INTEGER, started_at REAL, finished_at REAL, prune_at REAL, result TEXT
) STRICT;
CREATE INDEX ready ON tasks (queue, priority DESC, seq) WHERE state = 'ready';
CREATE INDEX prunable ON tasks (prune_at) WHERE prune_at IS NOT NULL;
"""
INSERT = """
INSERT INTO tasks (id, name, queue, priority, state, payload, serializer, origin, enqueued_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
CLAIM = """
UPDATE tasks SET state = 'running', holder = ?, attempt = attempt + 1, started_at = ?
WHERE seq IN (SELECT seq FROM tasks WHERE state = 'ready' AND queue = 'default' ORDER BY priority DESC, seq LIMIT ?)
RETURNING seq, id, name, payload, attempt
"""
FINISH = """
UPDATE tasks SET state = 'succeeded', result = ?, finished_at = ?, prune_at = ?
WHERE seq = ? AND holder = ? AND attempt = ?
"""
BATCH = 16


@contextmanager
def bare_file(durability: str) -> Iterator[apsw.Connection]:
    """A fresh file with the table."""
    with new_folder() as folder:
        connection = apsw.Connection(str(folder / "bare.db"))
        connection.pragma("journal_mode", "WAL")
        connection.pragma("synchronous", durability.upper())
        connection.execute(TABLE)
        try:
            yield connection
        finally:
            connection.close()


def new_row(number: int) -> tuple[object, ...]:
    """A task with one argument."""
    task_id = f"{time.time_ns():016x}-{os.urandom(8).hex()}"
    return (task_id, "noop", "default", 0, "ready", json.dumps([[number], {}]), "json", "gen@host", time.time())


def enqueue(connection: apsw.Connection, count: int) -> None:
    """One transaction a row."""
    for number in range(count):
        connection.execute(INSERT, new_row(number))


def enqueue_many(connection: apsw.Connection, count: int) -> None:
    """One transaction for all."""
    with connection:
        connection.executemany(INSERT, (new_row(number) for number in range(count)))


def drain(connection: apsw.Connection) -> None:
    """Finish what was claimed and claim the next, in one transaction, until nothing is left."""
    finished: list[tuple[object, ...]] = []
    while True:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(FINISH, finished)
        claimed = connection.execute(CLAIM, (1, time.time(), BATCH)).fetchall()
        connection.execute("COMMIT")
        if not claimed:
            return
        finished = []
        for seq, _, _, payload, attempt in claimed:
            json.loads(payload)
            now = time.time()
            finished.append((json.dumps(None), now, now + 86400, seq, 1, attempt))
