"""From a canvas to rows: what waits for what, and which rows are members of which group."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group
from litequeue.canvas.spool import IN_MEMORY, Spool
from litequeue.core.records import NewTask
from litequeue.core.ties import read_errbacks
from tests.canvas.planning import drawn, label, planned

Give = Callable[..., Any]


@pytest.fixture(params=["quickly", "with options"])
def s(request: pytest.FixtureRequest, tasks: SimpleNamespace) -> Give:
    """Signatures of a task, with and without an option that takes the longer way."""
    if request.param == "quickly":
        return tasks.give.s  # type: ignore[no-any-return]
    return lambda name: tasks.give.s(name).set(headers={"x": 1})


def test_a_task_alone_has_no_ties(app: LiteQueue, s: Give) -> None:
    assert drawn(app, s("a")) == ["a"]


FORMS: dict[str, tuple[Callable[[Give], Any], list[str]]] = {
    "chain": (
        lambda s: chain(s("a"), s("b"), s("c")),
        ["a feeds leads", "b <then a> feeds leads", "c <then b>"],
    ),
    "chain of chains": (
        lambda s: chain(chain(s("a"), s("b")), chain(s("c"), s("d"))),
        ["a feeds leads", "b <then a> feeds leads", "c <then b> feeds leads", "d <then c>"],
    ),
    "group": (
        lambda s: group(s("a"), s("b")),
        ["a G1[0] member", "b G1[1] member", "G1 of 2"],
    ),
    "group in a group": (
        lambda s: group(s("a"), group(s("b"), group(s("c"))), s("d")),
        ["a G1[0] member", "b G1[1] member", "c G1[2] member", "d G1[3] member", "G1 of 4"],
    ),
    "empty parts of a group": (
        lambda s: group(group(), s("a"), chain(), s("b")),
        ["a G1[0] member", "b G1[1] member", "G1 of 2"],
    ),
    "chord": (
        lambda s: chord([s("a"), s("b")], s("c")),
        ["a G1[0] feeds member", "b G1[1] feeds member", "c <body G1>", "G1 of 2"],
    ),
    "chord of one": (
        lambda s: chord([s("a")], s("b")),
        ["a G1[0] feeds member", "b <body G1>", "G1 of 1"],
    ),
    "group|task": (
        lambda s: group(s("a"), s("b")) | s("c"),
        ["a G1[0] feeds member", "b G1[1] feeds member", "c <body G1>", "G1 of 2"],
    ),
    "group|group": (
        lambda s: group(s("a"), s("b")) | group(s("c"), s("d")),
        [
            "a G1[0] feeds member",
            "b G1[1] feeds member",
            "c <body G1> G2[0] member",
            "d <body G1> G2[1] member",
            "G1 of 2",
            "G2 of 2",
        ],
    ),
    "chain that begins with a group of one": (
        lambda s: chain(group(s("a")), s("b")),
        ["a feeds leads", "b <then a>"],
    ),
    "chain with an empty group": (
        lambda s: chain(s("a"), group(), s("b")),
        ["a feeds leads", "b <then a>"],
    ),
    "chain of one": (lambda s: chain(s("a")), ["a"]),
    "task|group|task": (
        lambda s: s("a") | group(s("b"), s("c")) | s("d"),
        [
            "a feeds leads",
            "b <then a> G1[0] feeds member",
            "c <then a> G1[1] feeds member",
            "d <body G1>",
            "G1 of 2",
        ],
    ),
    "chord|task": (
        lambda s: chord([s("a")], s("b")) | s("c"),
        ["a G1[0] feeds member", "b <body G1> feeds leads", "c <then b>", "G1 of 1"],
    ),
    "chord|group": (
        lambda s: chord([s("a")], s("b")) | group(s("c"), s("d")),
        [
            "a G1[0] feeds member",
            "b <body G1> feeds leads",
            "c <then b> G2[0] member",
            "d <then b> G2[1] member",
            "G1 of 1",
            "G2 of 2",
        ],
    ),
    "chain in a group": (
        lambda s: group(chain(s("a"), s("b")), s("c")),
        ["a feeds leads", "b <then a> G1[0] member", "c G1[1] member", "G1 of 2"],
    ),
    "chain that ends in a group, in a group": (
        lambda s: group(chain(s("a"), group(s("b"), s("c"))), s("d")),
        [
            "a feeds leads",
            "b <then a> G1[0] member",
            "c <then a> G1[1] member",
            "d G2[1] member",
            "G1 of 2 G2[0]",
            "G2 of 2",
        ],
    ),
    "chord in a header": (
        lambda s: chord([chord([s("a")], s("b")), s("c")], s("d")),
        [
            "a G1[0] feeds member",
            "b <body G1> G2[0] feeds member",
            "c G2[1] feeds member",
            "d <body G2>",
            "G1 of 1",
            "G2 of 2",
        ],
    ),
    "chord as a body": (
        lambda s: chord([s("a")], chord([s("b")], s("c"))),
        [
            "a G1[0] feeds member",
            "b <body G1> G2[0] feeds member",
            "c <body G2>",
            "G1 of 1",
            "G2 of 1",
        ],
    ),
    "two chords in a row": (
        lambda s: chain(chord([s("a")], s("b")), chord([s("c")], s("d"))),
        [
            "a G1[0] feeds member",
            "b <body G1> feeds leads",
            "c <then b> G2[0] feeds member",
            "d <body G2>",
            "G1 of 1",
            "G2 of 1",
        ],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_canonical_forms(app: LiteQueue, s: Give, form: str) -> None:
    make, lines = FORMS[form]
    assert drawn(app, make(s)) == lines


@pytest.mark.parametrize("form", FORMS)
def test_a_canvas_from_its_json_is_planned_alike(app: LiteQueue, s: Give, form: str) -> None:
    make, lines = FORMS[form]
    assert drawn(app, json.loads(json.dumps(make(s)))) == lines


@pytest.mark.parametrize("form", FORMS)
def test_a_frozen_canvas_is_planned_alike(app: LiteQueue, s: Give, form: str) -> None:
    make, lines = FORMS[form]
    canvas = make(s)
    canvas.freeze()
    assert drawn(app, canvas) == lines


@pytest.mark.parametrize("form", FORMS)
def test_planning_changes_no_signature(app: LiteQueue, s: Give, form: str) -> None:
    canvas = FORMS[form][0](s)
    before = json.dumps(canvas)
    drawn(app, canvas, countdown=3)
    assert json.dumps(canvas) == before


class TestInput:
    """Who takes the value of what it waits for, and for whom a value is kept."""

    def test_an_immutable_step_takes_none(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        canvas = chain(tasks.give.s("a"), tasks.give.si("b"), tasks.give.s("c"))
        assert drawn(app, canvas) == ["a leads", "b (then a) feeds leads", "c <then b>"]

    def test_an_immutable_body_takes_none(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        assert drawn(app, chord([tasks.give.s("a")], tasks.give.si("b"))) == [
            "a G1[0] member",
            "b (body G1)",
            "G1 of 1",
        ]

    def test_members_of_a_group_take_each_their_own(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        canvas = chain(tasks.give.s("a"), group(tasks.give.s("b"), tasks.give.si("c")))
        assert drawn(app, canvas)[1:3] == ["b <then a> G1[0] member", "c (then a) G1[1] member"]

    def test_the_body_of_an_empty_header_gets_an_empty_list(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        (row,) = planned(app, chord([], tasks.give.s("a"))).rows
        assert (json.loads(row.payload)[0], row.after, row.takes_input) == ([[], "a"], None, 0)

    def test_an_empty_header_in_a_chain(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        first, body = planned(app, chain(tasks.give.s("a"), chord([], tasks.give.s("b")))).rows
        assert (body.after, body.edge, body.takes_input) == (first.id, "then", 0)
        assert json.loads(body.payload)[0] == [[], "b"]


class TestLinks:
    """Callbacks and error callbacks."""

    def test_a_callback_waits_for_its_task(self, app: LiteQueue, s: Give) -> None:
        a = s("a")
        a.link(s("b"))
        assert drawn(app, a) == ["a feeds leads", "b <link a>"]

    def test_the_callback_of_a_callback(self, app: LiteQueue, s: Give) -> None:
        a, b = s("a"), s("b")
        b.link(s("c"))
        a.link(b)
        assert drawn(app, a) == ["a feeds leads", "b <link a> feeds leads", "c <link b>"]

    def test_a_canvas_as_callback(self, app: LiteQueue, s: Give) -> None:
        a = s("a")
        a.link(chord([s("b"), s("c")], s("d")))
        assert drawn(app, a) == [
            "a feeds leads",
            "b <link a> G1[0] feeds member",
            "c <link a> G1[1] feeds member",
            "d <body G1>",
            "G1 of 2",
        ]

    def test_a_link_of_a_chain_is_for_its_last_step(self, app: LiteQueue, s: Give) -> None:
        canvas = chain(s("a"), s("b"))
        canvas.link(s("c"))
        assert drawn(app, canvas) == ["a feeds leads", "b <then a> feeds leads", "c <link b>"]

    def test_a_link_of_an_inner_chain_is_for_its_own_last_step(self, app: LiteQueue, s: Give) -> None:
        inner = chain(s("a"), s("b"))
        inner.link(s("c"))
        assert drawn(app, chain(inner, s("d"))) == [
            "a feeds leads",
            "b <then a> feeds leads",
            "d <then b>",
            "c <link b>",
        ]

    def test_a_link_of_a_group_is_for_its_first_member_and_takes_nothing(self, app: LiteQueue, s: Give) -> None:
        canvas = group(s("a"), s("b"))
        canvas.link(s("c"))
        assert drawn(app, canvas) == ["a G1[0] leads member", "b G1[1] member", "c (link a)", "G1 of 2"]

    def test_a_link_of_a_chord_is_for_its_body(self, app: LiteQueue, s: Give) -> None:
        canvas = chord([s("a")], s("b"))
        canvas.link(s("c"))
        assert drawn(app, canvas) == ["a G1[0] feeds member", "b <body G1> feeds leads", "c <link b>", "G1 of 1"]

    def test_in_the_options_of_the_call(self, app: LiteQueue, s: Give) -> None:
        lines = drawn(app, chain(s("a"), s("b")), link=[s("c")], link_error=s("e"))
        assert lines == ["a feeds leads errbacks", "b <then a> feeds leads errbacks", "c <link b>"]

    def test_error_callbacks_of_a_chain_are_for_each_step(self, app: LiteQueue, s: Give) -> None:
        canvas = chain(s("a"), group(s("b"), s("c")), s("d"))
        canvas.link_error(s("e"))
        ties = [line.split()[-1] for line in drawn(app, canvas)[:4]]
        assert ties == ["errbacks", "member", "member", "errbacks"]  # of the header, the body is told

    def test_error_callbacks_of_a_header_where_the_setting_wants_them(self, app: LiteQueue, s: Give) -> None:
        app.conf.task_allow_error_cb_on_chord_header = True
        canvas = chain(s("a"), group(s("b"), s("c")), s("d"))
        canvas.link_error(s("e"))
        assert [line.split()[-1] for line in drawn(app, canvas)[:4]] == ["errbacks"] * 4

    def test_an_error_callback_is_kept_as_a_row_without_an_id(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        eb = tasks.give.s("e").set(queue="errors", priority=7, countdown=3, task_id="x")
        (row,) = planned(app, tasks.give.s("a"), link_error=[eb]).rows
        (kept,) = read_errbacks(row.errbacks)
        assert (kept.id, kept.name, kept.queue, kept.priority, kept.takes_input) == ("", "give", "errors", 7, 1)
        assert (kept.countdown, kept.run_at, kept.after, kept.reply_port) == (3, None, None, None)
        assert label(kept) == "e"

    def test_a_canvas_as_error_callback_is_started_by_a_task(self, app: LiteQueue, s: Give) -> None:
        (row,) = planned(app, s("a"), link_error=[chain(s("e"), s("f"))]).rows
        (kept,) = read_errbacks(row.errbacks)
        assert kept.name == "litequeue.start"

    def test_one_error_callback_of_many_tasks_is_encoded_once(self, app: LiteQueue, s: Give) -> None:
        canvas = chain(*(s(str(number)) for number in range(5)))
        canvas.link_error(s("e"))
        texts = {id(row.errbacks) for row in planned(app, canvas).rows}
        assert len(texts) == 1


class TestTimes:
    """Seconds of a row that waits count from its release; a time stays a time."""

    def test_countdown_and_expires_of_a_step(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        later = tasks.give.s("b").set(countdown=5, expires=60)
        _, second = planned(app, chain(tasks.give.s("a"), later)).rows
        assert (second.run_at, second.countdown, second.expires_at, second.lifetime) == (None, 5, None, 60)

    def test_times_of_a_step(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        later = tasks.give.s("b").set(eta="2040-01-01T00:00:00+00:00", expires="2041-01-01T00:00:00+00:00")
        _, second = planned(app, chain(tasks.give.s("a"), later)).rows
        assert (second.run_at, second.countdown) == (2208988800.0, None)
        assert (second.expires_at, second.lifetime) == (2240611200.0, None)

    def test_of_the_first_step_they_count_from_now(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        (row,) = planned(app, tasks.give.s("a"), countdown=100, expires=200).rows
        assert row.run_at is not None and row.expires_at is not None
        assert (row.countdown, row.lifetime) == (None, None)
        assert 99 < row.expires_at - row.run_at < 101


class TestOptions:
    """For whom the options of a composed signature are."""

    def queues(self, app: LiteQueue, canvas: Any, **options: Any) -> dict[str, str]:
        return {label(row): row.queue for row in planned(app, canvas, **options).rows}

    def test_of_a_chain_for_its_first_step(self, app: LiteQueue, s: Give) -> None:
        canvas = chain(s("a"), s("b"))
        assert self.queues(app, canvas, queue="q") == {"a": "q", "b": "celery"}
        assert self.queues(app, canvas.set(queue="q")) == {"a": "q", "b": "celery"}

    def test_of_a_group_for_every_member_over_its_own(self, app: LiteQueue, s: Give) -> None:
        canvas = group(s("a").set(queue="own"), chain(s("b"), s("c")))
        assert self.queues(app, canvas, queue="q") == {"a": "q", "b": "q", "c": "celery"}

    def test_of_a_chord_for_header_and_body(self, app: LiteQueue, s: Give) -> None:
        canvas = chord([s("a"), s("b")], s("c"))
        assert self.queues(app, canvas, queue="q") == {"a": "q", "b": "q", "c": "q"}

    def test_the_countdown_of_a_chord_is_for_its_header(self, app: LiteQueue, s: Give) -> None:
        *header, body = planned(app, chord([s("a"), s("b")], s("c")), countdown=50).rows
        assert all(row.run_at is not None for row in header)
        assert (body.run_at, body.countdown) == (None, None)

    def test_priority_is_ones_own(self, app: LiteQueue, s: Give) -> None:
        canvas = chain(s("a").set(priority=3), s("b"), s("c").set(priority=9))
        assert [row.priority for row in planned(app, canvas).rows] == [3, 0, 9]

    def test_inherited_priority(self, app: LiteQueue, s: Give) -> None:
        app.conf.task_inherit_parent_priority = True
        canvas = chain(s("a").set(priority=3), s("b"), group(s("c").set(priority=9), s("d")), s("e"))
        assert [row.priority for row in planned(app, canvas).rows] == [3, 3, 9, 3, 3]

    def test_stamps(self, app: LiteQueue, s: Give) -> None:
        canvas = chain(s("a"), s("b"))
        canvas.stamp(tenant="x", sizes=[1, 2])
        assert {row.stamps for row in planned(app, canvas).rows} == {'{"sizes":[1,2],"tenant":"x"}'}

    def test_one_queue_for_many_members_is_found_once(self, app: LiteQueue, tasks: SimpleNamespace) -> None:
        asked: list[str] = []

        class Counting(type(app.router)):  # type: ignore[misc]
            def route(self, options: Any, name: str, *rest: Any, **more: Any) -> Any:
                asked.append(name)
                return super().route(options, name, *rest, **more)

        app.router.__class__ = Counting
        rows = planned(app, group(tasks.give.s(n) for n in range(50)), queue="q").rows
        assert {row.queue for row in rows} == {"q"}
        assert len(asked) == 1

    @pytest.mark.parametrize("tolerant", [None, "fail", "run_body"])
    def test_on_header_error(self, app: LiteQueue, s: Give, tolerant: Any) -> None:
        canvas = chord([s("a")], s("b"), **({} if tolerant is None else {"on_header_error": tolerant}))
        assert [group.tolerant for group in planned(app, canvas).groups] == [int(tolerant == "run_body")]
        assert [
            group.tolerant for group in planned(app, chord([s("a")], s("b")), on_header_error="run_body").groups
        ] == [1]


class TestLineage:
    """Roots, parents and groups, as Celery's requests show them."""

    def ids(self, app: LiteQueue, canvas: Any, **options: Any) -> dict[str, tuple[Any, Any]]:
        rows = list(planned(app, canvas, **options).rows)
        names = {row.id: label(row) for row in rows}
        return {label(row): (names.get(str(row.root_id)), names.get(str(row.parent_id))) for row in rows}

    def test_of_a_chain(self, app: LiteQueue, s: Give) -> None:
        assert self.ids(app, chain(s("a"), s("b"), s("c"))) == {"a": (None, None), "b": ("a", "a"), "c": ("a", "b")}

    def test_of_a_group_each_its_own(self, app: LiteQueue, s: Give) -> None:
        assert self.ids(app, group(s("a"), s("b"))) == {"a": (None, None), "b": (None, None)}

    def test_behind_a_head(self, app: LiteQueue, s: Give) -> None:
        found = self.ids(app, chain(s("a"), group(s("b"), s("c")), s("d")))
        assert found == {"a": (None, None), "b": ("a", "a"), "c": ("a", "a"), "d": ("a", "c")}

    def test_a_body_is_called_by_a_member_of_its_header(self, app: LiteQueue, s: Give) -> None:
        assert self.ids(app, chord([s("a"), s("b")], s("c")))["c"] == ("b", "b")

    def test_a_callback_is_called_by_its_task(self, app: LiteQueue, s: Give) -> None:
        assert self.ids(app, s("a"), link=[s("b")])["b"] == ("a", "a")

    def test_given_ones(self, app: LiteQueue, s: Give) -> None:
        rows = list(planned(app, chain(s("a"), s("b")), root_id="r", parent_id="p").rows)
        assert [(row.root_id, row.parent_id) for row in rows] == [("r", "p"), ("r", rows[0].id)]


