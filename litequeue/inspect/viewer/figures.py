"""Numbers, spans, sizes and times as short texts of a steady width."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final

from litequeue.core import clock
from litequeue.inspect.text import percent as percent
from litequeue.inspect.text import seconds as span
from litequeue.inspect.text import size as size

NONE: Final = "-"
"""Where there is nothing to say."""


def count(number: int) -> str:
    """A number with its thousands apart, in seven cells: from a million on in millions."""
    if number < 1_000_000:
        return f"{number:,}"
    return f"{number / 1e6:.2f} M" if number < 100_000_000 else f"{number / 1e6:.0f} M"


def rate(per_second: float) -> str:
    """So many in a second, with as many digits as mean something."""
    if per_second <= 0:
        return "0"
    if per_second >= 100:
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}" if per_second >= 0.1 else f"{per_second:.2f}"


def coarse(seconds: float) -> str:
    """A span in its greatest unit: `8 s`, `5 min`, `3 h`, `12 d`."""
    for unit, least in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= least:
            return f"{seconds // least:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def moment(at: float | None, zone: tzinfo, now: float | None = None) -> str:
    """A time of today as `14:03:59`; of another day as `Nov 20 14:03`, of another year as `2029-11-20`."""
    if at is None:
        return NONE
    local, today = _local(at, zone), _local(clock.now() if now is None else now, zone)
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    return f"{local:%b %d %H:%M}" if local.year == today.year else f"{local:%Y-%m-%d}"


def short_moment(at: float | None, zone: tzinfo, now: float) -> str:
    """The same in eight cells: the time of today, or the day."""
    text = moment(at, zone, now)
    return text if len(text) <= 8 else text[:6] if text[0].isalpha() else text[:4]


def exactly(at: float | None, zone: tzinfo) -> str:
    """A time to the millisecond."""
    if at is None:
        return NONE
    local = _local(at, zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03}"


def ago(at: float | None, now: float) -> str:
    """How long ago, or in how long, a time is: `5 min ago`, `in 3 h`."""
    if at is None:
        return NONE
    return f"{coarse(now - at)} ago" if at <= now else f"in {coarse(at - now)}"


def _local(at: float, zone: tzinfo) -> datetime:
    return clock.to_datetime(at).astimezone(zone)


__all__ = ("ago", "coarse", "count", "exactly", "moment", "percent", "rate", "short_moment", "size", "span")
