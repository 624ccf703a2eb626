"""Freezing: ids before sending, and the tree of results."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, chunks, group, xmap
from litequeue.result import AsyncResult, GroupResult

from .letters import letters


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


def tree(result: Any) -> Any:
    """A result with its parents: an id, or the trees of a group's members, after what is before."""
    if result is None:
        return ()
    here = [tree(each) for each in result.results] if isinstance(result, GroupResult) else result.id
    return (*tree(result.parent), here)


def names(t: SimpleNamespace, whole: Any) -> None:
    """Give every task its own name and first argument as id."""
    todo = [whole]
    while todo:
        sig = todo.pop()
        todo.extend(sig.parts())
        if not sig.PARTS:
            sig.set(task_id="".join(map(str, (sig.task, *sig.args))))


TREES: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda t: chain(t.a.s(), t.b.s(), t.c.s()), ("a", "b", "c")),
    (lambda t: t.a.s() | group(t.b.s(), t.c.s()), ("a", [("b",), ("c",)])),
    (lambda t: t.a.s() | group(t.b.s(), t.c.s()) | t.d.s(), ("a", [("b",), ("c",)], "d")),
    (lambda t: chord([t.a.s(), t.b.s()], t.c.s()), ([("a",), ("b",)], "c")),
    (lambda t: chord([], t.c.s()), ([], "c")),
    (lambda t: chord([t.a.s()], group()), ([("a",)], [])),
    (lambda t: group(t.a.s(), t.b.s()) | group(t.c.s(), t.d.s()), ([("a",), ("b",)], [("c",), ("d",)])),
    (lambda t: group(group(t.a.s(), t.b.s()), t.c.s()), ([("a",), ("b",), ("c",)],)),
    (lambda t: group(t.a.s(), chain()), ([("a",)],)),
    (lambda t: group(), ([],)),
    (lambda t: chain(t.a.s(), group(), t.b.s(), task_id="b"), ("a", "b")),
    (lambda t: chain(t.a.s(), group(t.b.s()), t.c.s(), task_id="c"), ("a", "b", "c")),
    (lambda t: chain(group(), chain(), task_id="x"), ([],)),
    (
        lambda t: group(t.a.s(), t.b.s() | group(t.c.s(), t.d.s())),
        ([("a",), ("b", [("c",), ("d",)])],),
    ),
    (
        lambda t: chord([t.a.s() | t.b.s(), chord([t.c.s()], t.d.s())], t.e.s() | t.f.s()),
        ([("a", "b"), ([("c",)], "d")], "e", "f"),
    ),
    (
        lambda t: chain(group(t.a.s(), t.b.s()), t.c.s(), group(t.d.s(), t.e.s()), t.f.s()),
        ([("a",), ("b",)], "c", [("d",), ("e",)], "f"),
    ),
    (lambda t: group(each.s().set(task_id=each.name) for each in (t.a, t.b)) | t.c.s(), ([("a",), ("b",)], "c")),
]


@pytest.mark.parametrize(("make", "results"), TREES, ids=[str(results) for _, results in TREES])
def test_the_tree_of_results(t: SimpleNamespace, make: Callable[[Any], Any], results: Any) -> None:
    whole = make(t)
    names(t, whole)
    assert tree(whole.freeze()) == results


def test_an_empty_chain_has_no_result() -> None:
    assert chain().freeze() is None
    assert chain(chain(), chain()).freeze() is None


@pytest.mark.parametrize("make", [make for make, _ in TREES])
def test_every_id_is_new_and_stays(t: SimpleNamespace, make: Callable[[Any], Any]) -> None:
    whole = make(t)
    result = whole.freeze()
    assert result.id
    assert tree(whole.freeze()) == tree(result)
    assert tree(whole.clone().freeze()) == tree(result)


@pytest.mark.parametrize(
    "make",
    [
        lambda t: t.a.s(),
        lambda t: chain(t.a.s(), t.b.s()),
        lambda t: t.a.s() | group(t.b.s(), t.c.s()),
        lambda t: group(t.a.s(), t.b.s()),
        lambda t: chord([t.a.s()], t.b.s()),
        lambda t: chord([t.a.s()], group(t.b.s(), t.c.s())),
        lambda t: group(t.a.s(), t.b.s()) | t.c.s() | t.d.s(),
        lambda t: xmap(t.a.s(), [1]),
        lambda t: chunks(t.a.s(), [[1]], 2),
        lambda t: chain(t.a.s(), chunks(t.a.s(), [[1]], 2)),
    ],
)
def test_a_given_id_is_that_of_the_last_part(t: SimpleNamespace, make: Callable[[Any], Any]) -> None:
    whole = make(t)
    assert whole.freeze("mine").id == "mine"
    if not isinstance(whole, chord):
        assert whole.id == "mine"


