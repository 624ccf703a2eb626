"""The value of every shape of canvas: in a worker, and in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from litequeue import chain, chord, group
from litequeue.result import AsyncResult, EagerResult, GroupResult
from tests.canvas.semantics.tasks import add, same, step, tsum

s, si = step.s, step.si

Make = Callable[[], Any]

# The name of the case, the canvas, its value, and the kind of its result. Lists that `step` took are in its text.
SHAPES: list[tuple[str, Make, Any, type]] = [
    ("task", lambda: s("a"), "a", AsyncResult),
    ("chain", lambda: chain(s("a"), s("b"), s("c")), "c(b(a))", AsyncResult),
    ("chain with an immutable step", lambda: chain(s("a"), si("b"), s("c")), "c(b)", AsyncResult),
    ("chain of one", lambda: chain(s("a")), "a", AsyncResult),
    ("chain of a chain of one", lambda: chain([chain(s("a"))]), "a", AsyncResult),
    ("chain of chains", lambda: chain(chain(s("a"), s("b")), chain(s("c"), s("d"))), "d(c(b(a)))", AsyncResult),
    ("chain with own arguments", lambda: chain(s(1, "a"), s(2, "b")), "b(a(1),2)", AsyncResult),
    # Groups
    ("group", lambda: group(s("a"), s("b")), ["a", "b"], GroupResult),
    ("group of one", lambda: group(s("a")), ["a"], GroupResult),
    ("group of nothing", lambda: group(), [], GroupResult),
    ("group in a group", lambda: group(group(s("a"), s("b")), s("c")), ["a", "b", "c"], GroupResult),
    ("group in a group, last", lambda: group(s("a"), group(s("b"), s("c"))), ["a", "b", "c"], GroupResult),
    ("only a group in a group", lambda: group([group(s("a"), s("b"))]), ["a", "b"], GroupResult),
    ("groups three deep", lambda: group(group(s("a"), group(s("b"), s("c"))), s("d")), list("abcd"), GroupResult),
    ("an empty group in a group", lambda: group(group(), s("a")), ["a"], GroupResult),
    ("chain in a group", lambda: group(chain(s("a"), s("b")), s("c")), ["b(a)", "c"], GroupResult),
    ("chain of one in a group", lambda: group(chain(s("a")), s("c")), ["a", "c"], GroupResult),
    (
        "member that ends in a group",
        lambda: group(chain(s("a"), group(s("b"), s("c"))), s("d")),
        [["b(a)", "c(a)"], "d"],
        GroupResult,
    ),
    (
        "only a member that ends in a group",
        lambda: group(s("a") | group(s("b"), s("c"))),
        ["b(a)", "c(a)"],
        GroupResult,
    ),
    ("chord in a group", lambda: group(chord([s("a"), s("b")], s("c"))), ["c([a,b])"], GroupResult),
    ("chord beside a task", lambda: group(chord([s("a")], s("c")), s("d")), ["c([a])", "d"], GroupResult),
    # Groups in chains
    ("chain(group of one, task)", lambda: chain(group(s("a")), s("b")), "b(a)", AsyncResult),
    ("group of one | task", lambda: group(s("a")) | s("b"), "b([a])", AsyncResult),
    ("task | group of one | task", lambda: s("a") | group(s("b")) | s("c"), "c(b(a))", AsyncResult),
    ("chain(task, group of one, task)", lambda: chain(s("a"), group(s("b")), s("c")), "c(b(a))", AsyncResult),
    ("chain ending in a group of one", lambda: chain(s("a"), group(s("b"))), "b(a)", AsyncResult),
    ("chain ending in a group", lambda: chain(s("a"), group(s("b"), s("c"))), ["b(a)", "c(a)"], GroupResult),
    ("task | group | task", lambda: s("a") | group(s("b"), s("c")) | s("d"), "d([b(a),c(a)])", AsyncResult),
    ("group | group", lambda: group(s("a"), s("b")) | group(s("c"), s("d")), ["c([a,b])", "d([a,b])"], GroupResult),
    (
        "group | group | task",
        lambda: group(s("a"), s("b")) | group(s("c"), s("d")) | s("e"),
        "e([c([a,b]),d([a,b])])",
        AsyncResult,
    ),
    (
        "task | group | group | task",
        lambda: s("a") | group(s("b"), s("c")) | group(s("d"), s("e")) | s("f"),
        "f([d([b(a),c(a)]),e([b(a),c(a)])])",
        AsyncResult,
    ),
    (
        "chain(task, group, group, task)",
        lambda: chain(s("a"), group(s("b"), s("c")), group(s("d"), s("e")), s("f")),
        "f([d([b(a),c(a)]),e([b(a),c(a)])])",
        AsyncResult,
    ),
    ("chain(task, empty group, task)", lambda: chain(s("a"), group(), s("b")), "b(a)", AsyncResult),
    ("chain(task, empty group)", lambda: chain(s("a"), group()), "a", AsyncResult),
    ("chain(empty group, task)", lambda: chain(group(), s("b")), "b", AsyncResult),
    ("empty group | task", lambda: group() | s("b"), "b([])", AsyncResult),
    # Chords
    ("chord", lambda: chord([s("a"), s("b")], s("c")), "c([a,b])", AsyncResult),
    ("chord of one", lambda: chord([s("a")], s("c")), "c([a])", AsyncResult),
    ("chord of nothing", lambda: chord([], s("c")), "c([])", AsyncResult),
    ("chord of one signature", lambda: chord(s("a"), s("c")), "c([a])", AsyncResult),
    ("chord of a group", lambda: chord(group(s("a"), s("b")), s("c")), "c([a,b])", AsyncResult),
    ("chord of a tuple", lambda: chord((s("a"), s("b")), s("c")), "c([a,b])", AsyncResult),
    ("chord of a generator", lambda: chord((s(name) for name in "ab"), s("c")), "c([a,b])", AsyncResult),
    ("chord by keywords", lambda: chord(header=[s("a")], body=s("c")), "c([a])", AsyncResult),
    ("immutable body", lambda: chord([s("a")], si("c")), "c", AsyncResult),
    ("group in a header", lambda: chord([group(s("a"), s("b")), s("c")], s("d")), "d([a,b,c])", AsyncResult),
    ("empty group in a header", lambda: chord([group(), s("c")], s("d")), "d([c])", AsyncResult),
    (
        "groups two deep in a header",
        lambda: chord([group(group(s("a"), s("b")), group(s("c"))), s("d")], s("e")),
        "e([a,b,c,d])",
        AsyncResult,
    ),
    ("chain in a header", lambda: chord([chain(s("a"), s("b")), s("c")], s("d")), "d([b(a),c])", AsyncResult),
    (
        "header part that ends in a group",
        lambda: chord([chain(s("a"), group(s("b"), s("c"))), s("d")], s("e")),
        "e([[b(a),c(a)],d])",
        AsyncResult,
    ),
    (
        "only a header part that ends in a group",
        lambda: chord([chain(s("a"), group(s("b"), s("c")))], s("e")),
        "e([[b(a),c(a)]])",
        AsyncResult,
    ),
    (
        "chord in a header",
        lambda: chord([chord([s("a"), s("b")], s("c")), s("d")], s("e")),
        "e([c([a,b]),d])",
        AsyncResult,
    ),
    ("body a chain", lambda: chord([s("a"), s("b")], chain(s("c"), s("d"))), "d(c([a,b]))", AsyncResult),
    ("body a group", lambda: chord([s("a"), s("b")], group(s("c"), s("d"))), ["c([a,b])", "d([a,b])"], GroupResult),
    (
        "body a chain that ends in a group",
        lambda: chord([s("a"), s("b")], chain(s("c"), group(s("d"), s("e")))),
        ["d(c([a,b]))", "e(c([a,b]))"],
        GroupResult,
    ),
    (
        "body a chord",
        lambda: chord([s("a"), s("b")], chord([s("c"), s("d")], s("e"))),
        "e([c([a,b]),d([a,b])])",
        AsyncResult,
    ),
    ("chord | task", lambda: chord([s("a"), s("b")], s("c")) | s("d"), "d(c([a,b]))", AsyncResult),
    ("chord | group", lambda: chord([s("a")], s("c")) | group(s("d"), s("e")), ["d(c([a]))", "e(c([a]))"], GroupResult),
    (
        "chord with a group as body | task",
        lambda: chord([s("a")], group(s("b"), s("c"))) | s("d"),
        "d([b([a]),c([a])])",
        AsyncResult,
    ),
    (
        "chord | group | task",
        lambda: chord([s("a")], s("b")) | group(s("c"), s("d")) | s("e"),
        "e([c(b([a])),d(b([a]))])",
        AsyncResult,
    ),
    (
        "chord | chord",
        lambda: chord([s("a")], s("b")) | chord([s("c"), s("d")], s("e")),
        "e([c(b([a])),d(b([a]))])",
        AsyncResult,
    ),
    (
        "group in the middle of a chain in a body",
        lambda: chord([s("a")], chain(s("b"), group(s("c"), s("d")), s("e"))),
        "e([c(b([a])),d(b([a]))])",
        AsyncResult,
    ),
    # Loops in one task
    ("map", lambda: tsum.map([[1, 2], [3]]), [3, 3], AsyncResult),
    ("starmap", lambda: add.starmap([(1, 2), (3, 4)]), [3, 7], AsyncResult),
    ("map of a generator", lambda: tsum.map([i, i] for i in range(3)), [0, 2, 4], AsyncResult),
    ("starmap of a zip", lambda: add.starmap(zip(range(3), range(3), strict=True)), [0, 2, 4], AsyncResult),
    ("chunks", lambda: add.chunks([(i, i) for i in range(5)], 2), [[0, 2], [4, 6], [8]], GroupResult),
    ("chunks of a zip", lambda: add.chunks(zip(range(3), range(3), strict=True), 2), [[0, 2], [4]], GroupResult),
    ("group of chunks", lambda: add.chunks([(i, i) for i in range(5)], 2).group(), [[0, 2], [4, 6], [8]], GroupResult),
    ("map | task", lambda: tsum.map([[1, 2], [3]]) | tsum.s(), 6, AsyncResult),
    ("task | map", lambda: chain(s("a"), tsum.map([[1, 2], [3]])), [3, 3], AsyncResult),
    ("map in a group", lambda: group(tsum.map([[1, 2]]), s("a")), [[3], "a"], GroupResult),
    ("maps in a header", lambda: chord([tsum.map([[1]]), add.starmap([(1, 1)])], same.s()), [[1], [2]], AsyncResult),
    ("group of chunks | task", lambda: add.chunks([(1, 1), (2, 2)], 1).group() | same.s(), [[2], [4]], AsyncResult),
]

IDS = [case[0] for case in SHAPES]


@pytest.mark.parametrize(("make", "value", "kind"), [case[1:] for case in SHAPES], ids=IDS)
def test_value(run: Any, make: Make, value: Any, kind: type) -> None:
    done = run(make())
    assert done.error is None
    assert done.value == value
    assert isinstance(done.result, kind)
    assert done.result.successful()


@pytest.mark.parametrize(("make", "value", "kind"), [case[1:] for case in SHAPES], ids=IDS)
def test_every_task_runs_once(run: Any, make: Make, value: Any, kind: type) -> None:
    names = run(make()).names()
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("make", "value", "kind"), [case[1:] for case in SHAPES], ids=IDS)
def test_in_place(app: Any, make: Make, value: Any, kind: type) -> None:
    result = make().apply()
    assert result.get() == value
    assert isinstance(result, (EagerResult, GroupResult))


@pytest.mark.parametrize(("make", "value", "kind"), [case[1:] for case in SHAPES], ids=IDS)
def test_always_eager(app: Any, make: Make, value: Any, kind: type) -> None:
    app.conf.task_always_eager = True
    try:
        assert make().apply_async().get() == value
    finally:
        app.conf.task_always_eager = False


def test_an_empty_chain_sends_nothing(app: Any) -> None:
    before = app.store.counts()
    assert chain().apply_async() is None
    assert app.store.counts() == before


def test_a_chord_without_a_body_is_refused(app: Any) -> None:
    before = app.store.counts()
    with pytest.raises((TypeError, ValueError), match="body"):
        chord([s("a")]).apply_async()
    with pytest.raises((TypeError, ValueError), match="body"):
        chord([s("a")])()
    assert app.store.counts() == before


def test_a_body_given_at_the_call(run: Any) -> None:
    assert chord([s("a"), s("b")])(s("c")).get(timeout=10) == "c([a,b])"
    assert chord([s("a")], s("b"))(s("c")).get(timeout=10) == "c([a])"
    assert chord([s("a")])(body=s("c")).get(timeout=10) == "c([a])"


def test_ways_to_send(run: Any) -> None:
    for canvas, value in (
        (chain(s("a"), s("b")), "b(a)"),
        (group(s("a"), s("b")), ["a", "b"]),
        (chord([s("a")], s("b")), "b([a])"),
    ):
        assert canvas().get(timeout=10) == value
        assert canvas.delay().get(timeout=10) == value
        assert canvas.apply_async().get(timeout=10) == value
        assert ~canvas == value


def test_sending_twice_runs_twice(run: Any) -> None:
    canvas = s("a") | group(s("b"), s("c")) | s("d")
    first, second = run(canvas), run(canvas)
    assert first.value == second.value == "d([b(a),c(a)])"
    assert first.result.id != second.result.id


# Arguments at the call

ARGUMENTS: list[tuple[str, Make, Any]] = [
    ("chain", lambda: chain(s(1, "a"), s("b")), "b(a(5,1,z=9))"),
    ("chain with an immutable head", lambda: chain(si(1, "a"), s("b")), "b(a(1))"),
    ("group", lambda: group(s(1, "a"), s("b")), ["a(5,1,z=9)", "b(5,z=9)"]),
    ("group of chains", lambda: group(chain(s("a"), s("b")), s("c")), ["b(a(5,z=9))", "c(5,z=9)"]),
    ("chord", lambda: chord([s(1, "a"), s("b")], s("c")), "c([a(5,1,z=9),b(5,z=9)])"),
    ("chain from a chord", lambda: chain(chord([s("a"), s("b")], s("c")), s("d")), "d(c([a(5,z=9),b(5,z=9)]))"),
    ("chain from a group", lambda: chain(group(s("a"), s("b")), s("c")), "c([a(5,z=9),b(5,z=9)])"),
    ("group in a group", lambda: group(group(s("a")), s("b")), ["a(5,z=9)", "b(5,z=9)"]),
]


@pytest.mark.parametrize(("make", "value"), [case[1:] for case in ARGUMENTS], ids=[case[0] for case in ARGUMENTS])
def test_arguments_at_the_call_reach_the_first_element(run: Any, make: Make, value: Any) -> None:
    assert run(make(), args=(5,), kwargs={"z": 9}).value == value
    assert make().apply(args=(5,), kwargs={"z": 9}).get() == value


def test_partial_canvases_take_their_arguments_when_called(run: Any) -> None:
    assert (s("a") | s("b"))(5).get(timeout=10) == "b(a(5))"
    assert group(s("a"), s("b")).delay(5).get(timeout=10) == ["a(5)", "b(5)"]
