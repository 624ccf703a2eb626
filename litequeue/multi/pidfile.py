"""The file that says which process a service is, held by a lock that ends with the process.

A pid alone is given again, so what a file says is believed only while its lock is held: that is exact, and no change of
the clock and no restart of the machine moves it. Two bytes far behind the text are locked, not the text, which anybody
may read:

    MUTEX   for a moment, by whoever is about to write the file, so that of two that start together one wins
    HOLDER  for as long as the process lives; taken when its pid is in the file

POSIX record locks belong to the process and are not inherited, so what it starts does not hold the file; they go as
soon as the process closes the file anywhere, so nothing here opens it twice.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path
from typing import IO, Final

import psutil

_MUTEX: Final = 1 << 30
_HOLDER: Final = _MUTEX + 1

# A process that started this long after the file was written cannot be the one that wrote it: its pid was given again.
_SLACK_SECONDS: Final = 2.0

if sys.platform == "win32":
    import msvcrt

    _LOOKS: Final = 5  # another look at the file locks it too, for a moment

    def _lock(handle: IO[str], byte: int) -> None:
        handle.seek(byte)
        msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)

    def _unlock(handle: IO[str], byte: int) -> None:
        handle.seek(byte)
        msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)

    def _locker(handle: IO[str], byte: int) -> int | None:
        """The pid of the process that has locked `byte`; 0 where that process cannot be seen from here."""
        for look in range(_LOOKS):
            handle.seek(byte)
            try:
                msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
            except PermissionError:
                time.sleep(0.02 * look)
            else:
                _unlock(handle, byte)
                return None
        return _pid_in(handle) or 0

else:
    import fcntl

    def _lock(handle: IO[str], byte: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_EX, 1, byte)

    def _unlock(handle: IO[str], byte: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_UN, 1, byte)


if sys.platform == "linux":

    def _locker(handle: IO[str], byte: int) -> int | None:
        """The pid of the process that has locked `byte`; 0 where that process cannot be seen from here."""
        question = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
        # The kernel names it, as seen from our pid namespace.
        kind, *_, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, question))
        return None if kind == fcntl.F_UNLCK else max(0, pid)

elif sys.platform != "win32":

    def _locker(handle: IO[str], byte: int) -> int | None:
        """The pid of the process that has locked `byte`; 0 where that process cannot be seen from here."""
        try:
            fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return _pid_in(handle) or 0
        _unlock(handle, byte)
        return None


_FLOCK: Final = "hhqqi"  # struct flock of Linux


class Held(Exception):
    """A live process holds the file."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


class Pidfile:
    """A pid file that this process holds until `release`."""

    def __init__(self, path: Path) -> None:
        """Held: a live process holds it. OSError: it cannot be written. A file whose process is gone is replaced."""
        self._path = path
        self._handle = _taken(path)

    def release(self) -> None:
        """Remove the file; whoever has replaced it in the meantime keeps theirs."""
        with self._handle:
            try:
                if not _is_at(self._handle, self._path) or _pid_in(self._handle) != os.getpid():
                    return
                if sys.platform == "win32":  # where an open file cannot be removed
                    self._handle.close()
                self._path.unlink()
            except OSError:
                pass


def holder(path: str | Path) -> psutil.Process | None:
    """The live process that holds the pid file; None: there is none.

    OSError: the file cannot be read. Not for the process that holds it itself.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as handle:
            return _process_that_holds(handle)
    except FileNotFoundError:
        return None


def _process_that_holds(handle: IO[str]) -> psutil.Process | None:
    pid = _held_by(handle)
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
    # From here on `process` is that one process, whoever gets its number later; was it the holder when it was read?
    return process if _held_by(handle) == pid else None


def _held_by(handle: IO[str]) -> int | None:
    try:
        return _locker(handle, _HOLDER)
    except OSError:  # a file system without locks
        return _by_age(handle)


def _taken(path: Path) -> IO[str]:
    while True:
        handle = open(path, "a+", encoding="ascii", errors="replace")  # noqa: SIM115  # open for as long as it is held
        try:
            _try_lock(handle, _MUTEX)
            if _is_at(handle, path):  # it may have been removed while we waited
                _write(handle)
                return handle
        except BaseException:
            handle.close()
            raise
        handle.close()


def _write(handle: IO[str]) -> None:
    for pid in (_held_by(handle), _by_age(handle)):
        if pid is not None and pid != os.getpid():
            raise Held(pid)
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    _try_lock(handle, _HOLDER)
    try:
        _unlock(handle, _MUTEX)
    except OSError:
        pass


def _try_lock(handle: IO[str], byte: int) -> None:
    try:
        _lock(handle, byte)
    except OSError:  # a file system without locks
        pass


def _is_at(handle: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _pid_in(handle: IO[str]) -> int | None:
    """The pid that the file holds; None where it holds none."""
    handle.seek(0)
    try:
        return int(handle.read(32).strip())
    except ValueError:
        return None


def _by_age(handle: IO[str]) -> int | None:
    """The pid in the file, where its process runs and is old enough to have written it: likely, not certain."""
    pid = _pid_in(handle)
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return pid if process.create_time() <= os.fstat(handle.fileno()).st_mtime + _SLACK_SECONDS else None
    except psutil.AccessDenied:
        return pid
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None
