"""Callbacks: `link` of tasks and of every kind of canvas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from litequeue import chain, chord, group
from litequeue.result import GroupResult
from tests.canvas.semantics.conftest import end
from tests.canvas.semantics.tasks import Bad, add, drop, errback, fail, make, step, told, until_there

s = step.s


def linked(sig: Any, *callbacks: Any) -> Any:
    for callback in callbacks:
        sig.link(callback)
    return sig


class TestTasks:
    """Links of one task."""

    def test_it_gets_the_value(self, run: Any) -> None:
        done = run(add, (2, 2), link=add.s(16))
        assert done.value == 4
        assert done.result.children[0].get(timeout=10) == 20

    def test_its_own_arguments_follow(self, run: Any) -> None:
        assert run(linked(s("a"), told.s("x", k="y"))).of("told") == [["a", "x", "y"]]

    def test_an_immutable_one_gets_only_its_own(self, run: Any) -> None:
        assert run(linked(s("a"), told.si("x"))).of("told") == [["x"]]

    def test_several(self, run: Any) -> None:
        done = run(s("a"), link=[told.s("x"), told.s("y")])
        assert sorted(done.of("told")) == [["a", "x"], ["a", "y"]]

    def test_the_same_one_twice_runs_once(self, run: Any) -> None:
        assert run(linked(s("a"), told.s(), told.s())).of("told") == [["a"]]

    def test_not_after_a_failure(self, run: Any) -> None:
        assert run(linked(fail.s("x"), told.s())).of("told") == []

    def test_links_of_links(self, run: Any) -> None:
        assert run(linked(s("a"), linked(s("b"), told.s()))).of("told") == [["b(a)"]]

    def test_plain_dicts(self, run: Any) -> None:
        assert run(s("a").set(link=[dict(told.s())])).of("told") == [["a"]]

    @pytest.mark.parametrize(
        ("canvas", "steps"),
        [
            (lambda: chain(s("x"), s("y")), ["a", "x(a)", "y(x(a))"]),
            (lambda: group(s("x"), s("y")), ["a", "x(a)", "y(a)"]),
            (lambda: chord([s("x"), s("y")], s("z")), ["a", "x(a)", "y(a)", "z([x(a),y(a)])"]),
        ],
        ids=["chain", "group", "chord"],
    )
    def test_a_canvas_as_callback(self, run: Any, canvas: Any, steps: list[str]) -> None:
        from tests.canvas.semantics.tasks import call

        done = run(linked(s("a"), canvas()))
        assert sorted(call(*entry) for entry in done.of("step")) == steps

    def test_a_failing_callback_leaves_the_task_alone(self, run: Any) -> None:
        done = run(linked(s("a"), fail.s("x")))
        assert done.value == "a"
        assert done.result.successful()
        assert done.names("fail") == ["x"]


class TestCanvases:
    """Links of a canvas."""

    def test_of_a_chain_run_after_its_last_step(self, run: Any) -> None:
        assert run(linked(chain(s("a"), s("b")), told.s())).of("told") == [["b(a)"]]
        assert run(chain(s("a"), s("b")), link=told.s()).of("told") == [["b(a)"]]

    def test_of_the_steps_of_a_chain(self, run: Any) -> None:
        done = run(chain(linked(s("a"), told.s("x")), linked(s("b"), told.s("y"))))
        assert done.value == "b(a)"
        assert sorted(done.of("told")) == [["a", "x"], ["b(a)", "y"]]

    def test_of_an_inner_chain_survive_flattening(self, run: Any) -> None:
        inner = linked(chain(s("a"), s("b")), told.s("inner"))
        done = run(chain(inner, s("c")))
        assert done.value == "c(b(a))"
        assert done.of("told") == [["b(a)", "inner"]]

    def test_of_an_inner_chain_in_the_middle(self, run: Any) -> None:
        inner = linked(chain(s("b"), s("c")), told.s("inner"))
        done = run(s("a") | inner | s("d"))
        assert done.value == "d(c(b(a)))"
        assert done.of("told") == [["c(b(a))", "inner"]]

    @pytest.mark.parametrize("piped", [False, True])
    def test_of_an_inner_chain_that_is_a_chord(self, run: Any, piped: bool) -> None:
        inner = linked(chain(chord([s("a")], s("b")), s("c")), told.s("inner"))
        done = run(inner | s("d") if piped else chain(inner, s("d")))
        assert done.value == "d(c(b([a])))"
        assert done.of("told") == [["c(b([a]))", "inner"]]

    def test_of_a_chord_run_after_its_body(self, run: Any) -> None:
        assert run(linked(chord([s("a")], s("b")), told.s())).of("told") == [["b([a])"]]
        assert run(chord([s("a")], s("b")), link=told.s()).of("told") == [["b([a])"]]

    def test_of_header_parts(self, run: Any) -> None:
        done = run(chord([linked(s("a"), told.s("x")), s("b")], s("c")))
        assert done.value == "c([a,b])"
        assert done.of("told") == [["a", "x"]]

    def test_of_a_group_runs_once_and_takes_nothing(self, run: Any) -> None:
        done = run(linked(group(s("a"), s("b")), told.s("x")))
        assert done.value == ["a", "b"]
        assert done.of("told") == [["x"]]

    def test_of_a_group_that_becomes_a_header(self, run: Any) -> None:
        done = run(linked(group(s("a"), s("b")), told.s("x")) | s("c"))
        assert done.value == "c([a,b])"
        assert done.of("told") == [["x"]]

    @pytest.mark.parametrize("option", ["link", "link_error"])
    def test_as_options_of_a_group_are_refused(self, app: Any, option: str) -> None:
        before = app.store.counts()
        with pytest.raises(TypeError, match="group"):
            group(s("a"), s("b")).apply_async(**{option: told.s()})
        assert app.store.counts() == before

    def test_of_a_body_that_is_a_chain(self, run: Any) -> None:
        assert run(chord([s("a")], linked(chain(s("b"), s("c")), told.s()))).of("told") == [["c(b([a]))"]]


class TestLater:
    """Links added to a task that was sent already."""

    def test_to_a_running_task(self, run: Any, tmp_path: Path) -> None:
        flag = tmp_path / "go"
        result = until_there.s(str(flag), "v").apply_async()
        result.link(told.s("late"))
        flag.touch()
        assert end(result).of("told") == [["v", "late"]]

    def test_to_a_waiting_task(self, run: Any, tmp_path: Path) -> None:
        flag = tmp_path / "go"
        result = chain(until_there.s(str(flag), "v"), s("a")).apply_async()
        result.link(told.s("late"))
        flag.touch()
        assert end(result).of("told") == [["a(v)", "late"]]

    def test_to_a_finished_task(self, run: Any) -> None:
        result = run(s("a")).result
        result.link(told.s("late"))
        assert end(result).of("told") == [["a", "late"]]

    def test_errbacks_to_a_running_task(self, run: Any, tmp_path: Path) -> None:
        from tests.canvas.semantics.tasks import fail_when_there

        flag = tmp_path / "go"
        result = fail_when_there.s(str(flag), "x").apply_async()
        result.link_error(errback.s())
        make.run(str(flag))
        assert end(result).of("errback") == [[result.id]]

    def test_errbacks_to_a_failed_task(self, run: Any) -> None:
        done = run(fail.s("x"))
        assert done.error == Bad("x")
        done.result.link_error(errback.s())
        assert end(done.result).of("errback") == [[done.result.id]]


class TestResults:
    """What of a canvas can be reached from its result."""

    def test_of_a_chain(self, run: Any) -> None:
        last = run(chain(s("a"), s("b"), s("c"))).result
        second, first = last.parent, last.parent.parent
        assert (first.parent, last.children or []) == (None, [])
        assert [[each.id for each in result.children] for result in (first, second)] == [[second.id], [last.id]]
        assert [result.get() for result in (first, second, last)] == ["a", "b(a)", "c(b(a))"]

    def test_of_a_group_in_a_chain(self, run: Any) -> None:
        last = run(chain(s("a"), group(s("b"), s("c")), s("d"))).result
        middle, first = last.parent, last.parent.parent
        assert isinstance(middle, GroupResult)
        assert [each.get() for each in middle.results] == ["b(a)", "c(a)"]
        assert first.get() == "a"
        [child] = first.children
        assert isinstance(child, GroupResult)
        assert [each.id for each in child.results] == [each.id for each in middle.results]

    def test_of_a_chord(self, run: Any) -> None:
        result = run(chord([s("a"), s("b")], s("c"))).result
        assert isinstance(result.parent, GroupResult)
        assert [each.get() for each in result.parent.results] == ["a", "b"]

    def test_of_a_task_with_callbacks(self, run: Any) -> None:
        result = run(s("a"), link=[s("x"), s("y")]).result
        values = [child.get() for child in result.children]
        assert values in (["x(a)", "y(a)"], [["x(a)", "y(a)"]])

    def test_collect_walks_through_everything(self, run: Any) -> None:
        first = run(chain(s("a"), s("b"), s("c"))).result.parent.parent
        assert [value for _, value in first.collect()] == ["a", "b(a)", "c(b(a))"]

    def test_get_leaf(self, run: Any) -> None:
        first = run(chain(s("a"), s("b"), s("c"))).result.parent.parent
        assert first.get_leaf() == "c(b(a))"

    def test_an_id_is_found_among_the_results(self, run: Any) -> None:
        result = run(group(s("a"), s("b"))).result
        assert result.results[0].id in result.results
        assert "nobody" not in result.results


class TestDropped:
    """What a task takes off its own request does not happen."""

    def test_callbacks(self, run: Any) -> None:
        done = run(chain(linked(drop.s("callbacks"), told.s()), s("b")))
        assert done.value == "b(dropped)"
        assert done.of("told") == []
