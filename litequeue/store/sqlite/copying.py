"""Copying the file of a queue while others go on, under a name that it takes when it is whole."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import apsw

from litequeue.core.records import Identity
from litequeue.store.sqlite import filesystem, migrations
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.errors import translate

Progress = Callable[[int, int], object]
"""Called with the pages that are left, and all of them."""

_STEP: Final = 1024  # pages between two calls of the progress; 2 MB take some milliseconds
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", ".lock", ".migrate.lock")
_BUSY: Final = 5000  # milliseconds
_NOBODY_LIVES: Final = "UPDATE litequeue_processes SET boot = '', port = NULL, idle = 0"
_WORKERS: Final = """
    SELECT worker, host, boot, namespace, pid, started FROM litequeue_processes WHERE role = 'worker' ORDER BY id
"""


def look(path: str) -> tuple[int, int, list[tuple[str, Identity]]]:
    """The schema version of the queue in the file `path`, that of a new file, and the workers that are registered.

    The file is only read, whatever its version. StoreMissing, StoreForeign, StoreTooNew.
    """
    with unopened(path) as (connection, version):
        rows = fetch(connection, _WORKERS)
    return (
        version,
        migrations.VERSION,
        [
            (worker, Identity(host=host, boot=boot, namespace=namespace, pid=pid, started=started))
            for worker, host, boot, namespace, pid, started in rows
        ],
    )


def copy_file(path: str, target: str, progress: Progress | None = None, overwrite: bool = False) -> None:
    """`Store.backup` of the queue in the file `path`, which may be of an older version."""
    with unopened(path) as (connection, _):
        copy(connection, path, target, progress, overwrite)


@contextmanager
def unopened(path: str) -> Iterator[tuple[apsw.Connection, int]]:
    """A connection to the file, and its version; nothing is made or changed."""
    filesystem.refuse_missing(path)
    filesystem.refuse_folder(path)
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(_BUSY)
            version = migrations.read_version(path, connection)
            if version is None:
                raise migrations.not_as_it_is(path, None)
            yield connection, version
        finally:
            connection.close()
    except apsw.Error as error:
        raise translate(error, path) from error


def copy(source: apsw.Connection, origin: str | None, path: str, progress: Progress | None, overwrite: bool) -> None:
    """Copy what `source` has, as it is at one instant, to the file `path`; `origin` is its file (None: in memory).

    One read transaction, from the first page to the last: a copy that begins anew whenever somebody writes, which is
    what SQLite's backup does by itself, would never end beside a busy worker. Writers do not wait for it; the WAL grows
    by what they write meanwhile.
    """
    path = os.path.abspath(path)
    _check_target(path, origin, overwrite)
    with _part_of(path) as part:
        _copy_pages(source, part, progress)
        _make_usable(part, origin is None)
        _sync(part)
        _publish(part, path, overwrite)


def _check_target(path: str, origin: str | None, overwrite: bool) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path}: the folder {folder} does not exist.")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; give the path of a file.")
    own = () if origin is None else [origin + suffix for suffix in _SUFFIXES]
    if path in own or any(_same(path, name) for name in own):
        raise FileExistsError(f"{path} is the queue itself, or belongs to it; give the copy another path.")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} is there already, and was not overwritten.")
    for name in (f"{path}-wal", f"{path}-journal"):
        if os.path.exists(name):  # it would be read into the copy
            raise FileExistsError(
                f"{name} is there: a program has {path} open, or did not close it. Give the copy another path."
            )


def _copy_pages(source: apsw.Connection, part: str, progress: Progress | None) -> None:
    source.execute("BEGIN; SELECT count(*) FROM sqlite_schema")  # a snapshot, for all steps
    try:
        target = apsw.Connection(part, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            target.execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
            with target.backup("main", source, "main") as run:
                while not run.done:
                    run.step(_STEP)
                    if progress is not None:
                        progress(run.remaining, run.page_count)
        finally:
            target.close()
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
        raise translate(error, part) from error  # the source is only read: what is full is the disk of the copy
    finally:
        source.execute("ROLLBACK")


def _make_usable(part: str, from_memory: bool) -> None:
    try:
        connection = apsw.Connection(part, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.execute(
                "PRAGMA locking_mode=EXCLUSIVE"
            )  # a WAL without -shm: the disk of copies may not have it
            if from_memory:
                connection.execute(f"PRAGMA application_id={migrations.APPLICATION_ID}; PRAGMA journal_mode=WAL")
            # The copy may be opened beside the processes that it names, which work for the original.
            connection.execute(_NOBODY_LIVES)
        finally:
            connection.close()  # and with it its WAL
    except apsw.Error as error:
        raise translate(error, part) from error


@contextmanager
def _part_of(path: str) -> Iterator[str]:
    """An empty file beside `path`, for its owner alone, which is gone in the end."""
    _delete_left_parts(path)
    part = f"{path}.part-{os.getpid()}-{threading.get_ident()}"
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield part
    finally:
        _delete(part)


def _delete_left_parts(path: str) -> None:
    """Delete what copies to `path` left behind whose processes were killed."""
    folder, prefix = os.path.dirname(path), f"{os.path.basename(path)}.part-"
    for name in os.listdir(folder):
        pid = name.removeprefix(prefix).split("-")[0]
        if name.startswith(prefix) and pid.isdecimal() and int(pid) != os.getpid():
            import psutil

            if not psutil.pid_exists(int(pid)):
                _delete(os.path.join(folder, name))


def _delete(part: str) -> None:
    for name in (part, f"{part}-wal", f"{part}-shm", f"{part}-journal"):
        with suppress(OSError):
            os.unlink(name)


def _sync(path: str) -> None:
    # Nothing has this file open by SQLite: closing it would drop the locks of whoever had.
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _publish(part: str, path: str, overwrite: bool) -> None:
    """Give the file its name, in one step; FileExistsError rather than replace what came there meanwhile."""
    if overwrite:
        os.replace(part, path)
    elif sys.platform == "win32":
        os.rename(part, path)  # there it refuses to replace
    else:
        try:
            os.link(part, path)
        except FileExistsError:
            raise FileExistsError(f"{path} is there already, and was not overwritten.") from None
        except OSError:  # no hard links on this file system
            if os.path.lexists(path):
                raise FileExistsError(f"{path} is there already, and was not overwritten.") from None
            os.rename(part, path)
    if sys.platform != "win32":
        fd = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
