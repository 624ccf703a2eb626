"""From any older schema to this one, in one transaction, or not at all.

`schema.sql` is the readable truth of a new file. A step leads a file from one version to the next; a test builds a file
by the steps and one by the schema, and compares the two. A file of a newer version is refused untouched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import apsw

from litequeue import exceptions
from litequeue.store.sqlite.connection import MEMORY, Database

VERSION: Final = 5
"""The version of `schema.sql`."""

APPLICATION_ID: Final = 0x4C515545  # "LQUE": what `file` shows of a file that is only a queue


class Step(NamedTuple):
    """What leads a file to `version` from the one before; runs inside the migration's transaction."""

    version: int
    run: Callable[[apsw.Connection], object]


def _add_canvases(connection: apsw.Connection) -> None:
    connection.execute("""
        ALTER TABLE litequeue_tasks ADD COLUMN after TEXT;
        ALTER TABLE litequeue_tasks ADD COLUMN edge TEXT;
        ALTER TABLE litequeue_tasks ADD COLUMN takes_input INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE litequeue_tasks ADD COLUMN countdown REAL;
        ALTER TABLE litequeue_tasks ADD COLUMN lifetime REAL;
        ALTER TABLE litequeue_tasks ADD COLUMN ties INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE litequeue_tasks ADD COLUMN errbacks TEXT;
        ALTER TABLE litequeue_tasks ADD COLUMN stamps TEXT;
        CREATE INDEX litequeue_tasks_after ON litequeue_tasks (after) WHERE after IS NOT NULL;
        CREATE INDEX litequeue_tasks_told ON litequeue_tasks (result) WHERE result_serializer = 'upstream' AND ties & 4;
        CREATE INDEX litequeue_tasks_group ON litequeue_tasks (group_id, group_index) WHERE group_id IS NOT NULL;
        CREATE TABLE litequeue_groups (
            id TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL, remaining INTEGER NOT NULL, failed_id TEXT,
            tolerant INTEGER NOT NULL, transient INTEGER NOT NULL DEFAULT 0, group_id TEXT, group_index INTEGER,
            after TEXT, root_id TEXT, parent_id TEXT, created_at REAL NOT NULL, finished_at REAL, prune_at REAL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX litequeue_groups_after ON litequeue_groups (after) WHERE after IS NOT NULL;
        CREATE INDEX litequeue_groups_parts ON litequeue_groups (group_id, group_index) WHERE group_id IS NOT NULL;
        CREATE INDEX litequeue_groups_prunable ON litequeue_groups (prune_at) WHERE prune_at IS NOT NULL;
        CREATE TABLE litequeue_stamps (
            header TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (header, value, seq)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX litequeue_stamps_tasks ON litequeue_stamps (seq);
        CREATE TABLE litequeue_revoked_stamps (
            header TEXT NOT NULL, value TEXT NOT NULL, revoked_at REAL NOT NULL, PRIMARY KEY (header, value)
        ) STRICT, WITHOUT ROWID;
    """)


def _add_schedules(connection: apsw.Connection) -> None:
    connection.execute("""
        ALTER TABLE litequeue_tasks ADD COLUMN schedule TEXT;
        ALTER TABLE litequeue_tasks ADD COLUMN due_at REAL;
        CREATE UNIQUE INDEX litequeue_tasks_runs ON litequeue_tasks (due_at, schedule) WHERE schedule IS NOT NULL;
        CREATE INDEX litequeue_tasks_unfinished_runs ON litequeue_tasks (schedule, seq)
            WHERE ties & 32 AND state IN ('waiting', 'scheduled', 'ready', 'running');
        CREATE TABLE litequeue_schedules (
            name TEXT NOT NULL PRIMARY KEY, schedule TEXT NOT NULL, call TEXT NOT NULL, owner TEXT,
            enabled INTEGER NOT NULL, timezone TEXT, catchup TEXT NOT NULL, catchup_window REAL, overlap TEXT NOT NULL,
            jitter REAL NOT NULL, start_at REAL, end_at REAL, max_runs INTEGER, anchor REAL NOT NULL,
            next_instant REAL, next_at REAL, revision INTEGER NOT NULL DEFAULT 0, last_run_at REAL,
            total_run_count INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0, error TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX litequeue_schedules_due ON litequeue_schedules (next_at) WHERE enabled;
    """)


