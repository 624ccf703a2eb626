"""Waiting for tasks and reading what became of them."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from litequeue import LiteQueue, states
from litequeue.exceptions import Ignore, IncompleteStream, RemoteError, TaskRevokedError, TimeoutError
from litequeue.result import (
    AsyncResult,
    EagerResult,
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    result_from_tuple,
)

MakeApp = Callable[..., LiteQueue]


class Broken(Exception):
    """Crosses the file as itself."""


@pytest.fixture
def echo(app: LiteQueue) -> Any:
    """Returns its argument, or raises it."""

    @app.task(name="echo")
    def echo(value: Any = None, error: str = "", wait: float = 0) -> Any:
        if wait:
            time.sleep(wait)
        if error:
            raise Broken(error, 42)
        return value

    return echo


@pytest.fixture
def gate(app: LiteQueue) -> Any:
    """A task that waits until the test lets it go on: `(task, started, go)`."""
    started, go = threading.Event(), threading.Event()

    @app.task(name="gate", bind=True)
    def gate(self: Any, state: str = "", meta: Any = None) -> str:
        if state:
            self.update_state(state=state, meta=meta)
        started.set()
        assert go.wait(20)
        return "through"

    yield gate, started, go
    go.set()


class TestSuccess:
    """A task that ended well."""

    def test_everything_that_is_known(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        running = worker()
        before = datetime.now(UTC)
        result = echo.apply_async(({"a": [1, 2]},), queue="celery", priority=3)
        assert result.get(timeout=10) == {"a": [1, 2]}
        assert (result.state, result.status, result.engine_state) == ("SUCCESS", "SUCCESS", "succeeded")
        assert (result.ready(), result.successful(), result.failed()) == (True, True, False)
        assert result.result == result.info == {"a": [1, 2]}
        assert (result.name, result.args, result.kwargs) == ("echo", [{"a": [1, 2]}], {})
        assert (result.queue, result.priority, result.retries, result.attempts) == ("celery", 3, 0, 1)
        assert (result.worker, result.traceback, result.children) == (running.hostname, None, [])
        assert result.date_done is not None
        assert before < result.date_done <= datetime.now(UTC)

    def test_get_again_reads_nothing(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        worker()
        result = echo.delay([1])
        assert result.get(timeout=10) is result.get() is result.result
        app.AsyncResult(result.id).forget()
        assert result.get() == [1]

    def test_anybody_who_knows_the_id_can_read(self, app: LiteQueue, make_app: MakeApp, echo: Any, worker: Any) -> None:
        worker()
        task_id = echo.delay("x").id
        assert app.AsyncResult(task_id).get(timeout=10) == "x"
        assert echo.AsyncResult(task_id).get() == "x"
        other = make_app("other")
        assert AsyncResult(task_id, app=other).get() == "x"
        assert AsyncResult(task_id).app is other, "the current app"
        assert app.backend.get_result(task_id) == "x"

    def test_callback(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        worker()
        seen: list[Any] = []
        result = echo.delay("x")
        assert result.get(timeout=10, callback=lambda *told: seen.append(told)) == "x"
        assert result.get(callback=lambda *told: seen.append(told)) == "x"
        assert seen == [(result.id, "x")] * 2

    def test_meta_in_celerys_shape(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        worker()
        result = echo.apply_async(("x",), group_id="g1")
        result.get(timeout=10)
        meta = result._get_task_meta()
        assert meta["status"] == "SUCCESS"
        assert (meta["result"], meta["group_id"], meta["name"], meta["root_id"]) == ("x", "g1", "echo", result.id)
        assert app.AsyncResult("unknown")._get_task_meta()["status"] == "PENDING"


class TestFailure:
    """A task that raised."""

    def test_the_exception_comes_back(self, echo: Any, worker: Any) -> None:
        worker()
        result = echo.delay(error="no")
        with pytest.raises(Broken) as caught:
            result.get(timeout=10)
        assert caught.value.args == ("no", 42)
        assert (result.state, result.failed(), result.ready(), result.successful()) == ("FAILURE", True, True, False)
        assert isinstance(result.result, Broken)
        assert "raise Broken(error, 42)" in (result.traceback or "")

    def test_with_the_workers_traceback_as_a_note(self, echo: Any, worker: Any) -> None:
        worker()
        result = echo.delay(error="no")
        for _ in range(2):
            with pytest.raises(Broken) as caught:
                result.get(timeout=10)
            assert sum("raise Broken(error, 42)" in note for note in caught.value.__notes__) == 1

    def test_without_propagation_it_is_returned(self, echo: Any, worker: Any) -> None:
        worker()
        seen: list[Any] = []
        result = echo.delay(error="no")
        assert isinstance(result.get(timeout=10, propagate=False, callback=lambda *a: seen.append(a)), Broken)
        assert seen[0][0] == result.id
        assert isinstance(result.maybe_throw(propagate=False), Broken)
        with pytest.raises(Broken):
            result.maybe_reraise()

    def test_a_class_that_cannot_be_found_keeps_its_name(self, app: LiteQueue, worker: Any) -> None:
        @app.task
        def fail() -> None:
            class Hidden(Exception):
                pass

            raise Hidden("deep", 7)

        worker()
        with pytest.raises(RemoteError, match="Hidden") as caught:
            fail.delay().get(timeout=10)
        assert caught.value.args == ("deep", 7)

    def test_a_failed_parent_is_raised_first(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        worker()
        parent = echo.delay(error="first")
        parent.get(timeout=10, propagate=False)
        child = AsyncResult("never-sent", app=app, parent=parent)
        with pytest.raises(Broken):
            child.get(timeout=10)
        with pytest.raises(TimeoutError):
            child.get(timeout=0.01, follow_parents=False)

    def test_a_parent_that_fails_meanwhile_ends_the_wait(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        parent = echo.delay(error="first")
        child = AsyncResult("never-sent", app=app, parent=parent)
        worker()
        with pytest.raises(Broken):
            child.get(timeout=10)


class TestWaiting:
    """get() and its time-out."""

    def test_an_unknown_id(self, app: LiteQueue) -> None:
        result = app.AsyncResult("no-such-task")
        assert (result.state, result.exists(), result.ready(), result.result) == ("PENDING", False, False, None)
        assert (result.name, result.args, result.date_done, result.traceback) == (None, None, None, None)
        with pytest.raises(TimeoutError, match=r"queue\.db has never seen task no-such-task"):
            result.get(timeout=0.05)

    def test_a_time_out_leaves_the_task(self, app: LiteQueue, gate: Any, worker: Any) -> None:
        task, started, go = gate
        worker()
        result = task.delay()
        assert started.wait(10)
        with pytest.raises(TimeoutError, match=r"did not end within 0\.05 s; it is STARTED"):
            result.get(timeout=0.05)
        with pytest.raises(AsyncResult.TimeoutError):
            result.get(timeout=0)
        go.set()
        assert result.get(timeout=10) == "through"

    def test_the_end_is_noticed_at_once(self, echo: Any, worker: Any) -> None:
        worker()
        echo.delay().get(timeout=10)
        started = time.monotonic()
        for _ in range(10):
            echo.delay().get(timeout=10, interval=5)
        assert time.monotonic() - started < 5

    def test_on_interval_is_called_while_it_waits(self, gate: Any, worker: Any) -> None:
        task, _, go = gate
        calls: list[int] = []

        def between() -> None:
            calls.append(1)
            if len(calls) == 3:
                go.set()

        worker()
        assert task.delay().get(timeout=10, interval=0.01, on_interval=between) == "through"
        assert len(calls) >= 3

    def test_an_exception_of_on_interval_ends_the_wait(self, echo: Any) -> None:
        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            echo.delay().get(on_interval=stop)

    def test_a_task_deleted_meanwhile_ends_the_wait(self, app: LiteQueue, echo: Any) -> None:
        result = echo.delay()
        with pytest.raises(TaskRevokedError, match="was deleted"):
            result.get(timeout=10, interval=0.01, on_interval=app.store.purge)

    def test_inside_a_task_it_is_refused(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        @app.task
        def impatient(how: str) -> Any:
            if how == "allowed":
                with allow_join_result():
                    return echo.delay("a").get(timeout=10)
            return echo.delay("b").get(timeout=10, disable_sync_subtasks=how != "told")

        worker()
        with pytest.raises(RuntimeError, match=r"Never call result\.get\(\) within a task!"):
            impatient.delay("refused").get(timeout=10)
        assert impatient.delay("allowed").get(timeout=10) == "a"
        assert impatient.delay("told").get(timeout=10) == "b"

    def test_the_guard_by_itself(self) -> None:
        assert_will_not_block()
        with denied_join_result():
            with pytest.raises(RuntimeError):
                assert_will_not_block()
            with allow_join_result():
                assert_will_not_block()


class TestStates:
    """Between the call and the end."""

    def test_pending_started_success(self, app: LiteQueue, gate: Any, worker: Any) -> None:
        task, started, go = gate
        result = task.delay()
        assert (result.state, result.engine_state) == (states.PENDING, "ready")
        assert task.apply_async(countdown=100).engine_state == "scheduled"
        worker()
        assert started.wait(10)
        assert (result.state, result.engine_state, result.ready()) == (states.STARTED, "running", False)
        go.set()
        result.get(timeout=10)
        assert result.state == states.SUCCESS

    def test_a_state_of_the_tasks_own(self, gate: Any, worker: Any) -> None:
        task, started, go = gate
        worker()
        result = task.delay("PROGRESS", {"done": 3, "of": 10})
        assert started.wait(10)
        assert (result.state, result.ready(), result.info) == ("PROGRESS", False, {"done": 3, "of": 10})
        go.set()
        assert result.get(timeout=10) == "through"
        assert result.state == "SUCCESS"

    def test_a_state_set_from_outside(self, echo: Any) -> None:
        result = echo.delay()
        echo.update_state(task_id=result.id, state="CHECKED", meta=[1])
        assert (result.state, result.result) == ("CHECKED", [1])
        with pytest.raises(ValueError, match="needs the task_id"):
            echo.update_state(state="CHECKED")
        with pytest.raises(TypeError, match="state must be text"):
            echo.update_state(task_id=result.id, state=5)

    def test_a_task_may_set_its_last_state_itself(self, app: LiteQueue, worker: Any) -> None:
        @app.task(bind=True)
        def judge(self: Any) -> None:
            self.update_state(state="SKIPPED", meta={"why": "nothing new"})
            raise Ignore

        worker()
        result = judge.delay()
        assert result.get(timeout=10) == {"why": "nothing new"}
        assert (result.state, result.ready(), result.engine_state) == ("SKIPPED", True, "ignored")

    def test_an_ignored_task(self, app: LiteQueue, worker: Any) -> None:
        def ignore() -> None:
            raise Ignore

        task = app.task(ignore)
        worker()
        result = task.delay()
        assert result.get(timeout=10) is None
        assert (result.state, result.ready(), result.successful(), result.failed()) == ("IGNORED", True, False, False)

    def test_revoked_before_it_started(self, echo: Any, worker: Any) -> None:
        result = echo.delay()
        result.revoke()
        assert (result.state, result.ready(), result.failed(), result.successful()) == ("REVOKED", True, False, False)
        with pytest.raises(TaskRevokedError, match="revoked"):
            result.get(timeout=1)
        assert isinstance(result.get(propagate=False), TaskRevokedError)

    def test_revoking_what_has_ended_changes_nothing(self, echo: Any, worker: Any) -> None:
        worker()
        result = echo.delay("x")
        result.get(timeout=10)
        result.revoke()
        assert result.app.AsyncResult(result.id).state == "SUCCESS"

    def test_expired_before_it_started(self, echo: Any, worker: Any) -> None:
        result = echo.apply_async(expires=-1)
        worker()
        with pytest.raises(TaskRevokedError, match="expired"):
            result.get(timeout=10)
        assert result.state == "REVOKED"


class TestNoResult:
    """Tasks of which no result is kept."""

    def test_get_returns_at_once(self, app: LiteQueue, echo: Any) -> None:
        result = echo.apply_async(("x",), ignore_result=True)
        assert (result.ignored, result.get(timeout=0.01), result.result) == (True, None, None)
        assert app.AsyncResult(result.id).get(timeout=0.01) is None

    def test_it_is_not_kept(self, app: LiteQueue, worker: Any) -> None:
        task = app.task(lambda: "secret", name="t", ignore_result=True)
        worker()
        result = task.delay()
        assert result.ignored
        seen = app.store.changes()
        while not result.ready():
            seen = app.store.wait_for_change(seen, 5)
        assert (result.result, result.state) == (None, "SUCCESS")

    def test_errors_may_be_kept_all_the_same(self, app: LiteQueue, worker: Any) -> None:
        task = app.task(lambda: 1 / 0, name="t", ignore_result=True, store_errors_even_if_ignored=True)
        worker()
        result = app.AsyncResult(task.delay().id)
        seen = app.store.changes()
        while not result.ready():
            seen = app.store.wait_for_change(seen, 5)
        with pytest.raises(ZeroDivisionError):
            result.get()

    def test_without_results_get_says_so(self, make_app: MakeApp) -> None:
        app = make_app(backend="disabled://")
        result = app.task(lambda: 1, name="t").delay()
        assert not result.ignored
        with pytest.raises(NotImplementedError, match="result_backend is disabled"):
            result.get(timeout=1)
        assert result.state == "PENDING"
        record = app.store.task(result.id)
        assert record is not None
        assert record.ignore_result


class TestForget:
    """Deleting what is kept."""

    def test_forget(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        worker()
        result = echo.delay("x")
        result.get(timeout=10)
        result.forget()
        assert (result.exists(), result.state) == (False, "PENDING")

    def test_forget_parents_too(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        worker()
        parent = echo.delay("x")
        child = echo.delay("y")
        child.parent = parent
        child.get(timeout=10)
        parent.get(timeout=10)
        child.forget()
        assert not parent.exists()


class TestTold:
    """Being told of the end: `then`, and `await`."""

    def test_then(self, echo: Any, worker: Any) -> None:
        told: list[Any] = []
        done = threading.Semaphore(0)

        def callback(result: AsyncResult) -> None:
            told.append(result.result if result.successful() else type(result.result))
            done.release()

        results = [echo.delay(i) for i in range(5)] + [echo.delay(error="x")]
        for result in results:
            assert result.then(callback) is result
        worker()
        for _ in results:
            assert done.acquire(timeout=10)
        assert set(told) == {0, 1, 2, 3, 4, Broken}

    def test_then_on_error(self, echo: Any, worker: Any) -> None:
        told: list[Any] = []
        worker()
        result = echo.delay(error="x")
        result.get(timeout=10, propagate=False)
        result.then(told.append, on_error=lambda exc: told.append(exc.args))
        assert told == [("x", 42)], "a task that has ended is told at once"

    def test_a_callback_that_raises_does_not_stop_the_others(self, echo: Any, worker: Any) -> None:
        def bad(result: AsyncResult) -> None:
            raise RuntimeError("callback")

        done = threading.Event()
        result = echo.delay()
        result.then(bad)
        result.then(lambda _: done.set())
        worker()
        assert done.wait(10)

    def test_one_thread_for_all_and_none_for_nothing(self, app: LiteQueue, echo: Any, worker: Any) -> None:
        def watchers() -> list[str]:
            return [thread.name for thread in threading.enumerate() if thread.name == "litequeue-results"]

        left = threading.Semaphore(0)
        results = [echo.delay(i) for i in range(20)]
        for result in results:
            result.then(lambda _: left.release())
        assert len(watchers()) == 1
        worker()
        for _ in results:
            assert left.acquire(timeout=10)
        deadline = time.monotonic() + 10
        while watchers() and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert watchers() == []

    def test_await(self, echo: Any, worker: Any) -> None:
        async def main() -> Any:
            values = await asyncio.gather(*(echo.delay(i) for i in range(10)))
            with pytest.raises(Broken):
                await echo.delay(error="x")
            assert isinstance(await echo.delay(error="x").aget(propagate=False), Broken)
            assert await echo.apply_async(ignore_result=True).aget() is None
            return values

        worker()
        assert asyncio.run(main()) == list(range(10))

    def test_await_with_a_time_out(self, app: LiteQueue, echo: Any) -> None:
        async def main() -> None:
            with pytest.raises(TimeoutError, match="did not end"):
                await echo.delay().aget(timeout=0.05)
            with pytest.raises(TimeoutError, match="never seen"):
                await app.AsyncResult("unknown").aget(timeout=0.05)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(echo.delay().aget(), 0.05)

        asyncio.run(main())
        assert not app.watcher._pending, "whoever gave up is not watched for"

    def test_the_event_loop_goes_on_meanwhile(self, gate: Any, worker: Any) -> None:
        task, _, go = gate

        async def main() -> Any:
            waiting = asyncio.ensure_future(task.delay().aget(timeout=10))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            go.set()
            return await waiting

        worker()
        assert asyncio.run(main()) == "through"


class TestAsValues:
    """Results as values."""

    def test_equality_and_text(self, app: LiteQueue) -> None:
        one, same, other = app.AsyncResult("a"), app.AsyncResult("a"), app.AsyncResult("b")
        assert one == same == "a"
        assert one != other
        assert one != 5
        assert "a" in [one]
        assert len({one, same, other}) == 2
        assert (str(one), repr(one), one.id, one.task_id) == ("a", "<AsyncResult: a>", "a", "a")

    @pytest.mark.parametrize("bad", [None, 5])
    def test_an_id_is_text(self, app: LiteQueue, bad: Any) -> None:
        with pytest.raises(ValueError, match="needs the id"):
            app.AsyncResult(bad)

    def test_tuples(self, app: LiteQueue) -> None:
        result = AsyncResult("c", app=app, parent=AsyncResult("b", app=app, parent=AsyncResult("a", app=app)))
        assert result.as_tuple() == (("c", (("b", (("a", None), None)), None)), None)
        assert result.as_list() == ["c", "b", "a"]
        back = result_from_tuple(result.as_tuple(), app)
        assert back == result
        assert back.parent.parent == "a"
        assert result_from_tuple(back) is back
        assert result_from_tuple(["c", None], app) == "c"

    def test_copies(self, app: LiteQueue) -> None:
        result = AsyncResult("b", app=app, parent=AsyncResult("a", app=app))
        for other in (copy.copy(result), pickle.loads(pickle.dumps(result))):
            assert other == result
            assert other.parent == "a"

    def test_a_tree_that_has_not_ended(self, echo: Any) -> None:
        result = echo.delay()
        with pytest.raises(IncompleteStream):
            list(result.iterdeps())
        assert list(result.iterdeps(intermediate=True)) == [(None, result)]

    def test_generic_aliases(self) -> None:
        assert AsyncResult[int].__args__ == (int,)
        assert issubclass(EagerResult, AsyncResult)
