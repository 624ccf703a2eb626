"""What tasks logged: a ring of lines for each task, fenced as all that a process writes, and gone with its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from litequeue.core import clock
from litequeue.core.records import Claimed, LogLine, NewTask, Ticket
from litequeue.core.steering import DeadFilter
from tests.store.conftest import Driver, Hand, fail, retry, succeed


def lines(*messages: str, attempt: int = 1) -> list[LogLine]:
    return [LogLine(attempt, 1000.0 + number, 20, "proj", message) for number, message in enumerate(messages)]


def ticket(claimed: Claimed) -> Ticket:
    return Ticket(claimed.seq, claimed.attempt)


def kept(driver: Driver, task: NewTask) -> list[str]:
    return [line.message for line in driver.store.logs(task.id)]


def count(driver: Driver) -> int:
    """How many lines the file has, whosever they are."""
    with driver.store._database.read() as connection:  # type: ignore[attr-defined]
        return int(connection.execute("SELECT count(*) FROM litequeue_logs").get)


class Said:
    """What an attempt has left to say in the end."""

    limit = 100

    def __init__(self, *said: LogLine) -> None:
        self._said = said

    def rest(self) -> Sequence[LogLine]:
        return self._said


@pytest.fixture
def hand(driver: Driver) -> Hand:
    return driver.hand()


@pytest.fixture
def running(driver: Driver, hand: Hand) -> Callable[..., tuple[NewTask, Claimed]]:
    def run(**changes: object) -> tuple[NewTask, Claimed]:
        task = driver.new(**changes)
        driver.enqueue(task)
        return task, hand.take(task)

    return run


def test_lines_are_read_as_they_were_written(driver: Driver, running: Callable[..., tuple[NewTask, Claimed]]) -> None:
    task, claimed = running()
    said = [LogLine(1, 12.5, 20, "proj.tasks", "one"), LogLine(1, 13.5, 45, "", "two\nlines æ \x00 end")]
    driver.store.keep_log(ticket(claimed), said, 10)
    assert driver.store.logs(task.id) == said
    driver.store.keep_log(ticket(claimed), lines("three"), 10)
    driver.store.keep_log(ticket(claimed), [], 10)
    assert kept(driver, task) == ["one", "two\nlines æ \x00 end", "three"]
    assert driver.store.logs("nobody") == []


def test_the_newest_lines_stay(driver: Driver, running: Callable[..., tuple[NewTask, Claimed]]) -> None:
    task, claimed = running()
    other, its = running()
    driver.store.keep_log(ticket(its), lines("its own"), 3)
    for number in range(10):
        driver.store.keep_log(ticket(claimed), lines(f"{number}a", f"{number}b"), 3)
    assert kept(driver, task) == ["8b", "9a", "9b"]
    assert kept(driver, other) == ["its own"]
    driver.store.keep_log(ticket(claimed), lines(*map(str, range(20))), 3)
    assert kept(driver, task) == ["17", "18", "19"] and count(driver) == 4


def test_the_end_brings_the_last_lines(
    driver: Driver, running: Callable[..., tuple[NewTask, Claimed]], hand: Hand
) -> None:
    good, one = running()
    bad, two = running()
    driver.store.keep_log(ticket(one), lines("before"), 5)
    hand.settle(
        succeed(one)._replace(log=Said(*lines("after"))), fail(two)._replace(log=Said(*lines("just before it failed")))
    )
    assert kept(driver, good) == ["before", "after"] and kept(driver, bad) == ["just before it failed"]


def test_lines_of_earlier_attempts_stay(
    driver: Driver, running: Callable[..., tuple[NewTask, Claimed]], hand: Hand
) -> None:
    task, first = running()
    hand.settle(retry(first)._replace(log=Said(*lines("first"))))
    second = hand.take(task)
    hand.settle(succeed(second)._replace(log=Said(*lines("second", attempt=2))))
    assert [(line.attempt, line.message) for line in driver.store.logs(task.id)] == [(1, "first"), (2, "second")]


def test_who_does_not_hold_the_task_writes_nothing(
    driver: Driver, running: Callable[..., tuple[NewTask, Claimed]], hand: Hand
) -> None:
    task, claimed = running()
    driver.store.keep_log(ticket(claimed)._replace(attempt=2), lines("of another attempt"), 5)
    driver.hand().settle(succeed(claimed)._replace(log=Said(*lines("of another process"))))
    hand.settle(succeed(claimed))
    driver.store.keep_log(ticket(claimed), lines("too late"), 5)
    driver.store.keep_log(Ticket(12345, 1), lines("of nobody"), 5)
    assert count(driver) == 0 and kept(driver, task) == []


def test_lines_go_with_their_row(driver: Driver, running: Callable[..., tuple[NewTask, Claimed]], hand: Hand) -> None:
    now = clock.now()
    pruned, forgotten, discarded = (running() for _ in range(3))
    for _, claimed in (pruned, forgotten, discarded):
        driver.store.keep_log(ticket(claimed), lines("said"), 5)
    hand.settle(succeed(pruned[1], prune_at=now - 1), succeed(forgotten[1]), fail(discarded[1]))
    assert count(driver) == 3
    assert driver.store.prune(10) == 1 and count(driver) == 2
    assert driver.store.forget([forgotten[0].id]) == 1 and count(driver) == 1
    assert driver.store.discard(DeadFilter(ids=(discarded[0].id,))) == 1 and count(driver) == 0


@pytest.mark.parametrize("tied", [False, True])
def test_lines_go_when_their_row_is_purged(driver: Driver, hand: Hand, tied: bool) -> None:
    tasks = driver.chain("add", "add") if tied else [driver.new()]
    driver.write(*tasks)
    claimed = hand.take(tasks[0])
    hand.settle(retry(claimed, run_at=clock.now() + 100)._replace(log=Said(*lines("said"))))
    assert count(driver) == 1
    assert driver.store.purge() == len(tasks) and count(driver) == 0


def test_lines_outlive_the_death_of_the_process_and_a_retry_by_hand(driver: Driver, hand: Hand) -> None:
    task = driver.new()
    driver.enqueue(task)
    claimed = hand.take(task)
    driver.store.keep_log(ticket(claimed), lines("said"), 5)
    driver.store.release(hand.claimant.holder, [ticket(claimed)])
    claimed = hand.take(task)
    hand.settle(fail(claimed))
    driver.store.retry(DeadFilter(ids=(task.id,)))
    assert kept(driver, task) == ["said"]
