"""A SQLite VFS that remembers every write, and fails the n-th call when told to.

`RecordingVFS` passes everything on to the system's own VFS and logs, in order, what was done to the database file, its
`-wal` and its `-journal`: writes with their bytes, truncations, syncs, creations, deletions. `power_loss.py` turns the
log into every image that a power cut could leave. The `-shm` file is memory shared between processes, never on the
disk after a power cut, and goes straight to the base VFS.

With a `Fault` armed, the n-th read, write, sync, lock, open, truncation or deletion fails as a disk or a kernel would
make it fail. Loop over n until `fault.fired` stays False: then every call of the operation has failed once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw

_JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
_LOGGED = apsw.SQLITE_OPEN_MAIN_DB | _JOURNALS
_numbers = itertools.count(1)

OPERATIONS = ("open", "read", "write", "sync", "truncate", "delete", "lock")
"""What can be made to fail. `lock` is xLock: the locks that a WAL database takes in its -shm do not come through a VFS
written in Python, so contention there is tested with a second connection."""


class Event(NamedTuple):
    """One thing that happened, in the order in which it happened."""

    kind: str
    """`create write truncate sync dirsync delete` or `mark`."""
    path: str = ""
    offset: int = 0
    """Where a write began; the new size for a truncation; 0 otherwise."""
    data: bytes = b""
    mark: Any = None
    """What the test said at this point: what is acknowledged now, what begins now."""


@dataclass
class Fault:
    """Fails the `nth` call of `operation` (1 is the first), once, or from then on with `lasting`."""

    operation: str
    nth: int
    error: str = "ioerr"
    """`ioerr`, `full`, `short` (half of a write reaches the file, then it fails), `busy`, `cantopen`."""
    lasting: bool = False
    suffix: str | None = None
    """Only calls on files whose name ends so: `-wal`, `-journal`, `.db`."""
    calls: int = 0
    fired: bool = False

    def due(self, operation: str, path: str) -> bool:
        """Count one call, and say whether it is to fail."""
        if operation != self.operation or (self.suffix is not None and not path.endswith(self.suffix)):
            return False
        self.calls += 1
        if self.calls == self.nth or (self.lasting and self.calls > self.nth):
            self.fired = True
            return True
        return False


def _error(kind: str, operation: str) -> apsw.Error:
    """The exception that makes SQLite see the failure `kind` of `operation`."""
    if kind == "full":
        return apsw.FullError("injected: no space left")
    if kind == "busy":
        return apsw.BusyError("injected: locked")
    if kind == "cantopen":
        return apsw.CantOpenError("injected: cannot open")
    error = apsw.IOError(f"injected: {operation} failed")
    code = {
        "read": apsw.SQLITE_IOERR_READ,
        "write": apsw.SQLITE_IOERR_WRITE,
        "sync": apsw.SQLITE_IOERR_FSYNC,
        "truncate": apsw.SQLITE_IOERR_TRUNCATE,
        "delete": apsw.SQLITE_IOERR_DELETE,
        "lock": apsw.SQLITE_IOERR_LOCK,
    }.get(operation)
    if code is not None:
        error.extendedresult = code
    return error


class RecordingVFS(apsw.VFS):
    """The system's VFS under a name of its own, with a log and an optional fault; unregister it with `close()`."""

    def __init__(self, *, lying_sync: bool = False) -> None:
        self.name = f"recording{next(_numbers)}"
        self.log: list[Event] = []
        self.fault: Fault | None = None
        self.recording = True
        self.lying_sync = lying_sync
        """Syncs return at once and are not logged: a disk that lies."""
        self._seen: set[str] = set()
        super().__init__(self.name, "")

    def close(self) -> None:
        """Take the VFS out of SQLite; connections must be closed first."""
        self.unregister()

    def mark(self, mark: Any) -> None:
        """Write into the log what the test knows at this point."""
        self.log.append(Event("mark", mark=mark))

    @contextlib.contextmanager
    def failing(self, fault: Fault) -> Iterator[Fault]:
        """Arm `fault` for the length of the block."""
        self.fault = fault
        try:
            yield fault
        finally:
            self.fault = None

    def note(self, kind: str, path: str, offset: int = 0, data: bytes = b"") -> None:
        """Log an event of a file."""
        if self.recording:
            self.log.append(Event(kind, path, offset, data))

    def check(self, operation: str, path: str) -> None:
        """Raise when the armed fault is due."""
        fault = self.fault
        if fault is not None and fault.due(operation, path):
            raise _error(fault.error, operation)

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> None:
        """An injected fault is an ordinary answer to SQLite: nothing to print."""

    # What SQLite calls

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if not flags[0] & _LOGGED:
            return apsw.VFSFile("", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self.check("open", path)
        fresh = not os.path.exists(path) or (path not in self._seen and os.path.getsize(path) == 0)
        # The flags are read before the open: SQLite's answer in them may differ.
        syncs_folder = bool(flags[0] & _JOURNALS and flags[0] & apsw.SQLITE_OPEN_CREATE)
        opened = _File(self, name, flags, path, syncs_folder)
        if path not in self._seen and not fresh:
            self.note("exists", path, data=Path(path).read_bytes())
        elif fresh:
            self.note("create", path)
        self._seen.add(path)
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if filename.endswith("-shm"):
            super().xDelete(filename, syncdir)
            return
        self.check("delete", filename)
        super().xDelete(filename, syncdir)
        self.note("delete", filename)
        self._seen.discard(filename)
        if syncdir:
            self.note("dirsync", filename)


class _File(apsw.VFSFile):
    """An open database, write-ahead log or rollback journal."""

    def __init__(self, vfs: RecordingVFS, name: Any, flags: list[int], path: str, syncs_folder: bool) -> None:
        self.vfs = vfs
        self.path = path
        self.syncs_folder = syncs_folder
        """SQLite's unix VFS syncs the folder with the first sync of a journal or a WAL that it may have created
        (os_unix.c, UNIXFILE_DIRSYNC)."""
        super().__init__("", name, flags)

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> None:
        """As for the VFS."""

    def xRead(self, amount: int, offset: int) -> bytes:
        self.vfs.check("read", self.path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        vfs, fault = self.vfs, self.vfs.fault
        if fault is not None and fault.due("write", self.path):
            half = bytes(data[: len(data) // 2])
            if fault.error == "short" and half:
                super().xWrite(half, offset)
                vfs.note("write", self.path, offset, half)
            raise _error("ioerr" if fault.error == "short" else fault.error, "write")
        super().xWrite(data, offset)
        vfs.note("write", self.path, offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        self.vfs.check("truncate", self.path)
        super().xTruncate(size)
        self.vfs.note("truncate", self.path, size)

    def xSync(self, flags: int) -> None:
        self.vfs.check("sync", self.path)
        if self.vfs.lying_sync:
            return
        # Nothing here survives the test, so the real sync is skipped; the log alone decides what a power cut leaves.
        self.vfs.note("sync", self.path)
        if self.syncs_folder:
            self.syncs_folder = False
            self.vfs.note("dirsync", self.path)

    def xLock(self, level: int) -> None:
        self.vfs.check("lock", self.path)
        super().xLock(level)


def sweep(run: Callable[[Fault], None], operation: str, *, limit: int = 2000, **how: Any) -> int:
    """Call `run` with a fault at call 1, 2, 3, … of `operation` until none fires; returns how many did."""
    for nth in range(1, limit):
        fault = Fault(operation, nth, **how)
        run(fault)
        if not fault.fired:
            return nth - 1
    raise AssertionError(f"{operation} still failed at call {limit}: a retry without end?")
