"""Pauses and limits: what a claimer is kept from, and what it is not."""

from __future__ import annotations

import pytest

from litequeue.core import clock, state
from litequeue.core.steering import Pause
from tests.store.conftest import Driver, Takes, succeed


def test_a_paused_queue_is_not_claimed_from_until_it_is_resumed(driver: Driver) -> None:
    here, there = driver.claimant(queues=("celery", "mail")), driver.claimant(queues=("mail",))
    (mail,) = driver.enqueue(driver.new(queue="mail"))
    assert driver.store.pause("queue", ["mail", "nobody"]) == ("mail", "nobody")
    assert driver.store.pause("queue", ["mail"]) == (), "it is paused already"
    (plain,) = driver.enqueue(driver.new())
    assert [row.id for row in driver.store.claim(here, 10).claimed] == [plain]
    assert driver.store.claim(there, 10).claimed == ()
    assert not driver.store.busy(["mail"], {"add"})
    assert [(pause.kind, pause.name) for pause in driver.store.paused()] == [("queue", "mail"), ("queue", "nobody")]
    assert driver.store.resume("queue", ["mail", "other"]) == ("mail",)
    assert [row.id for row in driver.store.claim(there, 10).claimed] == [mail]


def test_a_paused_task_waits_and_blocks_nobody(driver: Driver) -> None:
    claimant = driver.claimant(picker=Takes({"add", "mail"}))
    driver.store.pause("task", ["mail"])
    first, second, third = driver.enqueue(driver.new("mail", priority=9), driver.new("mail"), driver.new("add"))
    settled = driver.store.claim(claimant, 10)
    assert [row.id for row in settled.claimed] == [third]
    assert settled.aside == (), "the worker knows the task"
    assert driver.row(first).aside
    assert driver.store.claim(claimant, 10).claimed == ()
    assert driver.store.resume("task", ["mail"]) == ("mail",)
    assert [row.id for row in driver.store.claim(claimant, 10).claimed] == [first, second], "in their old order"


def test_what_is_paused_is_kept_in_the_file(open_driver: object, tmp_path: object) -> None:
    first: Driver = open_driver(str(tmp_path / "q.db"))  # type: ignore[operator]
    first.store.pause("task", ["mail"])
    first.store.close()
    second: Driver = open_driver(str(tmp_path / "q.db"))  # type: ignore[operator]
    (pause,) = second.store.paused()
    assert pause == Pause("task", "mail", pytest.approx(clock.now(), abs=10))


def test_a_kind_that_there_is_not_is_refused(driver: Driver) -> None:
    with pytest.raises(ValueError, match="'worker'"):
        driver.store.pause("worker", ["w1"])


def test_another_process_keeps_to_a_pause_from_its_next_claim_on(open_driver: object, tmp_path: object) -> None:
    one: Driver = open_driver(str(tmp_path / "q.db"))  # type: ignore[operator]
    other: Driver = open_driver(str(tmp_path / "q.db"))  # type: ignore[operator]
    claimant = one.claimant()
    one.enqueue(one.new(), one.new())
    assert len(one.store.claim(claimant, 1).claimed) == 1
    other.store.pause("queue", ["celery"])
    assert one.store.claim(claimant, 1).claimed == ()
    other.store.resume("queue", ["celery"])
    assert len(one.store.claim(claimant, 1).claimed) == 1


# Rate limits


def test_a_limited_task_starts_so_often_and_the_slot_is_told_when_the_next_one_may(driver: Driver) -> None:
    driver.store.declare_rates({"add": "2/m", "mail": None})
    claimant = driver.claimant(picker=Takes({"add", "mail"}))
    limited = driver.enqueue(*(driver.new() for _ in range(3)))
    (mail,) = driver.enqueue(driver.new("mail"))
    now = clock.now()
    assert [row.id for row in driver.store.claim(claimant, 10).claimed] == [limited[0]], "it is claimed alone"
    assert [row.id for row in driver.store.claim(claimant, 10).claimed] == [mail], "it blocks nobody"
    settled = driver.store.claim(claimant, 10)
    assert settled.claimed == ()
    settled = driver.store.claim(claimant, 10, idle=True)
    assert settled.next_at == pytest.approx(now + 30, abs=2), "evenly: two in a minute are one in half a minute"
    assert not driver.store.busy(["celery"], {"add"}) or driver.store.states(limited)[limited[0]] == state.RUNNING