def _add_control(connection: apsw.Connection) -> None:
    connection.execute("""
        ALTER TABLE litequeue_tasks ADD COLUMN cancel TEXT;
        ALTER TABLE litequeue_tasks ADD COLUMN concurrency_key TEXT;
        ALTER TABLE litequeue_tasks ADD COLUMN concurrency_limit INTEGER;
        ALTER TABLE litequeue_tasks ADD COLUMN unique_key TEXT;
        ALTER TABLE litequeue_tasks ADD COLUMN unique_hold INTEGER;
        ALTER TABLE litequeue_tasks ADD COLUMN unique_until REAL;
        ALTER TABLE litequeue_processes ADD COLUMN queues_set INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX litequeue_tasks_keyed ON litequeue_tasks (concurrency_key)
            WHERE concurrency_key IS NOT NULL AND state = 'running';
        CREATE UNIQUE INDEX litequeue_tasks_unique ON litequeue_tasks (unique_key) WHERE unique_key IS NOT NULL;
        CREATE INDEX litequeue_tasks_failed ON litequeue_tasks (seq) WHERE state = 'failed';
        CREATE TABLE litequeue_pauses (
            kind TEXT NOT NULL, name TEXT NOT NULL, paused_at REAL NOT NULL, PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE litequeue_limits (
            name TEXT NOT NULL PRIMARY KEY, declared_rate TEXT, rate TEXT, time_limit REAL, soft_time_limit REAL,
            due_at REAL NOT NULL DEFAULT 0, starts INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE litequeue_starts (
            name TEXT NOT NULL, slot INTEGER NOT NULL, started_at REAL NOT NULL, PRIMARY KEY (name, slot)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE litequeue_commands (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, arguments TEXT NOT NULL, destination TEXT,
            reply_port INTEGER, sent_at REAL NOT NULL, expires_at REAL NOT NULL
        ) STRICT;
        CREATE TABLE litequeue_replies (
            command INTEGER NOT NULL, process INTEGER NOT NULL, worker TEXT NOT NULL, reply TEXT NOT NULL,
            replied_at REAL NOT NULL, PRIMARY KEY (command, process)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO litequeue_meta (key, value) VALUES ('gates', 0);
    """)


def _add_viewing(connection: apsw.Connection) -> None:
    connection.execute("""
        ALTER TABLE litequeue_processes ADD COLUMN events INTEGER NOT NULL DEFAULT 0;
        DROP INDEX litequeue_tasks_scheduled;
        CREATE INDEX litequeue_tasks_scheduled ON litequeue_tasks (run_at, queue) WHERE state = 'scheduled';
        DROP INDEX litequeue_tasks_failed;
        CREATE INDEX litequeue_tasks_failed ON litequeue_tasks (seq, queue) WHERE state = 'failed';
        CREATE INDEX litequeue_tasks_waiting ON litequeue_tasks (queue) WHERE state = 'waiting';
        CREATE TABLE litequeue_stats (
            at INTEGER NOT NULL, queue TEXT NOT NULL, started INTEGER NOT NULL, succeeded INTEGER NOT NULL,
            failed INTEGER NOT NULL, retried INTEGER NOT NULL, timed INTEGER NOT NULL, waited REAL NOT NULL,
            PRIMARY KEY (at, queue)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE litequeue_events (
            number INTEGER PRIMARY KEY, size INTEGER NOT NULL, at REAL NOT NULL, worker TEXT, moves TEXT NOT NULL
        ) STRICT;
        CREATE TABLE litequeue_logs (
            seq INTEGER NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL, at REAL NOT NULL,
            level INTEGER NOT NULL, logger TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (seq, number)
        ) STRICT, WITHOUT ROWID;
    """)


STEPS: Final[Sequence[Step]] = (
    Step(2, _add_canvases),
    Step(3, _add_schedules),
    Step(4, _add_control),
    Step(5, _add_viewing),
)


