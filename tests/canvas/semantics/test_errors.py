"""What happens when a part of a canvas does not end well: values, states, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litequeue import chain, chord, group, states
from litequeue.exceptions import ChordError, TaskRevokedError
from tests.canvas.semantics.conftest import Run, end
from tests.canvas.semantics.tasks import (
    Bad,
    bound_errback,
    errback,
    error_seen,
    fail,
    fail_when_there,
    flaky,
    hopeless,
    ignored,
    make,
    new_errback,
    rejected,
    silent,
    step,
    told,
    until_there,
)

s = step.s
f = fail.s
eb = errback.s

RunCanvas = Callable[..., Run]


def real(error: BaseException | None) -> BaseException | None:
    """What is behind the errors of chords."""
    while isinstance(error, ChordError):
        error = error.__cause__
    return error


def told_of(run: Run) -> list[str]:
    """The ids that the old-style errbacks got."""
    return [entry[0] for entry in run.of("errback")]


class TestChains:
    """A chain whose step fails."""

    @pytest.mark.parametrize("failing", [0, 1, 2])
    def test_the_last_result_raises_the_cause(self, run: RunCanvas, failing: int) -> None:
        steps = [s("a"), s("b"), s("c")]
        steps[failing] = f("x")
        done = run(chain(*steps))
        assert done.error == Bad("x")
        assert [entry[0] for entry in done.of("step")] == ["a", "b", "c"][:failing]

    def test_the_rest_ends_at_once_with_the_cause(self, run: RunCanvas) -> None:
        done = run(chain(s("a"), f("x"), s("c"), s("d")))
        last, third, failed, first = (node := done.result), node.parent, node.parent.parent, node.parent.parent.parent
        for result in (failed, third, last):
            assert result.state == states.FAILURE
            assert result.ready()
            assert result.failed()
            assert not result.successful()
            assert result.result == Bad("x")
        assert first.state == states.SUCCESS
        assert done.names("fail") == ["x"]

    def test_the_errback_is_told_once_of_the_step_that_failed(self, run: RunCanvas) -> None:
        for failing in range(3):
            steps = [s("a"), s("b"), s("c")]
            steps[failing] = f("x")
            for each, task_id in zip(steps, "abc", strict=True):
                each.set(task_id=f"{task_id}{failing}")
            assert told_of(run(chain(*steps).on_error(eb()))) == [f"{'abc'[failing]}{failing}"]

    def test_an_errback_of_a_later_step_is_not_told(self, run: RunCanvas) -> None:
        assert told_of(run(chain(f("x"), s("b").on_error(eb())))) == []

    def test_a_chain_that_succeeds_tells_no_errback(self, run: RunCanvas) -> None:
        assert told_of(run(chain(s("a"), s("b")).on_error(eb()))) == []

    def test_forty_two_links_and_one_errback(self, run: RunCanvas) -> None:
        members = [s(str(number)).set(link=[told.si(number)]) for number in range(42)]
        assert sorted(entry[0] for entry in run(chain(*members)).of("told")) == list(range(42))
        failing = [f(str(number)).set(link_error=[told.si(number)]) for number in range(42)]
        assert run(chain(*failing)).of("told") == [[0]]

    def test_a_group_behind_a_failed_step_fails(self, run: RunCanvas) -> None:
        done = run(chain(f("x"), group(s("b"), s("c"))))
        assert done.error == Bad("x")
        assert [each.state for each in done.result.results] == [states.FAILURE] * 2
        assert done.names() == []

    def test_a_chord_behind_a_failed_step_fails(self, run: RunCanvas) -> None:
        done = run(chain(f("x"), chord([s("b"), s("c")], s("d")), s("e")).on_error(eb()))
        assert done.error == Bad("x")
        assert told_of(done) == [done.result.parent.parent.parent.id]
        assert {each.state for each in done.result.parent.parent.results} == {states.FAILURE}
        assert done.result.state == done.result.parent.state == states.FAILURE


class TestGroups:
    """A group with a failing member."""

    def test_the_others_run(self, run: RunCanvas) -> None:
        done = run(group(f("x"), s("b"), s("c")))
        assert done.error == Bad("x")
        assert done.names() == ["b", "c"]
        assert [each.state for each in done.result.results] == [states.FAILURE, states.SUCCESS, states.SUCCESS]

    def test_it_is_ready_and_failed(self, run: RunCanvas) -> None:
        result = run(group(f("x"), s("b"))).result
        assert result.ready()
        assert result.failed()
        assert not result.successful()
        assert not result.waiting()
        assert result.completed_count() == 1

    def test_values_without_raising(self, run: RunCanvas) -> None:
        assert run(group(f("x"), s("b"))).result.get(propagate=False) == [Bad("x"), "b"]

    def test_link_error_is_told_of_each_failing_member(self, run: RunCanvas) -> None:
        canvas = group(f("x").set(task_id="gx"), s("b"), f("y").set(task_id="gy"))
        canvas.link_error(eb())
        assert sorted(told_of(run(canvas))) == ["gx", "gy"]

    def test_link_error_of_a_group_of_chains(self, run: RunCanvas) -> None:
        canvas = group(chain(f("x").set(task_id="cx"), s("b")), chain(s("c"), f("y").set(task_id="cy")))
        canvas.link_error(eb())
        assert sorted(told_of(run(canvas))) == ["cx", "cy"]

    def test_errbacks_of_a_chain_that_ends_in_a_group(self, run: RunCanvas) -> None:
        canvas = chain(s("a"), group(f("x").set(task_id="ex"), f("y").set(task_id="ey"))).on_error(eb())
        assert sorted(told_of(run(canvas))) == ["ex", "ey"]


BAD_IDS: list[str] = []
"""The ids of the parts that fail, the newest last."""


def _bad() -> Any:
    BAD_IDS.append(f"bad{len(BAD_IDS)}")
    return f("x").set(task_id=BAD_IDS[-1])


# What a header may be of which one part fails.


HEADERS: list[tuple[str, Callable[[], list[Any]]]] = [
    ("direct", lambda: [_bad(), s("g")]),
    ("last", lambda: [s("g"), _bad()]),
    ("only", lambda: [_bad()]),
    ("first of a chain", lambda: [chain(_bad(), s("k")), s("g")]),
    ("last of a chain", lambda: [chain(s("k"), _bad()), s("g")]),
    ("middle of a chain", lambda: [chain(s("k"), _bad(), s("l")), s("g")]),
    ("header of a chord", lambda: [chord([_bad(), s("k")], s("l")), s("g")]),
    ("body of a chord", lambda: [chord([s("k")], _bad()), s("g")]),
    ("group", lambda: [group(_bad(), s("k")), s("g")]),
    ("group at the end of a chain", lambda: [chain(s("k"), group(_bad(), s("l"))), s("g")]),
    ("before a group", lambda: [chain(_bad(), group(s("k"), s("l"))), s("g")]),
    ("two deep", lambda: [chord([chord([_bad()], s("k"))], s("l")), s("g")]),
    ("first step of a chain in a chord", lambda: [chord([chain(_bad(), s("k")), s("l")], s("m")), s("g")]),
]
IDS = [case[0] for case in HEADERS]
INNER_CHORDS = [
    case[1] for case in HEADERS if case[0] in ("header of a chord", "two deep", "first step of a chain in a chord")
]


@pytest.mark.parametrize("header", [case[1] for case in HEADERS], ids=IDS)
class TestFailingHeaders:
    """A chord with a failing part, wherever in its header."""

    def test_the_body_does_not_run(self, run: RunCanvas, header: Any) -> None:
        done = run(chord(header(), s("body")))
        assert "body" not in done.names()
        assert done.names("fail") == ["x"]
        assert "g" in done.names() or header is HEADERS[2][1]

    def test_get_raises_the_real_exception(self, run: RunCanvas, header: Any) -> None:
        assert real(run(chord(header(), s("body"))).error) == Bad("x")

    def test_the_body_holds_a_chord_error(self, run: RunCanvas, header: Any) -> None:
        result = run(chord(header(), s("body"))).result
        assert result.state == states.FAILURE
        assert isinstance(result.result, ChordError)
        assert "raised" in str(result.result)
        assert real(result.result) == Bad("x")

    def test_the_body_names_what_failed(self, run: RunCanvas, header: Any) -> None:
        error = run(chord(header(), s("body"))).result.result
        if header in INNER_CHORDS:  # what failed is the body of the inner chord
            assert str(error).startswith("Dependency ")
            assert "raised ChordError(" in str(error)
        else:
            assert str(error) == f"Dependency {BAD_IDS[-1]} raised Bad('x')"

    def test_errbacks_of_the_body_are_told_once(self, run: RunCanvas, header: Any) -> None:
        done = run(chord(header(), s("body").on_error(eb())))
        assert told_of(done) == [done.result.id]

    def test_what_follows_the_body_fails(self, run: RunCanvas, header: Any) -> None:
        done = run(chain(chord(header(), s("body")), s("after")))
        assert real(done.error) == Bad("x")
        assert not {"body", "after"} & set(done.names())
        assert done.result.state == states.FAILURE

    def test_behind_a_head(self, run: RunCanvas, header: Any) -> None:
        done = run(chain(s("head"), chord(header(), s("body"))))
        assert real(done.error) == Bad("x")
        assert "body" not in done.names()

    def test_run_body_gets_exceptions_in_the_failed_slots(self, run: RunCanvas, header: Any) -> None:
        done = run(chord(header(), s("body"), on_header_error="run_body"))
        assert "body" in done.names()
        assert done.result.state == states.SUCCESS


class TestChordErrors:
    """More of chords that fail."""

    def test_the_first_in_time_is_named(self, run: RunCanvas, tmp_path: Path) -> None:
        flag = str(tmp_path / "flag")
        late, early = fail_when_there.si(flag, "late"), f("early").set(task_id="early", link_error=[make.si(flag)])
        result = run(chord([late, early], s("body"))).result
        assert str(result.result) == "Dependency early raised Bad('early')"

    def test_however_many_fail_the_body_is_told_once(self, run: RunCanvas) -> None:
        done = run(chord([f(str(number)) for number in range(10)], s("body").on_error(eb())))
        assert told_of(done) == [done.result.id]

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_link_error_of_the_chord_reaches_the_body_only(self, run: RunCanvas, count: int) -> None:
        canvas = chord([f(str(number)) for number in range(count)] + [s("a")], s("body"))
        canvas.link_error(eb())
        done = run(canvas)
        assert told_of(done) == [done.result.id]

    @pytest.mark.parametrize("upgraded", [False, True])
    def test_link_error_on_the_header_too_when_the_setting_says_so(
        self, app: Any, run: RunCanvas, upgraded: bool
    ) -> None:
        header = [f("x"), s("a"), chain(s("b"), f("y"), s("c"))]
        app.conf.task_allow_error_cb_on_chord_header = True
        try:
            canvas = group(header) | s("body") if upgraded else chord(header, s("body"))
            canvas.link_error(eb())
            done = run(canvas)
        finally:
            app.conf.task_allow_error_cb_on_chord_header = False
        assert len(told_of(done)) == 3
        assert done.result.id in told_of(done)

    def test_link_error_in_the_options_of_the_call(self, run: RunCanvas) -> None:
        done = run(chord([f("x")], s("body")), link_error=eb())
        assert told_of(done) == [done.result.id]

    def test_a_failing_body(self, run: RunCanvas) -> None:
        done = run(chord([s("a")], f("x")).on_error(eb()))
        assert done.error == Bad("x")
        assert done.result.result == Bad("x")
        assert told_of(done) == [done.result.id]

    @pytest.mark.parametrize(
        "body",
        [
            lambda: s("b1"),
            lambda: chain(s("b1"), s("b2")),
            lambda: group(s("b1"), s("b2")),
            lambda: chord([s("b1"), s("b2")], s("b3")),
            lambda: chain(s("b1"), group(s("b2"), s("b3"))),
            lambda: chain(group(s("b1"), s("b2")), s("b3")),
        ],
        ids=["task", "chain", "group", "chord", "chain ending in a group", "chain from a group"],
    )
    @pytest.mark.parametrize("after", [False, True], ids=["last", "not last"])
    def test_every_kind_of_body_fails_at_once(self, run: RunCanvas, body: Any, after: bool) -> None:
        canvas = chord([f("x"), s("a")], body())
        done = run(chain(canvas, s("after")) if after else canvas)
        assert done.error == Bad("x")
        assert done.names() == ["a"]
        assert done.result.ready()
        assert done.result.failed()

    def test_a_body_of_a_group_tells_of_each_of_its_tasks(self, run: RunCanvas) -> None:
        for number, header in enumerate(([f("x")], [s("a")])):
            first, second = f"one{number}", f"two{number}"
            body = group(f("y").set(task_id=first), f("z").set(task_id=second))
            body.link_error(eb())
            assert sorted(told_of(run(chord(header, body)))) == sorted([first, second])

    def test_a_body_of_a_chain_tells_of_the_step_that_fails(self, run: RunCanvas) -> None:
        steps = [s("b1").set(task_id="ok1"), f("x").set(task_id="broken2"), s("b3").set(task_id="up3")]
        assert told_of(run(chord([s("a")], chain(*steps)).on_error(eb()))) == ["broken2"]

    def test_a_body_of_a_chain_is_told_once_of_a_failing_header(self, run: RunCanvas) -> None:
        steps = [s("b1").set(task_id="body1"), s("b2").set(task_id="body2")]
        ids = told_of(run(chord([f("x"), f("y")], chain(*steps)).on_error(eb())))
        assert len(ids) == 1
        assert ids[0] in ("body1", "body2")

    def test_an_inner_chord_tells_its_own_errback_and_the_outer_one_once(self, run: RunCanvas) -> None:
        inner = chord([f("x")], s("inner")).on_error(told.si("inner"))
        done = run(chord([inner, s("a")], s("outer")).on_error(told.si("outer")))
        assert sorted(done.of("told")) == [["inner"], ["outer"]]
        assert done.names() == ["a"]

    def test_an_upgraded_chord_tells_its_task_once(self, run: RunCanvas) -> None:
        done = run((group(f("x"), f("y")) | s("body")).on_error(eb()))
        assert told_of(done) == [done.result.id]
        done = run(chain(s("h"), group(f("x"), f("y")), s("body")).on_error(eb()))
        assert told_of(done) == [done.result.id]

    @pytest.mark.parametrize("place", ["alone", "inner", "piped", "header"])
    def test_errbacks_of_a_chain_are_told_the_same_wherever_it_stands(self, run: RunCanvas, place: str) -> None:
        name = f"told-{place}"
        middle = chain(group(s("a"), s("b")), group(s("c"), f("x")))
        inner = chain(middle, chord([s("d")], s("e").set(task_id=name)))
        inner.link_error(eb())
        canvas = {
            "alone": lambda: inner,
            "inner": lambda: chain(s("h"), inner, s("t")),
            "piped": lambda: s("h") | inner | s("t"),
            "header": lambda: chord([inner], s("t")),
        }[place]()
        assert told_of(run(canvas)) == [name]

    def test_errbacks_on_a_group_before_it_became_a_header(self, run: RunCanvas) -> None:
        header = group(f("x").set(task_id="hx"), f("y").set(task_id="hy"))
        header.link_error(eb())
        assert sorted(told_of(run(header | s("body")))) == ["hx", "hy"]

    def test_run_body_sees_values_and_exceptions(self, run: RunCanvas) -> None:
        done = run(chord([s("a"), f("x"), s("b")], s("body"), on_header_error="run_body"))
        assert done.of("step")[-1] == ["body", ["a", "Bad('x')", "b"]] or done.value == "body([a,x,b])"


class TestErrbackStyles:
    """Old style `(task_id)`, new style `(request, exc, traceback)`, bound."""

    def test_each_style_once(self, run: RunCanvas) -> None:
        sig = f("x").set(task_id="styles", link_error=[eb(), new_errback.s(), bound_errback.s()])
        done = run(sig)
        assert told_of(done) == ["styles"]
        assert done.of("new_errback") == [["styles", "Bad('x')", True]]
        assert done.of("bound_errback") == [["styles", "styles"]]

    def test_each_style_for_a_chord(self, run: RunCanvas) -> None:
        body = s("body").set(task_id="styled", link_error=[eb(), new_errback.s(), bound_errback.s()])
        done = run(chord([f("x").set(task_id="dep")], body))
        assert told_of(done) == ["styled"]
        assert [entry[:2] for entry in done.of("new_errback")] == [
            ["styled", "ChordError(\"Dependency dep raised Bad('x')\")"]
        ]
        assert done.of("bound_errback") == [["styled", "styled"]]

    def test_it_can_read_the_failed_result(self, run: RunCanvas) -> None:
        assert run(f("x").on_error(error_seen.s())).of("error_seen") == [["Bad('x')", states.FAILURE, True]]

    def test_its_own_arguments_follow_the_id(self, run: RunCanvas) -> None:
        assert run(f("x").set(task_id="own").on_error(told.s("y", k="z"))).of("told") == [["own", "y", "z"]]

    def test_an_immutable_one_gets_only_its_own(self, run: RunCanvas) -> None:
        assert run(f("x").on_error(told.si("y"))).of("told") == [["y"]]

    def test_the_same_one_added_twice_runs_once(self, run: RunCanvas) -> None:
        assert len(told_of(run(f("x").on_error(eb()).on_error(eb())))) == 1

    def test_a_canvas_as_errback(self, run: RunCanvas) -> None:
        done = run(f("x").set(task_id="grp").on_error(group(told.s("y"), told.s("z"))))
        assert sorted(done.of("told")) == [["grp", "y"], ["grp", "z"]]
        done = run(f("x").set(task_id="chn").on_error(chain(s("y"), s("z"))))
        assert done.of("step") == [["y", "chn"], ["z", "y(chn)"]]

    def test_an_errback_that_fails_itself(self, run: RunCanvas) -> None:
        done = run(f("x").on_error(f("y").on_error(told.si("z"))))
        assert done.names("fail") == ["x", "y"]
        assert done.of("told") == [["z"]]

    def test_errbacks_are_a_group_among_the_children(self, run: RunCanvas) -> None:
        done = run(chord([f("x")], s("body").on_error(eb())))
        assert done.result.children[0].children[0].result == f"errback of {done.result.id}"

    def test_a_plain_call_with_link_error(self, run: RunCanvas) -> None:
        assert told_of(run(fail, ("x",), task_id="plain", link_error=eb())) == ["plain"]

    def test_a_list_of_errbacks(self, run: RunCanvas) -> None:
        done = run(fail, ("x",), link_error=[told.si("y"), told.si("z")])
        assert sorted(done.of("told")) == [["y"], ["z"]]

    def test_an_errback_as_a_plain_dict(self, run: RunCanvas) -> None:
        done = run(fail, ("x",), link_error=[dict(told.si("y"))])
        assert done.of("told") == [["y"]]


class TestRetries:
    """A part that is retried has not ended."""

    def test_in_a_chain(self, run: RunCanvas) -> None:
        done = run(chain(flaky.s("a", 2), s("b")))
        assert done.value == "b(a)"
        assert done.of("flaky") == [["a", 0], ["a", 1], ["a", 2]]
        assert done.names() == ["b"]

    def test_a_step_is_retried_with_its_input(self, run: RunCanvas) -> None:
        assert run(chain(s("a"), flaky.s("b", 2), s("c"))).value == "c(b(a))"

    def test_in_a_header(self, run: RunCanvas) -> None:
        done = run(chord([flaky.s("a", 3), s("b")], s("body")))
        assert done.value == "body([a,b])"
        assert done.names() == ["b", "body"]

    def test_a_body(self, run: RunCanvas) -> None:
        assert run(chord([s("a")], flaky.s("body", 2))).value == "body([a])"

    def test_callbacks_run_once_after_the_last_try(self, run: RunCanvas) -> None:
        done = run(flaky.s("a", 2).set(link=[told.s()], link_error=[eb()]))
        assert done.of("told") == [["a"]]
        assert told_of(done) == []

    def test_used_up_in_a_header(self, run: RunCanvas) -> None:
        done = run(chord([hopeless.s("x").set(task_id="hope"), s("a")], s("body").on_error(eb())))
        assert done.error == Bad("x")
        assert told_of(done) == [done.result.id]
        assert done.of("hopeless") == [["x", 0], ["x", 1]]
        assert "Dependency hope raised" in str(done.result.result)


class TestIgnoredAndRejected:
    """`Ignore` stops a chain on purpose; a group counts it as None."""

    def test_in_a_chain(self, app: Any, run: RunCanvas) -> None:
        result = chain(s("a"), ignored.s("b"), s("c")).on_error(eb()).apply_async()
        done = run(s("other"))
        assert done.of("errback") == []
        assert "c" not in done.names()
        assert app.store.task(result.id).state == "ignored"

    def test_in_a_header(self, run: RunCanvas) -> None:
        done = run(chord([ignored.s("x"), s("a")], s("body")))
        assert done.value == "body([None,a])"

    def test_rejected_in_a_header(self, run: RunCanvas) -> None:
        done = run(chord([rejected.s("x"), s("a")], s("body").on_error(eb())))
        assert done.result.failed()
        assert len(told_of(done)) == 1


class TestIgnoreResult:
    """A value that nobody asked for is still passed on."""

    def test_in_a_chain(self, run: RunCanvas) -> None:
        done = run(chain(silent.s("a"), s("b")))
        assert done.value == "b(a)"
        assert done.result.parent.get() is None

    def test_in_a_header(self, run: RunCanvas) -> None:
        done = run(chord([silent.s("a"), s("b")], s("body")))
        assert done.value == "body([a,b])"

    def test_given_at_the_call(self, run: RunCanvas) -> None:
        done = run(chord([s("a").set(ignore_result=True), s("b")], s("body")))
        assert done.value == "body([a,b])"

    def test_with_a_callback(self, run: RunCanvas) -> None:
        assert run(silent.s("a").set(link=[told.s()])).of("told") == [["a"]]

    @pytest.mark.parametrize(
        "canvas",
        [
            lambda x: group(x, s("b")),
            lambda x: chain(x, s("b")),
            lambda x: chain(x, step.si("b")),
            lambda x: chord([x, s("b")], s("c")),
            lambda x: chord([x, s("b")], step.si("c")),
            lambda x: chain(group(x, s("b")), step.si("c"), s("d")),
            lambda x: chord([x, f("b")], s("c")),
            lambda x: chain(chord([x, f("b")], s("c")), s("d")),
            lambda x: x.set(link=[s("b")]),
        ],
        ids=[
            "group",
            "chain",
            "immutable",
            "header",
            "immutable body",
            "immutable body, not last",
            "failing header",
            "failing header, not last",
            "link",
        ],
    )
    def test_nothing_is_kept_in_the_end(self, app: Any, run: RunCanvas, canvas: Any) -> None:
        sig = silent.s("a")
        task_id = sig.freeze().id
        run(canvas(sig))
        assert app.store.task(task_id).state == "succeeded"
        assert app.store.task(task_id).result is None

    def test_nothing_is_kept_for_what_was_revoked_meanwhile(self, app: Any, run: RunCanvas, tmp_path: Path) -> None:
        sig, late = silent.s("a"), s("b")
        task_id, late_id = sig.freeze().id, late.freeze().id
        result = chain(until_there.si(str(tmp_path / "go"), 1), sig, late).apply_async()
        app.AsyncResult(late_id).revoke()
        (tmp_path / "go").touch()
        assert isinstance(end(result).error, TaskRevokedError)
        assert app.store.task(task_id).result is None

    def test_a_body(self, run: RunCanvas) -> None:
        done = run(chord([s("a")], silent.s("body")))
        assert done.value is None
        assert done.names("silent") == ["body"]


class TestRevoked:
    """A part that is revoked before it starts."""

    @pytest.fixture
    def hold(self, run: RunCanvas, tmp_path: Path) -> Any:
        """`hold(canvas, *ids)`: revoke the ids before anything of the canvas runs."""
        from tests.canvas.semantics.tasks import app

        def send(canvas: Any, *ids: str) -> Run:
            flag = tmp_path / "go"
            flag.unlink(missing_ok=True)
            gate = until_there.si(str(flag), "gate")
            result = chain(gate, canvas).apply_async()
            for each in ids:
                app.AsyncResult(each).revoke()
            flag.touch()
            return end(result)

        return send

    def test_a_step(self, hold: Any) -> None:
        done = hold(chain(s("a"), s("b").set(task_id="rev-b"), s("c")).on_error(eb()), "rev-b")
        assert isinstance(done.error, TaskRevokedError)
        assert done.names() == ["a"]
        assert done.result.state == done.result.parent.state == states.REVOKED
        assert told_of(done) == []

    def test_a_header_part(self, hold: Any) -> None:
        canvas = chord([s("a").set(task_id="rev-h"), s("b")], s("body")).on_error(eb())
        done = hold(canvas, "rev-h")
        assert isinstance(done.error, TaskRevokedError)
        assert done.names() == ["b"]
        assert isinstance(done.result.result, ChordError)
        assert "rev-h" in str(done.result.result)
        assert told_of(done) == [done.result.id]

    def test_a_member_of_a_group(self, hold: Any) -> None:
        done = hold(group(s("a").set(task_id="rev-g"), s("b")), "rev-g")
        assert isinstance(done.error, TaskRevokedError)
        assert done.names() == ["b"]

    def test_a_body(self, hold: Any) -> None:
        done = hold(chord([s("a"), s("b")], s("body").set(task_id="rev-body")), "rev-body")
        assert isinstance(done.error, TaskRevokedError)
        assert done.names() == ["a", "b"]
        assert done.result.state == states.REVOKED

    def test_a_whole_group(self, run: RunCanvas, app: Any) -> None:
        result = group(s(name) for name in "abc").apply_async(countdown=3600)
        result.revoke()
        done = run(s("other"))
        assert done.names() == ["other"]
        assert [each.state for each in result.results] == [states.REVOKED] * 3

    def test_an_expired_header_part(self, run: RunCanvas) -> None:
        late = s("a").set(countdown=0.2, expires=0.01, task_id="expired")
        done = run(chord([late, s("b")], s("body")).on_error(eb()))
        assert isinstance(done.error, TaskRevokedError)
        assert told_of(done) == [done.result.id]
        assert done.names() == ["b"]
