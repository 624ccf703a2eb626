"""Which local times a cron expression means, and the next of them: bit masks, no scanning."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.offsets import DAY

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_LENGTHS: Final = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS: Final = tuple((1 << (length + 1)) - 2 for length in _LENGTHS)
"""The days of each month as bits; that of the 1st is bit 1."""
_LEAP_FEBRUARY: Final = (1 << 30) - 2
_YEARS_BETWEEN: Final = 41
"""29 February on one weekday comes after 40 years at the latest (2072 to 2112: 2100 has none)."""
_LAST_YEAR: Final = 9998


class Pattern:
    """The local times of six fields; a date must match the day of the month and of the week, both."""

    __slots__ = ("_by_first_weekday", "_every_day", "_first", "_hours", "_minutes", "_months", "_seconds")

    def __init__(
        self,
        seconds: Iterable[int],
        minutes: Iterable[int],
        hours: Iterable[int],
        days_of_month: Iterable[int],
        months: Iterable[int],
        days_of_week: Iterable[int],
    ) -> None:
        self._seconds = _mask(seconds)
        self._minutes = _mask(minutes)
        self._hours = _mask(hours)
        self._months = _mask(months)
        days = _mask(days_of_month)
        weekdays = frozenset(days_of_week)
        self._by_first_weekday = tuple(
            days & _mask(day for day in range(1, 32) if (first + day - 1) % 7 in weekdays) for first in range(7)
        )
        self._first = _lowest(self._hours) * 3600 + _lowest(self._minutes) * 60 + _lowest(self._seconds)
        self._every_day = len(weekdays) == 7 and days == _DAYS[1] and self._months == (1 << 13) - 2

    def next_wall(self, wall: int) -> int | None:
        """The first local time from `wall` on that matches; None: none before the year 9999."""
        day, second = divmod(wall, DAY)
        found = self._next_day(day)
        if found == day:
            later = self._next_time(second)
            if later >= 0:
                return day * DAY + later
            found = self._next_day(day + 1)
        return None if found is None else found * DAY + self._first

    def _next_time(self, second_of_day: int) -> int:
        """The first matching second of a day from `second_of_day` on; -1: none on that day."""
        hour, rest = divmod(second_of_day, 3600)
        if self._hours >> hour & 1:
            minute, second = divmod(rest, 60)
            if self._minutes >> minute & 1:
                left = self._seconds >> second
                if left:
                    return second_of_day + _lowest(left)
            left = self._minutes >> (minute + 1)
            if left:
                return hour * 3600 + (minute + 1 + _lowest(left)) * 60 + _lowest(self._seconds)
        left = self._hours >> (hour + 1)
        if left:
            return (hour + 1 + _lowest(left)) * 3600 + self._first % 3600
        return -1

    def _next_day(self, day: int) -> int | None:
        """The first matching day from `day` on, both in days since 1970."""
        if self._every_day:
            return day
        year, month, first = date.fromordinal(day + _EPOCH_DAY).timetuple()[:3]
        for _ in range(_YEARS_BETWEEN * 12):
            if self._months >> month & 1:
                begin = date(year, month, 1).toordinal()
                left = self._by_first_weekday[begin % 7] & _length(year, month)
                left = left >> first << first
                if left:
                    return begin - _EPOCH_DAY + _lowest(left) - 1
            first = 0
            month += 1
            if month == 13:
                year, month = year + 1, 1
                if year > _LAST_YEAR:
                    break
        return None


def _mask(numbers: Iterable[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _length(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _LEAP_FEBRUARY if month == 2 and leap else _DAYS[month]


def check_dates(days: frozenset[int], months: frozenset[int], days_text: str, months_text: str) -> None:
    """ScheduleError where none of the days is in any of the months, as 30 February."""
    if min(days) > max(29 if month == 2 else _LENGTHS[month] for month in months):
        raise ScheduleError(
            f"day_of_month={days_text!r}, month_of_year={months_text!r}: there is no such date in any year"
        )
