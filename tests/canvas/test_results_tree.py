"""Parents, children and members: the tree of results, and its plain form."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from litequeue import chain, chord, group
from litequeue.exceptions import IncompleteStream
from litequeue.result import AsyncResult, EagerResult, GroupResult, result_from_tuple


class TestChildren:
    def test_of_a_chain_they_are_the_next_step(self, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.give.si(1), tasks.give.si(2), group(tasks.give.si(3), tasks.give.si(4))).apply_async()
        result.get(timeout=10)
        second = result.parent
        assert second.parent.children == [second]
        assert [type(child).__name__ for child in second.children] == ["GroupResult"]
        assert second.children[0].results == result.results

    def test_of_a_task_that_calls_others(self, app: Any, tasks: Any, worker: Any) -> None:
        @app.task
        def call() -> None:
            tasks.give.delay(1)
            group(tasks.give.si(2), tasks.give.si(3)).apply_async()

        worker()
        result = call.delay()
        result.get(timeout=10)
        single, several = result.children
        assert (single.get(timeout=10), several.get(timeout=10)) == (1, [2, 3])

    def test_error_callbacks_are_a_group_among_them(self, app: Any, tasks: Any, worker: Any) -> None:
        @app.task
        def report(failed_id: str) -> str:
            return failed_id

        worker()
        body = tasks.give.s().on_error(report.s())
        result = chord([tasks.give.si(1), tasks.fail.si("x")], body).apply_async()
        with pytest.raises(ValueError, match="x"):
            result.get(timeout=10)
        result.get(timeout=10, propagate=False)
        assert result.children[0].children[0].get(timeout=10) == result.id

    def test_collect(self, app: Any, tasks: Any, worker: Any) -> None:
        @app.task
        def call() -> None:
            group(tasks.give.si(2), chain(tasks.give.si(3), tasks.give.si(4))).apply_async()

        worker()
        result = call.delay()
        result.get(timeout=10)
        result.children[0].get(timeout=10)
        leaves = [value for child, value in result.collect() if not child.children]
        assert sorted(leaves) == [2, 4, 4]
        assert result.get_leaf() == 4

    def test_iterdeps_of_what_has_not_ended(self, tasks: Any) -> None:
        result = chain(tasks.give.si(1), tasks.give.si(2)).apply_async().parent
        with pytest.raises(IncompleteStream):
            list(result.iterdeps())
        assert list(result.iterdeps(intermediate=True)) == [(None, result)]

    def test_group_id_is_in_the_meta(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.give.si(1), tasks.give.si(2)).apply_async()
        result.get(timeout=10)
        assert [member._get_task_meta()["group_id"] for member in result] == [result.id] * 2


class TestPlainForm:
    @pytest.fixture
    def tree(self, app: Any) -> AsyncResult:
        """body <- group of (a chain of two, a task) <- head."""
        make = app.AsyncResult
        members = [make("a2", parent=make("a1")), make("b")]
        return make("body", parent=app.GroupResult("g", members, parent=make("head")))

    AS_TUPLE = (
        (
            "body",
            (("g", (("head", None), None)), [(("a2", (("a1", None), None)), None), (("b", None), None)]),
        ),
        None,
    )

    def test_as_tuple(self, tree: Any) -> None:
        assert tree.as_tuple() == self.AS_TUPLE
        assert tree.parent.as_tuple() == self.AS_TUPLE[0][1]

    @pytest.mark.parametrize("crossing", [lambda r: r, lambda r: json.loads(json.dumps(r))], ids=["tuples", "json"])
    def test_result_from_tuple(self, app: Any, tree: Any, crossing: Any) -> None:
        again = result_from_tuple(crossing(tree.as_tuple()), app)
        self._same(again, tree)
        assert again.as_tuple() == self.AS_TUPLE

    def test_pickle_and_copy(self, app: Any, tree: Any) -> None:
        self._same(pickle.loads(pickle.dumps(tree)), tree)
        self._same(copy.copy(tree), tree)
        group_again = pickle.loads(pickle.dumps(tree.parent))
        assert group_again == tree.parent
        assert copy.copy(tree.parent) == tree.parent

    @staticmethod
    def _same(again: Any, tree: Any) -> None:
        assert again == tree
        assert type(again) is type(tree)
        assert again.parent == tree.parent
        assert again.parent.results == tree.parent.results
        assert again.parent.results[0].parent == "a1"
        assert again.parent.parent == "head"

    def test_what_is_a_result_already(self, tree: Any) -> None:
        assert result_from_tuple(tree) is tree
        assert result_from_tuple((("x", tree), None)).parent is tree

    def test_as_list(self, tree: Any) -> None:
        assert tree.as_list() == ["body", "g", "head"]

    def test_results_that_ran_in_place(self) -> None:
        first = EagerResult("1", "x", "SUCCESS")
        second = EagerResult("2", ["y"], "SUCCESS", parent=first)
        first.children = [second]
        again = pickle.loads(pickle.dumps(GroupResult("g", [second])))
        assert again.get() == [["y"]]
        assert (again[0].parent.get(), second.as_list(), first.children) == ("x", ["2", "1"], [second])

    def test_a_result_returned_from_a_task_comes_as_lists(self, app: Any, tasks: Any, worker: Any) -> None:
        @app.task
        def call() -> Any:
            return group(tasks.give.si(1), tasks.give.si(2)).apply_async()

        worker()
        value = call.delay().get(timeout=10)
        result = result_from_tuple(value)
        assert isinstance(result, GroupResult)
        assert result.get(timeout=10) == [1, 2]


class TestLength:
    def test_a_chain_of_100_000_parents(self, app: Any) -> None:
        result = None
        for number in range(100_000):
            result = app.AsyncResult(str(number), parent=result)
        assert result is not None
        assert len(result.as_list()) == 100_000
        again = pickle.loads(pickle.dumps(result))
        assert again.as_list()[-1] == "0"
        node, depth = result.as_tuple(), 0
        while node is not None:
            node, depth = node[0][1], depth + 1
        assert depth == 100_000
        assert result_from_tuple(result.as_tuple(), app).as_list()[-1] == "0"

    def test_groups_nested_200_deep(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        canvas = tasks.give.si(0)
        for _ in range(200):
            canvas = group(tasks.give.si(1), chain(tasks.give.si(2), canvas))
        result = canvas.apply_async()
        value, depth = result.get(timeout=60), 0
        while isinstance(value, list):
            value, depth = value[1], depth + 1
        assert (value, depth) == (0, 200)
