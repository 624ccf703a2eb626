"""Tasks for the soak: each says in a side log, synced to the disk, when it begins and how it goes on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from litequeue import LiteQueue

QUEUE = "SOAK_QUEUE"
LOG = "SOAK_LOG"
SLOW = "slow"
"""The queue that is paused for a while."""
RATE = 15
"""Starts of `limited` in a second."""
WAIT_FOR_A_PLACE = 0.25
"""Seconds: of a process that is killed the kernel takes the locks away when its last thread has had its turn."""

app = LiteQueue("soak", broker=os.environ.get(QUEUE, "soak.db"), set_as_current=False, max_worker_deaths=50)


def note(kind: str, request: Any, *words: object) -> None:
    """One line, by one write of a file that is opened for appending, and on the disk when this returns."""
    line = " ".join(map(str, (kind, request.id, os.getpid(), request.attempt, repr(time.time()), *words)))
    log = os.open(os.environ[LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(log, f"{line}\n".encode())
        os.fsync(log)
    finally:
        os.close(log)


def nap(seconds: float) -> None:
    """Sleep in short steps, between which an exception gets into a thread."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.01))


@contextmanager
def place(request: Any, key: str, limit: int) -> Iterator[None]:
    """One of `limit` places, as the kernel gives them: a process that dies leaves its own. Notes if there is none."""
    note("in", request, key, limit)
    until = time.monotonic() + WAIT_FOR_A_PLACE
    held = None
    while held is None and time.monotonic() < until:
        for number in range(limit):
            file = Path(f"{os.environ[LOG]}.{key}.{number}").open("w")  # noqa: SIM115
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                held = file
                break
        else:
            time.sleep(0.002)
    try:
        if held is None:
            note("over", request, key, limit)
        yield
        note("out", request, key, limit)
    finally:
        if held is not None:
            held.close()


@app.task(bind=True)
def work(self: Any, seconds: float) -> None:
    note("run", self.request)
    nap(seconds)
    note("end", self.request)


@app.task(bind=True)
async def wait(self: Any, seconds: float) -> None:
    note("run", self.request)
    await asyncio.sleep(seconds)
    note("end", self.request)


@app.task(bind=True, acks_late=False)
def once(self: Any, seconds: float) -> None:
    note("run", self.request)
    nap(seconds)
    note("end", self.request)


@app.task(bind=True, max_retries=2)
def again(self: Any, seconds: float) -> None:
    note("run", self.request)
    if self.request.retries < 2:
        raise self.retry(countdown=seconds)
    note("end", self.request)


@app.task(bind=True)
def broken(self: Any, seconds: float) -> None:
    note("run", self.request)
    nap(seconds)
    raise ValueError("as ever")


@app.task(bind=True)
def sleepy(self: Any, seconds: float) -> None:
    note("run", self.request)
    if random.random() < 0.5:
        note("snooze", self.request)
        raise self.snooze(seconds)
    note("end", self.request)


@app.task(bind=True)
def overtime(self: Any, seconds: float) -> None:
    """Called with a time limit, which is shorter."""
    note("run", self.request)
    nap(seconds)
    note("end", self.request)


@app.task(bind=True)
def cooperative(self: Any, seconds: float) -> str:
    note("run", self.request)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not self.is_cancelled():
        time.sleep(0.01)
    note("end", self.request)
    return "end"


@app.task(bind=True, concurrency_key=lambda key, seconds, limit: key)
def keyed(self: Any, key: str, seconds: float, limit: int) -> None:
    note("run", self.request)
    with place(self.request, key, limit):
        nap(seconds)
    note("end", self.request)


@app.task(bind=True, unique_key=lambda key, seconds: key)
def unique(self: Any, key: str, seconds: float) -> None:
    note("run", self.request)
    with place(self.request, key, 1):
        nap(seconds)
    note("end", self.request)


@app.task(bind=True, unique_key=lambda key, seconds: key, on_conflict="replace")
def replaced(self: Any, key: str, seconds: float) -> None:
    note("run", self.request)
    nap(seconds)
    note("end", self.request)


@app.task(bind=True, shared=False, rate_limit=f"{RATE}/s")
def limited(self: Any) -> None:
    note("run", self.request)
    note("end", self.request)


@app.task(bind=True, queue=SLOW)
def slow(self: Any, seconds: float) -> None:
    note("run", self.request)
    nap(seconds)
    note("end", self.request)
