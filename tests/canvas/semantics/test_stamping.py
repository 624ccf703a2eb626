"""Stamps: on every task of a canvas, and revoking by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from litequeue import chain, chord, group, states
from litequeue.canvas import StampingVisitor
from litequeue.exceptions import TaskRevokedError
from litequeue.signals import before_task_publish, task_received
from tests.canvas.semantics.tasks import become, errback, fail, same, stamping, step, told

s = step.s


class Fixed(StampingVisitor):
    """The same stamp on every signature."""

    def __init__(self, **headers: Any) -> None:
        self.headers = headers

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return dict(self.headers)


@pytest.fixture
def received(run: Any) -> Iterator[dict[str, Any]]:
    """The stamps of the requests that the worker received, by the last argument of their tasks."""
    seen: dict[str, Any] = {}

    def note(request: Any = None, **kw: Any) -> None:
        if request.args:
            seen[str(request.args[-1])] = (request.stamps, sorted(request.stamped_headers or ()))

    task_received.connect(note)
    yield seen
    task_received.disconnect(note)


CANVASES = {
    "task": (lambda: s("a"), "a"),
    "chain": (lambda: chain(s("a"), s("b"), s("c")), "abc"),
    "group": (lambda: group(s("a"), s("b")), "ab"),
    "chord": (lambda: chord([s("a"), s("b")], s("c")), "abc"),
    "group in a chain": (lambda: chain(s("a"), group(s("b"), s("c")), s("d")), "abcd"),
    "chord with a chain as body": (lambda: chord([s("a")], chain(s("b"), s("c"))), "abc"),
    "chord in a chord": (lambda: chord([chord([s("a")], s("b")), s("c")], s("d")), "abcd"),
    "group of chains": (lambda: group(chain(s("a"), s("b")), s("c")), "abc"),
}


@pytest.mark.parametrize(("make", "names"), CANVASES.values(), ids=CANVASES)
class TestEveryTask:
    """A stamp reaches each task of a canvas."""

    @pytest.mark.parametrize("value", ["text", 7, None, ["x", "y"], [1]], ids=repr)
    def test_with_its_type(self, run: Any, received: Any, make: Any, names: str, value: Any) -> None:
        canvas = make()
        canvas.stamp(Fixed(header=value))
        run(canvas)
        assert received == {name: ({"header": value}, ["header"]) for name in names}

    def test_by_keyword(self, run: Any, received: Any, make: Any, names: str) -> None:
        canvas = make()
        canvas.stamp(header="value")
        run(canvas)
        assert received == {name: ({"header": "value"}, ["header"]) for name in names}

    def test_two_visitors(self, run: Any, received: Any, make: Any, names: str) -> None:
        canvas = make()
        canvas.stamp(Fixed(one=1))
        canvas.stamp(Fixed(two=2))
        run(canvas)
        assert received == {name: ({"one": 1, "two": 2}, ["one", "two"]) for name in names}


class TestMessages:
    """Where stamps stand in a message."""

    def test_in_the_headers_never_in_the_properties(self, run: Any) -> None:
        seen: list[Any] = []

        def publish(headers: Any = None, properties: Any = None, **kw: Any) -> None:
            seen.append((headers["stamps"], headers["stamped_headers"], properties))

        before_task_publish.connect(publish)
        try:
            sig = s("a")
            sig.stamp(Fixed(header="value"))
            run(sig)
        finally:
            before_task_publish.disconnect(publish)
        [(stamps, names, properties)] = seen
        assert stamps == {"header": "value"}
        assert list(names) == ["header"]
        assert not {"stamps", "stamped_headers", "header"} & set(properties)


class TestLinks:
    """Callbacks and error callbacks are stamped too."""

    @pytest.mark.parametrize("as_dict", [False, True])
    def test_before_stamping(self, run: Any, received: Any, as_dict: bool) -> None:
        link: Any = dict(told.s("cb")) if as_dict else told.s("cb")
        sig = s("a").set(link=[link])
        sig.stamp(Fixed(header="value"))
        run(sig)
        assert received == {"a": ({"header": "value"}, ["header"]), "cb": ({"header": "value"}, ["header"])}

    def test_errbacks(self, run: Any, received: Any) -> None:
        sig = fail.s("x").set(link_error=[told.si("eb")])
        sig.stamp(Fixed(header="value"))
        run(sig)
        assert received["eb"] == ({"header": "value"}, ["header"])

    def test_options_of_a_stamped_link(self) -> None:
        sig = s("a").set(link=[told.s("cb")], link_error=[errback.s()])
        sig.stamp(Fixed(header="value"))
        for option in ("link", "link_error"):
            assert sig.options[option][0]["options"]["header"] == "value"
            assert list(sig.options[option][0]["options"]["stamped_headers"]) == ["header"]


class TestVisitor:
    """Which parts a visitor is told of."""

    def test_its_events(self) -> None:
        seen: list[str] = []

        class Spy(StampingVisitor):
            def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
                seen.append(f"signature {sig.args[-1]}" if sig.args else f"signature {sig['task'].rpartition('.')[2]}")
                return {}

            def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
                seen.append("group start")
                return {}

            def on_group_end(self, group: Any, **headers: Any) -> None:
                seen.append("group end")

            def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
                seen.append("chain start")
                return {}

            def on_chain_end(self, chain: Any, **headers: Any) -> None:
                seen.append("chain end")

            def on_chord_body(self, chord: Any, **headers: Any) -> dict[str, Any]:
                seen.append("body")
                return {}

        chain(s("a"), group(s("b"), s("c"))).stamp(Spy())
        assert seen == [
            "chain start",
            "signature a",
            "group start",
            "signature b",
            "signature c",
            "group end",
            "chain end",
        ]
        seen.clear()
        chord([s("a"), s("b")], s("c")).stamp(Spy())
        assert [event for event in seen if event.startswith("signature ") and len(event) == 11] == [
            "signature a",
            "signature b",
            "signature c",
        ]
        assert "body" in seen

    def test_stamps_by_place(self, run: Any, received: Any) -> None:
        class InGroup(StampingVisitor):
            def __init__(self) -> None:
                self.inside = False

            def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
                self.inside = True
                return {}

            def on_group_end(self, group: Any, **headers: Any) -> None:
                self.inside = False

            def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
                return {"in_group": self.inside, "stamped_headers": ["in_group"]}

        canvas = chain(s("a"), group(s("b"), s("c")))
        canvas.stamp(InGroup())
        run(canvas)
        assert {name: stamps["in_group"] for name, (stamps, _) in received.items()} == {
            "a": False,
            "b": True,
            "c": True,
        }


class TestReplaced:
    """Stamps of a task that replaces itself."""

    def test_they_are_merged_in(self, run: Any, received: Any) -> None:
        sig = become.s(chain(s("n"), s("m")))
        sig.stamp(Fixed(header="value"))
        run(sig)
        assert received["n"] == received["m"] == ({"header": "value"}, ["header"])

    def test_on_replace_may_stamp(self, run: Any, received: Any) -> None:
        sig = stamping.s(s("n"))
        sig.stamp(Fixed(header="value"))
        run(sig)
        assert received["n"] == ({"header": "value", "more": 1}, ["header", "more"])


def revoke(app: Any, **headers: list[Any]) -> None:
    """Revoke by stamps; the id does not matter."""
    app.AsyncResult("any").revoke_by_stamped_headers(headers)


class TestRevoking:
    """`revoke_by_stamped_headers`."""

    @pytest.mark.parametrize(("make", "names"), CANVASES.values(), ids=CANVASES)
    def test_of_a_canvas_sent_later(self, app: Any, run: Any, make: Any, names: str, request: Any) -> None:
        key = f"key {request.node.name}"
        revoke(app, revoke_me=[key])
        canvas = make()
        canvas.stamp(Fixed(revoke_me=key))
        done = run(canvas)
        assert isinstance(done.error, TaskRevokedError)
        assert done.names() == []

    @pytest.mark.parametrize("value", ["text", 7, None])
    @pytest.mark.parametrize("as_list", [False, True])
    def test_by_value_or_list(self, app: Any, run: Any, value: Any, as_list: bool) -> None:
        header = f"h_{type(value).__name__}_{as_list}"
        revoke(app, **{header: [value]})
        stamped, other = s("stamped"), s("other")
        stamped.stamp(Fixed(**{header: [value, "more"] if as_list else value}))
        other.stamp(Fixed(**{header: "another"}))
        assert isinstance(run(stamped).error, TaskRevokedError)
        assert run(other).value == "other"

    @pytest.mark.parametrize("place", ["chain", "header", "body", "group"])
    def test_one_part(self, app: Any, run: Any, place: str) -> None:
        revoke(app, part=[place])
        sig = s("x")
        sig.stamp(Fixed(part=place))
        canvas = {
            "chain": lambda: chain(s("a"), sig, s("b")),
            "header": lambda: chord([s("a"), sig], s("b")),
            "body": lambda: chord([s("a")], sig),
            "group": lambda: group(s("a"), sig),
        }[place]()
        done = run(canvas)
        assert isinstance(done.error, TaskRevokedError)
        assert "x" not in done.names()
        assert "a" in done.names()

    def test_of_a_result(self, run: Any, app: Any) -> None:
        sig = s("a")
        sig.stamp(Fixed(mine="only this"))
        result = sig.apply_async(countdown=3600)
        result.revoke_by_stamped_headers({"mine": ["only this"]})
        assert result.state == states.REVOKED

    def test_no_match_is_no_error(self, app: Any) -> None:
        revoke(app, nobody=["has this"])

    def test_others_run(self, app: Any, run: Any) -> None:
        revoke(app, those=["x"])
        assert run(same.s(1)).value == 1
