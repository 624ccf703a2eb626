"""`schedule`: again and again after the same time."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from litequeue.schedules.base import BaseSchedule, schedstate
from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.offsets import DAY, LATEST, offsets_of

_MILLION: Final = 1_000_000
_UNITS: Final = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))


class schedule(BaseSchedule):
    """Every `run_every`: seconds, or a timedelta.

    The instants are `anchor` and every whole number of intervals from it, so that they are the same whoever asks and
    however late it is run; where no anchor is given, the next is one interval later.

    `relative` rounds down to the local day, hour, minute or second, the largest that is not longer than the interval;
    an interval of 36 hours is then one day. A day is a day of the calendar, whatever the clock does.
    """

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun=nowfun, app=app, timezone=timezone)
        self.relative = bool(relative)
        # An own kind with its own is_due may have no interval.
        self.run_every = timedelta(0) if run_every is None and type(self) is not schedule else _interval(run_every)

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return max(self.run_every.total_seconds(), 0.0)

    @property
    def human_seconds(self) -> str:
        """The interval in words, as Celery has it: "30.00 seconds"."""
        seconds = self.seconds
        for unit, length in _UNITS:
            if seconds >= length:
                amount = seconds / length
                return f"{amount:.2f} {unit}{'' if amount == 1 else 's'}"
        return f"{seconds:g} seconds"

    def next_instant(self, after: float, zone: tzinfo, anchor: float | None = None) -> float | None:
        """The first instant after `after` in the row through `anchor`; without one, `after` and one interval."""
        # Counted in whole microseconds: every process finds the same instant, to the last bit.
        step = self.run_every // timedelta(microseconds=1)
        if step <= 0:
            raise ScheduleError(f"run_every={self.run_every!r}: {type(self).__name__} has no interval to count with")
        now = _microseconds(after)
        origin = now if anchor is None else _microseconds(anchor)
        if max(now, origin) + step >= LATEST * _MILLION:
            return None
        if self.relative and step >= _MILLION:
            found = self._next_round(now, origin, step, zone)
        else:
            found = origin + ((now - origin) // step + 1) * step
        return found / _MILLION

    def _next_round(self, now: int, origin: int, step: int, zone: tzinfo) -> int:
        seconds = step // _MILLION
        unit = next(int(length) for _, length in _UNITS if seconds >= length)
        rounding = _Rounding(unit, seconds // unit * unit, zone)
        first = rounding.first(origin, step)
        number = rounding.number(first, now)
        while (found := rounding.instant(first, number) * _MILLION) <= now or (number < 0 and found > origin):
            number += 1  # between origin and first there is none: 90 minutes count whole before they are rounded
        return found

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether the interval since `last_run_at` has passed, and in how many seconds to ask again."""
        remaining = self.remaining_estimate(last_run_at).total_seconds()
        if remaining > 0:
            return schedstate(False, remaining)
        if self.relative:
            following = self.remaining_estimate(self.now()).total_seconds()
            return schedstate(True, following if following > 0 else self.seconds)
        return schedstate(True, self.seconds)

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The interval, whether it is relative, and what else was given."""
        if type(self).__init__ is not schedule.__init__:
            return super().arguments()
        named = {"nowfun": self.nowfun, "timezone": self.timezone}
        return (self.run_every, self.relative), {name: value for name, value in named.items() if value is not None}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return super().__eq__(other)
        if isinstance(other, (timedelta, int, float)):
            return (self.run_every if isinstance(other, timedelta) else self.run_every.total_seconds()) == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"


class _Rounding:
    """The row of rounded instants; `base` is a day's or a second's number, as the unit is."""

    def __init__(self, unit: int, step: int, zone: tzinfo) -> None:
        self._unit = unit
        self._step = step
        self._table = offsets_of(zone)

    def first(self, origin: int, step: int) -> int:
        """The local day one step (microseconds) after `origin` on the local clock; or the second, in elapsed time."""
        if self._unit == DAY:
            return (origin + step + self._table.at(origin // _MILLION).offset * _MILLION) // (DAY * _MILLION)
        return self._down((origin + step) // _MILLION)

    def number(self, base: int, moment: int) -> int:
        """The number of steps from `base` to shortly before `moment`."""
        second = moment // _MILLION
        if self._unit == DAY:
            return (second // DAY - 1 - base) // (self._step // DAY) - 1
        return (second - base) // self._step - 1

    def instant(self, base: int, number: int) -> int:
        """The instant that is `number` steps from `base`."""
        if self._unit == DAY:
            return self._table.instant_of((base + number * (self._step // DAY)) * DAY)
        return self._down(base + number * self._step)

    def _down(self, second: int) -> int:
        stretch = self._table.at(second)
        return max(second - (second + stretch.offset) % self._unit, stretch.start)


def _interval(value: object) -> timedelta:
    if isinstance(value, timedelta):
        interval = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        try:
            interval = timedelta(seconds=value)
        except OverflowError:
            raise ScheduleError(f"run_every={value!r}: that is longer than a timedelta can be") from None
    else:
        raise ScheduleError(f"run_every={value!r}: seconds or a timedelta are needed")
    if interval <= timedelta(0):
        raise ScheduleError(f"run_every={value!r}: an interval is longer than nothing (a microsecond at least)")
    return interval


def _microseconds(instant: float) -> int:
    """The last whole microsecond that is not after `instant`, by the comparison of floats."""
    number = round(instant * _MILLION)
    return number - 1 if number / _MILLION > instant else number
