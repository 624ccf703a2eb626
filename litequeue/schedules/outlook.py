"""Looking ahead."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

from litequeue.core import clock
from litequeue.schedules.bounds import Bounds
from litequeue.schedules.choosing import maybe_schedule


def preview(
    schedule: Any,
    count: int = 10,
    after: datetime | float | None = None,
    tz: str | tzinfo | None = None,
    *,
    bounds: Bounds | None = None,
    anchor: float | None = None,
) -> list[datetime]:
    """The next `count` instants of a schedule or of an expression, as aware datetimes in its time zone.

    After now, where `after` is not given. Fewer, where it ends. What is due at the start of a scheduler has none.
    """
    rule = maybe_schedule(schedule)
    moment = clock.now() if after is None else clock.to_timestamp(after) if isinstance(after, datetime) else after
    origin = moment if anchor is None else anchor
    limits = bounds or Bounds()
    zone = rule.zone_for(tz)
    found: list[datetime] = []
    while len(found) < count:
        following = limits.next_instant(rule, moment, tz, None if rule.on_start else origin)
        if following is None:
            break
        moment = following
        found.append(clock.to_datetime(moment).astimezone(zone))
    return found
