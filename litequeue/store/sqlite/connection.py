"""One file, opened once for writing and once for reading, by this process.

Every write goes in by the same way: the lock of this process, the fair door over all processes, BEGIN IMMEDIATE,
COMMIT. Transactions are short and hold no user code. No connection is ever open across a fork: SQLite believes that the
locks of the parent are its own and loses commits, so the connections are closed before a fork and opened again on the
next use.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Any

import apsw

from litequeue import exceptions
from litequeue.core.records import FULL, NORMAL
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite import filesystem
from litequeue.store.sqlite.door import Door
from litequeue.store.sqlite.errors import translate
from litequeue.store.sqlite.guarding import guard_of_thread

MEMORY = ":memory:"
MINIMUM_SQLITE = (3, 51, 3)
"""Before this, a checkpoint that resets the WAL could corrupt the file."""

# EXTRA is FULL for a WAL file. In the rollback journal of a file that another program made, it also syncs the folder
# after the journal is deleted; without that a power cut brings the journal back, and it undoes the commit.
_SYNCHRONOUS = {FULL: "PRAGMA synchronous=EXTRA", NORMAL: "PRAGMA synchronous=NORMAL"}
_FORK_WAIT = 5.0  # seconds a fork waits for another thread's transaction; they take milliseconds
_CHECKPOINT_PAGES = 2000  # 4 MB of WAL; writers checkpoint inline, as no other way bounds the WAL under load
_RESTART_PAGES = 4000  # from here on a checkpoint waits for readers, so that the WAL can begin anew
_RETRY_PAGES = 1000  # how much more is written until the next try, when a reader stayed too long
_RESTART_PATIENCE = 0.05  # seconds
_TRY_AGAIN = 0.0002  # seconds between two tries of that time
_WAL_LIMIT = 16 * 1024 * 1024  # bytes the WAL file is cut to when it is reset

apsw.config(apsw.SQLITE_CONFIG_LOG, None)  # a warning on stderr would be nobody's; errors are raised


def library_versions() -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """The version of SQLite that is used, the least that is, and that of apsw, which brings it."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split(".")), MINIMUM_SQLITE, apsw.apsw_version()


def _check_sqlite() -> None:
    if library_versions()[0] < MINIMUM_SQLITE:
        raise exceptions.ImproperlyConfigured(
            f"apsw brings SQLite {apsw.sqlite_lib_version()}, which can corrupt a WAL file; install"
            " apsw 3.51.3 or newer."
        )


