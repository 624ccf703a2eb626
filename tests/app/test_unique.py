"""Unique tasks and limited ones, as callers and workers see them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, group, signals
from litequeue.core.ties import KEYED
from litequeue.exceptions import NotUniqueError
from tests.app.conftest import row
from tests.worker.conftest import wait_until


@pytest.fixture
def work(app: LiteQueue) -> Any:
    """A task that can be unique; declared with nothing."""

    @app.task(name="proj.work")
    def work(a: Any = None, fail: bool = False) -> Any:
        if fail:
            raise RuntimeError("as told")
        return a

    return work


def enqueued(app: LiteQueue) -> int:
    """How many rows the file has."""
    return sum(sum(states.values()) for states in app.store.counts().values())


# What a call returns


def test_a_call_returns_the_task_that_is_there(app: LiteQueue, work: Any) -> None:
    first = work.apply_async((1,), unique_key="k")
    second = work.apply_async((2,), unique_key="k")
    assert second.id == first.id
    assert (first.existed, second.existed) == (False, True)
    assert enqueued(app) == 1


def test_the_task_that_is_there_is_waited_for(work: Any, worker: Any) -> None:
    work.apply_async((1,), unique_key="k")
    second = work.apply_async((2,), unique_key="k")
    worker()
    assert second.get(timeout=10) == 1


def test_delay_knows_unique_tasks(app: LiteQueue) -> None:
    task = app.task(name="proj.unique", unique=True)(lambda a, b=2: None)
    assert task.delay(1).id == task.delay(1, b=2).id
    assert task.delay(1).existed
    assert not task.delay(2).existed


def test_send_task_knows_unique_keys(app: LiteQueue) -> None:
    first = app.send_task("elsewhere.work", unique_key="k")
    assert app.send_task("elsewhere.work", unique_key="k").id == first.id


def test_a_key_is_that_of_all_tasks(app: LiteQueue, work: Any) -> None:
    first = work.apply_async(unique_key="k")
    assert app.send_task("elsewhere.work", unique_key="k").id == first.id


def test_raise_names_the_task_that_is_there(app: LiteQueue, work: Any) -> None:
    first = work.apply_async((1,), unique_key="k")
    with pytest.raises(NotUniqueError, match=rf"proj\.work: the unique key 'k' is held by the task {first.id}") as told:
        work.apply_async((2,), unique_key="k", on_conflict="raise")
    assert told.value.task_id == first.id
    assert enqueued(app) == 1


def test_replace_gives_the_task_that_waits_the_new_arguments(app: LiteQueue, work: Any, worker: Any) -> None:
    first = work.apply_async((1,), unique_key="k", countdown=3600)
    second = work.apply_async((2,), unique_key="k", on_conflict="replace")
    assert (second.id, second.existed) == (first.id, True)
    assert enqueued(app) == 1
    worker()
    assert first.get(timeout=10) == 2


def test_a_burst_of_replaced_calls_runs_once_with_the_last(app: LiteQueue, work: Any, worker: Any) -> None:
    results = [
        work.apply_async((n,), unique_key="k", on_conflict="replace", countdown=0.05 if n == 9 else 60)
        for n in range(10)
    ]
    assert len({result.id for result in results}) == 1
    worker()
    assert results[0].get(timeout=10) == 9


def test_replace_puts_a_new_task_beside_one_that_runs(app: LiteQueue, worker: Any) -> None:
    started, go = threading.Event(), threading.Event()

    @app.task
    def hold(a: int) -> int:
        started.set()
        assert go.wait(20)
        return a

    worker()
    first = hold.apply_async((1,), unique_key="k")
    assert started.wait(10)
    second = hold.apply_async((2,), unique_key="k", on_conflict="replace")
    assert (second.id == first.id, second.existed) == (False, False)
    third = hold.apply_async((3,), unique_key="k", on_conflict="existing")
    go.set()
    assert third.id == second.id
    assert (first.get(timeout=10), second.get(timeout=10)) == (1, 2)


def test_many_callers_at_once_enqueue_one_task(app: LiteQueue, work: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: work.apply_async((n,), unique_key="k"), range(80)))
    assert len({result.id for result in results}) == 1
    assert sum(not result.existed for result in results) == 1
    assert enqueued(app) == 1


def test_nothing_is_announced_for_a_call_that_enqueues_nothing(work: Any) -> None:
    published: list[str] = []

    def note(headers: Any, **_: Any) -> None:
        published.append(headers["id"])

    signals.after_task_publish.connect(note)
    try:
        first = work.apply_async(unique_key="k")
        work.apply_async(unique_key="k")
    finally:
        signals.after_task_publish.disconnect(note)
    assert published == [first.id]


# How long a key is held


def test_a_key_is_free_when_its_task_has_ended(work: Any, worker: Any) -> None:
    worker()
    for fail in (False, True):
        first = work.apply_async((1, fail), unique_key="k")
        first.get(timeout=10, propagate=False)
        assert not work.apply_async((1, fail), unique_key="k").existed or not first.ready()
        wait_until(lambda: not work.apply_async((1,), unique_key="k").existed)


def test_a_key_is_free_when_its_task_was_revoked(work: Any) -> None:
    first = work.apply_async(unique_key="k")
    first.revoke()
    assert not work.apply_async(unique_key="k").existed


def test_a_window_holds_the_key_after_success(work: Any, worker: Any) -> None:
    worker()
    first = work.apply_async((1,), unique_key="k", unique_window=3600)
    assert first.get(timeout=10) == 1
    again = work.apply_async((2,), unique_key="k")
    assert (again.id, again.get(timeout=10)) == (first.id, 1)


def test_a_window_does_not_hold_the_key_of_a_failure(work: Any, worker: Any) -> None:
    worker()
    first = work.apply_async((1, True), unique_key="k", unique_window=3600)
    first.get(timeout=10, propagate=False)
    assert not work.apply_async((1,), unique_key="k").existed


def test_a_window_ends(work: Any) -> None:
    first = work.apply_async(unique_key="long", unique_window=timedelta(hours=1), countdown=3600)
    work.apply_async(unique_key="short", unique_window=timedelta(milliseconds=20), countdown=3600)
    wait_until(lambda: not work.apply_async(unique_key="short", countdown=3600).existed)
    assert work.apply_async(unique_key="long").id == first.id


def test_states_say_when_the_key_is_held(work: Any, worker: Any) -> None:
    first = work.apply_async((1, True), unique_key="k", unique_states=["FAILURE", "PENDING"])
    assert work.apply_async(unique_key="k").existed
    worker()
    first.get(timeout=10, propagate=False)
    assert work.apply_async(unique_key="k").id == first.id


# Several at once


def test_a_canvas_is_refused_as_a_whole(app: LiteQueue, work: Any) -> None:
    first = work.apply_async(unique_key="k")
    for canvas in (
        group(work.s(1), work.s(2).set(unique_key="k")),
        chain(work.si(1), work.si(2).set(unique_key="k")),
        chord([work.s(1).set(unique_key="k"), work.s(2)], work.si()),
    ):
        with pytest.raises(NotUniqueError, match="as no other task can take a place in a canvas") as told:
            canvas.apply_async()
        assert told.value.task_id == first.id
    assert enqueued(app) == 1


def test_members_of_a_group_with_one_key_are_refused(app: LiteQueue, work: Any) -> None:
    with pytest.raises(NotUniqueError):
        group(work.s(1).set(unique_key="k"), work.s(2).set(unique_key="k")).delay()
    assert enqueued(app) == 0


def test_a_canvas_holds_its_keys(app: LiteQueue, work: Any, worker: Any) -> None:
    result = chain(work.si(1).set(unique_key="one"), work.si(2).set(unique_key="two")).delay()
    assert work.apply_async(unique_key="two").id == result.id
    worker()
    assert result.get(timeout=10) == 2
    assert not work.apply_async(unique_key="two").existed


def test_enqueue_many_is_refused_as_a_whole(app: LiteQueue, work: Any) -> None:
    work.apply_async(unique_key="k")
    with pytest.raises(NotUniqueError):
        app.enqueue_many([work.s(1), work.s(2).set(unique_key="k")])
    assert enqueued(app) == 1


def test_an_error_callback_keeps_its_concurrency_key_only(app: LiteQueue, work: Any, worker: Any) -> None:
    seen: list[str] = []

    @app.task(concurrency_key="errors")
    def note(task_id: str) -> None:
        seen.append(task_id)

    holder = work.apply_async(unique_key="k", countdown=3600)
    result = work.apply_async((1, True), link_error=note.s().set(unique_key="k"))
    worker()
    wait_until(lambda: seen == [result.id])
    [callback] = result.children[0].children if result.children else []
    record = row(callback)
    assert (record.concurrency_key, record.unique_key) == ("errors", None)
    assert holder.engine_state == "scheduled"


def test_a_replacement_keeps_its_concurrency_key_only(app: LiteQueue, work: Any, worker: Any) -> None:
    @app.task(bind=True, unique_key="first")
    def becomes(self: Any) -> None:
        self.replace(work.si(5).set(concurrency_key="disk", unique_key="k"))

    work.apply_async(unique_key="k", countdown=3600)
    result = becomes.delay()
    worker()
    assert result.get(timeout=10) == 5
    record = row(result)
    assert (record.concurrency_key, record.unique_key) == ("disk", None)


def test_a_new_member_of_a_chord_keeps_its_concurrency_key_only(app: LiteQueue, work: Any, worker: Any) -> None:
    @app.task(bind=True)
    def grow(self: Any) -> int:
        self.add_to_chord(work.s(2).set(concurrency_key="disk", unique_key="k"))
        return 1

    @app.task
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    work.apply_async(unique_key="k", countdown=3600)
    worker()
    assert chord([grow.s()], total.s()).delay().get(timeout=10) == 3


# Concurrency keys


def most_at_once(worker: Any, calls: list[Callable[[], Any]], running: list[int], **options: Any) -> int:
    results = [call() for call in calls]
    worker(**options)
    for result in results:
        result.get(timeout=20)
    return max(running)


@pytest.mark.parametrize("limit", [1, 2])
def test_only_so_many_of_a_key_run_at_once(app: LiteQueue, worker: Any, limit: int) -> None:
    lock, now, running = threading.Lock(), [0], [0]

    @app.task(concurrency_key=lambda key: key, concurrency_limit=limit)
    def hold(key: str) -> None:
        with lock:
            now[0] += 1
            running.append(now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    calls = [lambda: hold.delay("one")] * 8
    assert most_at_once(worker, calls, running, concurrency=4) == limit


def test_other_keys_are_not_held_up(app: LiteQueue, worker: Any) -> None:
    started, go = threading.Event(), threading.Event()

    @app.task(concurrency_key=lambda key, wait: key)
    def hold(key: str, wait: bool) -> str:
        if wait:
            started.set()
            assert go.wait(20)
        return key

    worker()
    first = hold.delay("one", True)
    assert started.wait(10)
    parked = hold.delay("one", False)
    assert hold.delay("two", False).get(timeout=10) == "two"
    assert not parked.ready()
    go.set()
    assert (first.get(timeout=10), parked.get(timeout=10)) == ("one", "one")


def test_a_failure_lets_the_next_of_its_key_go_on(app: LiteQueue, worker: Any) -> None:
    @app.task(concurrency_key="one")
    def fails() -> None:
        raise RuntimeError("as told")

    results = [fails.delay() for _ in range(5)]
    worker()
    for result in results:
        with pytest.raises(RuntimeError):
            result.get(timeout=10)


def test_a_failure_of_a_limited_task_that_wants_no_result_leaves_none(app: LiteQueue, worker: Any) -> None:
    @app.task(concurrency_key="one", ignore_result=True)
    def fails() -> None:
        raise RuntimeError("as told")

    result = fails.delay()
    worker()
    wait_until(lambda: row(result).state == "failed")
    assert row(result).result is None


# Schedules


def test_an_entry_has_the_keys_of_its_task(app: LiteQueue) -> None:
    from litequeue.core.ties import read_errbacks

    task = app.task(name="proj.keyed", unique=True, concurrency_key=lambda a: f"k{a}")(lambda a: a)
    app.schedules.add("every", task, 60, args=(1,))

    def keys() -> Any:
        entry = app.store.schedule("every")
        assert entry is not None
        return read_errbacks(entry.call)[0].keys

    before = keys()
    assert before.concurrency_key == "k1"
    app.schedules.update("every", args=(2,))
    assert keys().concurrency_key == "k2"
    assert keys().unique_key not in (None, before.unique_key)


def test_running_an_entry_now_is_a_call_as_any(app: LiteQueue, work: Any) -> None:
    holder = work.apply_async(unique_key="job-1", countdown=3600)
    app.schedules.add("every", work, 60, options={"unique_key": "job-1"})
    result = app.schedules.run_now("every")
    assert (result.id, result.existed) == (holder.id, True)


def test_runs_of_an_entry_have_its_concurrency_key(app: LiteQueue, work: Any, worker: Any) -> None:
    app.schedules.add("every", work, 3600, options={"concurrency_key": "jobs", "concurrency_limit": 2})
    record = row(app.schedules.run_now("every"))
    assert (record.concurrency_key, record.concurrency_limit, record.ties & KEYED) == ("jobs", 2, KEYED)


def test_an_entry_whose_options_have_keys_is_changed_with_its_options(app: LiteQueue, work: Any) -> None:
    app.schedules.add("every", work, 60, args=(1,), options={"unique_key": "job-1"})
    with pytest.raises(TypeError, match="give its options as well"):
        app.schedules.update("every", args=(2,))
    app.schedules.update("every", args=(2,), options={"unique_key": "job-2"})
