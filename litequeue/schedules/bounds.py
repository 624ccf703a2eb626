"""From when to when an entry runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, tzinfo

from litequeue.core import clock
from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.offsets import offsets_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """From `start` to `end`, both included, in Unix seconds; None: open.

    ScheduleError where the end lies before the start.
    """

    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ScheduleError(f"{name}={value!r}: this is no moment")
        if self.start is not None and self.end is not None and self.end < self.start:
            start, end = clock.to_datetime(self.start), clock.to_datetime(self.end)
            raise ScheduleError(f"end={end} lies before start={start}: it would never run")

    @classmethod
    def of(cls, start: datetime | float | None, end: datetime | float | None, zone: tzinfo) -> Bounds:
        """The bounds of two moments; naive datetimes are local times of `zone`."""
        return cls(start=_seconds("start", start, zone), end=_seconds("end", end, zone))

    def next_instant(
        self, schedule: BaseSchedule, after: float, tz: str | tzinfo | None = None, anchor: float | None = None
    ) -> float | None:
        """The first instant of `schedule` after `after` that lies in the bounds; None: there is none any more."""
        if self.start is not None and after < self.start:
            after = math.nextafter(self.start, -math.inf)
        found = schedule.next_after(after, tz, anchor)
        return None if found is None or (self.end is not None and found > self.end) else found


def _seconds(name: str, moment: datetime | float | None, zone: tzinfo) -> float | None:
    if moment is None or (isinstance(moment, (int, float)) and not isinstance(moment, bool)):
        return moment
    if not isinstance(moment, datetime):
        raise ScheduleError(f"{name}={moment!r}: a datetime or Unix seconds are needed")
    if moment.tzinfo is not None:
        return moment.timestamp()
    wall = int(clock.to_timestamp(moment.replace(microsecond=0)))
    return offsets_of(zone).instant_of(wall) + moment.microsecond / 1e6
