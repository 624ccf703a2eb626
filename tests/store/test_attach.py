"""Links and error callbacks that are added to a task which the file has already, whatever state it is in."""

from __future__ import annotations

import threading

import pytest

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.ids import new_id
from litequeue.core.records import NewTask
from litequeue.core.ties import ERRBACKS, FEEDS, LEADS, LINK
from tests.store.conftest import Driver, Hand, Takes, canvas, fail, retry, succeed, with_errbacks
from tests.store.test_errbacks import errbacks_of


def link_to(driver: Driver, task: NewTask, **changes: object) -> NewTask:
    return driver.then(task, edge=LINK, **changes)


def test_an_unknown_task_has_nothing_attached(driver: Driver) -> None:
    nobody = driver.new()
    assert not driver.store.attach(nobody.id, canvas(link_to(driver, nobody)), [driver.new()])
    assert driver.store.counts() == {}


def test_a_duplicate_id_is_named_and_nothing_is_attached(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    with pytest.raises(exceptions.DuplicateTaskError, match=task_id):
        driver.store.attach(task_id, canvas(link_to(driver, task, id=task_id)))
    assert driver.row(task_id).ties == 0


BEFORE = ["waiting", "scheduled", "ready", "running"]


def put(driver: Driver, where: str) -> tuple[NewTask, Hand]:
    """A task in this state, and the process that holds it, or will."""
    hand = driver.hand()
    head, task = driver.chain("add", "add")
    if where == "waiting":
        driver.write(head, task)
        return task, hand
    task = driver.new(run_at=clock.now() + 0.1 if where == "scheduled" else None)
    driver.enqueue(task)
    if where == "running":
        hand.claim()
    return task, hand


def bring(hand: Hand, task: NewTask) -> None:
    """Have `task` claimed."""
    while task.id not in hand.held:
        for other in hand.claim():
            if other != task.id:
                hand.succeed(other)


@pytest.mark.parametrize("end", ["succeed", "fail", "ignore", "retry, then succeed", "retry, then fail", "lost"])
@pytest.mark.parametrize("where", BEFORE)
def test_what_is_attached_before_the_end_is_released_or_ends_with_it(driver: Driver, where: str, end: str) -> None:
    task, hand = put(driver, where)
    link = link_to(driver, task)
    after = driver.then(link)
    assert driver.store.attach(task.id, canvas(link, after), [driver.new("eb")])
    assert driver.row(task.id).ties & (LEADS | FEEDS | ERRBACKS) == LEADS | FEEDS | ERRBACKS
    driver.check()
    assert [driver.state(each.id) for each in (link, after)] == [state.WAITING] * 2
    bring(hand, task)
    if end.startswith("retry"):
        hand.retry(task)
        assert driver.state(link.id) == state.WAITING
    if end == "lost":
        driver.store.bury(hand.claimant.holder, "killed", 1)
        driver.check()
    else:
        getattr(hand, end.removeprefix("retry, then "))(task)
    failed = end == "lost" or end.endswith("fail")
    expected = state.FAILED if failed else state.IGNORED if end == "ignore" else state.READY
    assert driver.state(link.id) == expected
    assert [record.name for record in errbacks_of(driver, task)] == ["eb"] * failed
    if expected == state.READY:
        assert driver.hand().inputs(link) == 3


@pytest.mark.parametrize("end", [state.SUCCEEDED, state.FAILED, state.REVOKED, state.IGNORED])
def test_what_is_attached_to_an_ended_task_is_released_or_ends_at_once(driver: Driver, end: str) -> None:
    task = driver.new()
    driver.enqueue(task)
    hand = driver.hand()
    if end == state.REVOKED:
        driver.store.revoke([task.id])
    else:
        {state.SUCCEEDED: hand.succeed, state.FAILED: hand.fail, state.IGNORED: hand.ignore}[end](task)
    link = link_to(driver, task)
    after = driver.then(link)
    assert driver.store.attach(task.id, canvas(link, after), [driver.new("eb"), driver.new("eb")])
    driver.check()
    expected = [state.READY, state.WAITING] if end == state.SUCCEEDED else [end, end]
    assert [driver.state(each.id) for each in (link, after)] == expected
    assert len(errbacks_of(driver, task)) == (2 if end == state.FAILED else 0)
    if end == state.SUCCEEDED:
        assert hand.inputs(link) == 3
    elif end != state.IGNORED:
        assert (driver.row(link.id).result, driver.row(link.id).result_serializer) == (task.id, "upstream")


def test_what_is_attached_to_a_task_that_failed_with_another_has_that_ones_error(driver: Driver) -> None:
    first, second = driver.chain("add", "add")
    driver.write(first, second)
    driver.hand().fail(first)
    link = link_to(driver, second)
    assert driver.store.attach(second.id, canvas(link), [driver.new("eb")])
    driver.check()
    assert (driver.row(link.id).result, driver.state(link.id)) == (first.id, state.FAILED)
    assert errbacks_of(driver, second) == [], "it did not fail by itself"


def test_error_callbacks_that_have_fired_do_not_fire_again(driver: Driver) -> None:
    task = with_errbacks(driver.new(), driver.new("first"))
    driver.write(task)
    driver.hand().fail(task)
    driver.store.attach(task.id, canvas(), [driver.new("second")])
    driver.store.attach(task.id, canvas(), [driver.new("third")])
    driver.check()
    assert [record.name for record in errbacks_of(driver, task)] == ["first", "second", "third"]


def test_a_chord_may_be_attached(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    members, group, body = driver.chord(2)
    members = [member._replace(after=task_id, edge=LINK, takes_input=1) for member in members]
    assert driver.store.attach(task_id, canvas(*members, group, body))
    hand = driver.hand()
    hand.succeed(task, value="9")
    assert [hand.inputs(member) for member in members] == [9, 9]
    hand.succeed(*members)
    assert hand.inputs(body) == [3, 3]


def test_a_whole_batch_notices_what_was_attached_to_some_of_it(driver: Driver) -> None:
    """Of rows that were claimed together, one is tied to another since, one is lost, one is plain."""
    tasks = [driver.new() for _ in range(4)]
    driver.enqueue(*tasks)
    hand = driver.hand()
    hand.claim()
    link = link_to(driver, tasks[1])
    driver.store.attach(tasks[1].id, canvas(link))
    driver.store.attach(tasks[3].id, canvas(), [driver.new("eb")])
    claims = [hand.held[task.id] for task in tasks]
    gone = claims[2]._replace(attempt=9)
    settled = hand.settle(succeed(claims[0]), succeed(claims[1]), succeed(gone), fail(claims[3]))
    assert settled.lost == (gone,)
    assert driver.store.states([task.id for task in tasks]) == {
        tasks[0].id: state.SUCCEEDED,
        tasks[1].id: state.SUCCEEDED,
        tasks[2].id: state.RUNNING,
        tasks[3].id: state.FAILED,
    }
    assert driver.state(link.id) == state.READY
    assert len(errbacks_of(driver, tasks[3])) == 1


def test_a_retry_keeps_what_was_attached_while_it_ran(driver: Driver) -> None:
    (task_id,) = driver.enqueue(task := driver.new())
    hand = driver.hand()
    claimed = hand.take(task)
    driver.store.attach(task_id, canvas(link := link_to(driver, task)), [driver.new("eb")])
    hand.settle(retry(claimed))
    assert driver.row(task_id).ties & LEADS
    hand.fail(task)
    assert driver.state(link.id) == state.FAILED
    assert len(errbacks_of(driver, task)) == 1


def test_an_attached_link_wakes_an_idle_slot(driver: Driver) -> None:
    channel = driver.open_channel()
    (task_id,) = driver.enqueue(task := driver.new())
    hand = driver.hand()
    hand.succeed(task)
    assert hand.claim() == []
    driver.store.attach(task_id, canvas(link_to(driver, task)))
    assert driver.store.wait_for_work(channel, 5)


def test_attaching_and_ending_at_the_same_moment_releases_every_link_once(driver: Driver) -> None:
    """Ends and attaches race; whichever comes first, every link is released, exactly once."""
    tasks = [driver.new() for _ in range(60)]
    driver.enqueue(*tasks)
    hand = driver.hand(picker=Takes({"add"}))
    hand.claim()
    links = {task.id: link_to(driver, task, name="link", id=new_id()) for task in tasks}
    start = threading.Barrier(2)

    def attach_all() -> None:
        start.wait()
        for task in tasks:
            assert driver.store.attach(task.id, canvas(links[task.id]))

    thread = threading.Thread(target=attach_all)
    thread.start()
    start.wait()
    for task in tasks:
        assert driver.store.settle(hand.claimant, [succeed(hand.held.pop(task.id))]).lost == ()
    thread.join()
    driver.check()
    assert {driver.state(link.id) for link in links.values()} == {state.READY}
