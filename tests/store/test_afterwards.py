"""What is left of a process that died, where only some of what it held died with it; and what waits for free slots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from litequeue.core import clock, process
from litequeue.core.records import NewProcess, Ticket
from litequeue.store.contract import ONCE, ONCE_STARTED
from tests.store.conftest import Driver, Takes


class Guards(Takes):
    """Knows how much running a task twice matters, by its name."""

    def at_most_once(self, name: str) -> int:  # type: ignore[override]
        return {"once": ONCE, "once started": ONCE_STARTED}.get(name, 0)


def test_only_the_guilty_count_a_death(driver: Driver) -> None:
    hand = driver.hand()
    ids = driver.enqueue(driver.new(), driver.new(), driver.new())
    hand.claim()
    guilty = hand.held[ids[1]]
    rescued = driver.store.bury(hand.claimant.holder, "killed", 3, [Ticket(guilty.seq, guilty.attempt)])
    assert set(rescued.requeued) == set(ids)
    assert [driver.row(task_id).deaths for task_id in ids] == [0, 1, 0]
    assert [[each.outcome for each in driver.store.attempts(task_id)] for task_id in ids] == [[], ["lost"], []]
    driver.check()


def test_another_attempt_than_the_guilty_one_counts_none(driver: Driver) -> None:
    hand = driver.hand()
    (task_id,) = driver.enqueue(driver.new())
    hand.claim()
    claimed = hand.held[task_id]
    driver.store.bury(hand.claimant.holder, "killed", 1, [Ticket(claimed.seq, claimed.attempt + 1)])
    assert (driver.row(task_id).state, driver.row(task_id).deaths) == ("ready", 0)


@pytest.mark.parametrize(
    ("name", "guilty", "ends"),
    [
        ("once", True, "failed"),
        ("once", False, "failed"),
        ("once started", True, "failed"),
        ("once started", False, "ready"),
        ("add", True, "ready"),
    ],
)
def test_what_may_not_run_twice(driver: Driver, name: str, guilty: bool, ends: str) -> None:
    hand = driver.hand(picker=Guards({"once", "once started", "add"}))
    (task_id,) = driver.enqueue(driver.new(name))
    claimed = hand.take(task_id)
    driver.store.bury(hand.claimant.holder, "killed", 3, [Ticket(claimed.seq, claimed.attempt)] if guilty else [])
    assert driver.state(task_id) == ends


def test_the_backlog_is_what_its_worker_could_start(driver: Driver) -> None:
    holder, names, now = driver.process(queues=("celery", "mail")), {"add"}, clock.now()
    for queue, count in (("celery", 3), ("mail", 2), ("elsewhere", 4)):
        driver.enqueue(*(driver.new(queue=queue) for _ in range(count)))
        driver.enqueue(driver.new(queue=queue, run_at=now - 1), driver.new(queue=queue, run_at=now + 100))
    queues = ("celery", "mail")
    assert driver.store.backlog(holder, queues, names) == 7
    assert driver.store.backlog(holder, queues, names, 4) == 4
    driver.store.pause("queue", ["celery"])
    assert driver.store.backlog(holder, queues, names) == 3
    driver.store.resume("queue", ["celery"])
    driver.store.set_queues(holder, ["elsewhere"])
    assert driver.store.backlog(holder, queues, names) == 5
    assert driver.store.backlog(holder, queues, names, 0) == 0


def test_the_backlog_has_no_rows_of_tasks_that_it_does_not_know(driver: Driver) -> None:
    hand = driver.hand()
    driver.enqueue(*(driver.new("unknown") for _ in range(3)), driver.new())
    hand.claim()
    assert driver.store.backlog(hand.claimant.holder, ("celery",), {"add"}) == 0
    assert driver.store.backlog(hand.claimant.holder, ("celery",), {"add", "unknown"}) == 3


def test_a_slot_that_ends_is_not_idle_any_more(driver: Driver, tmp_path: Path) -> None:
    hand = driver.hand()
    hand.claim()
    (record,) = driver.store.processes()
    assert record.idle == 1
    driver.store.settle(hand.claimant, (), idle=True)
    (record,) = driver.store.processes()
    assert record.idle == 0


def test_a_dead_child_is_left_to_its_supervisor_while_that_lives(driver: Driver) -> None:
    supervisor = driver.process()
    dead = replace(process.current(), pid=2**22 - 3, started="1")
    child = driver.store.register(
        NewProcess(worker="celery@here", role="child", parent=supervisor, identity=dead, queues=("celery",))
    )
    (task_id,) = driver.enqueue(driver.new())
    assert driver.store.claim(driver.claimant(child), 1).claimed
    store = driver.store
    assert store.rescue(60.0, 3).requeued == (), "another worker asks"
    assert store.rescue(60.0, 3, supervisor, [child]).requeued == (), "its own is about to bury it"
    assert store.rescue(60.0, 3, supervisor).requeued == (task_id,), "it could not"
    again = store.register(NewProcess(worker="w", role="child", parent=supervisor, identity=dead, queues=("celery",)))
    assert store.claim(driver.claimant(again), 1).claimed
    store.deregister(supervisor)
    assert store.rescue(60.0, 3).requeued == (task_id,), "it has none any more"
