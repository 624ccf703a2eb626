"""Where the options of a call go in a canvas: queue, priority, times, ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from litequeue import chain, chord, group
from tests.canvas.semantics.conftest import Run
from tests.canvas.semantics.tasks import add, pair, same, told

_, QUEUE, PRIORITY, ETA, EXPIRES = range(1, 6)


def p(name: str, **options: Any) -> Any:
    """A task whose last argument is its name."""
    return pair.s(name).set(**options)


def sent_with(run: Run, field: int) -> dict[str, Any]:
    """A field of how each task was sent, by the names of the tasks."""
    return {entry[0][-1]: entry[field] for entry in run.of("pair")}


@pytest.fixture(params=["call", "set"])
def send(request: pytest.FixtureRequest, run: Any) -> Any:
    """Send a canvas with options, given at the call or set before."""

    def with_options(canvas: Any, **options: Any) -> Run:
        done: Run = run(canvas, **options) if request.param == "call" else run(canvas.set(**options))
        assert done.error is None
        return done

    return with_options


class TestQueue:
    """`queue=`."""

    def test_of_a_chain_is_that_of_its_first_step(self, send: Any) -> None:
        done = send(chain(p("a"), p("b"), p("c", queue="third")), queue="other")
        assert sent_with(done, QUEUE) == {"a": "other", "b": "celery", "c": "third"}

    def test_of_a_group_is_that_of_every_member(self, send: Any) -> None:
        done = send(group(p("a"), p("b", queue="third")), queue="other")
        assert sent_with(done, QUEUE) == {"a": "other", "b": "other"}

    def test_of_a_group_of_chains(self, send: Any) -> None:
        done = send(group(chain(p("a"), p("b")), p("c")), queue="other")
        assert sent_with(done, QUEUE) == {"a": "other", "b": "celery", "c": "other"}

    def test_of_nested_groups(self, send: Any) -> None:
        done = send(group(group(p("a")), p("b")), queue="other")
        assert sent_with(done, QUEUE) == {"a": "other", "b": "other"}

    def test_of_a_chord_is_that_of_all_of_it(self, send: Any) -> None:
        done = send(chord([p("a"), p("b", queue="third")], p("c")), queue="other")
        assert sent_with(done, QUEUE) == {"a": "other", "b": "other", "c": "other"}

    def test_of_a_chain_from_a_chord(self, send: Any) -> None:
        done = send(chain(chord([p("a")], p("b")), p("c")), queue="other")
        assert sent_with(done, QUEUE) == {"a": "other", "b": "other", "c": "celery"}

    def test_of_a_chain_with_a_group_inside(self, send: Any) -> None:
        done = send(chain(p("a"), group(p("b"), p("c")), p("d")), queue="other")
        assert sent_with(done, QUEUE) == {"a": "other", "b": "celery", "c": "celery", "d": "celery"}


class TestPriority:
    """`priority=`."""

    def test_of_one_signature_is_its_own(self, run: Any) -> None:
        done = run(chain(p("a", priority=3), p("b"), p("c", priority=7)))
        assert sent_with(done, PRIORITY) == {"a": 3, "b": 0, "c": 7}

    def test_of_a_chain(self, send: Any) -> None:
        assert sent_with(send(chain(p("a"), p("b")), priority=5), PRIORITY) == {"a": 5, "b": 0}

    def test_of_a_group(self, send: Any) -> None:
        assert sent_with(send(group(p("a"), p("b")), priority=5), PRIORITY) == {"a": 5, "b": 5}

    def test_of_a_chord(self, send: Any) -> None:
        done = send(chord([p("a"), p("b")], p("c")), priority=5)
        assert sent_with(done, PRIORITY) == {"a": 5, "b": 5, "c": 5}


class TestTimes:
    """`countdown=`, `eta=`, `expires=`."""

    def test_countdown_of_a_chain_delays_its_start(self, send: Any) -> None:
        etas = sent_with(send(chain(p("a"), p("b")), countdown=0.1), ETA)
        assert etas["a"] is not None
        assert etas["b"] is None

    def test_eta_of_a_chain_that_starts_with_a_chord(self, run: Any) -> None:
        eta = datetime.now(UTC) + timedelta(seconds=0.1)
        done = run(group(p("a"), p("b")) | p("c") | p("d"), eta=eta)
        etas = sent_with(done, ETA)
        assert None not in (etas["a"], etas["b"])
        assert (etas["c"], etas["d"]) == (None, None)
        assert done.result.date_done >= eta

    def test_countdown_of_a_later_step_counts_from_its_release(self, run: Any) -> None:
        done = run(chain(p("a"), p("b", countdown=0.1)))
        assert sent_with(done, ETA)["b"] is not None
        first, second = done.result.parent, done.result
        assert (second.date_done - first.date_done).total_seconds() >= 0.1

    def test_countdown_of_a_group(self, send: Any) -> None:
        etas = sent_with(send(group(p("a"), p("b")), countdown=0.1), ETA)
        assert None not in etas.values()

    def test_countdown_of_a_chord_delays_its_header(self, send: Any) -> None:
        etas = sent_with(send(chord([p("a"), p("b")], p("c")), countdown=0.1), ETA)
        assert None not in (etas["a"], etas["b"])
        assert etas["c"] is None

    def test_countdown_of_a_body_counts_from_its_release(self, run: Any) -> None:
        assert sent_with(run(chord([p("a")], p("b", countdown=0.05))), ETA)["b"] is not None

    def test_expires_of_a_chain(self, send: Any) -> None:
        expires = sent_with(send(chain(p("a"), p("b")), expires=60), EXPIRES)
        assert expires["a"] is not None
        assert expires["b"] is None

    def test_expires_of_a_chord(self, send: Any) -> None:
        assert None not in sent_with(send(chord([p("a")], p("c")), expires=60), EXPIRES).values()

    def test_skewed_members(self, run: Any) -> None:
        done = run(group(p("a"), p("b")).skew(start=0.02, stop=0.06, step=0.02))
        etas = sent_with(done, ETA)
        assert etas["a"] < etas["b"]


class TestIds:
    """`task_id=`."""

    def test_of_a_chain_is_that_of_its_last_step(self, run: Any) -> None:
        assert run(chain(p("a"), p("b")), task_id="chain-id").result.id == "chain-id"

    def test_of_a_group_is_that_of_the_group(self, run: Any) -> None:
        result = run(group(p("a"), p("b")), task_id="group-id").result
        assert result.id == "group-id"
        assert "group-id" not in [each.id for each in result.results]

    def test_of_a_chord_is_that_of_its_body(self, run: Any) -> None:
        assert run(chord([p("a")], p("b")), task_id="chord-id").result.id == "chord-id"

    def test_of_every_signature(self, run: Any) -> None:
        canvas = chain(
            p("a", task_id="id-a"), group(p("b", task_id="id-b"), p("c", task_id="id-c")), p("d", task_id="id-d")
        )
        result = run(canvas).result
        assert result.id == "id-d"
        assert [each.id for each in result.parent.results] == ["id-b", "id-c"]
        assert result.parent.parent.id == "id-a"


class TestOthers:
    """Options that travel with their signature."""

    def test_of_a_loop_in_one_task(self, run: Any) -> None:
        done = run(add.starmap([(1, 2), (3, 4)]), countdown=0.05)
        assert done.value == [3, 7]

    def test_argsrepr(self, app: Any, run: Any) -> None:
        result = run(chain(p("a").set(argsrepr="(secret)"), p("b").set(argsrepr="(hidden)"))).result
        assert result.successful()

    def test_time_limits(self, run: Any) -> None:
        done = run(chain(same.s(1).set(soft_time_limit=5, time_limit=6), same.s().set(time_limit=7)))
        assert done.value == 1

    def test_options_of_a_callback(self, run: Any) -> None:
        done = run(p("a"), link=[p("b", queue="other", priority=4)])
        assert sent_with(done, QUEUE)["b"] == "other"
        assert sent_with(done, PRIORITY)["b"] == 4

    def test_options_of_an_errback(self, run: Any) -> None:
        from tests.canvas.semantics.tasks import fail

        done = run(fail.s("x").on_error(p("b", queue="other", priority=4)).on_error(told.si("y").set(countdown=0.05)))
        assert sent_with(done, QUEUE) == {"b": "other"}
        assert sent_with(done, PRIORITY) == {"b": 4}
        assert done.of("told") == [["y"]]
