"""Groups: counted exactly, released once, read in the order of their slots, however they nest and end."""

from __future__ import annotations

import json
import random

import pytest

from litequeue.core import clock, state
from litequeue.core.records import Graft, NewGroup, NewTask
from litequeue.core.ties import LINK
from tests.store.conftest import ERROR, Driver, fail, new_group, succeed, with_errbacks


def nest(driver: Driver, depth: int) -> tuple[list[NewTask], list[NewGroup]]:
    """Groups of two, each of which is the second part of the one before; the innermost has two tasks."""
    groups = [new_group(2)]
    for _ in range(depth - 1):
        groups.append(new_group(2, group_id=groups[-1].id, group_index=1))
    tasks = [driver.member(group, 0) for group in groups]
    return [*tasks, driver.member(groups[-1], 1)], groups


def test_a_body_gets_the_values_in_the_order_of_the_slots(driver: Driver) -> None:
    members, group, body = driver.chord(6)
    driver.write(*random.Random(1).sample(members, 6), group, body)
    hand = driver.hand()
    for number in (3, 0, 5, 1, 4):
        hand.succeed(members[number], value=str(number * 10))
        assert driver.state(body.id) == state.WAITING
    hand.succeed(members[2], value='"last"')
    assert hand.claim() == [body.id]
    assert hand.inputs(body) == [0, 10, "last", 30, 40, 50]


def test_a_batch_of_members_is_counted_whole(driver: Driver) -> None:
    members, group, body = driver.chord(50)
    driver.write(*members, group, body)
    hand = driver.hand()
    hand.succeed(*members[:49])
    assert driver.remaining(group) == 1
    assert driver.state(body.id) == state.WAITING
    hand.succeed(members[49])
    record = driver.store.group(group.id)
    assert record is not None
    assert (record.remaining, record.failed_id) == (0, None)
    assert record.finished_at == pytest.approx(clock.now(), abs=5)
    assert driver.state(body.id) == state.READY


def test_members_of_two_groups_and_a_step_end_in_one_batch(driver: Driver) -> None:
    first, one, one_body = driver.chord(2)
    second, two, two_body = driver.chord(2)
    head, tail = driver.chain("add", "add")
    driver.write(*first, *second, one, two, one_body, two_body, head, tail)
    hand = driver.hand()
    hand.claim()
    outcomes = [succeed(hand.take(task)) for task in (*first, head, second[0])]
    hand.settle(*outcomes, fail(hand.take(second[1])))
    assert [driver.state(task.id) for task in (one_body, two_body, tail)] == [state.READY, state.FAILED, state.READY]


def test_whoever_waits_for_a_group_is_released_together(driver: Driver) -> None:
    """A group after a group: each member of the second waits for the first."""
    members, group, body = driver.chord(2)
    bodies = [body, *(driver.then(group) for _ in range(4))]
    driver.write(*members, group, *bodies)
    hand = driver.hand()
    hand.succeed(*members)
    assert set(hand.claim()) == {task.id for task in bodies}
    assert all(hand.inputs(task) == [3, 3] for task in bodies)


def test_an_empty_group_has_ended_when_it_is_written(driver: Driver) -> None:
    group = new_group(0)
    body = driver.then(group)
    driver.write(group, body)
    hand = driver.hand()
    assert hand.claim() == [body.id]
    assert hand.inputs(body) == []
    record = driver.store.group(group.id)
    assert record is not None
    assert record.finished_at is not None


def test_an_empty_group_inside_another_counts_as_ended(driver: Driver) -> None:
    outer = new_group(2)
    inner = new_group(0, group_id=outer.id, group_index=0)
    body = driver.then(outer)
    member = driver.member(outer, 1)
    driver.write(outer, inner, body, member)
    assert driver.remaining(outer) == 1
    hand = driver.hand()
    hand.succeed(member)
    assert hand.inputs(body) == [[], 3]


