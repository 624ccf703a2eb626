"""Enqueue: all or nothing, in order, woken, revocable."""

from __future__ import annotations

import pytest

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.records import ROW_FIELDS, Encoded, Member
from tests.store.conftest import Driver, Takes, succeed


def test_a_task_can_be_read_as_it_was_written(driver: Driver) -> None:
    task = driver.new(
        priority=7, compression="gzip", payload=b"\x00\x01", expires_at=clock.now() + 60, ignore_result=1,
        retries=2, time_limit=5.0, soft_time_limit=4.0, root_id="r", parent_id="p", group_id="g", group_index=3,
        origin="gen1@here", headers='{"a": 1}', options='{"shadow": "x"}',
    )  # fmt: skip
    driver.enqueue(task)
    record = driver.store.task(task.id)
    assert record is not None
    for name in ROW_FIELDS:
        if name != "reply_port":
            assert getattr(record, name) == getattr(task, name), name
    assert (record.state, record.attempt, record.deaths) == (state.READY, 0, 0)
    assert record.enqueued_at == pytest.approx(clock.now(), abs=5)


def test_an_unknown_id_is_none(driver: Driver) -> None:
    assert driver.store.task("nobody") is None
    assert driver.store.states(["nobody"]) == {}


@pytest.mark.parametrize("place", ["alone", "among many"])
def test_a_duplicate_id_is_named_and_nothing_is_written(driver: Driver, place: str) -> None:
    first = driver.new(id="twice")
    driver.enqueue(first)
    batch = [driver.new(id="twice")] if place == "alone" else [driver.new(), driver.new(id="twice"), driver.new()]
    with pytest.raises(exceptions.DuplicateTaskError, match="twice"):
        driver.enqueue(*batch)
    assert driver.store.counts() == {"celery": {state.READY: 1}}


def test_an_id_twice_in_one_call_is_a_duplicate(driver: Driver) -> None:
    with pytest.raises(exceptions.DuplicateTaskError, match="same"):
        driver.enqueue(driver.new(id="same"), driver.new(id="same"))
    assert driver.store.counts() == {}


def test_an_unknown_durability_is_refused(driver: Driver) -> None:
    with pytest.raises(ValueError, match="full"):
        driver.store.enqueue([driver.new()], "paranoid")


def test_nothing_to_enqueue_is_fine(driver: Driver) -> None:
    driver.enqueue()
    assert driver.store.counts() == {}


def test_higher_priority_first_then_first_in_first_out(driver: Driver) -> None:
    low = driver.enqueue(*(driver.new(priority=0) for _ in range(3)))
    high = driver.enqueue(*(driver.new(priority=255) for _ in range(3)))
    middle = driver.enqueue(*(driver.new(priority=9) for _ in range(3)))
    settled = driver.store.claim(driver.claimant(), 100)
    assert [c.id for c in settled.claimed] == [*high, *middle, *low]


def test_queues_are_merged_by_priority_and_age(driver: Driver) -> None:
    a = driver.new(queue="a", priority=1)
    b = driver.new(queue="b", priority=2)
    c = driver.new(queue="a", priority=2)
    d = driver.new(queue="other", priority=9)
    driver.enqueue(a, b, c, d)
    settled = driver.store.claim(driver.claimant(queues=("a", "b")), 100)
    assert [claimed.id for claimed in settled.claimed] == [b.id, c.id, a.id]


def test_a_task_is_not_claimed_before_its_time(driver: Driver) -> None:
    hour = clock.now() + 3600
    driver.enqueue(driver.new(run_at=hour))
    claimant = driver.claimant()
    settled = driver.store.claim(claimant, 10)
    assert settled.claimed == ()
    assert settled.next_at == pytest.approx(hour)

    due = clock.now() + 0.1
    (task_id,) = driver.enqueue(driver.new(run_at=due))
    assert driver.state(task_id) == state.SCHEDULED
    while not settled.claimed:
        settled = driver.store.claim(claimant, 10, idle=True)
    assert clock.now() >= due
    assert [c.id for c in settled.claimed] == [task_id]


def test_a_time_in_the_past_is_now(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new(run_at=clock.now() - 1))
    assert driver.state(task_id) == state.READY


def test_many_that_fall_due_at_once_all_come(driver: Driver) -> None:
    due = clock.now() + 0.02
    ids = set(driver.enqueue(*(driver.new(run_at=due) for _ in range(1200))))
    claimant, seen, idle = driver.claimant(), set(), False
    while len(seen) < len(ids):
        settled = driver.store.claim(claimant, 5000, idle=idle)
        idle = not settled.claimed
        seen.update(c.id for c in settled.claimed)
    assert seen == ids