class TestIds:
    """Ids that are given, or were frozen."""

    def test_the_id_of_a_chain_is_that_of_its_last_step(self, app: LiteQueue, s: Give) -> None:
        rows = {label(row): row.id for row in planned(app, chain(s("a"), s("b")), task_id="x").rows}
        assert rows["b"] == "x"
        assert rows["a"] != "x"

    def test_the_id_of_a_group(self, app: LiteQueue, s: Give) -> None:
        planner = planned(app, group(s("a"), s("b")), task_id="x")
        assert [group.id for group in planner.groups] == ["x"]

    def test_the_id_of_a_chord_is_that_of_its_body(self, app: LiteQueue, s: Give) -> None:
        planner = planned(app, chord([s("a")], s("b")), task_id="x")
        assert [row.id for row in planner.rows if label(row) == "b"] == ["x"]
        assert planner.groups[0].id != "x"

    def test_frozen(self, app: LiteQueue, s: Give) -> None:
        canvas = chain(s("a"), chord([s("b"), chain(s("c"), s("d"))], s("e")), group(s("f"), s("g")))
        result = canvas.freeze()
        planner = planned(app, canvas)
        rows = {label(row): row.id for row in planner.rows}
        groups = {group.id for group in planner.groups}
        assert result.id in groups
        assert [member.id for member in result.results] == [rows["f"], rows["g"]]
        body = result.parent
        assert (body.id, body.parent.id in groups, body.parent.parent.id) == (rows["e"], True, rows["a"])
        assert [member.id for member in body.parent.results] == [rows["b"], rows["d"]]


