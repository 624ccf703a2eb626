"""Groups: what they are made of, and those of generators."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group

from .letters import letters, plain


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


class Counted:
    """Signatures of a task, one by one; knows how many have been asked for."""

    def __init__(self, task: Any, number: int) -> None:
        self.task = task
        self.number = number
        self.given = 0

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.number):
            self.given += 1
            yield self.task.s(index)


def test_what_a_group_is_made_of(t: SimpleNamespace) -> None:
    a, b = t.a.s(), t.b.s()
    for whole in (
        group(a, b),
        group([a, b]),
        group((a, b)),
        group(iter([a, b])),
        group(group(a, b)),
        group({0: a, 1: b}.values()),
    ):
        assert whole == group(a, b)
        assert [part is given for part, given in zip(whole.tasks, (a, b), strict=True)] == [True, True]
        assert len(whole) == 2
        assert whole
    assert (group().tasks, len(group()), bool(group()), repr(group())) == ([], 0, False, "group(<empty>)")
    single = group(a)
    assert single.tasks == [a]
    assert single.tasks[0] is not a


def test_a_group_has_options(t: SimpleNamespace) -> None:
    assert group(t.a.s(), queue="q", task_id="x").options == {"queue": "q", "task_id": "x"}
    assert group([t.a.s()]).set(queue="q").clone().options == {"queue": "q"}


def test_link_is_for_the_first_member(t: SimpleNamespace) -> None:
    whole = group(t.a.s(), t.b.s())
    whole.link(t.c.s(1))
    assert whole.tasks[0].options == {"link": [t.c.si(1)]}
    assert whole.tasks[1].options == {}
    with pytest.raises(ValueError, match="no member"):
        group().link(t.c.s())


def test_link_error_is_for_every_member(t: SimpleNamespace) -> None:
    whole, errback = group(t.a.s(), t.b.s()), t.c.s()
    assert whole.link_error(errback) == (errback, errback)
    linked = [part.options["link_error"] for part in whole.tasks]
    assert linked == [[errback], [errback]]
    assert linked[0][0] is not linked[1][0]
    assert group().link_error(errback) == ()


def test_a_group_takes_no_links_when_it_is_sent(t: SimpleNamespace) -> None:
    for option in ("link", "link_error"):
        with pytest.raises(TypeError, match=f"{option}.*chord"):
            group(t.a.s()).apply_async(**{option: t.b.s()})


def test_immutable_is_for_every_member(t: SimpleNamespace) -> None:
    for whole in (group(t.a.s(), t.b.s()), group(task.s() for task in (t.a, t.b))):
        whole.set_immutable(True)
        assert [part.immutable for part in whole.tasks] == [True, True]
        assert whole.immutable is False
        whole.set(immutable=False)
        assert [part.immutable for part in whole.tasks] == [False, False]


@pytest.mark.parametrize(
    ("given", "countdowns"),
    [
        ({}, [1, 2, 3, 4]),
        ({"start": 0, "step": 0.5}, [0, 0.5, 1, 1.5]),
        ({"start": 1, "stop": 2}, [1, 2, 2, 2]),
        ({"start": 2, "stop": 10, "step": 3}, [2, 5, 8, 8]),
    ],
)
def test_skew_starts_one_after_the_other(t: SimpleNamespace, given: dict[str, float], countdowns: list[float]) -> None:
    for whole in (group([t.a.s()] * 4).clone(), group(t.a.s() for _ in range(4))):
        assert whole.skew(**given) is whole
        assert [part.options["countdown"] for part in whole.tasks] == countdowns


# Of a generator


def test_making_and_joining_asks_a_generator_for_nothing(t: SimpleNamespace) -> None:
    many = Counted(t.a, 1000)
    whole = group(iter(many))
    body = chord(whole, t.b.s())
    again = group(whole)
    other = whole.clone()
    chord(whole.clone(), t.b.s()).clone()
    assert many.given == 0
    assert repr(whole) == "group([...])"
    assert (many.given, len(body.tasks), len(again.tasks), len(other.tasks)) == (0, 1000, 1000, 1000)
    assert many.given == 1000


def test_what_must_be_known_is_asked_for(t: SimpleNamespace) -> None:
    for join, asked in (
        (bool, 1),
        (lambda whole: whole.tasks[2], 3),
        (lambda whole: whole.app, 1),
        (lambda whole: whole | t.b.s(), 0),
        (lambda whole: t.b.s() | whole, 2),
        (lambda whole: chain(t.b.s(), whole, t.b.s()), 2),
        (lambda whole: chain(whole, t.b.s()), 2),
        (lambda whole: whole.link(t.b.s()), 1),
        (lambda whole: whole.stamp(x=1), 0),
        (lambda whole: whole.skew(), 0),
        (lambda whole: whole.set_immutable(True), 0),
    ):
        many = Counted(t.a, 1000)
        join(group(iter(many)))
        assert many.given == asked


def test_what_is_said_of_the_group_is_said_of_members_to_come(t: SimpleNamespace) -> None:
    whole = group(t.a.s(number) for number in range(4))
    assert whole.tasks[0].options == {}
    whole.stamp(x=1)
    whole.skew()
    whole.set_immutable(True)
    copied = whole.clone()
    for parts in (whole.tasks, copied.tasks):
        assert [(part.args, part.immutable, part.options) for part in parts] == [
            ((number,), True, {"stamped_headers": ["x"], "x": 1, "countdown": number + 1}) for number in range(4)
        ]


def test_members_of_a_generator_are_given_once_for_sending(t: SimpleNamespace) -> None:
    whole = group(t.a.s(number) for number in range(4))
    assert whole.tasks[0].args == (0,)
    assert [part.args for part in whole.iter_tasks()] == [(0,), (1,), (2,), (3,)]
    for look in (
        len,
        lambda whole: list(whole.tasks),
        lambda whole: list(whole.iter_tasks()),
        bool,
        lambda whole: whole.clone().tasks[0],
    ):
        with pytest.raises(RuntimeError, match="used up"):
            look(whole)
    listed = group([t.a.s(), t.b.s()])
    looked_at = group(iter([t.a.s(), t.b.s()]))
    assert len(looked_at) == 2
    for each in (listed, looked_at, looked_at.clone()):
        assert list(each.iter_tasks()) == list(each.iter_tasks()) == listed.tasks


def test_a_copy_of_a_generators_group_is_given_once_as_well(t: SimpleNamespace) -> None:
    whole = group(t.a.s(number) for number in range(3))
    copied = whole.clone().clone()
    assert [part.args for part in copied.iter_tasks()] == [(0,), (1,), (2,)]
    with pytest.raises(RuntimeError, match="used up"):
        len(whole)


def test_a_generator_that_raises_never_passes_for_a_short_one(t: SimpleNamespace) -> None:
    def failing() -> Iterator[Any]:
        yield t.a.s()
        raise KeyError("source")

    whole = group(failing())
    for look in (len, list, lambda tasks: tasks[5], lambda tasks: [*tasks]):
        with pytest.raises(KeyError, match="source"):
            look(whole.tasks)
    with pytest.raises(TypeError, match="made of signatures"):
        len(group(each for each in [t.a.s(), 5]))


def test_the_list_of_a_generator_is_a_list(t: SimpleNamespace) -> None:
    def tasks() -> Any:
        return group(t.a.s(number) for number in range(4)).tasks

    expected = [t.a.s(number) for number in range(4)]
    assert isinstance(tasks(), list)
    assert tasks() == expected
    assert expected == tasks()
    assert tasks() != [*expected, 1]
    assert [*expected, 1] != tasks()
    assert tasks()[-1] == expected[-1]
    assert tasks()[1:3] == expected[1:3]
    assert expected[2] in tasks()
    one: list[Any] = [1]
    assert tasks() + one == [*expected, 1]
    assert one + tasks() == [1, *expected]
    assert list(reversed(tasks())) == expected[::-1]
    assert tasks().copy() == [*tasks()] == expected
    assert tasks().index(expected[2]) == 2
    changed = tasks()
    changed += [1]
    changed.append(2)
    changed[0] = 0
    del changed[1]
    assert changed == [0, *expected[2:], 1, 2]
    assert changed.pop() == 2
    both = tasks()
    assert list(zip(both, both, strict=True)) == list(zip(expected, expected, strict=True))
    assert pickle.loads(pickle.dumps(tasks())) == expected
    assert json.loads(json.dumps(tasks())) == plain(expected)
