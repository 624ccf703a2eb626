"""Concurrency keys and unique keys."""

from __future__ import annotations

import pytest

from litequeue.core import clock, keys, state
from litequeue.core.keys import ALSO_SUCCEEDED, CONFLICTS, EXISTING, RAISE, REPLACE, STATES, UNTIL_ENDED
from litequeue.core.records import Firing, Graft, Keys, NewEntry, NewTask, Outcome
from litequeue.core.ties import KEYED
from litequeue.exceptions import NotUniqueError
from tests.store.conftest import Driver, become, canvas, fail, new_group, retry, succeed, tickets


def keyed(driver: Driver, key: str = "k", limit: int = 1, **changes: object) -> NewTask:
    return driver.new(ties=KEYED, keys=Keys(key, limit), **changes)


def unique(
    driver: Driver, key: str = "k", states: int = UNTIL_ENDED, conflict: str = EXISTING, window: float | None = None,
    **changes: object,
) -> NewTask:  # fmt: skip
    return driver.new(keys=Keys(None, None, key, states | CONFLICTS[conflict], window), **changes)


# Concurrency keys


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_so_many_with_one_key_run_at_once(driver: Driver, limit: int) -> None:
    ids = driver.enqueue(*(keyed(driver, limit=limit) for _ in range(7)))
    (other,) = driver.enqueue(keyed(driver, key="other"))
    hand = driver.hand()
    order: list[str] = []
    assert set(hand.claim()) == {*ids[:limit], other}, "the others neither wait in front nor take a slot"
    assert [driver.row(task_id).parked for task_id in ids] == [False] * limit + [True] * (7 - limit)
    while hand.held:
        task_id = next(iter(hand.held))
        hand.succeed(task_id)
        order.append(task_id)
        hand.claim()
        assert sum(held in ids for held in hand.held) <= limit
    assert [task_id for task_id in order if task_id != other] == list(ids), "first in, first out"


@pytest.mark.parametrize("end", ["succeed", "fail", "retry", "release", "bury", "deregister", "become", "ignore"])
def test_whatever_takes_a_task_out_of_running_lets_the_next_one_go_on(driver: Driver, end: str) -> None:
    first, second = driver.enqueue(keyed(driver), keyed(driver))
    hand, other = driver.hand(), driver.hand()
    assert hand.claim() == [first]
    assert other.claim() == []
    claimed = hand.take(first)
    if end == "release":
        driver.store.pause("task", ["other"])  # nothing to do with it
        driver.store.release(hand.claimant.holder, tickets((claimed,)))
    elif end == "bury":
        driver.store.bury(hand.claimant.holder, "killed", 3)
    elif end == "deregister":
        driver.store.deregister(hand.claimant.holder)
    elif end == "retry":
        hand.settle(retry(claimed, run_at=clock.now() + 60))
    elif end == "become":
        hand.settle(become(claimed, driver.new()))
    elif end == "ignore":
        hand.settle(Outcome(claimed, state.IGNORED, clock.now()))
    else:
        hand.settle({"succeed": succeed, "fail": fail}[end](claimed))
    driver.check()
    going = other.claim()
    if end in ("release", "bury", "deregister"):
        assert going == [first], "it was there before"
        other.succeed(first)
        going = other.claim()
    assert second in going


@pytest.mark.parametrize("end", ["revoke", "purge"])
def test_a_task_that_is_to_go_on_and_ends_before_passes_its_turn_on(driver: Driver, end: str) -> None:
    first, second, third = keyed(driver), keyed(driver, queue="mail"), keyed(driver, queue="mail")
    driver.enqueue(first, second, third)
    hand, mail = driver.hand(), driver.hand(queues=("mail",))
    claimed = hand.take(first)
    assert mail.claim() == [], "both are parked"
    hand.settle(succeed(claimed))
    assert [driver.row(task.id).parked for task in (second, third)] == [False, True], "one is to go on"
    if end == "purge":
        driver.store.purge(["mail"])
        assert driver.store.counts()["celery"] == {"succeeded": 1}
    else:
        driver.store.revoke([second.id])
        assert mail.claim() == [third.id]
    driver.check()


def test_a_key_is_shared_over_queues_and_names(driver: Driver) -> None:
    a, b, c = keyed(driver), keyed(driver, queue="mail"), driver.new("other", ties=KEYED, keys=Keys("k", 1))
    driver.enqueue(a, b, c)
    hand, mail = driver.hand(), driver.hand(queues=("mail",))
    assert hand.claim() == [a.id]
    assert mail.claim() == []
    driver.store.pause("task", ["other"])
    hand.succeed(a)
    assert mail.claim() == [b.id], "though the other that waits may not go on"


