"""The file that says which process a service is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from litequeue.exceptions import LiteQueueCommandException

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: TextIO) -> None:
        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _lock(handle: TextIO) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)


# A process that started this long after the file was written cannot be the one that wrote it: its pid was given again.
_SLACK_SECONDS = 2.0


@contextmanager
def held_pidfile(path: str | None) -> Iterator[None]:
    """Hold the pid file `path` for the length of the block (None: nothing to do).

    A file whose process is gone is replaced. LiteQueueCommandException: a live process holds it, or it cannot be
    written.
    """
    if path is None:
        yield
        return
    # A task may change the folder of the process (solo pool); the file is removed where it was made.
    file = Path(path).absolute()
    try:
        _take(file)
    except OSError as exc:
        raise LiteQueueCommandException(f"--pidfile {path}: {exc.strerror}") from exc
    try:
        yield
    finally:
        _give_back(file)


def _take(file: Path) -> None:
    while True:
        with open(file, "a+", encoding="ascii") as handle:
            # The lock is held only for this moment, so that of two that start together one sees the other's pid.
            _lock(handle)
            if not _still_there(handle.fileno(), file):
                continue
            holder = _pid_in(file)
            if holder is not None and holder != os.getpid() and _lives(holder, file):
                raise LiteQueueCommandException(
                    f"--pidfile {file}: process {holder} holds it and is running; stop that one, or name another file"
                )
            handle.truncate(0)
            handle.write(f"{os.getpid()}\n")
            return


def _give_back(file: Path) -> None:
    # Whoever replaced it in the meantime keeps it.
    try:
        if _pid_in(file) == os.getpid():
            file.unlink()
    except OSError:
        pass


def _still_there(descriptor: int, file: Path) -> bool:
    """Whether the open file is the one at the path: it may have been removed while we waited for its lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _pid_in(file: Path) -> int | None:
    """The pid that the file holds; None where it holds none."""
    try:
        return int(file.read_text(encoding="ascii").strip())
    except (FileNotFoundError, ValueError):
        return None


def _lives(pid: int, file: Path) -> bool:
    """Whether the process that wrote the file is running."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.create_time() <= file.stat().st_mtime + _SLACK_SECONDS
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, ValueError):
        return False
