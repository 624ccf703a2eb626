"""The figures, one function each. Each takes the sizes and returns what it measured; `FIGURES` names them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from litequeue.core.records import FULL, NORMAL
from tests.benchmarks import backlog, beat, canvases, ceiling, control, journal, steering, viewing
from tests.benchmarks.machinery import (
    ROOT,
    check_success,
    fresh,
    median_of,
    new_folder,
    percentile,
    rate,
    running,
    wait_until_done,
)
from tests.benchmarks.table import Figure


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything is done."""

    calls: int = 4_000
    bulk: int = 10_000
    drained: int = 10_000
    roundtrips: int = 1_000
    digests: int = 2_000
    backlog: int = 1_000_000
    idle_seconds: float = 10.0
    imports: int = 15
    group: int = 5_000
    chord: int = 1_000
    chain: int = 200
    sent: int = 10_000
    large: int = 100_000
    depth: int = 200
    entries: int = 1_000
    beat_seconds: float = 10.0
    limited: int = 500
    long_task: float = 10.0
    rounds: int = 3


QUICK = Sizes(
    calls=1_000,
    bulk=10_000,
    drained=10_000,
    roundtrips=200,
    digests=1_000,
    backlog=50_000,
    idle_seconds=3,
    imports=5,
    large=20_000,
    beat_seconds=5.0,
    limited=200,
    rounds=1,
)
TINY = Sizes(
    calls=20,
    bulk=50,
    drained=50,
    roundtrips=5,
    digests=10,
    backlog=1_000,
    idle_seconds=0.2,
    imports=1,
    group=20,
    chord=10,
    chain=5,
    sent=50,
    large=200,
    depth=6,
    rounds=1,
    entries=20,
    beat_seconds=2.0,
    limited=60,
    long_task=0.5,
)


