"""The ladder of a stop, with real processes: warm, soft, cold; and no process is ever left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.worker import supervisor_tasks
from tests.worker.supervisor_tasks import lines, program, quick_or_wait, starts, wait_for, wait_for_once, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
POOLS = ("prefork", "threads", "solo")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    supervisor_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield supervisor_tasks.app
    supervisor_tasks.app.close()


def begin(tmp_path: Path) -> tuple[Any, Path]:
    """A task that has started, and runs until its gate is there."""
    gate, log = tmp_path / "gate", tmp_path / "log"
    result = wait_for.delay(str(gate), str(log))
    wait_until(lambda: starts(log))
    return result, gate


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_warm(app: Any, tmp_path: Path, pool: str, signum: int) -> None:
    with program(tmp_path, "-c", "1", "-P", pool) as worker:
        result, gate = begin(tmp_path)
        waiting = wait_for.delay(str(gate), str(tmp_path / "log"))
        os.kill(worker.pid, signum)
        wait_until(lambda: "Warm shutdown" in worker.text() or pool == "solo")
        gate.touch()
        assert worker.wait() == 0
        worker.wait_until_gone()
    assert result.get(timeout=1) == 1
    assert app.store.task(waiting.id).state == "ready"
    assert app.store.processes() == []


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    "signals", [(signal.SIGQUIT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGQUIT)]
)
def test_cold(app: Any, tmp_path: Path, pool: str, signals: tuple[int, ...]) -> None:
    with program(tmp_path, "-c", "1", "-P", pool) as worker:
        result, _ = begin(tmp_path)
        for signum in signals:
            os.kill(worker.pid, signum)
            time.sleep(0.1)  # two at once are one, for the system
        assert worker.wait() == 1
        worker.wait_until_gone()
    record = app.store.task(result.id)
    assert (record.state, record.deaths) == ("ready", 0), "a stop that was asked for is no death"
    assert app.store.processes() == []


def test_a_second_sigterm_stays_warm(app: Any, tmp_path: Path) -> None:
    with program(tmp_path, "-c", "1") as worker:
        result, gate = begin(tmp_path)
        for _ in range(3):
            os.kill(worker.pid, signal.SIGTERM)
            time.sleep(0.05)
        os.kill(worker.pid, signal.SIGINT)
        time.sleep(0.05)
        gate.touch()
        assert worker.wait() == 0
        worker.wait_until_gone()
    assert result.get(timeout=1) == 1


def test_sigterm_may_mean_sigquit(app: Any, tmp_path: Path) -> None:
    with program(tmp_path, "-c", "1", env={"REMAP_SIGTERM": "SIGQUIT"}) as worker:
        result, _ = begin(tmp_path)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait() == 1
        worker.wait_until_gone()
    assert app.store.task(result.id).state == "ready"


@pytest.mark.parametrize("pool", POOLS)
def test_soft(app: Any, tmp_path: Path, pool: str) -> None:
    with program(tmp_path, "-c", "1", "-P", pool, "worker_soft_shutdown_timeout=20") as worker:
        result, gate = begin(tmp_path)
        os.kill(worker.pid, signal.SIGQUIT)
        wait_until(lambda: "Soft shutdown" in worker.text() or pool == "solo")
        gate.touch()
        assert worker.wait() == 1
        worker.wait_until_gone()
    assert result.get(timeout=1) == 1, "it ended within the time it was given"


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("again", [False, True])
def test_soft_is_over_in_time_or_by_one_more_signal(app: Any, tmp_path: Path, pool: str, again: bool) -> None:
    seconds = 20 if again else 0.3
    with program(tmp_path, "-c", "1", "-P", pool, f"worker_soft_shutdown_timeout={seconds}") as worker:
        result, _ = begin(tmp_path)
        began = time.monotonic()
        os.kill(worker.pid, signal.SIGQUIT)
        if again:
            time.sleep(0.2)
            os.kill(worker.pid, signal.SIGQUIT)
        assert worker.wait() == 1
        assert time.monotonic() - began < 10
        worker.wait_until_gone()
    assert app.store.task(result.id).state == "ready"


def test_what_has_not_started_is_given_back_when_a_warm_stop_begins(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with program(tmp_path, "-c", "1") as worker:
        for result in app.enqueue_many([quick_or_wait.s(str(gate), str(log), n, -1) for n in range(40)]):
            result.get(timeout=20)  # it has learnt that they are quick, and claims many at once
        results = app.enqueue_many([quick_or_wait.s(str(gate), str(log), n, 2) for n in range(30)])
        wait_until(lambda: starts(log))
        os.kill(worker.pid, signal.SIGTERM)
        wait_until(lambda: {app.store.task(each.id).state for each in results[3:]} == {"ready"}, 2)
        assert worker.process.poll() is None
        gate.touch()
        assert worker.wait() == 0
        worker.wait_until_gone()
    assert results[2].get(timeout=1) == 2
    assert {app.store.task(each.id).deaths for each in results} == {0}


def test_ctrl_c_goes_to_the_whole_group_and_stays_warm(app: Any, tmp_path: Path) -> None:
    with program(tmp_path, "-c", "2") as worker:
        result, gate = begin(tmp_path)
        os.killpg(worker.pid, signal.SIGINT)
        wait_until(lambda: "Warm shutdown" in worker.text())
        gate.touch()
        assert worker.wait() == 0
        worker.wait_until_gone()
    assert result.get(timeout=1) == 1


@pytest.mark.parametrize("busy", [False, True])
def test_nothing_is_left_of_a_supervisor_that_is_killed(app: Any, tmp_path: Path, busy: bool) -> None:
    with program(tmp_path, "-c", "2") as worker:
        result, gate = begin(tmp_path) if busy else (None, tmp_path / "gate")
        assert len(worker.tree()) >= 4, "two children, the fork server, the supervisor"
        worker.kill()
        if result is not None:
            wait_until(lambda: len(worker.tree()) < 4)
            assert app.store.task(result.id).state == "running", "its child goes on"
            gate.touch()
            assert result.get(timeout=20) == 1, "and settles"
        worker.wait_until_gone()
    if result is not None:
        assert [line[0] for line in lines(tmp_path / "log")] == ["start", "end"]


def test_a_task_whose_supervisor_vanished_is_still_kept_to_its_limit(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with program(tmp_path, "-c", "1") as worker:
        result = supervisor_tasks.overtime.apply_async((str(log),), time_limit=1.5)
        wait_until(lambda: starts(log))
        worker.kill()
        worker.wait_until_gone(10)
    assert result.state in ("STARTED", "FAILURE")


def test_the_fork_server_is_killed(app: Any, tmp_path: Path) -> None:
    """Nobody knows any more how its children end; so each ends after its task, and others take their places."""
    with program(tmp_path, "-c", "2") as worker:
        result, gate = begin(tmp_path)
        server = psutil.Process(worker.child_pids()[0]).ppid()
        assert server != worker.pid
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: len(set(worker.child_pids())) == 3)
        assert supervisor_tasks.quick.delay(number=3).get(timeout=20) == 3
        assert app.store.task(result.id).state == "running"
        gate.touch()
        assert result.get(timeout=20) == 1
        wait_until(lambda: len(worker.child_pids()) == 2)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait() == 0
        worker.wait_until_gone()
    assert app.store.processes() == []


def test_a_stop_before_the_worker_is_up(app: Any, tmp_path: Path) -> None:
    app.store.processes()
    with program(tmp_path, "-c", "2", ready=False) as worker:
        wait_until(lambda: len(worker.tree()) >= 3)
        wait_until(lambda: app.store.processes())
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait() == 0, worker.text()
        worker.wait_until_gone()
    assert app.store.processes() == []


def test_a_cold_stop_fails_what_may_not_run_again(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with program(tmp_path, "-c", "1") as worker:
        result = wait_for_once.delay(str(tmp_path / "never"), str(log))
        wait_until(lambda: starts(log))
        os.kill(worker.pid, signal.SIGQUIT)
        assert worker.wait() == 1
        worker.wait_until_gone()
    assert app.store.task(result.id).state == "failed"


def test_usr1_logs_where_every_thread_is(app: Any, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    with program(tmp_path, "-c", "2") as worker:
        supervisor_tasks.wait_in_a_thread.delay(str(gate), str(log))
        wait_until(lambda: starts(log))
        os.kill(worker.pid, signal.SIGUSR1)
        pids = [worker.pid, *worker.child_pids()]
        assert len(pids) == 3
        wait_until(lambda: all(f"(pid {pid})" in worker.text() for pid in pids))
        for name in ("litequeue-rescuer", "in watch", "a-thread-of-the-task", "MainThread", "in wait_for"):
            wait_until(lambda name=name: name in worker.text())
        assert worker.text().count("Stacks of ") == 3, "one record a process"
        gate.touch()


def test_usr1_shows_a_child_that_is_inside_one_call_of_c_code(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with program(tmp_path, "-c", "1") as worker:
        supervisor_tasks.hog.delay(10**10, str(log))
        wait_until(lambda: starts(log))
        os.kill(worker.pid, signal.SIGUSR1)
        wait_until(lambda: "supervisor_tasks.py" in worker.text().rpartition("inside one call of C code")[2])
        os.kill(worker.pid, signal.SIGQUIT)
        assert worker.wait() == 1
        worker.wait_until_gone()
