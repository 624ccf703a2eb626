"""Limits and deaths: how exactly a worker keeps to what it is told, and how soon it notices what died."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psutil

from litequeue.core.records import FULL, NORMAL
from tests.benchmarks.machinery import PATIENCE, Queue, fresh, percentile
from tests.benchmarks.table import Figure

if TYPE_CHECKING:
    from tests.benchmarks.figures import Sizes

LIMIT = 1.0
"""Seconds: the hard time limit of tasks that would run for ever."""
CHILDREN = 8
A_SECOND = 50
"""Starts a second that the rate limit allows."""


def deadlines(sizes: Sizes) -> list[Figure]:
    """Eight children, each busy with a task that runs into its hard limit: from the limit to the kill."""
    late: list[float] = []
    with fresh(FULL) as queue, queue.worker(CHILDREN):
        for _ in range(sizes.rounds):
            results = [queue.task("spin").apply_async((PATIENCE,), time_limit=LIMIT) for _ in range(CHILDREN)]
            for result in results:
                result.get(timeout=PATIENCE, propagate=False)
                row = queue.app.store.task(result.id)
                late.append((row.finished_at - row.started_at - LIMIT) * 1000)
    name = f"hard time limit, {CHILDREN} busy children, latest"
    return [Figure(name=name, unit="ms", ours=max(late), reach=100.0, at_least=False, note=f"{len(late)} tasks")]


def deaths(sizes: Sizes) -> list[Figure]:
    """From `kill -9` to the next start of the task: of a child, then of a whole worker beside another."""
    child, worker = [], []
    with fresh(FULL) as queue, queue.worker(2), queue.worker(2) as other:
        for _ in range(sizes.rounds):
            child.append(_killed(queue, lambda row: [psutil.Process(row.pid)]))
        worker.append(_killed(queue, lambda row: _family(row.pid, other)))
    reach = {"a dead child's task starts again": (child, 100.0), "a dead worker's, beside another": (worker, 1000.0)}
    return [
        Figure(name=name, unit="ms", ours=max(taken) * 1000, reach=limit, at_least=False)
        for name, (taken, limit) in reach.items()
    ]


def _family(pid: int, other: psutil.Process) -> list[psutil.Process]:
    """The worker that the child `pid` belongs to, with all its processes; or only the child, if it is the wrong one."""
    parents = psutil.Process(pid).parents()
    workers = [parent for parent in parents if "litequeue" in " ".join(parent.cmdline())]
    top = workers[-1] if workers else psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def _killed(queue: Queue, choose: Any) -> float:
    """Seconds from the death of what `choose` gives for a running task to the task's second start."""
    gate = queue.folder / f"gate-{time.monotonic_ns()}"
    result = queue.task("gate").delay(str(gate))
    row = _started(queue, result.id, 1)
    doomed = choose(row)
    killed = time.time()
    for process in doomed:
        process.kill()
    again = _started(queue, result.id, 2)
    gate.touch()
    result.get(timeout=PATIENCE)
    return float(again.started_at - killed)


def _started(queue: Queue, task_id: str, attempt: int) -> Any:
    deadline = time.monotonic() + PATIENCE
    while True:
        row = queue.app.store.task(task_id)
        if row is not None and row.state == "running" and row.attempt >= attempt:
            return row
        if time.monotonic() > deadline:
            raise RuntimeError(f"attempt {attempt} was not started")
        time.sleep(0.0005)


def rates(sizes: Sizes) -> list[Figure]:
    """A rate limit over two workers of two processes, with a backlog: the starts that the file has."""
    with fresh(NORMAL) as queue:
        queue.app.store.set_rate("moment", f"{A_SECOND}/s")
        results = [queue.task("moment").delay() for _ in range(sizes.limited)]
        with queue.worker(2), queue.worker(2):
            seen = sorted(result.get(timeout=PATIENCE) for result in results)
        rows = queue.app.store.tasks([result.id for result in results])
        starts = sorted(row.started_at for row in rows if row.started_at is not None)
    mean = (len(starts) - 1) / (starts[-1] - starts[0])
    name = f"rate limit {A_SECOND}/s, 2 workers"
    note = f"{most_in(seen, 1.0)} by the clock of the tasks"
    busiest = most_in(starts, 1.0)
    return [
        Figure(name=f"{name}, busiest second", unit="/s", ours=busiest, reach=A_SECOND, at_least=False, note=note),
        Figure(name=f"{name}, mean", unit="/s", ours=mean, reach=48.0, note=f"{len(starts)} tasks"),
    ]


def most_in(moments: Sequence[float], window: float) -> int:
    """The most of the sorted `moments` in any window of so many seconds."""
    return max(bisect_left(moments, at + window) - index for index, at in enumerate(moments))


def fairness(sizes: Sizes) -> list[Figure]:
    """One long task, then a hundred short ones, on two slots: until the last of the hundred has ended."""
    taken = []
    with fresh(NORMAL) as queue, queue.worker(2):
        for _ in range(sizes.rounds):
            queue.task("nap").delay(sizes.long_task)
            began = time.perf_counter()
            results = [queue.task("nap").delay(0.01) for _ in range(100)]
            for result in results:
                result.get(timeout=PATIENCE)
            taken.append(time.perf_counter() - began)
            queue.app.control.purge()
            _wait_idle(queue)
    name = f"100 tasks of 10 ms beside one of {sizes.long_task:g} s, -c 2"
    return [Figure(name=name, unit="s", ours=percentile(taken, 0.5), reach=1.3, at_least=False)]


def _wait_idle(queue: Queue) -> None:
    while queue.app.store.counts().get("celery", {}).get("running"):
        time.sleep(0.05)
