"""What a viewer asks: tasks by a filter, queues at a glance, what stands before a task."""

from __future__ import annotations

import pytest

from litequeue.core import clock, state
from litequeue.core.records import Encoded, Keys
from litequeue.core.ties import KEYED
from litequeue.core.viewing import TaskFilter
from tests.store.conftest import Driver, Takes, new_group


def found(driver: Driver, limit: int = 100, **which: object) -> list[str]:
    """The ids of what a filter finds, newest first, going on until the end."""
    ids: list[str] = []
    before: int | None = None
    while True:
        answer = driver.store.find(TaskFilter(**which), limit, before, scan=3)  # type: ignore[arg-type]
        ids += [task.id for task in answer.tasks]
        if answer.before is None:
            return ids
        before = answer.before


@pytest.fixture
def tasks(driver: Driver) -> dict[str, str]:
    """A file with a task in every state; ids by a short name."""
    hand = driver.hand(queues=("celery", "mail.in"))
    hand.claimant.picker.names.add("mail.send")  # type: ignore[attr-defined]
    names = ("succeeded", "failed", "retried", "running", "mail")
    rows = {name: driver.new(id=f"id-{name}", root_id="the-root") for name in names}
    rows["mail"] = rows["mail"]._replace(name="mail.send", queue="mail.in", payload='[["To: Ann", 5], {}]')
    driver.enqueue(*rows.values())
    hand.claim()
    hand.succeed("id-succeeded", value='"a value"')
    hand.fail("id-failed")
    hand.retry("id-retried")
    hand.succeed("id-mail")
    assert driver.store.update_state("id-running", "PROGRESS", Encoded("{}", "json"))
    driver.enqueue(driver.new(id="id-scheduled", run_at=clock.now() + 60), driver.new(id="id-ready"))
    first, second = driver.chain("add", "add")
    driver.write(first._replace(id="id-first"), second._replace(id="id-waiting", after="id-first"))
    return {row.id: row.state for row in driver.store.tasks(found(driver))}


def test_without_a_filter_all_are_found_newest_first(driver: Driver, tasks: dict[str, str]) -> None:
    newest = ["waiting", "first", "ready", "scheduled", "mail", "running", "retried", "failed", "succeeded"]
    assert found(driver) == [f"id-{name}" for name in newest]
    assert found(driver, limit=2) == found(driver)


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ({"states": ("failed",)}, ["failed"]),
        ({"states": ("running", "failed")}, ["running", "failed"]),
        ({"states": ("waiting", "scheduled")}, ["waiting", "scheduled"]),
        ({"states": ("succeeded",), "names": ("mail.*",)}, ["mail"]),
        ({"custom_states": ("PROGRESS",)}, ["running"]),
        ({"states": ("failed",), "custom_states": ("PROGRESS",)}, ["running", "failed"]),
        ({"states": ()}, []),
        ({"retried": True}, ["retried"]),
        ({"names": ("mail.send", "nothing")}, ["mail"]),
        ({"queues": ("mail.*",)}, ["mail"]),
        ({"worker": "celery@here", "states": ("running",)}, ["running"]),
        ({"worker": "other@here"}, []),
        ({"root_id": "the-root", "states": ("failed",)}, ["failed"]),
        ({"root_id": "id-ready"}, ["ready"]),
        ({"text": "id-wai"}, ["waiting"]),
        ({"text": "mail.s"}, ["mail"]),
        ({"text": "to: ann"}, ["mail"]),
        ({"text": "a value"}, ["succeeded"]),
        ({"text": "ValueError", "states": ("failed",)}, ["failed"]),
        ({"text": "%"}, []),
        ({"text": "d_f"}, []),
        ({"since": 4_000_000_000.0}, []),
        ({"before": 4_000_000_000.0, "states": ("failed",)}, ["failed"]),
    ],
)
def test_filters(driver: Driver, tasks: dict[str, str], which: dict[str, object], names: list[str]) -> None:
    assert found(driver, **which) == [f"id-{name}" for name in names]
    assert found(driver, limit=1, **which) == [f"id-{name}" for name in names]


