"""No claimed task waits behind a running one while another slot is idle; nothing finished waits to be seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue
from tests.worker.conftest import lines, wait_until
from tests.worker.exercise import add, hog, quick, slow_at_times, wait_for


def _teach(app: Any) -> None:
    """Let every slot learn that the task is quick, so that it claims many at once."""
    for result in app.enqueue_many([slow_at_times.s("", number) for number in range(300)]):
        result.get(timeout=20)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_was_claimed_behind_a_slow_one_is_given_back(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path, pool: str
) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool=pool, concurrency=2):
        _teach(app)
        results = app.enqueue_many([slow_at_times.s(str(gate) if number == 3 else "", number) for number in range(40)])
        slow = results.pop(3)
        assert [result.get(timeout=20) for result in results] == [0, 1, 2, *range(4, 40)], "none waits for the slow one"
        assert not slow.ready()
        gate.touch()
        assert slow.get(timeout=20) == 3


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "asyncio"])
def test_a_result_is_seen_though_its_neighbour_runs_on(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path, pool: str
) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool=pool, concurrency=1):
        _teach(app)
        first, second = app.enqueue_many([slow_at_times.s("", 1), slow_at_times.s(str(gate), 2)])
        assert first.get(timeout=4) == 1, "before an idle slot looks again by itself"
        assert not second.ready()
        gate.touch()
        assert second.get(timeout=20) == 2


def test_a_hundred_quick_ones_beside_a_long_one(app: Any, run_worker: Callable[..., Any], tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run_worker(pool="prefork", concurrency=2):
        add.delay(1, 1).get(timeout=20)
        long = wait_for.delay(str(gate), str(log))
        wait_until(lambda: lines(log))
        results = app.enqueue_many([quick.s() for _ in range(100)])
        assert [result.get(timeout=10) for result in results] == [0] * 100
        assert not long.ready()
        gate.touch()
        assert long.get(timeout=20) == 1


def test_a_task_that_never_lets_go_of_the_interpreter_keeps_nobody_waiting(
    app: Any, run_worker: Callable[..., Any]
) -> None:
    with run_worker(pool="prefork", concurrency=2):
        for result in app.enqueue_many([hog.s(1) for _ in range(300)]):
            result.get(timeout=20)
        started = time.monotonic()
        results = app.enqueue_many([hog.s(150_000_000 if number == 3 else 1) for number in range(40)])
        for result in results[4:]:
            result.get(timeout=20)
        others = time.monotonic() - started
        results[3].get(timeout=60)
        assert others < (time.monotonic() - started) / 2


def test_a_slot_that_is_stopped_with_a_batch_before_it_gives_the_batch_back(tmp_path: Path) -> None:
    """Stopped between the claim of many and the start of the first, it must not look for tickets that are drawn."""
    app = LiteQueue("stopped", broker=str(tmp_path / "queue.db"), durability="normal", set_as_current=False)

    @app.task
    def noop() -> None:
        pass

    for _ in range(5):
        worker = app.start_worker(pool="threads", concurrency=4)
        app.enqueue_many([noop.s() for _ in range(300)])[50].get(timeout=20)
        assert worker.stop(timeout=10)
    counts = app.store.counts()["celery"]
    assert set(counts) <= {"ready", "succeeded"}, counts
    app.close()
