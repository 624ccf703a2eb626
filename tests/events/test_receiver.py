"""Events are handed over in order, without gaps, from any number on, and only when somebody wants them."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from litequeue.core import clock
from litequeue.events import EventReceiver, LostEvents
from tests.events import eventful
from tests.events.conftest import NODE, ended, kept, types_of, wait_until


def publish(app: Any, *types: str) -> None:
    """Write events."""
    with app.events.Dispatcher() as dispatcher:
        for type in types:
            dispatcher.send(type)


def test_handlers_get_their_types_and_the_star_the_rest(app: Any) -> None:
    failed: list[Any] = []
    others: list[Any] = []
    receiver = app.events.Receiver(handlers={"a-failed": failed.append, "*": others.append})
    publish(app, "a-failed", "b-new", "c-new")
    receiver.capture(limit=3)
    assert [event["type"] for event in failed] == ["a-failed"]
    assert [event["type"] for event in others] == ["b-new", "c-new"]


def test_without_a_star_the_rest_is_passed_over(app: Any) -> None:
    seen: list[Any] = []
    receiver = app.events.Receiver(handlers={"b-new": seen.append})
    publish(app, "a-new", "b-new", "c-new")
    receiver.capture(limit=1)
    assert [event["number"] for event in seen] == [2]


def test_only_what_comes_from_now_on(app: Any) -> None:
    publish(app, "a-old")
    receiver = app.events.Receiver()
    publish(app, "a-new")
    assert [event["type"] for event in receiver.itercapture(limit=1)] == ["a-new"]


def test_it_goes_on_behind_a_number(app: Any) -> None:
    publish(app, *(f"a-{n}" for n in range(6)))
    assert [event["type"] for event in app.events.Receiver(after=2).itercapture(limit=2)] == ["a-2", "a-3"]
    receiver = app.events.Receiver()
    assert [event["number"] for event in receiver.itercapture(limit=3, after=0)] == [1, 2, 3]
    assert receiver.number == 3
    assert [event["number"] for event in receiver.read()] == [4, 5, 6]


def test_a_reader_that_was_started_anew_misses_nothing_and_sees_nothing_twice(app: Any, run_worker: Any) -> None:
    seen: list[int] = []
    position = 0
    with run_worker():
        for _ in range(5):
            results = [eventful.add.delay(n) for n in range(4)]
            receiver = app.events.Receiver(handlers={"*": lambda event: seen.append(event["number"])}, after=position)
            receiver.capture(limit=3)
            position = receiver.number
            ended(*results)
    receiver = app.events.Receiver(handlers={"*": lambda event: seen.append(event["number"])}, after=position)
    for _ in receiver.read():
        pass
    assert seen == list(range(1, app.store.event_range().last + 1))


def test_events_that_are_no_longer_kept_are_told_of(app: Any) -> None:
    publish(app, *(f"a-{n}" for n in range(10)))
    app.conf.event_limit = 4
    app.store.prune(100)
    with pytest.warns(LostEvents, match="events 3 to 6 are no longer kept"):
        assert [event["number"] for event in app.events.Receiver(after=2).read()] == [7, 8, 9, 10]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [event["number"] for event in app.events.Receiver(after=0).read()] == [7, 8, 9, 10]
        assert [event["number"] for event in app.events.Receiver(after=6).read()] == [7, 8, 9, 10]


def test_the_numbers_go_on_after_everything_was_pruned(app: Any) -> None:
    publish(app, "a-1", "a-2")
    app.conf.event_retention = 1e-6
    app.store.prune(100)
    publish(app, "a-3")
    assert [event["number"] for event in kept(app)] == [2, 3]


@pytest.mark.parametrize(
    ("after", "error"), [(-1, ValueError), (99, ValueError), ("7", TypeError), (True, TypeError), (1.5, TypeError)]
)
def test_numbers_that_cannot_be(app: Any, after: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"after="):
        app.events.Receiver(after=after).capture(limit=1, timeout=0)


def test_a_time_out_counts_from_the_last_event(app: Any) -> None:
    receiver = app.events.Receiver(after=0)
    publish(app, "a-new")
    began = clock.monotonic()
    seen = []
    with pytest.raises(TimeoutError, match=r"no event was written for 0\.05 seconds"):
        for event in receiver.itercapture(timeout=0.05):
            seen.append(event["type"])
    assert seen == ["a-new"]
    assert clock.monotonic() - began >= 0.05


def test_should_stop_ends_it_from_a_handler(app: Any) -> None:
    receiver = app.events.Receiver()

    def stop(event: Any) -> None:
        receiver.should_stop = True

    receiver.handlers = {"a-last": stop}
    publish(app, "a-first", "a-last", "a-more")
    receiver.capture()
    assert receiver.number in (1, 2)


def test_should_stop_ends_it_from_another_thread(app: Any) -> None:
    receiver = app.events.Receiver(after=0)
    thread = threading.Thread(target=receiver.capture)
    thread.start()
    receiver.should_stop = True
    thread.join(30)
    assert not thread.is_alive()


def test_what_a_handler_raises_comes_out_and_the_event_comes_again(app: Any) -> None:
    seen: list[str] = []

    def handle(event: Any) -> None:
        seen.append(event["type"])
        if len(seen) == 2:
            raise KeyboardInterrupt

    receiver = app.events.Receiver(handlers={"*": handle})
    publish(app, "a-1", "a-2", "a-3")
    with pytest.raises(KeyboardInterrupt):
        receiver.capture(limit=3)
    receiver.capture(limit=2)
    assert seen == ["a-1", "a-2", "a-2", "a-3"]


@pytest.mark.parametrize(
    ("key", "types"),
    [
        ("#", ["task-sent", "worker-online", "a-b-c"]),
        ("task.#", ["task-sent"]),
        ("task.sent", ["task-sent"]),
        ("*.online", ["worker-online"]),
        ("a.*", []),
        ("#.c", ["a-b-c"]),
    ],
)
def test_a_routing_key_chooses_types(app: Any, key: str, types: list[str]) -> None:
    publish(app, "task-sent", "worker-online", "a-b-c")
    receiver = app.events.Receiver(routing_key=key, after=0)
    assert [event["type"] for event in receiver.read()] == types


def test_a_capture_has_the_workers_say_that_they_are_there(app: Any, run_worker: Any) -> None:
    with run_worker():
        (event,) = app.events.Receiver(routing_key="worker.#").itercapture(limit=1)
    assert (event["type"], event["hostname"]) == ("worker-heartbeat", NODE)


def test_the_class_can_be_used_without_an_app_of_its_own(app: Any) -> None:
    app.set_current()
    publish(app, "a-new")
    assert [event["type"] for event in EventReceiver(None, app=app, after=0).read()] == ["a-new"]


def test_nothing_is_written_where_nobody_asked_for_it(app: Any, run_worker: Any) -> None:
    with run_worker(task_events=False):
        ended(eventful.add.delay(1), eventful.fail.delay())
        eventful.add.apply_async((1,), countdown=60).revoke()
    assert app.store.event_range() == (1, 0)


def test_the_setting_does_what_the_option_does(app: Any, run_worker: Any) -> None:
    app.conf.worker_send_task_events = True
    with run_worker(task_events=None):
        ended(result := eventful.add.delay(1))
    assert types_of(app, result.id) == ["task-received", "task-started", "task-succeeded"]


def test_events_are_switched_while_a_worker_runs(app: Any, run_worker: Any) -> None:
    with run_worker(task_events=False):
        ended(before := eventful.add.delay(1))
        assert app.control.enable_events(reply=True) == [{NODE: {"ok": "task events enabled"}}]
        assert app.control.enable_events(reply=True) == [{NODE: {"ok": "task events already enabled"}}]
        ended(between := eventful.add.delay(1))
        assert app.control.disable_events(reply=True) == [{NODE: {"ok": "task events disabled"}}]
        ended(after := eventful.add.delay(1))
    assert [types_of(app, each.id) for each in (before, after)] == [[], []]
    assert types_of(app, between.id) == ["task-received", "task-started", "task-succeeded"]
    assert {event["type"] for event in kept(app) if "uuid" not in event} == {"worker-heartbeat"}


def test_switching_reaches_the_children_of_a_worker(app: Any, run_worker: Any) -> None:
    with run_worker(pool="prefork", concurrency=1, task_events=False):
        app.control.enable_events(reply=True)
        ended(result := eventful.add.delay(1))
        assert types_of(app, result.id) == ["task-received", "task-started", "task-succeeded"]


def test_a_sent_event_needs_no_worker(app: Any) -> None:
    app.conf.task_send_sent_event = True
    result = eventful.add.delay(1)
    wait_until(lambda: types_of(app, result.id) == ["task-sent"])


def test_events_of_a_canvas_that_is_sent(app: Any) -> None:
    app.conf.task_send_sent_event = True
    (eventful.add.s(1) | eventful.add.s()).apply_async()
    assert [event["type"] for event in kept(app)] == ["task-sent"] * 2
