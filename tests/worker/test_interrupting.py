"""Exceptions that are raised inside tasks from outside: where they may come, and where never."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from litequeue import signals, states
from litequeue.core.records import Claimed
from litequeue.exceptions import SoftTimeLimitExceeded, TaskRevokedError, Terminated
from tests.worker import interrupt_tasks
from tests.worker.conftest import lines, wait_until
from tests.worker.interrupt_tasks import (
    STEADY,
    add,
    block,
    catch,
    clean_up,
    compute,
    enqueue,
    fail_slowly,
    log,
    nap,
    retry_when_interrupted,
    shrug,
    then_hold,
    wait,
    wait_and_catch,
)

IN_THREADS = ["threads", "solo"]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    interrupt_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield interrupt_tasks.app
    interrupt_tasks.app.close()


@contextmanager
def whole(app: Any, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever was interrupted, the worker, the file and the log are as they should be."""
    yield
    database = app.store._database
    assert not database._lock.locked()
    assert not database._read_lock.locked()
    assert not database._writer.in_transaction
    for handler in logging.getLogger().handlers:
        assert handler.lock is None or _is_free(handler.lock)
    for text in ("Internal error", "A thread of the worker ended", "The worker stops", "trying again"):
        assert text not in caplog.text


def _is_free(lock: Any) -> bool:
    """Whether this thread gets the lock at once."""
    if not lock.acquire(timeout=1):
        return False
    lock.release()
    return True


def running(app: Any, result: Any) -> Claimed:
    """The claim of a task that runs now."""

    def found() -> Claimed | None:
        claims = (claimed for record in app.store.processes() for claimed in app.store.held(record.id))
        return next((claimed for claimed in claims if claimed.id == result.id), None)

    claimed: Claimed = wait_until(found)
    return claimed


def interrupt(worker: Any, claimed: Claimed, error: BaseException) -> bool:
    """What the worker does when a running task is revoked."""
    interrupted: bool = worker.worker.pool.interrupt(claimed, error)
    return interrupted


@pytest.mark.parametrize("pool", ["prefork", *IN_THREADS])
@pytest.mark.parametrize("task", STEADY, ids=lambda task: task.name.rpartition(".")[2])
def test_whatever_a_task_is_at_the_soft_limit_ends_it(run_worker: Callable[..., Any], pool: str, task: Any) -> None:
    with run_worker(pool=pool, concurrency=1):
        started = time.monotonic()
        with pytest.raises(SoftTimeLimitExceeded):
            task.apply_async((30,), soft_time_limit=0.1).get(timeout=20)
        assert time.monotonic() - started < 10
        assert add.delay(1, 2).get(timeout=20) == 3


@pytest.mark.parametrize("pool", ["prefork", *IN_THREADS])
@pytest.mark.parametrize("task", [catch, wait_and_catch], ids=["function", "coroutine"])
def test_a_task_that_catches_it_returns_as_ever(run_worker: Callable[..., Any], pool: str, task: Any) -> None:
    with run_worker(pool=pool, concurrency=1):
        assert [task.apply_async(soft_time_limit=0.05).get(timeout=20) for _ in range(3)] == ["caught"] * 3


@pytest.mark.parametrize("pool", IN_THREADS)
def test_each_thread_has_limits_of_its_own(run_worker: Callable[..., Any], pool: str, tmp_path: Path) -> None:
    with run_worker(pool=pool, concurrency=3):
        late = [nap.apply_async(soft_time_limit=limit) for limit in (0.15, 0.05, 0.1)]
        other = add.apply_async((1, 1), soft_time_limit=30)
        for result in late:
            with pytest.raises(SoftTimeLimitExceeded):
                result.get(timeout=20)
        assert other.get(timeout=20) == 2


def test_an_interrupt_that_comes_when_the_task_has_ended_hits_no_other(
    app: Any, run_worker: Callable[..., Any]
) -> None:
    with run_worker(pool="threads", concurrency=1) as worker:
        first = compute.delay(0.05)
        claimed = running(app, first)
        assert first.get(timeout=20) == "in time"
        second = compute.delay(0.1)
        running(app, second)
        assert not interrupt(worker, claimed, Terminated("SIGTERM"))
        assert second.get(timeout=20) == "in time"


