"""What the result of a chain or a chord says when something before it failed, and while it waits."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from litequeue import chain, chord, group
from litequeue.exceptions import ChordError, TaskError, TaskRevokedError, TimeoutError
from litequeue.result import AsyncResult, EagerResult, GroupResult


class TestChains:
    def test_parents_run_back_to_the_first_task(self, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.give.si(1), tasks.add.s(2), tasks.add.s(3)).apply_async()
        assert result.get(timeout=10) == 6
        assert (result.parent.get(), result.parent.parent.get(), result.parent.parent.parent) == (3, 1, None)

    def test_the_last_result_raises_what_the_first_failed_with(self, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.fail.si("first"), tasks.give.s(), tasks.give.s()).apply_async()
        with pytest.raises(ValueError, match="first") as caught:
            result.get(timeout=10)
        assert "raise ValueError" in caught.value.__notes__[0]
        assert (result.state, result.parent.state) == ("FAILURE", "FAILURE")
        assert (result.ready(), result.failed(), result.result.args) == (True, True, ("first",))
        assert "raise ValueError" in (result.traceback or "")

    def test_so_does_a_result_that_knows_only_its_id(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.fail.si("first"), tasks.give.s(), tasks.give.s()).apply_async()
        alone = app.AsyncResult(result.id)
        with pytest.raises(ValueError, match="first"):
            alone.get(timeout=10)
        assert alone.get(propagate=False).args == ("first",)
        assert alone._get_task_meta()["result"].args == ("first",)

    def test_when_the_failed_task_is_gone_it_says_so(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.fail.si("first"), tasks.give.s()).apply_async()
        result.get(timeout=10, propagate=False)
        app.AsyncResult(result.parent.id).forget()
        with pytest.raises(TaskError, match=f"task {result.id} did not run, because task {result.parent.id}"):
            app.AsyncResult(result.id).get(timeout=1)

    def test_a_step_that_was_revoked(self, tasks: Any) -> None:
        result = chain(tasks.give.si(1), tasks.give.s(), tasks.give.s()).apply_async()
        result.parent.parent.revoke()
        assert [result.state, result.parent.state] == ["REVOKED", "REVOKED"]
        with pytest.raises(TaskRevokedError):
            result.get(timeout=1)

    def test_a_chain_that_was_stopped_on_purpose_gives_none(self, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.ignore.si(), tasks.give.s(), tasks.give.s()).apply_async()
        assert result.get(timeout=10) is None
        assert (result.state, result.ready(), result.successful(), result.failed()) == ("IGNORED", True, False, False)

    def test_of_a_long_chain_the_parents_are_not_asked(self, app: Any, tasks: Any, worker: Any) -> None:
        result = chain(*(tasks.give.si(step) for step in range(2000))).apply_async()
        result._parents()[0].revoke()
        asked: list[Any] = []
        result.parent.maybe_throw = lambda *a, **k: asked.append(a)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=1)
        assert not asked

    def test_follow_parents_off(self, app: Any, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        header = [tasks.fail.si("x"), tasks.hold.si("gate")]
        result = chord(header, tasks.give.s()).apply_async()
        with pytest.raises(ValueError, match="x"):
            result.get(timeout=10)
        with pytest.raises(TimeoutError):
            result.get(timeout=0.05, follow_parents=False)
        gates.open("gate")
        with pytest.raises(ChordError):
            result.get(timeout=10, follow_parents=False)


class TestChords:
    def test_the_parent_of_the_body_is_the_group_of_the_header(self, tasks: Any, worker: Any) -> None:
        worker()
        result = chain(tasks.give.si(1), group(tasks.add.s(1), tasks.add.s(2)), tasks.add.s(3)).apply_async()
        assert result.get(timeout=10) == 8
        assert isinstance(result.parent, GroupResult)
        assert result.parent.get() == [2, 3]
        assert result.parent.parent.get() == 1

    def test_a_failed_member_is_raised_while_the_others_run(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        result = chord([tasks.hold.si("gate"), tasks.fail.si("x")], tasks.give.s()).apply_async()
        with pytest.raises(ValueError, match="x"):
            result.get(timeout=10)
        assert result.state == "PENDING"
        gates.open("gate")
        assert isinstance(result.get(timeout=10, propagate=False), ChordError)
        with pytest.raises(ValueError, match="x"):
            result.get()

    def test_also_by_what_comes_after_the_body(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        header = [tasks.hold.si("gate"), tasks.fail.si("x")]
        result = chain(chord(header, tasks.give.s()), tasks.give.s(), tasks.give.s()).apply_async()
        with pytest.raises(ValueError, match="x"):
            result.get(timeout=10)
        assert result.state == "PENDING"

    def test_the_body_failed_with_a_chord_error_that_has_the_cause(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        result = chord([tasks.give.si(1), tasks.fail.si("x")], tasks.give.s()).apply_async()
        error = result.get(timeout=10, propagate=False)
        failed = result.parent[1].id
        assert isinstance(error, ChordError)
        assert str(error) == f"Dependency {failed} raised ValueError('x')"
        assert isinstance(error.__cause__, ValueError)
        with pytest.raises(ChordError, match=failed):
            app.AsyncResult(result.id).get()

    def test_the_first_failed_header_of_several_chords(self, tasks: Any, worker: Any) -> None:
        worker()
        first = chord([tasks.give.si(1), tasks.give.si(2)], tasks.give.si(3))
        second = chord([tasks.fail.si("second"), tasks.give.si(2)], tasks.give.si(3))
        third = chord([tasks.fail.si("third"), tasks.give.si(2)], tasks.give.si(3))
        with pytest.raises(ValueError, match="second"):
            chain(first, second, third).apply_async().get(timeout=10)

    def test_a_body_that_runs_all_the_same(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        header = [tasks.hold.si("gate"), tasks.fail.si("x")]
        body = chord(header, tasks.give.si("ran"), on_header_error="run_body").apply_async()
        with pytest.raises(ValueError, match="x"):
            body.parent.get(timeout=10)
        with pytest.raises(TimeoutError):
            body.get(timeout=0.05)
        gates.open("gate")
        assert body.get(timeout=10) == "ran"

    def test_a_body_that_runs_all_the_same_and_fails(self, tasks: Any, worker: Any) -> None:
        worker()
        body = chord([tasks.fail.si("header")], tasks.fail.si("body"), on_header_error="run_body").apply_async()
        with pytest.raises(ValueError, match="body"):
            body.get(timeout=10)

    def test_a_body_that_is_a_group(self, tasks: Any, gates: Any, worker: Any) -> None:
        worker()
        header, body = [tasks.hold.si("gate"), tasks.fail.si("x")], group(tasks.give.s(), tasks.give.s())
        result = chord(header, body).apply_async()
        for _ in range(2):
            with pytest.raises(ValueError, match="x"):
                result.get(timeout=10)
            gates.open("gate")
            result.get(timeout=10, propagate=False)
        assert isinstance(result[0].result, ChordError)
        with pytest.raises(ValueError, match="x"):
            chord([tasks.fail.si("x")], body).apply().get()

    def test_in_place(self, tasks: Any) -> None:
        header = [tasks.give.si(1), tasks.fail.si("x")]
        body = chord(header, tasks.give.s()).apply()
        with pytest.raises(ValueError, match="x"):
            body.get()
        assert isinstance(body.get(propagate=False), ChordError)
        with pytest.raises(ChordError):
            body.get(follow_parents=False)
        seen: list[Any] = []
        tolerant = chord(header, tasks.give.si("ran"), on_header_error="run_body").apply()
        assert tolerant.get(callback=lambda *told: seen.append(told)) == "ran"
        assert seen == [(tolerant.id, "ran")]

    def test_await_raises_the_members_own_exception(self, tasks: Any, worker: Any) -> None:
        worker()

        async def main() -> None:
            result = chord([tasks.give.si(1), tasks.fail.si("x")], tasks.give.s()).apply_async()
            with pytest.raises(ValueError, match="x"):
                await result

        asyncio.run(main())


class TestTimeOuts:
    @staticmethod
    def _sentence(result: Any) -> str:
        with pytest.raises(TimeoutError) as caught:
            result.get(timeout=0.01)
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", str(caught.value))

    def test_a_step_says_what_it_waits_for_in_the_end(self, tasks: Any, gates: Any, worker: Any) -> None:
        result = chain(tasks.hold.si("gate"), tasks.give.s(), tasks.give.s()).apply_async()
        before = "task ID did not end within 0.01 s; it is PENDING: it waits for task ID (hold), which is "
        assert self._sentence(result) == before + "PENDING"
        running = worker()
        gates.await_task("gate")
        assert self._sentence(result) == f"{before}STARTED on {running.hostname}"

    def test_a_body_says_how_many_members_are_left(self, tasks: Any, worker: Any) -> None:
        result = chord([tasks.give.si(1), tasks.give.si(2)], tasks.give.s()).apply_async()
        assert self._sentence(result) == (
            "task ID did not end within 0.01 s; it is PENDING: it waits for group ID, of which 2 of 2 have not ended"
        )

    def test_a_set_counts(self, app: Any, tasks: Any) -> None:
        results = app.ResultSet([tasks.give.delay(1), app.AsyncResult("nobody")])
        assert re.fullmatch(
            r"2 of 2 results of the set did not end within 0\.01 s; 1 of them the file .*queue\.db has never seen; "
            "the tasks go on",
            self._sentence(results),
        )


class TestParentsThatTheFileDoesNotTie:
    def test_are_asked(self, app: Any, tasks: Any, worker: Any) -> None:
        parent = tasks.fail.delay("x")
        middle = AsyncResult("never-sent", app=app, parent=parent)
        child = AsyncResult("never-sent-either", app=app, parent=middle)
        worker()
        with pytest.raises(ValueError, match="x"):
            child.get(timeout=10)

    def test_one_that_ran_in_place(self, app: Any) -> None:
        parent = EagerResult("e", ValueError("x"), "FAILURE")
        with pytest.raises(ValueError, match="x"):
            AsyncResult("never-sent", app=app, parent=parent).get(timeout=10)

    def test_a_group_put_together_by_hand(self, app: Any, tasks: Any, worker: Any) -> None:
        worker()
        parent = app.GroupResult("by-hand", [tasks.give.delay(1), tasks.fail.delay("x")])
        with pytest.raises(ValueError, match="x"):
            AsyncResult("never-sent", app=app, parent=parent).get(timeout=10)


class TestLinks:
    def test_a_link_to_a_waiting_a_running_and_a_finished_task(self, tasks: Any, gates: Any, worker: Any) -> None:
        result = tasks.hold.delay("gate")
        callback = tasks.give.s("waiting")
        assert result.link(callback) is callback
        worker()
        gates.await_task("gate")
        result.link(tasks.give.s("running"))
        gates.open("gate")
        result.get(timeout=10)
        result.link(tasks.give.s("finished"))
        assert [child.get(timeout=10) for child in result.children] == ["waiting", "running", "finished"]

    def test_an_error_link_to_a_task_that_failed(self, app: Any, tasks: Any, worker: Any) -> None:
        @app.task
        def report(failed_id: str) -> str:
            return failed_id

        worker()
        result = tasks.fail.delay("x")
        result.get(timeout=10, propagate=False)
        result.link_error(report.s())
        assert result.children[0].children[0].get(timeout=10) == result.id

    def test_of_an_unknown_task(self, app: Any, tasks: Any) -> None:
        for link in (app.AsyncResult("nobody").link, app.AsyncResult("nobody").link_error):
            with pytest.raises(LookupError, match="no task nobody"):
                link(tasks.give.s())


class TestStamps:
    def test_revoke_by_stamped_headers_answers_for_each_worker(self, tasks: Any, worker: Any) -> None:
        running = worker()
        result = tasks.give.delay(1)
        reply = result.revoke_by_stamped_headers({"batch": ["b1"]}, wait=True)
        said = "headers {'batch': ['b1']} flagged as revoked, but not terminated"
        assert reply == [{running.hostname: {"ok": said}}]
        late = tasks.give.si(1)
        late.stamp(batch="b1")
        with pytest.raises(TaskRevokedError):
            late.apply_async().get(timeout=10)
