"""A second opinion on cron and time zones, by looking at every minute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from litequeue.schedules import crontab

MINUTE = 60
HOUR = 3600


def transitions(zone: ZoneInfo, first_year: int = 1970, last_year: int = 2037) -> list[int]:
    """The instants at which the distance to UTC changes, by a look every six hours and halving."""
    found = []
    moment = int(datetime(first_year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(last_year + 1, 1, 1, tzinfo=UTC).timestamp())
    while moment < end:
        later = moment + 6 * HOUR
        low, high = moment, later
        if offset(zone, low) != offset(zone, high):
            while high - low > 1:
                middle = (low + high) // 2
                if offset(zone, middle) == offset(zone, low):
                    low = middle
                else:
                    high = middle
            found.append(high)
        moment = later
    return found


def offset(zone: ZoneInfo, instant: int) -> int:
    distance = datetime.fromtimestamp(instant, zone).utcoffset()
    assert distance is not None
    return int(distance.total_seconds())


class Window:
    """The minutes around one transition, and which of them a schedule should choose."""

    def __init__(self, zone: ZoneInfo, transition: int, hours: int = 4) -> None:
        before, after = offset(zone, transition - 1), offset(zone, transition)
        jump = abs(after - before)
        step = math.gcd(MINUTE, before, after)  # Monrovia was 30 seconds off until 1972
        self.low = (transition - hours * HOUR) // MINUTE * MINUTE
        self.high = (transition + hours * HOUR + jump) // MINUTE * MINUTE
        self.zone = zone
        self.real = [
            (instant, datetime.fromtimestamp(instant, zone)) for instant in range(self.low + step, self.high + 1, step)
        ]
        begin = (datetime.fromtimestamp(self.low, zone).replace(tzinfo=None) - timedelta(seconds=jump)).replace(
            second=0
        )
        minutes = (self.high - self.low + 2 * jump) // MINUTE + 2
        walls = [begin + timedelta(minutes=number) for number in range(minutes)]
        # PEP 495: fold=0 is the first of two, and the clock before the gap for what is in it.
        self.named = sorted((int(wall.replace(tzinfo=zone).timestamp()), wall) for wall in walls)

    def expected(self, rule: crontab, follows_elapsed_time: bool) -> list[int]:
        chosen = {
            instant
            for instant, local in (self.real if follows_elapsed_time else self.named)
            if self.low < instant <= self.high and matches(rule, local)
        }
        return sorted(chosen)


def matches(rule: crontab, local: datetime) -> bool:
    return (
        local.minute in rule.minute
        and local.hour in rule.hour
        and local.second == 0
        and local.day in rule.day_of_month
        and local.month in rule.month_of_year
        and local.isoweekday() % 7 in rule.day_of_week
    )


def windows(zone: ZoneInfo, first_year: int = 1970, last_year: int = 2037) -> Iterator[Window]:
    for transition in transitions(zone, first_year, last_year):
        yield Window(zone, transition)
