"""How things stand, in memory, by what events tell."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from litequeue.core import clock
from litequeue.events.state import State, Task, Worker, heartbeat_expires
from tests.events import eventful
from tests.events.conftest import NODE, ended

OTHER = "w2@here"


def event(type: str, at: float = 100.0, **fields: Any) -> dict[str, Any]:
    """An event as Celery's workers send it, without a number."""
    base = {"type": type, "timestamp": at, "local_received": at, "hostname": NODE, "clock": 1}
    return {**base, **({"uuid": "t1"} if type.startswith("task-") else {}), **fields}


def read(app: Any, state: Any = None) -> Any:
    """A State that was told all there is."""
    state = app.events.State() if state is None else state
    for _ in app.events.Receiver(handlers={"*": state.event}, after=0).read():
        pass
    return state


def test_at_the_end_it_says_what_the_file_says(app: Any, run_worker: Any, tmp_path: Path) -> None:
    app.conf.task_send_sent_event = True
    with run_worker():
        results = [eventful.add.delay(n) for n in range(5)]
        results += [eventful.fail.delay(), eventful.try_twice.delay(), eventful.try_twice.delay(succeed=False)]
        results += [eventful.ignore.delay(), eventful.reject_once.delay(), eventful.become_add.delay()]
        results += [eventful.refuse.delay(), eventful.snooze_once.delay(str(tmp_path / "mark"))]
        results += [eventful.add.apply_async((1,), expires=-1)]
        ended(*results)
        again = eventful.fail.delay()
        ended(again)
        app.control.retry(again.id)
        again = app.AsyncResult(again.id)
        ended(again)
    late = eventful.add.apply_async((1,), countdown=60)
    state = read(app)
    for result in [*results, again, late]:
        assert state.tasks[result.id].state == result.state, result.id
    assert state.event_count == app.store.event_range().last
    done = state.tasks[results[0].id]
    assert (done.name, done.result, done.args, done.worker.hostname) == (eventful.add.name, "2", "(0,)", NODE)
    assert done.received == done.started <= done.succeeded == done.timestamp
    assert done.client is not None
    assert done.ready
    failed = state.tasks[again.id]
    assert failed.exception == "ValueError('bad')"
    assert "ValueError" in failed.traceback


def test_a_worker_that_runs_is_alive_and_one_that_stopped_is_not(app: Any, run_worker: Any) -> None:
    with run_worker():
        state = read(app)
        (worker,) = state.alive_workers()
        assert (worker.hostname, worker.alive, worker.status_string) == (NODE, True, "ONLINE")
        assert worker.heartbeat_expires == worker.heartbeats[-1] + 2 * worker.freq
        assert (worker.active, worker.processed, worker.sw_ident) == (0, 0, "litequeue")
    state = read(app)
    assert [worker.status_string for worker in state.workers.values()] == ["OFFLINE"]
    assert list(state.alive_workers()) == []


def test_what_was_heard_long_ago_makes_nobody_alive() -> None:
    state = State()
    now = clock.now()
    state.event(event("worker-online", at=now - 3600, local_received=now, freq=10.0))
    assert not state.workers[NODE].alive
    state.event(event("worker-heartbeat", at=now, freq=10.0))
    assert state.workers[NODE].alive


def test_tasks_by_name_by_worker_and_by_time(app: Any, run_worker: Any) -> None:
    with run_worker(), run_worker(hostname=OTHER):
        results = [eventful.add.delay(n) for n in range(3)] + [eventful.fail.delay()]
        ended(*results)
    state = read(app)
    assert state.task_types() == [eventful.add.name, eventful.fail.name]
    assert {task.id for task in state.tasks_by_type[eventful.add.name]} == {result.id for result in results[:3]}
    of_name = list(state.tasks_by_type(eventful.add.name))
    assert [uuid for uuid, _ in of_name] == [task.uuid for _, task in of_name]
    assert len(of_name) == 3
    by_worker = [uuid for node in (NODE, OTHER) for uuid, _ in state.tasks_by_worker(node)]
    assert sorted(by_worker) == sorted(result.id for result in results)
    times = [task.number for _, task in state.tasks_by_time()]
    assert times == sorted(times, reverse=True)
    assert [uuid for uuid, _ in state.tasks_by_timestamp(limit=2, reverse=False)] == [
        uuid for uuid, _ in reversed(list(state.tasks_by_time()))
    ][:2]
    assert len(list(state.itertasks(limit=2))) == 2


def test_caller_and_called_know_each_other(app: Any, run_worker: Any) -> None:
    with run_worker():
        outer = eventful.call_add.delay()
        ended(outer)
        inner = app.AsyncResult(outer.get())
        ended(inner)
    state = read(app)
    parent, child = state.tasks[outer.id], state.tasks[inner.id]
    assert (child.parent, child.root) == (parent, parent)
    assert list(parent.children) == [child]
    assert parent.as_dict()["children"] == [inner.id]


def test_a_child_that_is_heard_of_first() -> None:
    state = State()
    state.event(event("task-received", uuid="child", parent_id="parent", name="a"))
    state.event(event("task-received", uuid="parent", name="b"))
    assert [task.uuid for task in state.tasks["parent"].children] == ["child"]


