"""Chords: header, body, links."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group

from .letters import letters


@pytest.fixture
def t(app: LiteQueue) -> SimpleNamespace:
    return letters(app)


def test_kinds_of_header(t: SimpleNamespace) -> None:
    a, b, body = t.a.s(), t.b.s(), t.c.s()
    whole = chord([a, b], body)
    for header in ((a, b), group(a, b), iter([a, b]), group(iter([a, b])), [dict(a), t.b], dict(group(a, b))):
        assert chord(header, body) == whole
        assert chord(header=header if not isinstance(header, Iterator) else [a, b], body=body) == whole
    assert whole.tasks == whole.header == whole.header_tasks == [a, b]
    assert chord(a, body) == chord([a], body)
    assert chord([], body).tasks == []
    assert whole.body is body


def test_the_steps_of_a_chain_are_its_tasks_as_in_celery(t: SimpleNamespace) -> None:
    assert chord(t.a.s() | t.b.s(), t.c.s()) == chord([t.a.s(), t.b.s()], t.c.s())


def test_the_header_is_not_the_list_it_was_made_of(t: SimpleNamespace) -> None:
    tasks = [t.a.s()]
    members = group(tasks)
    steps = t.a.s() | t.b.s()
    for header in (tasks, members, steps):
        chord(header, t.b.s()).tasks.append(t.c.s())
    assert (len(tasks), len(members), len(steps.tasks)) == (1, 1, 2)


def test_a_group_with_options_stays_one(t: SimpleNamespace) -> None:
    whole = group(t.a.s(), t.b.s()).set(queue="q") | t.c.s()
    assert isinstance(whole.tasks, group)
    assert whole.tasks.options == {"queue": "q"}
    assert whole.header_tasks == [t.a.s(), t.b.s()]
    assert whole.clone() == whole


@pytest.mark.parametrize(
    "use",
    [
        lambda whole: whole(),
        lambda whole: whole.delay(),
        lambda whole: whole.apply_async(),
        lambda whole: whole.apply(),
        lambda whole: whole.freeze(),
        lambda whole: whole.link(None),
        lambda whole: whole.link_error(whole.tasks[0]),
        lambda whole: whole | whole.tasks[0],
        lambda whole: chain(whole.tasks[0], whole).freeze(),
    ],
)
def test_without_a_body_it_is_an_error_that_names_it(t: SimpleNamespace, use: Any) -> None:
    whole = chord([t.a.s(3)])
    assert repr(whole) == "<chord without body: [a(3)]>"
    with pytest.raises(ValueError, match=r"needs a body.*\[a\(3\)\]"):
        use(whole)


def test_link_is_for_the_body(t: SimpleNamespace) -> None:
    whole, callback = chord([t.a.s()], t.b.s()), t.c.s()
    assert whole.link(callback) is callback
    assert (whole.body.options, whole.tasks[0].options, whole.options) == ({"link": [callback]}, {}, {})


@pytest.mark.parametrize("on_header", [False, True])
@pytest.mark.parametrize("lazy", [False, True])
def test_link_error_is_for_the_body_and_if_told_so_the_header(
    app: LiteQueue, t: SimpleNamespace, on_header: bool, lazy: bool
) -> None:
    app.conf.task_allow_error_cb_on_chord_header = on_header
    inner = chord([t.d.s()], t.e.s())
    header = [t.a.s(), inner]
    whole, errback = chord(iter(header) if lazy else header, t.b.s()), t.c.s(1)
    assert whole.link_error(errback) is errback
    first, second = whole.tasks
    assert whole.body.options == {"link_error": [errback]}
    assert first.options == ({"link_error": [errback]} if on_header else {})
    # Celery links it to a chord in the header in any case; here that would call it twice.
    assert second.body.options == ({"link_error": [errback]} if on_header else {})
    assert second.tasks[0].options == second.body.options
    assert first.options.get("link_error", [None])[0] is not errback


def test_immutable_is_for_the_header(t: SimpleNamespace) -> None:
    whole = chord([t.a.s(), t.b.s()], t.c.s())
    whole.set_immutable(True)
    assert [part.immutable for part in whole.tasks] == [True, True]
    assert whole.body.immutable is False


def test_on_header_error_is_kept(t: SimpleNamespace) -> None:
    for asked in ("run_body", "fail", None):
        whole = chord([t.a.s()], t.b.s(), on_header_error=asked)
        assert whole.clone().options == {"on_header_error": asked}
    with pytest.raises(ValueError, match="'sometimes'"):
        chord([t.a.s()], t.b.s(), on_header_error="sometimes")


def test_parts_can_be_replaced(t: SimpleNamespace) -> None:
    whole = chord([t.a.s()], t.b.s())
    whole.tasks = (t.c.s(), t.d)
    whole.body = dict(t.e.s())
    assert repr(whole) == "%e([c(), d()])"
    whole.tasks = group(t.a.s())
    assert isinstance(whole.tasks, group)
    assert list(whole.iter_header()) == [t.a.s()]


def test_text(t: SimpleNamespace, app: LiteQueue) -> None:
    add, total = (app.task(lambda *args: 0, name=f"proj.tasks.{name}") for name in ("add", "total"))
    whole = chord([add.s(1), add.s(2)], total.s(x=1) | add.s(3))
    assert repr(whole) == "%(proj.tasks.total([add(1), add(2)], x=1) | add(3))"
    assert repr(group(add.s(1), total.s())) == "group([proj.tasks.add(1), total()])"
    assert repr(add.s(1) | total.s()) == "proj.tasks.add(1) | total()"
