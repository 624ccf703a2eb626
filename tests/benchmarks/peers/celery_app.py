"""The benchmark's tasks on Celery with Redis as broker and result backend; the URL comes from the environment."""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery, chain, chord, group

from tests.benchmarks import work
from tests.benchmarks.machinery import PATIENCE

URL = os.environ["BENCHMARK_URL"]
app = Celery("benchmarks", broker=URL, backend=URL)
noop = app.task(name="noop")(work.noop)
gate = app.task(name="gate")(work.wait_at_gate)
digest = app.task(name="digest")(work.digest)
increment = app.task(name="increment")(work.increment)
total = app.task(name="total")(work.total)

WORKER = [
    *(sys.executable, "-m", "celery", "-A", "tests.benchmarks.peers.celery_app"),
    *("worker", "-c", "2", "-l", "ERROR", "--without-gossip", "--without-mingle"),
]
SLOTS = 2


def send(task: str, *args: Any) -> Any:
    """Enqueue, and return what `wait` takes."""
    return globals()[task].delay(*args)


def wait(sent: Any, timeout: float, *, busy: bool) -> None:
    """Return when the task has ended."""
    sent.get(timeout=timeout)


CANVASES = {
    "group": lambda count: len(group(noop.s(number) for number in range(count))().get(timeout=PATIENCE)),
    "chord": lambda count: chord([increment.s(0) for _ in range(count)])(total.s()).get(timeout=PATIENCE),
    "chain": lambda count: chain(increment.s(0), *(increment.s() for _ in range(count - 1)))().get(timeout=PATIENCE),
}
"""Send a canvas of as many tasks, and return the size that its result tells."""
