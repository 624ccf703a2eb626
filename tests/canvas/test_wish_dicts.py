"""Signatures as dicts: their shape, through JSON and pickle, and as Celery wrote them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, Signature, chain, chord, group, maybe_signature, signature

from .letters import letters, plain


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


def task(name: str, *args: Any, **options: Any) -> dict[str, Any]:
    """The dict of a signature as JSON gives it back."""
    return {
        "task": name,
        "args": list(args),
        "kwargs": {},
        "options": options,
        "subtask_type": None,
        "immutable": False,
    }


def composed(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {
        "task": f"litequeue.{kind}",
        "args": [],
        "kwargs": kwargs,
        "options": {},
        "subtask_type": kind,
        "immutable": False,
    }


def test_the_shape_is_celerys(t: SimpleNamespace) -> None:
    a, b = t.a.s(1), t.b.s()
    assert plain(chain(a, b)) == composed("chain", tasks=[task("a", 1), task("b")])
    assert plain(group(a, b)) == composed("group", tasks=[task("a", 1), task("b")])
    assert plain(chord([a], b)) == composed("chord", kwargs={}, header=[task("a", 1)], body=task("b"))
    a.link(b)
    assert plain(a) == task("a", 1, link=[task("b")])


DEEP: list[Callable[[Any], Any]] = [
    lambda t: chain(t.a.s(1), t.b.s(2)),
    lambda t: group(t.a.s(1), t.b.si(2, x=[3])),
    lambda t: chord([t.a.s(1), t.b.s()], t.c.s()),
    lambda t: chain(t.a.s(), group(t.b.s(), chain(t.c.s(), group(t.d.s(), t.e.s())))),
    lambda t: group(chord([chain(t.a.s(), t.b.s()), chord([t.c.s()], t.d.s())], group(t.e.s(), t.f.s())), t.a.s()),
    lambda t: chord([group(t.a.s(), t.b.s()), t.c.s()], chain(t.d.s(), t.e.s())) | t.f.s(),
    lambda t: t.a.s().on_error(chain(t.b.s(), group(t.c.s(), t.d.s()))),
    lambda t: chain(t.a.s(), t.b.s()).set(link=[group(t.c.s(), t.d.s())], queue="q"),
    lambda t: chord([t.a.s()], t.b.s(), on_header_error="run_body"),
    lambda t: group(each.s() for each in (t.a, t.b)) | t.c.s(),
    lambda t: t.a.s() | t.b.s() | t.c.s() | t.d.s(),
]


@pytest.mark.parametrize("make", DEEP)
def test_they_come_back_at_any_depth(app: LiteQueue, t: SimpleNamespace, make: Callable[[Any], Any]) -> None:
    whole = make(t)
    text = json.dumps(whole)
    assert json.loads(text) == plain(make(t))
    for back in (
        Signature.from_dict(json.loads(text), app=app),
        Signature.from_dict(plain(whole)),
        signature(plain(whole), app=app),
        maybe_signature(json.loads(text), app),
        pickle.loads(pickle.dumps(whole)),
        pickle.loads(pickle.dumps(whole, protocol=0)),
        copy.deepcopy(whole),
    ):
        assert back == whole
        assert dict(back) == dict(whole)
        assert (type(back), repr(back)) == (type(whole), repr(whole))
        assert [type(part) for part in back.parts(True)] == [type(part) for part in whole.parts(True)]


def test_another_one_is_not_equal(t: SimpleNamespace) -> None:
    wholes = [make(t) for make in DEEP]
    assert [sum(one == other for other in wholes) for one in wholes] == [1] * len(wholes)


def test_the_dict_stays_as_it_is(t: SimpleNamespace) -> None:
    given = plain(chain(t.a.s(1), group(t.b.s(), t.c.s())))
    before = json.dumps(given)
    back = Signature.from_dict(given)
    back.tasks[0].set(queue="q")
    back.tasks[0].kwargs["x"] = 1
    back.tasks[1].tasks[0].link(t.d.s())
    assert json.dumps(given) == before


def test_a_class_reads_its_own_without_being_told_the_kind(t: SimpleNamespace) -> None:
    for whole in (chain(t.a.s(), t.b.s()), group(t.a.s()), chord([t.a.s()], t.b.s())):
        back = type(whole).from_dict({"kwargs": plain(whole)["kwargs"], "options": {}})
        assert back == whole


def test_what_celery_wrote_is_read(t: SimpleNamespace) -> None:
    theirs = json.loads(json.dumps(chain(t.a.s(1), group(t.b.s(), t.c.s()), t.d.s())).replace("litequeue.", "celery."))
    back = Signature.from_dict(theirs)
    assert back == t.a.s(1) | group(t.b.s(), t.c.s()) | t.d.s()


def test_parts_may_be_dicts(t: SimpleNamespace) -> None:
    whole = chain(t.a.s(), t.b.s())
    whole["kwargs"]["tasks"] = [dict(t.a.s(1)), t.b.s()]
    back = Signature.from_dict({**whole})
    assert [type(part) for part in back.tasks] == [Signature, Signature]
    assert repr(whole.clone()) == "a(1) | b()"


def test_a_dict_that_is_no_signature(t: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="names its task; this one has 'x'"):
        signature({"x": 1})
    with pytest.raises(ValueError, match="'unknown'"):
        signature({"task": "a", "subtask_type": "unknown"})
    with pytest.raises(ValueError, match="'unknown'"):
        group(t.a.s(), {"task": "a", "subtask_type": "unknown"})


def test_arguments_are_a_tuple_again(t: SimpleNamespace) -> None:
    assert signature(json.loads(json.dumps(t.a.s(1, 2)))) == t.a.s(1, 2)
    assert signature({"task": "a"}) == t.a.s()
    assert signature({"task": "a", "args": None, "kwargs": None, "options": None}) == t.a.s()


def test_as_an_argument_and_back(app: LiteQueue, t: SimpleNamespace) -> None:
    for make in DEEP:
        sent = t.a.delay(make(t)).args[0]
        assert Signature.from_dict(sent, app=app) == make(t)
