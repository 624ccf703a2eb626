"""Canvases: written whole, released by what they wait for, ended with it, and read in the order of their slots."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.records import NewCanvas, NewTask
from litequeue.core.ties import LEADS, LINK
from tests.store.conftest import Driver, Takes, canvas, new_group, succeed, with_errbacks

# Written whole, or not at all


def test_what_waits_for_nothing_is_ready_and_the_rest_waits(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    later = driver.new(run_at=clock.now() + 60)
    driver.write(first, second, third, later)
    assert [driver.state(task.id) for task in (first, second, third, later)] == [
        state.READY,
        state.WAITING,
        state.WAITING,
        state.SCHEDULED,
    ]
    driver.check()


def test_a_canvas_can_be_read_as_it_was_written(driver: Driver) -> None:
    group = new_group(1, tolerant=1, root_id="r", parent_id="p")
    member = driver.member(group, 0, ties=LEADS)
    body = driver.then(group, countdown=5.0, lifetime=7.0, stamps='{"a":["x"]}', takes_input=1)
    driver.write(with_errbacks(member, driver.new()), group, body)
    record = driver.row(body.id)
    for name in ("after", "edge", "countdown", "lifetime", "stamps", "ties", "errbacks"):
        assert getattr(record, name) == getattr(body, name), name
    assert record.takes_input
    found = driver.store.group(group.id)
    assert found is not None
    for name in ("id", "size", "group_id", "group_index", "root_id", "parent_id"):
        assert getattr(found, name) == getattr(group, name), name
    assert (found.remaining, found.failed_id, found.tolerant, found.finished_at) == (1, None, True, None)
    assert found.created_at == pytest.approx(clock.now(), abs=5)
    assert driver.store.group("nobody") is None


@pytest.mark.parametrize("where", ["in the file", "in the canvas"])
@pytest.mark.parametrize("what", ["task", "group"])
def test_a_duplicate_id_is_named_and_nothing_of_the_canvas_is_written(driver: Driver, what: str, where: str) -> None:
    members, group, body = driver.chord(3)
    twin = driver.new(id=body.id) if what == "task" else group
    if where == "in the file":
        if isinstance(twin, NewTask):
            driver.enqueue(twin)
        else:
            driver.write(group, *members)
        members = [driver.member(group, index) for index in range(3)]
        nodes = [*members, group, body]
    else:
        nodes = [*members, group, body, twin]
    before = driver.store.counts()
    with pytest.raises(exceptions.DuplicateTaskError, match=twin.id):
        driver.write(*nodes)
    assert driver.store.counts() == before
    assert [driver.store.task(task.id) for task in members] == [None] * 3
    driver.check()


def test_the_tasks_of_a_canvas_may_be_a_generator_that_starts_anew(driver: Driver) -> None:
    class Again:
        def __iter__(self):  # type: ignore[no-untyped-def]
            return (driver.new(id=f"t{n}") for n in range(3))

    driver.store.enqueue_canvas(NewCanvas(Again()))
    with pytest.raises(exceptions.DuplicateTaskError, match="t0"):
        driver.store.enqueue_canvas(NewCanvas(Again()))


def test_an_empty_canvas_is_fine(driver: Driver) -> None:
    driver.write()
    assert driver.store.counts() == {}


def test_an_unknown_durability_is_refused(driver: Driver) -> None:
    with pytest.raises(ValueError, match="full"):
        driver.store.enqueue_canvas(canvas(driver.new()), "paranoid")


def test_a_canvas_wakes_an_idle_slot_for_what_is_ready(driver: Driver) -> None:
    channel = driver.open_channel()
    hand = driver.hand()
    assert hand.claim() == []
    first, second = driver.chain("add", "add")
    driver.write(first, second._replace(queue="another"))
    assert driver.store.wait_for_work(channel, 5)
    other = driver.hand(queues=("another",))
    assert other.claim() == []
    hand.succeed(first)
    assert driver.store.wait_for_work(channel, 5), "the next step is ready in the other queue"


# Chains


def test_a_step_is_released_when_the_one_before_has_succeeded_and_gets_its_value(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second, third)
    hand = driver.hand()
    assert hand.claim() == [first.id]
    hand.succeed(first, value="41")
    assert hand.inputs(second) == 41
    assert driver.state(third.id) == state.WAITING
    hand.succeed(second, value="42")
    assert hand.inputs(third) == 42
    hand.succeed(third)
    assert driver.store.counts() == {"celery": {state.SUCCEEDED: 3}}


def test_the_release_and_the_next_claim_share_a_transaction(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second)
    hand = driver.hand()
    settled = driver.store.settle(hand.claimant, [succeed(hand.take(first))], 1)
    assert [each.id for each in settled.claimed] == [second.id]


def test_a_retry_releases_nothing_and_counts_nothing(driver: Driver) -> None:
    members, group, body = driver.chord(2)
    link = driver.then(members[0], edge=LINK)
    driver.write(*members, group, body, link)
    hand = driver.hand()
    hand.retry(members[0])
    hand.succeed(members[1])
    assert (driver.remaining(group), driver.state(link.id), driver.state(body.id)) == (1, state.WAITING, state.WAITING)
    hand.succeed(members[0])
    assert (driver.state(link.id), driver.state(body.id)) == (state.READY, state.READY)


def test_what_comes_after_a_failure_fails_with_it_at_once(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    link = driver.then(second, edge=LINK)
    errback = driver.new("eb")
    driver.write(first, with_errbacks(second, errback), with_errbacks(third, errback), link)
    driver.hand().fail(first)
    for task in (second, third, link):
        record = driver.row(task.id)
        assert (record.state, record.result, record.result_serializer) == (state.FAILED, first.id, "upstream")
        assert record.finished_at is not None
        assert record.prune_at is not None
    assert driver.store.counts()["celery"] == {state.FAILED: 4}, "their error callbacks are not theirs to fire"


@pytest.mark.parametrize("how", ["revoke", "ignore"])
def test_what_comes_after_an_end_without_a_value_ends_so_too(driver: Driver, how: str) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second, third)
    hand = driver.hand()
    if how == "revoke":
        assert set(driver.store.revoke([first.id])) == {first.id, second.id, third.id}
        driver.check()
    else:
        hand.ignore(first)
    ended = state.REVOKED if how == "revoke" else state.IGNORED
    assert driver.store.counts() == {"celery": {ended: 3}}
    assert driver.row(third.id).result == (first.id if how == "revoke" else None)
    assert hand.claim() == []


@pytest.mark.parametrize("how", ["fail", "revoke"])
def test_a_hundred_thousand_steps_end_in_one_transaction(open_driver: Callable[..., Driver], how: str) -> None:
    driver = open_driver(durability="normal")
    tasks = driver.chain(*["add"] * 100_000)
    driver.write(*tasks)
    hand = driver.hand()
    began = time.monotonic()
    if how == "fail":
        hand.fail(tasks[0])
    else:
        assert len(driver.store.revoke([tasks[0].id])) == len(tasks)
    assert time.monotonic() - began < 20
    assert driver.store.counts() == {"celery": {state.FAILED if how == "fail" else state.REVOKED: len(tasks)}}


# Every way in which a task may end moves on what hangs on it


WAYS = {
    "fail": state.FAILED,
    "revoke": state.REVOKED,
    "expire at a claim": state.REVOKED,
    "expire at a pruning": state.REVOKED,
    "ignore": state.IGNORED,
    "lost, at most once": state.FAILED,
    "lost, poison": state.FAILED,
    "stopped, at most once": state.FAILED,
}


def end_in_this_way(driver: Driver, task: NewTask, way: str) -> None:
    """End `task`, which is ready, and made with `expires_at` where it is to expire."""
    hand = driver.hand(picker=Takes(once={"add"} if "at most once" in way else set()))
    if way == "fail":
        hand.fail(task)
    elif way == "revoke":
        driver.store.revoke([task.id])
    elif way == "expire at a pruning":
        driver.store.prune(10)
    elif way == "ignore":
        hand.ignore(task)
    else:
        hand.claim()
        if "poison" in way:
            driver.store.bury(hand.claimant.holder, "killed", 1)
        elif "lost" in way:
            driver.store.bury(hand.claimant.holder, "killed", 3)
        else:
            driver.store.deregister(hand.claimant.holder)
    driver.check()


@pytest.mark.parametrize("way", WAYS)
def test_whatever_way_a_step_ends_nothing_waits_for_it(driver: Driver, way: str) -> None:
    first, *others = driver.chain("add", "add", "add", expires_at=clock.now() - 1 if "expire" in way else None)
    driver.write(first, *others)
    end_in_this_way(driver, first, way)
    assert [driver.state(task.id) for task in (first, *others)] == [WAYS[way]] * 3


@pytest.mark.parametrize("way", WAYS)
def test_whatever_way_a_member_ends_it_is_counted(driver: Driver, way: str) -> None:
    members, group, body = driver.chord(1, expires_at=clock.now() - 1 if "expire" in way else None)
    driver.write(*members, group, body)
    end_in_this_way(driver, members[0], way)
    assert driver.state(members[0].id) == WAYS[way]
    assert driver.remaining(group) == 0
    record = driver.row(body.id)
    if way == "ignore":
        assert record.state == state.READY
        assert driver.hand().inputs(body) == [None]
    else:
        assert (record.state, record.result_serializer) == (state.FAILED, "error")
        error = json.loads(str(record.result))
        assert error["type"] == "ChordError"
        cause = json.loads(str(driver.row(members[0].id).result))
        assert error["text"] == f"Dependency {members[0].id} raised {_shown(cause)}"
        assert error["cause"] == cause


def _shown(record: dict[str, Any]) -> str:
    return f"{record['type']}({', '.join(map(repr, record['args']))})"


# The time of what waits counts from its release


def test_countdown_and_lifetime_count_from_the_release(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second._replace(countdown=30.0, lifetime=40.0))
    record = driver.row(second.id)
    assert (record.run_at, record.expires_at) == (None, None)
    driver.hand().succeed(first)
    record = driver.row(second.id)
    assert record.state == state.SCHEDULED
    assert record.run_at == pytest.approx(clock.now() + 30, abs=5)
    assert record.expires_at == pytest.approx(clock.now() + 40, abs=5)


def test_no_countdown_is_now(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second._replace(countdown=0.0))
    driver.hand().succeed(first)
    assert driver.state(second.id) == state.READY


@pytest.mark.parametrize("late", [False, True])
def test_what_waits_for_a_group_has_its_countdown_too(driver: Driver, late: bool) -> None:
    members, group, body = driver.chord(2)
    driver.write(*members, group, body._replace(countdown=30.0 if late else None))
    driver.hand().succeed(*members)
    assert driver.state(body.id) == (state.SCHEDULED if late else state.READY)


def test_a_time_of_day_holds_for_what_waits(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second._replace(run_at=clock.now() - 1), third._replace(run_at=clock.now() + 60))
    hand = driver.hand()
    hand.succeed(first)
    assert driver.state(second.id) == state.READY
    hand.succeed(second)
    assert driver.state(third.id) == state.SCHEDULED


def test_what_waits_past_its_expiry_is_revoked_with_what_waits_for_it(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second._replace(expires_at=clock.now() - 1), third)
    driver.store.prune(10)
    driver.check()
    assert [driver.state(task.id) for task in (first, second, third)] == [state.READY, state.REVOKED, state.REVOKED]
    hand = driver.hand()
    hand.succeed(first)
    assert hand.claim() == []


def test_a_lifetime_of_nothing_is_over_at_the_release(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second._replace(lifetime=-1.0), third)
    hand = driver.hand()
    hand.succeed(first)
    assert hand.claim() == []
    driver.check()
    assert [driver.state(task.id) for task in (second, third)] == [state.REVOKED, state.REVOKED]


# Revoking


def test_a_step_that_waits_can_be_revoked(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second, third)
    assert set(driver.store.revoke([second.id])) == {second.id, third.id}
    driver.check()
    hand = driver.hand()
    hand.succeed(first)
    assert hand.claim() == []


def test_a_revoked_group_is_each_of_its_members_and_fails_what_waits_for_it(driver: Driver) -> None:
    inner = new_group(2)
    outer = new_group(3)
    inner = inner._replace(group_id=outer.id, group_index=2)
    members = [driver.member(outer, 0), driver.member(outer, 1)]
    nested = [driver.member(inner, 0), driver.member(inner, 1)]
    body = driver.then(outer)
    driver.write(outer, inner, *members, *nested, with_errbacks(body, driver.new("eb")))
    hand = driver.hand()
    hand.succeed(members[0])
    running = hand.take(members[1])
    assert set(driver.store.revoke([outer.id])) == {task.id for task in nested} - set(hand.held)
    driver.store.release(hand.claimant.holder, [(c.seq, c.attempt) for c in hand.held.values()])
    assert {driver.state(task.id) for task in nested} == {state.REVOKED}, "those that had been claimed, when given back"
    driver.check()
    assert (driver.remaining(inner), driver.remaining(outer)) == (0, 1)
    hand.settle(succeed(running))
    assert driver.state(body.id) == state.FAILED
    assert [record.name for record in driver.store.followers(body.id)] == ["eb"]


def test_only_what_was_revoked_is_told_as_revoked(driver: Driver) -> None:
    """A body whose header was revoked has failed: its id is not among the revoked ones."""
    members, group, body = driver.chord(2)
    driver.write(*members, group, body)
    assert set(driver.store.revoke([group.id, "nobody"])) == {task.id for task in members}
    assert driver.state(body.id) == state.FAILED


def test_a_revoked_body_does_not_run(driver: Driver) -> None:
    members, group, body = driver.chord(2)
    driver.write(*members, group, body)
    assert driver.store.revoke([body.id]) == (body.id,)
    hand = driver.hand()
    hand.succeed(*members)
    assert hand.claim() == []
    assert driver.remaining(group) == 0
