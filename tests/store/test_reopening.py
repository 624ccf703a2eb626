"""Dead letters: what is found, what is run again and what comes back with it, what is refused, what is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from litequeue.core import clock, state
from litequeue.core.keys import EXISTING, hold
from litequeue.core.records import Firing, Keys, NewEntry, NewGroup, NewTask, Outcome
from litequeue.core.steering import DeadFilter
from litequeue.store.sqlite import reopening
from litequeue.store.sqlite.reopening import _dead_statement
from tests.store.conftest import ERROR, Driver, Hand, new_group, with_errbacks

BOTH = (state.FAILED, state.REVOKED)


# Finding


@pytest.fixture
def driver(open_driver: Callable[..., Driver]) -> Driver:
    return open_driver(durability="normal", failure_retention=None)


def error(name: str, module: str = "builtins", text: str = "no") -> Any:
    record = {"type": name, "module": module, "text": text, "args": [text]}
    return ERROR._replace(data=json.dumps(record))


def end_badly(driver: Driver, hand: Hand, task: NewTask, with_error: Any = ERROR) -> str:
    """Enqueue a task and have it fail."""
    driver.write(task)
    hand.settle(Outcome(hand.take(task), state.FAILED, clock.now(), with_error, "Traceback: …"))
    return task.id


def ids(driver: Driver, **which: Any) -> list[str]:
    return [record.id for record in driver.store.dead(DeadFilter(**which))]


def test_dead_letters_are_found_newest_first(driver: Driver) -> None:
    hand = driver.hand()
    failed = [end_badly(driver, hand, driver.new()) for _ in range(3)]
    driver.enqueue(*(driver.new() for _ in range(3)))
    hand.run_all()
    assert ids(driver) == failed[::-1]
    assert ids(driver, limit=2) == failed[:0:-1]


def test_dead_letters_are_found_by_name_queue_and_time(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    hand = driver.hand(queues=("celery", "mail"))
    hand.claimant.picker.names.add("send")  # type: ignore[attr-defined]
    first = end_badly(driver, hand, driver.new())
    between = clock.now()
    second = end_badly(driver, hand, driver.new("send", queue="mail"))
    assert ids(driver, names=("send",)) == ids(driver, queues=("mail", "none")) == [second]
    assert ids(driver, names=("send", "add")) == [second, first]
    assert ids(driver, since=between) == [second]
    assert ids(driver, before=between) == [first]
    assert ids(driver, names=("send",), before=between) == []


def test_dead_letters_are_found_by_the_class_of_their_exception(driver: Driver) -> None:
    hand = driver.hand()
    first = end_badly(driver, hand, driver.new(), error("Timeout", "requests.exceptions"))
    second = end_badly(driver, hand, driver.new(), error("Timeout", "other"))
    end_badly(driver, hand, driver.new(), error("ValueError"))
    assert ids(driver, error="Timeout") == [second, first]
    assert ids(driver, error="requests.exceptions.Timeout") == [first]
    assert ids(driver, error="exceptions.Timeout") == []


@pytest.mark.parametrize("record", ["{", "null", "[1]", '"text"', "", "{}"])
def test_a_dead_letter_whose_error_cannot_be_read_is_there(driver: Driver, record: str) -> None:
    broken = end_badly(driver, driver.hand(), driver.new(), ERROR._replace(data=record))
    assert ids(driver) == [broken]
    assert ids(driver, error="ValueError") == []
    assert driver.store.retry(DeadFilter()).ready == (broken,)


def test_what_failed_because_of_another_is_no_dead_letter_of_its_own(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(2)
    after = driver.then(body)
    step = driver.then(members[0])
    driver.write(*members, group, body, after, step)
    hand.fail(members[0])
    hand.succeed(members[1])
    assert driver.store.states([body.id, after.id, step.id]) == dict.fromkeys((body.id, after.id, step.id), "failed")
    assert ids(driver) == [members[0].id]
    assert set(ids(driver, ids=(body.id, step.id))) == {body.id, step.id}  # unless it is named


def test_revoked_tasks_are_found_when_they_are_asked_for(driver: Driver) -> None:
    hand, (first, second) = driver.hand(), driver.chain("add", "add")
    driver.write(first, second)
    driver.store.revoke([first.id])
    failed = end_badly(driver, hand, driver.new())
    assert ids(driver) == [failed]
    assert ids(driver, states=("revoked",)) == [first.id]
    assert ids(driver, states=BOTH) == [failed, first.id]
    with pytest.raises(ValueError, match="failed or revoked"):
        ids(driver, states=("succeeded",))


@pytest.mark.parametrize("states", [("failed",), ("revoked",), BOTH])
def test_a_list_of_dead_letters_is_read_from_its_newest(driver: Driver, states: tuple[str, ...]) -> None:
    """Failed ones through the index that has nothing else in it."""
    statement, bindings = _dead_statement(DeadFilter(states=states, names=("add",), error="E", since=1.0, limit=5))
    with driver.store._database.read() as connection:  # type: ignore[attr-defined]
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement, bindings)]
    assert not any("TEMP B-TREE" in step for step in plan)
    assert ("INDEX litequeue_tasks_failed" in plan[0]) == (states == ("failed",)), plan


# Running again


def retry(driver: Driver, *tasks: NewTask | str, **which: Any) -> dict[str, str]:
    """Have these run again, or, without any, all; the reasons of those that are refused."""
    chosen = tuple(each if isinstance(each, str) else each.id for each in tasks)
    revived = driver.store.retry(DeadFilter(ids=chosen or None, **{"states": BOTH, **which}))
    driver.check()
    return dict(revived.refused)


def test_a_task_runs_again_as_if_it_were_new_and_with_its_history(driver: Driver) -> None:
    hand, task = driver.hand(), driver.new(expires_at=clock.now() + 100)
    driver.write(task)
    hand.retry(task)
    hand.fail(task)
    ended = driver.row(task.id)
    assert (ended.retries, ended.attempt) == (1, 2)
    assert retry(driver) == {}
    row = driver.row(task.id)
    assert (row.state, row.retries, row.deaths, row.attempt) == ("ready", 0, 0, 2)
    cleared = (row.result, row.result_serializer, row.traceback, row.finished_at, row.prune_at, row.custom_state)
    assert cleared == (None,) * 6
    assert row.expires_at == task.expires_at
    hand.succeed(task)
    assert [(each.attempt, each.outcome) for each in driver.store.attempts(task.id)] == [(1, "retry"), (2, "failed")]
    assert driver.row(task.id).attempt == 3


def test_a_task_that_processes_died_of_has_its_deaths_forgiven(driver: Driver) -> None:
    task = driver.new()
    driver.write(task)
    for _ in range(2):
        hand = driver.hand()
        hand.claim()
        driver.store.bury(hand.claimant.holder, "killed", 2)
    assert driver.row(task.id).state == "failed"
    assert retry(driver) == {}
    hand = driver.hand()
    hand.claim()
    assert driver.store.bury(hand.claimant.holder, "killed", 2).requeued == (task.id,)


def test_a_task_that_expired_gets_no_expiry(driver: Driver) -> None:
    task = driver.new(expires_at=clock.now() - 1)
    driver.write(task)
    driver.store.prune(10)
    assert driver.row(task.id).state == "revoked"
    assert retry(driver, states=("failed",)) == {}
    assert driver.row(task.id).state == "revoked"
    assert retry(driver) == {}
    assert driver.row(task.id).expires_at is None
    driver.hand().succeed(task)


def test_a_task_that_was_put_aside_is_back_in_its_queue(driver: Driver) -> None:
    task = driver.new("unknown")
    driver.write(task)
    driver.hand().claim()
    assert driver.row(task.id).aside
    driver.store.revoke([task.id])
    assert retry(driver) == {}
    assert driver.row(task.id).lane == "celery"


def test_a_revoked_task_that_had_started_keeps_that_in_its_history(driver: Driver) -> None:
    hand, task = driver.hand(), driver.new()
    driver.write(task)
    hand.settle(Outcome(hand.take(task), state.REVOKED, clock.now(), error("TaskRevokedError", "litequeue.exceptions")))
    assert retry(driver) == {}
    assert [(each.attempt, each.outcome) for each in driver.store.attempts(task.id)] == [(1, "revoked")]


def test_a_scheduled_task_that_was_revoked_runs_now(driver: Driver) -> None:
    task = driver.new(run_at=clock.now() + 1000)
    driver.write(task)
    driver.store.revoke([task.id])
    assert retry(driver) == {}
    driver.hand().succeed(task)


def test_a_chain_goes_on(driver: Driver) -> None:
    hand, tasks = driver.hand(), driver.chain(*["add"] * 5)
    driver.write(*tasks)
    hand.succeed(tasks[0], value="10")
    hand.fail(tasks[1])
    assert retry(driver) == {}
    assert hand.inputs(tasks[1]) == 10
    assert hand.run_all() == [task.id for task in tasks[1:]]


def test_a_body_runs_once_when_its_header_is_mended(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(3)
    last = driver.then(body)
    driver.write(*members, group, body, last)
    hand.fail(members[0], members[2])
    hand.succeed(members[1])
    assert retry(driver) == {}
    assert driver.remaining(group) == 2
    assert driver.state(body.id) == "waiting"
    hand.succeed(members[0], value="1")
    hand.succeed(members[2], value="2")
    assert hand.inputs(body) == [1, 3, 2]
    assert hand.run_all() == [body.id, last.id]


def test_a_header_of_which_one_failure_stays_fails_again(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(2)
    body = with_errbacks(body, driver.new(takes_input=1))
    driver.write(*members, group, body)
    hand.fail(*members)
    assert retry(driver, members[0]) == {}
    assert driver.state(body.id) == "waiting"
    hand.succeed(members[0])
    assert driver.state(body.id) == "failed"
    assert members[1].id in str(driver.row(body.id).result)
    assert len(driver.store.followers(body.id)) == 2  # the error callback fired at each failure


def test_chords_in_chords_are_taken_back_to_the_outermost(driver: Driver) -> None:
    hand = driver.hand()
    inner, outer = new_group(1), new_group(2)
    member = driver.member(inner, 0)
    middle = driver.then(inner, group_id=outer.id, group_index=0, ties=4)
    other = driver.member(outer, 1)
    body = driver.then(outer)
    driver.write(member, inner, middle, other, outer, body)
    hand.succeed(other)
    hand.fail(member)
    assert driver.state(body.id) == "failed"
    assert retry(driver) == {}
    assert (driver.remaining(inner), driver.remaining(outer)) == (1, 1)
    assert hand.run_all() == [member.id, middle.id, body.id]


def test_all_failures_of_one_canvas_are_retried_in_one_transaction(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few tasks a transaction takes: else a header could fail again with a failure that is to be retried."""
    monkeypatch.setattr(reopening, "_SLICE", 1)
    hand = driver.hand()
    chords = [driver.chord(3) for _ in range(3)]
    driver.write(*(node for members, group, body in chords for node in (*members, group, body)))
    hand.fail(*(member for members, _, _ in chords for member in members))
    begun: list[int] = []
    whole = reopening.Reopening._retry_slice

    def slice_(store: Any, wanted: Any) -> None:
        whole(store, wanted)
        driver.check()
        groups = [driver.store.group(group.id) for _, group, _ in chords]
        assert {(group.remaining, group.failed_id is None) for group in groups if group} <= {(0, False), (3, True)}
        begun.append(sum(group.remaining for group in groups if group))

    monkeypatch.setattr(reopening.Reopening, "_retry_slice", slice_)
    assert retry(driver) == {}
    assert begun == [3, 6, 9]


