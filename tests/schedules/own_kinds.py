"""Kinds of schedules as users write them."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

from litequeue.schedules import BaseSchedule, crontab, register_schedule, schedstate, schedule


class Tide(BaseSchedule):
    """By our own rule: every 12 hours and 25 minutes."""

    def __init__(self, harbour: str, offset: timedelta = timedelta(0), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.harbour = harbour
        self.offset = offset

    def next_instant(self, after: float, zone: tzinfo, anchor: float | None = None) -> float | None:
        step = 44700
        begin = self.offset.total_seconds()
        return begin + ((after - begin) // step + 1) * step


class Doubling(schedule):
    """By Celery's is_due: at least a minute apart, and only in the second half of an hour."""

    def is_due(self, last_run_at: datetime) -> schedstate:
        now = self.now()
        if now - last_run_at < timedelta(minutes=1):
            return schedstate(False, 60 - (now - last_run_at).total_seconds())
        if now.minute < 30:
            return schedstate(False, 60.0)
        return schedstate(True, 60.0)


class WorkHours(crontab):
    """By Celery's remaining_estimate: not before the hour that is told."""

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        earliest = super().remaining_estimate(last_run_at)
        return max(earliest, timedelta(hours=1))


class Never(schedule):
    """Is never due, and wants never to be asked again."""

    def is_due(self, last_run_at: datetime) -> Any:
        return False, None


class Wrong(schedule):
    """Gives no answer."""

    def is_due(self, last_run_at: datetime) -> Any:
        return "soon"


@register_schedule("tests.half-hours")
class HalfHours(schedule):
    """Known by a name."""

    def __init__(self, count: int) -> None:
        super().__init__(timedelta(minutes=30 * count))


class Outer:
    class Inner(Tide):
        """Found in a class."""


NOT_A_KIND = "text"
