"""Settle: fenced, all in one transaction with the next claim, and nothing that went wrong is overwritten."""

from __future__ import annotations

import pytest

from litequeue.core import clock, state
from litequeue.core.records import Encoded, Outcome, Rerun
from tests.store.conftest import Driver, Takes, fail, retry, succeed, tickets


def test_settle_and_claim_share_a_transaction(driver: Driver) -> None:
    first, second = driver.enqueue(driver.new(), driver.new())
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    settled = driver.store.settle(claimant, [succeed(claimed, "42")], 1)
    assert [c.id for c in settled.claimed] == [second]
    record = driver.store.task(first)
    assert record is not None
    assert (record.state, record.result, record.result_serializer) == (state.SUCCEEDED, "42", "json")
    assert record.started_at is not None
    assert record.finished_at is not None
    assert record.enqueued_at <= record.started_at <= record.finished_at
    assert record.worker == "celery@here"


def test_a_stranger_settles_nothing(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant, stranger = driver.claimant(), driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    assert driver.store.settle(stranger, [succeed(claimed)]).lost == (claimed,)
    assert driver.state(task_id) == state.RUNNING


def test_an_earlier_attempt_settles_nothing(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    (old,) = driver.store.claim(claimant, 1).claimed
    driver.store.bury(claimant.holder, "test", 3)
    again = driver.claimant()
    (new,) = driver.store.claim(again, 1).claimed
    assert (old.attempt, new.attempt, new.deaths) == (1, 2, 1)
    assert driver.store.settle(claimant, [succeed(old, "1")]).lost == (old,)
    assert driver.store.settle(again, [succeed(new, "2")]).lost == ()
    record = driver.store.task(task_id)
    assert record is not None
    assert record.result == "2"


def test_only_the_lost_ones_of_a_batch_are_lost(driver: Driver) -> None:
    driver.enqueue(*(driver.new() for _ in range(4)))
    claimant = driver.claimant()
    claims = driver.store.claim(claimant, 4).claimed
    driver.store.settle(claimant, [succeed(claims[1])])
    lost = driver.store.settle(claimant, [succeed(claims[0]), fail(claims[1]), retry(claims[2]), fail(claims[3])]).lost
    assert lost == (claims[1],)
    states = driver.store.states([c.id for c in claims])
    assert [states[c.id] for c in claims] == [state.SUCCEEDED, state.SUCCEEDED, state.READY, state.FAILED]


def test_a_retry_is_the_same_row_once_more(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new(priority=3, headers='{"h": 1}'))
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    due = clock.now() + 30
    driver.store.settle(
        claimant,
        [retry(claimed, run_at=due, payload=Encoded("[[9], {}]", "json"), queue="later", expires_at=due + 5)],
    )
    record = driver.store.task(task_id)
    assert record is not None
    assert (record.state, record.retries, record.queue, record.payload) == (state.SCHEDULED, 1, "later", "[[9], {}]")
    assert (record.run_at, record.expires_at, record.priority, record.headers) == (due, due + 5, 3, '{"h": 1}')
    assert state.celery_state(record.state, record.retries) == "RETRY"
    assert record.result is not None
    assert "ValueError" in str(record.result)
    assert driver.store.counts() == {"later": {state.SCHEDULED: 1}}


def test_a_requeue_counts_no_retry_and_comes_again(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    outcome = Outcome(claimed, state.READY, clock.now(), Encoded("{}", "error"), rerun=Rerun())
    (again,) = driver.store.settle(claimant, [outcome], 1).claimed
    assert (again.id, again.retries, again.attempt) == (task_id, 0, 2)


def test_every_attempt_that_went_wrong_is_kept(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    (first,) = driver.store.claim(claimant, 1).claimed
    (second,) = driver.store.settle(claimant, [retry(first)], 1).claimed
    driver.store.bury(claimant.holder, "killed", 3)
    claimant = driver.claimant()
    (third,) = driver.store.claim(claimant, 1).claimed
    driver.store.settle(claimant, [fail(third)])
    attempts = driver.store.attempts(task_id)
    assert [(a.attempt, a.outcome) for a in attempts] == [(1, "retry"), (2, "lost"), (3, "failed")]
    assert all(a.error and a.worker == "celery@here" for a in attempts)
    assert second.attempt == 2


def test_ignored_keeps_what_the_task_wrote_itself(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    driver.store.update_state(task_id, "GONE", Encoded('"why"', "json"), (claimant.holder, claimed.attempt))
    assert driver.store.settle(claimant, [Outcome(claimed, state.IGNORED, clock.now())]).lost == ()
    record = driver.store.task(task_id)
    assert record is not None
    assert (record.state, record.custom_state, record.result) == (state.IGNORED, "GONE", '"why"')


def test_release_gives_a_claim_back_to_its_place(driver: Driver) -> None:
    first, second, third = driver.enqueue(driver.new(), driver.new(), driver.new())
    claimant = driver.claimant()
    claims = driver.store.claim(claimant, 2).claimed
    assert driver.store.release(claimant.holder, tickets(claims)) == 2
    assert driver.store.release(claimant.holder, tickets(claims)) == 0, "they are not held any more"
    again = driver.store.claim(claimant, 3).claimed
    assert [c.id for c in again] == [first, second, third]
    assert [c.attempt for c in again] == [1, 1, 1], "a release counts no attempt"


def test_a_finished_row_is_pruned_after_its_time(driver: Driver) -> None:
    driver.enqueue(*(driver.new() for _ in range(5)))
    claimant = driver.claimant()
    claims = driver.store.claim(claimant, 5).claimed
    past, future = clock.now() - 1, clock.now() + 60
    outcomes = [succeed(c, prune_at=past) for c in claims[:3]]
    outcomes += [succeed(claims[3], prune_at=future), succeed(claims[4], prune_at=None)]
    driver.store.settle(claimant, outcomes)
    assert driver.store.prune(2) == 2
    assert driver.store.prune(2) == 1
    assert driver.store.prune(2) == 0
    assert driver.store.counts() == {"celery": {state.SUCCEEDED: 2}}


def test_pruning_takes_the_attempts_along(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    driver.store.settle(claimant, [fail(claimed)._replace(prune_at=clock.now() - 1)])
    assert driver.store.attempts(task_id)
    driver.store.prune(10)
    driver.enqueue(driver.new(id=task_id))
    assert driver.store.attempts(task_id) == []


def test_an_empty_queue_marks_the_slot_idle_and_work_unmarks_it(driver: Driver) -> None:
    claimant = driver.claimant()
    assert driver.store.claim(claimant, 1).claimed == ()
    assert [p.idle for p in driver.store.processes()] == [1]
    assert driver.store.claim(claimant, 1, idle=True).claimed == ()
    assert [p.idle for p in driver.store.processes()] == [1], "it is marked once"
    driver.enqueue(driver.new())
    (claimed,) = driver.store.claim(claimant, 1, idle=True).claimed
    assert [p.idle for p in driver.store.processes()] == [0]
    driver.store.settle(claimant, [succeed(claimed)], 1)
    assert [p.idle for p in driver.store.processes()] == [1]


def test_an_enqueue_wakes_an_idle_slot(driver: Driver) -> None:
    channel = driver.open_channel()
    claimant = driver.claimant()
    assert not driver.store.claim(claimant, 1).claimed
    driver.enqueue(driver.new(queue="another"))
    assert not driver.store.wait_for_work(channel, 0.05), "not its queue"
    driver.enqueue(driver.new(run_at=clock.now() + 60))
    assert driver.store.wait_for_work(channel, 5), "a new time may be the next one"
    driver.enqueue(driver.new())
    assert driver.store.wait_for_work(channel, 5)


def test_a_busy_worker_is_not_woken(driver: Driver) -> None:
    channel = driver.open_channel()
    driver.claimant()
    driver.enqueue(driver.new())
    assert not driver.store.wait_for_work(channel, 0.05)


def test_a_release_and_a_retry_wake_an_idle_slot(driver: Driver) -> None:
    channel = driver.open_channel()
    driver.enqueue(driver.new())
    claimant, idler = driver.claimant(), driver.claimant()
    claims = driver.store.claim(claimant, 1).claimed
    driver.store.claim(idler, 1)
    driver.store.release(claimant.holder, tickets(claims))
    assert driver.store.wait_for_work(channel, 5)
    (claimed,) = driver.store.claim(claimant, 1).claimed
    driver.store.settle(claimant, [retry(claimed)])
    assert driver.store.wait_for_work(channel, 5)


def test_the_safety_net_wakes_once_for_a_change(driver: Driver) -> None:
    channel = driver.open_channel()
    claimant = driver.claimant()
    driver.store.claim(claimant, 1)
    driver.enqueue(driver.new())
    driver.store.wait_for_work(channel, 5)  # the hint is lost on us
    assert driver.store.wake(claimant.holder, channel, ["celery"])
    assert driver.store.wait_for_work(channel, 5)
    assert not driver.store.wake(claimant.holder, channel, ["celery"]), "nobody changed the file since"


def test_whoever_waits_for_an_end_is_woken(driver: Driver) -> None:
    port = driver.store.reply_port()
    driver.enqueue(driver.new(reply_port=port))
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    seen = driver.store.changes()
    driver.store.settle(claimant, [succeed(claimed)])
    assert driver.store.wait_for_change(seen, 5) != seen
    driver.store.wait_for_change(driver.store.changes(), 0.02)  # the datagram, if the version was noticed before it
    seen = driver.store.changes()
    assert driver.store.wait_for_change(seen, 0.02) == seen, "nothing happens now"


def test_at_most_once_is_committed_before_it_runs(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new("once"))
    claimant = driver.claimant(picker=Takes({"once"}, once={"once"}))
    assert [c.id for c in driver.store.claim(claimant, 1).claimed] == [task_id]
    rescued = driver.store.bury(claimant.holder, "killed", 3)
    assert (rescued.requeued, rescued.failed) == ((), (task_id,))
    record = driver.store.task(task_id)
    assert record is not None
    assert record.state == state.FAILED
    assert "WorkerLostError" in str(record.result)


@pytest.mark.parametrize("outcome", [succeed, fail, retry])
def test_settling_twice_changes_nothing(driver: Driver, outcome: object) -> None:
    driver.enqueue(driver.new())
    claimant = driver.claimant()
    (claimed,) = driver.store.claim(claimant, 1).claimed
    driver.store.settle(claimant, [outcome(claimed)])  # type: ignore[operator]
    before = driver.store.task(claimed.id)
    assert driver.store.settle(claimant, [succeed(claimed, "other")]).lost == (claimed,)
    assert driver.store.task(claimed.id) == before
