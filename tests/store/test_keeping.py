"""Forgetting, pruning and purging in canvases: what is still needed stays, what is not goes, and nothing hangs."""

from __future__ import annotations

import json

import pytest

from litequeue.core import state
from litequeue.core.records import NewGroup, NewTask
from litequeue.core.ties import LINK
from litequeue.store.sqlite import processes
from tests.store.conftest import Driver, Hand, Takes, canvas, new_group, succeed, with_errbacks

PAST = 1.0


def succeed_and_be_due(hand: Hand, *tasks: NewTask, value: str = "3") -> None:
    """End these tasks; they are past their retention at once."""
    hand.settle(*(succeed(hand.take(task), value, prune_at=PAST) for task in tasks))


def is_there(driver: Driver, *tasks: NewTask) -> list[bool]:
    return [driver.store.task(task.id) is not None for task in tasks]


def look_again(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what was left once be looked at again by the next pruning."""
    monkeypatch.setattr(processes, "_NEEDED_WAIT", -1e9)


# What an open row still takes


def nested(driver: Driver) -> tuple[list[NewTask], list[NewGroup], NewTask]:
    """A body over a task, and a group of two in its second slot."""
    outer = new_group(2)
    inner = new_group(2, group_id=outer.id, group_index=1)
    members = [driver.member(outer, 0), driver.member(inner, 0), driver.member(inner, 1)]
    return members, [outer, inner], driver.then(outer)


@pytest.mark.parametrize("way", ["prune", "forget"])
def test_a_value_that_a_step_still_takes_is_kept_until_it_has_ended(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    look_again(driver, monkeypatch)
    first, second = driver.chain("add", "add")
    driver.write(first, second._replace(countdown=0.01))
    hand = driver.hand()
    succeed_and_be_due(hand, first)

    def let_go() -> None:
        if way == "forget":
            assert driver.store.forget([first.id]) == 1
        driver.store.prune(10)

    let_go()
    assert is_there(driver, first) == [True], "it waits for its time"
    while not hand.held:
        hand.claim()
    let_go()
    assert is_there(driver, first) == [True], "it runs"
    assert hand.inputs(second) == 3
    hand.retry(second)
    let_go()
    assert is_there(driver, first) == [True], "it will run again"
    hand.succeed(second)
    let_go()
    assert is_there(driver, first, second) == [False, True]
    driver.check()


@pytest.mark.parametrize("way", ["prune", "forget"])
def test_what_a_body_takes_is_kept_however_it_nests(driver: Driver, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    look_again(driver, monkeypatch)
    members, groups, body = nested(driver)
    driver.write(*members, *groups, body)
    hand = driver.hand()
    succeed_and_be_due(hand, members[1])

    def let_go() -> None:
        if way == "forget":
            driver.store.forget([task.id for task in members])
        driver.store.prune(10)

    let_go()
    assert is_there(driver, *members) == [True] * 3
    succeed_and_be_due(hand, members[2])
    succeed_and_be_due(hand, members[0])
    let_go()
    assert is_there(driver, *members) == [True] * 3
    assert hand.inputs(body) == [3, [3, 3]]
    hand.settle(succeed(hand.take(body)))
    let_go()
    assert is_there(driver, *members) == [False] * 3


def test_groups_are_pruned_when_nothing_needs_them_any_more(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    look_again(driver, monkeypatch)
    members, groups, body = nested(driver)
    driver.write(*members, *groups, body)
    hand = driver.hand()
    succeed_and_be_due(hand, *members)
    with driver.store._database.write("normal") as connection:  # type: ignore[attr-defined]
        connection.execute("UPDATE litequeue_groups SET prune_at = 1")
    driver.store.prune(10)
    assert all(driver.store.group(group.id) for group in groups)
    assert hand.inputs(body) == [3, [3, 3]]
    hand.succeed(body)
    driver.store.prune(10)
    assert [driver.store.group(group.id) for group in groups] == [None, None]


@pytest.mark.parametrize(("own", "of_members"), [(None, 1.0), (10.0, None), (None, None)])
def test_a_group_is_kept_as_long_as_its_members_at_least(
    open_driver: object, own: float | None, of_members: float | None
) -> None:
    driver: Driver = open_driver(failure_retention=own)  # type: ignore[operator]
    members, group, _ = driver.chord(2)
    driver.write(*members, group)
    hand = driver.hand()
    hand.settle(succeed(hand.take(members[0]), prune_at=of_members))
    hand.settle(succeed(hand.take(members[1]), prune_at=of_members))
    with driver.store._database.read() as connection:  # type: ignore[attr-defined]
        assert connection.execute("SELECT prune_at FROM litequeue_groups").get is None


def test_what_is_needed_does_not_stand_in_the_way_of_what_is_not(driver: Driver) -> None:
    heads = []
    for _ in range(20):
        first, second = driver.chain("add", "add")
        driver.write(first, second)
        heads.append(first)
    plain = [driver.new() for _ in range(5)]
    hand = driver.hand()
    succeed_and_be_due(hand, *heads)
    driver.enqueue(*plain)
    hand.claim()
    hand.settle(*(succeed(hand.held.pop(task.id), prune_at=PAST + 1) for task in plain))
    for _ in range(5):
        driver.store.prune(5)
    assert is_there(driver, *heads) == [True] * 20
    assert is_there(driver, *plain) == [False] * 5


@pytest.mark.parametrize("way", ["prune", "forget"])
def test_a_failed_task_is_kept_until_its_error_callback_has_run(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    look_again(driver, monkeypatch)
    task = with_errbacks(driver.new(), driver.new(takes_input=1))
    driver.write(task)
    hand = driver.hand()
    hand.fail(task)
    driver.store.forget([task.id])
    driver.store.prune(10)
    (errback,) = driver.store.followers(task.id)
    claimed = hand.take(errback.id)
    driver.store.forget([task.id])
    driver.store.prune(10)
    given = driver.store.inputs(claimed).failed
    assert given is not None
    assert given.id == task.id
    hand.settle(succeed(claimed))
    driver.store.prune(10)
    assert is_there(driver, task) == [False]


@pytest.mark.parametrize("way", ["prune", "forget"])
@pytest.mark.parametrize("tolerant", [0, 1])
def test_an_error_is_kept_while_a_body_may_still_be_told_of_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, way: str, tolerant: int
) -> None:
    """The task that failed is not a member: it is two steps before one."""
    look_again(driver, monkeypatch)
    outer = new_group(1, tolerant=tolerant)
    inner = new_group(2, group_id=outer.id, group_index=0, tolerant=tolerant)
    head, middle = driver.chain("add", "add")
    tail = driver.member(inner, 0)._replace(after=middle.id, edge="then", takes_input=1)
    other, body = driver.member(inner, 1), driver.then(outer)
    driver.write(outer, inner, head, middle, tail, other, body)
    hand = driver.hand()
    hand.fail(head)

    def let_go() -> None:
        if way == "forget":
            driver.store.forget([task.id for task in (head, middle, tail)])
        else:
            with driver.store._database.write("normal") as connection:  # type: ignore[attr-defined]
                connection.execute("UPDATE litequeue_tasks SET prune_at = 1 WHERE finished_at IS NOT NULL")
        driver.store.prune(10)

    let_go()
    hand.succeed(other)
    if tolerant:
        let_go()
        assert hand.inputs(body) == [["ValueError", 3]]
        hand.succeed(body)
    else:
        assert json.loads(str(driver.row(body.id).result))["cause"]["type"] == "ValueError"
    let_go()
    assert is_there(driver, head) == [False]


def test_what_was_forgotten_before_its_end_goes_when_it_is_not_needed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_again(driver, monkeypatch)
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second, third)
    assert driver.store.forget([first.id, second.id, third.id]) == 3
    hand = driver.hand()
    hand.run_all()
    driver.store.prune(10)
    assert is_there(driver, first, second, third) == [False] * 3


@pytest.mark.parametrize("how", ["fail", "revoke", "lost"])
def test_what_was_forgotten_goes_however_it_ends(driver: Driver, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    look_again(driver, monkeypatch)
    members, group, body = driver.chord(1)
    after = driver.then(body)
    driver.write(*members, group, body, after)
    everything = (*members, body, after)
    driver.store.forget([task.id for task in everything])
    hand = driver.hand()
    if how == "fail":
        hand.fail(members[0])
    elif how == "revoke":
        driver.store.revoke([members[0].id])
    else:
        hand.claim()
        driver.store.bury(hand.claimant.holder, "killed", 1)
    driver.store.prune(10)
    assert is_there(driver, *everything) == [False] * 3


# Values that only others want


def test_a_value_that_only_the_next_step_wants_is_dropped_after_use(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add", ignore_result=1)
    driver.write(first, second, third)
    hand = driver.hand()
    hand.succeed(first, value="1")
    assert hand.inputs(second) == 1
    hand.retry(second)
    assert hand.inputs(second) == 1
    hand.succeed(second, value="2")
    assert driver.row(first.id).result is None
    assert hand.inputs(third) == 2
    hand.succeed(third)
    assert driver.row(second.id).result is None
    assert driver.state(first.id) == state.SUCCEEDED


def test_values_that_only_a_body_wants_are_dropped_after_use(driver: Driver) -> None:
    members, group, body = driver.chord(3, ignore_result=1)
    members[1] = members[1]._replace(ignore_result=0)
    driver.write(*members, group, body)
    hand = driver.hand()
    hand.succeed(*members)
    assert hand.inputs(body) == [3, 3, 3]
    hand.succeed(body)
    assert [driver.row(task.id).result for task in members] == [None, "3", None]


def test_values_of_groups_in_groups_are_dropped_after_use(driver: Driver) -> None:
    members, groups, body = nested(driver)
    members = [member._replace(ignore_result=1) for member in members]
    driver.write(*members, *groups, body)
    hand = driver.hand()
    hand.succeed(*members)
    assert hand.inputs(body) == [3, [3, 3]]
    hand.succeed(body)
    assert [driver.row(task.id).result for task in members] == [None] * 3


@pytest.mark.parametrize("first", ["body", "link"])
def test_a_value_is_dropped_when_the_last_that_takes_it_has_ended(driver: Driver, first: str) -> None:
    """A member with a callback: both take its value, in either order."""
    members, group, body = driver.chord(2, ignore_result=1)
    link = driver.then(members[0], edge=LINK)
    driver.write(*members, group, body, link)
    hand = driver.hand()
    hand.succeed(members[0], value="7")
    if first == "body":
        hand.succeed(members[1])
        assert hand.inputs(body) == [7, 3]
        hand.succeed(body)
        assert hand.inputs(link) == 7
        hand.succeed(link)
    else:
        hand.succeed(link)
        hand.succeed(members[1])
        assert hand.inputs(body) == [7, 3]
        hand.succeed(body)
    assert driver.row(members[0].id).result is None


def test_a_value_is_kept_while_one_of_two_callbacks_has_not_run(driver: Driver) -> None:
    task = driver.new(ignore_result=1)
    one, two = driver.then(task, edge=LINK), driver.then(task, edge=LINK)
    driver.write(task, one, two)
    hand = driver.hand()
    hand.succeed(task)
    hand.succeed(one)
    assert hand.inputs(two) == 3
    hand.fail(two)
    assert driver.row(task.id).result is None


def test_a_value_is_dropped_though_the_step_that_took_it_became_another(driver: Driver) -> None:
    first, second = driver.chain("add", "add", ignore_result=1)
    driver.write(first, second)
    hand = driver.hand()
    hand.succeed(first)
    hand.become(second, driver.new())
    assert driver.row(first.id).result is None


def test_a_value_is_dropped_though_the_step_that_took_it_asked_for_other_arguments(driver: Driver) -> None:
    from litequeue.core.records import Encoded
    from tests.store.conftest import retry

    first, second = driver.chain("add", "add", ignore_result=1)
    driver.write(first, second)
    hand = driver.hand()
    hand.succeed(first)
    hand.settle(retry(hand.take(second), payload=Encoded("[[1], {}]", "json")))
    assert driver.row(first.id).result is None
    assert not driver.row(second.id).takes_input


# Purging


def test_purging_a_canvas_deletes_all_of_it(driver: Driver) -> None:
    members, groups, body = nested(driver)
    after = driver.then(body)
    driver.write(*members, *groups, with_errbacks(body, driver.new("eb")), after, *driver.chain("add", "add"))
    assert driver.store.purge(["celery"]) == 5 + 2 + 1, "the error callback that its body's failure wrote is one"
    driver.check()
    assert driver.store.counts() == {}
    assert [driver.store.group(group.id).remaining for group in groups] == [0, 0]  # type: ignore[union-attr]


def test_purging_a_queue_ends_what_waits_in_others(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    members, group, body = driver.chord(2)
    body = with_errbacks(body._replace(queue="other"), driver.new("eb", queue="other"), driver.new("eb"))
    driver.write(first, second._replace(queue="other"), third, *members, group, body)
    assert driver.store.purge(["celery"]) == 5
    driver.check()
    assert driver.store.counts() == {"other": {state.REVOKED: 1, state.FAILED: 1, state.READY: 1}}
    assert driver.state(second.id) == state.REVOKED


def test_purging_what_waits_leaves_what_it_waits_for(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second._replace(queue="other"), third)
    assert driver.store.purge(["other"]) == 1
    driver.check()
    assert driver.store.counts() == {"celery": {state.READY: 1, state.REVOKED: 1}}
    hand = driver.hand()
    hand.succeed(first)
    assert hand.claim() == []


def test_purging_around_a_running_member_lets_it_end(driver: Driver) -> None:
    members, group, body = driver.chord(3)
    driver.write(*members, group, body)
    hand = driver.hand()
    (claimed,) = driver.store.claim(hand.claimant, 1).claimed
    assert driver.store.purge() == 3
    driver.check()
    assert driver.remaining(group) == 1
    hand.settle(succeed(claimed))
    assert driver.remaining(group) == 0
    assert driver.store.counts() == {"celery": {state.SUCCEEDED: 1}}


def test_purging_takes_stamps_and_attempts_along(driver: Driver) -> None:
    task = driver.new(stamps='{"tag":"x"}')
    driver.write(task, *driver.chain("add", "add", stamps='{"tag":"x"}'))
    hand = driver.hand()
    hand.retry(task)
    driver.store.release(hand.claimant.holder, [(c.seq, c.attempt) for c in hand.held.values()])
    assert driver.store.purge() == 3
    assert driver.store.revoke_stamped({"tag": ["x"]}) == ()
    driver.check()
    driver.enqueue(driver.new(id=task.id))
    assert driver.store.attempts(task.id) == []


def test_forgetting_an_id_that_waits_does_not_stop_its_canvas(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second)
    driver.store.forget([second.id])
    assert driver.hand(picker=Takes()).run_all() == [first.id, second.id]


def test_a_pruned_group_does_not_stop_what_joins_late(driver: Driver) -> None:
    """Whatever has become of the group of a row, the row can end."""
    member = driver.member(new_group(1), 0)
    driver.store.enqueue_canvas(canvas(member))
    assert driver.hand().run_all() == [member.id]
