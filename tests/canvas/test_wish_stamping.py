"""Stamps on every kind of signature; Celery 5.7 stamps the same, but for what is marked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group
from litequeue.canvas import StampingVisitor

from .letters import letters


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


class Everywhere(StampingVisitor):
    """Stamps each task, and keeps what it was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        self.asked.append(sig.task)
        return {"by": sig.task}

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        self.asked.append("group(")
        return {"in_group": True}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        self.asked.append(")group")

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        self.asked.append("chain(")
        return {"in_chain": 1}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        self.asked.append(")chain")

    def on_chord_body(self, sig: Any, **headers: Any) -> dict[str, Any]:
        self.asked.append("body")
        return {"body": [1]}

    def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any]:
        self.asked.append("callback")
        return {"linked": "yes"}

    def on_errback(self, errback: Any, **headers: Any) -> dict[str, Any]:
        self.asked.append("errback")
        return {"linked": "err"}


def stamps(sig: Any) -> dict[str, Any]:
    """The stamps of a task; every name that is listed must be there."""
    options = sig["options"]
    return {name: options[name] for name in options.get("stamped_headers", ())}


def test_stamps_of_a_task_are_options(t: SimpleNamespace) -> None:
    sig = t.a.s()
    assert sig.stamp(team="red", tags=["x"], level=3) is sig
    assert sig.options == {"team": "red", "tags": ["x"], "level": 3, "stamped_headers": ["team", "tags", "level"]}


def test_a_visitor_says_which_of_what_it_returns_are_stamps(t: SimpleNamespace) -> None:
    class One(StampingVisitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"stamp": 1, "other": 2, "stamped_headers": ["stamp"]}

    sig = t.a.s().stamp(visitor=One())
    assert (stamps(sig), sig.options["other"]) == ({"stamp": 1}, 2)


def test_a_visitor_must_say_something_of_tasks() -> None:
    class Nothing(StampingVisitor):
        pass

    with pytest.raises(TypeError, match="on_signature"):
        Nothing()  # type: ignore[abstract]


def test_every_part_is_visited_in_order(t: SimpleNamespace) -> None:
    visitor = Everywhere()
    whole = chain(t.a.s(), group(t.b.s(), t.c.s()), t.d.s(), chord([t.e.s()], t.f.s()))
    whole.stamp(visitor=visitor)
    assert " ".join(visitor.asked) == "chain( a group( b c )group body d group( e )group body f )chain"
    first, middle, last = whole.tasks
    assert stamps(first) == {"in_chain": 1, "by": "a"}
    assert stamps(middle.header_tasks[1]) == {"in_chain": 1, "in_group": True, "by": "c"}
    assert stamps(middle.body) == {"in_chain": 1, "in_group": True, "body": [1], "by": "d"}
    assert stamps(last.body)["by"] == "f"


def test_header_hooks_take_the_place_of_the_groups(t: SimpleNamespace) -> None:
    class OfHeaders(Everywhere):
        def on_chord_header_start(self, sig: Any, **header: Any) -> dict[str, Any]:
            self.asked.append("header(")
            return {"header": 1}

        def on_chord_header_end(self, sig: Any, **header: Any) -> None:
            self.asked.append(")header")

    visitor, whole = OfHeaders(), chord([t.a.s()], t.b.s())
    whole.stamp(visitor)
    assert visitor.asked == ["header(", "a", ")header", "body", "b"]
    assert stamps(whole.tasks[0]) == {"header": 1, "by": "a"}


def test_links_are_stamped_also_as_dicts_and_when_they_came_later(t: SimpleNamespace) -> None:
    sig = t.a.s()
    sig.link(t.b.s())
    sig.link_error(dict(t.c.s()))
    sig.stamp(Everywhere(), x=1)
    sig.link(chain(t.d.s(), dict(t.e.s())))
    sig.stamp(Everywhere(), x=1)
    first, second = sig.options["link"]
    assert stamps(sig) == {"x": 1, "by": "a"}
    assert stamps(first) == {"x": 1, "linked": "yes", "by": "b"}
    assert stamps(sig.options["link_error"][0]) == {"x": 1, "linked": "err", "by": "c"}
    assert [stamps(step)["by"] for step in second.tasks] == ["d", "e"]
    assert all(stamps(step)["x"] == 1 for step in second.tasks)


def test_headers_alone_stamp_everything(t: SimpleNamespace) -> None:
    whole = chain(t.a.s(), group(t.b.s(), t.c.s()), t.d.s())
    whole.link(t.e.s())
    whole.stamp(x=1)
    first, last = whole.tasks
    # Celery leaves the body out when there is no visitor.
    for sig in (first, *last.header_tasks, last.body, *whole.options["link"]):
        assert stamps(sig) == {"x": 1}


@pytest.mark.parametrize(
    ("append", "before", "after", "both"),
    [
        (False, 1, 2, 2),
        (False, "x", "y", "y"),
        (False, [1], [2], [2, 1]),
        (True, 1, 2, [2, 1]),
        (True, [1], [2], [2, 1]),
        (True, 1, [2], [2, 1]),
        (True, [1], 2, [2, 1]),
    ],
)
def test_a_stamp_given_twice(t: SimpleNamespace, append: bool, before: Any, after: Any, both: Any) -> None:
    sig = t.a.s().stamp(x=before)
    sig.stamp(append_stamps=append, x=after)
    assert stamps(sig) == {"x": both}


def test_the_values_given_are_not_changed(t: SimpleNamespace) -> None:
    given = {"x": [1], "y": {"z": [1]}}
    whole = chain(t.a.s().stamp(x=[2], y={"z": [2]}), t.b.s())
    whole.stamp(append_stamps=True, **given)
    whole.stamp(append_stamps=True, **given)
    assert given == {"x": [1], "y": {"z": [1]}}
    assert stamps(whole.tasks[1])["x"] == [1, 1]


def test_stamping_a_generator_waits_for_its_tasks(t: SimpleNamespace) -> None:
    asked: list[int] = []

    def tasks() -> Any:
        for number in range(3):
            asked.append(number)
            yield t.a.s(number)

    whole = group(tasks()) | t.b.s()
    whole.stamp(Everywhere())
    assert asked == []
    assert [stamps(part)["by"] for part in whole.header_tasks] == ["a"] * 3
