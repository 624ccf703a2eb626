"""The benchmark's tasks on Celery with Redis as broker and result backend; the URL comes from the environment."""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery

from tests.benchmarks import work

URL = os.environ["BENCHMARK_URL"]
app = Celery("benchmarks", broker=URL, backend=URL)
noop = app.task(name="noop")(work.noop)
gate = app.task(name="gate")(work.wait_at_gate)
digest = app.task(name="digest")(work.digest)

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
