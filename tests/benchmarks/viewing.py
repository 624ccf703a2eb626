"""What looking costs: a snapshot of a large file, and a drain beside somebody who looks again and again."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from litequeue.core.records import NORMAL
from tests.benchmarks.backlog import filled
from tests.benchmarks.machinery import ROOT, Queue, check_success, fresh, rate, running, wait_until_done
from tests.benchmarks.table import Figure

if TYPE_CHECKING:
    from tests.benchmarks.figures import Sizes

REFRESH = 1.0
"""Seconds between two looks."""
_LOOKING = """
import sys, time
from litequeue import LiteQueue
from litequeue.inspect import Pace, Sampler, queues, schedules, tasks, workers

app = LiteQueue("looking", broker=sys.argv[1], set_as_current=False)
pace, sampler = Pace(), Sampler()
while True:
    pace.read("workers", lambda: workers(app, sampler))
    pace.read("queues", lambda: queues(app))
    pace.read("tasks", lambda: tasks(app, None, 50))
    pace.read("schedules", lambda: schedules(app))
    time.sleep(float(sys.argv[2]))
"""
"""What the live view reads, without drawing it."""


def looking(sizes: Sizes) -> list[Figure]:
    """A snapshot as a command, the help, and a loop that looks each second, on a file with a backlog; then a drain."""
    with filled(sizes.backlog) as (store, _):
        snapshot = _command(sizes, "-b", store.path, "inspect", "--once")
        cpu = _cpu_of_looking(store.path, sizes.idle_seconds)
    rows = f"{sizes.backlog:,} rows"
    shares = [_share(sizes) for _ in range(max(sizes.rounds, 1))]
    slower = max(100 - statistics.median(shares), 0.001)
    note = ", ".join(f"{100 - share:.1f}" for share in shares)
    return [
        Figure(name=f"inspect --once, {rows}", unit="s", ours=snapshot, reach=0.5, at_least=False),
        Figure(name="litequeue --help", unit="ms", ours=_command(sizes, "--help") * 1000, reach=150.0, at_least=False),
        Figure(name=f"CPU of a look each second, {rows}", unit="%", ours=cpu, reach=2.0, at_least=False),
        Figure(
            name="drain beside a look each second, slower by",
            unit="%",
            ours=slower,
            reach=3.0,
            at_least=False,
            note=note,
        ),
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _command(sizes: Sizes, *argv: str) -> float:
    """Seconds of a whole command; the median, after one that warms the caches."""
    taken = []
    for _ in range(sizes.imports + 1):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "litequeue", *argv], env=_environment(), check=True, capture_output=True, cwd=ROOT
        )
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


@contextmanager
def _looker(path: str) -> Iterator[psutil.Process]:
    with running([sys.executable, "-c", _LOOKING, path, str(REFRESH)], _environment()) as process:
        yield process


def _cpu_of_looking(path: str, lasting: float) -> float:
    """Percent of a core that the loop takes, once it has begun."""
    with _looker(path) as process:
        time.sleep(2 * REFRESH)
        before, began = process.cpu_times(), time.perf_counter()
        time.sleep(lasting)
        after, ended = process.cpu_times(), time.perf_counter()
    used = after.user + after.system - before.user - before.system
    return max(100 * used / (ended - began), 0.001)


def _share(sizes: Sizes) -> float:
    """A drain beside a loop that looks, as percent of one without."""
    with fresh(NORMAL) as queue:
        alone = _drained(queue, sizes.drained * 3)
    with fresh(NORMAL) as queue:
        queue.app.store.counts()
        with _looker(queue.path):
            time.sleep(REFRESH)
            return 100 * _drained(queue, sizes.drained * 3) / alone


def _drained(queue: Queue, count: int) -> float:
    """Tasks a second of a worker with two processes."""
    with queue.held_worker(2) as open_gate:
        results = queue.app.enqueue_many(queue.task("noop").s(number) for number in range(count))

        def work() -> None:
            open_gate()
            wait_until_done(results)

        gc.collect()
        measured = rate(count, work)
        check_success(results)
    return measured