def test_an_expired_task_is_revoked_instead_of_claimed(driver: Driver) -> None:
    (late,) = driver.enqueue(driver.new(expires_at=clock.now() - 1))
    (fine,) = driver.enqueue(driver.new(expires_at=clock.now() + 60))
    settled = driver.store.claim(driver.claimant(), 10)
    assert [c.id for c in settled.claimed] == [fine]
    assert [c.id for c in settled.revoked] == [late]
    record = driver.store.task(late)
    assert record is not None
    assert record.state == state.REVOKED
    assert "TaskRevokedError" in str(record.result)


def test_expired_tasks_are_revoked_without_a_claim(driver: Driver) -> None:
    (late,) = driver.enqueue(driver.new(expires_at=clock.now() - 1))
    driver.store.prune(100)
    assert driver.state(late) == state.REVOKED


def test_revoke_before_the_start_is_final(driver: Driver) -> None:
    ready, scheduled = driver.enqueue(driver.new(), driver.new(run_at=clock.now() + 60))
    assert set(driver.store.revoke([ready, scheduled, "nobody"])) == {ready, scheduled}
    assert driver.store.revoke([ready]) == ()
    assert driver.store.claim(driver.claimant(), 10).claimed == ()
    assert driver.store.states([ready, scheduled]) == {ready: state.REVOKED, scheduled: state.REVOKED}


def test_revoke_leaves_a_running_task_alone(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    assert driver.store.revoke([task_id]) == ()
    assert driver.store.settle(claimant, [succeed(claimed)]).lost == ()
    assert driver.state(task_id) == state.SUCCEEDED


def test_purge_deletes_what_has_not_started(driver: Driver) -> None:
    driver.enqueue(driver.new(queue="a"), driver.new(queue="b"), driver.new(queue="b", run_at=clock.now() + 60))
    driver.store.claim(driver.claimant(queues=("a",)), 1)
    assert driver.store.purge(["nothing"]) == 0
    assert driver.store.purge(["b"]) == 2
    assert driver.store.purge() == 0
    assert driver.store.counts() == {"a": {state.RUNNING: 1}}


def test_forget_deletes_an_ended_task_and_later_an_open_one(driver: Driver) -> None:
    ended, running = driver.enqueue(driver.new(), driver.new())
    claimant = driver.claimant()
    first, second = driver.store.claim(claimant, 2).claimed
    driver.store.settle(claimant, [succeed(first)])
    assert driver.store.forget([ended, running, "nobody"]) == 2
    assert driver.state(ended) is None
    driver.store.settle(claimant, [succeed(second)])
    driver.store.prune(10)
    assert driver.state(running) is None


def test_a_custom_state_is_shown_until_the_next_move(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    meta = Encoded('{"done": 1}', "json")
    assert driver.store.update_state(task_id, "PROGRESS", meta, (claimant.holder, 1))
    record = driver.store.task(task_id)
    assert record is not None
    assert (record.custom_state, record.result, record.state) == ("PROGRESS", meta.data, state.RUNNING)
    assert not driver.store.update_state(task_id, "PROGRESS", meta, (claimant.holder, 2)), "another attempt"
    driver.store.settle(claimant, [succeed(claimed)])
    record = driver.store.task(task_id)
    assert record is not None
    assert record.custom_state is None
    assert not driver.store.update_state(task_id, "PROGRESS", meta), "it has ended"
    assert not driver.store.update_state("nobody", "PROGRESS", meta)


def test_children_are_told_in_order(driver: Driver) -> None:
    ids = driver.enqueue(*(driver.new(parent_id="father") for _ in range(3)))
    assert driver.store.children("father") == [Member(task_id, False) for task_id in ids]
    assert driver.store.children(ids[0]) == []


def test_unknown_names_are_put_aside_and_found_by_who_knows_them(driver: Driver) -> None:
    strange = driver.enqueue(*(driver.new("strange") for _ in range(1200)))
    known = driver.enqueue(*(driver.new() for _ in range(3)))
    claimant = driver.claimant()
    seen: list[str] = []
    idle = False
    while len(seen) < len(known):
        settled = driver.store.claim(claimant, 10, idle=idle)
        idle = not settled.claimed
        seen += [c.id for c in settled.claimed]
    assert seen == list(known)
    assert driver.store.counts()["celery"][state.READY] == len(strange), "nothing is discarded"
    scholar = driver.claimant(picker=Takes({"strange"}))
    found = driver.store.claim(scholar, 5000).claimed
    assert [c.id for c in found] == list(strange)
