"""Calling tasks: every option reaches the row, and what cannot be is an error at the call."""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from litequeue import LiteQueue, signals
from litequeue.core import clock
from litequeue.exceptions import (
    AlwaysEagerIgnored,
    ContentDisallowed,
    DuplicateTaskError,
    EncodeError,
    PayloadTooLarge,
    QueueNotFound,
)
from litequeue.result import AsyncResult

from .conftest import carried, row

MakeApp = Callable[..., LiteQueue]


@pytest.fixture
def add(app: LiteQueue) -> Any:
    @app.task(name="add")
    def add(x: Any = 0, y: Any = 0) -> Any:
        return x + y

    return add


class TestOptions:
    """What a call may say."""

    def test_a_plain_call(self, app: LiteQueue, add: Any) -> None:
        result = add.delay(2, y=3)
        record = row(result)
        assert (record.name, record.queue, record.priority, record.state) == ("add", "celery", 0, "ready")
        assert (result.args, result.kwargs, result.state, result.exists()) == ([2], {"y": 3}, "PENDING", True)
        assert (record.root_id, record.parent_id, record.run_at, record.expires_at) == (None, None, None, None)
        assert record.origin and record.origin.startswith("gen")

    def test_both_ways_of_calling_make_the_same_row(self, add: Any) -> None:
        one, other = row(add.delay(2, y=3)), row(add.apply_async((2,), {"y": 3}))
        differing = {"id", "seq", "enqueued_at"}
        for field in one.__slots__:
            if field not in differing:
                assert getattr(one, field) == getattr(other, field), field

    def test_id(self, add: Any) -> None:
        assert add.apply_async(task_id="mine").id == "mine"
        with pytest.raises(DuplicateTaskError, match="mine"):
            add.apply_async(task_id="mine")
        with pytest.raises(TypeError, match="task_id must be text"):
            add.apply_async(task_id=uuid.uuid4())

    def test_queue_and_priority(self, add: Any) -> None:
        record = row(add.apply_async(queue="fast", priority=9))
        assert (record.queue, record.priority) == ("fast", 9)
        assert row(add.apply_async(routing_key="fast")).queue == "fast"

    @pytest.mark.parametrize(
        ("priority", "error"), [(256, ValueError), (-1, ValueError), ("5", TypeError), (1.5, TypeError)]
    )
    def test_a_priority_out_of_range(self, add: Any, priority: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="priority must be"):
            add.apply_async(priority=priority)

    def test_countdown_and_eta(self, app: LiteQueue, add: Any) -> None:
        before = clock.now()
        soon = row(add.apply_async(countdown=60))
        assert before + 60 <= (soon.run_at or 0) <= clock.now() + 60
        assert soon.state == "scheduled"
        assert row(add.apply_async(countdown=timedelta(hours=1))).run_at == pytest.approx(before + 3600, abs=30)
        moment = datetime(2040, 1, 1, 12, tzinfo=UTC)
        for eta in (moment, moment.isoformat(), moment.replace(tzinfo=None)):
            assert row(add.apply_async(eta=eta)).run_at == moment.timestamp()
        assert row(add.apply_async(countdown=-5)).state == "ready"
        assert row(add.apply_async(countdown=0)).state == "ready"
        assert row(add.apply_async(countdown=365 * 86400)).state == "scheduled"

    def test_a_naive_eta_is_in_the_apps_time_zone(self, make_app: MakeApp) -> None:
        app = make_app(timezone="Europe/Oslo")
        result = app.task(lambda: 1, name="t").apply_async(
            eta=datetime(2040, 7, 1, 12), expires=datetime(2040, 7, 1, 13)
        )
        assert row(result).run_at == datetime(2040, 7, 1, 10, tzinfo=UTC).timestamp()
        assert row(result).expires_at == datetime(2040, 7, 1, 11, tzinfo=UTC).timestamp()

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"countdown": "soon"}, TypeError, "countdown must be a number of seconds"),
            ({"countdown": math.nan}, ValueError, "countdown is out of range"),
            ({"countdown": math.inf}, ValueError, "countdown is out of range"),
            ({"countdown": 1e15}, ValueError, "countdown is out of range"),
            ({"eta": 5}, TypeError, "eta must be a datetime"),
            ({"eta": "tomorrow"}, ValueError, "not a time in ISO 8601"),
            ({"eta": datetime(2040, 1, 1), "countdown": 1}, ValueError, "give one of them"),
            ({"expires": []}, TypeError, "expires must be a number of seconds"),
            ({"time_limit": 5, "soft_time_limit": 6}, ValueError, r"soft_time_limit \(6 s\) must be less than"),
            ({"time_limit": "x"}, TypeError, "time_limit must be"),
            ({"retries": -1}, TypeError, "retries must be"),
            ({"headers": "x"}, TypeError, "headers must be a mapping"),
            ({"headers": {"x": object()}}, EncodeError, "headers cannot be written as JSON"),
            ({"durability": "maybe"}, ValueError, "durability must be one of"),
            ({"queue": 3}, TypeError, "a queue is its name"),
            ({"prioritee": 3}, TypeError, "no option 'prioritee'; did you mean 'priority'"),
            ({"compression": "zip"}, EncodeError, "zip"),
            ({"serializer": "pickle"}, ContentDisallowed, "pickle"),
            ({"args": 5}, TypeError, "task args must be a list or tuple"),
            ({"args": "ab"}, TypeError, "task args must be a list or tuple"),
            ({"kwargs": [1]}, TypeError, "task keyword arguments must be a mapping"),
            ({"link": "x"}, TypeError, "a canvas is made of signatures, .* not 'x'"),
            ({"link_error": ["x"]}, TypeError, "a canvas is made of signatures, .* not 'x'"),
        ],
    )
    def test_what_cannot_be_is_an_error_at_the_call(
        self, app: LiteQueue, options: Any, error: type[Exception], text: str
    ) -> None:
        task = app.task(lambda *args, **kwargs: None, name="t", typing=False)
        with pytest.raises(error, match=text):
            task.apply_async(**options)
        assert app.store.counts() == {}

    def test_expires(self, add: Any) -> None:
        before = clock.now()
        assert before + 10 <= (row(add.apply_async(expires=10)).expires_at or 0) <= clock.now() + 10
        moment = datetime(2040, 1, 1, tzinfo=UTC)
        assert row(add.apply_async(expires=moment)).expires_at == moment.timestamp()

    def test_limits_retries_and_results(self, add: Any) -> None:
        record = row(add.apply_async(time_limit=9, soft_time_limit=5.5, retries=2, ignore_result=True))
        assert (record.time_limit, record.soft_time_limit, record.retries, record.ignore_result) == (9, 5.5, 2, True)

    def test_family(self, add: Any) -> None:
        record = row(add.apply_async(root_id="r", parent_id="p", group_id="g", group_index=3))
        assert (record.root_id, record.parent_id, record.group_id, record.group_index) == ("r", "p", "g", 3)

    def test_headers_and_what_the_row_carries(self, add: Any) -> None:
        result = add.apply_async(
            headers={"trace": "abc"}, shadow="shown", argsrepr="(<secret>,)", app_id="desk", user_id="me"
        )
        assert json.loads(row(result).headers or "") == {"trace": "abc"}
        assert carried(result) == {
            "shadow": "shown",
            "argsrepr": "(<secret>,)",
            "properties": {"app_id": "desk", "user_id": "me"},
        }

    def test_options_of_a_broker_change_nothing(self, add: Any) -> None:
        result = add.apply_async(
            (1,),
            producer=object(),
            connection=object(),
            exchange="x",
            retry=True,
            retry_policy={},
            delivery_mode=2,
            declare=[],
        )
        assert row(result).queue == "celery"

    def test_serializer_and_compression(self, make_app: MakeApp) -> None:
        app = make_app(accept_content=["json", "msgpack"])
        task = app.task(lambda x: x, name="t")
        record = row(task.apply_async(("x" * 500,), serializer="msgpack", compression="zlib"))
        assert (record.serializer, record.compression) == ("msgpack", "zlib")
        assert len(record.payload) < 100
        assert task.apply_async((Decimal("1.5"),)).args == [Decimal("1.5")]

    def test_an_argument_that_cannot_be_encoded_is_named(self, add: Any) -> None:
        with pytest.raises(EncodeError, match=r"args\[0\]\['when'\]"):
            add.delay({"when": object()})
        with pytest.raises(EncodeError, match=r"kwargs\['y'\]"):
            add.apply_async(kwargs={"y": object()})

    def test_an_argument_that_is_too_large(self, make_app: MakeApp) -> None:
        app = make_app(max_payload_bytes=1000)
        with pytest.raises(PayloadTooLarge):
            app.task(lambda x: x, name="t").delay("x" * 2000)

    def test_durability_of_one_call(self, add: Any) -> None:
        for durability in ("full", "normal", None):
            assert add.apply_async(durability=durability).exists()

    def test_a_task_names_options_of_all_its_calls(self, app: LiteQueue) -> None:
        task = app.task(
            lambda: None,
            name="t",
            queue="slow",
            priority=7,
            time_limit=50,
            soft_time_limit=40,
            expires=100,
            ignore_result=True,
            compression="gzip",
        )
        for record in (row(task.delay()), row(app.send_task("t"))):
            assert (record.queue, record.priority, record.compression) == ("slow", 7, "gzip")
            assert (record.time_limit, record.soft_time_limit, record.ignore_result) == (50, 40, True)
            assert record.expires_at is not None
        assert row(task.apply_async(queue="fast", expires=None, time_limit=60)).queue == "fast"
        assert row(task.apply_async(expires=None)).expires_at is None

    def test_settings_give_what_nobody_else_says(self, make_app: MakeApp) -> None:
        app = make_app(task_default_priority=4, task_time_limit=9, task_soft_time_limit=8, task_ignore_result=True)
        record = row(app.task(lambda: None, name="t").delay())
        assert (record.priority, record.time_limit, record.soft_time_limit, record.ignore_result) == (4, 9, 8, True)

    def test_a_highest_priority(self, make_app: MakeApp) -> None:
        app = make_app(task_queue_max_priority=10)
        assert row(app.task(lambda: None, name="t").apply_async(priority=200)).priority == 10

    def test_setting_an_attribute_of_a_task_changes_its_next_calls(self, add: Any) -> None:
        assert row(add.delay()).priority == 0
        add.priority = 6
        add.ignore_result = True
        assert (row(add.delay()).priority, row(add.delay()).ignore_result) == (6, True)

    def test_a_shadow_name_of_the_tasks_own(self, app: LiteQueue) -> None:
        class Named(app.Task):  # type: ignore[name-defined,misc]
            def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
                return f"load {args[0]}"

        assert carried(app.task(lambda x: x, name="t", base=Named).delay("a")) == {"shadow": "load a"}

    def test_a_task_that_changes_how_it_is_called(self, app: LiteQueue) -> None:
        class Polite(app.Task):  # type: ignore[name-defined,misc]
            def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
                return super().apply_async(args, kwargs, **{"priority": 200, **options})

        assert row(app.task(lambda: 1, name="t", base=Polite).delay()).priority == 200

    def test_an_app_that_changes_how_tasks_are_sent(self, tmp_path: Any) -> None:
        class Marked(LiteQueue):
            def enqueue_call(self, name: str, args: Any, kwargs: Any, options: Any, task: Any = None) -> AsyncResult:
                return super().enqueue_call(name, args, kwargs, {**options, "priority": 99}, task)

        with Marked("x", broker=tmp_path / "m.db", set_as_current=False) as app:
            assert row(app.task(lambda: 1, name="t").delay()).priority == 99