# A chord that runs its body whatever its members do


def tolerant_chord(driver: Driver, hand: Hand, **changes: Any) -> tuple[NewTask, NewTask, NewGroup, NewTask]:
    members, group, body = driver.chord(2, tolerant=1)
    driver.write(*members, group, body._replace(**changes))
    hand.fail(members[0])
    hand.succeed(members[1])
    return (*members, group, body)  # type: ignore[return-value]


def test_a_body_that_has_not_begun_waits_for_the_member_that_is_retried(driver: Driver) -> None:
    hand = driver.hand()
    member, _, _, body = tolerant_chord(driver, hand)
    assert driver.state(body.id) == "ready"
    assert retry(driver) == {}
    assert driver.state(body.id) == "waiting"
    hand.succeed(member, value="7")
    assert hand.inputs(body) == [7, 3]
    assert hand.run_all() == [body.id]


def test_a_body_that_runs_is_not_disturbed(driver: Driver) -> None:
    hand = driver.hand()
    member, _, _, body = tolerant_chord(driver, hand)
    hand.claim()
    assert "under way" in retry(driver)[member.id]
    hand.retry(body)  # it still takes those values
    assert "under way" in retry(driver)[member.id]
    hand.succeed(body)
    assert retry(driver) == {}
    assert driver.state(body.id) == "succeeded"


