"""What is due once: at one moment, or when the scheduler starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from litequeue.core import clock
from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.offsets import EARLIEST, LATEST, offsets_of


class at(BaseSchedule):
    """One moment: a datetime, its ISO text, or Unix seconds; a naive one is local time in the zone of the schedule.

    A moment that has passed is no error: whoever keeps the schedule decides whether it is still to be run.
    """

    def __init__(
        self,
        when: datetime | str | float,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun=nowfun, app=app, timezone=timezone)
        self.when = _moment(when)

    def instant(self, zone: tzinfo) -> float:
        """The moment in Unix seconds, a naive one read in `zone`: the first of two, and after a jump that skips it."""
        if self.when.tzinfo is not None:
            return self.when.timestamp()
        wall = clock.to_timestamp(self.when.replace(microsecond=0))
        return offsets_of(zone).instant_of(int(wall)) + self.when.microsecond / 1e6

    def next_instant(self, after: float, zone: tzinfo, anchor: float | None = None) -> float | None:
        """The moment, where it is after `after`."""
        instant = self.instant(zone)
        return instant if instant > after else None

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The moment, and what else was given."""
        if type(self).__init__ is not at.__init__:
            return super().arguments()
        named = {"nowfun": self.nowfun, "timezone": self.timezone}
        return (self.when,), {name: value for name, value in named.items() if value is not None}

    def __repr__(self) -> str:
        zone = "" if self.timezone is None or self.when.tzinfo is not None else f" {self.timezone}"
        return f"<at: {self.when.isoformat(sep=' ')}{zone}>"


class reboot(BaseSchedule):
    """Due once when the scheduler starts: at `anchor`, which the scheduler sets to that moment."""

    on_start = True

    def next_instant(self, after: float, zone: tzinfo, anchor: float | None = None) -> float | None:
        """`anchor`, where it is after `after`; without one, never."""
        return anchor if anchor is not None and anchor > after else None

    def __repr__(self) -> str:
        return "<reboot>"


def _moment(when: datetime | str | float) -> datetime:
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise ScheduleError(
                f"when={when!r}: a moment is written as '2030-01-31 09:00' or with its offset"
            ) from None
    elif isinstance(when, (int, float)) and not isinstance(when, bool):
        if not (math.isfinite(when) and EARLIEST <= when < LATEST):
            raise ScheduleError(f"when={when!r}: these are no Unix seconds of the years 3 to 9997")
        when = clock.to_datetime(when)
    if not isinstance(when, datetime):
        raise ScheduleError(f"when={when!r}: a datetime, its ISO text, or Unix seconds are needed")
    if not 3 < when.year < 9997:
        raise ScheduleError(f"when={when!r}: a moment lies in the years 4 to 9996")
    return when