class Database:
    """The connections of this process to one file; every method may be called from any thread."""

    def __init__(self, path: str, options: StoreOptions, prepare: Callable[[Database, apsw.Connection], None]) -> None:
        """`prepare(database, connection)` is called on a fresh connection to make or migrate the schema."""
        _check_sqlite()
        self.memory = path == MEMORY
        self.path = path if self.memory else os.path.abspath(path)
        self.existing = options.existing
        self.vfs: str | None = None
        self._options = options
        self._prepare = prepare
        self._broken: exceptions.StoreCorrupt | None = None
        self._reset()
        _open_databases.add(self)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._owner = 0  # the thread inside a transaction
        self._read_lock = self._lock if self.memory else threading.Lock()
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._door: Door | None = None
        self._synchronous = ""
        self._identity = (0, 0)
        self._forked_inside = False
        self._apart: list[apsw.Connection] = []
        self._transaction = _Transaction(self)

    # Transactions

    def write(self, durability: str) -> _Transaction:
        """A write transaction, as a context: `with database.write(FULL) as connection: …`.

        Committed when the block ends, rolled back when it raises. Raises the OperationalError that fits.
        """
        self._enter(durability)
        return self._transaction

    def write_one(self, durability: str, statement: str, bindings: tuple[Any, ...], then: str) -> list[Any]:
        """Run one statement as a transaction of its own: what `write` does, without BEGIN and COMMIT.

        Returns the rows of the query `then`, which sees the file after the commit.
        """
        connection = self._enter(durability)
        try:
            self.check_identity()
            connection.execute(statement, bindings)
            self.check_identity()
            with suppress(apsw.Error):  # the row is committed, whatever becomes of the question
                return connection.execute(then).fetchall()
            return []
        except apsw.Error as error:
            raise self._translated(error) from error
        finally:
            self._leave()

    def _enter(self, durability: str) -> apsw.Connection:
        guard = guard_of_thread()
        if guard is not None:
            guard.enter()
        if not self._lock.acquire(timeout=self._options.busy_budget):
            if guard is not None:
                guard.leave()
            raise self._busy_thread()
        try:
            connection = self._open_writer()
            if self._door is not None:
                self._door.acquire(self._options.busy_budget)
        except BaseException:
            self._lock.release()
            if guard is not None:
                guard.leave()
            raise
        if durability != self._synchronous:
            try:
                connection.execute(_SYNCHRONOUS[durability])
                self._synchronous = durability
            except BaseException as error:
                self._leave()
                raise self._translated(error) from error
        self._owner = threading.get_ident()
        return connection

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """A connection to read with; keep it for one or two short statements, and fetch all they give."""
        guard = guard_of_thread()
        if guard is not None:
            guard.enter()
        try:
            if not self._read_lock.acquire(timeout=self._options.busy_budget):
                raise self._busy_thread()
            try:
                yield self._open_reader()
            except apsw.Error as error:
                raise self._translated(error) from error
            except UnicodeDecodeError as error:
                raise exceptions.OperationalError(
                    f"{self.path}: a row has text that is not UTF-8 ({error.object[:40]!r}); another program wrote it."
                    " Set it right there, or delete the row."
                ) from error
            finally:
                self._read_lock.release()
        finally:
            if guard is not None:
                guard.leave()

    @contextmanager
    def alone(self) -> Iterator[apsw.Connection]:
        """The writing connection without a transaction, while everybody else waits at the door."""
        connection = self._enter(FULL)
        try:
            self.check_identity()
            yield connection
            self.check_identity()
        except apsw.Error as error:
            raise self._translated(error) from error
        finally:
            self._leave()

    @contextmanager
    def apart(self) -> Iterator[apsw.Connection]:
        """A connection for what takes long, so that the other threads go on; a file in memory has only the one.

        A fork meanwhile leaves a child that gets StoreForked.
        """
        with self.read() as shared:
            connection = shared if self.memory else self._connect()
            if self.memory:
                yield connection
                return
        self._apart.append(connection)
        try:
            yield connection
        except apsw.Error as error:
            raise self._translated(error) from error
        finally:
            self._apart.remove(connection)
            connection.close()

    def _busy_thread(self) -> exceptions.StoreBusy:
        return exceptions.StoreBusy(
            f"{self.path}: another thread of this process has used the connection for more than"
            f" {self._options.busy_budget:g} s; raise busy_timeout if that is expected."
        )

    def _leave(self) -> None:
        self._owner = 0
        if self._door is not None:
            self._door.release()
        self._lock.release()
        guard = guard_of_thread()
        if guard is not None:
            guard.leave()

    def _translated(self, error: BaseException) -> BaseException:
        if not isinstance(error, apsw.Error) or isinstance(error, apsw.ConstraintError):
            return error  # a constraint is the caller's business
        translated = translate(error, self.path)
        if isinstance(translated, exceptions.StoreCorrupt):
            self._broken = translated  # an insert may still succeed on a damaged file: write nothing more
        return translated

    def check_identity(self) -> None:
        """Raise StoreMoved when the path no longer leads to the file that is open."""
        if not self.memory and filesystem.identity(self.path) != self._identity:
            raise exceptions.StoreMoved(
                f"{self.path} was replaced by another file while it was open. Restart the programs that use it."
            )

    # Opening and closing

    def _check_process(self) -> None:
        if self._forked_inside or self._pid != os.getpid():
            raise exceptions.StoreForked(
                f"{self.path}: this process was forked while another thread had a transaction open, and cannot use the"
                " queue. Fork before the queue is used, or start processes with spawn or forkserver."
            )
        if self._broken is not None:
            raise self._broken

    def _open_writer(self) -> apsw.Connection:
        if self._writer is not None and self._pid == os.getpid() and self._broken is None:
            return self._writer
        self._check_process()
        try:
            self._writer = self._open()
        except apsw.Error as error:
            raise self._translated(error) from error
        return self._writer

    def _open_reader(self) -> apsw.Connection:
        if self._reader is not None and self._pid == os.getpid():
            self.check_identity()
            return self._reader
        self._check_process()
        if self.memory:
            return self._open_writer()
        if self._writer is None:
            with self._lock:
                self._open_writer()
        self._reader = self._connect()
        return self._reader

    def _open(self) -> apsw.Connection:
        if self.memory:
            connection = self._connect()
            self._prepare(self, connection)
            return connection
        filesystem.prepare(
            self.path,
            private=self._options.private,
            allow_network=self._options.allow_network,
            existing=self._options.existing,
        )
        before = filesystem.identity(self.path)
        connection = self._connect()
        try:
            self._prepare(self, connection)
            if filesystem.identity(self.path) != before:
                raise exceptions.StoreMoved(f"{self.path} was replaced while it was being opened; try again.")
            if self._door is None:
                self._door = self._open_door()
        except BaseException:
            connection.close()
            raise
        self._identity = before
        return connection

    def _open_door(self) -> Door:
        try:
            return Door(self.path + ".lock")
        except PermissionError as error:
            raise exceptions.StoreReadOnly(
                f"{self.path}.lock cannot be made ({error.strerror}). Let this user write in the folder."
            ) from error
        except OSError as error:
            raise exceptions.OperationalError(f"{self.path}.lock cannot be made ({error.strerror}).") from error

    def _connect(self) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if self.memory else 0)
        connection = apsw.Connection(self.path, flags=flags, vfs=self.vfs)
        patience = _Patience(self._options.busy_budget)
        connection.set_busy_handler(patience)
        connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT}")
        connection.set_wal_hook(_Checkpointer(patience))
        connection.execute("PRAGMA temp_store=MEMORY")
        if sys.platform == "darwin":
            connection.execute("PRAGMA fullfsync=1")  # fsync alone leaves the write in the disk's cache
        self._synchronous = ""
        return connection

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        # Always the read lock first: a reader that finds the file closed opens it under both.
        with self._read_lock, self._lock if self._lock is not self._read_lock else nullcontext():
            self._close()

    def _close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                with suppress(apsw.Error):
                    connection.close()
        self._reader = self._writer = None
        self._synchronous = ""
        if self._door is not None:
            self._door.close()
            self._door = None

    # Forks

    def before_fork(self) -> None:
        """Close the connections, unless a transaction is open: then the child may not use the queue."""
        own = self._owner == threading.get_ident()
        if own or self._apart or not self._read_lock.acquire(timeout=_FORK_WAIT):
            self._forked_inside = True
        elif self._lock is not self._read_lock and not self._lock.acquire(timeout=_FORK_WAIT):
            self._read_lock.release()
            self._forked_inside = True
        elif not self.memory:
            self._close()

    def after_fork_in_parent(self) -> None:
        """Go on as before."""
        if self._forked_inside:
            self._forked_inside = False
            return
        if self._read_lock is not self._lock:
            self._read_lock.release()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Forget everything that was the parent's."""
        inherited = (self._reader, self._writer, self._door, *self._apart)
        forked_inside, memory = self._forked_inside, self.memory
        if any(inherited):
            _inherited.append(inherited)  # closing or collecting them here would drop the parent's locks
        self._reset()
        self._forked_inside = forked_inside or memory


