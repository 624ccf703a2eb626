"""A running task that changes its canvas: when what it changed is written, and when it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, Task, chain, chord, group, signature
from litequeue.exceptions import ImproperlyConfigured
from tests.canvas.conftest import Gates

Worker = Callable[..., Any]


@pytest.fixture
def become(app: LiteQueue) -> Any:
    """Replaces itself by its last argument."""

    @app.task(bind=True, name="become")
    def become(self: Any, *args: Any) -> None:
        self.replace(signature(args[-1]))
        raise AssertionError("replace() returned")

    return become


class TestReplace:
    """`self.replace(...)`."""

    def test_the_row_stays_and_becomes_the_last_task(
        self, app: LiteQueue, tasks: SimpleNamespace, become: Any, worker: Worker
    ) -> None:
        give = tasks.give
        last = give.s("last").set(queue="celery", priority=7, time_limit=30, headers={"x": 1})
        result = become.apply_async((dict(chain(give.s("first"), last)),), priority=3)
        worker()
        assert result.get(timeout=20) == "last"
        row = app.store.task(result.id)
        assert row is not None
        assert (row.name, row.priority, row.time_limit) == ("give", 7, 30)
        assert json.loads(row.headers or "") == {"x": 1}
        assert json.loads(row.options or "")["replaced_task_nesting"] == 1
        first = app.store.task(str(row.after))
        assert first is not None
        assert (first.root_id, first.parent_id, json.loads(first.options or "")) == (
            result.id,
            result.id,
            {"replaced_task_nesting": 1},
        )

    def test_nesting_grows(self, app: LiteQueue, worker: Worker) -> None:
        @app.task(bind=True)
        def shrink(self: Any, number: int) -> int:
            if number:
                raise self.replace(self.app.signature(self.name, (number - 1,)))
            return int(self.request.replaced_task_nesting)

        worker()
        assert shrink.delay(5).get(timeout=20) == 5

    @pytest.mark.parametrize("kind", ["group", "nested", "chain", "body", "chunks"])
    def test_what_ends_in_a_group_gives_a_list(
        self, tasks: SimpleNamespace, become: Any, worker: Worker, kind: str
    ) -> None:
        give = tasks.give
        both = group(give.s(1), give.s(2))
        canvas = {
            "group": both,
            "nested": group(both, give.s(3)),
            "chain": chain(give.s(0), both),
            "body": chord([give.s(0)], both),
            "chunks": give.chunks([(1,), (2,)], 1),
        }[kind]
        worker()
        value = chain(become.si(dict(canvas)), give.s("after")).apply_async()
        wanted = {"nested": [1, 2, 3], "chunks": [[1], [2]]}.get(kind, [1, 2])
        assert value.parent.get(timeout=20) == wanted
        assert value.get(timeout=20) == "after"

    def test_one_caught_by_the_task_counts_all_the_same(
        self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker
    ) -> None:
        @app.task(bind=True)
        def careless(self: Any) -> str:
            try:
                self.replace(tasks.give.s("replaced"))
            except Exception:
                pass
            return "not replaced"

        worker()
        assert careless.delay().get(timeout=20) == "replaced"

    @pytest.mark.parametrize("kind", ["empty chain", "in a chord", "unknown", "unencodable", "no body"])
    def test_what_cannot_replace_fails_the_task(
        self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker, kind: str
    ) -> None:
        bad: dict[str, tuple[Callable[[], Any], str]] = {
            "empty chain": (chain, "Cannot replace with an empty chain"),
            "in a chord": (lambda: tasks.give.s(1).set(chord=tasks.give.s(2)), "must not be part of a chord"),
            "unknown": (lambda: group(tasks.give.s(1), app.signature("nope")), "nope"),
            "unencodable": (lambda: chain(tasks.give.s(1), tasks.give.s(object())), r"args\[0\]"),
            "no body": (lambda: chord([tasks.give.s(1)]), "body"),
        }
        make, text = bad[kind]

        @app.task(bind=True)
        def careless(self: Any) -> None:
            self.replace(make())

        worker()
        result = careless.delay()
        with pytest.raises(Exception, match=text):
            result.get(timeout=20)
        assert app.store.counts() == {"celery": {"failed": 1}}

    def test_outside_of_a_worker(self, tasks: SimpleNamespace, become: Any) -> None:
        with pytest.raises(RuntimeError, match="called as a function"):
            become(dict(tasks.give.s(1)))

    def test_a_task_that_is_called_by_the_running_one_replaces_that(
        self, app: LiteQueue, tasks: SimpleNamespace, become: Any, worker: Worker
    ) -> None:
        """As with retry(): the request of a task that is called as a function is that of nobody."""

        @app.task(bind=True)
        def caller(self: Any) -> str:
            with pytest.raises(RuntimeError):
                become(dict(tasks.give.s(1)))
            return "went on"

        worker()
        assert caller.delay().get(timeout=20) == "went on"

    def test_on_replace_may_change_the_signature(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        seen: list[Any] = []

        class Hooked(Task):
            """Puts every replacement into a queue."""

            abstract = True

            def on_replace(self, sig: Any) -> Any:
                seen.append((sig.id, self.request.id))
                return super().on_replace(sig.set(priority=9))

        @app.task(bind=True, base=Hooked)
        def hooked(self: Any) -> None:
            self.replace(tasks.give.s(1))

        worker()
        result = hooked.delay()
        assert result.get(timeout=20) == 1
        assert seen == [(result.id, result.id)]
        assert result.priority == 9

    def test_error_callbacks_of_both_are_called_once(
        self, app: LiteQueue, tasks: SimpleNamespace, become: Any, worker: Worker
    ) -> None:
        told: list[tuple[str, str]] = []

        @app.task(bind=True, name="tell")
        def tell(self: Any, failed: str, whose: str) -> None:
            told.append((failed, whose))

        worker()
        for canvas, position in ((tasks.fail.s(1), "last"), (chain(tasks.fail.s(1), tasks.give.s(2)), "first")):
            told.clear()
            new = canvas.clone()
            new.link_error(tell.s("new"))
            result = become.apply_async((dict(new),), link_error=tell.s("old"))
            with pytest.raises(ValueError, match="1"):
                result.get(timeout=20)
            _wait_until_idle(app)
            assert sorted(whose for _, whose in told) == ["new", "old"]
            ids = {failed for failed, _ in told}
            assert len(ids) == 1
            assert (ids == {result.id}) == (position == "last")

    def test_a_failure_after_a_retry_of_the_replacement(self, app: LiteQueue, become: Any, worker: Worker) -> None:
        @app.task(bind=True, name="twice")
        def twice(self: Any) -> list[Any]:
            if not self.request.retries:
                raise self.retry(countdown=0)
            return [self.request.retries, self.request.replaced_task_nesting]

        worker()
        assert become.delay(dict(twice.s())).get(timeout=20) == [1, 1]

    def test_stamps_are_inherited(self, app: LiteQueue, tasks: SimpleNamespace, become: Any, worker: Worker) -> None:
        sig = become.s(dict(chain(tasks.give.s(1), tasks.give.s(2))))
        sig.stamp(tenant="x")
        worker()
        result = sig.apply_async()
        assert result.get(timeout=20) == 2
        row = app.store.task(result.id)
        assert row is not None
        first = app.store.task(str(row.after))
        assert first is not None
        assert (row.stamps, first.stamps) == ('{"tenant":"x"}',) * 2


class TestAddToChord:
    """`self.add_to_chord(...)`."""

    def test_the_body_waits_for_it(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker, gates: Gates) -> None:
        give = tasks.give

        @app.task(bind=True)
        def grow(self: Any) -> str:
            added = self.add_to_chord(tasks.hold.s("added"))
            chained = self.add_to_chord(chain(give.s(1), give.s("chained")))
            assert self.request.children[0].id == added.id
            assert chained.parent is not None
            return "own"

        @app.task
        def same(values: list[Any]) -> list[Any]:
            return values

        worker()
        result = chord([grow.s(), give.s("other")], same.s()).apply_async()
        gates.await_task("added")
        assert not result.ready()
        gates.open("added")
        assert result.get(timeout=20) == ["own", "other", "added", "chained"]
        assert result.parent.id == app.GroupResult.restore(result.parent.id).id

    def test_lazily(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        @app.task(bind=True)
        def grow(self: Any) -> str:
            self.add_to_chord(tasks.give.s("never sent"), lazy=True)
            self.add_to_chord(tasks.give.s("sent"), lazy=True).delay()
            return "own"

        worker()
        assert chord([grow.s()], tasks.add.s("")).apply_async().get(timeout=20, propagate=False) is not None
        result = group(grow.s(), tasks.give.s("x")) | _lists(app)
        assert result.apply_async().get(timeout=20) == ["own", "x", "sent"]

    def test_and_replace(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        @app.task(bind=True)
        def grow(self: Any) -> None:
            self.add_to_chord(tasks.give.s("added"))
            self.replace(tasks.give.s("replaced"))

        worker()
        assert chord([grow.s(), tasks.give.s("x")], _lists(app)).apply_async().get(timeout=20) == [
            "replaced",
            "x",
            "added",
        ]

    @pytest.mark.parametrize("how", ["fails", "retries"])
    def test_it_is_written_with_the_success_or_not_at_all(
        self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker, how: str
    ) -> None:
        @app.task(bind=True)
        def grow(self: Any) -> str:
            self.add_to_chord(tasks.give.s("added"))
            if how == "fails":
                raise ValueError("too late")
            if not self.request.retries:
                raise self.retry(countdown=0)
            return "own"

        worker()
        result = chord([grow.s()], _lists(app)).apply_async()
        if how == "fails":
            with pytest.raises(ValueError, match="too late"):
                result.get(timeout=20)
            assert app.store.counts() == {"celery": {"failed": 2}}
        else:
            assert result.get(timeout=20) == ["own", "added"]

    def test_outside_of_a_chord(self, app: LiteQueue, tasks: SimpleNamespace, worker: Worker) -> None:
        @app.task(bind=True)
        def grow(self: Any) -> None:
            self.add_to_chord(tasks.give.s(1))

        worker()
        for canvas in (grow.s(), group(grow.s(), tasks.give.s(1)), chain(grow.s(), tasks.give.s(2))):
            with pytest.raises(ValueError, match="Current task is not member of any chord"):
                canvas.apply_async().get(timeout=20)


def test_replacing_is_refused_where_there_is_nothing_left(app: LiteQueue, become: Any, worker: Worker) -> None:
    worker()
    with pytest.raises(ImproperlyConfigured, match=r"nothing|empty"):
        become.delay(dict(chain(chain(), chain()))).get(timeout=20)


def _lists(app: LiteQueue) -> Any:
    @app.task(name="lists")
    def lists(values: list[Any]) -> list[Any]:
        return values

    return lists.s()


def _wait_until_idle(app: LiteQueue) -> None:
    seen = app.store.changes()
    while any(state in ("ready", "running", "waiting", "scheduled") for state in app.store.counts()["celery"]):
        seen = app.store.wait_for_change(seen, 0.05)
