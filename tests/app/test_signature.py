"""Signatures: calls as values."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from litequeue import LiteQueue, Signature, maybe_signature, signature
from litequeue.exceptions import NotRegistered

from .conftest import row


@pytest.fixture
def add(app: LiteQueue) -> Any:
    return app.task(lambda x, y, z=0: [x, y, z], name="add")


def test_the_shape(add: Any) -> None:
    assert dict(add.s(1, 2, z=3).set(priority=5)) == {
        "task": "add",
        "args": (1, 2),
        "kwargs": {"z": 3},
        "options": {"priority": 5},
        "subtask_type": None,
        "immutable": False,
    }


def test_fields_are_attributes(add: Any) -> None:
    sig = add.signature((1,), {"z": 2}, priority=3)
    assert (sig.task, sig.name, sig.args, sig.kwargs, sig.options) == ("add", "add", (1,), {"z": 2}, {"priority": 3})
    sig.args = (9,)
    sig.immutable = True
    assert (sig["args"], sig["immutable"], sig.type, sig.app) == ((9,), True, add, add.app)
    assert add.subtask((1,)) == add.s(1)


def test_calling(app: LiteQueue, add: Any) -> None:
    sig = add.s(2, z=1)
    assert sig(7) == [7, 2, 1]
    assert sig.apply((7,)).get() == [7, 2, 1]
    assert sig.delay(7).args == [7, 2]
    assert sig.delay(7, z=9).kwargs == {"z": 9}
    assert row(sig.set(priority=3).apply_async((7,), priority=None)).priority == 3
    assert row(sig.apply_async((7,), priority=8)).priority == 8
    assert add.s(1, 2).apply_async(route_name="x").name == "add"


def test_immutable(add: Any) -> None:
    sig = add.si(1, 2)
    assert sig.delay(7, z=9).args == [1, 2]
    assert sig.clone((7,)).args == (1, 2)
    assert row(sig.apply_async((7,), priority=8)).priority == 8
    assert add.s(1, 2).set(immutable=True) == sig
    sig.set_immutable(False)
    assert sig.clone((7,)).args == (7, 1, 2)


def test_clone_prepends_and_leaves_the_original(add: Any) -> None:
    sig = add.s(2, z=1).set(priority=3)
    other = sig.clone((7,), {"z": 5}, queue="q")
    assert (other.args, other.kwargs, other.options) == ((7, 2), {"z": 5}, {"priority": 3, "queue": "q"})
    assert (sig.args, sig.kwargs, sig.options) == ((2,), {"z": 1}, {"priority": 3})
    plain = sig.clone()
    plain.kwargs["z"] = 99
    plain.options["priority"] = 99
    assert (sig.kwargs, sig.options) == ({"z": 1}, {"priority": 3})
    assert sig.partial((1,)).args == (1, 2)


def test_replace(add: Any) -> None:
    sig = add.s(1, 2).replace(args=(3, 4), options={"queue": "q"})
    assert (sig.args, sig.kwargs, sig.options) == ((3, 4), {}, {"queue": "q"})


def test_a_group_is_not_changed_by_a_later_call(add: Any) -> None:
    sig = add.s(1, 2).set(group_id="g")
    assert sig.clone(group_id="other").options == {"group_id": "g"}


def test_freeze_gives_the_id(add: Any) -> None:
    sig = add.s(1, 2)
    result = sig.freeze()
    assert sig.id == result.id
    assert sig.freeze() == result
    assert sig.apply_async() == result
    other = add.s(1, 2)
    other.freeze("mine", root_id="r", parent_id="p", group_id="g", group_index=2)
    assert (other.id, other.root_id, other.parent_id, other.options["group_id"]) == ("mine", "r", "p", "g")
    assert row(other.delay()).root_id == "r"


def test_through_json_and_pickle(app: LiteQueue, add: Any) -> None:
    sig = add.s(1, z=2).set(priority=3)
    back = Signature.from_dict(json.loads(json.dumps(sig)), app=app)
    assert (back.task, list(back.args), back.kwargs, back.options) == ("add", [1], {"z": 2}, {"priority": 3})
    assert back.delay(5).args == [5, 1]
    assert pickle.loads(pickle.dumps(sig)) == sig
    assert copy.deepcopy(sig) == dict(sig)


def test_as_argument_and_result_of_a_task(app: LiteQueue, add: Any, worker: Any) -> None:
    later = app.task(lambda sig: dict(sig, kwargs={"z": 1}), name="later")
    worker()
    back = later.delay(add.s(1, 2)).get(timeout=10)
    assert Signature.from_dict(back, app=app).delay().get(timeout=10) == [1, 2, 1]


def test_by_name(app: LiteQueue, add: Any) -> None:
    sig = signature("add", args=(1, 2), app=app)
    assert sig() == [1, 2, 0]
    far = app.signature("far.away", (1,), queue="q")
    result = far.delay(0)
    assert (result.name, result.args, result.queue) == ("far.away", [0, 1], "q")
    with pytest.raises(NotRegistered):
        far()
    app.set_current()
    assert signature("add", args=(1, 2))() == [1, 2, 0]


def test_signature_of_a_signature_is_a_copy(add: Any) -> None:
    sig = add.s(1)
    other = signature(sig)
    assert other == sig
    assert other is not sig
    assert signature(dict(sig)) == sig


def test_maybe_signature(app: LiteQueue, add: Any) -> None:
    sig = add.s(1)
    assert maybe_signature(sig) is sig
    assert maybe_signature(sig, clone=True) is not sig
    assert maybe_signature(None) is None
    assert maybe_signature("text") == "text"
    back = maybe_signature(dict(sig), app)
    assert isinstance(back, Signature)
    assert back.app is app


def test_kinds_are_rebuilt_by_their_type(app: LiteQueue) -> None:
    @Signature.register_type("test-kind")
    class Kind(Signature):
        @classmethod
        def from_dict(cls, d: Any, app: Any = None) -> Kind:
            return Kind(d, app=app)

    try:
        assert type(signature({"task": "t", "subtask_type": "test-kind"})) is Kind
        with pytest.raises(ValueError, match="'unknown'"):
            signature({"task": "t", "subtask_type": "unknown"})
    finally:
        del Signature.TYPES["test-kind"]


def test_repr_is_the_call(add: Any) -> None:
    assert repr(add.s(1, z="x")) == "add(1, z='x')"
    assert add.si(1).reprcall(5) == "add(5, 1)"


def test_two_signatures_are_not_merged_as_dicts(add: Any) -> None:
    with pytest.raises(TypeError):
        _ = add.s(1) | {"task": "other"}
    with pytest.raises(TypeError):
        sig = add.s(1)
        sig |= {"task": "other"}


def test_invert_waits(app: LiteQueue, add: Any, worker: Any) -> None:
    worker()
    assert ~add.s(1, 2) == [1, 2, 0]


def test_the_signature_of_a_running_request(app: LiteQueue) -> None:
    @app.task(name="again", bind=True)
    def again(self: Any, x: int) -> Any:
        sig = self.signature_from_request(countdown=5)
        return [sig.task, list(sig.args), sig.options["priority"], sig.options["countdown"], sig.options["queue"]]

    assert again.apply((3,), priority=7, queue="q").get() == ["again", [3], 7, 5, "q"]
