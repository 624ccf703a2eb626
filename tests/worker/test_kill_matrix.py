"""Who dies, what it was doing, and how its task is acknowledged: each row ends as docs/guarantees.md (P2) says.

A worker is a process of its own; a supervisor that is killed has no successor until the test starts one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.exceptions import TimeLimitExceeded, WorkerLostError
from tests.worker import supervisor_tasks
from tests.worker.supervisor_tasks import (
    Program,
    lines,
    overtime_twice,
    program,
    quick,
    quick_once,
    starts,
    wait_for,
    wait_for_all_the_same,
    wait_for_once,
    wait_for_once_or_die,
    wait_for_unless_lost,
    wait_until,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
OPTIONS = ("-c", "1")
CASES = [("prefork", "child"), ("prefork", "supervisor"), ("prefork", "both")]
CASES += [(pool, "supervisor") for pool in ("threads", "solo", "asyncio")]  # they have no children


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    supervisor_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield supervisor_tasks.app
    supervisor_tasks.app.close()


def kill(worker: Program, who: str, child: int) -> None:
    """kill -9 of the child, the supervisor, or both at once."""
    worker.tree()
    if who in ("supervisor", "both"):
        os.kill(worker.pid, signal.SIGKILL)
    if who in ("child", "both"):
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(("pool", "who"), CASES)
def test_idle(app: Any, tmp_path: Path, pool: str, who: str) -> None:
    """Nothing is held, nothing is lost, and the next task runs in what is left, or comes."""
    with program(tmp_path, *OPTIONS, "-P", pool) as worker:
        child = worker.child_pids()[0] if pool == "prefork" else 0
        kill(worker, who, child)
        if who == "child":
            assert quick.delay(number=1).get(timeout=20) == 1
        else:
            worker.process.wait(10)
            worker.wait_until_gone()
            with program(tmp_path, *OPTIONS, "-P", pool):
                assert quick.delay(number=1).get(timeout=20) == 1
                wait_until(lambda: {record.identity.pid for record in app.store.processes()}.isdisjoint([worker.pid]))


@pytest.mark.parametrize("acks", ["late", "early"])
@pytest.mark.parametrize(("pool", "who"), CASES)
def test_running(app: Any, tmp_path: Path, pool: str, who: str, acks: str) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    task = wait_for if acks == "late" else wait_for_once
    with program(tmp_path, *OPTIONS, "-P", pool) as worker:
        result = task.delay(str(gate), str(log))
        child = int(wait_until(lambda: starts(log))[0][2])
        kill(worker, who, child)
        if who != "child":
            worker.process.wait(10)
        orphaned = pool == "prefork" and who == "supervisor"
        if who == "child":
            end(result, gate, acks)
        else:
            with program(tmp_path, *OPTIONS, "-P", pool):
                if orphaned:  # its child lives, and ends what it runs: nobody may take that over
                    time.sleep(1.2)
                    assert app.store.task(result.id).state == "running"
                    gate.touch()
                    assert result.get(timeout=20) == 1
                else:
                    end(result, gate, acks)
        if who != "child":
            worker.wait_until_gone()
    again = acks == "late" and not orphaned
    assert len(starts(log)) == (2 if again else 1)
    assert app.store.task(result.id).deaths == (0 if orphaned else 1)


def end(result: Any, gate: Path, acks: str) -> None:
    """How a task ends whose process died once."""
    if acks == "late":
        gate.touch()
        assert result.get(timeout=20) == 2
        assert [attempt.outcome for attempt in result.history] == ["lost"]
    else:
        with pytest.raises(WorkerLostError, match="at most once"):
            result.get(timeout=20)


@pytest.mark.parametrize("acks", ["late", "early"])
@pytest.mark.parametrize(("pool", "who"), CASES)
def test_settling(app: Any, tmp_path: Path, pool: str, who: str, acks: str) -> None:
    """Killed while tasks end one after the other: whatever was settled stays, everything else runs again, or fails."""
    log, count = tmp_path / "log", 400
    task = quick if acks == "late" else quick_once
    with program(tmp_path, *OPTIONS, "-P", pool) as worker:
        child = worker.child_pids()[0] if pool == "prefork" else 0
        results = app.enqueue_many([task.s(str(log), number) for number in range(count)])
        wait_until(lambda: len(lines(log)) > 50)
        kill(worker, who, child)
        settled = {each.id for each in results if app.store.task(each.id).state == "succeeded"}
        if who == "child":
            wait_until(lambda: all(each.ready() for each in results))
        else:
            worker.process.wait(10)
            with program(tmp_path, *OPTIONS, "-P", pool):
                wait_until(lambda: all(each.ready() for each in results))
            worker.wait_until_gone()
    runs = [int(line[1]) for line in lines(log)]
    records = [app.store.task(each.id) for each in results]
    for number, record in enumerate(records):
        if record.id in settled:
            assert record.state == "succeeded"
        if acks == "late":
            assert (record.state, number in runs) == ("succeeded", True)
        else:
            assert runs.count(number) <= 1
            assert record.state == "succeeded" or record.deaths == 1
    if acks == "early":
        assert sum(record.state == "failed" for record in records) <= 1, "the one that ran"


# The rules of a death


def test_a_task_that_may_not_survive_its_process_fails_at_the_first_death(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=1, beat=False):
        result = wait_for_unless_lost.delay(str(gate), str(log))
        os.kill(int(wait_until(lambda: starts(log))[0][2]), signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            result.get(timeout=20)
    assert len(starts(log)) == 1


def test_retry_on_worker_lost_comes_before_reject(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=1, beat=False):
        result = wait_for_all_the_same.delay(str(gate), str(log))
        os.kill(int(wait_until(lambda: starts(log))[0][2]), signal.SIGKILL)
        wait_until(lambda: len(starts(log)) == 2)
        gate.touch()
        assert result.get(timeout=20) == 2


def test_a_cold_stop_gives_back_what_may_not_survive_a_death(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=1, beat=False) as embedded:
        result = wait_for_unless_lost.delay(str(tmp_path / "never"), str(log))
        wait_until(lambda: starts(log))
        assert embedded.stop(warm=False, timeout=20)
    assert app.store.task(result.id).state == "ready"


def test_the_cap_is_a_setting(app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setitem(app.conf, "max_worker_deaths", 2)
    with app.start_worker(pool="prefork", concurrency=1, beat=False):
        result = wait_for.delay(str(tmp_path / "never"), str(log))
        for number in (1, 2):
            wait_until(lambda number=number: len(starts(log)) == number)
            os.kill(int(starts(log)[-1][2]), signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="2 of its processes died"):
            result.get(timeout=20)


def test_the_cap_of_a_task_comes_before_the_setting(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=1, beat=False):
        result = wait_for_once_or_die.delay(str(tmp_path / "never"), str(log))
        os.kill(int(wait_until(lambda: starts(log))[0][2]), signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="1 of its processes died"):
            result.get(timeout=20)
    assert len(starts(log)) == 1


def test_another_worker_keeps_to_the_cap_of_a_task(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with program(tmp_path, "-c", "1") as worker:
        result = wait_for_once_or_die.delay(str(tmp_path / "never"), str(log))
        child = int(wait_until(lambda: starts(log))[0][2])
        worker.kill()
        os.kill(child, signal.SIGKILL)
    with app.start_worker(pool="threads", concurrency=1, beat=False), pytest.raises(WorkerLostError):
        result.get(timeout=20)
    assert len(starts(log)) == 1


def test_a_hard_limit_with_acks_on_timeout_off_keeps_to_the_cap_of_the_task(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=1, beat=False):
        result = overtime_twice.apply_async((str(log),), time_limit=0.3)
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=20)
    assert len(starts(log)) == 2


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "3", True])
def test_a_cap_that_cannot_be_is_refused(wrong: Any) -> None:
    app = LiteQueue("caps", set_as_current=False)
    with pytest.raises(ValueError, match="max_worker_deaths="):
        app.task(max_worker_deaths=wrong)(lambda: None)


# How soon


def test_a_dead_childs_task_runs_again_within_100_ms(app: Any, tmp_path: Path) -> None:
    """With another slot idle: it need not wait for a new process."""
    gate, took = tmp_path / "gate", []
    with app.start_worker(pool="prefork", concurrency=2, beat=False) as embedded:
        for number in range(5):
            log = tmp_path / f"log{number}"
            wait_until(lambda: sum(each.idle for each in app.store.processes() if each.role == "child") == 2)
            result = wait_for.delay(str(gate) + str(number), str(log))
            child = int(wait_until(lambda log=log: starts(log))[0][2])
            began = time.time()
            os.kill(child, signal.SIGKILL)
            wait_until(lambda log=log: len(starts(log)) == 2)
            took.append(float(starts(log)[1][3]) - began)
            Path(str(gate) + str(number)).touch()
            assert result.get(timeout=20) == 2
        assert embedded.worker.concurrency == 2
    print(f"runs again after {', '.join(f'{each * 1000:.0f}' for each in took)} ms")
    assert sorted(took)[2] < 0.1


def test_a_dead_workers_task_runs_again_within_a_second(app: Any, tmp_path: Path) -> None:
    took = []
    with app.start_worker(pool="threads", concurrency=1, beat=False, queues=["other"]) as embedded:
        for number in range(3):
            gate, log = tmp_path / f"gate{number}", tmp_path / f"log{number}"
            with program(tmp_path, *OPTIONS) as worker:
                result = wait_for.delay(str(gate), str(log))
                child = int(wait_until(lambda log=log: starts(log))[0][2])
                embedded.worker.add_queues(["celery"])
                began = time.time()
                kill(worker, "both", child)
                wait_until(lambda log=log: len(starts(log)) == 2)
                took.append(float(starts(log)[1][3]) - began)
                gate.touch()
                assert result.get(timeout=20) == 2
                embedded.worker.cancel_queues(["celery"])
                worker.process.wait(10)
    print(f"runs again after {', '.join(f'{each * 1000:.0f}' for each in took)} ms")
    assert sorted(took)[1] < 1.0