class TestRouting:
    """The queue of a call."""

    def test_routes(self, make_app: MakeApp) -> None:
        app = make_app(task_routes={"feeds.*": {"queue": "feeds", "priority": 3}, "web.load": "web"})
        assert row(app.send_task("feeds.load")).queue == "feeds"
        assert row(app.send_task("feeds.load")).priority == 3
        assert row(app.send_task("web.load")).queue == "web"
        assert row(app.send_task("other", route_name="web.load")).queue == "web"
        load = app.task(lambda: 1, name="feeds.save")
        assert (row(load.delay()).queue, row(load.delay()).priority) == ("feeds", 3)

    def test_a_route_by_arguments(self, make_app: MakeApp) -> None:
        def by_size(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
            return {"queue": "big"} if args and args[0] > 10 else None

        app = make_app(task_routes=(by_size,))
        task = app.task(lambda x: x, name="t")
        assert (task.delay(5).queue, task.delay(50).queue) == ("celery", "big")

    def test_an_unknown_queue(self, make_app: MakeApp) -> None:
        app = make_app(task_queues=["celery", "b"], task_create_missing_queues=False)
        task = app.task(lambda: None, name="t")
        assert task.apply_async(queue="b").queue == "b"
        with pytest.raises(QueueNotFound):
            task.apply_async(queue="c")


class TestSending:
    """Sending by name, and in bulk."""

    def test_send_task_needs_no_code(self, app: LiteQueue) -> None:
        result = app.send_task("elsewhere.add", (1,), {"y": 2}, countdown=60, task_id="t1", queue="far")
        assert (result.id, result.name, result.queue, result.args) == ("t1", "elsewhere.add", "far", [1])

    def test_send_task_says_that_it_is_not_eager(self, make_app: MakeApp) -> None:
        app = make_app(task_always_eager=True)
        with pytest.warns(AlwaysEagerIgnored):
            assert app.send_task("x").state == "PENDING"

    def test_many_in_one_transaction(self, app: LiteQueue, add: Any) -> None:
        results = app.enqueue_many(add.s(i, 1) for i in range(1000))
        assert len(results) == 1000
        assert [result.args[0] for result in results[:3]] == [0, 1, 2]  # type: ignore[index]
        assert app.store.counts() == {"celery": {"ready": 1000}}

    def test_many_of_any_kind(self, app: LiteQueue, add: Any) -> None:
        results = app.enqueue_many(
            [add.s(1), dict(add.s(2)), app.signature("far", (1,)), add.s(3).set(priority=9, task_id="x"), add.si(4)]
        )
        assert [row(result).priority for result in results] == [0, 0, 0, 9, 0]
        assert results[3].id == "x"
        assert results[2].name == "far"
        assert app.enqueue_many([]) == []

    def test_all_or_none(self, app: LiteQueue, add: Any) -> None:
        with pytest.raises(TypeError):
            app.enqueue_many([add.s(1), add.s(1, 2, 3)])
        with pytest.raises(DuplicateTaskError):
            app.enqueue_many([add.s(1), add.s(1).set(task_id="x"), add.s(2).set(task_id="x")])
        with pytest.raises(TypeError, match="takes signatures"):
            app.enqueue_many([add.s(1), 5])  # type: ignore[list-item]
        assert app.store.counts() == {}

    def test_many_threads(self, app: LiteQueue, add: Any) -> None:
        results: list[AsyncResult] = []
        threads = [threading.Thread(target=lambda: results.extend(add.delay(i) for i in range(10))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({result.id for result in results}) == 200
        assert app.store.counts() == {"celery": {"ready": 200}}


class TestSignals:
    """What listeners of a call are told."""

    def test_before_and_after(self, app: LiteQueue, add: Any) -> None:
        seen: list[tuple[str, Any]] = []

        @signals.before_task_publish.connect
        def before(sender: str, body: Any, headers: dict[str, Any], properties: Any, **kw: Any) -> None:
            assert {"exchange", "routing_key", "declare", "retry_policy", "signal"} <= set(kw)
            assert (sender, body[0], headers["task"], properties["app_id"]) == ("add", (2,), "add", "desk")
            assert headers["trace"] == "abc"
            headers["span"] = "xyz"
            seen.append(("before", headers["id"]))

        @signals.after_task_publish.connect
        def after(sender: str, routing_key: str, headers: Any, **kw: Any) -> None:
            assert app.AsyncResult(headers["id"]).exists()
            seen.append(("after", headers["id"]))

        try:
            result = add.apply_async((2,), headers={"trace": "abc"}, app_id="desk")
            assert seen == [("before", result.id), ("after", result.id)]
            assert json.loads(row(result).headers or "") == {"trace": "abc", "span": "xyz"}
        finally:
            signals.before_task_publish.disconnect(before)
            signals.after_task_publish.disconnect(after)

    def test_delay_and_enqueue_many_tell_too(self, app: LiteQueue, add: Any) -> None:
        names: list[str] = []

        @signals.before_task_publish.connect(sender="add")
        def before(sender: str, **kw: Any) -> None:
            names.append(sender)

        try:
            add.delay(1)
            app.enqueue_many([add.s(1), add.s(2)])
            app.send_task("other")
        finally:
            signals.before_task_publish.disconnect(before, sender="add")
        assert names == ["add"] * 3


class TestFamily:
    """Calls made inside a task."""

    def test_they_know_their_parent_and_root(self, app: LiteQueue, add: Any, worker: Any) -> None:
        @app.task(name="middle", bind=True)
        def middle(self: Any) -> Any:
            return [add.delay(1).id, self.request.root_id, self.request.parent_id]

        @app.task(name="outer", bind=True)
        def outer(self: Any) -> Any:
            result = middle.delay()
            assert self.request.children == [result]
            return result.id

        worker()
        top = outer.delay()
        child = app.AsyncResult(top.get(timeout=10))
        grandchild_id, root_id, parent_id = child.get(timeout=10)
        assert (root_id, parent_id) == (top.id, top.id)
        grandchild = row(app.AsyncResult(grandchild_id))
        assert (grandchild.root_id, grandchild.parent_id) == (top.id, child.id)
        assert top.children == [child]
        assert [result.id for result, _ in top.collect()] == [top.id, child.id, grandchild_id]
        assert app.AsyncResult(grandchild_id).get(timeout=10) == 1
        assert top.get_leaf() == 1

    def test_a_function_call_inside_is_not_a_parent(self, app: LiteQueue, add: Any, worker: Any) -> None:
        @app.task(name="inner", bind=True)
        def inner(self: Any) -> Any:
            assert self.request.called_directly
            return add.delay().id

        @app.task(name="outer")
        def outer() -> Any:
            return inner()

        worker()
        top = outer.delay()
        assert row(app.AsyncResult(top.get(timeout=10))).parent_id == top.id

    def test_priority_is_inherited_if_asked_for(self, make_app: MakeApp) -> None:
        app = make_app(task_inherit_parent_priority=True)
        add = app.task(lambda: 1, name="add")

        @app.task(name="outer")
        def outer() -> Any:
            return [add.delay().id, add.apply_async(priority=2).id]

        with app.start_worker(concurrency=1):
            first, second = outer.apply_async(priority=8).get(timeout=10)
        assert (row(app.AsyncResult(first)).priority, row(app.AsyncResult(second)).priority) == (8, 2)
