"""GroupResult: what a group gave, and how it is waited for."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from litequeue import chain, chord, group
from litequeue.core.records import NewCanvas, NewGroup, NewTask
from litequeue.core.ties import MEMBER
from litequeue.exceptions import TaskRevokedError, TimeoutError
from litequeue.result import AsyncResult, EagerResult, GroupResult


def members_of(app: Any, count: int, name: str = "give") -> GroupResult:
    """A group of `count` tasks, written without a signature for each."""
    tasks = [
        NewTask(f"m{slot}", name, "celery", 0, f"[[{slot}],{{}}]", "json", ties=MEMBER, group_id="g", group_index=slot)
        for slot in range(count)
    ]
    app.store.enqueue_canvas(NewCanvas(tasks, (NewGroup("g", count),)))
    return app.GroupResult("g")


class TestValues:
    def test_in_the_order_of_the_signatures(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.give.s(slot) for slot in range(20)).apply_async()
        assert isinstance(result, GroupResult)
        assert result.get(timeout=10) == result.join() == result.join_native() == list(range(20))
        assert (result.ready(), result.successful(), result.failed(), result.waiting()) == (True, True, False, False)
        assert result.completed_count() == len(result) == 20

    def test_a_group_among_the_members_gives_a_list(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(
            tasks.give.si(1), chain(tasks.give.si(2), group(tasks.give.si(3), tasks.give.si(4)))
        ).apply_async()
        assert result.get(timeout=10) == [1, [3, 4]]
        assert isinstance(result.results[1], GroupResult)

    def test_a_group_whose_only_member_ends_in_a_group_gives_that_groups_values(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(chain(tasks.give.si(1), group(tasks.give.si(2), tasks.give.si(3)))).apply_async()
        assert result.get(timeout=10) == [2, 3]

    def test_an_empty_group(self, app: Any) -> None:
        result = group(app=app).apply_async()
        assert (result.get(), result.results, result.ready(), result.successful()) == ([], [], True, True)

    def test_an_ignored_member_gives_none(self, tasks: Any, worker: Any) -> None:
        worker()
        assert group(tasks.give.si(1), tasks.ignore.si()).apply_async().get(timeout=10) == [1, None]

    def test_results_that_are_not_kept_are_none(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.give.si(1).set(ignore_result=True), tasks.give.si(2)).apply_async()
        assert result.get(timeout=10) == [None, 2]

    def test_of_tasks_that_ran_in_place(self, tasks: Any) -> None:
        result = group(tasks.give.si(1), tasks.give.si(2)).apply()
        assert result.get() == [1, 2]
        assert (result.ready(), result.successful(), result.completed_count()) == (True, True, 2)

    def test_eager_results_put_together(self) -> None:
        good, bad = EagerResult("1", "x", "SUCCESS"), EagerResult("2", ValueError("no"), "FAILURE")
        result = GroupResult("g", [good, bad])
        assert result.get(propagate=False) == ["x", bad.result]
        with pytest.raises(ValueError, match="no"):
            result.get()
        assert [key for key, _ in result.iter_native()] == ["1", "2"]
        assert (result.failed(), result.ready()) == (True, True)


class TestWaiting:
    def test_callback_gets_each_value_and_get_returns_none(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.give.si(slot) for slot in range(3)).apply_async()
        seen: dict[str, Any] = {}
        assert result.get(timeout=10, callback=seen.__setitem__) is None
        assert [seen[member.id] for member in result] == [0, 1, 2]
        assert result.join(callback=seen.__setitem__) == []

    def test_the_first_failure_is_raised_while_others_run(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = group(tasks.hold.si("late"), tasks.fail.si("first")).apply_async()
        with pytest.raises(ValueError, match="first") as caught:
            result.get(timeout=10)
        assert "raise ValueError" in caught.value.__notes__[0]
        assert not result.ready()
        assert result.failed()
        gates.open("late")
        late, failed = result.get(timeout=10, propagate=False)
        assert (late, failed.args) == ("late", ("first",))

    def test_the_first_in_time_is_raised_and_not_the_first_in_order(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        slow = chain(tasks.hold.si("gate"), tasks.fail.si("second"))
        result = group(slow, tasks.fail.si("first")).apply_async()
        with pytest.raises(ValueError, match="first"):
            result.get(timeout=10)
        gates.open("gate")
        assert [error.args for error in result.get(timeout=10, propagate=False)] == [("second",), ("first",)]
        for call in (result.get, result.maybe_throw, result.maybe_reraise):
            with pytest.raises(ValueError, match="first"):
                call()

    def test_a_time_out_counts_what_is_left(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = group(tasks.give.si(1), tasks.hold.si("gate")).apply_async()
        gates.await_task("gate")
        result.results[0].get(timeout=10)
        with pytest.raises(TimeoutError, match=rf"1 of 2 results of group {result.id} did not end within 0\.05 s"):
            result.get(timeout=0.05)
        with pytest.raises(GroupResult.TimeoutError):
            result.get(timeout=0)
        gates.open("gate")
        assert result.get(timeout=10) == [1, "gate"]

    def test_on_interval_is_called_while_nothing_comes(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = group(tasks.hold.si("gate")).apply_async()
        calls: list[int] = []

        def looked() -> None:
            calls.append(1)
            if len(calls) == 3:
                gates.open("gate")

        assert result.get(timeout=10, interval=0.01, on_interval=looked) == ["gate"]
        assert len(calls) >= 3

    def test_inside_a_task_it_would_block(self, app: Any, tasks: Any, worker: Any) -> None:
        @app.task
        def wait(disable: bool) -> Any:
            return group(tasks.give.si(1)).apply_async().get(timeout=10, disable_sync_subtasks=disable)

        worker()
        with pytest.raises(RuntimeError, match="Never call"):
            wait.delay(True).get(timeout=10)
        assert wait.delay(False).get(timeout=10) == [1]

    def test_a_member_that_was_revoked_counts(self, tasks: Any, gates: Any, worker: Any) -> None:
        result = group(tasks.give.si(1), tasks.give.si(2)).apply_async()
        result[1].revoke()
        worker()
        with pytest.raises(TaskRevokedError):
            result.get(timeout=10)
        assert (result.failed(), result.successful()) == (False, False)

    def test_after_a_head_that_failed(self, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.fail.si("head"), group(tasks.give.s(), tasks.give.s())).apply_async()
        with pytest.raises(ValueError, match="head"):
            result.get(timeout=10)
        assert [member.state for member in result] == ["FAILURE", "FAILURE"]

    def test_without_propagation_all_are_waited_for(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = group(tasks.fail.si("x"), tasks.hold.si("gate")).apply_async()
        gates.await_task("gate")
        threading.Timer(0.05, gates.open, ["gate"]).start()
        assert result.get(timeout=10, propagate=False)[1] == "gate"


class TestInTheOrderOfTheirEnds:
    def test_iter_native_gives_id_and_meta(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = group(tasks.hold.si("a"), tasks.hold.si("b"), tasks.hold.si("c")).apply_async()
        ids, came = [member.id for member in result], []
        gates.open("b")
        for key, meta in result.iter_native(timeout=10):
            came.append((ids.index(key), meta["status"], meta["result"]))
            gates.open("a" if len(came) == 1 else "c")
        assert came == [(1, "SUCCESS", "b"), (0, "SUCCESS", "a"), (2, "SUCCESS", "c")]

    def test_iterate_gives_values_and_as_completed_results(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = group(tasks.hold.si("a"), tasks.hold.si("b")).apply_async()
        gates.open("b")
        values = result.iterate(timeout=10)
        assert next(values) == "b"
        gates.open("a")
        assert list(values) == ["a"]
        assert [done.result for done in result.as_completed()] == ["b", "a"]

    def test_a_group_among_them_comes_with_its_results(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(
            tasks.give.si(1), chain(tasks.give.si(1), group(tasks.give.si(2), tasks.give.si(3)))
        ).apply_async()
        result.get(timeout=10)
        inner = result[1]
        assert dict(result.iter_native())[inner.id] == inner.results

    def test_one_that_fails_among_them(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.fail.si("x"), tasks.give.si(1)).apply_async()
        result.get(timeout=10, propagate=False)
        assert sorted(meta["status"] for _, meta in result.iter_native()) == ["FAILURE", "SUCCESS"]
        with pytest.raises(ValueError, match="x"):
            list(result.iterate())


class TestBeingTold:
    def test_then_is_called_when_all_have_ended(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = group(tasks.hold.si("a"), tasks.give.si(1)).apply_async()
        told = threading.Event()
        seen: list[Any] = []
        assert result.then(lambda done: (seen.append(done.get()), told.set())) is result
        gates.await_task("a")
        assert not seen
        gates.open("a")
        assert told.wait(10)
        assert seen == [["a", 1]]

    def test_on_error_gets_the_exception(self, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.fail.si("x"), tasks.give.si(1)).apply_async()
        result.get(timeout=10, propagate=False)
        seen: list[Any] = []
        result.then(lambda done: seen.append("wrong"), on_error=seen.append)
        assert [error.args for error in seen] == [("x",)]

    def test_await(self, app: Any, tasks: Any, gates: Any, worker: Any) -> None:
        worker()

        async def main() -> list[Any]:
            result = group(tasks.hold.si("a"), tasks.give.si(1)).apply_async()
            asyncio.get_running_loop().call_later(0.02, gates.open, "a")
            return [await result, await result.aget(timeout=1)]

        assert asyncio.run(main()) == [["a", 1]] * 2

    def test_await_raises_the_first_failure_at_once(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()

        async def main() -> None:
            result = group(tasks.hold.si("a"), tasks.fail.si("x")).apply_async()
            with pytest.raises(ValueError, match="x"):
                await result.aget(timeout=10)
            with pytest.raises(TimeoutError, match="1 of 2"):
                await result.aget(timeout=0.05, propagate=False)

        asyncio.run(main())


class TestActing:
    def test_revoke_is_one_transaction(self, app: Any, tasks: Any) -> None:
        result = group(tasks.give.si(slot) for slot in range(10)).apply_async()
        before = app.store.changes()
        result.revoke()
        assert app.store.changes() - before <= 1
        assert [member.state for member in result] == ["REVOKED"] * 10
        assert result.ready()
        with pytest.raises(TaskRevokedError):
            result.get(timeout=1)

    def test_revoke_takes_the_body_along(self, tasks: Any) -> None:
        body = chord([tasks.give.si(1), tasks.give.si(2)], tasks.give.s()).apply_async()
        body.parent.revoke()
        assert body.ready()
        with pytest.raises(TaskRevokedError):
            body.get(timeout=1)

    def test_revoke_of_a_group_in_a_group(self, tasks: Any) -> None:
        result = group(
            tasks.give.si(1), chain(tasks.give.si(1), group(tasks.give.si(2), tasks.give.si(3)))
        ).apply_async()
        result.revoke()
        assert [member.state for member in (result[0], *result[1])] == ["REVOKED"] * 3

    def test_terminate_revokes_what_has_not_started(self, tasks: Any) -> None:
        result = group(tasks.give.si(1), group(tasks.give.si(2))).apply_async()
        assert result.revoke(terminate=True, wait=True, timeout=10) == []
        assert [member.state for member in result] == ["REVOKED"] * 2

    def test_revoke_by_stamped_headers(self, app: Any, tasks: Any) -> None:
        stamped, plain = tasks.give.si(1), tasks.give.si(2)
        stamped.stamp(batch="b1")
        result = group(stamped, plain).apply_async()
        assert result.revoke_by_stamped_headers({"batch": "b1"}) is None
        assert [member.state for member in result] == ["REVOKED", "PENDING"]

    def test_forget(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.give.si(1), tasks.give.si(2)).apply_async()
        result.get(timeout=10)
        ids = [member.id for member in result]
        result.forget()
        assert app.store.states(ids) == {}
        assert app.GroupResult.restore(result.id) is None


class TestKept:
    def test_restore_needs_no_save(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = group(
            tasks.give.si(1), chain(tasks.give.si(1), group(tasks.give.si(2), tasks.give.si(3)))
        ).apply_async()
        for save in (lambda: None, result.save):
            save()
            again = app.GroupResult.restore(result.id)
            assert [member.id for member in again] == [member.id for member in result]
            assert again[1].results == result[1].results
            assert again.get(timeout=10) == [1, [2, 3]]
        assert GroupResult.restore(result.id, app=app) == result.id
        assert app.backend.restore_group(result.id) == result.id

    def test_an_unknown_group(self, app: Any) -> None:
        assert app.GroupResult.restore("nobody") is None
        assert app.GroupResult("nobody").results == []

    def test_an_empty_group_can_be_saved(self, app: Any) -> None:
        result = group(app=app).apply_async()
        result.save()
        again = app.GroupResult.restore(result.id)
        assert (again.id, again.results, again.get()) == (result.id, [], [])
        again.save()
        again.delete()
        assert app.GroupResult.restore(result.id) is None

    def test_a_group_put_together_by_hand_can_be_saved(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        members = [tasks.give.delay(1), chain(tasks.give.si(2), tasks.give.si(3)).apply_async()]
        result = app.GroupResult("by-hand", members)
        result.save()
        again = app.GroupResult.restore("by-hand")
        assert again == result
        assert again.results[1].parent == members[1].parent
        assert again.get(timeout=10) == [1, 3]
        result.add(tasks.give.delay(4))
        result.save()
        assert app.GroupResult.restore("by-hand").get(timeout=10) == [1, 3, 4]
        result.delete()
        assert app.GroupResult.restore("by-hand") is None


class TestMembers:
    def test_children_are_the_members_and_parent_is_what_came_before(self, tasks: Any) -> None:
        result = chain(tasks.give.si(1), group(tasks.give.s(), tasks.give.s())).apply_async()
        assert result.children == result.results == list(result) == [result[0], result[1]]
        assert isinstance(result.parent, AsyncResult)
        assert (result.parent.parent, result[0] in result, result[0].id in result.results) == (None, True, True)

    def test_ids_become_results_when_somebody_looks(self, app: Any) -> None:
        result = app.GroupResult("g", ["a", "b"])
        assert (len(result), "a" in result, "c" in result) == (2, True, False)
        assert [type(member).__name__ for member in result] == ["AsyncResult", "AsyncResult"]
        assert result == app.GroupResult("g", ["a", "b"]) == app.GroupResult("g", [app.AsyncResult("a"), "b"])

    def test_equality_and_hash(self, app: Any) -> None:
        make = app.GroupResult
        assert make("g", ["a"]) == "g"
        assert hash(make("g", ["a"])) == hash("g")
        assert make("g", ["a"]) != make("h", ["a"])
        assert make("g", ["a"]) != make("g", ["b"])
        assert make("g", ["a"]) != make("g", ["a"], parent=app.AsyncResult("p"))
        assert (bool(make("g", [])), bool(make(None, [])), make() == 3) == (True, False, False)
        assert (str(make("g", ["a"])), repr(make("g", ["a", "b"]))) == ("g", "<GroupResult: g [a, b]>")

    def test_members_may_be_changed(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = group(tasks.give.si(1), tasks.give.si(2)).apply_async()
        result.remove(result[0])
        result.add(tasks.give.delay(3))
        assert result.get(timeout=10) == [2, 3]
        assert (result.ready(), result.completed_count()) == (True, 2)


class TestScale:
    def test_values_of_a_large_group_cost_little(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = members_of(app, 5000)
        assert result.get(timeout=60) == list(range(5000))
        best = min(self._seconds(result.get) for _ in range(3))
        assert best < 0.5, "about 0.07 s on the machine this was written on"

    @staticmethod
    def _seconds(call: Any) -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    def test_waiting_reads_one_row_however_many_members(self, app: Any, tasks: Any) -> None:
        result = members_of(app, 20_000)
        assert not result.ready()
        assert min(self._seconds(result.ready) for _ in range(3)) < 0.05
        with pytest.raises(TimeoutError, match="20000 of 20000"):
            result.get(timeout=0)
