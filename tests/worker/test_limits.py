"""Time limits: soft ones in every pool, hard ones where tasks run in processes; elsewhere those are refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import states
from litequeue.exceptions import ImproperlyConfigured, SoftTimeLimitExceeded, TimeLimitExceeded
from tests.worker import interrupt_tasks
from tests.worker.exercise import add, enqueue_until_late, overtime, who


def test_the_hard_limit_kills_that_child_alone(run_worker: Callable[..., Any], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool="prefork", concurrency=2):
        pids = {who.delay().get(timeout=20)["pid"] for _ in range(10)}
        started = time.monotonic()
        late = overtime.apply_async((str(gate),), time_limit=0.3)
        neighbour = overtime.delay(str(gate))
        with pytest.raises(TimeLimitExceeded, match=r"0\.3"):
            late.get(timeout=20)
        assert 0.3 <= time.monotonic() - started < 2.0
        assert late.state == states.FAILURE
        assert late.history[-1].outcome == "failed", "the task is not run again"
        gate.touch()
        assert neighbour.get(timeout=20) == "in time"
        assert add.delay(1, 1).get(timeout=20) == 2, "the child was replaced"
    assert pids


@pytest.mark.parametrize("catch", [False, True])
def test_the_soft_limit_is_raised_inside_the_task(run_worker: Callable[..., Any], tmp_path: Path, catch: bool) -> None:
    with run_worker(pool="prefork", concurrency=1):
        before = who.delay().get(timeout=20)["pid"]
        result = overtime.apply_async((str(tmp_path / "gate"), catch), soft_time_limit=0.2, time_limit=20)
        if catch:
            assert result.get(timeout=20) == "caught"
        else:
            with pytest.raises(SoftTimeLimitExceeded):
                result.get(timeout=20)
        assert who.delay().get(timeout=20)["pid"] == before


def test_the_limits_of_the_worker(run_worker: Callable[..., Any], tmp_path: Path) -> None:
    with run_worker(pool="prefork", concurrency=1, time_limit=0.3, soft_time_limit=0.1):
        assert add.delay(1, 1).get(timeout=20) == 2
        with pytest.raises(SoftTimeLimitExceeded):
            overtime.delay(str(tmp_path / "gate")).get(timeout=20)


POOLS_WITHOUT_PROCESSES = ["threads", "solo", "asyncio"]


@pytest.fixture
def declare(app: Any) -> Iterator[Callable[..., Any]]:
    """Declare a task with limits, for as long as the test takes."""
    names: list[str] = []

    def declared(function: Callable[..., Any], **options: Any) -> Any:
        name = f"limits.{function.__name__}"
        names.append(name)
        return app.task(name=name, **options)(function)

    yield declared
    for name in names:
        app.tasks.pop(name)


@pytest.mark.parametrize("pool", POOLS_WITHOUT_PROCESSES)
def test_hard_limits_are_refused_at_the_start(app: Any, pool: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"pool {pool} .* time_limit=1 \(the option time_limit\).* prefork"):
        app.start_worker(pool=pool, time_limit=1)
    app.conf.task_time_limit = 2
    try:
        with pytest.raises(ImproperlyConfigured, match=r"time_limit=2 \(the setting task_time_limit\)"):
            app.start_worker(pool=pool)
    finally:
        app.conf.task_time_limit = None
    assert app.store.processes() == []


@pytest.mark.parametrize("pool", POOLS_WITHOUT_PROCESSES)
def test_a_declared_hard_limit_is_refused_with_the_name_of_the_task(
    app: Any, pool: str, declare: Callable[..., Any]
) -> None:
    declare(lambda_like, time_limit=3)
    with pytest.raises(ImproperlyConfigured, match=r"time_limit=3 \(declared by the task limits\.lambda_like\)"):
        app.start_worker(pool=pool)


def test_the_refusal_of_solo_names_its_watchdog(app: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="--watchdog"):
        app.start_worker(pool="solo", time_limit=1)


def lambda_like() -> None:
    """Do nothing."""


@pytest.mark.parametrize("pool", POOLS_WITHOUT_PROCESSES)
def test_a_hard_limit_that_a_call_brings_is_raised_in_the_task(
    run_worker: Callable[..., Any], tmp_path: Path, pool: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool=pool, concurrency=1):
        for _ in range(2):
            late = overtime.apply_async((str(gate),), time_limit=0.2)
            with pytest.raises(TimeLimitExceeded, match=r"0\.2"):
                late.get(timeout=20)
            assert late.state == states.FAILURE
        gate.touch()
        assert overtime.apply_async((str(gate),), time_limit=5).get(timeout=20) == "in time"
    said = [record.message for record in caplog.records if "cannot kill a task" in record.message]
    assert len(said) == 1, "once for each task name"
    assert "overtime" in said[0]
    assert "prefork" in said[0]


@pytest.mark.parametrize("pool", POOLS_WITHOUT_PROCESSES)
def test_after_the_soft_limit_comes_the_hard_one_which_no_task_survives(
    run_worker: Callable[..., Any], pool: str, declare: Callable[..., Any]
) -> None:
    task = declare(interrupt_tasks.shrug.run)
    with run_worker(pool=pool, concurrency=1), pytest.raises(TimeLimitExceeded, match=r"0\.3"):
        task.apply_async(soft_time_limit=0.1, time_limit=0.3).get(timeout=20)


# Soft limits, wherever they come from


ALL_POOLS = ["prefork", *POOLS_WITHOUT_PROCESSES]


@pytest.mark.parametrize("pool", ALL_POOLS)
@pytest.mark.parametrize("catch", [False, True])
def test_the_soft_limit_of_a_call(run_worker: Callable[..., Any], tmp_path: Path, pool: str, catch: bool) -> None:
    with run_worker(pool=pool, concurrency=1):
        result = overtime.apply_async((str(tmp_path / "gate"), catch), soft_time_limit=0.1)
        if catch:
            assert result.get(timeout=20) == "caught"
        else:
            with pytest.raises(SoftTimeLimitExceeded):
                result.get(timeout=20)
            assert result.state == states.FAILURE
        assert add.delay(1, 1).get(timeout=20) == 2


@pytest.mark.parametrize("pool", ALL_POOLS)
def test_the_soft_limit_of_the_worker_and_of_the_setting(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path, pool: str
) -> None:
    gate = str(tmp_path / "gate")
    with run_worker(pool=pool, concurrency=1, soft_time_limit=0.1), pytest.raises(SoftTimeLimitExceeded):
        overtime.delay(gate).get(timeout=20)
    late = app.send_task(overtime.name, (gate,))  # by name: a call of the task itself would bring the setting along
    app.conf.task_soft_time_limit = 0.1
    try:
        with run_worker(pool=pool, concurrency=1), pytest.raises(SoftTimeLimitExceeded):
            late.get(timeout=20)
    finally:
        app.conf.task_soft_time_limit = None


@pytest.mark.parametrize("pool", POOLS_WITHOUT_PROCESSES)
def test_the_soft_limit_that_a_task_declares(
    run_worker: Callable[..., Any], pool: str, declare: Callable[..., Any]
) -> None:
    task = declare(sleep_long, soft_time_limit=0.1)
    with run_worker(pool=pool, concurrency=1):
        with pytest.raises(SoftTimeLimitExceeded):
            task.delay(30).get(timeout=20)
        assert task.apply_async((0.3,), soft_time_limit=30).get(timeout=20) == "in time", "that of the call comes first"


def sleep_long(seconds: float) -> str:
    """In small steps."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.002)
    return "in time"


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_limits_are_raised_in_time(run_worker: Callable[..., Any], pool: str) -> None:
    took = []
    with run_worker(pool=pool, concurrency=1):
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(SoftTimeLimitExceeded):
                overtime.apply_async(("/nowhere",), soft_time_limit=0.2).get(timeout=20)
            took.append(time.monotonic() - started)
    assert min(took) >= 0.2
    assert sorted(took)[1] < 1.0


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_soft_limit_never_leaves_a_transaction_half_way(app: Any, run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool, concurrency=1):
        for _ in range(5):
            made = enqueue_until_late.apply_async(soft_time_limit=0.1, time_limit=20).get(timeout=20)
            assert made > 0
            assert add.delay(1, 1).get(timeout=20) == 2
            assert app.store.purge(["elsewhere"]) in (made, made + 1), "the last one may be written and not counted"
