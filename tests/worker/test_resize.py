"""More slots, fewer slots, other processes, other queues: while the worker runs, and no task is interrupted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from litequeue.exceptions import ImproperlyConfigured, OperationalError
from tests.worker import supervisor_tasks
from tests.worker.supervisor_tasks import lines, pid, quick, starts, wait_for, wait_until

RESIZABLE = ("prefork", "threads", "asyncio")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    supervisor_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield supervisor_tasks.app
    supervisor_tasks.app.close()


def children(app: Any) -> list[int]:
    return [record.identity.pid for record in app.store.processes() if record.role == "child"]


@pytest.mark.parametrize("pool", RESIZABLE)
def test_more_slots_run_more_at_once(app: Any, tmp_path: Path, pool: str) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool=pool, concurrency=1, beat=False) as embedded:
        results = [wait_for.delay(str(gate), str(log)) for _ in range(4)]
        wait_until(lambda: len(starts(log)) == 1)
        embedded.worker.resize(3)
        assert embedded.worker.concurrency == 3
        (entry,) = (record for record in app.store.processes() if record.role == "worker")
        assert entry.info["concurrency"] == 3, "the file says so too"
        wait_until(lambda: len(starts(log)) == 3)
        time.sleep(0.1)
        assert len(starts(log)) == 3, "and no more than that"
        gate.touch()
        assert [each.get(timeout=20) for each in results] == [1, 1, 1, 1]


@pytest.mark.parametrize("pool", RESIZABLE)
def test_fewer_slots_run_fewer_at_once_and_interrupt_nothing(app: Any, tmp_path: Path, pool: str) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool=pool, concurrency=3, beat=False) as embedded:
        first = [wait_for.delay(str(gate), str(log)) for _ in range(3)]
        wait_until(lambda: len(starts(log)) == 3)
        embedded.worker.resize(1)
        gate.touch()
        assert [each.get(timeout=20) for each in first] == [1, 1, 1]
        if pool == "prefork":
            wait_until(lambda: len(children(app)) == 1)
        second, other = tmp_path / "second", tmp_path / "other"
        results = [wait_for.delay(str(second), str(other)) for _ in range(3)]
        wait_until(lambda: starts(other))
        time.sleep(0.2)
        assert len(starts(other)) == 1
        second.touch()
        assert [each.get(timeout=20) for each in results] == [1, 1, 1]


def test_idle_children_end_first(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=3, beat=False) as embedded:
        result = wait_for.delay(str(gate), str(log))
        busy = int(wait_until(lambda: starts(log))[0][2])
        embedded.worker.resize(1)
        try:
            wait_until(lambda: children(app) == [busy], 5)
        finally:
            gate.touch()
        assert result.get(timeout=20) == 1


def test_no_more_run_at_once_than_there_are_slots_though_one_is_still_ending(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=2, beat=False) as embedded:
        for _ in range(5):
            wait_for.delay(str(gate), str(log))
        wait_until(lambda: len(starts(log)) == 2)
        embedded.worker.resize(1)
        embedded.worker.resize(2)
        time.sleep(0.3)
        assert len(starts(log)) == 2
        gate.touch()
        wait_until(lambda: len(lines(log)) == 10)
        wait_until(lambda: len(children(app)) == 2)


def test_no_slots_at_all_and_back(app: Any) -> None:
    with app.start_worker(pool="prefork", concurrency=1, beat=False) as embedded:
        embedded.worker.resize(0)
        wait_until(lambda: children(app) == [])
        result = quick.delay()
        time.sleep(0.1)
        assert not embedded.worker.stopped.is_set()
        embedded.worker.resize(1)
        assert result.get(timeout=20) == 0


def test_what_cannot_be(app: Any) -> None:
    with app.start_worker(pool="solo", beat=False) as embedded, pytest.raises(ImproperlyConfigured, match="prefork"):
        embedded.worker.resize(2)
    with app.start_worker(pool="threads", concurrency=1, beat=False) as embedded:
        with pytest.raises(ValueError, match="-1"):
            embedded.worker.resize(-1)
        with pytest.raises(ImproperlyConfigured, match="restart the worker"):
            embedded.worker.restart()
    with pytest.raises(OperationalError, match="does not run"):
        embedded.worker.resize(2)


def test_a_solo_worker_inside_a_task_says_so_in_time(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool="solo", beat=False) as embedded:
        assert embedded.worker.call(lambda: 7) == 7
        result = wait_for.delay(str(gate), str(log))
        wait_until(lambda: starts(log))
        began = time.monotonic()
        with pytest.raises(OperationalError, match="inside a task"):
            embedded.worker.call(lambda: 7)
        assert time.monotonic() - began < 3
        gate.touch()
        assert result.get(timeout=20) == 1
        assert embedded.worker.call(lambda: 8) == 8


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_call_returns_and_raises_what_the_function_does(app: Any, pool: str) -> None:
    with app.start_worker(pool=pool, concurrency=1, beat=False) as embedded:
        assert embedded.worker.call(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            embedded.worker.call(lambda: 1 / 0)
        assert quick.delay().get(timeout=20) == 0


# Other processes


def test_every_child_is_replaced_and_no_task_is_interrupted(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool="prefork", concurrency=3, beat=False) as embedded:
        before = set(children(app))
        running = wait_for.delay(str(gate), str(log))
        wait_until(lambda: starts(log))
        embedded.worker.restart()
        wait_until(lambda: len(before & set(children(app))) == 1)
        results = [quick.delay(number=n) for n in range(20)]
        assert [each.get(timeout=20) for each in results] == list(range(20)), "the others go on"
        gate.touch()
        assert running.get(timeout=20) == 1
        wait_until(lambda: len(children(app)) == 3 and not before & set(children(app)))


def test_there_is_always_somebody_to_take_a_task(app: Any) -> None:
    with app.start_worker(pool="prefork", concurrency=1, beat=False) as embedded:
        (before,) = children(app)
        embedded.worker.restart()
        slowest = 0.0
        while before in children(app):
            began = time.monotonic()
            assert quick.delay().get(timeout=20) == 0
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.5


def test_a_restart_may_import_changed_modules(app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "changing_tasks.py"
    text = """
