"""The journal: every move of a task once, in order, without gaps, when somebody wants it, and within its bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from litequeue.core import clock, process, state
from litequeue.core.records import NewProcess, NewTask, Outcome, Rerun, Ticket
from litequeue.core.steering import DeadFilter
from litequeue.core.viewing import EventRange
from litequeue.store.contract import StoreOptions
from tests.store.conftest import ERROR, Driver, Hand, fail, retry, succeed

Open = Callable[..., Driver]


@pytest.fixture
def hand(driver: Driver) -> Hand:
    """A process whose moves are written into the journal."""
    hand = driver.hand()
    assert driver.store.set_events(hand.claimant.holder, True)
    return hand


def kinds(driver: Driver, task: NewTask | str | None = None, after: int = 0) -> list[str]:
    """The types of the events of a task (None: of all)."""
    task_id = task.id if isinstance(task, NewTask) else task
    return [event.kind for event in driver.store.events(after) if task_id is None or event.task_id == task_id]


def test_nothing_is_written_unless_somebody_wants_it(driver: Driver) -> None:
    hand = driver.hand()
    task = driver.new()
    driver.enqueue(task, driver.new())
    hand.succeed(task)
    driver.store.revoke(driver.enqueue(driver.new()))
    assert driver.store.events(0) == []
    assert driver.store.event_range() == EventRange(1, 0)


def test_a_task_that_succeeds(driver: Driver, hand: Hand) -> None:
    task = driver.new()
    driver.enqueue(task)
    hand.succeed(task)
    received, started, succeeded = driver.store.events(0)
    assert (received.kind, started.kind, succeeded.kind) == ("task-received", "task-started", "task-succeeded")
    assert [event.number for event in (received, started, succeeded)] == [1, 2, 3]
    assert {event.task_id for event in (received, started, succeeded)} == {task.id}
    assert {event.attempt for event in (received, started, succeeded)} == {1}
    assert {event.worker for event in (received, started, succeeded)} == {"celery@here"}
    assert started.fields == {"name": "add"}
    assert received.at <= succeeded.at <= clock.now()


def test_every_other_end(driver: Driver, hand: Hand) -> None:
    names = ("failed", "retried", "rejected", "snoozed", "ignored", "released", "replaced")
    tasks = {name: driver.new(id=name) for name in names}
    driver.enqueue(*tasks.values())
    claims = {name: hand.take(task) for name, task in tasks.items()}
    now = clock.now()
    driver.store.settle(
        hand.claimant,
        [
            fail(claims["failed"]),
            retry(claims["retried"]),
            Outcome(claims["rejected"], state.READY, now, ERROR, rerun=Rerun()),
            Outcome(claims["snoozed"], state.SCHEDULED, now, rerun=Rerun(run_at=now + 60, snooze=True)),
            Outcome(claims["ignored"], state.IGNORED, now),
        ],
    )
    hand.held["replaced"] = claims["replaced"]
    hand.become("replaced", driver.new())
    driver.store.release(hand.claimant.holder, [Ticket(claims["released"].seq, claims["released"].attempt)])
    for name in names:
        assert kinds(driver, name)[:3] == ["task-received", "task-started", f"task-{name}"]


def test_what_ends_because_of_others(driver: Driver, hand: Hand) -> None:
    first, second, third = driver.chain("add", "add", "add")
    driver.write(first, second, third)
    hand.fail(first)
    assert kinds(driver, second) == kinds(driver, third) == ["task-failed"]
    driver.store.retry(DeadFilter(ids=(first.id,)))
    assert kinds(driver, first)[-1] == "task-revived"


def test_what_no_worker_moves(driver: Driver, hand: Hand) -> None:
    (revoked, expired) = driver.enqueue(driver.new(), driver.new(expires_at=clock.now() - 1))
    driver.store.revoke([revoked])
    driver.store.prune(10)
    (lost,) = driver.enqueue(driver.new())
    other = driver.hand()
    driver.store.set_events(other.claimant.holder, True)
    assert other.claim() == [lost]
    driver.store.bury(other.claimant.holder, "it died", 3)
    assert kinds(driver, revoked) == kinds(driver, expired) == ["task-revoked"]
    assert kinds(driver, lost)[-1] == "task-rescued"


def test_numbers_have_no_gaps_and_reading_goes_on_from_any(driver: Driver, hand: Hand) -> None:
    for _ in range(3):
        tasks = [driver.new() for _ in range(7)]
        driver.enqueue(*tasks)
        hand.succeed(*tasks)
    everything = driver.store.events(0)
    assert [event.number for event in everything] == list(range(1, 3 * 7 * 3 + 1))
    for after in range(len(everything) + 1):
        assert driver.store.events(after) == everything[after:]
        assert driver.store.events(after, limit=2) == everything[after : after + 2]
    assert driver.store.event_range() == EventRange(1, len(everything))


def test_what_a_transaction_does_is_told_with_it_or_not_at_all(driver: Driver, hand: Hand) -> None:
    task = driver.new()
    driver.enqueue(task)
    claimed = hand.take(task)
    driver.store.settle(hand.claimant, [succeed(claimed)])
    before = driver.store.events(0)
    assert driver.store.settle(hand.claimant, [succeed(claimed)]).lost == (claimed,)
    assert driver.store.events(0) == before, "a late worker changes nothing, and says nothing"


def test_events_of_ones_own(driver: Driver) -> None:
    driver.store.publish([("task-progress", {"uuid": "1", "done": 3}), ("hello", {"what": object})], "celery@here")
    driver.store.publish([])
    progress, hello = driver.store.events(0)
    assert (progress.kind, progress.task_id, progress.fields) == ("task-progress", "1", {"uuid": "1", "done": 3})
    assert (hello.kind, hello.task_id, hello.fields) == ("hello", None, {"what": repr(object)})
    assert hello.worker == "celery@here"


def test_switched_on_and_off_while_it_runs(driver: Driver) -> None:
    hand = driver.hand()
    assert not driver.store.set_events(hand.claimant.holder, False), "they are off"
    assert driver.store.set_events(hand.claimant.holder, True)
    first, second = driver.new(), driver.new()
    driver.enqueue(first)
    hand.succeed(first)
    assert driver.store.set_events(hand.claimant.holder, False)
    driver.enqueue(second)
    hand.succeed(second)
    assert kinds(driver, first) != [] == kinds(driver, second)


def test_a_child_does_as_its_supervisor(driver: Driver) -> None:
    store = driver.store
    parent = store.register(
        NewProcess(worker="w", role="worker", parent=None, identity=process.current(), queues=("celery",), events=True)
    )
    child = store.register(
        NewProcess(worker="w", role="child", parent=parent, identity=process.current(), queues=("celery",))
    )
    assert {record.id: record.events for record in store.processes()} == {parent: True, child: True}
    store.set_events(parent, False)
    later = store.register(
        NewProcess(worker="w", role="child", parent=parent, identity=process.current(), queues=("celery",), events=True)
    )
    assert {record.id: record.events for record in store.processes()} == {parent: False, child: False, later: False}


def test_it_ends_with_the_last_process_that_wanted_it(driver: Driver, hand: Hand) -> None:
    driver.store.deregister(hand.claimant.holder)
    driver.store.revoke(driver.enqueue(driver.new()))
    assert driver.store.events(0) == []


def test_the_oldest_go_by_time_and_by_number_and_never_the_newest(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = driver.store
    for number in range(5):
        store.publish([("tick", {"n": number})])
    store.prune(10)
    assert store.event_range() == EventRange(1, 5)
    at = clock.now() + 3601
    monkeypatch.setattr(clock, "now", lambda: at)
    store.prune(10)
    assert store.event_range() == EventRange(5, 5)
    store.publish([("tick", {})])
    assert store.event_range() == EventRange(5, 6)
    assert [event.number for event in store.events(0)] == [5, 6], "whoever asks for older ones sees that they are gone"


def test_no_more_than_the_limit_are_kept(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "q.db"), event_limit=10)
    for number in range(50):
        driver.store.publish([("tick", {"n": number}), ("tock", {})])
    driver.store.prune(10)
    found = driver.store.event_range()
    assert found.last == 100
    assert 10 <= found.last - found.first + 1 <= 12


def test_sent_events(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "q.db"), sent_events=True)
    plain, first, second = driver.new(), *driver.chain("add", "mail")
    driver.enqueue(plain)
    driver.write(first, second)
    assert [(event.kind, event.task_id, event.fields) for event in driver.store.events(0)] == [
        ("task-sent", plain.id, {"name": "add", "queue": "celery"}),
        ("task-sent", first.id, {"name": "add", "queue": "celery"}),
        ("task-sent", second.id, {"name": "mail", "queue": "celery"}),
    ]


def test_a_row_that_somebody_wrote_is_passed_over(driver: Driver) -> None:
    driver.store.publish([("one", {})])
    with driver.store._database.write("normal") as connection:  # type: ignore[attr-defined]
        connection.execute("INSERT INTO litequeue_events VALUES (2, 1, 0.0, NULL, 'not JSON')")
    driver.store.publish([("three", {})])
    assert [(event.number, event.kind) for event in driver.store.events(0)] == [(1, "one"), (3, "three")]


def test_options() -> None:
    options = StoreOptions()
    assert (options.sent_events, options.event_retention, options.event_limit) == (False, 3600.0, 1_000_000)
