"""What every pool does alike."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litequeue import states
from litequeue.exceptions import EncodeError, Reject
from tests.worker.conftest import lines, wait_until
from tests.worker.exercise import (
    add,
    double,
    fail,
    ignore,
    interrupt,
    leave,
    loop_id,
    progress,
    quick,
    reject,
    retry,
    unencodable,
    wait_for,
    who,
)


def test_tasks_run_and_give_their_results(app: Any, run_worker: Callable[..., Any], pool: str) -> None:
    early = add.delay(1, 2)
    with run_worker(pool=pool):
        results = [add.delay(number, number) for number in range(50)]
        assert early.get(timeout=20) == 3
        assert [result.get(timeout=20) for result in results] == [2 * number for number in range(50)]
    assert app.store.counts() == {"celery": {"succeeded": 51}}
    assert app.store.processes() == [], "a worker that has stopped has taken itself out"


def test_where_tasks_run(run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool, hostname="w1@%h") as worker:
        seen = [who.delay() for _ in range(20)]
        found = [result.get(timeout=20) for result in seen]
    assert {one["hostname"] for one in found} == {worker.hostname}
    assert {one["attempt"] for one in found} == {1}
    pids = {one["pid"] for one in found}
    assert (os.getpid() in pids) == (pool != "prefork")
    if pool == "prefork":
        assert all(one["main"] for one in found), "a child runs its tasks in its main thread"
    assert threading.get_ident() not in {one["thread"] for one in found if one["pid"] == os.getpid()}


@pytest.mark.parametrize("case", ["error", "exit", "ignore", "reject", "unencodable"])
def test_every_end_of_a_task(run_worker: Callable[..., Any], pool: str, case: str) -> None:
    with run_worker(pool=pool):
        if case == "error":
            result = fail.delay("because")
            with pytest.raises(ValueError, match="because"):
                result.get(timeout=20)
            assert (result.state, result.failed()) == (states.FAILURE, True)
            assert "in fail" in result.traceback
        elif case == "exit":
            result = leave.delay(3)
            result.get(timeout=20, propagate=False)
            assert result.state == states.FAILURE, "a task does not end its worker"
        elif case == "ignore":
            result = ignore.delay()
            assert result.get(timeout=20) is None
            assert result.state == "IGNORED"
        elif case == "reject":
            with pytest.raises(Reject):
                reject.delay(False).get(timeout=20)
            assert reject.delay(True).get(timeout=20) == 2, "redelivered, then done"
        else:
            with pytest.raises(EncodeError, match=r"\['a'\]\[0\]"):
                unencodable.delay().get(timeout=20)
        assert add.delay(1, 1).get(timeout=20) == 2, "the worker goes on"


@pytest.mark.parametrize("kind", ["keyboard", "shutdown", "generator"])
def test_what_ends_programs_ends_only_the_task(run_worker: Callable[..., Any], pool: str, kind: str) -> None:
    with run_worker(pool=pool, concurrency=1):
        result = interrupt.delay(kind)
        result.get(timeout=20, propagate=False)
        assert result.state == states.FAILURE
        assert len(result.history) == 1
        assert add.delay(1, 1).get(timeout=20) == 2


def test_a_retry_comes_again(run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool):
        result = retry.delay(2, 0.01)
        assert result.get(timeout=20) == 2
        assert [attempt.outcome for attempt in result.history] == ["retry", "retry"]


def test_coroutines_are_run_to_their_end(run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool, concurrency=1):
        assert double.delay(21).get(timeout=20) == 42
        loops = {loop_id.delay().get(timeout=20) for _ in range(3)}
    assert len(loops) == 1, "one event loop a slot, kept between tasks"


def test_progress_is_seen_while_the_task_runs(run_worker: Callable[..., Any], pool: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool=pool):
        result = progress.delay(str(gate))
        wait_until(lambda: result.state == "PROGRESS")
        assert result.info == {"done": 3}
        gate.touch()
        assert result.get(timeout=20) == "end"
        assert result.state == states.SUCCESS


def test_a_warm_stop_finishes_what_runs_and_leaves_the_rest(
    app: Any, run_worker: Callable[..., Any], pool: str, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run_worker(pool=pool, concurrency=1) as worker:
        running = wait_for.delay(str(gate), str(log))
        wait_until(lambda: lines(log))
        waiting = [quick.delay() for _ in range(5)]
        assert not worker.stop(timeout=1), "the gate is closed; by then the slot has been told"
        gate.touch()
        assert worker.stop(timeout=20)
    assert running.get(timeout=1) == 1
    assert {result.state for result in waiting} == {states.PENDING}
    assert app.store.counts() == {"celery": {"succeeded": 1, "ready": 5}}


def test_a_burst_ends_when_the_queue_is_empty(app: Any, pool: str) -> None:
    results = [add.delay(number, 1) for number in range(30)]
    later = add.apply_async((1, 1), countdown=3600)
    with app.start_worker(pool=pool, concurrency=2, burst=True) as worker:
        wait_until(lambda: worker.worker.stopped.is_set())
    assert all(result.state == states.SUCCESS for result in results)
    assert later.state == states.PENDING


def test_only_its_queues(app: Any, run_worker: Callable[..., Any], pool: str) -> None:
    other = add.apply_async((1, 1), queue="other")
    with run_worker(pool=pool, queues="one,two"):
        assert add.apply_async((1, 2), queue="two").get(timeout=20) == 3
        assert add.apply_async((1, 2), queue="one").get(timeout=20) == 3
        assert other.state == states.PENDING
    with run_worker(pool=pool, queues=["other"]):
        assert other.get(timeout=20) == 2


def test_an_idle_worker_takes_a_task_at_once(run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool):
        add.delay(1, 1).get(timeout=20)
        soon = add.apply_async((2, 2), countdown=0.1)
        assert soon.get(timeout=3) == 4, "long before an idle slot looks again by itself"