from litequeue import LiteQueue
app = LiteQueue("changing", broker=%r, set_as_current=False)
@app.task
def answer():
    return %d
"""
    path = str(tmp_path / "queue.db")
    module.write_text(text % (path, 1))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import changing_tasks  # type: ignore[import-not-found]

    gate, log = tmp_path / "gate", tmp_path / "log"
    try:
        with changing_tasks.app.start_worker(pool="prefork", concurrency=2, beat=False) as embedded:
            assert changing_tasks.answer.delay().get(timeout=20) == 1
            before = set(children(changing_tasks.app))
            module.write_text(text % (path, 22))
            embedded.worker.restart(reload=True)
            wait_until(lambda: not before & set(children(changing_tasks.app)))
            assert {changing_tasks.answer.delay().get(timeout=20) for _ in range(10)} == {22}
            again = set(children(changing_tasks.app))
            for each in before:
                wait_until(lambda each=each: not psutil.pid_exists(each))
            os.kill(min(again), 9)
            wait_until(lambda: len(children(changing_tasks.app)) == 2)
            assert changing_tasks.answer.delay().get(timeout=20) == 22, "the new fork server tells of deaths too"
    finally:
        changing_tasks.app.close()
        sys.modules.pop("changing_tasks", None)
    assert not log.exists() and not gate.exists()


# Other queues


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_queues_come_and_go(app: Any, pool: str) -> None:
    with app.start_worker(pool=pool, concurrency=1, beat=False, queues=["one"]) as embedded:
        other = quick.apply_async(queue="two", kwargs={"number": 2})
        assert quick.apply_async(queue="one").get(timeout=20) == 0
        assert not other.ready()
        embedded.worker.add_queues(["two"])
        assert other.get(timeout=20) == 2
        embedded.worker.cancel_queues(["one"])
        assert embedded.worker.queues == ("two",)
        left = quick.apply_async(queue="one")
        assert quick.apply_async(queue="two", kwargs={"number": 4}).get(timeout=20) == 4
        assert not left.ready()


def test_a_replaced_child_has_the_queues_of_its_worker(app: Any) -> None:
    with app.start_worker(pool="prefork", concurrency=1, beat=False, queues=["one"]) as embedded:
        embedded.worker.add_queues(["two"])
        first = pid.apply_async(queue="two").get(timeout=20)
        os.kill(first, 9)
        assert pid.apply_async(queue="two").get(timeout=20) != first
        assert {record.queues for record in app.store.processes() if record.role == "child"} == {("one", "two")}
