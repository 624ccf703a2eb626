"""kill -9 is an ordinary event: nothing is lost, nothing runs beside itself, nothing stays behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from litequeue import states
from litequeue.exceptions import WorkerLostError
from tests.worker.conftest import lines, wait_until
from tests.worker.exercise import add, die, exit_process, grow, quick, wait_for, wait_for_once, who


def test_the_task_of_a_killed_child_runs_again_at_once(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run_worker(pool="prefork", concurrency=2):
        result = wait_for.delay(str(gate), str(log))
        first = wait_until(lambda: lines(log))[0]
        killed = time.monotonic()
        os.kill(int(first.split()[2]), signal.SIGKILL)
        wait_until(lambda: len(lines(log)) == 2)
        assert time.monotonic() - killed < 2.0
        gate.touch()
        assert result.get(timeout=20) == 2, "the second attempt"
        assert [attempt.outcome for attempt in result.history] == ["lost"]


def test_an_at_most_once_task_is_not_run_again(app: Any, run_worker: Callable[..., Any], tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run_worker(pool="prefork", concurrency=1):
        result = wait_for_once.delay(str(gate), str(log))
        first = wait_until(lambda: lines(log))[0]
        os.kill(int(first.split()[2]), signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="at most once"):
            result.get(timeout=20)
        assert len(lines(log)) == 1
        assert add.delay(1, 1).get(timeout=20) == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_poison_task_ends_at_its_cap(run_worker: Callable[..., Any], how: int) -> None:
    with run_worker(pool="prefork", concurrency=2):
        result = die.delay(int(how))
        with pytest.raises(WorkerLostError, match=signal.Signals(how).name):
            result.get(timeout=30)
        assert result.state == states.FAILURE
        assert len(result.history) == 3
        assert add.delay(1, 1).get(timeout=20) == 2


def test_neighbours_of_a_poison_task_live(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork", concurrency=1):
        for warm in app.enqueue_many([die.s(times=0) for _ in range(50)]):
            warm.get(timeout=20)
        results = app.enqueue_many([die.s(times=99 if number == 5 else 0) for number in range(20)])
        for number, result in enumerate(results):
            if number != 5:
                assert result.get(timeout=30) >= 1
        with pytest.raises(WorkerLostError):
            results[5].get(timeout=30)


def test_a_task_that_ends_its_process_is_lost_with_it(run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork", concurrency=1), pytest.raises(WorkerLostError, match="exited with code 7"):
        exit_process.delay(7).get(timeout=30)


def test_a_child_is_recycled_after_its_tasks(run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork", concurrency=1, max_tasks_per_child=3):
        pids = [who.delay().get(timeout=20)["pid"] for _ in range(9)]
    assert [len(set(pids[start : start + 3])) for start in (0, 3, 6)] == [1, 1, 1]
    assert len(set(pids)) == 3


def test_a_child_is_recycled_when_it_has_grown(run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork", concurrency=1, max_memory_per_child=150_000):
        first = grow.delay(10).get(timeout=20)
        assert grow.delay(200).get(timeout=20) == first
        assert grow.delay(10).get(timeout=20) != first


def test_a_killed_child_leaves_no_process_behind(app: Any, run_worker: Callable[..., Any]) -> None:
    before = set(psutil.Process().children(recursive=True))
    with run_worker(pool="prefork", concurrency=2):
        pid = who.delay().get(timeout=20)["pid"]
        os.kill(pid, signal.SIGKILL)
        assert add.delay(1, 1).get(timeout=20) == 2
        wait_until(lambda: not psutil.pid_exists(pid))
        wait_until(lambda: sum(record.role == "child" for record in app.store.processes()) == 2)
    left = set(psutil.Process().children(recursive=True)) - before
    # The fork server and its tracker stay with this process; what the fork server started is gone.
    assert {process.ppid() for process in left} <= {os.getpid()}
    assert app.store.processes() == []


def test_a_cold_stop_gives_everything_back(app: Any, run_worker: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run_worker(pool="prefork", concurrency=1) as worker:
        running = wait_for.delay(str(tmp_path / "never"), str(log))
        wait_until(lambda: lines(log))
        waiting = quick.delay()
        assert worker.stop(warm=False, timeout=20)
    record = app.store.task(running.id)
    assert (record.state, record.deaths) == ("ready", 0), "a stop by request is no death"
    assert waiting.state == states.PENDING
    assert app.store.processes() == []


def test_a_soft_shutdown_lets_running_tasks_finish(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setitem(app.conf, "worker_soft_shutdown_timeout", 0.5)
    with run_worker(pool="prefork", concurrency=2) as worker:
        short = wait_for.delay(str(tmp_path / "gate"), str(log))
        long = wait_for.delay(str(tmp_path / "never"), str(log))
        wait_until(lambda: len(lines(log)) == 2)
        (tmp_path / "gate").touch()
        assert worker.stop(warm=False, timeout=20)
    assert short.get(timeout=1) == 1
    assert app.store.task(long.id).state == "ready"