def test_groups_of_nothing_but_empty_groups_release_what_waits(driver: Driver) -> None:
    outer = new_group(2)
    inner = [new_group(0, group_id=outer.id, group_index=index) for index in range(2)]
    body = driver.then(outer)
    driver.write(outer, *inner, body)
    assert driver.hand().inputs(body) == [[], []]


def test_a_nested_group_is_a_list_in_its_slot(driver: Driver) -> None:
    outer = new_group(3)
    inner = new_group(2, group_id=outer.id, group_index=1)
    first, last = driver.member(outer, 0), driver.member(outer, 2)
    parts = [driver.member(inner, 0), driver.member(inner, 1)]
    body, inner_body = driver.then(outer), driver.then(inner)
    driver.write(outer, inner, last, first, *parts, body, inner_body)
    hand = driver.hand()
    hand.succeed(parts[1], value="22")
    hand.succeed(last, value="3")
    hand.succeed(first, value="1")
    assert (driver.remaining(outer), driver.remaining(inner)) == (1, 1)
    hand.succeed(parts[0], value="21")
    assert hand.inputs(inner_body) == [21, 22]
    assert hand.inputs(body) == [1, [21, 22], 3]


def test_a_chain_as_a_member_is_its_last_task(driver: Driver) -> None:
    group = new_group(2)
    head = driver.new()
    tail = driver.member(group, 0)._replace(after=head.id, edge="then", takes_input=1)
    other, body = driver.member(group, 1), driver.then(group)
    driver.write(group, head, tail, other, body)
    hand = driver.hand()
    hand.succeed(other, value="2")
    hand.succeed(head, value="0")
    hand.succeed(tail, value="1")
    assert hand.inputs(body) == [1, 2]


@pytest.mark.parametrize("end", ["succeed", "fail"])
@pytest.mark.parametrize("depth", [5, 1200])
def test_groups_in_groups_end_however_deep(driver: Driver, depth: int, end: str) -> None:
    tasks, groups = nest(driver, depth)
    body = driver.then(groups[0])
    driver.write(*tasks, *groups, body)
    hand = driver.hand()
    hand.succeed(*tasks[:-1])
    assert driver.remaining(groups[0]) == 1
    getattr(hand, end)(tasks[-1])
    assert [driver.remaining(group) for group in groups[:3]] == [0, 0, 0]
    if end == "fail":
        assert json.loads(str(driver.row(body.id).result))["text"].startswith(f"Dependency {tasks[-1].id} raised")
    elif depth == 5:
        assert hand.inputs(body) == [3, [3, [3, [3, [3, 3]]]]]


def test_a_body_of_lists_too_deep_to_read_is_refused(driver: Driver) -> None:
    from litequeue.exceptions import InvalidTaskError

    tasks, groups = nest(driver, 5000)
    body = driver.then(groups[0])
    driver.write(*tasks, *groups, body)
    hand = driver.hand()
    hand.succeed(*tasks)
    with pytest.raises(InvalidTaskError, match=groups[0].id):
        hand.inputs(body)


# Members that fail


def test_the_first_member_in_time_that_failed_is_the_cause_and_the_others_still_run(driver: Driver) -> None:
    members, group, body = driver.chord(4)
    driver.write(*members, group, with_errbacks(body, driver.new("eb")))
    hand = driver.hand()
    hand.fail(members[2])
    hand.fail(members[0])
    record = driver.store.group(group.id)
    assert record is not None
    assert (record.remaining, record.failed_id) == (2, members[2].id)
    assert driver.state(body.id) == state.WAITING
    hand.succeed(members[1], members[3])
    error = json.loads(str(driver.row(body.id).result))
    assert error["text"] == f"Dependency {members[2].id} raised ValueError('no')"
    assert error["cause"] == json.loads(str(ERROR.data))
    (errback,) = driver.store.followers(body.id)
    assert (errback.name, errback.after, errback.edge) == ("eb", body.id, "error")