def test_no_second_has_more_starts_than_the_limit_and_few_have_less(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes claim in turn, one a millisecond."""
    began = clock.now()
    turn = taken = 0
    monkeypatch.setattr(clock, "now", lambda: began + turn / 1000)
    driver.store.set_rate("add", "100/s")
    hands = [driver.claimant(), driver.claimant()]
    ids = driver.enqueue(*(driver.new() for _ in range(150)))
    while taken < 150:
        claimant = hands[turn % 2]
        turn += 1
        settled = driver.store.claim(claimant, 5)
        driver.store.settle(claimant, [succeed(row) for row in settled.claimed])
        taken += len(settled.claimed)
    started = _starts(driver, ids)
    assert len(started) == 150
    for index, at in enumerate(started[:-100]):
        assert started[index + 100] - at >= 1.0
    assert 149 / (started[-1] - started[0]) > 90


def _starts(driver: Driver, ids: tuple[str, ...]) -> list[float]:
    return sorted(record.started_at for record in driver.store.tasks(ids) if record.started_at is not None)


def test_a_rate_set_at_run_time_comes_before_the_declared_one_and_stays(driver: Driver) -> None:
    driver.store.declare_rates({"add": "1/h"})
    driver.store.set_rate("add", "0")
    (limits,) = driver.store.limits()
    assert (limits.declared_rate, limits.rate, limits.effective_rate) == ("1/h", "0", None)
    driver.store.declare_rates({"add": "1/h"})
    claimant = driver.claimant()
    driver.enqueue(*(driver.new() for _ in range(5)))
    assert len(driver.store.claim(claimant, 10).claimed) == 5
    driver.store.set_rate("add", None)
    driver.enqueue(*(driver.new() for _ in range(5)))
    assert len(driver.store.claim(claimant, 10).claimed) == 1
    driver.store.declare_rates({"add": None})
    assert driver.store.limits() == [], "nothing is left of a name without limits"
    driver.store.claim(claimant, 10)
    assert len(driver.store.claim(claimant, 10).claimed) in (0, 4)


def test_a_claimer_may_take_no_notice_of_rate_limits(driver: Driver) -> None:
    driver.store.declare_rates({"add": "1/h"})
    claimant = driver.claimant()
    free = type(claimant)(**{**_fields(claimant), "rate_limited": False})
    driver.enqueue(*(driver.new() for _ in range(3)))
    taken = [row.id for _ in range(3) for row in driver.store.claim(free, 10).claimed]
    assert len(taken) == 3


def _fields(claimant: object) -> dict[str, object]:
    names = ("holder", "worker", "pid", "queues", "picker")
    return {name: getattr(claimant, name) for name in names}


def test_a_row_with_a_limit_that_nobody_understands_is_not_limited(driver: Driver) -> None:
    driver.store.set_rate("add", "1/h")
    with driver.store._database.write("normal") as connection:  # type: ignore[attr-defined]
        connection.execute("UPDATE litequeue_limits SET rate = 'often'")
        connection.execute("UPDATE litequeue_meta SET value = value + 1 WHERE key = 'gates'")
    driver.enqueue(driver.new(), driver.new())
    assert len(driver.store.claim(driver.claimant(), 10).claimed) == 2


# Time limits and queues


def test_time_limits_set_for_a_name_come_before_those_of_the_row(driver: Driver) -> None:
    driver.store.set_time_limits("add", 7.0, 0.0)
    driver.enqueue(driver.new(time_limit=60.0, soft_time_limit=50.0), driver.new("mail", time_limit=60.0))
    add, mail = driver.store.claim(driver.claimant(picker=Takes({"add", "mail"})), 10).claimed
    assert (add.time_limit, add.soft_time_limit) == (7.0, None)
    assert mail.time_limit == 60.0
    driver.store.set_time_limits("add", None, None)
    driver.enqueue(driver.new(time_limit=60.0))
    (add,) = driver.store.claim(driver.claimant(), 10).claimed
    assert add.time_limit == 60.0


def test_the_queues_of_a_worker_are_those_of_its_processes(driver: Driver) -> None:
    claimant = driver.claimant()
    driver.enqueue(driver.new(queue="mail"))
    assert driver.store.claim(claimant, 10).claimed == ()
    driver.store.set_queues(claimant.holder, ("mail",))
    (plain,) = driver.enqueue(driver.new())
    assert [row.queue for row in driver.store.claim(claimant, 10).claimed] == ["mail"]
    driver.store.set_queues(claimant.holder, ("celery", "mail"))
    assert [row.id for row in driver.store.claim(claimant, 10).claimed] == [plain]
    assert driver.store.known_queues() == {"celery", "mail"}
    assert driver.store.known_names() == {"add"}