def test_nothing_is_raised_in_the_handlers_of_a_task(run_worker: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "log"
    with run_worker(pool="threads", concurrency=1), pytest.raises(ValueError, match="no"):
        fail_slowly.apply_async((str(path),), soft_time_limit=0.1).get(timeout=20)
    assert lines(path) == ["handled ValueError"]


# Terminating


@pytest.mark.parametrize("pool", IN_THREADS)
@pytest.mark.parametrize("task", [nap, enqueue, wait], ids=["function", "enqueuer", "coroutine"])
def test_a_terminated_task_is_revoked(app: Any, run_worker: Callable[..., Any], pool: str, task: Any) -> None:
    heard: list[dict[str, Any]] = []

    @signals.task_revoked.connect(weak=False, dispatch_uid="test")
    def hear(**given: Any) -> None:
        heard.append(given)

    try:
        with run_worker(pool=pool, concurrency=1) as worker:
            result = task.delay(30)
            claimed = running(app, result)
            wait_until(lambda: interrupt(worker, claimed, Terminated("SIGTERM")))
            with pytest.raises(TaskRevokedError, match="terminated"):
                result.get(timeout=20)
            assert result.state == states.REVOKED
            assert add.delay(1, 2).get(timeout=20) == 3
    finally:
        signals.task_revoked.disconnect(dispatch_uid="test")
    (given,) = heard
    assert given["sender"].name == task.name
    assert given["request"].id == result.id
    assert (given["terminated"], given["signum"], given["expired"]) == (True, 15, False)


def test_a_terminated_task_may_clean_up_and_is_told_once(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with run_worker(pool="threads", concurrency=1) as worker:
        result = clean_up.delay(str(path))
        wait_until(lambda: lines(path))
        claimed = running(app, result)
        assert interrupt(worker, claimed, Terminated("SIGTERM"))
        interrupt(worker, claimed, Terminated("SIGTERM"))
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)
    told = lines(path)
    assert told[0] == "start"
    assert told[1].startswith("Terminated")
    assert told[2:] == ["end"]


def test_a_terminated_task_that_returns_all_the_same_is_revoked(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="threads", concurrency=1) as worker:
        result = shrug.delay()
        claimed = running(app, result)
        wait_until(lambda: interrupt(worker, claimed, Terminated("SIGTERM")))
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)


def test_revoke_with_terminate_ends_a_task_in_a_thread(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with run_worker(pool="threads", concurrency=2):
        late = then_hold.delay(str(path), str(tmp_path / "never"))
        other = then_hold.delay(str(path), str(tmp_path / "gate"))
        wait_until(lambda: len(lines(path)) == 2)
        app.store.revoke([late.id], signal="SIGTERM")
        with pytest.raises(TaskRevokedError, match="terminated"):
            late.get(timeout=20)
        (tmp_path / "gate").touch()
        assert other.get(timeout=20) == "in time"


def test_a_retry_of_a_terminated_task_is_revoked_too(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="threads", concurrency=1) as worker:
        result = retry_when_interrupted.delay()
        claimed = running(app, result)
        app.store.revoke([result.id])
        wait_until(lambda: interrupt(worker, claimed, Terminated("SIGTERM")))
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)


# Many, at any moment


@pytest.mark.parametrize("pool", IN_THREADS)
def test_hundreds_of_interrupts_at_any_moment(
    app: Any, run_worker: Callable[..., Any], caplog: pytest.LogCaptureFixture, pool: str
) -> None:
    """Each task ends with its value or the exception; no transaction is left open, and the worker goes on."""
    caplog.set_level(logging.WARNING)
    random.seed(7)
    tasks = [task for task in STEADY if task is not wait]
    with whole(app, caplog), run_worker(pool=pool, concurrency=4):
        calls = [
            random.choice(tasks).apply_async((random.uniform(0.0, 0.02),), soft_time_limit=random.uniform(0.0005, 0.02))
            for _ in range(400)
        ]
        ends = [result.get(timeout=60, propagate=False) for result in calls]
        assert add.delay(1, 2).get(timeout=20) == 3
        assert app.store._database._writer is not None
    kinds = [type(end) if isinstance(end, BaseException) else end for end in ends]
    assert set(kinds) == {SoftTimeLimitExceeded, "in time"}
    assert 20 < kinds.count(SoftTimeLimitExceeded) < 380
    assert app.store.counts()["celery"].keys() == {"succeeded", "failed"}


