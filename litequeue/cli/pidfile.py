"""`--pidfile`: the file that says which process a service is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from litequeue.exceptions import LiteQueueCommandException


@contextmanager
def held_pidfile(path: str | None) -> Iterator[None]:
    """Hold the pid file `path` for the length of the block (None: nothing to do).

    A file whose process is gone is replaced. LiteQueueCommandException: a live process holds it, or it cannot be
    written.
    """
    if path is None:
        yield
        return
    from litequeue.multi.pidfile import Held, Pidfile

    # A task may change the folder of the process (solo pool); the file is removed where it was made.
    file = Path(path).absolute()
    try:
        held = Pidfile(file)
    except Held as exc:
        who = f"process {exc.pid}" if exc.pid else "a process of another container"
        raise LiteQueueCommandException(
            f"--pidfile {file}: {who} holds it and is running; stop that one, or name another file"
        ) from exc
    except OSError as exc:
        raise LiteQueueCommandException(f"--pidfile {path}: {exc.strerror}") from exc
    try:
        yield
    finally:
        held.release()