@pytest.mark.parametrize(
    ("make", "ids"),
    [
        (lambda t: chain(t.a.s(), t.b.s()).set(task_id="x"), "x"),
        (lambda t: chain(t.a.s(), group(t.b.s(), t.c.s()), task_id="x"), "x"),
        (lambda t: chord([t.a.s()], t.b.s()).set(task_id="x"), "x"),
        (lambda t: group(t.a.s()).set(task_id="x"), "x"),
        (lambda t: chain(t.a.s(), chain(t.b.s(), t.c.s(), task_id="x"), app=None), "x"),
        (lambda t: group(chord([t.a.s()], t.b.s(), task_id="x")), None),
    ],
)
def test_an_id_that_was_set_is_used(t: SimpleNamespace, make: Callable[[Any], Any], ids: Any) -> None:
    result = make(t).freeze("other")
    assert (result.id if ids else result.results[0].id) == "x"


def test_where_ids_are_written(t: SimpleNamespace) -> None:
    whole = t.a.s() | group(t.b.s(), t.c.s()) | t.d.s()
    last = whole.freeze("last", root_id="root", parent_id="parent", group_id="g", group_index=3)
    first, body = whole.tasks
    assert first.options == {"task_id": first.id, "root_id": "root", "parent_id": "parent"}
    header = body.tasks
    assert isinstance(header, group)
    assert (header.id, body.id) == (last.parent.id, last.parent.id)
    assert [part.options for part in header.tasks] == [
        {"task_id": part.id, "root_id": "root", "group_id": header.id, "group_index": index}
        for index, part in enumerate(header.tasks)
    ]
    assert body.body.options == {"task_id": "last", "root_id": "root", "group_id": "g", "group_index": 3}
    assert (whole.id, type(last), type(last.parent)) == ("last", type(body.body.freeze()), type(header.freeze()))
    assert isinstance(last, AsyncResult)


def test_members_of_inner_groups_are_counted_in_one_row(t: SimpleNamespace) -> None:
    whole = group(t.a.s(), group(t.b.s(), group(t.c.s())), t.d.s() | t.e.s())
    result = whole.freeze()
    assert [(part.task, part.options.get("group_index")) for part in whole.tasks[:3]] == [("a", 0), ("b", 1), ("c", 2)]
    first, last = whole.tasks[3].tasks
    assert (first.options.get("group_id"), last.options["group_id"], last.options["group_index"]) == (
        None,
        result.id,
        3,
    )


def test_the_parts_of_other_canvases_get_no_ids(t: SimpleNamespace) -> None:
    a, b = t.a.s(), t.b.s()
    for whole in (a | b, group(a, b), chord([a], b), a | a | a, group([a] * 3), chord([a, a], group(a, b))):
        result = whole.freeze()
        flat = [*_ids(whole)]
        assert len(flat) == len(set(flat)) > 0
        assert result.id in flat
        assert (a.id, b.id) == (None, None)


def _ids(whole: Any) -> Any:
    for part in whole.parts():
        yield from _ids(part)
    if isinstance(whole, group) or not whole.PARTS:
        yield whole.id


# An empty group as a body has no row, and so no place in what was sent.
@pytest.mark.parametrize("make", [make for make, results in TREES if results != ([("a",)], [])])
def test_sending_uses_the_ids(app: LiteQueue, t: SimpleNamespace, make: Callable[[Any], Any]) -> None:
    whole = make(t)
    frozen = whole.freeze()
    sent = whole.apply_async()
    assert tree(sent) == tree(frozen)
    assert sent.id == frozen.id


def test_prepare_steps_gives_steps_and_results_from_the_end(t: SimpleNamespace) -> None:
    whole = chain()
    given = [t.a.s(2), group(t.b.s(), t.c.s()), t.d.s()]
    steps, results = whole.prepare_steps((1,), {"x": 3}, given, last_task_id="last", link_error=t.e.s())
    assert [repr(step) for step in steps] == ["%d(group([b(), c()]))", "a(1, 2, x=3)"]
    assert [result.id for result in results] == [steps[0].body.id, steps[1].id] == ["last", steps[1].id]
    assert results[0].parent.parent is results[1]
    assert steps[1].options["link_error"] == [t.e.s()]
    assert (whole.id, given[0].options) == ("last", {})
