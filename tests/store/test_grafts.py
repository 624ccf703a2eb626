"""What a running task changes of its canvas: written with its end, or not at all."""

from __future__ import annotations

import json

import pytest

from litequeue.core import clock, state
from litequeue.core.records import Claimed, Graft, NewGroup, NewTask, Outcome
from litequeue.core.ties import ERRBACKS, FEEDS, LEADS, LINK, MEMBER, THEN
from tests.store.conftest import Driver, Hand, become, canvas, new_group, retry, succeed, with_errbacks
from tests.store.test_errbacks import errbacks_of


def grafted(claimed: Claimed, graft: Graft, value: str = "3") -> Outcome:
    return succeed(claimed, value)._replace(graft=graft)


def joining(driver: Driver, claimed: Claimed, **changes: object) -> NewTask:
    """A task that is to be one more member of the group of `claimed`."""
    return driver.new(group_id=claimed.group_id, ties=MEMBER | FEEDS, **changes)


# Becoming another task


def test_a_task_becomes_another_and_keeps_its_id_and_place(driver: Driver) -> None:
    members, group, body = driver.chord(2)
    head, *_ = members
    link = driver.then(head, edge=LINK)
    driver.write(with_errbacks(head, driver.new("eb")), members[1], group, body, link)
    hand = driver.hand()
    before = driver.row(head.id)
    new = driver.new(
        "other", queue="elsewhere", priority=5, payload="[[9], {}]", options='{"a":1}', headers='{"b":2}',
        time_limit=3.0, soft_time_limit=2.0, retries=1,
    )  # fmt: skip
    hand.become(head, new)
    record = driver.row(head.id)
    for name in ("name", "queue", "priority", "payload", "options", "headers", "time_limit", "retries"):
        assert getattr(record, name) == getattr(new, name), name
    assert (record.seq, record.id, record.group_id, record.group_index) == (before.seq, head.id, group.id, 0)
    assert record.ties & (MEMBER | LEADS | FEEDS | ERRBACKS) == MEMBER | LEADS | FEEDS | ERRBACKS
    assert (record.state, record.started_at, record.finished_at, record.result) == (state.READY, None, None, None)
    assert (driver.remaining(group), driver.state(link.id)) == (2, state.WAITING)
    assert driver.store.task(new.id) is None


@pytest.mark.parametrize("end", ["succeed", "fail", "ignore"])
def test_the_end_of_what_it_became_is_its_end(driver: Driver, end: str) -> None:
    members, group, body = driver.chord(1)
    link = driver.then(members[0], edge=LINK)
    driver.write(with_errbacks(members[0], driver.new("eb")), group, body, link)
    hand = driver.hand()
    hand.become(members[0], driver.new())
    hand.become(members[0], driver.new())
    assert hand.take(members[0]).attempt == 3
    hand.held.clear()
    driver.store.deregister(hand.claimant.holder)
    getattr(driver.hand(), end)(members[0])
    expected = {"succeed": [state.READY] * 2, "fail": [state.FAILED] * 2, "ignore": [state.READY, state.IGNORED]}[end]
    assert [driver.state(task.id) for task in (body, link)] == expected
    assert [record.name for record in errbacks_of(driver, members[0])] == ["eb"] * (end == "fail")


def test_it_becomes_the_last_step_of_a_chain(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second)
    hand = driver.hand()
    head = driver.new()
    hand.become(first, driver.then(head), head)
    assert driver.state(first.id) == state.WAITING
    assert hand.claim() == [head.id]
    hand.succeed(head, value="5")
    assert hand.inputs(first) == 5
    hand.succeed(first, value="6")
    assert hand.inputs(second) == 6


