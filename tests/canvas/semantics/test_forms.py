"""What the primitives and `|` make of their operands: the canonical forms, without running anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from litequeue import Signature, chain, chord, group, signature
from tests.canvas.semantics.tasks import step

s = step.s
a, b, c, d = (s(name) for name in "abcd")


def form(sig: Any) -> str:
    """A canvas as text: `(a|b)` a chain, `[a,b]` a group, `[a,b]>c` a chord; a chain of one as its member."""
    kind = sig.get("subtask_type")
    if kind == "chain":
        return f"({'|'.join(map(form, sig.tasks))})" if len(sig.tasks) > 1 else form(sig.tasks[0])
    if kind == "group":
        return f"[{','.join(map(form, sig.tasks))}]"
    if kind == "chord":
        header = sig.tasks.tasks if isinstance(sig.tasks, Signature) else sig.tasks
        return f"[{','.join(map(form, header))}]>{form(sig.body)}"
    return str(sig.args[-1])


FORMS: list[tuple[str, Callable[[], Any], str]] = [
    ("task | task", lambda: a | b, "(a|b)"),
    ("chain | task", lambda: chain(a, b) | c, "(a|b|c)"),
    ("task | chain", lambda: a | chain(b, c), "(a|b|c)"),
    ("chain | chain", lambda: (a | b) | (c | d), "(a|b|c|d)"),
    ("chain of chains", lambda: chain(chain(a, b), chain(c, d)), "(a|b|c|d)"),
    ("chain of one list", lambda: chain([a, b]), "(a|b)"),
    ("chain of a generator", lambda: chain(s(name) for name in "ab"), "(a|b)"),
    ("chain of one task", lambda: chain(a), "a"),
    ("chain of a chain of one", lambda: chain([chain(a)]), "a"),
    ("chain of one group", lambda: chain(group(a, b)), "[a,b]"),
    ("group | task", lambda: group(a, b) | c, "[a,b]>c"),
    ("chain(group, task)", lambda: chain(group(a, b), c), "[a,b]>c"),
    ("group of one | task", lambda: group(a) | b, "[a]>b"),
    ("chain(group of one, task)", lambda: chain(group(a), b), "(a|b)"),
    ("task | group of one | task", lambda: a | group(b) | c, "(a|b|c)"),
    ("chain(task, group of one, task)", lambda: chain(a, group(b), c), "(a|b|c)"),
    ("task | group", lambda: a | group(b, c), "(a|[b,c])"),
    ("task | group | task", lambda: a | group(b, c) | d, "(a|[b,c]>d)"),
    ("chain(task, group, task)", lambda: chain(a, group(b, c), d), "(a|[b,c]>d)"),
    ("chain | group", lambda: chain(a, b) | group(c, d), "(a|b|[c,d])"),
    ("chain ending in a group | chain", lambda: (a | group(b, c)) | (d | a), "(a|[b,c]>(d|a))"),
    ("group | chain", lambda: group(a, b) | chain(c, d), "[a,b]>(c|d)"),
    ("group | group", lambda: group(a, b) | group(c, d), "[a,b]>[c,d]"),
    ("group | group | task", lambda: group(a, b) | group(c, d) | a, "[a,b]>[c,d]>a"),
    ("group | chord", lambda: group(a, b) | chord([c], d), "[a,b]>[c]>d"),
    ("chord | task", lambda: chord([a, b], c) | d, "[a,b]>(c|d)"),
    ("chord | group", lambda: chord([a], b) | group(c, d), "([a]>b|[c,d])"),
    ("task | chord | task", lambda: a | chord([b], c) | d, "(a|[b]>(c|d))"),
    ("chord | chord", lambda: chord([a], b) | chord([c], d), "[a]>(b|[c]>d)"),
    ("group of chains | task", lambda: group(a | b, c) | d, "[(a|b),c]>d"),
    ("group of a list", lambda: group([a, b]), "[a,b]"),
    ("group of a generator", lambda: group(s(name) for name in "ab"), "[a,b]"),
]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS])
def test_form(make: Callable[[], Any], expected: str) -> None:
    assert form(make()) == expected


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS])
def test_form_survives_json(make: Callable[[], Any], expected: str) -> None:
    rebuilt = Signature.from_dict(json.loads(json.dumps(make())))
    assert form(rebuilt) == expected
    assert rebuilt == make()


def test_joining_leaves_the_operands_as_they_were() -> None:
    head, tail, header = chain(a, b), chord([c], d), group(a, b)
    before = [json.dumps(each) for each in (head, tail, header, c)]
    _ = head | tail, header | c, tail | c, head | header
    assert [json.dumps(each) for each in (head, tail, header, c)] == before


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: a * 3,
        lambda: a | None,
        lambda: a | 3,
        lambda: None | a,
        lambda: chain(a, b) | 3,
        lambda: chord([a], b) | 3,
        lambda: group(3),
        lambda: chain(1, 2),
    ],
    ids=["task * 3", "task | None", "task | 3", "None | task", "chain | 3", "chord | 3", "group(3)", "chain(1, 2)"],
)
def test_what_cannot_be_joined_is_a_type_error(wrong: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        wrong()


# The dicts


def test_dict_of_a_task() -> None:
    assert dict(s("x", 1, key=2)) == {
        "task": step.name,
        "args": ("x", 1),
        "kwargs": {"key": 2},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }


@pytest.mark.parametrize(
    ("sig", "kind", "kwargs"),
    [
        (chain(a, b), "chain", {"tasks"}),
        (group(a, b), "group", {"tasks"}),
        (chord([a, b], c), "chord", {"header", "body", "kwargs"}),
    ],
    ids=["chain", "group", "chord"],
)
def test_dict_of_a_canvas(sig: Any, kind: str, kwargs: set[str]) -> None:
    assert sig["task"].endswith(f".{kind}")
    assert sig["subtask_type"] == kind
    assert set(sig["kwargs"]) == kwargs
    assert set(sig) == {"task", "args", "kwargs", "options", "subtask_type", "immutable"}


@pytest.mark.parametrize(
    ("sig", "name", "kwargs"),
    [
        (step.map([1, 2]), "map", {"it": [1, 2]}),
        (step.starmap([[1, 2]]), "starmap", {"it": [[1, 2]]}),
        (step.chunks([[1, 2], [3, 4]], 1), "chunks", {"it": [[1, 2], [3, 4]], "n": 1}),
    ],
    ids=["map", "starmap", "chunks"],
)
def test_dict_of_a_loop(sig: Any, name: str, kwargs: dict[str, Any]) -> None:
    kept = json.loads(json.dumps(sig))
    assert kept["task"].endswith(f".{name}")
    assert kept["kwargs"].pop("task")["task"] == step.name
    assert kept["kwargs"] == kwargs
    assert kept["immutable"] is True


def _celery(name: str, kind: str | None, **kwargs: Any) -> dict[str, Any]:
    """A signature as Celery 5 writes it."""
    return {
        "task": f"celery.{name}",
        "args": [],
        "kwargs": kwargs,
        "options": {},
        "subtask_type": kind,
        "immutable": kind is None,
    }


def test_dicts_that_celery_wrote_are_understood(run: Any) -> None:
    x, y, z = (json.loads(json.dumps(each)) for each in (s("x"), s("y"), s("z")))
    header = _celery("group", "group", tasks=[x, y])
    for told, value in (
        (_celery("chain", "chain", tasks=[x, y]), "y(x)"),
        (header, ["x", "y"]),
        (_celery("chord", "chord", header=[x, y], body=z, kwargs={}), "z([x,y])"),
        (_celery("chain", "chain", tasks=[x, header]), ["x(x)", "y(x)"]),
        (_celery("map", None, task=json.loads(json.dumps(step.s())), it=["x", "y"]), ["x", "y"]),
        (_celery("starmap", None, task=json.loads(json.dumps(step.s())), it=[["x", "y"]]), ["y(x)"]),
        (_celery("chunks", None, task=json.loads(json.dumps(step.s())), it=[["x", "y"]], n=1), [["y(x)"]]),
    ):
        assert run(Signature.from_dict(told)).value == value


def test_nine_nestings_are_rebuilt() -> None:
    canvas: Any = a
    for _ in range(3):
        canvas = chord([chain(a, group(canvas, b))], chain(c, d))
    rebuilt = Signature.from_dict(json.loads(json.dumps(canvas)))
    assert form(rebuilt) == form(canvas)
    assert signature(json.loads(json.dumps(canvas))) == rebuilt


# Partials


def test_later_arguments_come_first() -> None:
    clone = s(2).clone((7,), {"z": 1})
    assert (clone.args, clone.kwargs) == ((7, 2), {"z": 1})


def test_an_immutable_signature_takes_options_only() -> None:
    clone = step.si(2).clone((7,), {"z": 1}, queue="q")
    assert (clone.args, clone.kwargs, clone.options) == ((2,), {}, {"queue": "q"})


def test_options_given_later_win() -> None:
    sig = step.signature((2,), countdown=10)
    assert sig.clone(countdown=1).options == {"countdown": 1}
    assert sig.options == {"countdown": 10}


def test_set_returns_the_signature() -> None:
    sig = s(2)
    assert sig.set(countdown=3, immutable=True) is sig
    assert sig.options["countdown"] == 3
    assert sig.immutable


def test_on_error_returns_the_signature() -> None:
    sig = s(2)
    assert sig.on_error(a) is sig
    assert sig.options["link_error"] == [a]


def test_the_same_link_is_kept_once() -> None:
    sig = s(2)
    sig.link(a)
    sig.link(a.clone())
    sig.link_error(b)
    sig.link_error(b)
    assert sig.options == {"link": [a], "link_error": [b]}


def test_links_of_links() -> None:
    sig, outer = s("x"), s("y")
    outer.link(b)
    sig.link(outer)
    sig.link(c)
    assert [each.args[-1] for each in sig.flatten_links()] == ["x", "y", "b", "c"]


# Ids


def test_freezing_a_chain_names_its_last_task() -> None:
    canvas = chain(s("x"), s("y"))
    result = canvas.freeze("mine")
    assert (result.id, canvas.id, canvas.tasks[-1].id) == ("mine", "mine", "mine")
    assert result.parent.id == canvas.tasks[0].id


def test_freezing_a_chord_gives_the_body_below_the_group() -> None:
    header = [s("x"), s("y")]
    canvas = chord(group(header), s("z"))
    result = canvas.freeze("mine")
    header = getattr(canvas.tasks, "tasks", canvas.tasks)
    assert (result.id, canvas.body.id) == ("mine", "mine")
    assert [each.id for each in result.parent.results] == [each.id for each in header]


def test_freezing_a_group_gives_each_member_an_id() -> None:
    canvas = group(s("x"), s("y"))
    result = canvas.freeze()
    assert [each.id for each in result.results] == [each.id for each in canvas.tasks]
    assert len({result.id, *(each.id for each in result.results)}) == 3


def test_freezing_keeps_ids_that_are_there() -> None:
    sig = s("x").set(task_id="mine")
    assert sig.freeze().id == "mine"
    assert sig.freeze("other").id == "mine"


def test_frozen_ids_are_those_that_run(run: Any) -> None:
    canvas = chain(s("x"), group(s("y"), s("z")), s("w"))
    frozen = canvas.freeze()
    sent = run(canvas)
    assert sent.result.id == frozen.id
    assert sent.result.parent.id == frozen.parent.id
    assert [each.id for each in sent.result.parent.results] == [each.id for each in frozen.parent.results]
    assert sent.result.parent.parent.id == frozen.parent.parent.id


def test_skew_counts_on() -> None:
    canvas = group(s(name) for name in "abc").skew(start=1, stop=4)
    assert [each.options["countdown"] for each in canvas.tasks] == [1, 2, 3]
