"""Tasks that can be aborted."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.contrib.abortable import ABORTED, AbortableAsyncResult, AbortableTask
from tests.worker.conftest import wait_until


@pytest.fixture
def started() -> threading.Event:
    return threading.Event()


@pytest.fixture
def crunch(app: LiteQueue, started: threading.Event) -> Any:
    """A task that runs until it is aborted."""

    @app.task(bind=True, base=AbortableTask)
    def crunch(self: Any) -> str:
        started.set()
        deadline = time.monotonic() + 20
        while not self.is_aborted():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return "stopped"

    return crunch


def test_its_result_can_abort(crunch: Any) -> None:
    result = crunch.apply_async()
    assert isinstance(result, AbortableAsyncResult)
    assert isinstance(crunch.delay(), AbortableAsyncResult)
    assert isinstance(crunch.AsyncResult(result.id), AbortableAsyncResult)
    assert not result.is_aborted()


def test_a_running_task_ends_of_its_own_accord(crunch: Any, started: threading.Event, worker: Any) -> None:
    worker()
    result = crunch.delay()
    assert started.wait(10)
    assert result.abort() is True
    assert result.get(timeout=10) == "stopped"
    assert result.state == "SUCCESS"
    assert not result.is_aborted()


def test_it_shows_aborted_until_it_ends(app: LiteQueue, started: threading.Event, worker: Any) -> None:
    go = threading.Event()

    @app.task(bind=True, base=AbortableTask)
    def slow(self: Any) -> bool:
        started.set()
        assert go.wait(20)
        return bool(self.is_aborted())

    worker()
    result = slow.delay()
    assert started.wait(10)
    result.abort()
    assert result.state == ABORTED == "ABORTED"
    assert result.is_aborted()
    assert slow.is_aborted(task_id=result.id)
    assert not result.ready()
    go.set()
    assert result.get(timeout=10) is True


def test_a_task_that_is_aborted_before_its_start_starts_and_is_told(crunch: Any, worker: Any) -> None:
    result = crunch.delay()
    result.abort()
    assert result.state == ABORTED
    assert result.is_aborted()
    worker()
    assert result.get(timeout=10) == "stopped"


def test_a_revoke_tells_it_as_well(crunch: Any, started: threading.Event, worker: Any) -> None:
    worker()
    result = crunch.delay()
    assert started.wait(10)
    result.revoke()
    assert result.get(timeout=10) == "stopped"


def test_a_task_that_has_ended_cannot_be_aborted(app: LiteQueue, worker: Any) -> None:
    @app.task(base=AbortableTask)
    def quick() -> int:
        return 1

    worker()
    result = quick.delay()
    assert result.get(timeout=10) == 1
    assert result.abort() is False
    wait_until(lambda: result.state == "SUCCESS")
    assert AbortableAsyncResult("nobody", app=app).abort() is False


def test_without_a_worker_nothing_is_aborted(app: LiteQueue) -> None:
    @app.task(bind=True, base=AbortableTask)
    def ask(self: Any) -> bool:
        return bool(self.is_aborted())

    assert ask() is False
    assert ask.apply().get() is False


def test_the_result_of_a_task_of_another_class_is_never_aborted(app: LiteQueue) -> None:
    class Plain(AbortableTask):
        abstract = True

        def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:
            return self.app.AsyncResult(task_id, **kwargs)

    @app.task(bind=True, base=Plain)
    def plain(self: Any) -> None: ...

    result = plain.delay()
    AbortableAsyncResult(result.id, app=app).abort()
    assert plain.is_aborted(task_id=result.id) is False
