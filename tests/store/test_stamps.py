"""Stamps: rows are found by them, and revoked by them before and after they are written."""

from __future__ import annotations

import pytest

from litequeue.core import state
from litequeue.core.ties import LINK
from litequeue.store.sqlite import stamps
from tests.store.conftest import Driver, canvas, new_group, with_errbacks
from tests.store.test_errbacks import errbacks_of


def test_tasks_are_revoked_by_a_stamp(driver: Driver) -> None:
    one = driver.new(stamps='{"tag":"a","other":1}')
    many = driver.new(stamps='{"tag":["a","b"]}')
    none, unlike = driver.new(), driver.new(stamps='{"tag":"c"}')
    driver.enqueue(one)
    driver.write(many, none, unlike)
    assert set(driver.store.revoke_stamped({"tag": ["a"]})) == {one.id, many.id}
    driver.check()
    assert driver.state(none.id) == driver.state(unlike.id) == state.READY
    assert driver.store.revoke_stamped({"other": [2], "nothing": ["a"]}) == ()
    assert "TaskRevokedError" in str(driver.row(one.id).result)


@pytest.mark.parametrize("value", ["text", 7, 1.5, True, None, {"a": 1}])
def test_a_stamp_has_any_value(driver: Driver, value: object) -> None:
    import json

    task = driver.new(stamps=json.dumps({"tag": value}))
    driver.enqueue(task)
    assert driver.store.revoke_stamped({"tag": [value]}) == (task.id,)


def test_whoever_comes_later_under_a_revoked_stamp_is_revoked_at_once(driver: Driver) -> None:
    driver.store.revoke_stamped({"tag": ["a"]})
    one, fine = driver.new(stamps='{"tag":"a"}'), driver.new(stamps='{"tag":"b"}')
    driver.enqueue(one)
    driver.enqueue(driver.new(stamps='{"tag":["b","a"]}'), fine)
    driver.check()
    assert driver.store.counts() == {"celery": {state.REVOKED: 2, state.READY: 1}}
    assert driver.state(fine.id) == state.READY


def test_a_chain_under_a_revoked_stamp_is_counted_once_by_its_group(driver: Driver) -> None:
    """Each of its tasks has the stamp: the first takes the others along, which are then not revoked again."""
    driver.store.revoke_stamped({"tag": ["a"]})
    group = new_group(2)
    head, middle = driver.chain("add", "add", stamps='{"tag":"a"}')
    tail = driver.member(group, 0, stamps='{"tag":"a"}')._replace(after=middle.id, edge="then", takes_input=1)
    other, body = driver.member(group, 1), driver.then(group)
    driver.write(group, head, middle, tail, other, body)
    driver.check()
    assert driver.remaining(group) == 1
    assert driver.state(body.id) == state.WAITING
    driver.hand().succeed(other)
    assert driver.state(body.id) == state.FAILED


def test_a_chord_under_a_revoked_stamp_ends_with_all_that_follows(driver: Driver) -> None:
    driver.store.revoke_stamped({"tag": ["a"]})
    outer = new_group(3)
    empty = new_group(0, group_id=outer.id, group_index=2)
    members = [driver.member(outer, index, stamps='{"tag":"a"}') for index in range(2)]
    body = driver.then(outer)
    after = driver.then(body)
    driver.write(outer, empty, *members, with_errbacks(body, driver.new("eb")), after)
    driver.check()
    assert [driver.state(task.id) for task in (*members, body, after)] == [
        state.REVOKED,
        state.REVOKED,
        state.FAILED,
        state.FAILED,
    ]
    assert len(errbacks_of(driver, body)) == 1


def test_what_waits_under_a_stamp_is_revoked_and_what_runs_is_not(driver: Driver) -> None:
    first, second, third = driver.chain("add", "add", "add", stamps='{"tag":"a"}')
    driver.write(first, second, third._replace(stamps=None))
    hand = driver.hand()
    hand.claim()
    assert set(driver.store.revoke_stamped({"tag": ["a"]})) == {second.id, third.id}
    driver.check()
    hand.succeed(first)
    assert hand.claim() == []


def test_attached_links_and_error_callbacks_are_under_it_too(driver: Driver) -> None:
    driver.store.revoke_stamped({"tag": ["a"]})
    task = with_errbacks(driver.new(), driver.new(stamps='{"tag":"a"}'), driver.new())
    driver.write(task)
    link = driver.then(task, edge=LINK, stamps='{"tag":"a"}')
    after = driver.then(link)
    driver.store.attach(task.id, canvas(link, after))
    driver.check()
    assert [driver.state(each.id) for each in (link, after)] == [state.REVOKED] * 2
    driver.hand().fail(task)
    assert [record.state for record in errbacks_of(driver, task)] == [state.REVOKED, state.READY]


@pytest.mark.parametrize("text", ["[]", "3", "{", '"a"', "null"])
def test_stamps_that_somebody_else_wrote_are_none(driver: Driver, text: str) -> None:
    task = driver.new(stamps=text)
    driver.enqueue(task)
    assert driver.state(task.id) == state.READY
    driver.check()


def test_stamps_go_with_their_row(driver: Driver) -> None:
    """The number of a row that is gone may be given again: to one that has not its stamps."""
    (old,) = driver.enqueue(driver.new(stamps='{"tag":"a"}'))
    driver.store.revoke([old])
    driver.store.forget([old])
    driver.enqueue(driver.new())
    assert driver.store.revoke_stamped({"tag": ["a"]}) == ()
    driver.check()


def test_of_the_revoked_stamps_the_newest_are_kept(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = stamps.Stamping._DROP_OLD_STAMPS
    monkeypatch.setattr(stamps.Stamping, "_DROP_OLD_STAMPS", statement.replace("10000", "3"))
    for number in range(5):
        driver.store.revoke_stamped({"tag": [number]})
    tasks = [driver.new(stamps=f'{{"tag":{number}}}') for number in range(5)]
    driver.enqueue(*tasks)
    assert [driver.state(task.id) for task in tasks] == [state.READY] * 2 + [state.REVOKED] * 3
