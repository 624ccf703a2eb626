"""Revoking tasks: those that wait, those that run, and ending the latter."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from litequeue import LiteQueue, chain, group
from litequeue.exceptions import Snooze, SoftTimeLimitExceeded, TaskRevokedError, Terminated
from litequeue.result.revoking import signal_name
from tests.app.conftest import row
from tests.worker.conftest import wait_until


class Hold:
    """A task that runs until it is let go."""

    def __init__(self, app: LiteQueue) -> None:
        self.started, self.go = threading.Semaphore(0), threading.Event()
        self.cancelled: list[bool] = []

        @app.task(name="proj.hold", bind=True, max_retries=5)
        def hold(task: Any, then: str = "return") -> str:
            self.started.release()
            deadline = time.monotonic() + 20
            while not self.go.wait(0.005):  # short waits: an exception is only raised between two of them
                assert time.monotonic() < deadline
            self.cancelled.append(task.is_cancelled())
            if then == "retry":
                raise task.retry(countdown=0)
            if then == "snooze":
                raise Snooze(0)
            return "done"

        self.task = hold

    def running(self, *args: Any, **options: Any) -> Any:
        """The result of a call of it that has started."""
        result = self.task.apply_async(args, **options)
        assert self.started.acquire(timeout=10)
        return result


@pytest.fixture
def hold(app: LiteQueue) -> Any:
    held = Hold(app)
    yield held
    held.go.set()


# Without ending what runs


@pytest.mark.parametrize("options", [{}, {"countdown": 3600}])
def test_a_task_that_waits_never_starts(hold: Hold, options: Any) -> None:
    result = hold.task.apply_async(**options)
    assert result.revoke() is None
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError, match="revoked"):
        result.get(timeout=1)


def test_a_task_that_runs_is_told_and_its_outcome_stands(hold: Hold, worker: Any) -> None:
    worker()
    result = hold.running()
    result.revoke()
    assert result.state == "STARTED"
    hold.go.set()
    assert result.get(timeout=10) == "done"
    assert hold.cancelled == [True]


def test_a_task_that_nobody_revoked_is_not_cancelled(hold: Hold, worker: Any) -> None:
    worker()
    result = hold.running()
    hold.go.set()
    assert result.get(timeout=10) == "done"
    assert hold.cancelled == [False]


def test_what_is_run_in_place_is_never_cancelled(app: LiteQueue) -> None:
    @app.task(bind=True)
    def ask(self: Any) -> bool:
        return bool(self.is_cancelled())

    assert ask() is False
    assert ask.apply().get() is False


@pytest.mark.parametrize("then", ["retry", "snooze"])
def test_a_revoked_task_is_not_run_again(hold: Hold, worker: Any, then: str) -> None:
    worker()
    result = hold.running(then)
    result.revoke()
    hold.go.set()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert result.state == "REVOKED"
    assert len(hold.cancelled) == 1


def test_a_group_is_revoked_in_one_go(hold: Hold, worker: Any) -> None:
    result = group(hold.task.s() for _ in range(5)).delay()
    assert result.revoke() is None
    assert [member.state for member in result] == ["REVOKED"] * 5


# Ending what runs


def test_a_running_task_is_ended(hold: Hold, worker: Any) -> None:
    worker()
    result = hold.running()
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert result.state == "REVOKED"
    assert hold.cancelled == []


def test_the_worker_goes_on_after_it(hold: Hold, worker: Any) -> None:
    worker(concurrency=1)
    first = hold.running()
    first.revoke(terminate=True, wait=True, timeout=10)
    second = hold.running()
    hold.go.set()
    assert second.get(timeout=10) == "done"


def test_waiting_for_the_end(hold: Hold, worker: Any) -> None:
    node = worker().hostname
    result = hold.running()
    replies = result.revoke(terminate=True, signal="SIGKILL", wait=True, timeout=10)
    assert replies == [{node: {"ok": f"terminate: {result.id}"}}]
    assert result.state == "REVOKED"


def test_waiting_for_a_task_that_nobody_runs(hold: Hold) -> None:
    result = hold.task.delay()
    assert result.revoke(terminate=True, wait=True, timeout=10) == []
    assert result.state == "REVOKED"


def test_waiting_ends_with_the_time(app: LiteQueue, hold: Hold, worker: Any) -> None:
    started, go = threading.Event(), threading.Event()

    @app.task
    def stubborn() -> str:
        while True:
            try:
                started.set()
                while not go.wait(0.005):
                    pass
                return "at last"
            except BaseException:
                if go.is_set():
                    raise

    worker()
    result = stubborn.delay()
    assert started.wait(10)
    began = time.monotonic()
    assert result.revoke(terminate=True, wait=True, timeout=0.2) == []
    assert 0.2 <= time.monotonic() - began < 5
    go.set()
    result.get(timeout=10, propagate=False)


def test_waiting_for_the_flag_only(hold: Hold, worker: Any) -> None:
    node = worker().hostname
    result = hold.running()
    assert result.revoke(wait=True) == [{node: {"ok": f"tasks {result.id} flagged as revoked"}}]
    hold.go.set()
    assert result.get(timeout=10) == "done"


def test_a_group_is_ended(hold: Hold, worker: Any) -> None:
    node = worker(concurrency=2).hostname
    result = group(hold.task.s() for _ in range(4)).delay()
    for _ in range(2):
        assert hold.started.acquire(timeout=10)
    [reply] = result.revoke(terminate=True, wait=True, timeout=10)
    assert reply[node]["ok"].startswith("terminate: ")
    wait_until(lambda: [member.state for member in result] == ["REVOKED"] * 4)


def test_what_waits_for_an_ended_task_is_revoked_with_it(hold: Hold, worker: Any) -> None:
    worker()
    result = chain(hold.task.si(), hold.task.si()).delay()
    assert hold.started.acquire(timeout=10)
    result.parent.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert result.state == "REVOKED"


def test_an_ended_task_is_ended_by_stamp(hold: Hold, worker: Any) -> None:
    node = worker().hostname
    signature = hold.task.s()
    signature.stamp(customer="c1")
    result = signature.delay()
    assert hold.started.acquire(timeout=10)
    replies = result.revoke_by_stamped_headers({"customer": ["c1"]}, terminate=True, wait=True)
    assert replies == [{node: {"ok": "headers {'customer': ['c1']} flagged as revoked"}}]
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)


def test_a_task_that_catches_its_end_is_revoked_all_the_same(app: LiteQueue, worker: Any) -> None:
    started, caught = threading.Event(), threading.Event()

    @app.task
    def careful() -> str:
        try:
            started.set()
            while True:
                time.sleep(0.005)
        except Terminated:
            caught.set()
            raise

    worker()
    result = careful.delay()
    assert started.wait(10)
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert caught.is_set()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_sigusr1_is_the_soft_time_limit(app: LiteQueue, worker: Any) -> None:
    started = threading.Event()

    @app.task
    def careful() -> str:
        try:
            started.set()
            while True:
                time.sleep(0.005)
        except SoftTimeLimitExceeded:
            return "cleaned up"

    worker()
    result = careful.delay()
    assert started.wait(10)
    result.revoke(terminate=True, signal="SIGUSR1")
    assert result.get(timeout=10) == "cleaned up"


# Signals


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "SIGTERM"),
        ("SIGTERM", "SIGTERM"),
        ("int", "SIGINT"),
        (" sigint ", "SIGINT"),
        (signal.SIGTERM, "SIGTERM"),
        (int(signal.SIGINT), "SIGINT"),
    ],
)
def test_names_of_signals(given: Any, name: str) -> None:
    assert signal_name(given) == name


@pytest.mark.parametrize(
    ("given", "error"), [("SIGNONE", ValueError), (4711, ValueError), (True, TypeError), (1.5, TypeError)]
)
@pytest.mark.parametrize("terminate", [True, False])
def test_a_signal_that_does_not_exist_is_an_error(
    hold: Hold, given: Any, error: type[Exception], terminate: bool
) -> None:
    result = hold.task.apply_async(countdown=3600)
    several = group(hold.task.s(), hold.task.s()).apply_async(countdown=3600)
    for call in (
        lambda: result.revoke(terminate=terminate, signal=given),
        lambda: several.revoke(terminate=terminate, signal=given),
        lambda: result.revoke_by_stamped_headers({"a": ["b"]}, terminate=terminate, signal=given),
    ):
        with pytest.raises(error, match="signal"):
            call()
    assert (result.state, row(several[0]).state) == ("PENDING", "scheduled")
