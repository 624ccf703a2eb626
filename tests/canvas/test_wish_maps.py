"""Maps and chunks as signatures."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, Signature, chunks, group, xmap, xstarmap

from .letters import letters, plain


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


def test_the_shape(t: SimpleNamespace) -> None:
    assert plain(xmap(t.a.s(), [1, 2], queue="q")) == {
        "task": "litequeue.map",
        "args": [],
        "kwargs": {"task": plain(t.a.s()), "it": [1, 2]},
        "options": {"queue": "q"},
        "subtask_type": "xmap",
        "immutable": True,
    }
    assert xstarmap(t.a, [(1, 2)])["task"] == "litequeue.starmap"
    whole = chunks(t.a.s(), [(1, 2)], 10)
    assert (whole["task"], whole.kwargs) == ("litequeue.chunks", {"task": t.a.s(), "it": [(1, 2)], "n": 10})


def test_text(t: SimpleNamespace) -> None:
    assert repr(xmap(t.a.s(), [1, 2])) == "[a(x) for x in [1, 2]]"
    assert repr(xstarmap(t.a.s(), [(1, 2)])) == "[a(*x) for x in [(1, 2)]]"
    assert len(repr(xmap(t.a.s(), range(100)))) < 130
    assert repr(xmap(t.a.s(), list(range(100)))).endswith(",...]")


@pytest.mark.parametrize(
    "make",
    [
        lambda t: xmap(t.a.s(), [1, 2]),
        lambda t: xstarmap(t.a.s(), [[1, 2]]),
        lambda t: chunks(t.a.s(), [[1, 2]], 3),
        lambda t: xmap(t.a.s(), [1]) | t.b.s(),
        lambda t: group(xmap(t.a.s(), iter([1, 2]))),
    ],
)
def test_they_come_back_from_json_and_pickle(t: SimpleNamespace, make: Any) -> None:
    whole = make(t)
    back = Signature.from_dict(json.loads(json.dumps(whole)))
    assert back == whole
    assert type(back) is type(whole)
    assert repr(back) == repr(whole)
    assert pickle.loads(pickle.dumps(whole)) == whole.clone() == whole


def test_celerys_are_read(t: SimpleNamespace) -> None:
    def celerys(whole: Signature) -> dict[str, Any]:
        return {**whole, "task": whole["task"].replace("litequeue", "celery"), "subtask_type": None}

    for whole in (xmap(t.a.s(), [1]), xstarmap(t.a.s(), [[1]]), chunks(t.a.s(), [[1]], 2)):
        back = Signature.from_dict(celerys(whole))
        assert (type(back), back) == (type(whole), whole)


def test_chunks_are_a_group_of_starmaps(t: SimpleNamespace) -> None:
    for items in ([(number,) for number in range(5)], ((number,) for number in range(5))):
        whole = chunks(t.a.s(), items, 2).group()
        assert isinstance(whole, group)
        assert [type(part) for part in whole.tasks] == [xstarmap] * 3
        assert [part.kwargs["it"] for part in whole.tasks] == [[(0,), (1,)], [(2,), (3,)], [(4,)]]
    assert chunks(t.a.s(), [], 2).group().tasks == []


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "2", None])
def test_the_size_of_a_chunk(t: SimpleNamespace, size: Any) -> None:
    with pytest.raises(ValueError, match="size of a chunk"):
        chunks(t.a.s(), [], size)


def test_they_belong_to_the_app_of_their_task(t: SimpleNamespace, app: LiteQueue) -> None:
    other = LiteQueue("other", broker=":memory:", set_as_current=True)
    try:
        assert xmap(t.a.s(), []).app is chunks(t.a.s(), [], 1).app is app
        assert xmap(t.a.s(), [], app=other).app is other
    finally:
        other.close()