def test_a_body_that_has_run_stays_as_it_is(driver: Driver) -> None:
    hand = driver.hand()
    member, _, group, body = tolerant_chord(driver, hand)
    hand.succeed(body)
    assert retry(driver) == {}
    assert driver.remaining(group) == 1
    hand.succeed(member)
    assert driver.remaining(group) == 0
    assert hand.run_all() == []


def test_a_body_that_failed_waits_for_members_that_are_retried_with_it(driver: Driver) -> None:
    hand = driver.hand()
    member, _, _, body = tolerant_chord(driver, hand)
    hand.fail(body)
    assert retry(driver, body, member) == {}
    assert driver.store.states([member.id, body.id]) == {member.id: "ready", body.id: "waiting"}
    assert hand.run_all() == [member.id, body.id]


# Error callbacks


def test_an_error_callback_that_has_run_stays_and_another_follows_the_next_failure(driver: Driver) -> None:
    hand, task = driver.hand(), with_errbacks(driver.new(), driver.new(takes_input=1))
    driver.write(task)
    hand.fail(task)
    (first,) = hand.run_all()
    assert retry(driver) == {}
    assert driver.state(first) == "succeeded"
    hand.fail(task)
    assert len(driver.store.followers(task.id)) == 2


def test_an_error_callback_that_has_not_run_is_still_given_the_error(driver: Driver) -> None:
    hand, task = driver.hand(), with_errbacks(driver.new(), driver.new(takes_input=3))
    driver.write(task)
    hand.fail(task)
    (callback,) = [record.id for record in driver.store.followers(task.id)]
    assert retry(driver, task) == {}
    hand.claim()
    failed = driver.store.inputs(hand.held[callback]).failed
    assert failed is not None
    assert (failed.id, failed.result, failed.traceback) == (task.id, ERROR.data, "Traceback: …")


