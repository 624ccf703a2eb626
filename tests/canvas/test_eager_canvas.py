"""Canvases that are run in place: they do what they do in a worker, without a file and without waiting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group, signature, states
from litequeue.exceptions import ChordError, NotRegistered
from litequeue.result import EagerResult, GroupResult


def values(tasks: SimpleNamespace) -> dict[str, tuple[Any, Any]]:
    """Canvases and their values."""
    give, add = tasks.give, tasks.add
    return {
        "chain": (chain(add.s(1, 2), add.s(3), add.s(4)), 10),
        "group": (group(give.s(1), give.s(2)), [1, 2]),
        "nested groups": (group(group(give.s(1)), give.s(2)), [1, 2]),
        "group of chains": (group(chain(give.s(1), add.s(1)), give.s(2)), [2, 2]),
        "group in a chain": (chain(give.s(1), group(add.s(1), add.s(2))), [2, 3]),
        "group in a chain in a group": (group(chain(give.s(1), group(add.s(1), add.s(2))), give.s(9)), [[2, 3], 9]),
        "chord": (chord([give.s(1), give.s(2)], add.s()), 3),
        "chord of chords": (chord([chord([give.s(1)], add.s(1)), give.s(2)], add.s()), 4),
        "chord with an empty header": (chord([], add.s(5)), 5),
        "chord and more": (chord([give.s(1), give.s(2)], add.s()) | add.s(10) | group(add.s(1), add.s(2)), [14, 15]),
        "map": (add.map([[1], [2]]), [1, 2]),
        "chunks": (add.chunks([(1, 1), (2, 2), (3, 3)], 2), [[2, 4], [6]]),
        "empty group": (group(), []),
        "chain of one": (chain(give.s(1)), 1),
        "tolerant chord": (chord([give.s(1), tasks.fail.s(2)], give.s("ran"), on_header_error="run_body"), "ran"),
    }


NAMES = (
    *("chain", "group", "nested groups", "group of chains", "group in a chain", "group in a chain in a group", "chord"),
    *("chord of chords", "chord with an empty header", "chord and more", "map", "chunks", "empty group"),
    *("chain of one", "tolerant chord"),
)


@pytest.mark.parametrize("how", ["apply", "task_always_eager"])
@pytest.mark.parametrize("name", NAMES)
def test_values(app: LiteQueue, tasks: SimpleNamespace, name: str, how: str) -> None:
    canvas, value = values(tasks)[name]
    if how == "apply":
        result = canvas.apply()
    else:
        app.conf.task_always_eager = True
        result = canvas.apply_async()
    assert isinstance(result, (EagerResult, GroupResult))
    assert result.ready()
    assert result.successful()
    assert result.get() == value


@pytest.mark.parametrize("name", NAMES)
def test_the_same_values_in_a_worker(tasks: SimpleNamespace, worker: Callable[..., Any], name: str) -> None:
    canvas, value = values(tasks)[name]
    worker()
    assert canvas.apply_async().get(timeout=20) == value


def test_no_file_is_made(app: LiteQueue, tasks: SimpleNamespace, tmp_path: Path) -> None:
    for canvas, value in values(tasks).values():
        assert canvas.apply().get() == value
    assert list(tmp_path.iterdir()) == []


def test_every_name_is_tested(tasks: SimpleNamespace) -> None:
    assert tuple(values(tasks)) == NAMES


class TestResults:
    """The results of what was run in place."""

    def test_parents_and_members(self, tasks: SimpleNamespace) -> None:
        result = chain(tasks.give.s(1), group(tasks.add.s(1), tasks.add.s(2)), tasks.add.s()).apply()
        assert (result.get(), result.parent.get(), result.parent.parent.get()) == (5, [2, 3], 1)
        assert [type(each) for each in (result, *result.parent.results)] == [EagerResult] * 3

    def test_children(self, tasks: SimpleNamespace) -> None:
        result = chain(
            tasks.give.s(1), group(tasks.add.s(1), tasks.add.s(2)), tasks.add.s().set(link=[tasks.add.s(1)])
        ).apply()
        first = result.parent.parent
        (header,) = first.children
        assert (header.id, [each.get() for each in header.results]) == (result.parent.id, [2, 3])
        assert header.results[1].children == [result]
        assert [child.get() for child in result.children] == [6]
        assert [value for _, value in first.collect()] == [1, [2, 3], 2, 3, 5, 6]

    def test_ids_are_those_of_a_frozen_canvas(self, tasks: SimpleNamespace) -> None:
        canvas = chain(tasks.give.s(1), tasks.give.s(2))
        frozen = canvas.freeze()
        result = canvas.apply()
        assert (result.id, result.parent.id) == (frozen.id, frozen.parent.id)

    def test_arguments_of_the_call(self, tasks: SimpleNamespace) -> None:
        add = tasks.add
        assert chain(add.s(1), add.s(2)).apply((10,)).get() == 13
        assert group(add.s(1), add.si(2)).apply(args=(10,)).get() == [11, 2]
        assert chord([add.s(1), add.s(2)], add.s()).apply((10,)).get() == 23

    def test_values_nobody_wants_to_keep_are_there(self, app: LiteQueue) -> None:
        @app.task(ignore_result=True)
        def silent(*args: Any) -> int:
            return sum(args)

        result = chain(silent.s(1), silent.s(1)).apply()
        assert (result.get(), result.parent.get()) == (2, 1)

    def test_store_eager_result(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        app.conf.task_store_eager_result = True

        @app.task
        def kept(*args: Any) -> int:
            if sum(args) == 3:
                raise ValueError(args)
            return sum(args)

        result = group(kept.s(1), chain(kept.s(2), kept.s(1)), kept.s(2).set(ignore_result=True)).apply()
        ids = [each.id for each in result.results]
        assert [app.AsyncResult(task_id).state for task_id in ids] == [states.SUCCESS, states.FAILURE, states.PENDING]
        assert app.AsyncResult(ids[0]).get() == 1
        assert app.store.counts() == {"celery": {"succeeded": 2, "failed": 1}}


class TestErrors:
    """What fails."""

    def test_a_chain_that_fails(self, tasks: SimpleNamespace) -> None:
        result = chain(tasks.give.s(1), tasks.fail.s("boom"), tasks.give.s(3)).apply()
        assert [each.state for each in (result.parent.parent, result.parent, result)] == [
            states.SUCCESS,
            states.FAILURE,
            states.FAILURE,
        ]
        with pytest.raises(ValueError, match="boom"):
            result.get()

    def test_a_chord_whose_header_fails(self, tasks: SimpleNamespace) -> None:
        result = chord([tasks.give.s(1), tasks.fail.s("boom")], tasks.give.s(3)).apply()
        assert isinstance(result.result, ChordError)
        assert isinstance(result.result.__cause__, ValueError)
        with pytest.raises(ValueError, match="boom"):
            result.get()

    def test_throw(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        canvas = chain(tasks.fail.s("boom"), tasks.give.s(3))
        with pytest.raises(ValueError, match="boom"):
            canvas.apply(throw=True)
        app.conf.update(task_always_eager=True, task_eager_propagates=True)
        with pytest.raises(ValueError, match="boom"):
            canvas.apply_async()
        assert canvas.apply(throw=False).failed()

    def test_error_callbacks(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        told: list[Any] = []

        @app.task
        def old(failed: str) -> None:
            told.append(failed)

        @app.task
        def new(request: Any, exc: Any, traceback: Any) -> None:
            told.append((request.id, exc.args, "ValueError" in traceback))

        result = tasks.fail.apply(("boom",), link_error=[old.s(), new.s()])
        assert told == [result.id, (result.id, ("boom",), True)]

    def test_an_unknown_task(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        with pytest.raises(NotRegistered, match="nope"):
            chain(tasks.give.s(1), app.signature("nope", queue="far")).apply()

    def test_a_refused_task_is_not_offered_again(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        from litequeue.exceptions import Reject

        @app.task
        def refuse() -> None:
            raise Reject("not here", requeue=True)

        assert chain(refuse.s(), tasks.give.s(1)).apply().failed()

    def test_ignore(self, tasks: SimpleNamespace) -> None:
        result = chain(tasks.ignore.s(), tasks.give.s(1)).apply()
        assert (result.state, result.parent.state) == (states.IGNORED, states.IGNORED)
        assert group(tasks.ignore.s(), tasks.give.s(1)).apply().results[1].get() == 1


class TestNothingIsDelayed:
    """Neither countdowns nor retries are waited for."""

    def test_countdowns_and_expiries(self, tasks: SimpleNamespace) -> None:
        late = tasks.give.s(2).set(countdown=1000, expires=-5)
        assert chain(tasks.give.s(1).set(eta="2040-01-01T00:00:00"), late).apply(countdown=100).get() == 2
        assert group(tasks.give.s(number) for number in range(3)).skew(10).apply().get() == [0, 1, 2]

    def test_retries(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        @app.task(bind=True, default_retry_delay=1000)
        def again(self: Any, *args: Any) -> Any:
            if self.request.retries < 2:
                raise self.retry(expires=0.001)
            return [*args, self.request.retries]

        assert chain(tasks.give.s("in"), again.s(), tasks.give.s("out")).apply().parent.get() == ["in", 2]


class TestInsideATask:
    """A task that is run in place is a task."""

    def test_replace(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        give = tasks.give

        @app.task(bind=True)
        def become(self: Any, *args: Any) -> Any:
            return self.replace(signature(args[-1]))

        both = dict(group(give.s(1), give.s(2)))
        assert become.apply((both,)).get() == [1, 2]
        assert chain(give.s(0), become.s(both), tasks.add.s(3)).apply().get() == 6
        assert become.apply((dict(chain(give.s(1), give.s(2))),), link=[give.s(3)]).get() == 2
        result = become.apply((dict(chain(tasks.fail.s("boom"), give.s(2))),))
        with pytest.raises(ValueError, match="boom"):
            result.get()

    def test_add_to_chord(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        @app.task(bind=True)
        def grow(self: Any) -> int:
            self.add_to_chord(tasks.give.s(100))
            return 1

        assert chord([grow.s(), tasks.give.s(10)], tasks.add.s()).apply().get() == 111

    def test_the_request(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        @app.task(bind=True)
        def tell(self: Any, *args: Any) -> Any:
            request = self.request
            return [request.is_eager, request.id, request.root_id, request.parent_id, request.group]

        result = chain(tell.s(), group(tell.s(), tell.s())).apply()
        head = result.parent
        assert head.get() == [True, head.id, head.id, None, None]
        assert [each.get() for each in result.results] == [
            [True, each.id, head.id, head.id, result.id] for each in result.results
        ]

    def test_the_results_of_inner_calls_can_be_waited_for(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        app.conf.task_always_eager = True

        @app.task
        def outer() -> Any:
            return chord([tasks.give.s(1), tasks.give.s(2)], tasks.add.s()).apply_async().get()

        assert chain(outer.s(), tasks.add.s(1)).apply_async().get() == 4

    def test_callbacks_of_a_plain_call(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        seen: list[Any] = []

        @app.task
        def note(value: Any) -> None:
            seen.append(value)

        assert tasks.give.apply((1,), link=note.s()).get() == 1
        app.conf.task_always_eager = True
        assert tasks.give.apply_async((2,), link=[chain(tasks.add.s(1), note.s())]).get() == 2
        assert seen == [1, 3]


def test_five_hundred_steps_and_as_many_levels(tasks: SimpleNamespace) -> None:
    assert chain(tasks.add.s(0), *(tasks.add.s(1) for _ in range(500))).apply().get() == 500
    canvas = tasks.give.s(1)
    for _ in range(100):
        canvas = chord([canvas], tasks.add.s())
    assert canvas.apply().get() == 1