class _Transaction:
    """The one write transaction that may be open in this process."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> apsw.Connection:
        database = self._database
        connection = database._writer
        assert connection is not None, "write() opened it"
        try:
            connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            database._leave()
            raise database._translated(error) from error
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        database = self._database
        connection = database._writer
        assert connection is not None, "write() opened it"
        try:
            if error is None:
                database.check_identity()
                connection.execute("COMMIT")
                database.check_identity()
                return
        except BaseException as failure:
            self._roll_back(connection)
            raise database._translated(failure) from failure
        finally:
            if error is not None:
                self._roll_back(connection)
            database._leave()
        if isinstance(error, apsw.Error) and not isinstance(error, apsw.ConstraintError):
            raise database._translated(error) from error

    @staticmethod
    def _roll_back(connection: apsw.Connection) -> None:
        # SQLite has rolled back already after a full disk or an I/O error.
        if connection.in_transaction:
            with suppress(apsw.Error):
                connection.execute("ROLLBACK")


class _Checkpointer:
    """Checkpoints after a commit, in place of SQLite's own hook.

    A passive checkpoint never gets to the end of the WAL while one reader or another is always on (159 MB after 12,000
    commits beside a loop of long reads). So from `_RESTART_PAGES` on readers are waited for, for a moment; but not for
    one who has been in since the last look, such as a copy of the file: it will not leave in a moment either, and
    everybody would wait in vain (12 commits of 20 to 170 ms while 340 MB were copied).
    """

    def __init__(self, patience: _Patience) -> None:
        self._patience = patience
        self._restart_at = _RESTART_PAGES
        self._done = -1  # how far the WAL was brought into the file at the last look; -1: there was none

    def __call__(self, connection: apsw.Connection, name: str, pages: int) -> int:
        if pages < _CHECKPOINT_PAGES:
            self._restart_at, self._done = _RESTART_PAGES, -1
            return apsw.SQLITE_OK
        done = self._checkpoint(connection)
        if self._done < 0:
            self._done = done
        if pages >= self._restart_at:
            self._restart_at = pages + _RETRY_PAGES
            moved, self._done = done > self._done, done
            if moved:
                self._restart(connection)
        return apsw.SQLITE_OK

    @staticmethod
    def _checkpoint(connection: apsw.Connection) -> int:
        """How many pages of the WAL are in the file now; -1: that is not known."""
        try:
            return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)[1]
        except apsw.Error:  # the commit stands; the next one tries again
            return -1

    def _restart(self, connection: apsw.Connection) -> None:
        self._patience.budget, usual = 0.0, self._patience.budget
        try:
            with suppress(apsw.Error):  # the commit stands; a later one tries again
                checkpoint_whole(connection, apsw.SQLITE_CHECKPOINT_RESTART, _RESTART_PATIENCE)
        finally:
            self._patience.budget = usual


def checkpoint_whole(connection: apsw.Connection, mode: int, patience: float) -> None:
    """Bring the whole WAL into the file, with RESTART or TRUNCATE, trying for `patience` seconds; then BusyError.

    Many short tries, on a connection that does not wait itself. SQLite's own wait is for the lock of a reader, not for
    the reader it saw, and a loop of reads has always taken it again when SQLite looks (11 of 14 waits of 50 ms were in
    vain). A new try finds that who came since needs only the end of the WAL, brings that into the file too, and from
    then on readers do without the WAL: so one read's time is enough.
    """
    until = time.monotonic() + patience
    while True:
        try:
            connection.wal_checkpoint(mode=mode)
            return
        except apsw.BusyError:
            if time.monotonic() >= until:
                raise
        time.sleep(_TRY_AGAIN)


class _Patience:
    """The busy handler, for programs that do not use the door: waits 20 us, doubling to 20 ms, for the budget."""

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        now = time.monotonic()
        if tries == 0:
            self._since = now
        elif now - self._since > self.budget:
            return False
        time.sleep(20e-6 * 2 ** min(tries, 10))
        return True


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[tuple[Any, ...]] = []


_forking: list[Database] = []


def _before_fork() -> None:
    _forking[:] = list(_open_databases)
    for database in _forking:
        database.before_fork()


def _after_fork_in_parent() -> None:
    for database in _forking:
        database.after_fork_in_parent()
    _forking.clear()


def _after_fork_in_child() -> None:
    for database in _forking:
        database.after_fork_in_child()
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