def test_an_error_callback_can_be_retried(driver: Driver) -> None:
    hand, task = driver.hand(), with_errbacks(driver.new(), driver.new(takes_input=1))
    driver.write(task)
    hand.fail(task)
    (callback,) = [record.id for record in driver.store.followers(task.id)]
    hand.fail(callback)
    assert retry(driver) == {}
    hand.run_all()
    assert driver.store.states([task.id, callback]) == {task.id: "succeeded", callback: "succeeded"}


# Refused


def test_only_what_ended_badly_is_run_again(driver: Driver) -> None:
    hand, (done, open_) = driver.hand(), (driver.new(), driver.new(run_at=clock.now() + 1000))
    driver.write(done, open_)
    hand.succeed(done)
    refused = retry(driver, done, open_, "nobody")
    assert "it is succeeded" in refused[done.id]
    assert "it is scheduled" in refused[open_.id]
    assert "no such task" in refused["nobody"]


def test_a_task_that_is_named_must_be_one_of_those_that_were_asked_for(driver: Driver) -> None:
    hand = driver.hand()
    failed = end_badly(driver, hand, driver.new())
    assert "not one of those" in retry(driver, failed, names=("other",))[failed]
    assert "not one of those" in retry(driver, failed, states=("revoked",))[failed]
    driver.store.forget([failed])
    assert "no such task" in retry(driver, failed)[failed]


