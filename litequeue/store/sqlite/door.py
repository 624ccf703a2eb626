"""The fair door: one writer at a time, over every process of the host, in about the order they came.

SQLite's own busy handler sleeps and tries again, so a writer that comes often starves the others (one process made
7,408 transactions while another made 1). A blocking `flock` on a side file queues them in the kernel and costs under a
microsecond when nobody else is there. The side file is never deleted: whoever deletes a lock file splits its users in
two.

A blocking flock has no time-out, so where the lock is taken a thread waits for it and the caller waits for the thread.
If the caller's budget ends first, that wait stays on and the next caller joins it.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from litequeue import exceptions

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _lock(fd: int) -> None:
        delay = 0.0001
        while not _try_lock(fd):
            time.sleep(delay)
            delay = min(delay * 2, 0.005)

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


class Door:
    """The door of one file. Its caller is a single thread at a time: the store's own lock sees to that."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        self._waiting: threading.Event | None = None

    def acquire(self, budget: float) -> None:
        """Go in; StoreBusy when it takes longer than `budget` seconds."""
        if self._waiting is None and _try_lock(self._fd):
            return
        if not self._wait(budget):
            raise exceptions.StoreBusy(
                f"{self.path.removesuffix('.lock')}: {self._holder()} has held the file for more than {budget:g} s. "
                "Look whether that process hangs or is stopped; raise busy_timeout if it may take that long."
            )

    def release(self) -> None:
        """Let the next one in."""
        _unlock(self._fd)

    def close(self) -> None:
        """Give the side file up; a wait that is still on ends with it."""
        if self._waiting is None:
            os.close(self._fd)

    def _wait(self, budget: float) -> bool:
        if self._waiting is None:
            self._waiting = threading.Event()
            threading.Thread(
                target=self._lock_and_tell, args=(self._waiting,), name="litequeue-door", daemon=True
            ).start()
        if not self._waiting.wait(budget):
            return False
        self._waiting = None
        return True

    def _lock_and_tell(self, event: threading.Event) -> None:
        _lock(self._fd)
        event.set()

    def _holder(self) -> str:
        """Who has the lock, as far as the system tells (Linux: /proc/locks)."""
        try:
            inode = os.fstat(self._fd).st_ino
            with open("/proc/locks", encoding="ascii") as locks:
                for line in locks:
                    fields = line.split()
                    if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
                        return f"process {fields[4]}"
        except (OSError, IndexError):
            pass
        return "another process"