def test_members_of_a_canvas_keep_their_keys(driver: Driver) -> None:
    group = new_group(5)
    members = [driver.member(group, n, ties=KEYED, keys=Keys("k", 2)) for n in range(5)]
    body = driver.then(group)
    driver.write(*members, group, body)
    hand = driver.hand()
    running = []
    while body.id not in hand.held:
        hand.claim()
        running.append(len(hand.held))
        if body.id not in hand.held:
            hand.succeed(next(iter(hand.held)))
    assert max(running) == 2


def test_a_replaced_task_has_the_key_of_what_it_became(driver: Driver) -> None:
    first, second = keyed(driver), keyed(driver, key="new")
    driver.enqueue(first, second)
    hand = driver.hand()
    hand.claim()
    hand.settle(Outcome(hand.take(first), state.READY, clock.now(), graft=Graft(keyed(driver, key="new"), canvas())))
    assert hand.claim() == []
    assert driver.row(first.id).concurrency_key == "new"
    hand.succeed(second)
    assert hand.claim() == [first.id]


# Unique keys


def test_a_second_task_with_a_held_key_is_the_first(driver: Driver) -> None:
    first, second = unique(driver), unique(driver)
    assert driver.store.enqueue([first]) == {}
    assert driver.store.enqueue([second]) == {second.id: first.id}
    assert driver.state(second.id) is None
    assert driver.store.enqueue([unique(driver, key="other")]) == {}


@pytest.mark.parametrize(
    ("end", "held"),
    [("nothing", True), ("claim", True), ("succeed", False), ("fail", False), ("revoke", False), ("retry", True)],
)
def test_a_key_is_held_until_its_task_has_ended(driver: Driver, end: str, held: bool) -> None:
    first, second = unique(driver), unique(driver)
    driver.store.enqueue([first])
    hand = driver.hand()
    if end in ("claim", "succeed", "fail", "retry"):
        claimed = hand.take(first)
    if end in ("succeed", "fail", "retry"):
        hand.settle({"succeed": succeed, "fail": fail, "retry": retry}[end](claimed))
    if end == "revoke":
        driver.store.revoke([first.id])
    assert bool(driver.store.enqueue([second])) is held
    assert driver.store.enqueue([unique(driver)]) != {}, "one of them holds it"
    driver.check()


def test_a_window_holds_a_key_also_after_a_success_and_then_no_more(driver: Driver) -> None:
    first = unique(driver, states=ALSO_SUCCEEDED, window=60)
    driver.store.enqueue([first])
    hand = driver.hand()
    hand.succeed(first)
    assert driver.store.enqueue([unique(driver)]) != {}
    past = unique(driver, key="past", states=ALSO_SUCCEEDED, window=-1)
    driver.store.enqueue([past])
    assert driver.store.enqueue([unique(driver, key="past")]) == {}


def test_a_row_that_holds_a_key_is_not_pruned_before_its_window_has_passed(driver: Driver) -> None:
    held = unique(driver, states=ALSO_SUCCEEDED, window=60)
    passed = unique(driver, key="passed", states=ALSO_SUCCEEDED, window=-1)
    failed = unique(driver, key="failed", states=ALSO_SUCCEEDED, window=60)
    driver.store.enqueue([held, passed, failed])
    hand = driver.hand()
    hand.settle(*(succeed(hand.take(task), prune_at=1.0) for task in (held, passed)))
    hand.settle(fail(hand.take(failed))._replace(prune_at=1.0))
    driver.store.prune(10)
    assert [driver.state(task.id) for task in (held, passed, failed)] == [state.SUCCEEDED, None, None]
    assert driver.store.enqueue([unique(driver)]) != {}
    assert driver.row(held.id).prune_at == pytest.approx(clock.now() + 60, abs=10)


def test_states_say_when_a_key_is_held(driver: Driver) -> None:
    first = unique(driver, states=STATES[state.READY] | STATES[state.SCHEDULED])
    driver.store.enqueue([first])
    assert driver.store.enqueue([unique(driver)]) != {}
    driver.hand().take(first)
    assert driver.store.enqueue([unique(driver)]) == {}, "it was to be unique until it starts"


def test_raise_names_who_holds_the_key(driver: Driver) -> None:
    first = unique(driver)
    driver.store.enqueue([first])
    with pytest.raises(NotUniqueError, match=first.id) as caught:
        driver.store.enqueue([driver.new(), unique(driver, conflict=RAISE)])
    assert caught.value.task_id == first.id
    assert driver.store.counts() == {"celery": {"ready": 1}}, "nothing else was written"


