"""Which events there are of a task, and what they say."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.events import eventful
from tests.events.conftest import NODE, ended, kept, types_of, wait_until

STARTED = ["task-received", "task-started"]


def only(app: Any, result: Any, kind: str) -> dict[str, Any]:
    """The event of that type that the task had."""
    (event,) = [event for event in kept(app) if event.get("uuid") == result.id and event["type"] == kind]
    return event


def test_what_a_success_says(app: Any, run_worker: Any) -> None:
    app.conf.task_send_sent_event = True
    with run_worker():
        result = eventful.add.delay(1, y=3)
        ended(result)
    record = app.store.task(result.id)
    call = {"name": "tests.events.eventful.add", "args": "(1,)", "kwargs": "{'y': 3}", "retries": 0, "eta": None}
    call |= {"expires": None, "root_id": result.id, "parent_id": None, "uuid": result.id}
    sent = only(app, result, "task-sent")
    assert sent.items() >= (call | {"queue": "celery", "routing_key": "celery", "exchange": ""}).items()
    assert sent["hostname"] == f"gen{os.getpid()}@{socket.gethostname()}"
    received = only(app, result, "task-received")
    assert received.items() >= (call | {"hostname": NODE, "pid": None, "attempt": 1}).items()
    succeeded = only(app, result, "task-succeeded")
    assert succeeded["result"] == "4"
    assert succeeded["runtime"] == record.finished_at - record.started_at
    assert isinstance(succeeded["timestamp"], float)
    assert isinstance(succeeded["local_received"], float)
    assert succeeded["clock"] == succeeded["number"]
    assert {"utcoffset", "pid"} <= succeeded.keys()


def test_the_pid_is_that_of_the_worker_while_it_runs(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(result := eventful.add.delay(1))
        assert only(app, result, "task-received")["pid"] == os.getpid()


def test_what_a_failure_says(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(result := eventful.fail.delay())
    event = only(app, result, "task-failed")
    assert event["exception"] == "ValueError('bad')"
    assert event["traceback"].endswith("ValueError: bad\n")


def test_each_attempt_has_its_own_error(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(won := eventful.try_twice.delay(), lost := eventful.try_twice.delay(succeed=False))
    assert types_of(app, won.id) == [*STARTED, "task-retried", *STARTED, "task-succeeded"]
    assert types_of(app, lost.id) == [*STARTED, "task-retried", *STARTED, "task-failed"]
    assert only(app, won, "task-retried")["exception"] == "KeyError('once')"
    assert "KeyError" in only(app, lost, "task-failed")["traceback"]
    received = [event for event in kept(app) if event["type"] == "task-received" and event["uuid"] == won.id]
    assert [(event["attempt"], event["retries"]) for event in received] == [(1, 0), (2, 1)]


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("ignore", [*STARTED, "task-ignored"]),
        ("refuse", [*STARTED, "task-failed"]),
        ("reject_once", [*STARTED, "task-rejected", *STARTED, "task-succeeded"]),
        ("become_add", [*STARTED, "task-replaced", *STARTED, "task-succeeded"]),
    ],
)
def test_the_ways_in_which_a_task_may_end(app: Any, run_worker: Any, name: str, types: list[str]) -> None:
    with run_worker():
        ended(result := getattr(eventful, name).delay())
    assert types_of(app, result.id) == types


def test_snoozing(app: Any, run_worker: Any, tmp_path: Path) -> None:
    with run_worker():
        ended(result := eventful.snooze_once.delay(str(tmp_path / "mark")))
    assert types_of(app, result.id) == [*STARTED, "task-snoozed", *STARTED, "task-succeeded"]


def test_the_reasons_of_a_revoke(app: Any, run_worker: Any, tmp_path: Path) -> None:
    with run_worker():
        early = eventful.add.apply_async((1,), countdown=60)
        early.revoke()
        late = eventful.add.apply_async((1,), expires=-1)
        gate = str(tmp_path / "gate")
        running = eventful.hold.delay(gate)
        wait_until(Path(f"{gate}.{running.id}").exists)
        running.revoke(terminate=True, signal="SIGTERM")
        ended(early, late, running)
    reasons = {
        event["uuid"]: (event["terminated"], event["signum"], event["expired"])
        for event in kept(app)
        if event["type"] == "task-revoked"
    }
    assert reasons[early.id] == (False, None, False)
    assert reasons[late.id] == (False, None, True)
    assert reasons[running.id] == (True, int(signal.SIGTERM), False)


def test_a_client_that_revokes_is_no_worker(app: Any, run_worker: Any) -> None:
    with run_worker():
        result = eventful.add.apply_async((1,), countdown=60)
        result.revoke()
    assert only(app, result, "task-revoked")["hostname"] is None


def test_what_a_retry_by_hand_says(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(result := eventful.fail.delay())
        app.control.retry(result.id)
        wait_until(lambda: types_of(app, result.id)[-1] == "task-failed" and len(types_of(app, result.id)) == 7)
    assert types_of(app, result.id) == [*STARTED, "task-failed", "task-revived", *STARTED, "task-failed"]


def test_what_only_waited_ends_with_the_task_that_failed(app: Any, run_worker: Any) -> None:
    with run_worker():
        result = (eventful.fail.s("first") | eventful.add.s()).apply_async()
        ended(result)
    event = only(app, result, "task-failed")
    assert event["exception"] == "ValueError('first')"
    assert types_of(app, result.id) == ["task-failed"]


def test_an_event_of_a_task_that_is_gone_has_no_more_than_the_journal(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(result := eventful.add.delay(1))
    result.forget()
    received = only(app, result, "task-received")
    assert received["name"] == "tests.events.eventful.add"
    assert [received[name] for name in ("args", "kwargs", "retries", "root_id")] == [None] * 4
    succeeded = only(app, result, "task-succeeded")
    assert (succeeded["result"], succeeded["runtime"]) == (None, None)


def test_the_texts_that_a_caller_gave_come_before_the_arguments(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(result := eventful.add.apply_async((1, 2), argsrepr="(secret)", kwargsrepr="{hidden}"))
    received = only(app, result, "task-received")
    assert (received["args"], received["kwargs"]) == ("(secret)", "{hidden}")


def test_long_arguments_are_cut(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(result := eventful.fail.delay("x" * 5000))
    args = only(app, result, "task-received")["args"]
    assert len(args) == 1024
    assert args.endswith("...")


def test_a_result_that_is_not_kept_is_not_told(app: Any, run_worker: Any) -> None:
    with run_worker():
        result = eventful.quiet.apply_async(ignore_result=True)
        wait_until(lambda: "task-succeeded" in types_of(app, result.id))
    assert only(app, result, "task-succeeded")["result"] is None


def test_own_events_of_a_task(app: Any, run_worker: Any) -> None:
    with run_worker():
        ended(result := eventful.tell.delay())
    progress, paid = only(app, result, "task-progress"), only(app, result, "order-paid")
    assert (progress["done"], progress["hostname"]) == (3, NODE)
    assert progress["when"].isoformat() == "2030-01-01T00:00:00+00:00"
    assert paid["amount"] == 5
    assert types_of(app, result.id) == [*STARTED, "task-progress", "order-paid", "task-succeeded"]


def test_a_worker_says_when_it_comes_and_goes(app: Any, run_worker: Any) -> None:
    with run_worker() as worker:
        ended(eventful.add.delay(1))
        app.control.heartbeat(reply=True)
    of_it = [event for event in kept(app) if event["type"].startswith("worker-")]
    assert of_it[0]["type"] == "worker-online"
    assert of_it[-1]["type"] == "worker-offline"
    assert "worker-heartbeat" in [event["type"] for event in of_it]
    online = of_it[0]
    assert online["hostname"] == NODE
    assert online["freq"] == worker.options.heartbeat_interval
    assert (online["active"], online["processed"]) == (0, 0)
    assert of_it[-1]["processed"] == 1
    assert len(online["loadavg"]) == 3
    assert (online["sw_ident"], online["pid"]) == ("litequeue", os.getpid())
    assert {"sw_ver", "sw_sys"} <= online.keys()


def test_online_comes_before_the_first_task_and_offline_after_the_last(app: Any, run_worker: Any) -> None:
    results = [eventful.add.delay(n) for n in range(5)]
    with run_worker(concurrency=1):
        ended(*results)
    types = [event["type"] for event in kept(app)]
    assert types[0] == "worker-online"
    assert types[-1] == "worker-offline"
