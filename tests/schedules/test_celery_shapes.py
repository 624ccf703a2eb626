"""`is_due` and `remaining_estimate`, as Celery answers them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from litequeue.schedules import BaseSchedule, at, crontab, maybe_schedule, reboot, schedstate, schedule, solar
from litequeue.schedules.base import NEVER

NOW = datetime(2026, 5, 5, 12, 0, 30, tzinfo=UTC)


def clock(moment: datetime = NOW) -> Any:
    return lambda: moment


def test_due() -> None:
    state = crontab("*/5", nowfun=clock()).is_due(NOW - timedelta(minutes=10))
    assert state == schedstate(True, 270.0)
    assert state.is_due
    assert state.next == 270.0


def test_not_due() -> None:
    assert crontab("*/5", nowfun=clock()).is_due(NOW) == (False, 270.0)


def test_due_at_the_very_second() -> None:
    moment = datetime(2026, 5, 5, 12, 5, tzinfo=UTC)
    assert crontab("*/5", nowfun=clock(moment)).is_due(NOW) == (True, 300.0)


def test_an_interval_is_due_again_after_itself() -> None:
    rule = schedule(30, nowfun=clock())
    assert rule.is_due(NOW - timedelta(seconds=31)) == (True, 30.0)
    assert rule.is_due(NOW - timedelta(seconds=20)) == (False, 10.0)


def test_a_relative_interval_asks_again_at_its_next_boundary() -> None:
    rule = schedule(timedelta(hours=1), relative=True, nowfun=clock())
    assert rule.is_due(NOW - timedelta(hours=2)) == (True, 3570.0)


def test_overdue_is_negative() -> None:
    assert crontab(0, 12, nowfun=clock()).remaining_estimate(NOW - timedelta(hours=1)) == timedelta(seconds=-30)


def test_never_again() -> None:
    passed = at(NOW, nowfun=clock(NOW + timedelta(days=1)))
    assert passed.is_due(NOW - timedelta(seconds=1)) == (True, None)
    assert passed.is_due(NOW) == (False, None)
    assert passed.remaining_estimate(NOW) == NEVER
    assert reboot(nowfun=clock()).is_due(NOW) == (False, None)


def test_a_naive_last_run_is_utc() -> None:
    rule = crontab(0, 12, nowfun=clock(), timezone="Asia/Tokyo")
    assert rule.remaining_estimate(NOW.replace(tzinfo=None)) == rule.remaining_estimate(NOW)


def test_the_zone_and_the_clock_of_the_app() -> None:
    app = SimpleNamespace(timezone=ZoneInfo("Asia/Tokyo"), now=clock(), conf=SimpleNamespace())
    assert crontab(0, 22, app=app).remaining_estimate(NOW) == timedelta(minutes=59, seconds=30)
    assert crontab(0, 22, app=app, timezone="UTC").remaining_estimate(NOW) == timedelta(hours=9, minutes=59, seconds=30)


@pytest.mark.parametrize(("deadline", "due"), [(None, True), (3600, True), (1830, True), (1829, False), (60, False)])
def test_the_starting_deadline(deadline: int | None, due: bool) -> None:
    app = SimpleNamespace(conf=SimpleNamespace(beat_cron_starting_deadline=deadline), timezone=UTC)
    late = crontab(30, nowfun=clock(NOW + timedelta(hours=1)), app=app)  # 13:00:30
    assert late.is_due(NOW) == (due, 1770.0)


def test_the_starting_deadline_looks_at_the_last_of_those_that_were_missed() -> None:
    app = SimpleNamespace(conf=SimpleNamespace(beat_cron_starting_deadline=60), timezone=UTC)
    assert crontab("*", nowfun=clock(), app=app).is_due(NOW - timedelta(days=3)).is_due


def test_maybe_schedule() -> None:
    assert maybe_schedule(30) == schedule(30)
    assert maybe_schedule(timedelta(minutes=1), relative=True) == schedule(60, relative=True)
    assert maybe_schedule(0.5).run_every == timedelta(milliseconds=500)
    assert maybe_schedule(None) is None
    assert maybe_schedule("0 12 * * *") == crontab(0, 12)
    assert maybe_schedule("@reboot") == reboot()
    assert maybe_schedule(NOW) == at(NOW)
    rule = solar("sunset", 1, 2)
    app = SimpleNamespace(timezone=UTC)
    assert maybe_schedule(rule, app=app) is rule
    assert rule.app is app
    for wrong in (True, object(), b"0 12 * * *", {}):
        with pytest.raises(ValueError, match="schedule="):
            maybe_schedule(wrong)


def test_the_zone_may_be_set_later() -> None:
    rule = crontab(0, 12)
    rule.tz = "Europe/Paris"
    assert rule.tz == ZoneInfo("Europe/Paris")
    assert rule.to_local(NOW).hour == 14
    assert rule.maybe_make_aware(datetime(2026, 5, 5), naive_as_utc=False).utcoffset() == timedelta(hours=2)


def test_the_base_alone_is_no_rule() -> None:
    with pytest.raises(NotImplementedError):
        BaseSchedule().next_after(0.0)
