"""What a queue takes on disk is bounded by settings (P9)."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from litequeue.core import clock
from litequeue.core.records import NORMAL

from .story import claimant, new_task, open_store, register, success

WAL_LIMIT = 16 * 1024 * 1024
"""Bytes to which the -wal is cut when it is reset; a commit in between may make it larger by its own size."""


def size(path: Path, suffix: str = "") -> int:
    return os.path.getsize(f"{path}{suffix}")


@pytest.mark.parametrize("reads", ["short", "long"])
def test_the_wal_stays_small_under_writers_and_readers(tmp_path, reads):
    """Readers look all the time while thousands of commits are made: none of them keeps the WAL from being reset."""
    path = tmp_path / "queue.db"
    store = open_store(path, NORMAL)
    stop = threading.Event()
    watcher = open_store(path, NORMAL)

    def look() -> None:
        while not stop.is_set():
            if reads == "long":
                watcher.counts()
            else:
                watcher.processes()
                watcher.states(["x"])

    thread = threading.Thread(target=look)
    thread.start()
    largest = 0
    for _ in range(3000):
        store.enqueue([new_task(payload=f'[["{"x" * 2000}"], {{}}]')])
        largest = max(largest, size(path, "-wal"))
    stop.set()
    thread.join()
    assert largest < WAL_LIMIT + 4 * 1024 * 1024
    watcher.close()
    store.close()
    assert not os.path.exists(f"{path}-wal") or size(path, "-wal") == 0


def test_the_file_does_not_grow_with_what_has_been_done(tmp_path):
    """With results kept for no time, and pruning at work, ten rounds take no more room than three did."""
    path = tmp_path / "queue.db"
    store = open_store(path, NORMAL)
    me = claimant(register(store))
    sizes = []
    for _ in range(10):
        store.enqueue([new_task(payload=f'[["{"x" * 500}"], {{}}]') for _ in range(500)])
        settled = store.claim(me, 500)
        store.settle(me, [success(claimed)._replace(prune_at=clock.now()) for claimed in settled.claimed])
        while store.prune(100):
            pass
        with store._database.read() as connection:
            sizes.append(connection.execute("PRAGMA page_count").get)
    assert store.counts() == {}
    assert sizes[-1] <= sizes[2]
    store.close()


def test_a_file_that_was_large_once_gives_its_room_back(tmp_path):
    path = tmp_path / "queue.db"
    store = open_store(path, NORMAL)
    store.enqueue([new_task(payload=f'[["{"x" * 5000}"], {{}}]') for _ in range(3000)])
    store.close()
    large = size(path)
    assert store.purge() == 3000
    for _ in range(50):
        store.prune(100)
    store.close()
    assert size(path) < large / 2
