"""Very long and very deep canvases, and those that contain themselves."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, Signature, chain, chord, group

from .letters import letters

MANY = 100_000


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


def spent(action: Callable[[], Any]) -> float:
    """The CPU seconds of this thread that `action` takes: others on the machine do not count."""
    before = time.thread_time()
    action()
    return time.thread_time() - before


def test_a_hundred_thousand_steps(t: SimpleNamespace) -> None:
    tasks = [t.a.s(number) for number in range(MANY)]
    whole = chain(tasks)
    assert len(whole.tasks) == len(reduce(or_, tasks).tasks) == MANY
    last = whole.freeze("last")
    assert (last.id, whole.id, whole.tasks[-1].id) == ("last", "last", "last")
    steps = 0
    while last is not None:
        steps, last = steps + 1, last.parent
    assert steps == MANY


def test_a_hundred_thousand_members(t: SimpleNamespace) -> None:
    whole = group(t.a.s(number) for number in range(MANY))
    body = (whole | t.b.s()).clone()
    assert len(body.tasks) == MANY
    body.freeze()
    assert len({part.id for part in body.header_tasks}) == MANY


@pytest.mark.parametrize(
    "make",
    [
        lambda parts: chain(parts),
        lambda parts: reduce(or_, parts),
        lambda parts: chain(parts).clone(),
        lambda parts: group(parts).clone(),
        lambda parts: Signature.from_dict(json.loads(json.dumps(chord(parts, parts[0])))),
        lambda parts: chain(parts).freeze(),
        lambda parts: chain(part if index % 2 else group(part, part) for index, part in enumerate(parts)),
    ],
)
def test_the_time_is_linear_in_the_number_of_tasks(t: SimpleNamespace, make: Callable[[Any], Any]) -> None:
    few, many = ([t.a.s(number) for number in range(count)] for count in (500, 5000))
    make(few)
    ratio = min(spent(lambda: make(many)) for _ in range(3)) / min(spent(lambda: make(few)) for _ in range(3))
    assert ratio < 40  # linear is 10, quadratic is 100


# Depth


@contextmanager
def few_frames(number: int) -> Iterator[None]:
    """As if the stack had only room for `number` more frames."""
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + number)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def nested(t: SimpleNamespace, depth: int) -> Any:
    """Groups in chords in chains in groups …"""
    whole = t.a.s()
    for level in range(depth):
        make = (
            lambda whole: group(whole, t.b.s()),
            lambda whole: chord([whole, t.c.s()], t.d.s()),
            lambda whole: chain(t.e.s(), whole, t.f.s()),
            lambda whole: chord([t.c.s()], whole),
        )[level % 4]
        whole = make(whole)
    return whole


@pytest.mark.parametrize(
    "use",
    [
        lambda whole, t: whole.clone(),
        lambda whole, t: copy.deepcopy(whole),
        lambda whole, t: repr(whole),
        lambda whole, t: whole | t.a.s(),
        lambda whole, t: t.a.s() | whole,
        lambda whole, t: chain(whole, whole, t.a.s()),
        lambda whole, t: whole.app,
        lambda whole, t: Signature.from_dict(_as_dicts(whole)),
        lambda whole, t: pickle.loads(pickle.dumps(whole)),
    ],
)
def test_no_recursion(t: SimpleNamespace, use: Callable[[Any, Any], Any]) -> None:
    whole = nested(t, 300)
    with few_frames(60):
        use(whole, t)


def _as_dicts(whole: Any) -> Any:
    """The dict of a canvas, and of each of its parts; made without recursion as well."""
    top: dict[str, Any] = dict(whole)
    todo = [top]
    while todo:
        node = todo.pop()
        kwargs = node["kwargs"] = dict(node["kwargs"])
        for name in ("tasks", "header", "body"):
            value = kwargs.get(name)
            if isinstance(value, dict):
                kwargs[name] = dict(value)
                todo.append(kwargs[name])
            elif value is not None:
                kwargs[name] = [dict(part) for part in value]
                todo.extend(kwargs[name])
    return top


def test_two_hundred_levels_do_everything(t: SimpleNamespace) -> None:
    whole = nested(t, 200)
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert Signature.from_dict(json.loads(json.dumps(whole))) == whole
    whole.stamp(x=1)
    whole.link_error(t.a.s())
    assert whole.freeze() == whole.freeze()


def test_links_of_links(t: SimpleNamespace) -> None:
    sig = first = t.a.s(0)
    for number in range(1, 600):
        sig = sig.link(t.a.s(number))
    with few_frames(60):
        assert [each.args for each in first.clone().flatten_links()] == [(number,) for number in range(600)]


# Circles


def circles(t: SimpleNamespace) -> list[Any]:
    """Canvases that contain themselves: directly, deep, by the body, and by a link."""
    direct = chain(t.a.s(), t.b.s())
    direct.tasks.append(direct)
    deep = group(t.a.s(), t.b.s())
    deep.tasks.append(chain(t.c.s(), chord([t.d.s(), deep], t.e.s())))
    body = chord([t.a.s()], t.b.s())
    body["kwargs"]["body"] = chain(t.c.s(), group(t.d.s(), body), task_id="x")
    linked = chain(t.a.s(), t.b.s())
    linked.tasks[0].link(chain(t.c.s(), linked, task_id="x"))
    return [direct, deep, body, linked]


@pytest.mark.parametrize(
    "use",
    [
        lambda whole, t: whole.clone(),
        lambda whole, t: whole.freeze(),
        lambda whole, t: chain(t.a.s(), whole, t.a.s()),
        lambda whole, t: whole | t.a.s() | t.b.s(),
        lambda whole, t: Signature.from_dict(whole),
        lambda whole, t: pickle.dumps(whole),
        lambda whole, t: copy.deepcopy(whole),
        lambda whole, t: whole.apply_async(),
        lambda whole, t: whole.apply(),
        lambda whole, t: group(t.a.s(), whole).apply_async(),
    ],
)
def test_a_canvas_that_contains_itself_is_an_error(
    app: LiteQueue, t: SimpleNamespace, use: Callable[[Any, Any], Any]
) -> None:
    for whole in circles(t):
        with pytest.raises(ValueError, match="contain"):
            use(whole, t)


def test_a_canvas_that_contains_itself_can_be_shown(t: SimpleNamespace) -> None:
    assert [repr(whole) for whole in circles(t)] == [
        "a() | b() | ...",
        "group([a(), b(), c() | %e([d(), ...])])",
        "%(b([a()]) | group([d(), ...]))".replace("b([a()])", "c([a()])"),
        "a() | b()",
    ]


def test_a_signature_may_stand_in_a_canvas_many_times(t: SimpleNamespace) -> None:
    sig, callback = t.a.s(), t.b.s()
    sig.link(callback)
    inner = group(sig, sig)
    whole = chord([inner, inner, chain(sig, sig)], chain(inner, sig, callback))
    assert whole.clone() == whole
    assert pickle.loads(pickle.dumps(whole)) == whole
