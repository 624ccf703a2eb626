"""The asyncio pool: coroutines side by side on one loop, everything else in threads beside it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from litequeue import chain, chord, group, signals, states
from litequeue.exceptions import (
    ImproperlyConfigured,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    Terminated,
    TimeLimitExceeded,
)
from tests.worker import asyncio_tasks as tasks
from tests.worker.conftest import lines, wait_until
from tests.worker.exercise import add, loop_id, quick

Run = Callable[..., Any]


@pytest.fixture
def serve(run_worker: Run) -> Run:
    """Start a worker of this pool."""

    @contextmanager
    def run(concurrency: int = 4, **options: Any) -> Iterator[Any]:
        with run_worker(pool="asyncio", concurrency=concurrency, **options) as worker:
            yield worker

    return run


def started(log: Path, count: int = 1) -> None:
    """Wait until so many tasks have noted their start."""
    wait_until(lambda: sum(line.startswith("start") for line in lines(log)) >= count)


def claimed_by(worker: Any, result: Any) -> Any:
    """The claim of a running task, as the worker sees it."""
    return next(
        claimed for claimed in worker.worker.runtime.store.held(worker.worker.holder) if claimed.id == result.id
    )


class Late:
    """The clerk's bell, rung by a slot just before it is silenced."""

    def __init__(self, clerk: Any) -> None:
        self._bell = clerk._bell
        self._clerk = clerk
        self.count = 0

    def recv(self, size: int) -> bytes:
        self.count += 1
        self._clerk._ring()
        return self._bell.recv(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bell, name)


# Side by side


def test_a_bell_that_rings_while_it_is_silenced_rings_again(app: Any, serve: Run) -> None:
    """Else what ends next is settled when the clerk has waited in vain for five seconds."""
    with serve() as worker:
        clerk = worker.worker._pool._clerk
        clerk._bell = late = Late(clerk)
        for number in range(20):
            assert add.delay(number, 1).get(timeout=4) == number + 1
        assert late.count
        clerk._bell = late._bell


def test_two_hundred_coroutines_run_at_once(app: Any, serve: Run) -> None:
    results = app.enqueue_many([tasks.meet.s("two hundred", 200) for _ in range(200)])
    with serve(concurrency=200):
        loops = {result.get(timeout=30) for result in results}
    assert len(loops) == 1, "each waited until all of them were there, on one loop"


