"""What a task logs is kept with it, in every pool, up to a limit, until its last line or its death."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue, states
from litequeue.exceptions import ImproperlyConfigured
from litequeue.worker import keeping
from tests.worker import logging_tasks as tasks
from tests.worker.conftest import wait_until


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    """The app of `logging_tasks` on a fresh file."""
    tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield tasks.app
    tasks.app.close()


def said(result: Any) -> list[str]:
    return [line.message for line in result.logs]


def ended(result: Any) -> Any:
    result.get(timeout=20, propagate=False)
    return result


# In every pool


def test_what_a_task_logs_is_there_when_it_has_ended(run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool):
        results = [tasks.say.delay(f"one {number}", f"two {number}") for number in range(5)]
        for number, result in enumerate(results):
            result.get(timeout=20)
            assert said(result) == [f"one {number} by {result.id}", f"two {number} by {result.id}"]


def test_a_line_says_when_and_where_it_was_logged(app: Any, run_worker: Callable[..., Any]) -> None:
    before = datetime.now(UTC)
    with run_worker(pool="prefork", concurrency=1):
        (line,) = ended(tasks.say.delay("one")).logs
    assert (line.attempt, line.level, line.logger) == (1, "INFO", "tests.logging_tasks")
    assert before - timedelta(seconds=1) <= line.at <= datetime.now(UTC) + timedelta(seconds=1)


def test_the_line_before_the_exception_is_there_when_the_task_has_failed(
    run_worker: Callable[..., Any], pool: str
) -> None:
    with run_worker(pool=pool):
        result = ended(tasks.say_and_fail.delay("the line before"))
        assert result.state == states.FAILURE
        first, second = result.logs
    assert first.message == "the line before"
    assert second.level == "ERROR" and second.message.startswith("caught\nTraceback")
    assert second.message.endswith("LookupError: inner")


def test_a_running_task_shows_what_it_has_said(run_worker: Callable[..., Any], tmp_path: Path, pool: str) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool=pool):
        result = tasks.say_and_wait.delay("begins", str(gate))
        wait_until(lambda: said(result) == ["begins 1"])
        assert result.state == states.STARTED
        gate.touch()
        result.get(timeout=20)
        assert said(result) == ["begins 1", "went on"]


def test_coroutines_that_run_side_by_side_have_lines_of_their_own(
    run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool="asyncio", concurrency=5):
        results = [tasks.say_and_await.delay(str(gate)) for _ in range(5)]
        for result in results:
            wait_until(lambda result=result: said(result) == [f"begins {result.id}"])
        gate.touch()
        for result in results:
            result.get(timeout=20)
            assert said(result) == [f"begins {result.id}", f"in a thread {result.id}"]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_every_logger_counts_but_those_of_the_worker(run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool):
        lines = ended(tasks.say_everywhere.delay()).logs
    assert [(line.level, line.message) for line in lines] == [("WARNING", "to itself"), ("INFO", "as a task")]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_a_task_calls_in_place_counts_as_its_own(run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool):
        assert said(ended(tasks.outer.delay())) == ["before", "inner", "inner", "after"]


# Attempts and limits


def test_the_lines_of_every_attempt_stay(run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork"):
        lines = ended(tasks.say_and_retry.delay()).logs
    assert [(line.attempt, line.message) for line in lines] == [(n, f"attempt {n}") for n in (1, 2, 3)]


def test_a_task_has_a_limit_of_its_own(run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="threads"):
        assert said(ended(tasks.say_unheard.delay())) == []
        assert said(ended(tasks.say_much.delay(500))) == ["line 497", "line 498", "line 499"]


def test_lines_that_cannot_be_kept_as_they_are_harm_nobody(run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork", concurrency=1):  # pytest's own handlers let such a line raise
        result = tasks.say_odd_things.delay()
        assert result.get(timeout=20) is None
        long, half, apples, spoken, unspeakable, odd = result.logs
    assert len(long.message) == keeping.LONGEST and long.message.endswith("(cut)")
    assert half.message == "half a pair \\ud800, nul \x00, æ"
    assert "TypeError" in apples.message and "RuntimeError" in unspeakable.message
    assert spoken.message == "while it was spoken of" and odd.message == "odd"


def test_only_lines_from_the_level_of_the_setting_on_are_kept(app: Any, run_worker: Callable[..., Any]) -> None:
    app.conf.task_log_level = "WARNING"
    try:
        with run_worker(pool="prefork"):
            assert said(ended(tasks.say_everywhere.delay())) == ["to itself"]
            assert said(ended(tasks.say.delay("info"))) == []
    finally:
        app.conf.task_log_level = "INFO"


def test_a_limit_that_cannot_be_is_refused() -> None:
    app = LiteQueue("limits", broker=":memory:", set_as_current=False)
    for wrong in (-1, 1.5, True, "ten"):
        with pytest.raises(ValueError, match="log_lines"):
            app.task(log_lines=wrong, name=f"wrong{wrong}")(lambda: None)
    with pytest.raises(ImproperlyConfigured, match="task_log_lines"):
        app.conf.task_log_lines = -1


# Deaths


def test_a_killed_process_leaves_what_its_task_had_said(run_worker: Callable[..., Any], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool="prefork", concurrency=1):
        result = tasks.say_and_die.delay(str(gate))
        wait_until(lambda: said(result))
        gate.touch()
        assert result.get(timeout=20) == 2
        assert [(line.attempt, line.message) for line in result.logs] == [(1, "last words")]


def test_a_task_that_was_killed_at_its_time_limit_shows_what_it_had_said(
    run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    with run_worker(pool="prefork", concurrency=1):
        result = ended(tasks.say_and_wait.apply_async(("begins", str(tmp_path / "never")), time_limit=3))
        assert result.state == states.FAILURE
        assert said(result) == ["begins 1"]


def test_a_soft_limit_leaves_every_line(run_worker: Callable[..., Any], tmp_path: Path, pool: str) -> None:
    with run_worker(pool=pool):
        result = tasks.say_and_wait.apply_async(("begins", str(tmp_path / "never")), soft_time_limit=0.2)
        assert ended(result).state == states.FAILURE
        assert said(result) == ["begins 1"]


# The file


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Nobody else can write to the file."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_busy_file_keeps_nobody_from_logging_and_loses_nothing(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    gate, slowest = tmp_path / "gate", []

    @app.task(name="say_while_busy")
    def say_while_busy() -> None:
        tasks.logger.info("before")
        for number in range(15):
            started = time.perf_counter()
            tasks.logger.info("busy %d", number)
            slowest.append(time.perf_counter() - started)
            time.sleep(0.1)
        gate.touch()

    with run_worker(pool="threads", concurrency=1):
        result = say_while_busy.delay()
        wait_until(lambda: slowest)
        with locked(app.store.path):
            wait_until(gate.exists)
        result.get(timeout=20)
        assert said(result) == ["before", *(f"busy {number}" for number in range(15))]
    assert sorted(slowest)[len(slowest) // 2] < 0.05, "what is logged does not wait for the file"
    del app.registry["say_while_busy"]


def test_nothing_is_heard_of_a_thread_of_its_own_or_of_a_forked_process(
    run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool="prefork", concurrency=1):
        behind = ended(tasks.leave_a_thread_behind.delay(str(gate)))
        gate.touch()
        if hasattr(os, "fork"):
            assert said(ended(tasks.fork_and_say.delay())) == ["parent"]
        assert said(behind) == []


def test_the_thread_that_writes_ends_when_there_is_nothing_to_write(
    run_worker: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    monkeypatch.setattr(keeping, "_IDLE", 0.01)
    with run_worker(pool="threads"):
        result = tasks.say_and_wait.delay("begins", str(tmp_path / "gate"))
        wait_until(lambda: "litequeue-task-logs" in names())
        (tmp_path / "gate").touch()
        result.get(timeout=20)
        wait_until(lambda: "litequeue-task-logs" not in names())
        again = ended(tasks.say.delay("again"))
        assert said(again) == [f"again by {again.id}"]


# Where it is off


def test_a_worker_whose_tasks_keep_nothing_runs_them_as_before(make_plain: Callable[[], LiteQueue]) -> None:
    app = make_plain()

    @app.task(bind=True, name="plain.say")
    def say(self: Any) -> str:
        tasks.logger.info("unheard")
        return type(executor_of_this_thread()).__name__

    def executor_of_this_thread() -> Any:
        import inspect

        from litequeue.worker.executor import Executor

        frame = inspect.currentframe()
        while frame is not None:
            if isinstance(frame.f_locals.get("self"), Executor):
                return frame.f_locals["self"]
            frame = frame.f_back
        raise AssertionError("no executor runs this")

    with app.start_worker(pool="threads", concurrency=1):
        result = say.delay()
        assert result.get(timeout=20) == "Executor"
        assert result.logs == []
    say.log_lines = 5
    with app.start_worker(pool="threads", concurrency=1):
        result = say.delay()
        assert result.get(timeout=20) == "KeepingExecutor"
        assert said(result) == ["unheard"]
    assert say.apply().logs == []


@pytest.fixture
def make_plain(tmp_path: Path) -> Iterator[Callable[[], LiteQueue]]:
    apps: list[LiteQueue] = []

    def make() -> LiteQueue:
        apps.append(LiteQueue("plain", broker=str(tmp_path / "plain.db"), set_as_current=False))
        return apps[-1]

    yield make
    for app in apps:
        app.close()
