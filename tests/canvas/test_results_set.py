"""ResultSet: results put together by the caller."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from litequeue import chain, group
from litequeue.exceptions import TaskRevokedError, TimeoutError
from litequeue.result import AsyncResult, EagerResult, ResultSet


class TestMembers:
    def test_a_set_is_filled_and_emptied(self, app: Any) -> None:
        first, second, third = (app.AsyncResult(name) for name in "abc")
        results = ResultSet([first])
        results.add(second)
        results.add(second)
        results.update([first, third, third])
        assert results.results == [first, second, third]
        assert (len(results), results[1], list(results)) == (3, second, [first, second, third])
        results.remove(first)
        results.remove("b")
        results.discard("nobody")
        results.discard(first)
        assert results.results == ["c"]
        with pytest.raises(KeyError, match="nobody"):
            results.remove("nobody")
        results.clear()
        assert (results.results, len(results), bool(results)) == ([], 0, False)

    def test_the_list_of_results_may_be_changed(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        results = ResultSet([tasks.give.delay(1)])
        results.results.append(tasks.give.delay(2))
        assert results.get(timeout=10) == [1, 2]
        results.results = [tasks.give.delay(3).id]
        assert results.get(timeout=10) == [3]

    def test_membership_and_equality(self, app: Any) -> None:
        first = app.AsyncResult("a")
        assert first in ResultSet([first])
        assert "a" in ResultSet([first])
        assert "b" not in ResultSet([first])
        assert ResultSet([first]) == ResultSet(["a"]) != ResultSet([])
        assert ResultSet([first]) != [first]
        assert repr(ResultSet([first, "b"])) == "<ResultSet: [a, b]>"
        with pytest.raises(TypeError):
            hash(ResultSet([]))

    def test_which_app(self, app: Any) -> None:
        assert ResultSet([app.AsyncResult("a")]).app is app
        assert ResultSet([]).app is app, "the current one"
        assert app.ResultSet([]).app is app
        assert app.ResultSet(["a"]).results[0].app is app
        assert app.ResultSet([]).backend is app.backend

    def test_pickle(self, app: Any) -> None:
        results = pickle.loads(pickle.dumps(ResultSet([app.AsyncResult("a"), "b"])))
        assert results == ResultSet(["a", "b"])


class TestTogether:
    def test_tasks_groups_and_what_ran_in_place(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        members = [tasks.give.delay(1), group(tasks.give.si(2), tasks.give.si(3)).apply_async(), tasks.give.apply((4,))]
        results = ResultSet([*members, members[0]])
        assert results.get(timeout=10) == [1, [2, 3], 4, 1]
        assert (results.ready(), results.successful(), results.failed(), results.waiting()) == (
            True,
            True,
            False,
            False,
        )
        assert results.completed_count() == 4
        assert {key for key, _ in results.iter_native()} == {member.id for member in members}
        seen: list[Any] = []
        assert results.maybe_throw(callback=lambda key, value: seen.append(key)) is None
        assert set(seen) == {member.id for member in (members[0], *members[1], members[2])}

    def test_before_and_while_they_run(self, app: Any, tasks: Any, gates: Any, worker: Any) -> None:
        results = ResultSet([tasks.hold.delay("gate"), tasks.give.delay(1)])
        assert (results.ready(), results.waiting(), results.completed_count()) == (False, True, 0)
        worker()
        results[1].get(timeout=10)
        assert (results.ready(), results.successful(), results.completed_count()) == (False, False, 1)
        with pytest.raises(TimeoutError, match="1 of 2"):
            results.get(timeout=0.05)
        gates.open("gate")
        assert results.join(timeout=10) == ["gate", 1]

    def test_the_first_failure_is_raised_while_others_run(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        results = ResultSet([tasks.hold.delay("gate"), tasks.fail.delay("x")])
        with pytest.raises(ValueError, match="x"):
            results.get(timeout=10)
        with pytest.raises(ValueError, match="x"):
            results.maybe_throw()
        assert (results.failed(), results.ready()) == (True, False)
        gates.open("gate")
        assert results.get(timeout=10, propagate=False)[0] == "gate"

    def test_a_failure_in_a_group_among_them(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        inner = group(tasks.hold.si("gate"), tasks.fail.si("x")).apply_async()
        results = ResultSet([tasks.give.delay(1), inner])
        with pytest.raises(ValueError, match="x"):
            results.get(timeout=10)

    def test_one_that_is_deleted_meanwhile(self, app: Any, tasks: Any) -> None:
        results = ResultSet([tasks.give.delay(1), tasks.give.delay(2)])

        def delete() -> None:
            app.store.purge()

        with pytest.raises(TaskRevokedError, match="deleted"):
            results.get(timeout=10, interval=0.01, on_interval=delete)

    def test_an_empty_set(self, app: Any) -> None:
        results = app.ResultSet([])
        assert (results.get(), results.ready(), results.successful(), results.failed()) == ([], True, True, False)
        assert list(results.iter_native()) == []
        results.forget()
        results.revoke()

    def test_as_they_end(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        held = [tasks.hold.delay(name) for name in "ab"]
        results = ResultSet([*held, EagerResult("e", "now", "SUCCESS")])
        came: list[Any] = []
        for done in results.as_completed(timeout=10):
            came.append(done.result)
            gates.open({1: "b", 2: "a"}.get(len(came), "a"))
        assert came == ["now", "b", "a"]


class TestActing:
    def test_revoke_and_forget(self, app: Any, tasks: Any) -> None:
        results = ResultSet([tasks.give.delay(1), group(tasks.give.si(1), tasks.give.si(2)).apply_async()])
        results.revoke()
        assert results.ready()
        ids = [results[0].id, *(member.id for member in results[1])]
        assert set(app.store.states(ids).values()) == {"revoked"}
        results.forget()
        assert app.store.states(ids) == {}

    def test_forget_takes_what_came_before(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.give.si(1), tasks.give.si(2)).apply_async()
        result.get(timeout=10)
        ResultSet([result]).forget()
        assert app.store.states([result.id, result.parent.id]) == {}

    def test_then_and_await(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        results = ResultSet([tasks.give.delay(1), tasks.give.delay(2)])

        async def main() -> Any:
            return await results

        assert asyncio.run(main()) == [1, 2]
        seen: list[Any] = []
        results.then(lambda done: seen.append(done.get()))
        assert seen == [[1, 2]]

    def test_results_of_two_apps(self, app: Any, tasks: Any, worker: Any, tmp_path: Any) -> None:
        from litequeue import LiteQueue

        worker()
        other = LiteQueue("other", broker=tmp_path / "other.db", set_as_current=False)
        with other:
            foreign = AsyncResult("elsewhere", app=other)
            results = ResultSet([tasks.give.delay(1), foreign])
            results[0].get(timeout=10)
            assert not results.ready()
            with pytest.raises(TimeoutError, match="1 of 2"):
                results.get(timeout=0.01)
