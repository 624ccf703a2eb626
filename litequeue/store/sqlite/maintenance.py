"""The file itself: how large it is, whether it is sound, writing it anew, and copying it while others go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import apsw

from litequeue import exceptions
from litequeue.core import state
from litequeue.core.records import NORMAL
from litequeue.store.sqlite.connection import checkpoint_whole
from litequeue.store.sqlite.engine import Engine, fetch
from litequeue.store.sqlite.migrations import APPLICATION_ID, VERSION, not_as_it_is

if TYPE_CHECKING:  # whoever looks imports it; in a process that only calls, it would cost its first call 3 ms
    from litequeue.core.viewing import FileRecord

_INCREMENTAL: Final = 2
_SHRINK_PAGES: Final = 500  # in one transaction; they take some milliseconds
_CUT_PATIENCE: Final = 0.2  # seconds, in which others write only between two tries


def _names(states: object) -> str:
    return ", ".join(f"'{name}'" for name in sorted(states))  # type: ignore[call-overload]


_ENDED: Final = _names(state.TERMINAL)
_UNSTARTED: Final = _names(state.OPEN)

_RULES: Final[tuple[tuple[str, str], ...]] = (
    (
        "task {} is in the state {!r}, which does not exist",
        f"SELECT id, state FROM litequeue_tasks WHERE state NOT IN ({_names(state.ALL)})",
    ),
    (
        "task {} is running, but no process holds it",
        """
        SELECT id FROM litequeue_tasks WHERE state = 'running' AND (
            holder IS NULL OR NOT EXISTS (SELECT 1 FROM litequeue_processes WHERE id = litequeue_tasks.holder))
        """,
    ),
    (
        "task {} is {}, but has no time to start at",
        "SELECT id, state FROM litequeue_tasks WHERE state = 'scheduled' AND run_at IS NULL",
    ),
    (
        "task {} is {}, but the process {} holds it",
        f"SELECT id, state, holder FROM litequeue_tasks WHERE state IN ({_UNSTARTED}) AND holder IS NOT NULL",
    ),
    (
        "task {} is {}, which does not fit the time of its end",
        f"SELECT id, state FROM litequeue_tasks WHERE (state IN ({_ENDED})) <> (finished_at IS NOT NULL)",
    ),
    (
        "task {} is ready in a lane in which no worker looks",
        """
        SELECT id FROM litequeue_tasks
        WHERE state = 'ready' AND lane <> queue
            AND lane IS NOT char(31) || concurrency_key || char(31) || queue || char(9) || name
            AND (lane <> queue || char(9) || name OR NOT EXISTS (
                SELECT 1 FROM litequeue_lanes
                WHERE litequeue_lanes.queue = litequeue_tasks.queue AND litequeue_lanes.name = litequeue_tasks.name))
        """,
    ),
    (
        "task {} waits for {}, which has ended",
        f"""
        SELECT task.id, node.id FROM litequeue_tasks task JOIN litequeue_tasks node ON node.id = task.after
        WHERE task.state = 'waiting' AND node.state IN ({_ENDED})
        """,
    ),
    (
        "task {} waits for the group {}, whose members have all ended",
        """
        SELECT task.id, node.id FROM litequeue_tasks task JOIN litequeue_groups node ON node.id = task.after
        WHERE task.state = 'waiting' AND node.remaining <= 0
        """,
    ),
    (
        "task {} waits for {}, which is not there",
        """
        SELECT id, after FROM litequeue_tasks task WHERE state = 'waiting' AND (
            after IS NULL OR NOT EXISTS (SELECT 1 FROM litequeue_tasks WHERE id = task.after)
            AND NOT EXISTS (SELECT 1 FROM litequeue_groups WHERE id = task.after))
        """,
    ),
    (
        "group {} counts {} members that have not ended, but there are {}",
        f"""
        SELECT id, remaining, found FROM (
            SELECT id, remaining, (
                SELECT count(*) FROM litequeue_tasks
                WHERE group_id = node.id AND ties & 4 AND state NOT IN ({_ENDED})
            ) + (SELECT count(*) FROM litequeue_groups WHERE group_id = node.id AND remaining > 0) AS found
            FROM litequeue_groups node)
        WHERE remaining <> found
        """,
    ),
    (
        "group {} has {} members that have not ended, which does not fit the time of its end",
        "SELECT id, remaining FROM litequeue_groups WHERE (remaining = 0) <> (finished_at IS NOT NULL)",
    ),
    (
        "an attempt is kept of the task number {}, which is not there",
        "SELECT DISTINCT seq FROM litequeue_attempts WHERE seq NOT IN (SELECT seq FROM litequeue_tasks)",
    ),
    (
        "a stamp is kept of the task number {}, which is not there",
        "SELECT DISTINCT seq FROM litequeue_stamps WHERE seq NOT IN (SELECT seq FROM litequeue_tasks)",
    ),
)
"""What must be true of the rows: a sentence for one that breaks the rule, and what finds those."""


_OTHERS: Final = """
    SELECT name FROM sqlite_schema
    WHERE type = 'table' AND name NOT LIKE 'litequeue\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    ORDER BY name LIMIT 4
