"""How many tasks of a queue started and ended, in periods of ten seconds."""

from __future__ import annotations

import pytest

from litequeue.core import clock, state
from litequeue.core.periods import HISTORY, PERIOD
from litequeue.core.records import Outcome
from litequeue.core.viewing import Period
from tests.store.conftest import Driver, Hand, fail, retry, succeed


class Clock:
    """A time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the store."""
    time = Clock()
    monkeypatch.setattr(clock, "now", time)
    return time


def flushed(driver: Driver, hand: Hand, time: Clock) -> list[Period]:
    """The counts, once those are written that were kept back."""
    time.now += 1
    driver.store.claim(hand.claimant, 1, idle=True)
    return driver.store.periods(0)


def test_starts_and_ends_are_counted_by_queue(driver: Driver, time: Clock) -> None:
    hand = driver.hand(queues=("celery", "mail"))
    tasks = [driver.new(), driver.new(), driver.new(), driver.new(), driver.new(queue="mail")]
    driver.enqueue(*tasks)
    time.now += 2
    one, two, three, four, mail = (hand.take(task) for task in tasks)
    now = clock.now()
    driver.store.settle(
        hand.claimant, [succeed(one), fail(two), retry(three), Outcome(four, state.IGNORED, now), succeed(mail)]
    )
    assert flushed(driver, hand, time) == [  # which claims the one that is tried again
        Period(1_800_000_000, "celery", started=5, succeeded=2, failed=1, retried=1, timed=4, waited=8.0),
        Period(1_800_000_000, "mail", started=1, succeeded=1, failed=0, retried=0, timed=1, waited=2.0),
    ]


def test_each_period_has_its_own(driver: Driver, time: Clock) -> None:
    hand = driver.hand()
    for _ in range(3):
        task = driver.new()
        driver.enqueue(task)
        hand.succeed(task)
        time.now += PERIOD
    counted = flushed(driver, hand, time)
    assert [(period.at - 1_800_000_000, period.started, period.succeeded) for period in counted] == [
        (0, 1, 1),
        (PERIOD, 1, 1),
        (2 * PERIOD, 1, 1),
    ]
    assert driver.store.periods(1_800_000_000 + PERIOD) == counted[1:], "those that ended after that time"


def test_a_task_that_waited_for_its_time_did_not_wait(driver: Driver, time: Clock) -> None:
    hand = driver.hand()
    later = driver.new(run_at=clock.now() + 60)
    driver.enqueue(later)
    time.now += 61
    hand.succeed(later)
    (period,) = flushed(driver, hand, time)
    assert (period.timed, period.waited) == (1, 1.0)


def test_of_a_step_of_a_chain_nobody_knows_since_when_it_could_start(driver: Driver, time: Clock) -> None:
    hand = driver.hand()
    first, second = driver.chain("add", "add")
    driver.write(first, second)
    time.now += 5
    hand.succeed(first)
    time.now += 5
    hand.succeed(second)
    counted = flushed(driver, hand, time)
    assert sum(period.started for period in counted) == 2
    assert sum(period.timed for period in counted) == 1


def test_a_lost_attempt_is_not_counted(driver: Driver, time: Clock) -> None:
    hand = driver.hand()
    task = driver.new()
    driver.enqueue(task)
    claimed = hand.take(task)
    driver.store.settle(hand.claimant, [succeed(claimed)])
    driver.store.settle(hand.claimant, [succeed(claimed)])
    (period,) = flushed(driver, hand, time)
    assert period.succeeded == 1


def test_what_was_counted_is_written_when_the_process_ends(driver: Driver, time: Clock) -> None:
    hand = driver.hand()
    tasks = [driver.new(), driver.new()]
    driver.enqueue(*tasks)
    for task in tasks:
        hand.succeed(task)
    driver.store.deregister(hand.claimant.holder)
    assert [(period.started, period.succeeded) for period in driver.store.periods(0)] == [(2, 2)]


def test_an_hour_is_kept(driver: Driver, time: Clock) -> None:
    hand = driver.hand()
    for _ in range(2):
        task = driver.new()
        driver.enqueue(task)
        hand.succeed(task)
        flushed(driver, hand, time)
        time.now += HISTORY + 2 * PERIOD
    driver.store.prune(10)
    assert driver.store.periods(0) == []