def test_what_follows_a_body_that_failed_fails_with_the_body(driver: Driver) -> None:
    members, group, body = driver.chord(1)
    after = driver.then(body)
    last = driver.then(after)
    driver.write(*members, group, body, after, last)
    driver.hand().fail(members[0])
    for task in (after, last):
        assert (driver.row(task.id).result, driver.row(task.id).result_serializer) == (body.id, "upstream")


def test_a_failing_group_in_a_group_fails_every_body_with_the_same_cause(driver: Driver) -> None:
    outer = new_group(2)
    inner = new_group(2, group_id=outer.id, group_index=0)
    parts, other = [driver.member(inner, 0), driver.member(inner, 1)], driver.member(outer, 1)
    inner_body, body = driver.then(inner), driver.then(outer)
    driver.write(outer, inner, *parts, other, inner_body, body)
    hand = driver.hand()
    hand.fail(parts[1])
    hand.succeed(parts[0])
    assert (driver.state(inner_body.id), driver.state(body.id)) == (state.FAILED, state.WAITING)
    hand.succeed(other)
    for task in (inner_body, body):
        assert json.loads(str(driver.row(task.id).result))["text"].startswith(f"Dependency {parts[1].id} raised")


def test_a_body_that_is_a_member_fails_the_outer_group(driver: Driver) -> None:
    outer, inner = new_group(2), new_group(1)
    header, other = driver.member(inner, 0), driver.member(outer, 1)
    inner_body = driver.member(outer, 0)._replace(after=inner.id, edge="body", takes_input=1)
    body = driver.then(outer)
    driver.write(outer, inner, header, other, inner_body, body)
    hand = driver.hand()
    hand.fail(header)
    assert driver.state(inner_body.id) == state.FAILED
    assert driver.remaining(outer) == 1
    hand.succeed(other)
    error = json.loads(str(driver.row(body.id).result))
    assert error["text"].startswith(f"Dependency {inner_body.id} raised ChordError(")
    assert error["cause"]["cause"]["type"] == "ValueError"


def test_a_member_chain_that_fails_at_its_head_is_counted_with_the_heads_error(driver: Driver) -> None:
    group = new_group(2)
    head = driver.new()
    tail = driver.member(group, 0)._replace(after=head.id, edge="then", takes_input=1)
    other, body = driver.member(group, 1), driver.then(group)
    driver.write(group, head, tail, other, body)
    hand = driver.hand()
    hand.succeed(other)
    hand.fail(head)
    error = json.loads(str(driver.row(body.id).result))
    assert error["cause"]["type"] == "ValueError"
    assert head.id in error["text"]


def test_a_failure_before_a_group_ends_all_of_it(driver: Driver) -> None:
    head = driver.new()
    group = new_group(3)
    members = [driver.member(group, n)._replace(after=head.id, edge="then", takes_input=1) for n in range(3)]
    body = driver.then(group)
    after = driver.then(body)
    driver.write(head, group, *members, body, after)
    driver.hand().fail(head)
    assert driver.store.counts() == {"celery": {state.FAILED: 6}}
    assert driver.remaining(group) == 0


def chord_after_a_step(driver: Driver, tolerant: int = 0) -> tuple[NewTask, list[NewTask], NewTask, NewTask]:
    """A step; a chord over a task and a group of two; a last step. Every task has an error callback."""
    head = driver.new()
    outer = new_group(2, after=head.id, tolerant=tolerant)
    inner = new_group(2, after=head.id, group_id=outer.id, group_index=1)
    parts = [driver.member(outer, 0), driver.member(inner, 0), driver.member(inner, 1)]
    parts = [part._replace(after=head.id, edge="then", takes_input=1) for part in parts]
    body = driver.then(outer)
    last = driver.then(body)
    driver.write(outer, inner, *(with_errbacks(task, driver.new("eb")) for task in (head, *parts, body, last)))
    return head, parts, body, last


