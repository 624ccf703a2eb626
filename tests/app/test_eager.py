"""Running in place: `apply()` and `task_always_eager`, through the real serializer and executor."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.exceptions import EncodeError, Ignore, Reject, TaskRevokedError
from litequeue.result import AsyncResult, EagerResult, allow_join_result

MakeApp = Callable[..., LiteQueue]


@pytest.fixture
def eager(make_app: MakeApp) -> LiteQueue:
    """An app without a file that runs everything in place."""
    return make_app(broker=None, task_always_eager=True)


def test_apply_returns_when_the_task_has_ended(make_app: MakeApp) -> None:
    app = make_app(broker=None)
    add = app.task(lambda x, y: x + y, name="add")
    result = add.apply((2, 3))
    assert isinstance(result, EagerResult)
    assert (result.get(), result.state, result.ready(), result.successful(), result.name) == (
        5,
        "SUCCESS",
        True,
        True,
        "add",
    )
    assert add.s(2, 3).apply().get() == 5
    assert add.apply(kwargs={"x": 1, "y": 2}, task_id="mine").id == "mine"


def test_always_eager_runs_every_call_in_place(eager: LiteQueue) -> None:
    add = eager.task(lambda x, y: x + y, name="add")
    assert add.delay(1, 2).get() == 3
    assert add.apply_async((1, 2), countdown=1000).get() == 3
    assert add.s(1).delay(2).get() == 3
    assert [result.get() for result in eager.enqueue_many(add.s(i, i) for i in range(3))] == [0, 2, 4]


def test_arguments_and_results_cross_the_serializer(eager: LiteQueue) -> None:
    seen: list[Any] = []

    @eager.task(name="echo")
    def echo(x: Any) -> Any:
        seen.append(x)
        return (x, {1, 2})

    given = [1, 2]
    assert echo.delay(given).get() == [[1, 2], {1, 2}]
    assert seen == [[1, 2]]
    assert seen[0] is not given
    with pytest.raises(EncodeError, match=r"args\[0\]"):
        echo.delay(object())


def test_a_result_that_cannot_be_encoded_fails_the_task(eager: LiteQueue) -> None:
    result = eager.task(lambda: object(), name="t").delay()
    assert result.state == "FAILURE"
    with pytest.raises(EncodeError, match="result"):
        result.get()


def test_a_failure(eager: LiteQueue) -> None:
    class Local(Exception):
        """Not importable: in place it need not be."""

    @eager.task
    def fail() -> None:
        raise Local("no")

    result = fail.delay()
    assert (result.state, result.failed(), result.successful()) == ("FAILURE", True, False)
    assert isinstance(result.result, Local)
    assert "Local" in (result.traceback or "")
    with pytest.raises(Local):
        result.get()
    assert isinstance(result.get(propagate=False), Local)


def test_propagation(make_app: MakeApp) -> None:
    app = make_app(broker=None, task_always_eager=True, task_eager_propagates=True)
    fail = app.task(lambda: 1 / 0, name="fail")
    with pytest.raises(ZeroDivisionError):
        fail.delay()
    with pytest.raises(ZeroDivisionError):
        fail.apply()
    assert fail.apply(throw=False).failed()
    app.conf.task_eager_propagates = False
    for call in (fail.apply, fail.apply_async):
        with pytest.raises(ZeroDivisionError):
            call(throw=True)


def test_ignore_and_reject(eager: LiteQueue) -> None:
    def stop(exc: Exception) -> Any:
        def body() -> None:
            raise exc

        return eager.task(body, name=f"stop{next(numbers)}").delay()

    numbers = itertools.count()
    assert (stop(Ignore()).state, stop(Ignore()).get()) == ("IGNORED", None)
    assert stop(Reject("no", requeue=True)).state == "REJECTED"
    with pytest.raises(Reject):
        stop(Reject("no")).get()


def test_the_request(eager: LiteQueue) -> None:
    @eager.task(bind=True, time_limit=9, soft_time_limit=8)
    def look(self: Any) -> Any:
        request = self.request
        assert request.is_eager
        assert not request.called_directly
        assert (request.headers, request.retries, request.properties["app_id"]) == ({"a": 1}, 2, "x")
        assert (request.time_limit, request.soft_time_limit) == (9, 8)
        self.update_state(state="PROGRESS", meta={"done": 1})
        return request.id

    result = look.apply(headers={"a": 1}, retries=2, app_id="x")
    assert result.get() == result.id


def test_family(eager: LiteQueue) -> None:
    def family(request: Any) -> list[Any]:
        return [request.id, request.root_id, request.parent_id]

    @eager.task(bind=True)
    def inner(self: Any) -> Any:
        return [family(self.request)]

    @eager.task(bind=True)
    def middle(self: Any) -> Any:
        with allow_join_result():
            return [family(self.request), *inner.apply().get()]

    @eager.task(bind=True)
    def outer(self: Any) -> Any:
        with allow_join_result():
            return [family(self.request), *middle.apply().get()]

    alone = inner.apply()
    assert alone.get() == [[alone.id, alone.id, None]]
    (top, top_root, none), (mid, mid_root, mid_parent), (_, low_root, low_parent) = outer.apply().get()
    assert (top_root, none, mid_root, mid_parent, low_root, low_parent) == (top, None, top, top, top, mid)


def test_handlers_are_called(eager: LiteQueue) -> None:
    called: list[Any] = []

    class Noted(eager.Task):  # type: ignore[name-defined,misc]
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            called.append(("before_start", args))

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            called.append(("on_success", retval))

        def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            called.append(("on_failure", type(exc)))

        def after_return(self, status: str, *rest: Any) -> None:
            called.append(("after_return", status))

    divide = eager.task(lambda x: 6 // x, base=Noted, name="divide")
    divide.delay(3)
    divide.delay(0)
    assert called == [
        ("before_start", [3]),
        ("on_success", 2),
        ("after_return", "SUCCESS"),
        ("before_start", [0]),
        ("on_failure", ZeroDivisionError),
        ("after_return", "FAILURE"),
    ]


async def _double(x: int) -> int:
    return 2 * x


def test_coroutines(eager: LiteQueue) -> None:
    import asyncio

    double = eager.task(_double)
    assert double.delay(4).get() == 8

    async def main() -> int:
        return int(await double.delay(5))

    assert asyncio.run(main()) == 10


def test_waiting_inside_an_eager_call_is_refused_as_in_a_worker(eager: LiteQueue) -> None:
    inner = eager.task(lambda: 1, name="inner")
    outer = eager.task(lambda: inner.delay().get(), name="outer")
    with pytest.raises(RuntimeError, match=r"Never call result\.get\(\) within a task"):
        outer.delay().get()
    with allow_join_result():
        assert outer.apply().get() == 1
    assert eager.task(lambda: inner.apply().get(), name="direct").apply().get() == 1


def test_wrong_arguments_fail_an_applied_task(make_app: MakeApp) -> None:
    add = make_app(broker=None).task(lambda x, y: x + y, name="add")
    assert add.apply((1,)).failed()


def test_results_as_values(make_app: MakeApp) -> None:
    import copy
    import pickle

    result = make_app(broker=None).task(lambda: 5, name="t").apply()
    for other in (copy.copy(result), pickle.loads(pickle.dumps(result))):
        assert (other.id, other.get(), other.state) == (result.id, 5, "SUCCESS")
    assert repr(result) == f"<EagerResult: {result.id}>"
    seen: list[Any] = []
    assert result.then(seen.append) is result
    assert seen == [result]
    result.revoke()
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        result.get()
    result.forget()
    assert isinstance(result, AsyncResult)


def test_failing_500_times_keeps_no_memory(eager: LiteQueue) -> None:
    @eager.task(bind=True, default_retry_delay=0, max_retries=3)
    def fail(self: Any, ballast: Any) -> None:
        raise self.retry(exc=ValueError("x" * 1000))

    def burst(times: int) -> None:
        for _ in range(times):
            assert fail.delay("y" * 1000).failed()

    import logging

    logging.disable(logging.CRITICAL)
    try:
        burst(50)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        burst(500)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)
    assert grown < 100_000


def test_an_eager_result_is_kept_when_asked_for(tmp_path: Path) -> None:
    """`task_store_eager_result`: the file shows the task as if a worker had run it."""
    app = LiteQueue("eager", broker=str(tmp_path / "q.db"), task_store_eager_result=True, set_as_current=False)

    @app.task
    def divide(x: int, y: int) -> float:
        return x / y

    good, bad = divide.apply((6, 2)), divide.apply((1, 0))
    assert app.AsyncResult(good.id).get(timeout=1) == 3
    assert app.AsyncResult(good.id).state == "SUCCESS"
    with pytest.raises(ZeroDivisionError):
        app.AsyncResult(bad.id).get(timeout=1)
