"""`app.control.inspect()`: what workers are asked, in Celery's shapes."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.control import steered
from tests.control.conftest import NODE, OTHER, wait_until

ADD = "tests.control.steered.add"
HOLD = "tests.control.steered.hold"
METHODS = (
    *("active", "scheduled", "reserved", "revoked", "registered", "active_queues", "ping"),
    *("stats", "conf", "report", "clock", "memsample", "query_task"),
)


@pytest.mark.parametrize("method", METHODS)
def test_nobody_is_there(app: Any, method: str) -> None:
    assert getattr(app.control.inspect(timeout=20), method)() is None


@pytest.mark.parametrize("method", METHODS)
def test_destination_and_pattern(app: Any, worker: Any, run_worker: Callable[..., Any], method: str) -> None:
    with run_worker(hostname=OTHER):
        assert getattr(app.control.inspect(), method)().keys() == {NODE, OTHER}
        assert getattr(app.control.inspect([OTHER]), method)().keys() == {OTHER}
        assert getattr(app.control.inspect(pattern="w1*"), method)().keys() == {NODE}
        assert getattr(app.control.inspect(["nobody@here"]), method)() is None
        alone = getattr(app.control.inspect(OTHER), method)()
        assert alone is not None
        assert OTHER not in alone


def test_ping(app: Any, worker: Any) -> None:
    assert app.control.inspect().ping() == {NODE: {"ok": "pong"}}
    assert app.control.inspect().ping(destination=[OTHER]) is None


def info(result: Any, **changes: Any) -> dict[str, Any]:
    """A task as inspect shows it."""
    delivery = {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False}
    shown = {"id": result.id, "name": ADD, "args": [1, 2], "kwargs": {}, "type": ADD, "hostname": NODE}
    standing = {"time_start": None, "acknowledged": False, "delivery_info": delivery, "worker_pid": None}
    return {**shown, **standing, **changes}


def test_active(app: Any, worker: Any, held: Callable[..., Any], tmp_path: Any) -> None:
    result = held()
    ((node, (task,)),) = app.control.inspect().active().items()
    assert node == NODE
    assert task == info(
        result,
        name=HOLD,
        type=HOLD,
        args=[str(tmp_path / "gate")],
        acknowledged=True,
        worker_pid=os.getpid(),
        time_start=task["time_start"],
    )
    assert datetime.now().timestamp() - 30 < task["time_start"] <= datetime.now().timestamp()
    assert app.control.inspect().query_task(result.id) == {NODE: {result.id: ["active", task]}}


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_what_was_just_sent_to_an_idle_worker_is_active(
    app: Any, run_worker: Callable[..., Any], tmp_path: Any, pool: str
) -> None:
    with run_worker(pool=pool):
        for number in range(5):
            result = steered.hold.delay(str(tmp_path / str(number)))
            assert [task["id"] for task in app.control.inspect().active()[NODE]] == [result.id]
            (tmp_path / str(number)).touch()
            result.get(timeout=20)


def test_active_of_two_workers(app: Any, worker: Any, run_worker: Callable[..., Any], held: Callable[..., Any]) -> None:
    with run_worker(hostname=OTHER, queues="other"):
        mine, theirs = held(), held(queue="other")
        active = app.control.inspect().active()
    assert {node: [task["id"] for task in tasks] for node, tasks in active.items()} == {
        NODE: [mine.id],
        OTHER: [theirs.id],
    }


@pytest.mark.filterwarnings("ignore::litequeue.exceptions.DuplicateNodenameWarning")
def test_active_of_two_workers_of_one_name(
    app: Any, worker: Any, run_worker: Callable[..., Any], held: Callable[..., Any]
) -> None:
    with run_worker(queues="other"):
        mine, theirs = held(), held(queue="other")
        active = app.control.inspect().active()
    assert {task["id"] for task in active[NODE]} == {mine.id, theirs.id}


def test_scheduled(app: Any, worker: Any) -> None:
    eta = datetime.now(UTC) + timedelta(seconds=60)
    result = steered.add.apply_async((1, 2), eta=eta)
    entry = {"eta": eta.strftime("%Y-%m-%dT%H:%M:%S.%f") + "+00:00", "priority": 6, "request": info(result)}
    assert app.control.inspect().scheduled() == {NODE: [entry]}
    assert app.control.inspect().query_task([result.id]) == {NODE: {result.id: ["scheduled", info(result)]}}


def test_each_scheduled_task_is_shown_once(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    for queue in ("celery", "other", "nobodys"):
        steered.add.apply_async((1, 2), countdown=60, queue=queue)
    with run_worker(hostname=OTHER, queues="celery,other"):
        scheduled = app.control.inspect().scheduled()
    assert {node: len(tasks) for node, tasks in scheduled.items()} == {NODE: 1, OTHER: 1}


def test_reserved(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    held(), held()
    waiting = [steered.add.delay(1, 2) for _ in range(20)]
    reserved = app.control.inspect().reserved()
    assert reserved == {NODE: [info(result) for result in waiting[:8]]}
    assert app.control.inspect().query_task(waiting[0].id) == {NODE: {waiting[0].id: ["reserved", info(waiting[0])]}}


def test_query_of_what_is_not_there_or_has_ended(app: Any, worker: Any) -> None:
    done = steered.add.delay(1, 2)
    done.get(timeout=20)
    assert app.control.inspect().query_task("nope", done.id) == {NODE: {}}


def test_revoked(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    held(), held()
    queued = steered.add.delay(1, 2)
    queued.revoke()
    assert app.control.inspect().revoked() == {NODE: [queued.id]}


def test_a_running_task_that_was_revoked_is_listed(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held()
    app.control.revoke(result.id)
    assert app.control.inspect().revoked() == {NODE: [result.id]}
    assert result.state == "STARTED"


def test_registered(app: Any, worker: Any) -> None:
    names = app.control.inspect().registered()[NODE]
    assert {ADD, HOLD, "tests.control.steered.limited [rate_limit=1000/s]"} <= {*names}
    assert not any(name.startswith(("celery.", "litequeue.")) for name in names)
    assert f"{ADD} [name={ADD}]" in app.control.inspect().registered("name")[NODE]
    assert f"{ADD} [max_retries=3]" in app.control.inspect().registered_tasks("max_retries")[NODE]


def test_active_queues(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(queues="mail,celery"):
        mail, celery = app.control.inspect().active_queues()[NODE]
    assert (mail["name"], celery["name"]) == ("mail", "celery")
    assert (mail["routing_key"], mail["exchange"]["name"], mail["exchange"]["type"]) == ("mail", "mail", "direct")
    assert len(mail) == 18  # as many as Celery shows


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_stats(app: Any, run_worker: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool):
        for _ in range(3):
            steered.add.delay(1, 2).get(timeout=20)
        stats = app.control.inspect().stats()[NODE]
    assert stats["total"] == {ADD: 3}
    assert stats["pid"] == os.getpid()
    assert stats["uptime"] > 0
    assert int(stats["clock"]) > 0
    assert stats["pool"]["max-concurrency"] == 2
    assert len(stats["pool"]["processes"]) == (2 if pool == "prefork" else 1)
    assert (os.getpid() in stats["pool"]["processes"]) is (pool == "threads")
    assert stats["rusage"]["utime"] > 0
    assert stats["broker"]["transport"] == "sqlite"


def test_conf_and_report(app: Any, worker: Any) -> None:
    conf = app.control.inspect().conf()[NODE]
    assert conf["broker_url"] == app.conf.broker_url
    assert conf["include"] == []
    assert conf["deprecated_settings"] is None
    assert "worker_lease" not in conf
    assert app.control.inspect().conf(with_defaults=True)[NODE]["worker_lease"] == 60.0
    report = app.control.inspect().report()[NODE]
    assert report.keys() == {"ok"}
    assert "litequeue" in report["ok"]


def test_secrets_do_not_travel(app: Any, worker: Any) -> None:
    app.conf.security_key_password = "hush"
    assert "hush" not in str(app.control.inspect().conf())


def test_clock_hello_and_memsample(app: Any, worker: Any) -> None:
    first, second = (app.control.inspect().clock()[NODE]["clock"] for _ in range(2))
    assert 0 < first < second
    hello = app.control.inspect().hello("somebody@else")[NODE]
    assert hello["revoked"] == []
    assert hello["clock"] > second
    assert app.control.inspect().hello(NODE) == {NODE: None}
    assert app.control.inspect().memsample()[NODE].endswith("MB")


def test_a_call_that_cannot_be_read_here(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    """Its arguments are shown as the caller described them."""
    held(), held()
    steered.add.apply_async((1, 2), argsrepr="(one, two)")
    app.conf.accept_content = ["msgpack"]
    (task,) = app.control.inspect().reserved()[NODE]
    assert (task["name"], task["args"]) == (ADD, "(one, two)")


def test_own_inspect_command_through_inspect(app: Any, worker: Any) -> None:
    assert app.control.inspect()._request("seen")[NODE]["slots"] == 2


def test_callbacks_and_limit(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    told: list[Any] = []
    with run_worker(hostname=OTHER):
        assert len(app.control.inspect(limit=1, callback=told.append).active()) == 1
        assert len(app.control.inspect(limit=1, callback=told.append).ping()) == 1
    assert len(told) == 2


def test_the_class(app: Any, worker: Any) -> None:
    from litequeue.control import Inspect, flatten_reply

    assert issubclass(app.control.inspect, Inspect)
    assert Inspect(app=app).ping() == {NODE: {"ok": "pong"}}
    assert flatten_reply([{"a": 1}, {"b": 2}]) == {"a": 1, "b": 2}
    wait_until(lambda: app.control.inspect().active() == {NODE: []})