"""


class Maintenance(Engine):
    """The verbs of `contract` about the file as a whole."""

    _SCHEMA_VERSION = "SELECT value FROM litequeue_meta WHERE key = 'schema_version'"

    def file(self) -> FileRecord:
        """The file itself."""
        from litequeue.core.viewing import FileRecord

        with self._database.read() as connection:
            size, pages = connection.execute("PRAGMA page_size").get, connection.execute("PRAGMA page_count").get
            return FileRecord(
                path=self.path,
                size=size * pages if self._database.memory else os.path.getsize(self.path),
                wal_size=_size(f"{self.path}-wal"),
                page_size=size,
                pages=pages,
                free_pages=connection.execute("PRAGMA freelist_count").get,
                schema_version=connection.execute(self._SCHEMA_VERSION).get,
                durability=self._durability,
                journal_mode=connection.execute("PRAGMA journal_mode").get,
                sqlite=apsw.sqlite_lib_version(),
                apsw=apsw.apsw_version(),
            )

    def damages(self, limit: int = 100) -> list[str]:
        """Read the whole file and say what is wrong with it; some seconds for a gigabyte.

        The check of the pages is one statement, during which the WAL cannot begin anew; writers go on. Each rule about
        the rows is one statement more, so nothing that changes between two of them looks like damage.
        """
        with self._database.apart() as connection:
            return damages_of(connection, limit)

    # Giving room back

    def compact(self, force: bool = False) -> None:
        """Write the file anew without its free pages; nobody else can write meanwhile.

        The new pages go through the WAL, so the disk must have room for as much again, and SQLite's folder for
        temporary files too. The file becomes smaller when no reader needs its old pages any more.
        """
        with self._database.alone() as connection:
            if not force:
                self._refuse_shared(connection)
            connection.execute("PRAGMA temp_store=FILE")  # else all of it would be in memory
            try:
                connection.execute("VACUUM")
            finally:
                connection.execute("PRAGMA temp_store=MEMORY")
        self._cut()

    def shrink(self) -> None:
        """Give every free page of the file back to the disk; a file that we did not make is left alone."""
        with self._database.read() as connection:
            ours = connection.execute("PRAGMA auto_vacuum").get == _INCREMENTAL
            free = connection.execute("PRAGMA freelist_count").get if ours else 0
        for _ in range(0, free, _SHRINK_PAGES):
            with self._database.write(NORMAL) as connection:
                fetch(connection, f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")
        self._cut()

    def _cut(self) -> None:
        """Bring the WAL into the file, which then has its new size, unless a reader still needs the old pages."""
        if self._database.memory:
            return
        with self._database.apart() as connection, suppress(apsw.BusyError):
            connection.execute("SELECT count(*) FROM sqlite_schema")  # a checkpoint does nothing without a read before
            connection.set_busy_timeout(0)
            checkpoint_whole(connection, apsw.SQLITE_CHECKPOINT_TRUNCATE, _CUT_PATIENCE)

    def _refuse_shared(self, connection: apsw.Connection) -> None:
        if self._database.memory:
            return
        others = [name for (name,) in fetch(connection, _OTHERS)]
        if others:
            raise exceptions.StoreForeign(
                f"{self.path} has tables of another program too ({', '.join(others[:3])}{', ...' * (len(others) > 3)}),"
                " which would be written anew with it. Ask for that expressly, or leave the file as it is."
            )
        if connection.execute("PRAGMA application_id").get != APPLICATION_ID:
            raise exceptions.StoreForeign(
                f"{self.path} was made by another program. Ask expressly for it to be written anew, or leave it as it"
                " is."
            )

    # Copying the file

    def backup(self, path: str, progress: Callable[[int, int], object] | None = None, overwrite: bool = False) -> None:
        """Copy the queue as it is at one instant to the file `path`, while others go on."""
        from litequeue.store.sqlite.copying import copy

        with self._database.apart() as source:
            copy(source, None if self._database.memory else self.path, path, progress, overwrite)


def damages_of_file(path: str, limit: int) -> list[str]:
    """What is wrong with the file `path`, which is not opened as a queue."""
    from litequeue.store.sqlite.copying import unopened

    with unopened(path) as (connection, version):
        if version < VERSION:
            raise not_as_it_is(path, version)
        return damages_of(connection, limit)


def damages_of(connection: apsw.Connection, limit: int) -> list[str]:
    """What is wrong with the file behind `connection`, a line each."""
    found: list[str] = []
    try:
        for (text,) in fetch(connection, f"PRAGMA integrity_check({limit})"):
            found += [] if text == "ok" else text.splitlines()
        for sentence, statement in _RULES:
            if len(found) < limit:
                rows = fetch(connection, f"{statement} LIMIT ?", (limit - len(found),))
                found += [sentence.format(*row) for row in rows]
    except apsw.CorruptError as error:
        found.append(f"the file cannot be read to its end: {error}")
    return found[:limit]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
