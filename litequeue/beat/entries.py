"""From what a program says of an entry to what stands in the file."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from litequeue.beat.planning import ALLOW, CATCHUPS, LAST, OVERLAPS, jitter_of
from litequeue.core.records import Entry, NewEntry
from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.bounds import Bounds
from litequeue.schedules.choosing import maybe_schedule
from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.storing import schedule_to_json
from litequeue.schedules.zonenames import find_zone, zone_name

CALL_FIELDS: Final = ("task", "args", "kwargs", "options")
"""What an entry says of the task that it enqueues."""
TIMING_FIELDS: Final = ("schedule", "relative", "timezone", "start", "end")
"""What an entry says of when; where it changes, the next instant is found anew."""
RULE_FIELDS: Final = ("enabled", "catchup", "catchup_window", "overlap", "jitter", "max_runs")
"""What an entry says of how it is kept."""
FIELDS: Final = (*CALL_FIELDS, *TIMING_FIELDS, *RULE_FIELDS)
"""Every field of an entry, but for its name."""

_LONGEST_NAME: Final = 500


def check_fields(name: str, given: Mapping[str, Any]) -> None:
    """TypeError, with the nearest that there is, where an entry is given a field that there is not."""
    unknown = sorted(given.keys() - set(FIELDS))
    if unknown:
        near = difflib.get_close_matches(unknown[0], FIELDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(FIELDS)}"
        raise TypeError(
            f"entry {name!r}: there is no field {unknown[0]!r}; {hint}. Options of the call go to 'options'"
        )


def check_name(name: object) -> str:
    """The name of an entry; ValueError where it is none."""
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ScheduleError(f"name={name!r}: an entry's name is a printable text of up to {_LONGEST_NAME} characters")
    return name


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When an entry is due: checked."""

    rule: BaseSchedule
    zone: tzinfo
    bounds: Bounds

    @classmethod
    def of(cls, schedule: Any, *, relative: Any, timezone: Any, start: Any, end: Any, app_zone: tzinfo) -> Timing:
        """What these fields say; the zone is the entry's, else the schedule's own, else the app's. ScheduleError."""
        rule = maybe_schedule(schedule, bool(relative))
        if rule is None:
            raise ScheduleError("schedule=None: say when, as in schedule=30.0 or schedule=crontab(hour=4, minute=0)")
        zone = app_zone if timezone is None else find_zone(timezone)
        own = rule.timezone
        if own is not None:
            if timezone is not None and zone_name(own) != zone_name(zone):
                raise ScheduleError(
                    f"timezone={zone_name(zone)!r}: the schedule has its own, {zone_name(own)!r}; give one of them"
                )
            zone = own
        return cls(rule=rule, zone=zone, bounds=Bounds.of(_moment("start", start), _moment("end", end), zone))

    def columns(self) -> dict[str, Any]:
        """The columns of the row."""
        return {
            "schedule": json.dumps(schedule_to_json(self.rule), sort_keys=True),
            "timezone": zone_name(self.zone),
            "start_at": self.bounds.start,
            "end_at": self.bounds.end,
        }

    def anchor(self, now: float) -> float:
        """From when an interval counts: the entry's start, else now."""
        return now if self.bounds.start is None else self.bounds.start

    def first(self, now: float, anchor: float) -> float | None:
        """The first instant after `now`; that of an own kind, which is asked again and again, is when to begin."""
        if self.rule.on_start:
            return None
        if self.rule.polled:
            return now if self.bounds.start is None else max(now, self.bounds.start)
        return self.bounds.next_instant(self.rule, now, self.zone, anchor)


def rules(given: Mapping[str, Any], polled: bool) -> dict[str, Any]:
    """The columns of `RULE_FIELDS`, checked. ScheduleError names the field and the value."""
    jitter = _seconds("jitter", given.get("jitter") or 0.0, allow_zero=True)
    if jitter and polled:
        raise ScheduleError(f"jitter={jitter!r}: a schedule that is asked whether it is due cannot be put off")
    window = given.get("catchup_window")
    return {
        "enabled": int(bool(given.get("enabled", True))),
        "catchup": _choice("catchup", given.get("catchup", LAST), CATCHUPS),
        "catchup_window": None if window is None else _seconds("catchup_window", window),
        "overlap": _choice("overlap", given.get("overlap", ALLOW), OVERLAPS),
        "jitter": jitter,
        "max_runs": _runs(given.get("max_runs")),
    }


def with_next(entry: NewEntry, instant: float | None) -> NewEntry:
    """The entry, due next at `instant`."""
    at = None if instant is None else instant + jitter_of(entry.name, instant, entry.jitter)
    return entry._replace(next_instant=instant, next_at=at)


def as_new(entry: Entry) -> NewEntry:
    """An entry of the file as it would be written anew."""
    return NewEntry._make(getattr(entry, name) for name in NewEntry._fields)


def _moment(name: str, value: Any) -> datetime | float | None:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise ScheduleError(f"{name}={value!r}: a moment is written as '2030-01-31 09:00'") from None
    return value  # type: ignore[no-any-return]  # Bounds.of checks it


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ScheduleError(f"{name}={value!r}: it is one of {', '.join(map(repr, choices))}")
    return str(value)


def _seconds(name: str, value: Any, allow_zero: bool = False) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ScheduleError(f"{name}={value!r}: seconds or a timedelta are needed")
    if value < 0 or (value == 0 and not allow_zero):
        raise ScheduleError(f"{name}={value!r}: it must be more than nothing")
    return float(value)


def _runs(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ScheduleError(f"max_runs={value!r}: a whole number, one or more, or None for no limit")
    return value
