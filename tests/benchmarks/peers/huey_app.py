"""The benchmark's tasks on Huey with SQLite, every commit synced; the file comes from the environment."""

from __future__ import annotations

import os
import sys
from typing import Any

from huey import SqliteHuey

from tests.benchmarks import work

huey = SqliteHuey("benchmarks", filename=os.environ["BENCHMARK_URL"], fsync=True, store_none=True)
noop = huey.task(name="noop")(work.noop)
gate = huey.task(name="gate")(work.wait_at_gate)
digest = huey.task(name="digest")(work.digest)

WORKER = [
    *(sys.executable, "-m", "huey.bin.huey_consumer", "tests.benchmarks.peers.huey_app.huey"),
    *("-w", "2", "-k", "process", "-q", "-n"),
]
SLOTS = 2


def send(task: str, *args: Any) -> Any:
    """Enqueue, and return what `wait` takes."""
    return globals()[task](*args)


def wait(sent: Any, timeout: float, *, busy: bool) -> None:
    """Return when the task has ended; `busy` looks more often than Huey does by itself."""
    options = {"backoff": 1.0, "max_delay": 0.002} if busy else {}
    sent.get(blocking=True, timeout=timeout, preserve=True, **options)
