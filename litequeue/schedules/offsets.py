"""The distances of a time zone to UTC, as a table of the stretches in which they stay the same.

A `tzinfo` tells its distance to UTC at one moment, and not when that changes. The table is made by asking for every
third day of a year, once, and halving the time in which the answer changes. No stretch of the tz database is as short.

Everything is in whole seconds: an *instant* since 1970 in UTC, a *wall* time since 1970 on the local clock.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple

from litequeue.core.zones import LocalZone

DAY: Final = 86400
EARLIEST: Final = -62072000000
"""An instant in year 3: before it and after LATEST nothing is ever due."""
LATEST: Final = 253339142400
"""The end of year 9997."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_KEPT_ZONES: Final = 256
_PROBED: Final = 3 * DAY


class Stretch(NamedTuple):
    """A time in which the local clock runs evenly."""

    start: int
    end: int
    """The first instant that is not in it."""
    offset: int
    """wall - instant"""
    reached: int
    """The wall time that the local clock had reached at `start`: less than start + offset where the clock then jumped
    forward, more where it was set back."""


class Offsets:
    """The stretches of one zone, found year by year."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._years: dict[int, tuple[list[int], list[Stretch]]] = {}
        self._only: Stretch | None = None
        if isinstance(zone, timezone):
            offset = self._offset(0)
            self._only = Stretch(EARLIEST, LATEST, offset, EARLIEST + offset)

    def at(self, instant: int) -> Stretch:
        """The stretch that holds `instant`, which lies between EARLIEST and LATEST."""
        if self._only is not None:
            return self._only
        year = time.gmtime(instant).tm_year
        try:
            starts, stretches = self._years[year]
        except KeyError:
            starts, stretches = self._years[year] = self._find(year)
        return stretches[bisect_right(starts, instant) - 1]

    def instant_of(self, wall: int) -> int:
        """The instant of a local time: the first of two; for one that a jump skips, as the clock before it had it.

        This is the reading of RFC 5545 (3.3.5) and of Python's fold=0.
        """
        stretch = self.at(min(max(wall - 2 * DAY, EARLIEST), LATEST - 1))
        while wall >= stretch.end + stretch.offset and stretch.end < LATEST:
            stretch = self.at(stretch.end)
        if wall < stretch.start + stretch.offset and stretch.reached <= wall:
            return stretch.start + wall - stretch.reached
        return wall - stretch.offset

    def _offset(self, instant: int) -> int:
        # Not by utcoffset(): zones that do not know `fold` answer with the first of two.
        moment = _EPOCH + timedelta(seconds=instant)
        distance = moment.astimezone(self._zone).replace(tzinfo=None) - moment.replace(tzinfo=None)
        return distance.days * DAY + distance.seconds

    def _find(self, year: int) -> tuple[list[int], list[Stretch]]:
        first = _new_year(year)
        end = _new_year(year + 1)
        # From some days before, so that a change on the last day of a year is seen from the next one.
        moment = first - _PROBED
        offset = self._offset(moment)
        reached = moment + offset
        changes = [(moment, offset, reached)]
        while moment < end:
            later = min(moment + _PROBED, end)
            after = self._offset(later)
            if after != offset:
                change = self._change(moment, later)
                reached = max(reached, change + offset)
                changes.append((change, after, reached))
                offset = after
            moment = later
        stretches = []
        for number, (start, distance, mark) in enumerate(changes):
            stop = changes[number + 1][0] if number + 1 < len(changes) else end
            if stop > first:
                # Not cut at the new year: what the clock skipped or repeats shortly before may reach into it.
                stretches.append(Stretch(start, stop, distance, mark))
        return [stretch.start for stretch in stretches], stretches

    def _change(self, low: int, high: int) -> int:
        before = self._offset(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return high


def _new_year(year: int) -> int:
    return (datetime(year, 1, 1).toordinal() - _EPOCH_DAY) * DAY


_tables: dict[tuple[object, ...], Offsets] = {}


def offsets_of(zone: tzinfo) -> Offsets:
    """The table of `zone`, the same one each time."""
    # By identity: dateutil's zones cannot be hashed, and ZoneInfo gives one object for a name. The table keeps its zone
    # alive, so that no other gets the number. Local time is another zone after time.tzset().
    key: tuple[object, ...] = (id(zone),)
    if isinstance(zone, LocalZone):
        key = (id(zone), time.tzname, time.timezone)
    table = _tables.get(key)
    if table is None:
        if len(_tables) >= _KEPT_ZONES:
            _tables.clear()
        table = _tables[key] = Offsets(zone)
    return table
