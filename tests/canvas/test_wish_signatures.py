"""Signatures of one task: options, links, copies."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

import litequeue
from litequeue import LiteQueue, Signature, canvas, chain, chord, group, maybe_signature, signature, subtask, xmap
from litequeue.exceptions import NotRegistered

from .letters import letters


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


def test_names_are_where_celery_has_them() -> None:
    for name in ("Signature", "chain", "chord", "chunks", "group", "maybe_signature", "signature", "xmap", "xstarmap"):
        assert getattr(canvas, name) is getattr(litequeue, name), name
        assert name in dir(canvas)
        assert name in dir(litequeue)
    assert canvas.subtask is canvas.signature is signature is subtask
    assert canvas.maybe_subtask is maybe_signature
    assert canvas._chain is chain
    assert canvas._chord is chord
    with pytest.raises(AttributeError, match="nothing"):
        _ = canvas.nothing


def test_link_returns_the_callback_and_keeps_one_of_each(t: SimpleNamespace) -> None:
    sig, callback, errback = t.a.s(), t.b.s(), t.c.s()
    assert sig.link(callback) is callback
    assert sig.link(t.b.s()) == callback
    assert sig.link_error(errback) is errback
    assert sig.on_error(t.d.s()) is sig
    assert sig.options == {"link": [callback], "link_error": [errback, t.d.s()]}


def test_list_options(t: SimpleNamespace) -> None:
    sig = t.a.s().set(link=t.b.s())
    sig.append_to_list_option("link", t.c.s())
    sig.extend_list_option("link", t.d.s())
    sig.extend_list_option("link", [t.e.s(), t.f.s()])
    assert [link.task for link in sig.options["link"]] == list("bcdef")


def test_flatten_links_lists_links_of_links(t: SimpleNamespace) -> None:
    sig, first, second = t.a.s(), t.b.s(), t.c.s()
    sig.link(first)
    sig.link(t.d.s())
    first.link(second)
    second.link(dict(t.e.s()))
    assert [each.task for each in sig.flatten_links()] == list("abced")


def test_a_copy_has_copies_of_the_links(t: SimpleNamespace) -> None:
    sig = t.a.s().set(headers={"x": [1]})
    sig.link(t.b.s())
    sig.options["link"][0].link(t.c.s())
    for other in (sig.clone(), copy.copy(sig), copy.deepcopy(sig), sig.replace(), signature(sig)):
        assert other == sig
        other.options["link"][0].link(t.d.s())
        other.options["link"][0].options["link"][0].set(queue="q")
        other.options["headers"]["x"].append(2)
        other.kwargs["z"] = 1
    assert sig.options["headers"] == {"x": [1]}
    assert (sig.kwargs, len(sig.options["link"][0].options["link"])) == ({}, 1)
    assert sig.options["link"][0].options["link"][0].options == {}


def test_copies_of_what_is_composed_are_deep(t: SimpleNamespace) -> None:
    for whole in (chain(t.a.s(), t.b.s()), group(t.a.s(), t.b.s()), chord([t.a.s()], t.b.s())):
        other = whole.clone()
        assert other == whole
        assert type(other) is type(whole)
        for part in other.parts():
            part.set(queue="q")
        assert all(part.options == {} for part in whole.parts())


def test_a_copy_takes_arguments_and_options(t: SimpleNamespace) -> None:
    whole = chain(t.a.s(), t.b.s()).clone((1,), {"x": 2}, queue="q").clone((0,), {"y": 3})
    assert (whole.args, whole.partial_kwargs, whole.options) == ((0, 1), {"x": 2, "y": 3}, {"queue": "q"})
    assert whole.reprcall(5) == "litequeue.chain(5, 0, 1, tasks=[a(), b()], kwargs={'x': 2, 'y': 3})"


def test_stamps_and_groups_are_not_overridden(t: SimpleNamespace) -> None:
    sig = t.a.s().set(group_id="g")
    sig.stamp(team="red")
    assert sig.clone(group_id="other", team="blue", stamped_headers=[]).options == sig.options


@pytest.mark.parametrize("value", [None, 3, "name", object()])
@pytest.mark.parametrize(
    "make",
    [
        lambda value: chain(value, value),
        lambda value: chain([value]),
        lambda value: group(value, value),
        lambda value: group([value]),
        lambda value: list(group(each for each in [value]).tasks),
        lambda value: chord([value], value),
        lambda value: chord([], body=value) if value is not None else chord(None),
        lambda value: xmap(value, []),
    ],
)
def test_a_part_that_is_no_signature_is_an_error(t: SimpleNamespace, value: Any, make: Any) -> None:
    with pytest.raises(TypeError, match="made of signatures"):
        make(value)


def test_tasks_and_dicts_stand_for_signatures(t: SimpleNamespace) -> None:
    for part in (t.a, dict(t.a.s())):
        assert repr(chain(part, part)) == "a() | a()"
        assert repr(chain([part])) == "a()"
        assert repr(group(part, part)) == "group([a(), a()])"
        assert repr(group(part)) == "group([a()])"
        assert repr(chord([part], part)) == repr(chord(part, part)) == "%a([a()])"
    assert t.a.s(1) == chain(t.a, t.b).tasks[0].clone((1,))


def test_a_canvas_belongs_to_the_app_of_its_tasks(t: SimpleNamespace, app: LiteQueue) -> None:
    other = LiteQueue("other", broker=":memory:")
    other.set_current()
    try:
        for whole in (
            t.a.s() | t.b.s(),
            group(t.a.s()),
            group(task.s() for task in (t.a, t.b)),
            chord([t.a.s()], t.b.s()),
            chord([], t.b.s()),
            xmap(t.a.s(), [1]),
            group(chain(chord([group(t.a.s(), t.b.s())], t.c.s()), t.d.s()), t.e.s()),
        ):
            assert whole.app is app
        for whole in (chain(), group(), signature("far")):
            assert whole.app is other
            whole._app = app
            assert whole.app is app
    finally:
        other.close()


def test_a_composed_signature_has_no_task_of_its_own(t: SimpleNamespace) -> None:
    with pytest.raises(NotRegistered):
        _ = signature({"task": "nobody", "args": []}).type


def test_a_kind_from_elsewhere_copies_and_rebuilds_itself(t: SimpleNamespace) -> None:
    @Signature.register_type("loud")
    class Loud(Signature):
        KIND = "loud"

        @classmethod
        def from_dict(cls, d: Any, app: Any = None) -> Any:
            return cls(d["task"].lower(), subtask_type="loud", app=app)

        def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            return Loud(self["task"].upper(), subtask_type="loud")

    try:
        whole = chain(t.a.s(), Loud("b", subtask_type="loud"), t.c.s())
        assert repr(whole) == "a() | B() | c()"
        assert repr(Signature.from_dict(dict(whole.clone()))) == "a() | B() | c()"
        assert repr(Signature.from_dict({"task": "X", "subtask_type": "loud"})) == "x()"
        plain = {**whole, "kwargs": {"tasks": [dict(part) for part in whole.tasks]}}
        assert repr(Signature.from_dict(plain)) == "a() | b() | c()"
    finally:
        del Signature.TYPES["loud"]
