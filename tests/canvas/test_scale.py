"""Large and deep canvases: what grows with their size grows no faster, and nothing has a limit."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group
from litequeue.canvas.places import now
from litequeue.canvas.plan import Planner
from litequeue.core.state import TERMINAL

LARGE = 100_000
DEEP = 200


def plan(app: LiteQueue, canvas: Any) -> Planner:
    planner = Planner(app)
    planner.plan(canvas, now(app, {}))
    return planner


def canvas_of(kind: str, tasks: SimpleNamespace, size: int) -> Any:
    """A canvas of about `size` tasks."""
    give = tasks.give
    match kind:
        case "group":
            return group(give.s(number) for number in range(size))
        case "chord":
            return chord((give.s(number) for number in range(size)), give.si("body"))
        case "chain":
            return chain(give.s(number) for number in range(size))
        case "groups in a chain":
            return chain(*(group(give.s(number), give.s(number)) for number in range(size // 2)))
        case _:
            return group(chain(give.s(number), give.s(number)) for number in range(size // 2))


KINDS = ("group", "chord", "chain", "groups in a chain", "chains in a group")


@pytest.mark.parametrize("kind", KINDS)
def test_planning_is_linear(app: LiteQueue, tasks: SimpleNamespace, kind: str) -> None:
    """Ten times the tasks take ten times the work: counted in calls, so that a busy machine changes nothing."""

    def calls(size: int) -> int:
        canvas, count = canvas_of(kind, tasks, size), 0

        def profile(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += 1

        plan(app, canvas_of(kind, tasks, 10))
        sys.setprofile(profile)
        try:
            plan(app, canvas)
        finally:
            sys.setprofile(None)
        return count

    assert calls(5_000) < 11 * calls(500)


@pytest.mark.parametrize("kind", ["group", "chord", "chain"])
def test_a_hundred_thousand_tasks_are_written(app: LiteQueue, tasks: SimpleNamespace, kind: str) -> None:
    result = canvas_of(kind, tasks, LARGE).apply_async()
    counts = app.store.counts()["celery"]
    assert sum(counts.values()) == LARGE + (kind == "chord")
    assert counts.get("waiting", 0) == {"group": 0, "chord": 1, "chain": LARGE - 1}[kind]
    if kind == "group":
        assert len(result) == LARGE
        record = app.store.group(result.id)
        assert record is not None
        assert record.remaining == LARGE


def test_memory_does_not_grow_with_a_generator(app: LiteQueue, tasks: SimpleNamespace) -> None:
    """What is kept of a task that was sent from a generator is its id."""

    def peak(size: int) -> int:
        tracemalloc.start()
        try:
            chord((tasks.give.s("x" * 200) for _ in range(size)), tasks.give.si("body")).apply_async()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    tasks.give.delay(1)
    small, large = peak(15_000), peak(45_000)
    assert (large - small) / 30_000 < 300  # bytes a task: its id, and a place in two lists


def _nested(kind: str, tasks: SimpleNamespace) -> Any:
    give, add = tasks.give, tasks.add
    canvas: Any = give.s(1)
    for level in range(DEEP):
        match kind:
            case "group":
                canvas = group([canvas, give.s(level)])
            case "chain":
                canvas = chain(group(canvas, give.s(level)), add.s())
            case "header":
                canvas = chord([canvas, give.s(level)], add.s())
            case "body":
                canvas = chord([give.s(level)], canvas)
            case "link":
                outer = give.s(level)
                outer.link(canvas)
                canvas = outer
            case _:
                canvas = chain(add.s(0), group(canvas, chain(add.s(1), group([add.s(2)]))), add.s())
    return canvas


DEPTHS = ("group", "chain", "header", "body", "link", "mixed")


def test_two_hundred_error_callbacks_of_error_callbacks(
    app: LiteQueue, tasks: SimpleNamespace, worker: Callable[..., Any]
) -> None:
    canvas: Any = tasks.give.s("last")
    for level in range(DEEP):
        outer = tasks.fail.s(level)
        outer.link_error(canvas)
        canvas = outer
    worker()
    canvas.apply_async()
    seen = app.store.changes()
    while set(app.store.counts()["celery"]) - TERMINAL:
        seen = app.store.wait_for_change(seen, 0.1)
    assert app.store.counts() == {"celery": {"failed": DEEP, "succeeded": 1}}


@pytest.mark.parametrize("kind", DEPTHS)
def test_two_hundred_levels(app: LiteQueue, tasks: SimpleNamespace, worker: Callable[..., Any], kind: str) -> None:
    worker()
    result = _nested(kind, tasks).apply_async()
    value = result.get(timeout=60)
    if kind == "group":
        assert value == [1, *range(DEEP)]
    elif kind in ("header", "chain"):
        assert value == 1 + sum(range(DEEP))
    seen = app.store.changes()
    while set(app.store.counts()["celery"]) - TERMINAL:
        seen = app.store.wait_for_change(seen, 0.1)
    assert set(app.store.counts()["celery"]) == {"succeeded"}


def test_planning_uses_no_stack(app: LiteQueue, tasks: SimpleNamespace) -> None:
    canvas = _nested("header", tasks)
    limit = sys.getrecursionlimit()
    depth = len(list(_frames()))
    sys.setrecursionlimit(depth + 60)
    try:
        planner = plan(app, canvas)
    finally:
        sys.setrecursionlimit(limit)
    assert len(planner.groups) == DEEP


def _frames() -> Iterator[Any]:
    frame: Any = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_a_chain_of_a_hundred_thousand_fails_at_once(
    app: LiteQueue, tasks: SimpleNamespace, worker: Callable[..., Any]
) -> None:
    result = chain(tasks.fail.s("boom"), *(tasks.give.s(number) for number in range(LARGE - 1))).apply_async()
    worker()
    began = time.monotonic()
    with pytest.raises(ValueError, match="boom"):
        result.get(timeout=60)
    assert time.monotonic() - began < 60
    assert app.store.counts() == {"celery": {"failed": LARGE}}


@pytest.mark.parametrize("kind", ["group", "chord", "chain"])
def test_a_few_thousand_run(app: LiteQueue, tasks: SimpleNamespace, worker: Callable[..., Any], kind: str) -> None:
    result = canvas_of(kind, tasks, 3000).apply_async()
    worker()
    value = result.get(timeout=120)
    assert value == {"group": list(range(3000)), "chord": "body", "chain": 2999}[kind]