def test_it_becomes_the_body_of_a_chord(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    members, group, body = driver.chord(2)
    hand = driver.hand()
    hand.become(task, body, *members, group)
    assert driver.state(task_id) == state.WAITING
    hand.succeed(*members)
    assert hand.inputs(task) == [3, 3]
    hand.succeed(task)
    assert driver.store.task(body.id) is None


def test_it_becomes_the_body_of_an_empty_group_and_is_ready(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    group = new_group(0)
    hand = driver.hand()
    hand.become(task, driver.then(group), group)
    assert driver.state(task_id) == state.READY
    assert hand.inputs(task) == []


def test_a_failure_in_what_replaces_it_is_its_failure(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(with_errbacks(first, driver.new("eb")), second)
    members, group, body = driver.chord(2)
    hand = driver.hand()
    hand.become(first, body, *members, group)
    hand.fail(members[0])
    hand.succeed(members[1])
    assert json.loads(str(driver.row(first.id).result))["type"] == "ChordError"
    assert len(errbacks_of(driver, first)) == 1
    assert (driver.row(second.id).result, driver.row(second.id).result_serializer) == (first.id, "upstream")


def test_a_failure_before_it_in_what_replaces_it_is_told_on(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(with_errbacks(first, driver.new("eb")), second)
    head = with_errbacks(driver.new(), driver.new("eb"))
    hand = driver.hand()
    hand.become(first, driver.then(head), head)
    hand.fail(head)
    assert [driver.row(task.id).result for task in (first, second)] == [head.id] * 2
    assert (len(errbacks_of(driver, head)), len(errbacks_of(driver, first))) == (1, 0)


def test_error_callbacks_of_both_are_kept(driver: Driver) -> None:
    task = with_errbacks(driver.new(), driver.new("old"))
    driver.write(task)
    hand = driver.hand()
    hand.become(task, with_errbacks(driver.new(), driver.new("new")))
    hand.fail(task)
    assert [record.name for record in errbacks_of(driver, task)] == ["old", "new"]


def test_it_becomes_a_task_for_later(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    driver.hand().become(task, driver.new(run_at=clock.now() + 60, expires_at=clock.now() + 90))
    record = driver.row(task_id)
    assert (record.state, record.expires_at) == (state.SCHEDULED, pytest.approx(clock.now() + 90, abs=5))


def test_what_it_became_can_be_revoked_and_expires(driver: Driver) -> None:
    members, group, body = driver.chord(2)
    driver.write(*members, group, body)
    hand = driver.hand()
    head = driver.new()
    hand.become(members[0], driver.then(head), head)
    assert driver.store.revoke([head.id]) == (head.id, members[0].id)
    hand.become(members[1], driver.new(expires_at=clock.now() - 1))
    assert hand.claim() == []
    driver.check()
    assert driver.state(body.id) == state.FAILED


def test_a_replacement_that_is_ready_wakes_an_idle_slot(driver: Driver) -> None:
    channel = driver.open_channel()
    driver.enqueue(task := driver.new())
    hand, other = driver.hand(), driver.hand(queues=("other",))
    claimed = hand.take(task)
    assert other.claim() == []
    hand.settle(become(claimed, driver.new(queue="other")))
    assert driver.store.wait_for_work(channel, 5)


def test_a_task_that_was_forgotten_stays_so_as_what_it_became(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    hand = driver.hand()
    claimed = hand.take(task)
    driver.store.forget([task_id])
    hand.settle(become(claimed, driver.new()))
    hand.succeed(task)
    driver.store.prune(10)
    assert driver.store.task(task_id) is None


def test_the_stamps_of_a_replacement_are_found(driver: Driver) -> None:
    one, two = driver.new(stamps='{"tag":"old"}'), driver.new(stamps='{"tag":"old"}')
    driver.write(one, two)
    hand = driver.hand()
    hand.become(one, driver.new(stamps='{"tag":["old","new"]}'))
    hand.become(two, driver.new())
    assert driver.row(two.id).stamps == '{"tag":"old"}'
    assert driver.store.revoke_stamped({"tag": ["new"]}) == (one.id,)
    assert driver.store.revoke_stamped({"tag": ["old"]}) == (two.id,)
    driver.check()


def test_a_replacement_under_a_revoked_stamp_is_revoked_at_once(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second)
    driver.store.revoke_stamped({"tag": ["bad"]})
    hand = driver.hand()
    hand.become(first, driver.new(stamps='{"tag":"bad"}'))
    assert [driver.state(task.id) for task in (first, second)] == [state.REVOKED] * 2


def test_a_replacement_that_is_lost_changes_nothing(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    late = driver.hand()
    claimed = late.take(task)
    driver.store.bury(late.claimant.holder, "killed", 3)
    members, group, body = driver.chord(2)
    assert late.settle(become(claimed, body, *members, group)).lost == (claimed,)
    assert (driver.store.group(group.id), driver.state(members[0].id)) == (None, None)
    assert driver.row(task_id).name == "add"
    assert driver.state(task_id) == state.READY


def test_a_link_attached_while_it_ran_follows_what_it_became(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    hand = driver.hand()
    claimed = hand.take(task)
    driver.store.attach(task_id, canvas(link := driver.then(task, edge=LINK)), [driver.new("eb")])
    hand.settle(become(claimed, driver.new()))
    hand.fail(task)
    assert driver.state(link.id) == state.FAILED
    assert len(errbacks_of(driver, task)) == 1


@pytest.mark.parametrize("kind", ["become", "join"])
def test_a_duplicate_id_in_what_is_new_fails_the_task_and_nothing_is_written(driver: Driver, kind: str) -> None:
    """A worker must be able to settle whatever a task asks for."""
    members, group, body = driver.chord(2)
    driver.write(*members, group, body)
    (taken,) = driver.enqueue(driver.new())
    hand = driver.hand()
    claimed, other = hand.take(members[0]), hand.take(members[1])
    head, fresh = driver.new(id=taken), driver.new()
    if kind == "become":
        outcome = become(claimed, driver.then(head), fresh, head)
    else:
        outcome = grafted(claimed, Graft(canvas=canvas(fresh, joining(driver, claimed, id=taken))))
    assert hand.settle(outcome, succeed(other)).lost == ()
    record = driver.row(members[0].id)
    assert (record.state, record.result_serializer) == (state.FAILED, "error")
    assert "DuplicateTaskError" in str(record.result)
    assert taken in str(record.result)
    assert driver.state(fresh.id) is None
    assert (driver.state(members[1].id), driver.state(body.id)) == (state.SUCCEEDED, state.FAILED)
    assert driver.remaining(group) == 0


# Joining a group


def chord_with_a_running_member(driver: Driver) -> tuple[Hand, list[NewTask], NewGroup, NewTask]:
    members, group, body = driver.chord(2)
    driver.write(*members, group, body)
    hand = driver.hand()
    hand.succeed(members[1], value="2")
    return hand, members, group, body


def test_what_joins_a_group_has_the_next_slots_and_is_waited_for(driver: Driver) -> None:
    hand, members, group, body = chord_with_a_running_member(driver)
    claimed = hand.take(members[0])
    more = [joining(driver, claimed) for _ in range(2)]
    hand.settle(grafted(claimed, Graft(canvas=canvas(*more)), "1"))
    record = driver.store.group(group.id)
    assert record is not None
    assert (record.size, record.remaining) == (4, 2)
    assert driver.state(body.id) == state.WAITING
    assert [member.id for member in driver.store.members(group.id)] == [task.id for task in (*members, *more)]
    hand.succeed(more[1], value="4")
    hand.succeed(more[0], value="3")
    assert hand.inputs(body) == [1, 2, 3, 4]


def test_a_chain_and_a_group_join_as_one_part_each(driver: Driver) -> None:
    hand, members, group, body = chord_with_a_running_member(driver)
    claimed = hand.take(members[0])
    head = driver.new()
    tail = joining(driver, claimed)._replace(after=head.id, edge=THEN, takes_input=1)
    inner = new_group(2, group_id=group.id)
    parts = [driver.member(inner, index) for index in range(2)]
    hand.settle(grafted(claimed, Graft(canvas=canvas(head, tail, inner, *parts)), "1"))
    assert driver.remaining(group) == 2
    hand.succeed(*parts, value="5")
    hand.succeed(head)
    hand.succeed(tail, value="4")
    assert hand.inputs(body) == [1, 2, 4, [5, 5]]


def test_what_fails_after_it_has_joined_fails_the_body(driver: Driver) -> None:
    hand, members, _, body = chord_with_a_running_member(driver)
    claimed = hand.take(members[0])
    more = joining(driver, claimed)
    hand.settle(grafted(claimed, Graft(canvas=canvas(more))))
    hand.fail(more)
    assert json.loads(str(driver.row(body.id).result))["text"].startswith(f"Dependency {more.id}")


def test_what_would_have_joined_with_a_lost_end_does_not(driver: Driver) -> None:
    hand, members, group, _ = chord_with_a_running_member(driver)
    claimed = hand.take(members[0])
    driver.store.bury(hand.claimant.holder, "killed", 3)
    more = joining(driver, claimed)
    assert hand.settle(grafted(claimed, Graft(canvas=canvas(more)))).lost == (claimed,)
    record = driver.store.group(group.id)
    assert record is not None
    assert (record.size, record.remaining) == (2, 1)
    assert driver.state(more.id) is None


def test_a_task_may_join_others_and_become_another(driver: Driver) -> None:
    hand, members, group, body = chord_with_a_running_member(driver)
    claimed = hand.take(members[0])
    more = joining(driver, claimed)
    hand.settle(become(claimed, driver.new(), more))
    assert driver.remaining(group) == 2
    hand.succeed(more, value="7")
    assert driver.state(body.id) == state.WAITING
    hand.succeed(members[0], value="8")
    assert hand.inputs(body) == [8, 2, 7]


def test_what_joins_a_group_that_is_gone_runs_alone(driver: Driver) -> None:
    member = driver.member(new_group(1), 0)
    driver.write(member)
    hand = driver.hand()
    claimed = hand.take(member)
    more = joining(driver, claimed)
    hand.settle(grafted(claimed, Graft(canvas=canvas(more))))
    hand.succeed(more)


# Stopping what comes after


@pytest.mark.parametrize("stopped", [(THEN,), (LINK,), (THEN, LINK)])
def test_what_is_stopped_ends_ignored_and_the_rest_goes_on(driver: Driver, stopped: tuple[str, ...]) -> None:
    first, second, third = driver.chain("add", "add", "add")
    link = driver.then(first, edge=LINK)
    driver.write(first, second, third, link)
    hand = driver.hand()
    hand.settle(grafted(hand.take(first), Graft(stop=stopped)))
    gone, on = (state.IGNORED, state.IGNORED), (state.READY, state.WAITING)
    assert (driver.state(second.id), driver.state(third.id)) == (gone if THEN in stopped else on)
    assert driver.state(link.id) == (state.IGNORED if LINK in stopped else state.READY)


def test_a_stopped_member_counts_as_nothing(driver: Driver) -> None:
    group = new_group(2)
    head = driver.new()
    tail = driver.member(group, 0)._replace(after=head.id, edge=THEN, takes_input=1)
    other, body = driver.member(group, 1), driver.then(group)
    driver.write(group, head, tail, other, body)
    hand = driver.hand()
    hand.succeed(other)
    hand.settle(grafted(hand.take(head), Graft(stop=(THEN,))))
    assert hand.inputs(body) == [None, 3]


def test_nothing_is_stopped_by_a_lost_end(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second)
    hand = driver.hand()
    claimed = hand.take(first)
    driver.store.bury(hand.claimant.holder, "killed", 3)
    assert hand.settle(grafted(claimed, Graft(stop=(THEN,)))).lost == (claimed,)
    assert driver.state(second.id) == state.WAITING


def test_grafts_ends_and_retries_share_a_transaction(driver: Driver) -> None:
    members, group, body = driver.chord(4)
    driver.write(*members, group, body)
    hand = driver.hand()
    hand.claim()
    one, two, three, four = (hand.held.pop(member.id) for member in members)
    more = joining(driver, one)
    gone = four._replace(attempt=7)
    settled = hand.settle(
        grafted(one, Graft(canvas=canvas(more))), become(two, driver.new()), retry(three), succeed(gone)
    )
    assert settled.lost == (gone,)
    record = driver.store.group(group.id)
    assert record is not None
    assert (record.size, record.remaining) == (5, 4)
    assert driver.store.counts() == {"celery": {state.SUCCEEDED: 1, state.READY: 3, state.RUNNING: 1, state.WAITING: 1}}