def test_replace_gives_a_task_that_has_not_started_new_arguments(driver: Driver) -> None:
    first, behind = unique(driver), driver.new()
    driver.store.enqueue([first, behind])
    later = clock.now() + 60
    again = unique(driver, conflict=REPLACE, payload="[[9], {}]", priority=3, run_at=later)
    assert driver.store.enqueue([again]) == {again.id: first.id}
    row = driver.row(first.id)
    assert (row.payload, row.priority, row.run_at, row.state) == ("[[9], {}]", 3, later, state.SCHEDULED)
    now = unique(driver, conflict=REPLACE, payload="[[8], {}]")
    assert driver.store.enqueue([now]) == {now.id: first.id}
    assert driver.hand().claim() == [first.id, behind.id]


def test_replace_gives_and_takes_a_concurrency_key(driver: Driver) -> None:
    first, other = unique(driver), keyed(driver, key="c")
    driver.store.enqueue([first, other])
    hand = driver.hand()
    claimed = driver.store.claim(hand.claimant, 1).claimed
    assert [row.id for row in claimed] == [first.id]
    driver.store.release(hand.claimant.holder, tickets(claimed))
    again = driver.new(ties=KEYED, priority=9, keys=Keys("c", 1, "k", UNTIL_ENDED | CONFLICTS[REPLACE]))
    assert driver.store.enqueue([again]) == {again.id: first.id}
    assert hand.claim() == [first.id], "it has the key, and the other waits"
    assert driver.row(other.id).parked
    hand.succeed(first)
    assert hand.claim() == [other.id]


def test_replace_takes_the_key_from_a_task_that_runs(driver: Driver) -> None:
    first, second = unique(driver), unique(driver, conflict=REPLACE)
    driver.store.enqueue([first])
    hand = driver.hand()
    hand.take(first)
    assert driver.store.enqueue([second]) == {}
    third = unique(driver)
    assert driver.store.enqueue([third]) == {third.id: second.id}


@pytest.mark.parametrize("conflict", [EXISTING, REPLACE, RAISE])
def test_two_with_one_key_in_one_call(driver: Driver, conflict: str) -> None:
    first, second = (unique(driver, conflict=conflict, payload=f"[[{n}], {{}}]") for n in range(2))
    if conflict == RAISE:
        with pytest.raises(NotUniqueError):
            driver.store.enqueue([first, second])
        assert driver.store.counts() == {}
        return
    assert driver.store.enqueue([first, second]) == {second.id: first.id}
    assert driver.row(first.id).payload == ("[[0], {}]" if conflict == EXISTING else "[[1], {}]")


@pytest.mark.parametrize("conflict", [EXISTING, REPLACE, RAISE])
def test_nobody_stands_for_a_part_of_a_canvas(driver: Driver, conflict: str) -> None:
    holder = unique(driver)
    driver.store.enqueue([holder])
    first = driver.new()
    with pytest.raises(NotUniqueError, match="canvas" if conflict != RAISE else holder.id):
        driver.write(first, driver.then(first, keys=Keys(None, None, "k", UNTIL_ENDED | CONFLICTS[conflict])))
    assert driver.state(first.id) is None
    driver.write(first, driver.then(first, keys=Keys(None, None, "free", UNTIL_ENDED)))
    assert driver.state(first.id) == state.READY


@pytest.mark.parametrize("overlap", ["allow", "skip"])
def test_an_instant_whose_key_is_held_is_skipped(driver: Driver, overlap: str) -> None:
    driver.store.put_schedule(NewEntry("e", "{}", "{}", overlap=overlap, next_instant=1.0, next_at=1.0))
    hand = driver.hand()

    def fire(instant: float) -> NewTask:
        entry = driver.store.schedule("e")
        assert entry is not None
        run, later = unique(driver, conflict=RAISE), instant + 1
        (fired,) = driver.store.fire([Firing("e", entry.revision, instant, [(instant, run)], later, later)])
        assert fired.skipped == int(driver.state(run.id) is None)
        return run

    first, second = fire(1.0), fire(2.0)
    assert driver.state(first.id) == state.READY
    assert driver.state(second.id) is None
    assert driver.row(first.id).unique_key == "k"
    hand.succeed(first)
    assert driver.state(fire(3.0).id) == state.READY
    entry = driver.store.schedule("e")
    assert entry is not None
    assert (entry.total_run_count, entry.skipped) == (2, 1)


def test_words_that_there_are_not(driver: Driver) -> None:
    with pytest.raises(ValueError, match="'lost'"):
        keys.hold(["ready", "lost"], EXISTING)
    with pytest.raises(ValueError, match="'ask'"):
        keys.hold(["ready"], "ask")
    assert {keys.conflict_of(keys.hold(["ready"], word)) for word in CONFLICTS} == set(CONFLICTS)