class TestSpool:
    """Where rows are kept until they are written."""

    def rows(self, count: int) -> list[NewTask]:
        return [
            NewTask(f"id{number}", "t", "q", 0, b"\x00" if number % 2 else f"[[{number}],{{}}]", "json", run_at=1.5)
            for number in range(count)
        ]

    @pytest.mark.parametrize("count", [0, 1, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7])
    def test_it_gives_back_what_was_added_as_often_as_one_asks(self, count: int) -> None:
        rows, spool = self.rows(count), Spool()
        for row in rows:
            spool.append(row)
        assert len(spool) == count
        for _ in range(2):
            found = list(spool)
            assert found == rows
            assert all(type(row) is NewTask for row in found)

    def test_adding_while_and_after_reading(self) -> None:
        rows, spool = self.rows(2 * IN_MEMORY), Spool()
        for row in rows[: IN_MEMORY + 10]:
            spool.append(row)
        both = iter(spool), iter(spool)
        assert [next(both[0]), next(both[1])] == [rows[0], rows[0]]
        for row in rows[IN_MEMORY + 10 :]:
            spool.append(row)
        assert list(spool) == rows

    def test_closed_it_is_empty(self) -> None:
        spool = Spool()
        for row in self.rows(IN_MEMORY + 1):
            spool.append(row)
        spool.close()
        spool.close()
        assert list(spool) == []