def test_no_more_run_than_there_are_slots(app: Any, serve: Run, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    results = app.enqueue_many([tasks.wait_here.s(str(gate), str(log)) for _ in range(9)])
    with serve(concurrency=4):
        started(log, 4)
        quick.apply_async(queue="elsewhere")  # any other commit
        assert app.store.counts()["celery"] == {"running": 4, "ready": 5}
        gate.touch()
        assert {result.get(timeout=20) for result in results} == {"waited"}


def test_a_free_slot_takes_the_next_task_though_the_others_run_on(serve: Run, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with serve(concurrency=3):
        long = [tasks.wait_here.delay(str(gate), str(log)) for _ in range(2)]
        started(log, 2)
        assert [tasks.increase.delay(number).get(timeout=20) for number in range(30)] == list(range(1, 31))
        assert not any(result.ready() for result in long)
        gate.touch()
        assert [result.get(timeout=20) for result in long] == ["waited"] * 2


def test_plain_functions_run_in_threads_as_many_as_there_are_slots(serve: Run) -> None:
    with serve(concurrency=5):
        loop = tasks.loop_thread.delay().get(timeout=20)
        meeting = [tasks.meet_in_threads.delay("five", 5) for _ in range(5)]
        threads = {result.get(timeout=20) for result in meeting}
        again = [tasks.meet_in_threads.delay("five", 5) for _ in range(5)]
        assert {result.get(timeout=20) for result in again} == threads, "they are kept"
    assert len(threads) == 5
    assert not threads & {loop, threading.get_ident()}


def test_a_coroutine_behind_a_plain_function_runs_on_the_loop(serve: Run, tmp_path: Path) -> None:
    with serve():
        loop = tasks.loop_thread.delay().get(timeout=20)
        assert tasks.hidden.delay().get(timeout=20) == [loop, True]
        late = tasks.hidden.apply_async((str(tmp_path / "gate"),), soft_time_limit=0.1)
        with pytest.raises(SoftTimeLimitExceeded):
            late.get(timeout=20)


def test_at_most_once_tasks_among_others(app: Any, serve: Run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    calls = [tasks.once.s(str(gate)) if number % 2 else tasks.increase.s(number) for number in range(20)]
    results = app.enqueue_many(calls)
    with serve(concurrency=20):
        wait_until(lambda: app.store.counts()["celery"] == {"succeeded": 10, "running": 10})
        gate.touch()
        assert [result.get(timeout=20) for result in results] == [
            None if number % 2 else number + 1 for number in range(20)
        ]


def test_the_file_knows_when_the_worker_is_idle(app: Any, serve: Run, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"

    def idle() -> int:
        return next(process.idle for process in app.store.processes() if process.role == "worker")

    with serve(concurrency=2):
        for number in range(20):
            assert tasks.increase.delay(number).get(timeout=20) == number + 1
            wait_until(lambda: idle() == 1)
        running = [tasks.wait_here.delay(str(gate), str(log)) for _ in range(2)]
        started(log, 2)
        wait_until(lambda: idle() == 0)
        gate.touch()
        assert [result.get(timeout=20) for result in running] == ["waited"] * 2
        wait_until(lambda: idle() == 1)


def test_the_loop_is_that_of_the_programs_policy(serve: Run) -> None:
    made = []

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            loop = super().new_event_loop()
            made.append(id(loop))
            return loop

    asyncio.set_event_loop_policy(Policy())
    try:
        with serve():
            assert loop_id.delay().get(timeout=20) in made
    finally:
        asyncio.set_event_loop_policy(None)


# What a task knows of itself


def test_each_coroutine_sees_its_own_request_and_context(app: Any, serve: Run) -> None:
    results = app.enqueue_many([tasks.who_am_i.s(number) for number in range(100)])
    with serve(concurrency=50):
        assert all(result.get(timeout=20) for result in results)
        assert [tasks.colour_in_thread.delay("red").get(timeout=20) for _ in range(5)] == ["none"] * 5


def test_the_handlers_of_a_coroutine(serve: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serve():
        assert tasks.handled.delay(str(log)).get(timeout=20) == "value"
        assert lines(log) == ["before_start", "call", "run", "on_success value True", "after_return SUCCESS"]
        log.unlink()
        tasks.handled.delay(str(log), fail=True).get(timeout=20, propagate=False)
        assert lines(log) == ["before_start", "call", "run", "on_failure no", "after_return FAILURE"]


def test_the_signals_of_a_coroutine(serve: Run) -> None:
    seen: list[tuple[str, Any]] = []
    receivers = {
        name: lambda name=name, **given: seen.append((name, given.get("task_id") or given.get("result")))
        for name in ("task_prerun", "task_success", "task_failure", "task_postrun")
    }
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    try:
        with serve():
            good = tasks.increase.delay(1)
            assert good.get(timeout=20) == 2
            bad = tasks.fail_soon.delay("error")
            bad.get(timeout=20, propagate=False)
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)
    assert seen == [
        ("task_prerun", good.id),
        ("task_success", 2),
        ("task_postrun", good.id),
        ("task_prerun", bad.id),
        ("task_failure", bad.id),
        ("task_postrun", bad.id),
    ]


# Ends of a task


@pytest.mark.parametrize("kind", ["error", "exit", "keyboard", "generator"])
def test_whatever_a_coroutine_raises_ends_it_alone(serve: Run, kind: str) -> None:
    with serve(concurrency=1):
        result = tasks.fail_soon.delay(kind)
        result.get(timeout=20, propagate=False)
        assert result.state == states.FAILURE
        assert "in fail_soon" in result.traceback
        assert tasks.increase.delay(1).get(timeout=20) == 2


def test_retry_ignore_reject_and_replace_in_a_coroutine(serve: Run, tmp_path: Path) -> None:
    with serve():
        assert tasks.retry_soon.delay(2).get(timeout=20) == 2
        assert tasks.retried_for_it.delay(str(tmp_path / "there")).get(timeout=20) == "there"
        assert tasks.rejected.delay().get(timeout=20) == 2
        assert tasks.replaced.delay(4).get(timeout=20) == 5
        result = tasks.ignored.delay()
        result.get(timeout=20)
        assert result.state == "IGNORED"


def test_an_exception_group_arrives_with_its_members(serve: Run) -> None:
    with serve(), pytest.raises(ExceptionGroup) as caught:
        tasks.group_of_errors.delay().get(timeout=20)
    assert {(type(error), error.args) for error in caught.value.exceptions} == {
        (ValueError, ("one",)),
        (KeyError, ("two",)),
    }


def test_a_task_that_cancels_itself_fails(serve: Run) -> None:
    with serve(concurrency=1):
        result = tasks.cancel_self.delay(True)
        result.get(timeout=20, propagate=False)
        assert result.state == states.FAILURE
        assert "CancelledError" in result.traceback
        assert tasks.cancel_self.delay(False).get(timeout=20) == "returned", "it never noticed"
        assert tasks.increase.delay(1).get(timeout=20) == 2, "the slot is free"


def test_a_task_that_cancels_all_others_loses_none(app: Any, serve: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    calls = [tasks.wait_here.s(str(tmp_path / "gate"), str(log)) for _ in range(3)]
    with serve(concurrency=8):
        results = app.enqueue_many(calls)
        started(log, 3)
        assert tasks.cancel_the_others.delay().get(timeout=20) >= 3
        for result in results:
            result.get(timeout=20, propagate=False)
            assert result.state == states.FAILURE, "a CancelledError that nobody caught"
        meeting = app.enqueue_many([tasks.meet.s("after the cancellation", 8) for _ in range(8)])
        assert len({result.get(timeout=20) for result in meeting}) == 1, "all slots are free"


def test_what_a_task_leaves_on_the_loop_goes_on(serve: Run, tmp_path: Path) -> None:
    gate, log, other = tmp_path / "gate", tmp_path / "log", tmp_path / "other"
    with serve(concurrency=1):
        result = tasks.leave_behind.delay(str(gate), str(log))
        assert result.get(timeout=20) == "left"
        assert tasks.increase.delay(1).get(timeout=20) == 2, "it takes no slot"
        assert lines(log) == []
        gate.touch()
        wait_until(lambda: lines(log))
        assert lines(log) == [f"went on {result.id}"]
        assert tasks.leave_behind.delay(str(other), str(log)).get(timeout=20) == "left"
    assert lines(log)[1:] == ["cancelled"], "the end of the worker is its end"


def test_an_exit_in_what_a_task_left_behind_ends_nothing(serve: Run, caplog: pytest.LogCaptureFixture) -> None:
    with serve(concurrency=1):
        tasks.exit_in_background.delay().get(timeout=20)
        wait_until(lambda: "SystemExit(3) was raised on the event loop" in caplog.text)
        assert tasks.increase.delay(1).get(timeout=20) == 2


# With others


def test_canvases_of_coroutines_and_functions(serve: Run) -> None:
    with serve():
        assert chain(tasks.increase.s(1), add.s(10), tasks.increase.s()).delay().get(timeout=20) == 13
        assert chord((tasks.increase.s(number) for number in range(20)), tasks.total.s()).delay().get(timeout=20) == 210
        assert group(tasks.increase.s(1), add.s(1, 1)).delay().get(timeout=20) == [2, 2]


def test_a_coroutine_waits_for_a_task_of_its_own_worker(app: Any, serve: Run) -> None:
    with serve(concurrency=8):
        results = app.enqueue_many([tasks.ask_another.s(number) for number in range(4)])
        assert [result.get(timeout=20) for result in results] == [11, 12, 13, 14]


def test_a_call_in_place_inside_a_coroutine(serve: Run) -> None:
    with serve():
        assert tasks.apply_in_place.delay(1).get(timeout=20) == 2


# Limits


def test_the_soft_limit_is_raised_where_the_coroutine_waits(serve: Run, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    with serve():
        assert tasks.caught.apply_async((gate,), soft_time_limit=0.1).get(timeout=20) == "SoftTimeLimitExceeded 0"
        late = tasks.wait_here.apply_async((gate, str(tmp_path / "log")), soft_time_limit=0.1)
        with pytest.raises(SoftTimeLimitExceeded) as raised:
            late.get(timeout=20)
        assert type(raised.value) is SoftTimeLimitExceeded
        assert late.state == states.FAILURE
        assert "await exists(path)" in late.traceback
        assert "CancelledError" not in late.traceback
    assert lines(tmp_path / "log")[1:] == ["SoftTimeLimitExceeded True"]


@pytest.mark.parametrize("task", [tasks.in_task_group, tasks.in_wait_for])
def test_what_the_coroutine_waits_for_is_cancelled_before_it_goes_on(serve: Run, tmp_path: Path, task: Any) -> None:
    log = tmp_path / "log"
    with serve():
        limited = task.apply_async((str(tmp_path / "gate"), str(log)), soft_time_limit=0.1)
        assert limited.get(timeout=20) == "caught"
    *children, parent = lines(log)
    assert parent == "parent"
    assert len(children) == (3 if task is tasks.in_task_group else 1)


def test_a_limit_is_not_lost_on_what_swallows_it(serve: Run, tmp_path: Path) -> None:
    with serve():
        limited = tasks.deaf_child.apply_async((str(tmp_path / "gate"),), soft_time_limit=0.1)
        assert limited.get(timeout=20) == "caught"


def test_time_outs_of_asyncio_work_beside_a_limit(serve: Run) -> None:
    with serve():
        assert tasks.own_timeout.apply_async(soft_time_limit=0.1).get(timeout=20) == "timed out twice"


def test_the_soft_limit_of_the_worker(serve: Run, tmp_path: Path) -> None:
    with serve(soft_time_limit=0.1):
        assert tasks.increase.delay(1).get(timeout=20) == 2
        assert tasks.caught.delay(str(tmp_path / "gate")).get(timeout=20) == "SoftTimeLimitExceeded 0"
        gate, log = tmp_path / "gate", tmp_path / "log"
        with pytest.raises(SoftTimeLimitExceeded):
            tasks.cleaning_up.delay(str(gate), str(log)).get(timeout=20)
        assert lines(log)[1:] == ["SoftTimeLimitExceeded"], "in a thread too"


def test_a_hard_limit_is_refused_at_the_start(app: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="prefork"):
        app.start_worker(pool="asyncio", time_limit=1)


def test_a_hard_limit_of_a_call_is_raised_and_logged(
    serve: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = str(tmp_path / "gate")
    with serve():
        late = tasks.caught_twice.apply_async((gate,), soft_time_limit=0.1, time_limit=0.3)
        with pytest.raises(TimeLimitExceeded, match=r"0\.3"):
            late.get(timeout=20)
        assert late.state == states.FAILURE
    assert "Only prefork keeps hard limits" in caplog.text
    assert f"Hard time limit (0.3s) exceeded for {late.name}[{late.id}]" in caplog.text


# Interrupts


@pytest.mark.parametrize("task", [tasks.wait_here, tasks.cleaning_up])
def test_a_revoke_with_terminate_ends_that_task_alone(serve: Run, tmp_path: Path, task: Any) -> None:
    gate, log, other = tmp_path / "gate", tmp_path / "log", tmp_path / "other"
    with serve():
        neighbour = task.delay(str(gate), str(other))
        result = task.delay(str(gate), str(log))
        started(log)
        started(other)
        result.revoke(terminate=True)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)
        assert result.state == states.REVOKED
        assert lines(log)[1:] in (["Terminated True"], ["Terminated"])
        gate.touch()
        assert neighbour.get(timeout=20) == "waited"


def test_an_interrupt_finds_only_what_runs(serve: Run, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with serve() as worker:
        pool = worker.worker.pool
        result = tasks.wait_here.delay(str(gate), str(log))
        started(log)
        claimed = claimed_by(worker, result)
        assert not pool.interrupt(claimed._replace(attempt=2), Terminated("SIGTERM"))
        assert not result.ready()
        assert pool.interrupt(claimed, SoftTimeLimitExceeded())
        with pytest.raises(SoftTimeLimitExceeded):
            result.get(timeout=20)
        assert not pool.interrupt(claimed, Terminated("SIGTERM"))


# Stops and sizes


def test_a_cold_stop_cancels_coroutines_and_gives_them_back(app: Any, serve: Run, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    failed: list[Any] = []

    def on_failure(**given: Any) -> None:
        failed.append(given)

    signals.task_failure.connect(on_failure)
    try:
        with serve(concurrency=2) as worker:
            results = [tasks.wait_here.delay(str(gate), str(log)) for _ in range(3)]
            started(log, 2)
            assert worker.stop(warm=False, timeout=20)
    finally:
        signals.task_failure.disconnect(on_failure)
    assert lines(log)[2:] == ["CancelledError True"] * 2
    assert app.store.counts() == {"celery": {"ready": 3}}
    assert failed == [], "to be given back is not to fail"
    gate.touch()
    with serve():
        assert [result.get(timeout=20) for result in results] == ["waited"] * 3


def test_what_takes_no_notice_of_a_cold_stop_ends_first(app: Any, serve: Run, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with serve() as worker:
        result = tasks.stubborn.delay(str(gate), str(log))
        started(log)
        assert not worker.stop(warm=False, timeout=0)
        wait_until(lambda: "cancelled" in lines(log))
        gate.touch()
        assert worker.stop(warm=False, timeout=20)
    assert result.get(timeout=1) == "stayed", "it has ended well, and that counts"


def test_a_pool_grows_and_shrinks(app: Any, serve: Run, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with serve(concurrency=2) as worker:
        results = app.enqueue_many([tasks.wait_here.s(str(gate), str(log)) for _ in range(10)])
        started(log, 2)
        worker.worker.resize(5)
        started(log, 5)
        worker.worker.resize(1)
        assert app.store.counts()["celery"] == {"running": 5, "ready": 5}, "what runs goes on"
        gate.touch()
        assert {result.get(timeout=20) for result in results} == {"waited"}
        alone, first = [tasks.wait_here.delay(str(tmp_path / "next"), str(tmp_path / "log2")) for _ in range(2)]
        started(tmp_path / "log2")
        assert app.store.counts()["celery"]["ready"] == 1
        (tmp_path / "next").touch()
        assert (alone.get(timeout=20), first.get(timeout=20)) == ("waited", "waited")


# A loop that does not go on


@pytest.mark.parametrize("task", [tasks.block, tasks.block_in_child])
def test_a_coroutine_that_blocks_the_loop_is_named_once(
    serve: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, task: Any
) -> None:
    def named() -> int:
        return caplog.text.count("keeps the event loop from going on")

    with serve():
        for number in range(2):
            gate = tmp_path / str(number)
            result = task.delay(str(gate))
            if number == 0:
                wait_until(named)
            else:
                time.sleep(1.6)  # nothing is to be seen of it
            gate.touch()
            result.get(timeout=20)
        assert tasks.increase.delay(1).get(timeout=20) == 2
    assert named() == 1
    record = next(record for record in caplog.records if "keeps the event loop" in record.getMessage())
    assert record.levelno == logging.WARNING