@pytest.mark.parametrize("tolerant", [0, 1])
@pytest.mark.parametrize("how", ["fail", "ignore", "revoke", "lost", "stop"])
def test_what_ends_before_a_chord_began_ends_all_of_it_as_it_ended(driver: Driver, how: str, tolerant: int) -> None:
    """The body too, which has not failed by itself: it is not told by a ChordError, and fires nothing."""
    head, parts, body, last = chord_after_a_step(driver, tolerant)
    hand = driver.hand()
    if how == "revoke":
        assert len(driver.store.revoke([head.id])) == 6
    elif how == "lost":
        hand.take(head)
        driver.store.bury(hand.claimant.holder, "killed", 1)
    elif how == "stop":
        hand.settle(succeed(hand.take(head))._replace(graft=Graft(stop=("then",))))
    else:
        getattr(hand, how)(head)
    driver.check()
    ended = {"fail": state.FAILED, "lost": state.FAILED, "revoke": state.REVOKED}.get(how, state.IGNORED)
    for task in (*parts, body, last):
        record = driver.row(task.id)
        assert record.state == ended
        assert record.result == (None if ended == state.IGNORED else head.id)
    fired = len(driver.store.followers(head.id)) - 3
    assert fired == (how in ("fail", "lost"))
    assert sum(sum(states.values()) for states in driver.store.counts().values()) == 6 + fired
    assert driver.hand().claim() == []


def test_a_chord_after_a_step_that_succeeded_fails_by_itself(driver: Driver) -> None:
    head, parts, body, last = chord_after_a_step(driver)
    hand = driver.hand()
    hand.succeed(head)
    hand.fail(parts[1])
    hand.succeed(parts[0], parts[2])
    assert json.loads(str(driver.row(body.id).result))["type"] == "ChordError"
    assert driver.row(last.id).result == body.id
    assert [record.edge for record in driver.store.followers(body.id)] == ["then", "error"]


def test_a_chord_behind_another_ends_with_it(driver: Driver) -> None:
    """A group after a group: what is behind it has no value to take."""
    members, group, _ = driver.chord(1)
    second = new_group(2, after=group.id)
    parts = [driver.member(second, n)._replace(after=group.id, edge="body", takes_input=1) for n in range(2)]
    body = driver.then(second)
    driver.write(*members, group, second, *parts, body)
    driver.hand().fail(members[0])
    assert {driver.state(task.id) for task in (*members, *parts, body)} == {state.FAILED}


def test_a_chord_of_which_a_member_was_revoked_before_it_began_still_begins(driver: Driver) -> None:
    head, parts, body, _ = chord_after_a_step(driver, tolerant=1)
    driver.store.revoke([parts[0].id])
    driver.check()
    hand = driver.hand()
    hand.succeed(head)
    hand.succeed(parts[1], parts[2])
    assert hand.inputs(body) == ["TaskRevokedError", [3, 3]]


def test_an_ignored_member_is_no_failure_and_has_no_value(driver: Driver) -> None:
    members, group, body = driver.chord(3)
    driver.write(*members, group, body)
    hand = driver.hand()
    hand.succeed(members[0], members[2])
    hand.ignore(members[1])
    assert hand.inputs(body) == [3, None, 3]


def test_a_custom_state_of_an_ignored_member_is_not_its_value(driver: Driver) -> None:
    members, group, body = driver.chord(1)
    driver.write(*members, group, body)
    hand = driver.hand()
    hand.claim()
    driver.store.update_state(members[0].id, "PROGRESS", ERROR)
    hand.ignore(members[0])
    assert hand.inputs(body) == [None]


# Groups that tolerate failures


