"""What can be seen of a canvas: parts, children, followers, and the whole of it."""

from __future__ import annotations

import pytest

from litequeue.core import state
from litequeue.core.records import Member, NewGroup, NewTask
from litequeue.core.ties import LINK
from tests.store.conftest import Driver, new_group, with_errbacks


def test_members_are_told_in_the_order_of_their_slots(driver: Driver) -> None:
    outer = new_group(3)
    inner = new_group(1, group_id=outer.id, group_index=1)
    first, last, part = driver.member(outer, 0), driver.member(outer, 2), driver.member(inner, 0)
    body = driver.then(outer, group_id=outer.id)
    driver.write(outer, inner, last, part, first, body)
    assert driver.store.members(outer.id) == [Member(first.id, False), Member(inner.id, True), Member(last.id, False)]
    assert driver.store.members(inner.id) == [Member(part.id, False)]
    assert driver.store.members("nobody") == []


def test_children_are_tasks_and_the_groups_that_were_called_as_such(driver: Driver) -> None:
    alone = driver.new(parent_id="father")
    group = new_group(2, parent_id="father")
    parts = [driver.member(group, index, parent_id="father") for index in range(2)]
    late = driver.new(parent_id="father")
    stranger = driver.member(new_group(1, parent_id="another"), 0, parent_id="father")
    driver.write(alone, group, *parts, late, stranger)
    assert driver.store.children("father") == [
        Member(alone.id, False),
        Member(group.id, True),
        Member(late.id, False),
        Member(stranger.id, False),
    ]


def test_followers_are_what_waits_and_what_waited_oldest_first(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    link = driver.then(first, edge=LINK)
    driver.write(with_errbacks(first, driver.new("eb")), second, link)
    assert [record.id for record in driver.store.followers(first.id)] == [second.id, link.id]
    driver.hand().fail(first)
    found = driver.store.followers(first.id)
    assert [(record.edge, record.state) for record in found] == [
        ("then", state.FAILED),
        ("link", state.FAILED),
        ("error", state.READY),
    ]
    members, group, body = driver.chord(1)
    driver.write(*members, group, body)
    assert [record.id for record in driver.store.followers(group.id)] == [body.id]


def tangle(driver: Driver) -> tuple[list[NewTask], list[NewGroup]]:
    """A chain, into a chord over a chain, a task with a link, and a group; then two more steps."""
    head = driver.new("head")
    outer = new_group(3)
    inner = new_group(2, group_id=outer.id, group_index=2)
    start = driver.then(head, name="start")
    tail = driver.member(outer, 0, name="tail")._replace(after=start.id, edge="then", takes_input=1)
    other = driver.member(outer, 1, name="other")._replace(after=head.id, edge="then", takes_input=1)
    link = driver.then(other, edge=LINK, name="link")
    parts = [driver.member(inner, n, name="part")._replace(after=head.id, edge="then", takes_input=1) for n in range(2)]
    body = driver.then(outer, name="body")
    last = driver.then(body, name="last")
    tasks = [head, start, tail, other, link, *parts, body, last]
    driver.write(*tasks, outer, inner)
    return tasks, [outer, inner]


def test_a_canvas_is_all_that_hangs_together_wherever_one_begins(driver: Driver) -> None:
    tasks, groups = tangle(driver)
    driver.write(*driver.chain("add", "add"))
    for begun in (*tasks, *groups):
        found = driver.store.canvas(begun.id)
        assert [node.id for node in found.tasks] == [task.id for task in tasks], "in the order they were enqueued"
        assert {group.id for group in found.groups} == {group.id for group in groups}
        assert found.complete
    node = found.tasks[2]
    assert (node.name, node.state, node.after, node.edge, node.group_id, node.group_index) == (
        "tail",
        state.WAITING,
        tasks[1].id,
        "then",
        groups[0].id,
        0,
    )


@pytest.mark.parametrize("limit", range(1, 9))
def test_a_canvas_that_is_larger_than_asked_for_says_so_and_begins_where_one_began(driver: Driver, limit: int) -> None:
    tasks, groups = tangle(driver)
    for begun in (*tasks, *groups):
        found = driver.store.canvas(begun.id, limit)
        assert len(found.tasks) == limit
        assert not found.complete
        if begun in tasks:
            assert begun.id in {node.id for node in found.tasks}


def test_a_canvas_of_just_the_limit_is_complete(driver: Driver) -> None:
    tasks, _ = tangle(driver)
    found = driver.store.canvas(tasks[0].id, len(tasks))
    assert (len(found.tasks), found.complete) == (len(tasks), True)


def test_a_canvas_of_many_is_found_whole_and_cut_in_time(driver: Driver) -> None:
    group = new_group(1500)
    heads = [driver.new() for _ in range(1500)]
    tails = [
        driver.member(group, index)._replace(after=head.id, edge="then", takes_input=1)
        for index, head in enumerate(heads)
    ]
    body = driver.then(group)
    driver.write(*heads, *tails, group, body)
    for begun in (body, heads[700], tails[3]):
        whole = driver.store.canvas(begun.id, 5000)
        assert (len(whole.tasks), whole.complete) == (3001, True)
        for limit in (1000, 1502, 3000):
            part = driver.store.canvas(begun.id, limit)
            assert (len(part.tasks), part.complete) == (limit, False)


def test_what_fired_belongs_to_the_canvas(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(with_errbacks(first, driver.new("eb"), driver.new("eb")), second)
    driver.hand().fail(first)
    found = driver.store.canvas(second.id)
    assert [node.edge for node in found.tasks] == [None, "then", "error", "error"]
    assert len(found.groups) == 1


def test_a_task_alone_and_nothing_at_all(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    found = driver.store.canvas(task_id)
    assert ([node.id for node in found.tasks], found.groups, found.complete) == ([task_id], (), True)
    assert driver.store.canvas("nobody").tasks == ()
