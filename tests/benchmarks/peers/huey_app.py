"""The benchmark's tasks on Huey with SQLite, every commit synced; the file comes from the environment."""

from __future__ import annotations

import os
import sys
from typing import Any

from huey import SqliteHuey, group

from tests.benchmarks import work
from tests.benchmarks.machinery import PATIENCE

# With its timeout of 5 seconds it loses tasks to "database is locked" when a client enqueues while two workers write.
huey = SqliteHuey("benchmarks", filename=os.environ["BENCHMARK_URL"], fsync=True, store_none=True, timeout=60)
noop = huey.task(name="noop")(work.noop)
gate = huey.task(name="gate")(work.wait_at_gate)
digest = huey.task(name="digest")(work.digest)
increment = huey.task(name="increment")(work.increment)
total = huey.task(name="total")(work.total)

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
    sent.get(blocking=True, timeout=timeout, preserve=True, **(BUSY if busy else {}))


BUSY = {"backoff": 1.0, "max_delay": 0.002}


def run_group(count: int) -> int:
    """The group's tasks, and every result."""
    sent = huey.enqueue(group([noop.s(number) for number in range(count)]))
    return len(sent.get(blocking=True, timeout=PATIENCE, preserve=True, **BUSY))


def run_chord(count: int) -> Any:
    """The group's tasks, a body, and its result."""
    sent = huey.enqueue(group([increment.s(0) for _ in range(count)]).then(total))
    return sent.get(blocking=True, timeout=PATIENCE, preserve=True, **BUSY)


def run_chain(count: int) -> Any:
    """Tasks one after the other, put together from the end, and the last result."""
    following = increment.s()
    for _ in range(count - 2):
        following = increment.s().then(following)
    sent = huey.enqueue(increment.s(0).then(following))
    return list(sent)[-1].get(blocking=True, timeout=PATIENCE, preserve=True, **BUSY)


CANVASES = {"group": run_group, "chord": run_chord, "chain": run_chain}
"""Send a canvas of as many tasks, and return the size that its result tells."""
