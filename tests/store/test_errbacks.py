"""Error callbacks: rows, written in the transaction of the failure, once each."""

from __future__ import annotations

import json

import apsw
import pytest

from litequeue.core import clock, state
from litequeue.core.records import NewTask, TaskRecord
from litequeue.core.ties import read_errbacks, write_errbacks
from tests.store.conftest import Driver, Takes, with_errbacks


def errbacks_of(driver: Driver, task: NewTask | str) -> list[TaskRecord]:
    """The error callbacks that have fired for `task`."""
    task_id = task if isinstance(task, str) else task.id
    return [record for record in driver.store.followers(task_id) if record.edge == "error"]


def test_they_are_kept_as_they_are_given(driver: Driver) -> None:
    given = [
        driver.new("a", id="", priority=4, countdown=1.5, lifetime=2.0, takes_input=1, stamps='{"a":1}', options="{}"),
        driver.new("b", id="", payload=b"\x00\xff", serializer="pickle", errbacks=write_errbacks([driver.new("c")])),
    ]
    assert read_errbacks(write_errbacks(given)) == given
    assert read_errbacks(None) == []


@pytest.mark.parametrize("text", ["[1]", "{", "3", '[{"name": "a"}]', '[{"payload": "x", "colour": 1}]'])
def test_a_text_that_is_no_list_of_them_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_errbacks(text)


def test_each_fires_once_with_the_failed_task_as_its_parent(driver: Driver) -> None:
    task = with_errbacks(
        driver.new(root_id="root"), driver.new("one", takes_input=1), driver.new("two", priority=7, queue="other")
    )
    driver.write(task)
    hand = driver.hand(picker=Takes({"add", "one", "two"}))
    hand.fail(task)
    one, two = errbacks_of(driver, task)
    assert [(each.name, each.state, each.after) for each in (one, two)] == [
        ("one", state.READY, task.id),
        ("two", state.READY, task.id),
    ]
    for each in (one, two):
        assert (each.root_id, each.parent_id, each.edge) == ("root", task.id, "error")
    assert (two.priority, two.queue) == (7, "other")
    given = driver.store.inputs(hand.take(one.id))
    assert given.failed is not None
    assert (given.failed.id, given.failed.state) == (task.id, state.FAILED)


def test_they_are_a_group_among_the_childrens(driver: Driver) -> None:
    task = with_errbacks(driver.new(), driver.new("one"), driver.new("two"))
    driver.write(task)
    hand = driver.hand(picker=Takes({"add", "one", "two"}))
    hand.fail(task)
    (child,) = driver.store.children(task.id)
    assert child.is_group
    assert [member.id for member in driver.store.members(child.id)] == [each.id for each in errbacks_of(driver, task)]
    hand.run_all()
    group = driver.store.group(child.id)
    assert group is not None
    assert (group.remaining, group.parent_id) == (0, task.id)


def test_neither_a_retry_nor_a_success_fires_them(driver: Driver) -> None:
    task = with_errbacks(driver.new(), driver.new("eb"))
    driver.write(task)
    hand = driver.hand()
    hand.retry(task)
    hand.retry(task)
    assert errbacks_of(driver, task) == []
    hand.succeed(task)
    assert errbacks_of(driver, task) == []


@pytest.mark.parametrize("how", ["revoke", "expire", "ignore"])
def test_what_ends_without_having_failed_fires_none(driver: Driver, how: str) -> None:
    task = with_errbacks(driver.new(expires_at=clock.now() - 1 if how == "expire" else None), driver.new("eb"))
    driver.write(task)
    if how == "revoke":
        driver.store.revoke([task.id])
    elif how == "expire":
        driver.store.prune(10)
    else:
        driver.hand().ignore(task)
    assert driver.state(task.id) in state.TERMINAL
    assert errbacks_of(driver, task) == []


@pytest.mark.parametrize("once", [False, True])
def test_a_task_that_is_lost_with_its_worker_fires_them(driver: Driver, once: bool) -> None:
    task = with_errbacks(driver.new(), driver.new("eb"))
    driver.write(task)
    for _ in range(1 if once else 2):
        hand = driver.hand(picker=Takes(once={"add"} if once else set()))
        hand.take(task)
        assert errbacks_of(driver, task) == []
        driver.store.bury(hand.claimant.holder, "killed", 2)
    driver.check()
    assert [record.name for record in errbacks_of(driver, task)] == ["eb"]


def test_a_late_failure_of_a_lost_attempt_fires_nothing(driver: Driver) -> None:
    task = with_errbacks(driver.new(), driver.new("eb"))
    driver.write(task)
    late = driver.hand()
    late.claim()
    driver.store.bury(late.claimant.holder, "killed", 3)
    driver.hand().fail(task)
    late.settle(_fail(late, task))
    assert len(errbacks_of(driver, task)) == 1


