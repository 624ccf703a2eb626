"""What filters mean, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from litequeue.core import clock
from litequeue.inspect.filters import make_filter, moment
from litequeue.inspect.snapshot import find, tasks
from tests.inspect.looked_at import add, boom, flaky, ignored


@pytest.fixture
def several(app: Any, ended: Any) -> dict[str, str]:
    """Ids of tasks in every state that needs no running worker, by that state."""
    results = {
        "SUCCESS": add.delay(1, 2),
        "FAILURE": boom.delay("cake"),
        "RETRY": flaky.delay(),
        "IGNORED": ignored.delay(),
    }
    ended(*results.values())
    results["PENDING"] = add.apply_async((3, 4), queue="mail")
    results["scheduled"] = add.apply_async((5, 6), countdown=3600)
    results["REVOKED"] = add.delay(7, 8)
    results["REVOKED"].revoke()
    return {state: result.id for state, result in results.items()}


def found(app: Any, **which: Any) -> set[str]:
    return {task.id for task in tasks(app, make_filter(**which))}


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "RETRY", "IGNORED", "REVOKED"])
def test_one_state_of_celery(app: Any, several: dict[str, str], state: str) -> None:
    assert found(app, states=[state]) == {several[state]}
    assert found(app, states=[state.lower()]) == {several[state]}


def test_states_of_the_engine_and_of_celery_together(app: Any, several: dict[str, str]) -> None:
    assert found(app, states=["PENDING"]) == {several["PENDING"], several["scheduled"]}
    assert found(app, states=["ready"]) == {several["PENDING"]}
    assert found(app, states=["scheduled"]) == {several["scheduled"], several["RETRY"]}
    assert found(app, states=["RETRY", "FAILURE"]) == {several["RETRY"], several["FAILURE"]}
    assert found(app, states=["failed", "PENDING"]) == {
        several["FAILURE"],
        several["PENDING"],
        several["scheduled"],
    }


def test_a_state_that_a_task_has_set(app: Any, several: dict[str, str]) -> None:
    app.store.update_state(several["PENDING"], "MAPPED", None)
    assert found(app, states=["MAPPED"]) == {several["PENDING"]}
    assert found(app, states=["MAPPED", "FAILURE"]) == {several["PENDING"], several["FAILURE"]}
    assert found(app, states=["PENDING"]) == {several["scheduled"]}


def test_names_queues_text_and_worker(app: Any, several: dict[str, str]) -> None:
    assert found(app, names=["*.boom", "*.ignored"]) == {several["FAILURE"], several["IGNORED"]}
    assert found(app, queues=["ma*"]) == {several["PENDING"]}
    assert found(app, text="cake") == {several["FAILURE"]}
    assert found(app, text="%") == set()
    assert found(app, worker="w1@here", names=["*.add"]) == {several["SUCCESS"]}
    assert found(app, queues=["mail"], names=["*.boom"]) == set()


def test_times(app: Any, several: dict[str, str]) -> None:
    assert found(app, since="1h") == set(several.values())
    assert found(app, before=timedelta(hours=1)) == set()
    assert found(app, since=clock.now() + 60) == set()


@pytest.mark.parametrize("state", ["FAILUR", "sucess", "run ning", "%", ""])
def test_a_state_that_is_none(state: str) -> None:
    with pytest.raises(ValueError, match="there is no state"):
        make_filter(states=[state])


def test_the_nearest_state_is_suggested() -> None:
    with pytest.raises(ValueError, match="did you mean FAILURE"):
        make_filter(states=["failur"])


@pytest.mark.parametrize("text", ["yesterday", "2h ago", "", "2030-13-01", "-1h"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"since: .* is no time; write"):
        make_filter(since=text)


def test_since_after_before() -> None:
    with pytest.raises(ValueError, match="no task can be meant"):
        make_filter(since="1h", before="2h")


def test_moments() -> None:
    assert moment("since", 12.5) == 12.5
    assert moment("since", "2030-01-31T09:00+01:00") == datetime(2030, 1, 31, 8, tzinfo=UTC).timestamp()
    assert moment("since", "2030-01-31 09:00", UTC) == datetime(2030, 1, 31, 9, tzinfo=UTC).timestamp()
    ago = moment("since", "1.5h")
    assert ago is not None
    assert 0 <= clock.now() - 5400 - ago < 60


def test_a_search_goes_on_where_it_stopped(app: Any) -> None:
    results = [add.delay(number, 0) for number in range(25)]
    seen: list[str] = []
    before: int | None = None
    while True:
        part = find(app, make_filter(names=["*.add"]), 10, before=before)
        seen += [task.id for task in part.tasks]
        before = part.before
        if before is None:
            break
    assert seen == [result.id for result in reversed(results)]


def test_a_search_keeps_to_its_budget(app: Any) -> None:
    for number in range(3):
        add.delay(number, 0)
    part = find(app, make_filter(text="nowhere"), 10, budget=0.0)
    assert (part.tasks, part.before) == ([], None)