def enqueue(sizes: Sizes) -> list[Figure]:
    """`delay()` one at a time, each call a transaction."""
    figures = []
    for durability, calls in ((NORMAL, sizes.calls), (FULL, max(1, sizes.calls // 4))):
        with fresh(durability) as queue, ceiling.bare_file(durability) as bare:
            noop = queue.task("noop")
            noop.delay(0)

            def ours(noop: Any = noop, calls: int = calls) -> None:
                for number in range(calls):
                    noop.delay(number)

            measured, bound = median_of(
                sizes.rounds + 2,
                lambda ours=ours, calls=calls: rate(calls, ours),
                lambda bare=bare, calls=calls: rate(calls, lambda: ceiling.enqueue(bare, calls)),
            )
        held_to = {"reach": 20_000.0} if durability == NORMAL else {"ceiling_share": 0.75}
        figures.append(
            Figure(name=f"delay(), one at a time, {durability}", unit="/s", ours=measured, ceiling=bound, **held_to)
        )
    return figures


def bulk(sizes: Sizes) -> list[Figure]:
    """`enqueue_many()`: one transaction for all calls."""
    figures = []
    for durability in (NORMAL, FULL):
        with fresh(durability) as queue, ceiling.bare_file(durability) as bare:
            noop = queue.task("noop")
            noop.delay(0)
            measured, bound = median_of(
                sizes.rounds,
                lambda queue=queue, noop=noop: rate(
                    sizes.bulk, lambda: queue.app.enqueue_many(noop.s(number) for number in range(sizes.bulk))
                ),
                lambda bare=bare: rate(sizes.bulk, lambda: ceiling.enqueue_many(bare, sizes.bulk)),
            )
        name = f"enqueue_many({sizes.bulk:,}), {durability}"
        figures.append(Figure(name=name, unit="/s", ours=measured, ceiling=bound, reach=60_000))
    return figures


def drain(sizes: Sizes) -> list[Figure]:
    """No-op tasks that wait in the queue, run by two processes: from the opened gate to the last result."""
    figures = []
    for durability, reach in ((NORMAL, 20_000), (FULL, 12_000)):
        measured, bound = median_of(
            sizes.rounds,
            lambda durability=durability: drain_once(durability, "noop", sizes.drained),
            lambda durability=durability: drain_bare(durability, sizes.drained),
        )
        name = f"drain {sizes.drained:,} no-op tasks, -c 2, {durability}"
        figures.append(Figure(name=name, unit="/s", ours=measured, ceiling=bound, reach=reach))
    return figures


def drain_once(durability: str, task: str, count: int) -> float:
    """Tasks a second of a worker with two processes."""
    with fresh(durability) as queue, queue.held_worker(2) as open_gate:
        signature = queue.task(task).s
        results = queue.app.enqueue_many(signature(number) for number in range(count))

        def work() -> None:
            open_gate()
            wait_until_done(results)

        gc.collect()
        measured = rate(count, work)
        check_success(results)
    return measured


def drain_bare(durability: str, count: int) -> float:
    """The same row changes by one bare loop."""
    with ceiling.bare_file(durability) as bare:
        ceiling.enqueue_many(bare, count)
        return rate(count, lambda: ceiling.drain(bare))


def latency(sizes: Sizes) -> list[Figure]:
    """`delay().get()` where nothing else is going on: one call after the other, each finds an idle worker."""
    figures = []
    for durability, p50, p99 in ((NORMAL, 0.6, 3.0), (FULL, 1.5, None)):
        taken = []
        with fresh(durability) as queue, queue.held_worker(2) as open_gate:
            open_gate()
            noop = queue.task("noop")
            for number in range(sizes.roundtrips):
                began = time.perf_counter()
                noop.delay(number).get(timeout=30)
                taken.append((time.perf_counter() - began) * 1000)
        for share, reach in ((0.5, p50), (0.99, p99)):
            name = f"delay().get(), idle, p{share * 100:.0f}, {durability}"
            figures.append(Figure(name=name, unit="ms", ours=percentile(taken, share), reach=reach, at_least=False))
    return figures


def work(sizes: Sizes) -> list[Figure]:
    """sha256 over 1 MiB: what of two processors is left for the work; the ceiling is a bare pool of two processes."""
    figures = []
    from tests.benchmarks.work import digest

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(digest, range(64))
        for durability, share in ((NORMAL, 0.90), (FULL, 0.85)):
            measured, bound = median_of(
                sizes.rounds,
                lambda durability=durability: drain_once(durability, "digest", sizes.digests),
                lambda: rate(sizes.digests, lambda: pool.map(digest, range(sizes.digests))),
            )
            name = f"sha256 of 1 MiB x {sizes.digests:,}, -c 2, {durability}"
            figures.append(Figure(name=name, unit="/s", ours=measured, ceiling=bound, ceiling_share=share))
    return figures


def waiting(sizes: Sizes) -> list[Figure]:
    """The rate of claims with many rows waiting, beside the rate with a thousand."""
    few, many = backlog.claim_rates(1_000, sizes.backlog, sizes.rounds * 10)
    name = f"claim with {sizes.backlog:,} waiting"
    return [
        Figure(name=name, unit="/s", ours=many, ceiling=few, ceiling_share=0.85, note="ceiling: with 1,000 waiting")
    ]


def idle(sizes: Sizes) -> list[Figure]:
    """Processor time of a worker that has nothing to do."""
    with fresh(FULL) as queue, queue.worker(4) as worker:
        time.sleep(3.0)
        family = [worker, *worker.children(recursive=True)]
        before = sum(processor_seconds(member) for member in family)
        began = time.perf_counter()
        time.sleep(sizes.idle_seconds)
        used = sum(processor_seconds(member) for member in family) - before
        share = 100 * used / (time.perf_counter() - began)
    note = f"{len(family)} processes over {sizes.idle_seconds:g} s"
    return [Figure(name="idle worker, -c 4, of one core", unit="%", ours=share, reach=0.5, at_least=False, note=note)]


def processor_seconds(process: psutil.Process) -> float:
    """User and system time; from the scheduler's own count where there is one, which is finer than clock ticks."""
    try:
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        times = process.cpu_times()
        return times.user + times.system


IMPORT = "import time; t = time.perf_counter(); import litequeue; print((time.perf_counter() - t) * 1000)"
FIRST_DELAY = """
import sys, time
from litequeue import LiteQueue
app = LiteQueue("first", broker=sys.argv[1])

@app.task
def noop(number):
    pass

t = time.perf_counter()
noop.delay(1)
print((time.perf_counter() - t) * 1000)
"""


def start(sizes: Sizes) -> list[Figure]:
    """What a fresh process pays: for the import, and for its first call."""
    with fresh(FULL) as queue:
        queue.task("noop").delay(0)  # the file exists

        def fresh_process(program: str) -> float:
            command = [sys.executable, "-c", program, queue.path]
            # An installed package has its byte code; here it is written beside the file, whatever the environment says.
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(queue.folder / "bytecode")}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)

        fresh_process(FIRST_DELAY)  # writes the byte code
        imported, called = median_of(sizes.imports, lambda: fresh_process(IMPORT), lambda: fresh_process(FIRST_DELAY))
    return [
        Figure(name="import litequeue", unit="ms", ours=imported, reach=60, at_least=False),
        Figure(name="first delay() of a process, full", unit="ms", ours=called, reach=20, at_least=False),
    ]


EMPTY_APP = "from litequeue import LiteQueue\napp = LiteQueue('empty', broker='empty.db')\n"


def memory(sizes: Sizes) -> list[Figure]:
    """Memory of a worker with an empty app: the proportional share (PSS) of all its processes."""
    if not Path("/proc/self/smaps_rollup").exists():
        return []
    with new_folder() as folder:
        (folder / "empty.py").write_text(EMPTY_APP)
        command = [sys.executable, "-m", "litequeue", "-A", "empty", "worker", "-c", "2", "-l", "ERROR"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with running(command, environment, cwd=folder) as worker:
            family = settled_family(worker, at_least=3)
            taken = [sum(proportional_mebibytes(member) for member in family) for _ in range(3)]
    note = f"{len(family)} processes"
    return [
        Figure(name="memory of worker -c 2, empty app (PSS)", unit="MiB", ours=statistics.median(taken), reach=70,
               at_least=False, note=note)
    ]  # fmt: skip


def settled_family(worker: psutil.Process, at_least: int) -> list[psutil.Process]:
    """The worker and its processes, once no new one has appeared for two seconds."""
    seen: list[psutil.Process] = []
    since = time.monotonic()
    while len(seen) < at_least or time.monotonic() - since < 2.0:
        family = [worker, *worker.children(recursive=True)]
        if len(family) != len(seen):
            seen, since = family, time.monotonic()
        if time.monotonic() - since > 60:
            raise RuntimeError("the worker did not start its processes")
        time.sleep(0.05)
    return seen


def proportional_mebibytes(process: psutil.Process) -> float:
    """The PSS of one process."""
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("smaps_rollup has no Pss")


FIGURES: dict[str, Callable[[Sizes], list[Figure]]] = {
    "enqueue": enqueue,
    "bulk": bulk,
    "drain": drain,
    "latency": latency,
    "work": work,
    "waiting": waiting,
    "idle": idle,
    "start": start,
    "memory": memory,
    "canvas": canvases.run,
    "send": canvases.send,
    "members": canvases.members,
    "large": canvases.large,
    "beat": beat.lateness,
    "instants": beat.instants,
    "deadlines": steering.deadlines,
    "deaths": steering.deaths,
    "rates": steering.rates,
    "fairness": steering.fairness,
    "control": control.answers,
    "events": journal.cost,
    "looking": viewing.looking,
}