def _fail(hand: object, task: NewTask) -> object:
    from tests.store.conftest import fail

    return fail(hand.held[task.id])  # type: ignore[attr-defined]


def test_an_error_callback_has_error_callbacks_of_its_own(driver: Driver) -> None:
    last = driver.new("last")
    second = with_errbacks(driver.new("second"), last)
    task = with_errbacks(driver.new(), second, driver.new("beside"))
    driver.write(task)
    hand = driver.hand(picker=Takes({"add", "second", "last", "beside"}))
    hand.fail(task)
    fired, beside = errbacks_of(driver, task)
    hand.succeed(beside.id)
    hand.fail(fired.id)
    (inner,) = errbacks_of(driver, fired.id)
    assert (inner.name, inner.parent_id) == ("last", fired.id)
    hand.fail(inner.id)
    assert driver.store.counts() == {"celery": {state.FAILED: 3, state.SUCCEEDED: 1}}


def test_their_countdown_and_lifetime_count_from_the_failure(driver: Driver) -> None:
    task = with_errbacks(driver.new(), driver.new("eb", countdown=30.0, lifetime=40.0), driver.new("eb", countdown=0.0))
    driver.write(task)
    driver.hand().fail(task)
    later, now = errbacks_of(driver, task)
    assert (later.state, now.state) == (state.SCHEDULED, state.READY)
    assert later.run_at == pytest.approx(clock.now() + 30, abs=5)
    assert later.expires_at == pytest.approx(clock.now() + 40, abs=5)


def test_many_fail_in_one_transaction_and_each_fires_its_own(driver: Driver) -> None:
    tasks = [with_errbacks(driver.new(), driver.new("eb"), driver.new("eb")) for _ in range(50)]
    driver.write(*tasks)
    driver.hand().fail(*tasks)
    assert [len(errbacks_of(driver, task)) for task in tasks] == [2] * 50


def test_one_that_expires_before_it_starts_is_revoked_and_its_group_ends(driver: Driver) -> None:
    task = with_errbacks(driver.new(), driver.new("eb", lifetime=-1.0))
    driver.write(task)
    hand = driver.hand(picker=Takes({"add", "eb"}))
    hand.fail(task)
    assert hand.claim() == []
    driver.check()
    (errback,) = errbacks_of(driver, task)
    assert errback.state == state.REVOKED
    (child,) = driver.store.children(task.id)
    group = driver.store.group(child.id)
    assert group is not None
    assert group.remaining == 0


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '[{"name": null, "queue": "q", "priority": 0, "payload": "", "serializer": "json"}]',
        '[{"name": "a", "queue": [1], "priority": 0, "payload": "", "serializer": "json"}]',
        '[{"name": "a", "queue": "q", "priority": "high", "payload": "", "serializer": "json"}]',
        '[{"name": "a", "queue": "q", "priority": 0, "payload": "", "serializer": "json", "countdown": "soon"}]',
        '[{"name": "a", "queue": "q", "priority": 99999999999999999999, "payload": "", "serializer": "json"}]',
        "[" * 5000 + "]" * 5000,
    ],
)
def test_a_failure_is_kept_whatever_somebody_has_written_there(driver: Driver, text: str) -> None:
    task = with_errbacks(driver.new(), driver.new("eb"))
    members, group, body = driver.chord(1)
    driver.write(task, *members, group, body)
    with driver.store._database.write("normal") as connection:  # type: ignore[attr-defined]
        assert isinstance(connection, apsw.Connection)
        connection.execute("UPDATE litequeue_tasks SET errbacks = ? WHERE id = ?", (text, task.id))
    hand = driver.hand()
    hand.claim()
    settled = driver.store.settle(hand.claimant, [_fail(hand, task), _fail(hand, members[0])])  # type: ignore[list-item]
    assert settled.lost == ()
    assert (driver.state(task.id), driver.state(body.id)) == (state.FAILED, state.FAILED)
    assert errbacks_of(driver, task) == []


def test_the_error_of_a_body_names_who_failed_and_why(driver: Driver) -> None:
    members, group, body = driver.chord(2)
    driver.write(*members, group, with_errbacks(body, driver.new("eb")))
    hand = driver.hand(picker=Takes({"add", "eb"}))
    hand.fail(*members)
    (errback,) = errbacks_of(driver, body)
    given = driver.store.inputs(hand.take(errback.id))
    assert given.failed is not None
    error = json.loads(str(given.failed.result))
    assert (error["type"], error["cause"]["type"]) == ("ChordError", "ValueError")