def test_interrupts_from_everywhere_at_once(
    app: Any, run_worker: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Soft limits and terminations meet in one thread, from two others."""
    caplog.set_level(logging.CRITICAL, "tests.interrupt_tasks")
    stop = threading.Event()
    with whole(app, caplog), run_worker(pool="threads", concurrency=2) as worker:
        slots = worker.worker.pool._slots

        def hammer() -> None:
            while not stop.is_set():
                for slot in slots:
                    claimed = slot.limiter.gate._claimed
                    if claimed is not None:
                        interrupt(worker, claimed, Terminated("SIGTERM"))
                time.sleep(random.uniform(0, 0.01))

        thread = threading.Thread(target=hammer)
        thread.start()
        try:
            tasks = (compute, enqueue, nap, log)
            calls = [
                random.choice(tasks).apply_async((0.02,), soft_time_limit=random.uniform(0.001, 0.02))
                for _ in range(200)
            ]
            ends = [result.get(timeout=60, propagate=False) for result in calls]
        finally:
            stop.set()
            thread.join()
        assert add.delay(1, 2).get(timeout=20) == 3
    kinds = {type(end) if isinstance(end, BaseException) else end for end in ends}
    assert kinds <= {SoftTimeLimitExceeded, TaskRevokedError, "in time"}
    assert TaskRevokedError in kinds


def test_a_soft_limit_never_leaves_a_transaction_half_way(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="threads", concurrency=2):
        for _ in range(5):
            with pytest.raises(SoftTimeLimitExceeded):
                enqueue.apply_async(soft_time_limit=0.05).get(timeout=20)
        assert add.delay(1, 1).get(timeout=20) == 2
    states_there = app.store.counts()["elsewhere"]
    assert states_there.keys() == {"ready"}
    assert app.store.purge(["elsewhere"]) == states_there["ready"]


# A worker in a main thread


def test_a_solo_worker_interrupts_a_call_that_blocks(tmp_path: Path) -> None:
    """There a signal does it, which ends a system call too."""
    program = (
        "import sys, time\n"
        "from tests.worker.interrupt_tasks import app, block\n"
        f"app.conf.broker_url = {str(tmp_path / 'queue.db')!r}\n"
        "result = block.apply_async((30,), soft_time_limit=0.2)\n"
        "started = time.monotonic()\n"
        "code = app.worker_main(['worker', '-P', 'solo', '--burst', '-l', 'ERROR'])\n"
        "assert time.monotonic() - started < 15, 'it was not interrupted'\n"
        "print(result.state, type(result.result).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "FAILURE SoftTimeLimitExceeded" in done.stdout, done.stdout + done.stderr


def test_a_thread_that_blocks_is_interrupted_when_it_comes_back(run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="threads", concurrency=1):
        started = time.monotonic()
        with pytest.raises(SoftTimeLimitExceeded):
            block.apply_async((0.6,), soft_time_limit=0.1).get(timeout=20)
        assert time.monotonic() - started >= 0.6


# A system without the signal


def test_a_child_without_signals_keeps_the_soft_limit_by_itself(tmp_path: Path) -> None:
    """As on Windows: `sitecustomize` takes SIGUSR2 away from every process before litequeue is imported."""
    (tmp_path / "sitecustomize.py").write_text("import signal\ndel signal.SIGUSR2\n")
    program = (
        "from litequeue.worker.limits import SOFT_SIGNAL\n"
        "from tests.worker.interrupt_tasks import add, app, catch, nap\n"
        "if __name__ == '__main__':\n"
        "    assert SOFT_SIGNAL is None\n"
        f"    app.conf.broker_url = {str(tmp_path / 'queue.db')!r}\n"
        "    with app.start_worker(pool='prefork', concurrency=1):\n"
        "        late = nap.apply_async(soft_time_limit=0.1, time_limit=20)\n"
        "        print(repr(late.get(timeout=20, propagate=False)))\n"
        "        print(catch.apply_async(soft_time_limit=0.1).get(timeout=20), add.delay(1, 2).get(timeout=20))\n"
    )
    file = tmp_path / "program.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    done = subprocess.run([sys.executable, str(file)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["SoftTimeLimitExceeded()", "caught 3"], done.stderr