def test_what_failed_because_of_another_names_that_one(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(2)
    step, last = driver.then(members[0]), driver.then(body)
    driver.write(*members, group, body, step, last)
    hand.fail(*members)
    refused = retry(driver, step, body, last)
    assert members[0].id in refused[step.id]
    assert members[1].id not in refused[step.id]
    for each in (body, last):
        assert all(member.id in refused[each.id] for member in members)
    assert driver.state(members[0].id) == "failed"
    assert retry(driver, last, *members) == {}  # with those it comes back
    assert hand.run_all()[-1] == last.id


def test_a_task_whose_input_is_gone_is_refused(driver: Driver) -> None:
    hand, (first, second) = driver.hand(), driver.chain("add", "add")
    driver.write(first, second)
    hand.succeed(first)
    hand.fail(second)
    driver.store.forget([first.id])
    assert first.id in retry(driver, second)[second.id]
    assert driver.state(second.id) == "failed"


def test_a_task_whose_input_was_not_kept_is_refused(driver: Driver) -> None:
    hand, (first, second) = driver.hand(), driver.chain("add", "add", ignore_result=1)
    driver.write(first, second)
    hand.succeed(first)
    hand.fail(second)
    assert "ignore_result" in retry(driver, second)[second.id]


def test_a_task_that_takes_no_input_does_not_need_what_came_before(driver: Driver) -> None:
    hand, (first, second) = driver.hand(), driver.chain("add", "add")
    driver.write(first, second._replace(takes_input=0))
    hand.succeed(first)
    hand.fail(second)
    driver.store.forget([first.id])
    assert retry(driver, second) == {}
    hand.succeed(second)


def test_a_member_is_refused_where_its_body_would_miss_values(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(3)
    driver.write(*members, group, body)
    hand.succeed(members[0])
    hand.fail(members[1], members[2])
    driver.store.forget([members[0].id])
    refused = retry(driver)
    assert refused.keys() == {members[1].id, members[2].id}
    assert group.id in refused[members[1].id]
    assert set(driver.store.states([each.id for each in (members[1], body)]).values()) == {"failed"}


def test_a_member_is_refused_where_values_for_its_body_were_not_kept(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(2, ignore_result=1)
    driver.write(*members, group, body)
    hand.succeed(members[0])
    hand.fail(members[1])
    assert members[0].id in retry(driver)[members[1].id]


def test_a_member_of_a_plain_group_does_not_need_the_others(driver: Driver) -> None:
    hand, group = driver.hand(), new_group(2)
    members = [driver.member(group, index) for index in range(2)]
    driver.write(*members, group)
    hand.succeed(members[0])
    hand.fail(members[1])
    driver.store.forget([members[0].id])
    assert retry(driver) == {}
    hand.succeed(members[1])


def test_a_task_that_was_revoked_behind_one_that_failed_comes_back_with_it(driver: Driver) -> None:
    hand, (first, second) = driver.hand(), driver.chain("add", "add")
    driver.write(first, second)
    driver.store.revoke([second.id])
    hand.fail(first)
    assert first.id in retry(driver, second)[second.id]
    assert retry(driver, second, first) == {}
    assert driver.store.states([first.id, second.id]) == {first.id: "ready", second.id: "waiting"}
    assert hand.run_all() == [first.id, second.id]


def unique(driver: Driver, key: str = "k") -> NewTask:
    return driver.new(keys=Keys(unique_key=key, unique_hold=hold(state.OPEN | {state.RUNNING}, EXISTING)))


def test_a_task_whose_unique_key_another_holds_is_refused_until_that_has_ended(driver: Driver) -> None:
    hand, first, second = driver.hand(), unique(driver), unique(driver)
    driver.store.enqueue([first])
    hand.fail(first)
    driver.store.enqueue([second])
    assert second.id in retry(driver)[first.id]
    hand.succeed(second)
    assert retry(driver) == {}
    assert driver.row(first.id).unique_key == "k"
    assert driver.row(first.id).options in (None, "{}")
    assert driver.store.enqueue([third := unique(driver)]) == {third.id: first.id}


def test_a_canvas_is_refused_where_the_unique_key_of_one_of_its_tasks_is_held(driver: Driver) -> None:
    hand = driver.hand()
    first, second = driver.new(), unique(driver)
    second = second._replace(after=first.id, edge="then", takes_input=1)
    driver.write(first, second)
    hand.fail(first)
    driver.store.enqueue([unique(driver)])
    assert "'k'" in retry(driver)[first.id]
    assert driver.store.states([first.id, second.id]) == {first.id: "failed", second.id: "failed"}


def test_runs_of_an_entry_that_do_not_overlap_do_not_by_a_retry(driver: Driver) -> None:
    hand = driver.hand()
    driver.store.put_schedule(NewEntry("e", "{}", "{}", overlap="skip", next_instant=1.0, next_at=1.0))

    def fire(instant: float) -> NewTask:
        entry = driver.store.schedule("e")
        assert entry is not None
        run, later = driver.new(), instant + 1
        driver.store.fire([Firing("e", entry.revision, instant, [(instant, run)], later, later)])
        return run

    first = fire(1.0)
    hand.fail(first)
    second = fire(2.0)
    assert second.id in retry(driver)[first.id]
    hand.fail(second)
    assert set(retry(driver)) == {second.id}  # one after the other
    hand.succeed(first)
    assert retry(driver) == {}


# Deleting


def test_discarded_tasks_are_gone_with_their_history(driver: Driver) -> None:
    hand = driver.hand()
    gone = [end_badly(driver, hand, driver.new()) for _ in range(2)]
    left = end_badly(driver, hand, driver.new("add", priority=1))
    assert driver.store.discard(DeadFilter(ids=(*gone, "nobody"))) == 2
    assert ids(driver) == [left]
    assert driver.store.attempts(gone[0]) == []
    driver.check()
    assert driver.store.discard(DeadFilter()) == 1
    assert driver.store.discard(DeadFilter()) == 0


def test_a_discarded_member_of_a_group_stays_counted(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(2)
    driver.write(*members, group, body)
    hand.fail(members[0])
    assert driver.store.discard(DeadFilter()) == 1
    driver.check()
    assert driver.remaining(group) == 1
    assert ids(driver) == []
    hand.succeed(members[1])
    assert driver.state(body.id) == "failed"
    driver.store.prune(10)
    assert driver.state(members[0].id) is None


def test_what_a_body_still_takes_is_deleted_after_it(driver: Driver) -> None:
    hand = driver.hand()
    member, _, _, body = tolerant_chord(driver, hand)
    assert driver.store.discard(DeadFilter()) == 1
    assert hand.inputs(body) == ["ValueError", 3]
    hand.succeed(body)
    driver.store.prune(10)
    assert driver.state(member.id) is None


# Waking


def test_a_retry_wakes_an_idle_worker(driver: Driver) -> None:
    channel = driver.open_channel()
    hand = driver.hand()
    end_badly(driver, hand, driver.new())
    driver.store.claim(hand.claimant, 1)
    assert retry(driver) == {}
    assert driver.store.wait_for_work(channel, 5.0)


def test_many_tasks_are_retried_in_slices(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = driver.hand()
    driver.enqueue(*(driver.new() for _ in range(2_000)))
    claimed = driver.store.claim(hand.claimant, 10_000).claimed
    driver.store.settle(hand.claimant, [Outcome(each, state.FAILED, clock.now(), ERROR) for each in claimed])
    slices: list[int] = []
    whole = reopening.Reopening._retry_slice

    def slice_(store: Any, wanted: Any) -> None:
        before = len(wanted.left)
        whole(store, wanted)
        slices.append(before - len(wanted.left))

    monkeypatch.setattr(reopening.Reopening, "_retry_slice", slice_)
    assert retry(driver) == {}
    assert slices == [500] * 4
