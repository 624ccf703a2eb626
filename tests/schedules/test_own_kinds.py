"""Own kinds: by their own rule, or asked again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from litequeue.schedules import ScheduleError, crontab, maybe_schedule, poll, preview, schedule

from .own_kinds import Doubling, Never, Tide, WorkHours, Wrong

BEGIN = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)


def test_an_own_rule() -> None:
    rule = Tide("Brest", timedelta(seconds=100))
    assert not rule.polled
    found = list(rule.instants(BEGIN, limit=3))
    assert [after - before for before, after in pairwise(found)] == [timedelta(seconds=44700)] * 2
    assert rule.remaining_estimate(datetime.now(UTC)) > timedelta(0)


@pytest.mark.parametrize(
    ("rule", "polled"),
    [
        (crontab(), False),
        (schedule(3), False),
        (Tide("Brest"), False),
        (Doubling(60), True),
        (WorkHours(0, 9), True),
        (Never(1), True),
    ],
)
def test_who_is_asked_again_and_again(rule: Any, polled: bool) -> None:
    assert rule.polled is polled


def test_a_kind_that_is_asked_is_foreseen_by_its_own_clock() -> None:
    rule = Doubling(60)
    found = rule.next_after(BEGIN)
    assert found == BEGIN.replace(minute=30)
    assert list(rule.instants(BEGIN, limit=3)) == [BEGIN.replace(minute=minute) for minute in (30, 31, 32)]
    assert rule.nowfun is None, "the schedule itself keeps its clock"


def test_a_kind_that_estimates() -> None:
    assert WorkHours("*/10").next_after(BEGIN) == BEGIN.replace(hour=13)
    assert WorkHours(0, 23).next_after(BEGIN) == BEGIN.replace(hour=23)


def test_a_kind_that_is_never_due() -> None:
    assert Never(1).next_after(BEGIN) is None
    assert poll(Never(1), BEGIN) == (False, None)
    assert preview(Never(1), after=BEGIN) == []


def test_an_answer_that_is_none() -> None:
    with pytest.raises(ScheduleError, match=r"Wrong\.is_due\(\) answered 'soon'"):
        poll(Wrong(1), BEGIN)


def test_a_wait_may_be_a_timedelta() -> None:
    class Hourly(schedule):
        def is_due(self, last_run_at: datetime) -> Any:
            return True, timedelta(hours=1)

    assert poll(Hourly(1), BEGIN) == (True, 3600.0)


class NotOurs:
    """Looks like a schedule of Celery."""

    def __init__(self) -> None:
        self.nowfun: Any = lambda: BEGIN

    def is_due(self, last_run_at: datetime) -> Any:
        left = 90 - (self.nowfun() - last_run_at).total_seconds()
        return left <= 0, max(left, 0) or 90

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        return timedelta(seconds=90) - (self.nowfun() - last_run_at)


def test_an_object_that_is_none_of_ours() -> None:
    inner = NotOurs()
    rule = maybe_schedule(inner)
    assert rule.polled
    assert poll(rule, BEGIN - timedelta(seconds=30)) == (False, 60.0)
    assert rule.remaining_estimate(BEGIN) == timedelta(seconds=90)
    assert rule.next_after(BEGIN) == BEGIN + timedelta(seconds=90)
    assert inner.nowfun() == BEGIN
    assert rule == maybe_schedule(inner)
