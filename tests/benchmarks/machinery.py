"""Fresh files, workers on them, and waiting for what they do."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds after which a benchmark that waits has failed
TAIL = 300  # results looked at to know that a drain is over: more than all processes together claim at once


@dataclass(frozen=True)
class Queue:
    """A queue file of its own, with the benchmark's app on it."""

    folder: Path
    durability: str
    app: Any

    @property
    def path(self) -> str:
        """The queue file."""
        return str(self.folder / "queue.db")

    def task(self, name: str) -> Any:
        """One of the tasks in `tasks.py`."""
        return self.app.tasks[name]

    @contextmanager
    def worker(self, concurrency: int) -> Iterator[psutil.Process]:
        """`litequeue worker -c concurrency` on this file, all of its processes up."""
        environment = {
            **os.environ,
            "BENCHMARK_FILE": self.path,
            "BENCHMARK_DURABILITY": self.durability,
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("LITEQUEUE_BROKER_URL", None)
        arguments = ["-A", "tests.benchmarks.tasks", "worker", "-c", str(concurrency), "-l", "ERROR"]
        with running([sys.executable, "-m", "litequeue", *arguments], environment) as process:
            yield process

    @contextmanager
    def held_worker(self, concurrency: int) -> Iterator[Callable[[], None]]:
        """A worker whose every process is held at a gate; what is yielded opens it."""
        with self.worker(concurrency) as process:
            gate = hold(self.folder, concurrency, self.task("gate").delay, process)
            yield gate.touch


def hold(folder: Path, slots: int, enqueue_gate: Callable[[str], Any], worker: psutil.Process) -> Path:
    """Enqueue gate tasks until each of the worker's `slots` is held by one; returns the file that opens the gate."""
    gate = Path(tempfile.mkdtemp(dir=folder)) / "gate"
    deadline = time.monotonic() + PATIENCE
    for arrived in range(1, slots + 1):
        while len(list(gate.parent.glob("gate.*"))) < arrived:
            # A peer that fetches ahead may give one process more gates than it has slots: then others are sent.
            enqueue_gate(str(gate))
            next_try = time.monotonic() + (0.3 if arrived > 1 else 5.0)
            while len(list(gate.parent.glob("gate.*"))) < arrived and time.monotonic() < next_try:
                time.sleep(0.005)
            if time.monotonic() > deadline or not worker.is_running():
                raise RuntimeError(f"the worker did not fill {slots} slots")
    return gate


@contextmanager
def running(
    command: Sequence[str], environment: dict[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[psutil.Process]:
    """A program that runs while the block does, and none of it after. Its messages are shown if the block fails."""
    with tempfile.TemporaryFile("w+") as log:
        process = psutil.Popen(command, env=environment, cwd=cwd, stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        finally:
            stop(process)


def stop(process: psutil.Process) -> None:
    """End a program by SIGTERM; whatever of it is left after 20 seconds is killed."""
    family = [process, *process.children(recursive=True)] if process.is_running() else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except psutil.TimeoutExpired:
        process.kill()
    for member in family[1:]:
        if member.is_running():
            member.kill()
    process.wait(timeout=20)


@contextmanager
def fresh(durability: str) -> Iterator[Queue]:
    """A queue in a new folder, gone after the block. TMPDIR chooses the disk."""
    from tests.benchmarks.tasks import make_app

    with new_folder() as folder:
        app = make_app(str(folder / "queue.db"), durability)
        try:
            yield Queue(folder, durability, app)
        finally:
            app.close()


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that is gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="litequeue-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_done(results: Sequence[Any]) -> None:
    """Return when every one of `results` has ended, a moment after it is so."""
    results[-1].get(timeout=PATIENCE)
    for result in results[-TAIL:]:
        while not result.ready():
            time.sleep(0.0002)


def check_success(results: Sequence[Any]) -> None:
    """A figure counts only when every task did its work."""
    bad = [result.id for result in results if result.state != "SUCCESS"]
    if bad:
        raise RuntimeError(f"{len(bad)} of {len(results)} tasks did not end in SUCCESS")


def rate(count: int, work: Callable[[], Any]) -> float:
    """How many a second `work` does, when it does `count`."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def seconds(run_canvas: Callable[[int], Any], count: int) -> float:
    """How long a canvas of `count` takes, which gives `count`; a small one is run before."""
    run_canvas(4)
    began = time.perf_counter()
    found = run_canvas(count)
    taken = time.perf_counter() - began
    if found != count:
        raise RuntimeError(f"a canvas of {count} gave {found}")
    return taken


def median_of(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure, taken in turns so that a slow moment of the machine meets all of them."""
    taken = [[measure() for measure in measures] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
