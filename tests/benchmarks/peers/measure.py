"""Measure one peer: `python -m tests.benchmarks.peers.measure celery SIZES figure` prints one line of JSON."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.benchmarks.machinery import PATIENCE, TAIL, hold, new_folder, percentile, rate, running, seconds
from tests.benchmarks.peers.redis_server import redis_server

DURABILITIES = {"celery": ("normal", "full"), "dramatiq": ("normal", "full"), "huey": ("full",)}


def main(peer: str, sizes_text: str, figure: str) -> None:
    """Measure, and print the values under the names of our figures."""
    sizes = json.loads(sizes_text)
    rounds = [MEASURES[figure](peer, sizes) for _ in range(sizes["rounds"])]
    print(json.dumps({name: statistics.median(values[name] for values in rounds) for name in rounds[0]}))


@contextmanager
def fresh(peer: str) -> Iterator[tuple[ModuleType, Path]]:
    """The peer's app on an empty queue."""
    with new_folder() as folder:
        if peer == "huey":
            os.environ["BENCHMARK_URL"] = str(folder / "huey.db")
            yield load(peer), folder
        else:
            with redis_server() as url:
                os.environ["BENCHMARK_URL"] = url
                yield load(peer), folder


def load(peer: str) -> ModuleType:
    """Import the app anew, so that it reads the environment again."""
    name = f"tests.benchmarks.peers.{peer}_app"
    sys.modules.pop(name, None)
    return importlib.import_module(name)


@contextmanager
def held(app: ModuleType, folder: Path) -> Iterator[Callable[[], None]]:
    """A worker of two processes whose slots are all held at a gate; what is yielded opens it."""
    with running(app.WORKER, dict(os.environ)) as process:
        yield hold(folder, app.SLOTS, lambda gate: app.send("gate", gate), process).touch


def enqueue(peer: str, sizes: dict[str, int]) -> dict[str, float]:
    """One call at a time."""
    with fresh(peer) as (app, _):
        app.send("noop", 0)

        def calls() -> None:
            for number in range(sizes["calls"]):
                app.send("noop", number)

        value = rate(sizes["calls"], calls)
    return {f"delay(), one at a time, {durability}": value for durability in DURABILITIES[peer]}


def run_through(peer: str, task: str, count: int) -> float:
    """Tasks a second from the opened gate to the last result."""
    with fresh(peer) as (app, folder), held(app, folder) as open_gate:
        sent = [app.send(task, number) for number in range(count)]

        def work() -> None:
            open_gate()
            app.wait(sent[-1], PATIENCE, busy=True)
            for one in sent[-TAIL:]:
                app.wait(one, PATIENCE, busy=True)

        return rate(count, work)


def drain(peer: str, sizes: dict[str, int]) -> dict[str, float]:
    """No-op tasks."""
    value = run_through(peer, "noop", sizes["drained"])
    name = f"drain {sizes['drained']:,} no-op tasks, -c 2"
    return {f"{name}, {durability}": value for durability in DURABILITIES[peer]}


def digest(peer: str, sizes: dict[str, int]) -> dict[str, float]:
    """sha256 over 1 MiB."""
    value = run_through(peer, "digest", sizes["digests"])
    name = f"sha256 of 1 MiB x {sizes['digests']:,}, -c 2"
    return {f"{name}, {durability}": value for durability in DURABILITIES[peer]}


def latency(peer: str, sizes: dict[str, int]) -> dict[str, float]:
    """From the call to its result, one call after the other."""
    taken = []
    with fresh(peer) as (app, folder), held(app, folder) as open_gate:
        open_gate()
        time.sleep(0.5)
        for number in range(min(sizes["roundtrips"], 300)):
            began = time.perf_counter()
            app.wait(app.send("noop", number), 30, busy=False)
            taken.append((time.perf_counter() - began) * 1000)
    return {
        f"delay().get(), idle, p{share * 100:.0f}, {durability}": percentile(taken, share)
        for share in (0.5, 0.99)
        for durability in DURABILITIES[peer]
    }


def canvas(peer: str, sizes: dict[str, int]) -> dict[str, float]:
    """From the call of a canvas to its result."""
    with fresh(peer) as (app, folder), held(app, folder) as open_gate:
        open_gate()
        time.sleep(0.5)
        taken = {kind: seconds(run, sizes[kind]) for kind, run in app.CANVASES.items()}
    return {
        f"{kind} of {sizes[kind]:,}, send and get, {durability}": value
        for kind, value in taken.items()
        for durability in DURABILITIES[peer]
    }


MEASURES: dict[str, Callable[[str, Any], dict[str, float]]] = {
    "enqueue": enqueue,
    "drain": drain,
    "latency": latency,
    "work": digest,
    "canvas": canvas,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
