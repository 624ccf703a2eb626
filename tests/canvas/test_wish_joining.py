"""What `|` and `chain(…)` make of two signatures; Celery 5.7 makes the same."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import reduce
from operator import or_
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group

from .letters import letters


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


FORMS: list[tuple[Callable[[Any], Any], str]] = [
    # tasks and chains
    (lambda t: t.a.s(1) | t.b.s(2), "a(1) | b(2)"),
    (lambda t: (t.a.s() | t.b.s()) | (t.c.s() | t.d.s()), "a() | b() | c() | d()"),
    (lambda t: t.a.s() | (t.b.s() | t.c.s()), "a() | b() | c()"),
    (lambda t: chain(chain(t.a.s()), chain(chain(t.b.s()), t.c.s())), "a() | b() | c()"),
    (lambda t: chain([t.a.s(), t.b.s()]), "a() | b()"),
    (lambda t: chain(task.s() for task in (t.a, t.b)), "a() | b()"),
    (lambda t: chain(t.a.s()), "a()"),
    (lambda t: chain() | t.a.s() | t.b.s(), "a() | b()"),
    (lambda t: t.a.s() | chain(), "a()"),
    # groups after
    (lambda t: t.a.s() | group(t.b.s(), t.c.s()), "a() | group([b(), c()])"),
    (lambda t: t.a.s() | t.b.s() | group(t.c.s(), t.d.s()), "a() | b() | group([c(), d()])"),
    (lambda t: t.a.s() | group(t.b.s()), "a() | b()"),
    (lambda t: t.a.s() | t.b.s() | group(t.c.s()), "a() | b() | c()"),
    (lambda t: t.a.s() | t.b.s() | group(), "a() | b()"),
    (lambda t: t.a.s() | group(t.b.s() | t.c.s()), "a() | b() | c()"),
    # groups before
    (lambda t: group(t.a.s(), t.b.s()) | t.c.s(), "%c([a(), b()])"),
    (lambda t: chain(group(t.a.s(), t.b.s()), t.c.s()), "%c([a(), b()])"),
    (lambda t: chain(group(t.a.s(), t.b.s())), "group([a(), b()])"),
    (lambda t: chain([group(t.a.s(), t.b.s())]), "group([a(), b()])"),
    (lambda t: chain(group(t.a.s()), t.b.s()), "a() | b()"),
    (lambda t: group(t.a.s()) | t.b.s(), "%b([a()])"),
    (lambda t: group(t.a.s(), t.b.s()) | group(), "group([a(), b()])"),
    (lambda t: chain(group(), t.a.s(), t.b.s()), "a() | b()"),
    (lambda t: group(t.a.s() | t.b.s(), t.c.s() | t.d.s()) | t.e.s(), "%e([a() | b(), c() | d()])"),
    (
        lambda t: group(t.a.s(), t.b.s()) | group(t.c.s(), t.d.s()),
        "%litequeue.group([a(), b()], tasks=[c(), d()])",
    ),
    (
        lambda t: group(t.a.s(), t.b.s()) | group(t.c.s(), t.d.s()) | t.e.s(),
        "%litequeue.chord([a(), b()], kwargs={}, header=[c(), d()], body=e())",
    ),
    (lambda t: group(group(t.a.s(), t.b.s()), t.c.s()), "group([group([a(), b()]), c()])"),
    # groups between
    (lambda t: t.a.s() | group(t.b.s(), t.c.s()) | t.d.s(), "a() | %d([b(), c()])"),
    (lambda t: t.a.s() | group(t.b.s(), t.c.s()) | t.d.s() | t.e.s(), "a() | %(d([b(), c()]) | e())"),
    (
        lambda t: t.a.s() | group(t.b.s(), t.c.s()) | group(t.d.s(), t.e.s()),
        "a() | group([b(), c()]) | group([d(), e()])",
    ),
    (
        lambda t: t.a.s() | group(t.b.s(), t.c.s()) | group(t.d.s(), t.e.s()) | t.f.s(),
        "a() | group([b(), c()]) | %f([d(), e()])",
    ),
    # chords
    (lambda t: chord([t.a.s(), t.b.s()], t.c.s()) | t.d.s(), "%(c([a(), b()]) | d())"),
    (lambda t: chord([t.a.s()], t.b.s()) | group(t.c.s(), t.d.s()), "%b([a()]) | group([c(), d()])"),
    (lambda t: chord([t.a.s()], t.b.s()) | (t.c.s() | t.d.s()), "%b([a()]) | c() | d()"),
    (lambda t: chain(chord([t.a.s()], t.b.s()), t.c.s() | t.d.s()), "%(b([a()]) | c() | d())"),
    (lambda t: t.e.s() | chord([t.a.s()], t.b.s()) | (t.c.s() | t.d.s()), "e() | %(b([a()]) | c() | d())"),
    (lambda t: chord([t.a.s()], t.b.s()) | chord([t.c.s()], t.d.s()), "%(b([a()]) | %d([c()]))"),
    (lambda t: t.e.s() | chord([t.a.s()], t.b.s()) | chord([t.c.s()], t.d.s()), "e() | %b([a()]) | %d([c()])"),
    (lambda t: t.e.s() | chord([t.a.s()], t.b.s()) | group(t.c.s(), t.d.s()), "e() | %(b([a()]) | group([c(), d()]))"),
    (
        lambda t: chord([t.a.s()], t.b.s()) | group(t.c.s(), t.d.s()) | t.e.s(),
        "%(b([a()]) | %e([c(), d()]))",
    ),
    (lambda t: chord([t.a.s()], t.b.s()) | group(t.c.s() | t.d.s()), "%(b([a()]) | c() | d())"),
    (
        lambda t: chain(group(t.a.s(), t.b.s()), t.c.s(), group(t.d.s(), t.e.s()), t.f.s()),
        "%(c([a(), b()]) | %f([d(), e()]))",
    ),
]


@pytest.mark.parametrize(("make", "form"), FORMS, ids=[form for _, form in FORMS])
def test_canonical_forms(t: SimpleNamespace, make: Callable[[Any], Any], form: str) -> None:
    assert repr(make(t)) == form


def _random_wish(t: SimpleNamespace, rng: random.Random, depth: int) -> Any:
    kind = rng.choice(["task", "|", "chain", "group", "chord"]) if depth else "task"
    if kind == "task":
        return getattr(t, rng.choice("abcdef")).s(rng.randrange(10))
    if kind == "|":
        return _random_wish(t, rng, depth - 1) | _random_wish(t, rng, depth - 1)
    parts = [_random_wish(t, rng, depth - 1) for _ in range(rng.randrange(1, 4))]
    if kind == "chord":
        return chord(parts, _random_wish(t, rng, depth - 1))
    return {"chain": chain, "group": group}[kind](parts)


@pytest.mark.parametrize("seed", range(60))
def test_chain_is_the_same_as_the_operator(t: SimpleNamespace, seed: int) -> None:
    rng = random.Random(seed)
    parts = [_random_wish(t, rng, 3) for _ in range(6)]
    whole = chain(*parts)
    assert whole == reduce(or_, parts[1:], chain() | parts[0])
    assert whole == chain(parts) == chain(iter(parts))
    assert repr(whole) == repr(chain(*parts))


@pytest.mark.parametrize("other", [None, 3, "a", {"task": "a"}, {}])
def test_only_signatures_are_joined(t: SimpleNamespace, other: Any) -> None:
    for left in (t.a.s(), t.a.s() | t.b.s(), group(t.a.s(), t.b.s()), chord([t.a.s()], t.b.s())):
        for join in (lambda left: left | other, lambda left: other | left):
            with pytest.raises(TypeError):
                join(left)
        joined = left
        with pytest.raises(TypeError):
            joined |= other


def test_a_signature_is_not_multiplied(t: SimpleNamespace) -> None:
    with pytest.raises(TypeError):
        t.a.s() * 3


def test_the_left_one_is_copied_and_the_right_one_taken(t: SimpleNamespace) -> None:
    a, b, c = t.a.s(), t.b.s(), t.c.s()
    two = a | b
    three = two | c
    assert [task is given for task, given in zip(two.tasks, (a, b), strict=True)] == [True, True]
    assert [task is given for task, given in zip(three.tasks, (a, b, c), strict=True)] == [False, False, True]
    three.tasks[0].set(queue="q")
    assert a.options == {}


def test_in_place_joining_leaves_the_original(t: SimpleNamespace) -> None:
    first = before = t.a.s() | t.b.s()
    first |= t.c.s()
    assert (repr(before), repr(first)) == ("a() | b()", "a() | b() | c()")


def test_chains_that_begin_alike_do_not_see_each_other(t: SimpleNamespace) -> None:
    start = t.a.s() | t.b.s() | t.c.s()
    one, other = start | t.d.s(), start | t.e.s()
    further = one | t.f.s()
    assert [repr(each) for each in (start, one, other, further)] == [
        "a() | b() | c()",
        "a() | b() | c() | d()",
        "a() | b() | c() | e()",
        "a() | b() | c() | d() | f()",
    ]
    one.tasks[0].set(queue="q")
    one.tasks.append(t.a.s())
    for each in (start, other, further, start | t.d.s()):
        assert each.tasks[0].options == {}
    assert repr(further) == "a() | b() | c() | d() | f()"
    assert repr(one | t.b.s()) == "a() | b() | c() | d() | a() | b()"


def test_threads_may_go_on_from_one_chain(t: SimpleNamespace) -> None:
    start = t.a.s() | t.b.s() | t.c.s()
    wrong: list[str] = []
    ready = threading.Barrier(4)

    def go_on(task: Any) -> None:
        ready.wait()
        for number in range(300):
            text = repr(start | task.s(number) | task.s(number))
            name = task.name
            if text != f"a() | b() | c() | {name}({number}) | {name}({number})" or len(start.tasks) != 3:
                wrong.append(text)

    threads = [threading.Thread(target=go_on, args=(task,)) for task in (t.a, t.b, t.d, t.e)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_said_of_a_chain_goes_with_its_steps(t: SimpleNamespace) -> None:
    inner = chain(t.a.s(1), t.b.s()).set(queue="q", task_id="last")
    inner.link(t.c.s())
    inner.link_error(t.d.s())
    for whole in (inner | t.e.s(), t.f.s() | inner, chain(t.f.s(), inner, t.e.s())):
        a, b = (next(step for step in whole.tasks if step.task == name) for name in "ab")
        assert a.options == {"queue": "q", "link_error": [t.d.s()]}
        assert b.options == {"task_id": "last", "link": [t.c.s()], "link_error": [t.d.s()]}
        assert whole.options == {}
    assert (inner.options["queue"], inner.tasks[0].options) == ("q", {})


def test_arguments_of_a_chain_go_with_its_first_step(t: SimpleNamespace) -> None:
    inner = chain(t.a.s(1), t.b.s()).clone((7,), {"x": 1})
    assert repr(inner | t.c.s()) == repr(chain(inner, t.c.s())) == "a(7, 1, x=1) | b() | c()"
    fixed = chain(t.a.s(1), t.b.s())
    fixed.set_immutable(True)
    assert [step.immutable for step in (fixed | t.c.s()).tasks] == [True, False, False]


def test_the_errbacks_of_an_inner_chain_are_one_for_each_step(t: SimpleNamespace) -> None:
    inner = chain(t.a.s(), t.b.s())
    inner.link_error(t.c.s())
    first, second, _ = (inner | t.d.s()).tasks
    assert first.options["link_error"] == second.options["link_error"]
    assert first.options["link_error"][0] is not second.options["link_error"][0]


def test_a_chain_with_options_keeps_its_steps_as_they_are(t: SimpleNamespace) -> None:
    whole = chain(group(t.a.s(), t.b.s()), t.c.s(), task_id="x")
    assert (type(whole), whole.options, repr(whole)) == (chain, {"task_id": "x"}, "group([a(), b()]) | c()")


def test_a_subclass_of_chain_stays_one(t: SimpleNamespace) -> None:
    class Mine(chain):
        pass

    assert [type(whole) for whole in (Mine(t.a.s(), t.b.s()), Mine(t.a.s()), Mine(t.a.s(), t.b.s()) | t.c.s())] == [
        Mine,
        Mine,
        Mine,
    ]
