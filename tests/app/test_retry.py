"""`retry` and `autoretry_for`: under a worker and in place, the same rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.core import clock
from litequeue.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry

from .conftest import row

Run = Callable[..., Any]


class Flaky(Exception):
    """What goes wrong for a while."""


@pytest.fixture(params=["worker", "eager"])
def run(request: pytest.FixtureRequest, app: LiteQueue, worker: Any) -> Run:
    """Runs a call to its end, with a worker or in place; returns its result."""

    def with_worker(task: Any, *args: Any, **kwargs: Any) -> Any:
        worker()
        result = task.apply_async(args, kwargs)
        result.get(timeout=20, propagate=False)
        return result

    def in_place(task: Any, *args: Any, **kwargs: Any) -> Any:
        return task.apply(args, kwargs)

    return with_worker if request.param == "worker" else in_place


def test_it_is_run_again_until_it_succeeds(app: LiteQueue, run: Run) -> None:
    ids = []

    @app.task(bind=True, default_retry_delay=0)
    def flaky(self: Any, failures: int) -> Any:
        ids.append(self.request.id)
        if self.request.retries < failures:
            raise self.retry(exc=Flaky())
        return self.request.retries

    result = run(flaky, 3)
    assert result.get() == 3
    assert ids == [result.id] * 4


def test_used_up_retries_raise_the_cause(app: LiteQueue, run: Run) -> None:
    @app.task(bind=True, max_retries=2, default_retry_delay=0)
    def flaky(self: Any) -> Any:
        try:
            raise Flaky(self.request.retries)
        except Flaky as exc:
            raise self.retry(exc=exc) from exc

    result = run(flaky)
    with pytest.raises(Flaky, match="2"):
        result.get()
    assert result.state == "FAILURE"


def test_used_up_retries_without_a_cause(app: LiteQueue, run: Run) -> None:
    @app.task(bind=True, name="flaky", max_retries=0)
    def flaky(self: Any, x: int) -> Any:
        raise self.retry()

    result = run(flaky, 5)
    with pytest.raises(MaxRetriesExceededError) as caught:
        result.get()
    assert f"Can't retry flaky[{result.id}] args:(5,) kwargs:{{}}" in str(caught.value)


def test_max_retries_of_one_call_and_none_at_all(app: LiteQueue, run: Run) -> None:
    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def once(self: Any) -> Any:
        if self.request.retries < 4:
            raise self.retry(max_retries=4)
        return "done"

    @app.task(bind=True, max_retries=None, default_retry_delay=0)
    def endless(self: Any) -> Any:
        if self.request.retries < 6:
            raise self.retry()
        return "done"

    assert run(once).get() == "done"
    assert run(endless).get() == "done"


def test_it_may_be_run_with_other_arguments(app: LiteQueue, run: Run) -> None:
    @app.task(bind=True, default_retry_delay=0)
    def change(self: Any, x: int, y: int = 0, z: int = 0) -> Any:
        if self.request.retries == 0:
            raise self.retry(args=(x + 1,))
        if self.request.retries == 1:
            raise self.retry(kwargs={"z": 9})
        return [x, y, z]

    assert run(change, 1, y=5).get() == [2, 0, 9], "new keywords replace all of the old"


def test_new_keywords_replace_positional_arguments_and_the_reverse(app: LiteQueue, run: Run) -> None:
    @app.task(bind=True, default_retry_delay=0)
    def by_keyword(self: Any, x: int, y: int = 0) -> Any:
        if self.request.retries == 0:
            raise self.retry(kwargs={"x": 10})
        return [x, y]

    @app.task(bind=True, default_retry_delay=0)
    def by_position(self: Any, x: int, y: int = 0) -> Any:
        if self.request.retries == 0:
            raise self.retry(args=(7,))
        return [x, y]

    assert run(by_keyword, 1, 2).get() == [10, 2]
    assert run(by_position, x=1, y=2).get() == [7, 2]


def test_a_retry_that_is_not_raised_happens_all_the_same(app: LiteQueue, run: Run) -> None:
    @app.task(bind=True, default_retry_delay=0)
    def quiet(self: Any) -> Any:
        if self.request.retries == 0:
            assert isinstance(self.retry(throw=False), Retry)
            return "not this"
        return "this"

    @app.task(bind=True, default_retry_delay=0)
    def caught(self: Any) -> Any:
        if self.request.retries == 0:
            try:
                self.retry()
            except Exception as exc:
                return f"swallowed {exc!r}"
        return "this"

    assert run(quiet).get() == "this"
    assert run(caught).get() == "this"


def test_as_a_function_it_raises_the_cause(app: LiteQueue) -> None:
    @app.task(bind=True)
    def flaky(self: Any, exc: Exception | None) -> Any:
        raise self.retry(exc=exc)

    with pytest.raises(Flaky):
        flaky(Flaky())
    with pytest.raises(Retry, match="Task can be retried"):
        flaky(None)


def test_a_retry_inside_a_call_of_its_own(app: LiteQueue, run: Run) -> None:
    class Wrapped(app.Task):  # type: ignore[name-defined,misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    @app.task(bind=True, base=Wrapped, default_retry_delay=0)
    def quiet(self: Any) -> Any:
        if self.request.retries == 0:
            self.retry(throw=False)
        return self.request.retries

    assert run(quiet).get() == 1


def test_options_that_cannot_be_fail_the_task(app: LiteQueue, run: Run) -> None:
    @app.task(bind=True)
    def bad(self: Any) -> Any:
        raise self.retry(prioritee=3)

    with pytest.raises(TypeError, match="prioritee"):
        run(bad).get()


class TestAutoretry:
    """Exceptions that are retried without a word in the task."""

    def test_listed_errors_are_retried(self, app: LiteQueue, run: Run) -> None:
        @app.task(bind=True, autoretry_for=(Flaky,), default_retry_delay=0, max_retries=5)
        def flaky(self: Any, failures: int) -> Any:
            if self.request.retries < failures:
                raise Flaky(self.request.retries)
            return self.request.retries

        assert run(flaky, 2).get() == 2
        with pytest.raises(Flaky, match="5"):
            run(flaky, 9).get()

    def test_others_are_not(self, app: LiteQueue, run: Run) -> None:
        tries = []

        @app.task(autoretry_for=(Exception,), dont_autoretry_for=(KeyError,), default_retry_delay=0, max_retries=2)
        def flaky(kind: str) -> Any:
            tries.append(kind)
            raise {"key": KeyError, "reject": Reject, "ignore": Ignore, "value": ValueError}[kind]("x")

        assert run(flaky, "key").state == "FAILURE"
        assert run(flaky, "reject").state in ("FAILURE", "REJECTED")
        assert run(flaky, "ignore").state == "IGNORED"
        assert run(flaky, "value").state == "FAILURE"
        assert [tries.count(kind) for kind in ("key", "reject", "ignore", "value")] == [1, 1, 1, 3]

    def test_retry_kwargs(self, app: LiteQueue, run: Run) -> None:
        @app.task(bind=True, autoretry_for=(Flaky,), retry_kwargs={"max_retries": 1, "countdown": 0})
        def flaky(self: Any) -> Any:
            raise Flaky(self.request.retries)

        with pytest.raises(Flaky, match="1"):
            run(flaky).get()

    def test_on_a_class(self, app: LiteQueue, run: Run) -> None:
        class Loads(app.Task):  # type: ignore[name-defined,misc]
            name = "loads"
            autoretry_for = (Flaky,)
            retry_kwargs = {"max_retries": 3}  # noqa: RUF012
            default_retry_delay = 0

            def run(self) -> Any:
                if self.request.retries < 2:
                    raise Flaky
                return self.request.retries

        assert run(app.register_task(Loads)).get() == 2

    def test_coroutines(self, app: LiteQueue, run: Run) -> None:
        @app.task(bind=True, autoretry_for=(Flaky,), default_retry_delay=0)
        async def flaky(self: Any) -> Any:
            await asyncio.sleep(0)
            if self.request.retries < 2:
                raise Flaky
            return self.request.retries

        assert run(flaky).get() == 2

    def test_an_override_on_the_task(self, app: LiteQueue, run: Run) -> None:
        @app.task(bind=True, autoretry_for=(Flaky,), default_retry_delay=0, max_retries=1)
        def flaky(self: Any) -> Any:
            if self.request.retries < 3:
                raise Flaky
            return "done"

        flaky.override_max_retries = 4
        assert run(flaky).get() == "done"

    @pytest.mark.parametrize(
        ("options", "waits"),
        [
            ({"retry_backoff": True, "retry_jitter": False}, [1, 2, 4, 8]),
            ({"retry_backoff": 3, "retry_jitter": False}, [3, 6, 12, 24]),
            ({"retry_backoff": 3, "retry_jitter": False, "retry_backoff_max": 10}, [3, 6, 10, 10]),
            ({"default_retry_delay": 7}, [7, 7, 7, 7]),
        ],
    )
    def test_the_wait_grows(self, app: LiteQueue, options: Any, waits: list[int]) -> None:
        seen = []

        class Watched(app.Task):  # type: ignore[name-defined,misc]
            def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                seen.append(round(self.request.pending.rerun.run_at - clock.now()))

        task = app.task(
            lambda: 1 / 0, base=Watched, name="t", autoretry_for=(ZeroDivisionError,), max_retries=4, **options
        )
        assert task.apply().state == "FAILURE"
        assert seen == waits


class TestRow:
    """What a retry is in the file."""

    @pytest.fixture
    def waiting(self, app: LiteQueue, worker: Any) -> Callable[..., Any]:
        """The result of a task that waits for its retry."""

        def start(call: Any, retry: Any) -> Any:
            @app.task(bind=True, name="t")
            def again(self: Any, x: int = 0) -> Any:
                raise self.retry(exc=Flaky("not yet"), **{"countdown": 600, **retry})

            with app.start_worker(concurrency=1):
                result = again.apply_async(**call)
                seen = app.store.changes()
                while result.state != "RETRY":
                    seen = app.store.wait_for_change(seen, 5)
            return result

        return start

    def test_it_shows_retry_and_the_cause(self, waiting: Any) -> None:
        before = clock.now()
        result = waiting({}, {})
        record = row(result)
        assert (result.state, result.ready(), result.retries, record.state) == ("RETRY", False, 1, "scheduled")
        assert isinstance(result.result, Flaky)
        assert "Flaky" in result.traceback
        assert before + 595 < record.run_at < clock.now() + 600

    def test_it_keeps_what_the_call_said(self, waiting: Any) -> None:
        result = waiting(
            {"priority": 7, "headers": {"a": 1}, "queue": "celery", "expires": 1000, "time_limit": 50, "shadow": "s"},
            {},
        )
        record = row(result)
        assert (record.priority, record.headers, record.time_limit, record.options) == (
            7,
            '{"a":1}',
            50,
            '{"shadow":"s"}',
        )
        assert record.expires_at is not None

    def test_it_takes_what_the_retry_says(self, waiting: Any) -> None:
        moment = datetime(2040, 1, 1, tzinfo=UTC)
        result = waiting(
            {"priority": 7},
            {
                "countdown": None,
                "eta": moment,
                "priority": 9,
                "queue": "slow",
                "expires": moment + timedelta(hours=1),
                "time_limit": 20,
                "headers": {"b": 2},
                "args": (5,),
            },
        )
        record = row(result)
        assert (record.run_at, record.expires_at) == (moment.timestamp(), moment.timestamp() + 3600)
        assert (record.priority, record.queue, record.time_limit, record.headers) == (9, "slow", 20, '{"b":2}')
        assert result.args == [5]

    def test_one_row_whatever_happens(self, app: LiteQueue, waiting: Any) -> None:
        waiting({}, {})
        assert app.store.counts() == {"celery": {"scheduled": 1}}
