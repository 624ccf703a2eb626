"""Writing events of one's own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import pytest

from litequeue.events import Event, group_from
from litequeue.exceptions import EncodeError
from litequeue.utils.nodenames import anon_nodename
from tests.events import eventful
from tests.events.conftest import kept


def test_what_is_sent_is_there(app: Any) -> None:
    with app.events.Dispatcher(hostname="shop@here") as dispatcher:
        dispatcher.send("order-paid", amount=5, at=datetime(2030, 1, 1, tzinfo=UTC), ids=[1, 2])
    (event,) = kept(app)
    assert event.items() >= {"type": "order-paid", "amount": 5, "ids": [1, 2], "hostname": "shop@here"}.items()
    assert event["at"] == datetime(2030, 1, 1, tzinfo=UTC)
    assert {"timestamp", "utcoffset", "pid", "clock", "number", "local_received"} <= event.keys()


def test_a_field_that_json_cannot_say_writes_nothing(app: Any) -> None:
    with app.events.default_dispatcher() as dispatcher, pytest.raises(EncodeError, match=r"event order-paid.*who"):
        dispatcher.send("order-paid", who=object())
    assert kept(app) == []


def test_who_says_nothing_is_this_process(app: Any) -> None:
    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send("a-new")
    assert kept(app)[0]["hostname"] == anon_nodename()


def test_a_time_that_is_given_is_kept(app: Any) -> None:
    with app.events.Dispatcher() as dispatcher:
        dispatcher.send("a-new", timestamp=5.0)
    assert kept(app)[0]["timestamp"] == 5.0


def test_groups(app: Any) -> None:
    with app.events.Dispatcher(groups=["worker"]) as dispatcher:
        dispatcher.send("task-x")
        dispatcher.send("worker-x")
        dispatcher.publish("task-y", {"a": 1})
    assert [event["type"] for event in kept(app)] == ["worker-x", "task-y"]


def test_one_that_is_not_enabled_writes_nothing(app: Any) -> None:
    told: list[str] = []
    dispatcher = app.events.Dispatcher(enabled=False)
    dispatcher.on_enabled.add(lambda: told.append("on"))
    dispatcher.on_disabled.add(lambda: told.append("off"))
    dispatcher.send("a-1")
    dispatcher.enable()
    dispatcher.send("a-2")
    dispatcher.disable()
    dispatcher.disable()
    dispatcher.send("a-3")
    dispatcher.close()
    assert [event["type"] for event in kept(app)] == ["a-2"]
    assert told == ["on", "off"]


def test_a_buffered_group_is_written_together(app: Any) -> None:
    told: list[int] = []
    dispatcher = app.events.Dispatcher(
        buffer_group={"task"}, buffer_limit=3, on_send_buffered=lambda: told.append(len(kept(app)))
    )
    dispatcher.send("task-1")
    dispatcher.send("worker-1")
    dispatcher.send("task-2")
    assert [event["type"] for event in kept(app)] == ["worker-1"]
    dispatcher.send("task-3")
    dispatcher.send("task-4")
    dispatcher.close()
    assert [event["type"] for event in kept(app)] == ["worker-1", "task-1", "task-2", "task-3", "task-4"]
    assert told == [0, 1, 4]


def test_taking_over_what_another_one_keeps(app: Any) -> None:
    first = app.events.Dispatcher(buffer_group={"task"})
    first.send("task-1")
    second = app.events.Dispatcher(buffer_group={"task"})
    second.extend_buffer(first)
    second.flush()
    assert [event["type"] for event in kept(app)] == ["task-1"]


def test_send_event_outside_of_a_worker(app: Any) -> None:
    eventful.add.send_event("task-noted", note="x")
    (event,) = kept(app)
    assert (event["uuid"], event["note"], event["pid"]) == (None, "x", os.getpid())


def test_event_is_a_dict_with_a_time() -> None:
    assert Event("a-b", {"x": 1}, y=2, timestamp=5.0) == {"type": "a-b", "x": 1, "y": 2, "timestamp": 5.0}
    assert Event("a-b")["timestamp"] > 0
    assert [group_from(type) for type in ("task-sent", "own-a-b", "plain")] == ["task", "own", "plain"]