def schema() -> str:
    """The text of `schema.sql`."""
    with open(os.path.join(os.path.dirname(__file__), "schema.sql"), encoding="utf-8") as file:
        return file.read()


def prepare(database: Database, connection: apsw.Connection) -> None:
    """Bring the file behind `connection` to VERSION.

    The file-wide settings of a new file are ours to choose. A file that another program made keeps its own, and only
    gets our tables. Raises StoreTooNew, StoreForeign, and StoreTooOld where nothing may be changed.
    """
    version = read_version(database.path, connection)
    if version == VERSION:
        return
    if database.existing and not database.memory:
        raise not_as_it_is(database.path, version)
    if database.path == MEMORY:
        _migrate(database, connection)
        return
    import filelock  # costs milliseconds, and only a new or an old file needs it

    with filelock.FileLock(database.path + ".migrate.lock", mode=0o600):
        if _is_ours(connection):
            _choose_file_settings(connection)
        _migrate(database, connection)


def not_as_it_is(path: str, version: int | None) -> exceptions.OperationalError:
    """Why the file cannot be used without a change to it."""
    if version is None:
        return exceptions.StoreForeign(
            f"{path} is not a queue of litequeue: it has none of its tables. Give the path of the queue that is meant."
        )
    return exceptions.StoreTooOld(
        f"{path} has schema version {version}, this litequeue writes {VERSION}. Run `litequeue upgrade`; a worker of"
        " this version does the same when it starts."
    )


def _is_ours(connection: apsw.Connection) -> bool:
    """Whether the file has no table and no other owner's mark: new, or left by a first open that was cut off."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    return not tables and connection.execute("PRAGMA application_id").get in (0, APPLICATION_ID)


def _choose_file_settings(connection: apsw.Connection) -> None:
    # page_size and auto_vacuum count only before the first table, and WAL is kept in the file. Every commit writes
    # whole pages: with 2 KiB a commit of one task takes 40 us where 4 KiB take 50, and batches cost the same.
    connection.execute("PRAGMA page_size=2048")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    if connection.execute("PRAGMA journal_mode=WAL").get != "wal":  # it does not raise when the disk refuses
        raise exceptions.OperationalError(
            f"{connection.filename}: SQLite could not make it a WAL file. Look at the disk, then try again."
        )


def _migrate(database: Database, connection: apsw.Connection) -> None:
    connection.execute("PRAGMA synchronous=EXTRA")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = read_version(database.path, connection)
        if version is None:
            _refuse_clashing_tables(database, connection)
            connection.execute(schema())
            connection.execute("INSERT INTO litequeue_meta (key, value) VALUES ('schema_version', ?)", (VERSION,))
        elif version < VERSION:
            for step in STEPS:
                if version < step.version <= VERSION:
                    step.run(connection)
            connection.execute("UPDATE litequeue_meta SET value = ? WHERE key = 'schema_version'", (VERSION,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_version(path: str, connection: apsw.Connection) -> int | None:
    """The schema version of the file, None when it has no queue; StoreTooNew when it is newer than VERSION."""
    try:
        version = connection.execute("SELECT value FROM litequeue_meta WHERE key = 'schema_version'").get
    except apsw.SQLError:
        return None
    if not isinstance(version, int):
        raise exceptions.StoreForeign(
            f"{path}: its table litequeue_meta has no schema_version that is a number ({json.dumps(version)}),"
            " so it is not a queue of litequeue. Give broker= another path."
        )
    if version > VERSION:
        raise exceptions.StoreTooNew(
            f"{path} has schema version {version}, this litequeue knows {VERSION}. Upgrade litequeue; the file"
            " was not touched."
        )
    return version


def _refuse_clashing_tables(database: Database, connection: apsw.Connection) -> None:
    clashing = connection.execute(
        "SELECT name FROM sqlite_schema WHERE name LIKE 'litequeue\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    if clashing:
        names = ", ".join(str(name) for (name,) in clashing)
        raise exceptions.StoreForeign(
            f"{database.path} already has {names}, which are not a queue of litequeue. Give broker= another path, or"
            " rename those tables."
        )
