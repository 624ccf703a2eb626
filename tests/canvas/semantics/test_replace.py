"""Tasks that replace themselves, or add to their chord."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from litequeue import Signature, chain, chord, group, states
from litequeue.exceptions import ChordError, ImproperlyConfigured
from tests.canvas.semantics.tasks import (
    Bad,
    become,
    become_and_return,
    enlarge,
    enlarge_and_become,
    errback,
    fail,
    flaky,
    nested_wish,
    same,
    send_group,
    step,
    told,
    tsum,
    wish,
)

s = step.s


def plain(sig: Any) -> Any:
    """A signature as it travels."""
    return json.loads(json.dumps(sig))


def r(sig: Any) -> Any:
    """A task that replaces itself by `sig`."""
    return become.s(plain(sig))


# What a task may become, and the value that it then has (as `step` shows it, and as it is).
BECOMES: list[tuple[str, Callable[[], Any], str, Any]] = [
    ("task", lambda: s("n"), "n", "n"),
    ("chain", lambda: chain(s("n"), s("m")), "m(n)", "m(n)"),
    ("long chain", lambda: chain(*[s(name) for name in "nmop"]), "p(o(m(n)))", "p(o(m(n)))"),
    ("group", lambda: group(s("n"), s("m")), "[n,m]", ["n", "m"]),
    ("group of one", lambda: group(s("n")), "[n]", ["n"]),
    ("empty group", lambda: group(), "[]", []),
    ("chord", lambda: chord([s("n"), s("m")], s("o")), "o([n,m])", "o([n,m])"),
    ("chain ending in a group", lambda: chain(s("n"), group(s("m"), s("o"))), "[m(n),o(n)]", ["m(n)", "o(n)"]),
    ("group of chains", lambda: group(chain(s("n"), s("m")), s("o")), "[m(n),o]", ["m(n)", "o"]),
    ("chain from a group", lambda: group(s("n"), s("m")) | s("o"), "o([n,m])", "o([n,m])"),
    ("chord whose body has an id", lambda: chord([s("n")], s("m").set(task_id="own")), "m([n])", "m([n])"),
    ("map", lambda: tsum.map([[1, 2]]), "[3]", [3]),
    ("one that retries", lambda: flaky.s("n", 2), "n", "n"),
    ("one that becomes another", lambda: r(s("n")), "n", "n"),
    ("one that becomes a chain", lambda: r(chain(s("n"), s("m"))), "m(n)", "m(n)"),
    (
        "chain with one that becomes a chain",
        lambda: chain(s("n"), r(chain(s("m"), s("o"))), s("p")),
        "p(o(m))",
        "p(o(m))",
    ),
    ("chord in a group", lambda: group(chord([s("n")], s("m")), s("o")), "[m([n]),o]", ["m([n])", "o"]),
]

# Where the task stands, and the value of the whole, "@" being the value of the replacement.
PLACES: list[tuple[str, Callable[[Any], Any], str]] = [
    ("first of a chain", lambda x: chain(x, s("b"), s("c")), "c(b(@))"),
    ("middle of a chain", lambda x: chain(s("a"), x, s("c")), "c(@)"),
    ("header", lambda x: chord([s("a"), x, s("b")], s("c")), "c([a,@,b])"),
    ("chain in a header", lambda x: chord([chain(s("a"), x, s("b")), s("c")], s("d")), "d([b(@),c])"),
    ("end of a chain in a header", lambda x: chord([chain(s("a"), x), s("c")], s("d")), "d([@,c])"),
    ("body, not last", lambda x: chord([s("a")], x) | s("b"), "b(@)"),
    ("group in a chain", lambda x: chain(s("a"), group(x, s("b")), s("c")), "c([@,b(a)])"),
    ("header of a header", lambda x: chord([chord([x, s("a")], s("b")), s("c")], s("d")), "d([b([@,a]),c])"),
]


@pytest.mark.parametrize(("new", "text", "value"), [case[1:] for case in BECOMES], ids=[case[0] for case in BECOMES])
class TestBecoming:
    """`self.replace` by every kind of canvas."""

    @pytest.mark.parametrize(("around", "whole"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES])
    def test_in_every_place(self, run: Any, new: Any, text: str, value: Any, around: Any, whole: str) -> None:
        assert run(around(r(new()))).value == whole.replace("@", text)

    def test_alone(self, run: Any, new: Any, text: str, value: Any) -> None:
        done = run(r(new()).set(task_id=f"alone-{text}-{id(new)}"))
        assert done.value == value
        assert done.result.id == f"alone-{text}-{id(new)}"
        assert done.result.state == states.SUCCESS

    def test_last_in_a_chain(self, run: Any, new: Any, text: str, value: Any) -> None:
        assert run(chain(s("a"), r(new()))).value == value

    def test_as_a_member_of_a_group(self, run: Any, new: Any, text: str, value: Any) -> None:
        assert run(group(r(new()), s("b"))).value == [value, "b"]

    def test_as_a_body(self, run: Any, new: Any, text: str, value: Any) -> None:
        assert run(chord([s("a")], r(new()))).value == value

    def test_callbacks_of_both_run_once_with_the_value(self, run: Any, new: Any, text: str, value: Any) -> None:
        sig = r(new())
        sig.link(same.s())
        assert run(sig).of("same") == [[value]]

    def test_in_place(self, app: Any, new: Any, text: str, value: Any) -> None:
        assert r(new()).apply().get() == value
        assert chain(s("a"), r(new()), same.s()).apply().get() == value


class TestReplace:
    """More of `self.replace`."""

    def test_returning_it_is_the_same(self, run: Any) -> None:
        assert run(become_and_return.s(plain(s("n")))).value == "n"

    def test_it_takes_no_input_by_itself(self, run: Any) -> None:
        assert run(chain(s("a"), r(s("n")))).value == "n"

    def test_an_empty_chain_is_refused(self, run: Any) -> None:
        done = run(r(chain()))
        assert isinstance(done.error, ImproperlyConfigured)
        assert "Cannot replace with an empty chain" in str(done.error)

    def test_order_of_twenty_members_that_become_groups(self, run: Any) -> None:
        members = [r(group(s(f"{number}a"), s(f"{number}b"))) for number in range(20)]
        assert run(group(members)).value == [[f"{number}a", f"{number}b"] for number in range(20)]

    def test_order_of_members_that_become_chains(self, run: Any) -> None:
        members = [r(chain(s(f"{number}a"), s(f"{number}b"))) for number in range(20)]
        assert run(group(members)).value == [f"{number}b({number}a)" for number in range(20)]

    def test_callbacks_of_the_replacement_run_too(self, run: Any) -> None:
        new = s("n")
        new.link(told.s("new"))
        old = r(new)
        old.link(told.s("old"))
        done = run(old)
        assert sorted(done.of("told")) == [["n", "new"], ["n", "old"]]

    def test_errbacks_of_both_run_once(self, run: Any) -> None:
        old = r(fail.s("x").on_error(told.s("new"))).set(task_id="both").on_error(told.s("old"))
        done = run(old)
        assert done.error == Bad("x")
        assert sorted(done.of("told")) == [["both", "new"], ["both", "old"]]

    @pytest.mark.parametrize(
        "new",
        [
            lambda: fail.s("x"),
            lambda: chain(fail.s("x"), s("m")),
            lambda: chain(s("n"), fail.s("x")),
            lambda: group(fail.s("x"), s("n")),
            lambda: chord([fail.s("x")], s("n")),
            lambda: chord([s("n")], fail.s("x")),
            lambda: r(fail.s("x")),
        ],
        ids=["task", "first of a chain", "last of a chain", "group", "header", "body", "again"],
    )
    @pytest.mark.parametrize("place", ["alone", "chain", "header"])
    def test_a_replacement_that_fails(self, run: Any, new: Any, place: str) -> None:
        old = r(new()).on_error(errback.s())
        canvas = {"alone": lambda: old, "chain": lambda: chain(old, s("z")), "header": lambda: chord([old], s("z"))}[
            place
        ]()
        done = run(canvas)
        assert isinstance(done.error, (Bad, ChordError))
        assert "z" not in done.names()
        assert done.result.failed()
        assert len(done.of("errback")) == 1

    @pytest.mark.parametrize(
        "new",
        [
            lambda: chain(s("n"), fail.s("x")),
            lambda: chain(s("n"), group(s("m"), fail.s("x"))),
            lambda: group(s("m"), fail.s("x")),
            lambda: chord([s("n")], fail.s("x")),
            lambda: chord([fail.s("x")], s("n")),
            lambda: chord([s("n")], group(fail.s("x"), s("m"))),
        ],
        ids=["chain", "chain ending in a group", "group", "body", "header", "body a group"],
    )
    def test_errbacks_of_a_replacement_are_told_once(self, run: Any, new: Any) -> None:
        wish = new()
        wish.link_error(told.si("new"))
        assert run(r(wish)).of("told") == [["new"]]

    def test_nesting_is_counted(self, app: Any, run: Any) -> None:
        from litequeue.signals import task_received

        seen: list[tuple[str, int]] = []

        def received(request: Any = None, **kw: Any) -> None:
            seen.append((request.task_name.rpartition(".")[2], request.replaced_task_nesting))

        task_received.connect(received)
        try:
            run(r(r(s("n"))))
        finally:
            task_received.disconnect(received)
        assert seen == [("become", 0), ("become", 1), ("step", 2)]

    def test_effects_come_in_order(self, run: Any) -> None:
        inner = chain(s("3"), r(chain(s("4"), s("5"))), s("6"))
        done = run(chain(s("1"), r(chain(s("2"), inner)), s("7")))
        assert [entry[0] for entry in done.of("step")] == list("1234567")


class TestAddToChord:
    """`self.add_to_chord`."""

    @pytest.mark.parametrize(
        ("more", "text"),
        [
            (lambda: s("n"), "n"),
            (lambda: chain(s("n"), s("m")), "m(n)"),
            (lambda: chord([s("n"), s("m")], s("o")), "o([n,m])"),
        ],
        ids=["task", "chain", "chord"],
    )
    def test_one_more_part(self, run: Any, more: Any, text: str) -> None:
        done = run(chord([enlarge.s("a", plain(more())), s("b")], same.s()))
        assert done.value == ["a", "b", text]

    def test_a_part_that_fails(self, run: Any) -> None:
        done = run(chord([enlarge.s("a", plain(fail.s("x"))), s("b")], s("body").on_error(errback.s())))
        assert done.result.failed()
        assert isinstance(done.result.result, ChordError)
        assert done.of("errback") == [[done.result.id]]

    def test_from_a_part_that_becomes_another(self, run: Any) -> None:
        part = r(enlarge.s("a", plain(s("n"))))
        assert run(chord([part, s("b")], same.s())).value == ["a", "b", "n"]

    def test_and_becoming_another(self, run: Any) -> None:
        part = enlarge_and_become.s(plain(s("n")), plain(s("m")))
        assert run(chord([part, s("b")], same.s())).value == ["m", "b", "n"]

    def test_twice(self, run: Any) -> None:
        parts = [enlarge.s("a", plain(s("n"))), enlarge.s("b", plain(s("m")))]
        value = run(chord(parts, same.s())).value
        assert (value[:2], sorted(value[2:])) == (["a", "b"], ["m", "n"])

    def test_outside_of_a_chord(self, run: Any) -> None:
        done = run(enlarge.s("a", plain(s("n"))))
        assert isinstance(done.error, ValueError)
        assert "not member of any chord" in str(done.error)


class TestReturned:
    """Signatures and results as values."""

    def test_a_signature(self, run: Any) -> None:
        assert run(wish.s()).value == plain(s("wished"))
        assert run(chain(wish.s(), become.s())).value == "wished"

    def test_a_nested_canvas_arrives_as_a_dict_that_is_rebuilt(self, run: Any) -> None:
        sent = run(chain(nested_wish.s(), same.s()))
        assert type(sent.value) is dict
        assert Signature.from_dict(sent.value) == nested_wish.run()
        assert run(chain(nested_wish.s(), become.s())).value == run(nested_wish.run()).value

    def test_a_group_result(self, run: Any) -> None:
        done = run(send_group.s())
        (group_id, parent), members = done.value
        assert parent is None
        [child] = done.result.children
        assert child.id == group_id
        assert [each[0][0] for each in members] == [each.id for each in child.results]
        assert child.get() == ["a", "b"]
