"""The fair door: one at a time, nobody starves, and a stuck holder is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from litequeue import exceptions
from litequeue.store import open_store
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite.door import Door

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops a process with SIGSTOP")


def _run(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


HOLD = """
    import sys
    from litequeue.store.sqlite.door import Door
    door = Door(sys.argv[1]); door.acquire(10); print("in", flush=True); input(); door.release()
"""


def test_a_stuck_holder_is_named_and_the_next_try_succeeds(tmp_path: Path) -> None:
    path = str(tmp_path / "q.db.lock")
    holder = _run(HOLD, path)
    assert holder.stdout is not None
    holder.stdout.readline()
    os.kill(holder.pid, signal.SIGSTOP)
    door = Door(path)
    try:
        with pytest.raises(exceptions.StoreBusy, match=rf"q\.db: process {holder.pid} has held"):
            door.acquire(0.1)
        with pytest.raises(exceptions.StoreBusy):
            door.acquire(0.1)
    finally:
        os.kill(holder.pid, signal.SIGCONT)
    holder.communicate("\n")
    door.acquire(10)
    door.release()


def test_a_killed_holder_opens_the_door(tmp_path: Path) -> None:
    path = str(tmp_path / "q.db.lock")
    holder = _run(HOLD, path)
    assert holder.stdout is not None
    holder.stdout.readline()
    door = Door(path)
    threading.Timer(0.05, holder.kill).start()
    door.acquire(10)
    door.release()
    holder.communicate()


WRITE = """
    import os, sys, time
    from litequeue.core.ids import new_id
    from litequeue.core.records import NewTask
    from litequeue.store import open_store
    from litequeue.store.contract import StoreOptions
    store = open_store(sys.argv[1], StoreOptions())
    store.counts()
    print("up", flush=True); input()
    count = 0
    while not os.path.exists(sys.argv[1] + ".enough"):
        store.enqueue([NewTask(new_id(), "t", sys.argv[2], 0, "", "json")]); count += 1
    print(count)
"""


def test_no_writer_starves(tmp_path: Path) -> None:
    """Four write until the last of them has had so many turns that a late start of its process does not count."""
    path = tmp_path / "q.db"
    writers = {name: _run(WRITE, str(path), name) for name in ("a", "b", "c", "d")}
    for writer in writers.values():
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers.values():
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    store = open_store(str(path), StoreOptions())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(0.05)
        done = store.counts()
        if len(done) == 4 and min(each["ready"] for each in done.values()) >= 300:
            break
    (tmp_path / "q.db.enough").touch()
    counts = {name: int(writer.communicate(timeout=60)[0]) for name, writer in writers.items()}
    least, most = min(counts.values()), max(counts.values())
    assert least * 4 >= most, f"with SQLite's own handler one of four makes nearly nothing: {counts}"
    assert store.counts() == {name: {"ready": count} for name, count in counts.items()}
    store.close()