@pytest.mark.parametrize(
    ("types", "state"),
    [
        (["task-sent"], "PENDING"),
        (["task-received", "task-sent"], "RECEIVED"),
        (["task-started", "task-received"], "STARTED"),
        (["task-succeeded", "task-received", "task-started"], "SUCCESS"),
        (["task-received", "task-retried", "task-received"], "RECEIVED"),
        (["task-started", "task-progress"], "PROGRESS"),
        (["task-started", "task-released"], "STARTED"),
    ],
)
def test_events_without_numbers_may_come_in_any_order(types: list[str], state: str) -> None:
    known = State()
    for type in types:
        known.event(event(type, name="a", args="(1,)"))
    assert known.tasks["t1"].state == state
    assert known.tasks["t1"].args == "(1,)"


def test_a_number_that_is_older_changes_no_state() -> None:
    state = State()
    for number, type in [(1, "task-received"), (5, "task-released"), (3, "task-succeeded")]:
        state.event(event(type, number=number))
    assert state.tasks["t1"].state == "PENDING"
    assert state.tasks["t1"].succeeded == 100.0


def test_info_names_what_is_known() -> None:
    state = State()
    state.event(event("task-received", name="a", args="(1,)", kwargs="{}", retries=0, eta=None))
    task = state.tasks["t1"]
    assert task.info() == {"args": "(1,)", "kwargs": "{}", "retries": 0}
    assert task.info(fields=["name"], extra=["state"]) == {"name": "a", "state": "RECEIVED"}


def test_who_listens_is_told_of_workers_and_events() -> None:
    told: list[Any] = []
    state = State(
        callback=lambda _state, each: told.append(each["type"]),
        on_node_join=lambda worker: told.append(f"+{worker.hostname}"),
        on_node_leave=lambda worker: told.append(f"-{worker.hostname}"),
    )
    state.handlers["own"] = lambda subject, each: told.append(subject)
    for type in ("worker-online", "worker-heartbeat", "own-thing", "worker-offline"):
        state.event(event(type))
    assert told == ["worker-online", f"+{NODE}", "worker-heartbeat", "own-thing", "thing", "worker-offline", f"-{NODE}"]
    assert not state.workers


def test_what_event_returns_is_celerys() -> None:
    state = State()
    (worker, created), subject = state.event(event("worker-online"))
    assert (worker.hostname, created, subject) == (NODE, True, "online")
    (task, created), subject = state.event(event("task-sent"))
    assert (task.uuid, created, subject) == ("t1", True, "sent")
    assert state.event(event("other-thing")) is None
    assert state.worker_event("heartbeat", event("x"))[1] is False
    assert state.task_event("received", event("task-x"))[0] == task


def test_only_the_newest_are_kept() -> None:
    state = State(max_tasks_in_memory=2, max_workers_in_memory=1)
    for number in range(4):
        state.event(event("task-received", uuid=f"t{number}", hostname=f"w{number}", name="a"))
    assert list(state.tasks) == ["t2", "t3"]
    assert list(state.workers) == ["w3"]


def test_forgetting() -> None:
    state = State()
    state.event(event("task-succeeded", uuid="done"))
    state.event(event("task-started", uuid="runs"))
    state.clear_tasks()
    assert list(state.tasks) == ["runs"]
    state.clear()
    assert (list(state.tasks), list(state.workers), state.event_count) == (["runs"], [], 0)
    state.clear(ready=False)
    assert not state.tasks
    assert state.freeze_while(lambda: 5, clear_after=True) == 5


def test_it_can_be_pickled() -> None:
    state = State()
    state.event(event("task-received", name="a", parent_id="p"))
    state.event(event("task-received", uuid="p", name="b"))
    state.event(event("worker-online", freq=10.0))
    again = pickle.loads(pickle.dumps(state))
    assert again.tasks["t1"].name == "a"
    assert [task.uuid for task in again.tasks_by_type["a"]] == ["t1"]
    assert again.tasks["t1"].parent == again.tasks["p"]
    again.event(event("task-succeeded"))
    assert again.tasks["t1"].state == "SUCCESS"


def test_workers_and_tasks_as_values() -> None:
    assert Worker("a") == Worker("a", pid=5) != Worker("b")
    assert Task("a") == Task("a", name="x") != Task("b")
    assert len({Worker("a"), Worker("a"), Task("a"), Task("a")}) == 2
    assert repr(Task("a", name="n")) == "<Task: n(a) PENDING clock:0>"
    assert repr(State()) == "<State: events=0 tasks=0>"
    assert "OFFLINE" in repr(Worker("a"))
    assert Worker("a", pid=5).id == "a.5"
    assert heartbeat_expires(100.0, 10) == 120.0


def test_changing_the_tasks_from_outside() -> None:
    state = State()
    state.tasks["x"] = Task("x", name="a")
    state.rebuild_taskheap()
    assert [task.uuid for task in state.tasks_by_type["a"]] == ["x"]