def test_a_tolerant_group_runs_its_body_with_the_errors_in_their_slots(driver: Driver) -> None:
    members, group, body = driver.chord(4, tolerant=1)
    head = driver.new()
    members[3] = members[3]._replace(after=head.id, edge="then", takes_input=1)
    driver.write(head, *members, group, with_errbacks(body, driver.new("eb")))
    hand = driver.hand()
    hand.succeed(members[0], value="1")
    hand.fail(members[1])
    driver.store.release(hand.claimant.holder, [(c.seq, c.attempt) for c in hand.held.values()])
    hand.held.clear()
    driver.store.revoke([members[2].id])
    hand.fail(head)
    record = driver.store.group(group.id)
    assert record is not None
    assert (record.failed_id, record.tolerant) == (members[1].id, True)
    assert hand.inputs(body) == [1, "ValueError", "TaskRevokedError", "ValueError"]
    hand.succeed(body)
    assert driver.store.followers(body.id) == []


def test_a_tolerant_group_in_another_does_not_fail_it(driver: Driver) -> None:
    outer = new_group(1)
    inner = new_group(1, group_id=outer.id, group_index=0, tolerant=1)
    member, body = driver.member(inner, 0), driver.then(outer)
    driver.write(outer, inner, member, body)
    hand = driver.hand()
    hand.fail(member)
    assert hand.inputs(body) == [["ValueError"]]


def test_a_group_in_a_tolerant_one_shows_its_errors(driver: Driver) -> None:
    outer = new_group(1, tolerant=1)
    inner = new_group(2, group_id=outer.id, group_index=0)
    parts, body, inner_body = [driver.member(inner, n) for n in range(2)], driver.then(outer), driver.then(inner)
    driver.write(outer, inner, *parts, body, inner_body)
    hand = driver.hand()
    hand.fail(parts[0])
    hand.succeed(parts[1])
    assert driver.state(inner_body.id) == state.FAILED
    assert hand.inputs(body) == [["ValueError", 3]]


# Deaths


def test_a_member_that_is_given_back_is_counted_once(driver: Driver) -> None:
    members, group, body = driver.chord(2)
    driver.write(*members, group, body)
    first = driver.hand()
    first.claim()
    late = dict(first.held)
    driver.store.bury(first.claimant.holder, "killed", 3)
    driver.check()
    hand = driver.hand()
    hand.succeed(members[0])
    lost = driver.store.settle(first.claimant, [succeed(claimed) for claimed in late.values()]).lost
    assert len(lost) == 2, "a dead process settles nothing"
    driver.check()
    assert driver.remaining(group) == 1
    hand.succeed(members[1])
    assert driver.state(body.id) == state.READY


def test_a_poison_member_ends_at_its_cap_with_what_waits_for_the_group(driver: Driver) -> None:
    members, group, body = driver.chord(2)
    driver.write(*members, group, with_errbacks(body, driver.new("eb")))
    hand = driver.hand()
    hand.succeed(members[1])
    driver.store.deregister(hand.claimant.holder)
    for death in range(1, 4):
        hand = driver.hand()
        hand.take(members[0])
        rescued = driver.store.bury(hand.claimant.holder, "killed by SIGSEGV", 3)
        driver.check()
        assert bool(rescued.failed) == (death == 3)
    error = json.loads(str(driver.row(body.id).result))
    assert error["cause"]["type"] == "WorkerLostError"
    assert [record.name for record in driver.store.followers(body.id)] == ["eb"]


def test_a_settle_that_is_repeated_counts_once(driver: Driver) -> None:
    """The same outcome handed in twice, as after an error of which nobody knows whether it was written."""
    members, group, body = driver.chord(3)
    link = driver.then(members[0], edge=LINK)
    driver.write(*members, group, body, link)
    hand = driver.hand()
    outcome = succeed(hand.take(members[0]))
    assert hand.settle(outcome).lost == ()
    assert hand.settle(outcome).lost == (outcome.claimed,)
    assert driver.remaining(group) == 2
    other = succeed(hand.take(members[1]))
    assert hand.settle(outcome, other).lost == (outcome.claimed,)
    assert driver.remaining(group) == 1
