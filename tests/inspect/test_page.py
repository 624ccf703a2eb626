"""Everything that is known of a task."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from litequeue import chord
from litequeue.inspect.page import find_id, page
from litequeue.inspect.rendering import page as render
from litequeue.inspect.text import Look
from tests.inspect.conftest import NAME, NODE, wait_until
from tests.inspect.looked_at import add, boom, flaky, tell, told_twice, total


def text_of(app: Any, task_id: str, width: int | None = None) -> str:
    found = page(app, task_id)
    assert found is not None
    return render(found, Look(width))


def test_nobody(app: Any) -> None:
    assert page(app, "nobody") is None


def test_what_succeeded(app: Any, ended: Any) -> None:
    result = add.apply_async((1,), {"y": 2}, headers={"tenant": "a"}, expires=3600, priority=3)
    ended(result)
    found = page(app, result.id)
    assert found is not None
    assert (found.args, found.kwargs, found.result, found.has_result) == ([1], {"y": 2}, 3, True)
    assert (found.task.worker, found.task.priority, found.attempt) == (NODE, 3, 1)
    assert found.headers == {"tenant": "a"}
    assert found.canvas is None
    assert found.waited is not None
    text = text_of(app, result.id)
    for part in (f"{NAME}add(1, y=2)", "SUCCESS", "result\n  3", "tenant", "expires", f"worker        {NODE}"):
        assert part in text, text


def test_what_failed(app: Any, ended: Any) -> None:
    result = boom.delay("cake")
    ended(result)
    found = page(app, result.id)
    assert found is not None
    assert (found.error, found.result, found.has_result) == ("ValueError: no cake", None, False)
    assert "in fail" in (found.traceback or "")
    assert [attempt.outcome for attempt in found.attempts] == ["failed"]
    assert "attempt 1: failed at " in text_of(app, result.id)


def test_what_is_to_be_retried(app: Any, ended: Any) -> None:
    result = flaky.delay()
    ended(result)
    found = page(app, result.id)
    assert found is not None
    assert [(attempt.outcome, attempt.error) for attempt in found.attempts] == [("retry", "ConnectionError: no answer")]
    assert (found.task.state, found.task.engine_state) == ("RETRY", "scheduled")


def test_what_did_not_run(app: Any, ended: Any) -> None:
    last = (boom.s() | add.s(1)).apply_async()
    ended(last)
    found = page(app, last.id)
    assert found is not None
    assert found.caused_by == last.parent.id
    assert f"because of    {last.parent.id}\n" in text_of(app, last.id)


def test_what_runs_and_tells(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held(tell)
    wait_until(lambda: app.store.logs(result.id))
    found = page(app, result.id)
    assert found is not None
    assert (found.liveness, found.cancelled) == ("alive", False)
    assert [(line.level, line.message) for line in found.logs] == [("WARNING", "half of it")]
    assert found.task.progress is not None
    text = text_of(app, result.id)
    assert "50 % half (1 of 2)" in text
    assert "WARNING looked_at: half of it" in text
    assert "attempt 1 WARNING" not in text


def test_the_log_says_the_attempt_where_there_was_more_than_one(app: Any, ended: Any) -> None:
    result = told_twice.delay()
    ended(result)
    text = text_of(app, result.id)
    assert "attempt 1 WARNING looked_at: on its way\n" in text
    assert "attempt 2 WARNING looked_at: on its way" in text


def test_the_canvas_around_it(app: Any, ended: Any) -> None:
    body = chord([add.s(1, 1), add.s(2, 2)])(total.s())
    ended(body)
    member = body.parent.results[0]
    found = page(app, member.id)
    assert found is not None
    assert found.canvas is not None
    assert {node.name for node in found.canvas.nodes} == {f"{NAME}add", f"{NAME}total", "group of 2"}
    assert f"{NAME}total" in text_of(app, member.id)
    assert found.task.group_id == body.parent.id


def test_keys_and_callbacks(app: Any) -> None:
    options = {"concurrency_key": "printer", "concurrency_limit": 2, "unique_key": "once"}
    result = add.apply_async((1, 2), link_error=boom.s(), **options)
    found = page(app, result.id)
    assert found is not None
    assert (found.concurrency_key, found.concurrency_limit, found.unique_key) == ("printer", 2, "once")
    assert found.errbacks == (f"{NAME}boom",)
    assert "printer, 2 at once" in text_of(app, result.id)


def test_arguments_that_cannot_be_read_here(app: Any) -> None:
    result = add.delay(1, 2)
    app.conf.accept_content = ["yaml"]
    try:
        found = page(app, result.id)
    finally:
        app.conf.pop("accept_content")
    assert found is not None
    assert found.args is None
    assert "ContentDisallowed" in (found.unreadable or "")
    assert json.dumps(found.as_dict(), default=str)


@pytest.mark.parametrize("width", [30, 80, 160])
def test_it_fits(app: Any, ended: Any, width: int) -> None:
    result = boom.delay("x" * 500)
    ended(result)
    assert max(map(len, text_of(app, result.id, width).splitlines())) <= width


def test_the_beginning_of_an_id(app: Any) -> None:
    first = add.apply_async((1, 2), task_id="aaaaaaaa-1")
    add.apply_async((1, 2), task_id="bbbbbbbb-1")
    add.apply_async((1, 2), task_id="bbbbbbbb-2")
    assert find_id(app, "aaaaaaaa") == first.id
    assert find_id(app, first.id) == first.id
    with pytest.raises(LookupError, match=r"of several ids: bbbbbbbb-1, bbbbbbbb-2; give more"):
        find_id(app, "bbbbbbbb")
    with pytest.raises(LookupError, match="at least 8 characters"):
        find_id(app, "aaaa")
    with pytest.raises(LookupError, match="has no task cccccccc"):
        find_id(app, "cccccccc")
    assert find_id(app, "cccccccc", unknown="cccccccc") == "cccccccc"