def test_one_look_is_short_and_says_where_to_go_on(driver: Driver) -> None:
    ids = driver.enqueue(*[driver.new() for _ in range(10)])
    rare = TaskFilter(text=ids[0])
    answer = driver.store.find(rare, 5, scan=4)
    assert (answer.tasks, answer.before) == ([], driver.row(ids[6]).seq)
    answer = driver.store.find(rare, 5, answer.before, scan=4)
    assert (answer.tasks, answer.before) == ([], driver.row(ids[2]).seq)
    answer = driver.store.find(rare, 5, answer.before, scan=4)
    assert ([task.id for task in answer.tasks], answer.before) == ([ids[0]], None)


def test_queues(driver: Driver, tasks: dict[str, str]) -> None:
    celery, mail = driver.store.queues()
    assert (mail.name, mail.ready, mail.failed, mail.next) == ("mail.in", 0, 0, None), "a worker serves it"
    assert (celery.name, celery.ready, celery.scheduled, celery.waiting, celery.running, celery.failed) == (
        "celery",
        3,
        1,
        1,
        1,
        1,
    )
    assert celery.next is not None
    assert celery.next.id == "id-retried"
    assert celery.ready_since == pytest.approx(clock.now(), abs=60)


def test_what_is_apart_or_waits_for_a_key_is_ready_all_the_same(driver: Driver) -> None:
    hand = driver.hand(picker=Takes({"add"}))
    keys = Keys(concurrency_key="account", concurrency_limit=1)
    driver.enqueue(driver.new("unknown"), *[driver.new(keys=keys, ties=KEYED) for _ in range(3)])
    hand.claim()
    hand.claim()
    (celery,) = driver.store.queues()
    assert (celery.ready, celery.aside, celery.parked, celery.running) == (3, 1, 2, 1)
    assert driver.store.running_with("account") == list(hand.held)
    assert driver.store.running_with("other") == []


def test_a_released_task_is_ready_since_its_release(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    began = clock.now()
    hand = driver.hand()
    group = new_group(1)
    member = driver.member(group, 0)
    driver.write(member, group, driver.then(group))
    monkeypatch.setattr(clock, "now", lambda: began + 100)
    hand.succeed(member)
    (celery,) = driver.store.queues()
    assert celery.ready_since == began + 100


def test_place(driver: Driver) -> None:
    first, second, urgent = driver.enqueue(driver.new(), driver.new(), driver.new(priority=9))
    assert [driver.store.place(driver.row(task)) for task in (urgent, first, second)] == [0, 1, 2]
    assert driver.store.place(driver.row(second), limit=1) == 1


def test_when_a_rate_limit_opens(driver: Driver) -> None:
    driver.store.set_rate("add", "1/m")
    hand = driver.hand()
    driver.enqueue(driver.new())
    assert driver.store.opens_at("add") <= clock.now()
    hand.claim()
    assert driver.store.opens_at("add") == pytest.approx(clock.now() + 60, abs=30)
    assert driver.store.opens_at("mail") == 0.0
    assert driver.state(next(iter(hand.held))) == state.RUNNING


def test_a_search_since_a_time_ends_where_the_tasks_get_older(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    began = clock.now()
    old = driver.enqueue(*[driver.new() for _ in range(10)])
    monkeypatch.setattr(clock, "now", lambda: began + 100)
    (new,) = driver.enqueue(driver.new())
    recent = TaskFilter(since=began + 50)
    answer = driver.store.find(recent, 5, scan=2)
    assert [task.id for task in answer.tasks] == [new]
    assert answer.before == driver.row(old[-1]).seq
    answer = driver.store.find(recent, 5, answer.before, scan=2)
    assert (answer.tasks, answer.before) == ([], None), "there are eight more, and they are older"
