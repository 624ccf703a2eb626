"""Sending a canvas: in one transaction or not at all, and what else a call of one does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from litequeue import LiteQueue, Task, chain, chord, group, signals, signature
from litequeue.canvas import xmap
from litequeue.exceptions import DuplicateTaskError, EncodeError, NotRegistered, QueueNotFound
from litequeue.result import AsyncResult, GroupResult
from tests.canvas.conftest import Gates

Worker = Callable[..., Any]


class TestNothingIsWritten:
    """What is wrong is an error at the call."""

    @pytest.fixture(autouse=True)
    def _nothing(self, app: LiteQueue) -> Iterator[None]:
        yield
        assert app.store.counts() == {}

    @pytest.mark.parametrize("where", ["step", "member", "body", "callback", "error callback", "mapped"])
    def test_a_task_that_the_app_does_not_know(self, app: LiteQueue, tasks: SimpleNamespace, where: str) -> None:
        a, unknown = tasks.give.s("a"), app.signature("nope", ("x",))
        canvas = {
            "step": lambda: chain(a, unknown),
            "member": lambda: group(a, unknown),
            "body": lambda: chord([a], unknown),
            "callback": lambda: a.set(link=[unknown]),
            "error callback": lambda: a.set(link_error=[unknown]),
            "mapped": lambda: group(a, xmap(unknown, [1])),
        }[where]()
        with pytest.raises(NotRegistered, match="nope"):
            canvas.apply_async()

    def test_a_chord_without_a_body(self, tasks: SimpleNamespace) -> None:
        for canvas in (chord([tasks.give.s(1)]), chain(tasks.give.s(1), signature(dict(chord([tasks.give.s(1)]))))):
            with pytest.raises(ValueError, match="body"):
                canvas.apply_async()

    @pytest.mark.parametrize("kind", ["chain", "group", "chord"])
    def test_a_canvas_that_contains_itself(self, tasks: SimpleNamespace, kind: str) -> None:
        make: dict[str, Any] = {
            "chain": lambda: chain(tasks.give.s(1), tasks.give.s(2)),
            "group": lambda: group(tasks.give.s(1)),
            "chord": lambda: chord([tasks.give.s(1)], tasks.give.s(2)),
        }
        canvas = make[kind]()
        canvas.tasks.append(group([tasks.give.s(3), canvas]))
        with pytest.raises(ValueError, match=r"contains? itself"):
            canvas.apply_async()

    @pytest.mark.parametrize("option", ["link", "link_error"])
    def test_callbacks_that_call_themselves(self, tasks: SimpleNamespace, option: str) -> None:
        a, b, c = tasks.give.s("a"), tasks.give.s("b"), tasks.give.s("c")
        getattr(b, option)(chain(tasks.give.s("d"), c))
        getattr(c, option)(b)
        getattr(a, option)(b)
        with pytest.raises((ValueError, EncodeError), match=r"contain|refers to itself|circular"):
            a.apply_async()

    @pytest.mark.parametrize("where", ["step", "member", "body", "generator"])
    def test_an_argument_that_cannot_be_written(self, tasks: SimpleNamespace, where: str) -> None:
        good, bad = tasks.give.s(1), tasks.give.s({"deep": [1, object()]})
        canvas = {
            "step": lambda: chain(good, bad),
            "member": lambda: group(good, bad),
            "body": lambda: chord([good], bad),
            "generator": lambda: group(sig for sig in (good, bad)),
        }[where]()
        with pytest.raises(EncodeError, match=r"args\[0\]\['deep'\]\[1\]"):
            canvas.apply_async()

    def test_a_generator_that_fails(self, tasks: SimpleNamespace) -> None:
        def signatures() -> Iterator[Any]:
            for number in range(12_000):
                yield tasks.give.s(number)
            raise OSError("no more rows")

        last = tasks.give.s("last")
        for make in (group, lambda members: chord(members, last), lambda members: chain(group(members), last)):
            with pytest.raises(OSError, match="no more rows"):
                make(signatures()).apply_async()

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_wrong_arguments_wherever(self, app: LiteQueue, number: int) -> None:
        @app.task
        def two(x: int, y: int) -> int:
            return x + y

        steps = [two.s(1, 1), two.s(1), two.s(1)]
        steps[number] = two.s(1, 1, 1)
        with pytest.raises(TypeError, match="two"):
            chain(*steps).apply_async()
        with pytest.raises(TypeError, match="two"):
            chord([two.s(1, 1)], two.si(1)).apply_async()

    def test_options_that_cannot_be(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        give = tasks.give
        with pytest.raises(TypeError, match="no option 'prio'"):
            chain(give.s(1), give.s(2).set(prio=3)).apply_async()
        with pytest.raises(ValueError, match="priority"):
            group(give.s(1), give.s(2)).apply_async(priority=300)
        with pytest.raises(TypeError, match="link"):
            group(give.s(1)).apply_async(link=give.s(2))
        with pytest.raises(ValueError, match="on_header_error"):
            chord([give.s(1)], give.s(2)).apply_async(on_header_error="ignore")
        with pytest.raises(ValueError, match=r"chord=.*add_to_chord"):
            give.apply_async((1,), chord=give.s(2))
        app.conf.task_create_missing_queues = False
        with pytest.raises(QueueNotFound):
            chord([give.s(1)], give.s(2).set(queue="missing")).apply_async()

    def test_an_id_that_stands_twice(self, tasks: SimpleNamespace) -> None:
        one = tasks.give.s(1).set(task_id="one")
        with pytest.raises(DuplicateTaskError, match="one"):
            group(tasks.give.s(0), one, one.clone()).apply_async()


class TestDurability:
    """`durability` of a call is that of the one commit."""

    @pytest.mark.parametrize("how", ["call", "signature", "step", "plain"])
    def test_full(self, app: LiteQueue, tasks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        give, asked = tasks.give, []
        write = app.store.enqueue_canvas
        monkeypatch.setattr(app.store, "enqueue_canvas", lambda *args: (asked.append(args[1]), write(*args)))
        match how:
            case "call":
                group(give.s(1), give.s(2)).apply_async(durability="full")
            case "signature":
                chord([give.s(1)], give.s(2)).set(durability="full").apply_async()
            case "step":
                chain(give.s(1), give.s(2).set(durability="full")).apply_async()
            case "plain":
                give.apply_async((1,), link=give.s(2), durability="full")
        assert asked == ["full"]

    def test_unknown(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        with pytest.raises(ValueError, match="durability"):
            group(tasks.give.s(1)).apply_async(durability="fully")
        assert app.store.counts() == {}


class TestNames:
    """Which names a canvas may have."""

    def test_an_app_without_tasks_of_its_own_sends_any(self, app: LiteQueue) -> None:
        LiteQueue("another", set_as_current=False).task(lambda: None, name="not its own")
        result = chain(app.signature("far.a"), app.signature("far.b")).apply_async()
        assert [app.store.task(each.id).name for each in (result.parent, result)] == ["far.a", "far.b"]  # type: ignore[union-attr]

    def test_a_queue_says_that_somebody_else_knows_it(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        result = chain(tasks.give.s(1), app.signature("far.b", queue="far")).apply_async()
        assert (result.name, result.queue) == ("far.b", "far")

    def test_a_task_sent_by_name_may_have_callbacks(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        result = app.send_task("far.a", link=tasks.give.s(1), link_error=[tasks.give.s(2)])
        assert [child.name for child in result.children] == ["give"]


class TestGenerators:
    """A generator is gone through while the file is free."""

    def test_it_may_use_the_queue_itself(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        worker()

        def signatures() -> Iterator[Any]:
            for number in range(20):
                assert tasks.give.delay(number).get(timeout=20) == number
                yield tasks.give.s(number)

        assert chord(signatures(), tasks.give.s("done")).apply_async().get(timeout=20) == "done"

    def test_others_write_meanwhile(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        written = threading.Event()

        def write() -> None:
            tasks.give.delay("other")
            written.set()

        def signatures() -> Iterator[Any]:
            yield tasks.give.s(1)
            threading.Thread(target=write).start()
            assert written.wait(20)
            yield tasks.give.s(2)

        assert len(group(signatures()).apply_async()) == 2

    def test_a_short_one_can_be_sent_again(self, tasks: SimpleNamespace) -> None:
        canvas = group(tasks.give.s(number) for number in range(3))
        assert len(canvas.apply_async()) == len(canvas.apply_async()) == 3


class TestResults:
    """The tree of results that a call returns."""

    def test_of_the_kinds(self, tasks: SimpleNamespace) -> None:
        give = tasks.give
        result = chain(give.s(1), group(give.s(2), give.s(3)), give.s(4)).apply_async()
        header = result.parent
        assert (type(header).__name__, len(header), type(header.parent).__name__) == ("GroupResult", 2, "AsyncResult")
        assert isinstance(result, AsyncResult)
        assert isinstance(header, GroupResult)
        assert header.parent.parent is None

    def test_of_parts_with_callbacks(self, tasks: SimpleNamespace) -> None:
        linked = tasks.give.s(2).set(link=[tasks.give.s(3)])
        assert chain(tasks.give.s(1), linked.clone()).apply_async().parent is not None
        assert chord([tasks.give.s(1)], linked.clone()).apply_async().parent is not None

    def test_nothing_to_do(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        assert chain().apply_async() is None
        assert group().apply_async().get() == []
        assert chain(group()).apply_async().get() == []
        assert app.store.counts() == {}

    def test_what_a_task_calls_are_its_children(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        give = tasks.give

        @app.task(bind=True)
        def caller(self: Any) -> list[Any]:
            chain(give.s(1), give.s(2)).apply_async()
            group(give.s(3), give.s(4)).apply_async()
            chord([give.s(5)], give.s(6)).apply_async()
            group(give.s(7)).apply_async(add_to_parent=False)
            return [type(child).__name__ for child in self.request.children]

        worker()
        result = caller.delay()
        assert result.get(timeout=20) == ["AsyncResult", "GroupResult", "GroupResult"]
        assert [type(child).__name__ for child in result.children][:3] == ["AsyncResult", "GroupResult", "GroupResult"]
        rows = [app.store.task(child.id) for child in result.children if isinstance(child, AsyncResult)]
        assert [(row.root_id, row.parent_id) for row in rows if row] == [(result.id, result.id)]

    def test_enqueue_many_takes_canvases(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        give = tasks.give
        results = app.enqueue_many(
            [
                give.s(1),
                chain(give.s(2), give.s(3)),
                group(give.s(4), give.s(5)),
                chord([give.s(6)], give.s(7)),
                chain(),
            ]
        )
        worker()
        assert [result and result.get(timeout=20) for result in results] == [1, 3, [4, 5], 7, None]


class TestCallbacks:
    """`link` and `link_error` of a plain call."""

    @pytest.mark.parametrize("form", ["signature", "list", "dict", "tuple"])
    def test_forms(self, tasks: SimpleNamespace, worker: Worker, gates: Gates, form: str) -> None:
        callback = tasks.hold.si("called")
        given = {
            "signature": callback,
            "list": [callback],
            "tuple": (callback,),
            "dict": json.loads(json.dumps(callback)),
        }
        worker()
        gates.open("called")
        assert tasks.give.apply_async((1,), link=given[form]).get(timeout=20) == 1
        gates.await_task("called")

    def test_link_error(self, tasks: SimpleNamespace, worker: Worker, gates: Gates) -> None:
        worker()
        gates.open("told")
        result = tasks.fail.apply_async((1,), link=tasks.hold.si("never"), link_error=tasks.hold.si("told"))
        assert isinstance(result.get(timeout=20, propagate=False), ValueError)
        gates.await_task("told")
        assert not gates.reached["never"].is_set()

    def test_the_waiter_of_a_task_with_callbacks_is_woken(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        record = app.store.task(tasks.give.apply_async((1,), link=tasks.give.s(2)).id)
        assert record is not None
        assert app.store.reply_port() is not None

    def test_the_chain_of_a_message(self, tasks: SimpleNamespace, worker: Worker) -> None:
        """As in Celery's messages, the next step is the last of the list."""
        give = tasks.give
        worker()
        first = give.apply_async(("a",), chain=[give.s("c").set(task_id="c"), give.s("b")])
        assert first.get(timeout=20) == "a"
        assert first.app.AsyncResult("c").get(timeout=20) == "c"

    def test_linking_to_a_task_that_has_ended(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        worker()
        good, bad = tasks.give.delay(20), tasks.fail.delay("no")
        assert good.get(timeout=20) == 20
        assert isinstance(bad.get(timeout=20, propagate=False), ValueError)
        good.link(tasks.add.s(1).set(task_id="after good"))
        bad.link_error(tasks.give.si("told").set(queue="celery"))
        bad.link(tasks.give.s(2).set(task_id="after bad"))
        assert app.AsyncResult("after good").get(timeout=20) == 21
        with pytest.raises(ValueError, match="no"):
            app.AsyncResult("after bad").get(timeout=20)

    def test_linking_to_a_task_that_runs(
        self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker, gates: Gates
    ) -> None:
        worker()
        running = tasks.hold.delay("gate")
        gates.await_task("gate")
        running.link(chain(tasks.give.s("x"), tasks.give.s("y").set(task_id="last")))
        gates.open("gate")
        assert app.AsyncResult("last").get(timeout=20) == "y"

    def test_linking_to_nothing(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        for link in (app.AsyncResult("never sent").link, app.AsyncResult("never sent").link_error):
            with pytest.raises(LookupError, match=r"queue\.db has no task never sent"):
                link(tasks.give.s(1))
        assert app.store.counts() == {}

    def test_a_retry_keeps_callbacks_and_cannot_change_them(
        self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker
    ) -> None:
        @app.task(bind=True)
        def again(self: Any) -> str:
            if self.request.retries:
                return "second"
            with pytest.raises(TypeError, match=r"retry\(\) cannot change link"):
                self.retry(link=tasks.give.s(1))
            raise self.retry(countdown=0)

        worker()
        again.apply_async(link=tasks.add.s().set(task_id="sum"), link_error=tasks.give.s()).get(timeout=20)
        assert isinstance(app.AsyncResult("sum").get(timeout=20, propagate=False), TypeError)


class TestSignals:
    """The signals around publishing are sent for each task of a canvas."""

    def test_before_and_after(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        before: list[Any] = []
        after: list[Any] = []

        def on_before(sender: str, headers: dict[str, Any], **_kwargs: Any) -> None:
            before.append((headers["id"], headers["group"], headers["root_id"], headers["parent_id"]))
            headers["tenant"] = "x"

        def on_after(sender: str, headers: dict[str, Any], **_kwargs: Any) -> None:
            assert app.store.task(headers["id"]) is not None
            after.append(headers["id"])

        signals.before_task_publish.connect(on_before)
        signals.after_task_publish.connect(on_after)
        try:
            result = chain(tasks.give.s(1), group(tasks.give.s(2), tasks.give.s(3))).apply_async()
        finally:
            signals.before_task_publish.disconnect(on_before)
            signals.after_task_publish.disconnect(on_after)
        head, members = result.parent.id, [member.id for member in result.results]
        assert before == [(head, None, head, None), *((member, result.id, head, head) for member in members)]
        assert after == [head, *members]
        for task_id in (head, *members):
            record = app.store.task(task_id)
            assert record is not None
            assert json.loads(record.headers or "") == {"tenant": "x"}


class TestOwnCalls:
    """A task class that defines `apply_async` itself is asked also in a canvas."""

    class Tenant(Task):
        """Adds a header."""

        abstract = True
        sent: ClassVar[list[str]] = []

        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            self.sent.append(self.name)
            headers = {**(options.pop("headers", None) or {}), "tenant": "x"}
            return super().apply_async(args, kwargs, headers=headers, **options)

    def test_each_call_goes_through_it(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        @app.task(base=self.Tenant, bind=True)
        def tenant(self: Any, *args: Any) -> Any:
            return self.request.headers["tenant"], *args

        result = chain(tenant.s(1), group(tenant.s(2), tasks.give.s(3)), tenant.s(4).set(priority=3)).apply_async()
        worker()
        assert result.get(timeout=20) == ["x", [["x", ["x", 1], 2], 3], 4]
        assert result.priority == 3
        assert len(self.Tenant.sent) == 3

    def test_one_that_does_not_pass_the_call_on(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        class Refusing(Task):
            """Enqueues nothing."""

            abstract = True

            def apply_async(self, *args: Any, **kwargs: Any) -> Any:
                return None

        refusing = app.task(base=Refusing, name="refusing")(lambda: None)
        with pytest.raises(RuntimeError, match="apply_async of refusing"):
            group(tasks.give.s(1), refusing.s()).apply_async()
        assert app.store.counts() == {}


class TestBuiltins:
    """The tasks that every app has."""

    def test_they_are_registered(self, app: LiteQueue) -> None:
        names = {name for name in app.tasks if name.startswith("litequeue.")}
        assert names >= {
            f"litequeue.{name}"
            for name in ("accumulate", "chain", "chord", "chunks", "group", "map", "start", "starmap")
        }

    def test_map_and_starmap(self, tasks: SimpleNamespace, worker: Worker) -> None:
        worker()
        assert tasks.give.map(iter([1, 2])).apply_async().get(timeout=20) == [1, 2]
        assert tasks.add.starmap([(1, 2), (3, 4)]).apply_async().get(timeout=20) == [3, 7]
        assert tasks.add.chunks(((n, n) for n in range(5)), 2).apply_async().get(timeout=20) == [[0, 2], [4, 6], [8]]
        mapped = group(tasks.add.map([[1, 2]]), tasks.add.chunks([(1, 1), (2, 2)], 1)).apply_async()
        assert mapped.get(timeout=20) == [[3], [2], [4]]

    def test_mapping_is_done_by_the_app_that_was_asked(self, app: LiteQueue, tmp_path: Path, worker: Worker) -> None:
        @app.task(name="who", shared=False)
        async def who(*args: Any) -> Any:
            return ["asked", *args]

        worker()
        other = LiteQueue("other", broker=tmp_path / "other.db")  # and current from here on
        try:
            other.task(name="who", shared=False)(lambda *args: ["other", *args])
            assert who.map([1, 2]).apply_async().get(timeout=20) == [["asked", 1], ["asked", 2]]
            assert who.starmap([(1, 2)]).apply_async().get(timeout=20) == [["asked", 1, 2]]
        finally:
            other.close()

    def test_a_map_goes_to_the_queue_of_its_task(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        app.conf.task_routes = {"give": "given"}
        assert tasks.give.map([1]).apply_async().queue == "given"
        assert group(tasks.give.map([1]), tasks.give.chunks([(1,)], 1)).apply_async().results[1].queue == "given"

    @pytest.mark.parametrize("kind", ["chain", "group", "chord", "chunks"])
    def test_composed_signatures_sent_by_their_names(
        self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker, kind: str
    ) -> None:
        give = tasks.give
        canvas, value = {
            "chain": (chain(give.s(1), give.s(2)), 2),
            "group": (group(give.s(1), give.s(2)), [1, 2]),
            "chord": (chord([give.s(1)], tasks.add.s()), 1),
            "chunks": (give.chunks([(1,), (2,)], 1), [[1], [2]]),
        }[kind]
        worker()
        result = app.send_task(f"litequeue.{kind}", kwargs=json.loads(json.dumps(canvas))["kwargs"])
        assert result.get(timeout=20) == value


def test_a_canvas_goes_to_a_file_in_one_transaction(tmp_path: Path, app: LiteQueue, tasks: SimpleNamespace) -> None:
    seen = app.store.changes()
    other = LiteQueue("reader", broker=tmp_path / "queue.db", set_as_current=False)
    counts: list[Any] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            counts.append(other.store.counts().get("celery", {}).get("ready", 0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        group(tasks.give.s(number) for number in range(15_000)).apply_async()
    finally:
        stop.set()
        thread.join()
        other.close()
    assert set(counts) <= {0, 15_000}
    assert seen != app.store.changes()
