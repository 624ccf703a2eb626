"""The benchmark's tasks on Dramatiq with Redis as broker and result backend; the URL comes from the environment."""

from __future__ import annotations

import os
import sys
from typing import Any

import dramatiq
from dramatiq import group, pipeline
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

from tests.benchmarks import work
from tests.benchmarks.machinery import PATIENCE

URL = os.environ["BENCHMARK_URL"]
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL), store_results=True))
dramatiq.set_broker(broker)
noop = dramatiq.actor(actor_name="noop")(work.noop)
gate = dramatiq.actor(actor_name="gate")(work.wait_at_gate)
digest = dramatiq.actor(actor_name="digest")(work.digest)
increment = dramatiq.actor(actor_name="increment")(work.increment)

WORKER = [
    *(sys.executable, "-m", "dramatiq", "tests.benchmarks.peers.dramatiq_app"),
    *("--processes", "2", "--threads", "8"),
]
SLOTS = 16  # two processes with eight threads each, as Dramatiq does by default


def send(task: str, *args: Any) -> Any:
    """Enqueue, and return what `wait` takes."""
    return globals()[task].send(*args)


def wait(sent: Any, timeout: float, *, busy: bool) -> None:
    """Return when the task has ended."""
    sent.get_result(block=True, timeout=int(timeout * 1000))


WAIT = {"block": True, "timeout": int(PATIENCE * 1000)}


def run_group(count: int) -> int:
    """The group's tasks, and every result."""
    return len(list(group(noop.message(number) for number in range(count)).run().get_results(**WAIT)))


def run_chain(count: int) -> Any:
    """Tasks one after the other, and the last result."""
    steps = [increment.message(0), *(increment.message() for _ in range(count - 1))]
    return pipeline(steps).run().get_result(**WAIT)


CANVASES = {"group": run_group, "chain": run_chain}
"""Send a canvas of as many tasks, and return the size that its result tells. A chord's body gets no values here."""
