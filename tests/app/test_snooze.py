"""Snoozing: a task that runs again later, as if it had not run."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from litequeue import LiteQueue, chain, chord, signals
from litequeue.exceptions import Snooze
from tests.app.conftest import row
from tests.worker.conftest import wait_until


class Turns:
    """How many times a task has been run, in this process."""

    def __init__(self) -> None:
        self.count = 0

    def first(self, n: int = 1) -> bool:
        self.count += 1
        return self.count <= n


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_a_snoozed_task_runs_again_and_no_attempt_counts(app: LiteQueue, worker: Any, turns: Turns) -> None:
    @app.task(bind=True, max_retries=0)
    def nap(self: Any) -> tuple[int, int]:
        if turns.first(3):
            raise Snooze(0.01)
        return self.request.attempt, self.request.retries

    result = nap.delay()
    worker()
    assert result.get(timeout=10) == [1, 0]
    assert turns.count == 4
    assert (result.attempts, result.retries, result.history) == (1, 0, [])


def test_a_snoozed_task_is_pending_until_its_time(app: LiteQueue, worker: Any, turns: Turns) -> None:
    @app.task(priority=7, concurrency_key="disk", unique_key="once")
    def nap() -> None:
        if turns.first():
            raise Snooze(timedelta(hours=1))

    result = nap.delay()
    before = datetime.now(UTC).timestamp()
    worker()
    wait_until(lambda: turns.count == 1 and row(result).state == "scheduled")
    record = row(result)
    assert result.state == "PENDING"
    assert record.run_at is not None
    assert before + 3600 <= record.run_at <= before + 3630
    assert (record.priority, record.concurrency_key, record.unique_key) == (7, "disk", "once")
    assert nap.delay().id == result.id


@pytest.mark.parametrize("aware", [True, False])
def test_a_snooze_until_a_time(app: LiteQueue, worker: Any, turns: Turns, aware: bool) -> None:
    app.conf.timezone = "Asia/Tokyo"
    eta = datetime(2099, 1, 1, 9, 0, tzinfo=UTC) if aware else datetime(2099, 1, 1, 18, 0)

    @app.task(bind=True)
    def nap(self: Any) -> None:
        turns.first()
        raise self.snooze(eta=eta)

    result = nap.delay()
    worker()
    wait_until(lambda: turns.count == 1 and row(result).state == "scheduled")
    assert row(result).run_at == datetime(2099, 1, 1, 9, 0, tzinfo=UTC).timestamp()


def test_a_time_that_has_passed_means_now(app: LiteQueue, worker: Any, turns: Turns) -> None:
    @app.task
    def nap() -> int:
        if turns.first():
            raise Snooze(eta=datetime(2001, 1, 1))
        return turns.count

    worker()
    assert nap.delay().get(timeout=10) == 2


def test_a_snooze_stands_though_the_task_catches_it(app: LiteQueue, worker: Any, turns: Turns) -> None:
    @app.task(bind=True, autoretry_for=(Exception,))
    def nap(self: Any) -> int:
        if turns.first():
            try:
                self.snooze(0)
            except Exception:
                return -1
        return int(self.request.retries)

    worker()
    assert nap.delay().get(timeout=10) == 0


def test_autoretry_leaves_a_snooze_alone(app: LiteQueue, worker: Any, turns: Turns) -> None:
    @app.task(bind=True, autoretry_for=(Exception,))
    def nap(self: Any) -> int:
        if turns.first():
            raise Snooze(0)
        return int(self.request.retries)

    worker()
    assert nap.delay().get(timeout=10) == 0


def test_a_retried_task_that_is_snoozed_keeps_its_retries(app: LiteQueue, worker: Any, turns: Turns) -> None:
    @app.task(bind=True)
    def nap(self: Any) -> list[int]:
        if turns.first(1):
            raise self.retry(countdown=0)
        if turns.count == 2:
            raise self.snooze(0)
        return [self.request.attempt, self.request.retries]

    worker()
    result = nap.delay()
    assert result.get(timeout=10) == [2, 1]


def test_a_snoozed_task_keeps_its_place_in_a_canvas(app: LiteQueue, worker: Any, turns: Turns) -> None:
    @app.task
    def nap(number: int) -> int:
        if turns.first(2):
            raise Snooze(0.01)
        return number

    @app.task
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    worker()
    assert chord([nap.s(1), nap.s(2)], total.s()).delay().get(timeout=10) == 3
    turns.count = 0
    assert chain(nap.si(1), nap.s()).delay().get(timeout=10) == 1


def test_what_is_told_of_a_snooze(app: LiteQueue, worker: Any, turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, Any]] = []

    class Told(app.Task):  # type: ignore[misc, name-defined]
        def on_retry(self, *args: Any) -> None:
            told.append(("on_retry", None))

        def on_failure(self, *args: Any) -> None:
            told.append(("on_failure", None))

    @app.task(base=Told)
    def nap() -> None:
        if turns.first():
            raise Snooze(0.25)

    def retried(**_: Any) -> None:
        told.append(("task_retry", None))

    def ended(state: str, **_: Any) -> None:
        told.append(("task_postrun", state))

    signals.task_retry.connect(retried)
    signals.task_postrun.connect(ended)
    caplog.set_level(logging.INFO, "litequeue.worker.trace")
    try:
        worker()
        result = nap.delay()
        result.get(timeout=10)
        wait_until(lambda: len(told) == 2)
    finally:
        signals.task_retry.disconnect(retried)
        signals.task_postrun.disconnect(ended)
    assert told == [("task_postrun", "PENDING"), ("task_postrun", "SUCCESS")]
    [line] = [record for record in caplog.records if "snoozed" in record.getMessage()]
    assert line.getMessage() == f"Task {nap.name}[{result.id}] snoozed for 0.25 s"
    assert line.levelno == logging.INFO


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, TypeError, "either seconds or eta"),
        ({"seconds": 1, "eta": datetime(2099, 1, 1)}, TypeError, "either seconds or eta"),
        ({"seconds": -1}, ValueError, "from 0 to"),
        ({"seconds": float("nan")}, ValueError, "from 0 to"),
        ({"seconds": 1e12}, ValueError, "from 0 to"),
        ({"seconds": "60"}, TypeError, "a number of seconds, not '60'"),
        ({"seconds": True}, TypeError, "a number of seconds"),
        ({"eta": 60}, TypeError, "eta must be a datetime"),
    ],
)
def test_a_snooze_that_cannot_be_fails_the_task(
    app: LiteQueue, worker: Any, given: Any, error: type[Exception], text: str
) -> None:
    @app.task(bind=True)
    def nap(self: Any, how: str) -> None:
        if how == "raise":
            raise Snooze(**given)
        self.snooze(**given)

    worker()
    for how in ("raise", "method"):
        with pytest.raises(error, match=text):
            nap.delay(how).get(timeout=10)


def test_in_place_a_snoozed_task_runs_again_at_once(app: LiteQueue, turns: Turns) -> None:
    @app.task(bind=True)
    def nap(self: Any, number: int = 0) -> list[int]:
        if turns.first(2):
            raise self.snooze(3600)
        return [self.request.attempt, self.request.retries]

    assert nap.apply().get() == [1, 0]
    turns.count = 0
    assert chain(nap.si(), nap.si()).apply().get() == [1, 0]


def test_in_place_a_task_cannot_snooze_for_ever(app: LiteQueue) -> None:
    @app.task
    def nap() -> None:
        raise Snooze(1)

    result = nap.apply()
    assert result.state == "FAILURE"
    assert isinstance(result.result, Snooze)
    assert result.result.__notes__ == ["It was snoozed 101 times in place, where nothing is waited for."]
    assert chain(nap.si(), nap.si()).apply().state == "FAILURE"


def test_called_as_a_function_it_raises(app: LiteQueue) -> None:
    @app.task(bind=True)
    def nap(self: Any) -> None:
        self.snooze(5)

    with pytest.raises(Snooze):
        nap()
