"""The journal under several workers, kills, and its bounds."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from tests.events import eventful
from tests.events.conftest import Project, ended, kept, types_of, wait_until

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")

NEXT = {
    "begin": {"task-received"},
    "task-received": {"task-started"},
    "task-started": {"task-succeeded", "task-failed", "task-released", "task-rescued"},
    "task-released": {"task-received"},
    "task-rescued": {"task-received"},
    "task-failed": set(),
    "task-succeeded": set(),
}
"""What may follow an event of a task that is neither retried nor revoked."""


def check_order(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """That no number is left out, and each task's events come in a possible order; the types by task."""
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    by_task: dict[str, list[str]] = {}
    for event in events:
        if event["type"].startswith("task-"):
            by_task.setdefault(event["uuid"], []).append(event["type"])
    for types in by_task.values():
        for before, after in zip(["begin", *types], types, strict=False):
            assert after in NEXT[before], types
    return by_task


@posix_only
def test_two_workers_and_a_kill_leave_no_gap(project: Project) -> None:
    results = [project.send("add", n, n) for n in range(150)]
    holding = project.hold("held")
    workers = [project.worker("-E", "-c", "2", "-n", f"w{number}@here").ready() for number in range(2)]
    results += [project.send("add", n, n) for n in range(150)]
    runner = project.started("held")
    node = project.app.store.task(holding.id).worker
    victim = workers[int(node[1])]
    os.killpg(victim.pid, signal.SIGKILL)
    results += [project.send("add", n, n) for n in range(50)]
    third = project.worker("-E", "-c", "1", "-n", "w3@here").ready()
    project.started("held", not_by=runner)
    project.release("held")
    ended(holding, *results)
    for worker in (*workers, third):
        if worker is not victim:
            assert worker.stop() == 0
    by_task = check_order(kept(project.app))
    assert set(by_task) == {holding.id, *(result.id for result in results)}
    assert all(types[-1] == "task-succeeded" for types in by_task.values())
    assert "task-rescued" in by_task[holding.id]
    assert by_task[holding.id][-4:] == ["task-rescued", "task-received", "task-started", "task-succeeded"]
    state = project.app.events.State()
    for _ in project.app.events.Receiver(handlers={"*": state.event}, after=0).read():
        pass
    assert {task.uuid: task.state for task in state.tasks.values()} == {
        result.id: result.state for result in (holding, *results)
    }
    assert {worker.hostname: worker.alive for worker in state.workers.values() if worker.hostname != node} == {
        name: False for name in ("w0@here", "w1@here", "w3@here") if name != node
    }


@posix_only
def test_a_worker_without_the_option_writes_nothing_beside_one_with_it(project: Project) -> None:
    quiet = project.worker("-c", "1", "-n", "quiet@here", "-Q", "quiet").ready()
    loud = project.worker("-E", "-c", "1", "-n", "loud@here", "-Q", "loud").ready()
    silent, told = project.send("add", 1, 1, queue="quiet"), project.send("add", 1, 1, queue="loud")
    ended(silent, told)
    assert quiet.stop() == loud.stop() == 0
    assert types_of(project.app, silent.id) == []
    assert types_of(project.app, told.id) == ["task-received", "task-started", "task-succeeded"]
    assert {event["hostname"] for event in kept(project.app)} == {"loud@here"}


@pytest.mark.parametrize("pool", ["prefork", "solo", "asyncio"])
def test_every_pool_writes_them(app: Any, run_worker: Any, pool: str) -> None:
    with run_worker(pool=pool, concurrency=1):
        ended(result := eventful.add.delay(1), failed := eventful.fail.delay())
    assert types_of(app, result.id) == ["task-received", "task-started", "task-succeeded"]
    assert types_of(app, failed.id) == ["task-received", "task-started", "task-failed"]


def test_a_worker_keeps_the_journal_within_its_limit(app: Any, run_worker: Any) -> None:
    app.conf.update(event_limit=20, prune_interval=0.02)
    with run_worker():
        for n in range(30):  # one by one: the events of a transaction go together, and a batch would be one
            ended(eventful.add.delay(n))
        wait_until(lambda: app.store.event_range().first > 1)
        wait_until(lambda: (bounds := app.store.event_range()).last - bounds.first < 30)
    events = kept(app)
    assert [event["number"] for event in events] == list(range(events[0]["number"], events[-1]["number"] + 1))


def test_a_worker_deletes_events_that_are_old(app: Any, run_worker: Any) -> None:
    app.conf.update(event_retention=0.01, prune_interval=0.02)
    with run_worker():
        ended(eventful.add.delay(1))
        wait_until(lambda: app.store.event_range().first > 1)


def test_the_journal_of_a_retention_of_nothing_is_kept_as_long_as_the_limit_allows(app: Any) -> None:
    app.conf.event_retention = 0
    with app.events.Dispatcher() as dispatcher:
        dispatcher.send("a-new")
        dispatcher.send("a-new")
    app.store.prune(100)
    assert app.store.event_range() == (1, 2)


def test_a_task_that_was_revoked_while_it_ran_ends_revoked(app: Any, run_worker: Any, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    with run_worker():
        result = eventful.hold_and_retry.delay(str(gate))
        wait_until((tmp_path / f"gate.{result.id}").exists)
        result.revoke()
        gate.touch()
        ended(result)
    state = app.events.State()
    for _ in app.events.Receiver(handlers={"*": state.event}, after=0).read():
        pass
    assert result.state == "REVOKED"
    assert state.tasks[result.id].state == "REVOKED", types_of(app, result.id)
