"""Schedules in a few words, for people."""

from __future__ import annotations

from typing import Final

from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.crontabs import crontab
from litequeue.schedules.intervals import schedule
from litequeue.schedules.single import at, reboot

_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def when(rule: BaseSchedule | None) -> str:
    """A schedule in a few words."""
    if rule is None:
        return "?"
    if type(rule) is crontab:
        return rule.expression
    if type(rule) is schedule:
        return f"every {duration(rule.seconds)}"
    if type(rule) is at:
        return f"at {rule.when.isoformat(sep=' ')}"
    if type(rule) is reboot:
        return "@reboot"
    return repr(rule)


def duration(seconds: float) -> str:
    """Seconds in the largest unit that leaves a whole number."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return unit if number == 1 else f"{number} {unit}s"
    return f"{seconds:g} seconds"
