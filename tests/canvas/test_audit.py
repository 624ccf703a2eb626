"""What a user may do wrong with a canvas, and what they are told."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group, xmap, xstarmap
from litequeue.canvas import chunks
from litequeue.canvas.lazy import LazyList
from litequeue.exceptions import DuplicateTaskError, NotRegistered


@pytest.mark.parametrize("over", [5, None])
def test_what_has_no_items_is_refused_where_the_map_is_made(tasks: SimpleNamespace, over: Any) -> None:
    for make in (xmap, xstarmap, lambda task, it: chunks(task, it, 2)):
        with pytest.raises(TypeError, match=f"iterable, not {over}"):
            make(tasks.add.s(), over)


def test_a_list_of_what_has_no_items_never_passes_for_an_empty_one() -> None:
    items = LazyList(5)  # type: ignore[arg-type]

    for _ in range(2):
        with pytest.raises(TypeError, match="not iterable"):
            len(items)


def test_links_in_a_circle_are_an_error_for_who_goes_through_them(tasks: SimpleNamespace) -> None:
    first, second = tasks.give.s(1), tasks.give.s()
    first.link(second)
    second.link(first)

    with pytest.raises(ValueError, match="contain itself"):
        first.flatten_links()


def test_a_callback_that_two_callbacks_share_is_no_circle(tasks: SimpleNamespace) -> None:
    shared = tasks.give.s("shared")
    whole = tasks.give.s(1)
    whole.link(tasks.give.s(2)).link(shared)
    whole.link(tasks.give.s(3)).link(shared)

    assert [each.args for each in whole.flatten_links()] == [(1,), (2,), ("shared",), (3,), ("shared",)]


def test_a_task_where_a_signature_is_due_is_a_type_error(tasks: SimpleNamespace) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        tasks.add.s(1) | tasks.add
    with pytest.raises(TypeError, match="unsupported operand"):
        tasks.add | tasks.add.s(1)
    with pytest.raises(TypeError, match="not supported between"):
        tasks.add < 3  # noqa: B015


def test_a_canvas_that_was_pickled_can_be_sent(app: LiteQueue, tasks: SimpleNamespace) -> None:
    whole = pickle.loads(pickle.dumps(chain(tasks.add.s(1, 1), tasks.add.s(2))))

    assert whole.apply().get() == 4


@pytest.mark.parametrize("args", [3, "ab", {1}])
def test_arguments_that_are_no_list_are_refused_as_by_a_task(tasks: SimpleNamespace, args: Any) -> None:
    one, step = tasks.give.s(), tasks.give.s()
    for call in (one, one | step, group(one, step), chord([one], step)):
        with pytest.raises(TypeError, match="task args must be a list or tuple, not"):
            call.apply_async(args=args)
    with pytest.raises(TypeError, match="task keyword arguments must be a mapping, not list"):
        (one | step).apply_async(kwargs=["x"])


def test_a_group_cannot_have_the_id_of_a_task(app: LiteQueue, tasks: SimpleNamespace) -> None:
    members = [tasks.give.s(1).set(task_id="same"), tasks.give.s(2)]
    with pytest.raises(DuplicateTaskError, match="no group can have it"):
        group(members).set(task_id="same").apply_async()
    assert app.store.counts() == {}


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_task_has_a_name(app: LiteQueue, name: Any) -> None:
    with pytest.raises(TypeError, match="the name of a task"):
        app.send_task(name)


def test_a_map_of_a_task_that_nobody_knows_is_not_sent(app: LiteQueue, tasks: SimpleNamespace) -> None:
    with pytest.raises(NotRegistered):
        xmap(app.signature("proj.nobody"), [1, 2]).apply_async()
    assert app.store.counts() == {}
