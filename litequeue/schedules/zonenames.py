"""Time zones by name, in both directions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from litequeue.core.zones import LocalZone, local, zone
from litequeue.schedules.errors import ScheduleError

_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)(?::(\d\d))?")


def find_zone(name: str | tzinfo) -> tzinfo:
    """The zone of an IANA name, of "UTC", of "local" (this machine's), or of an offset as "+05:30".

    ScheduleError where there is none; a tzinfo is returned as it is.
    """
    if isinstance(name, tzinfo):
        return name
    if not isinstance(name, str) or not name:
        raise ScheduleError(f"timezone={name!r}: a time zone is given by its IANA name, as 'Europe/Oslo', or a tzinfo")
    if name == "local":
        return local
    if found := _OFFSET.fullmatch(name):
        return _fixed(name, found)
    try:
        return zone(name)
    except (KeyError, ValueError, OSError):
        pass
    hint = "" if "/" in name else "; a zone is named as 'Europe/Oslo', 'UTC', 'local' or '+05:30'"
    raise ScheduleError(f"timezone={name!r}: this machine knows no such time zone{hint} (on Windows install tzdata)")


def _fixed(name: str, found: re.Match[str]) -> tzinfo:
    sign, hours, minutes, seconds = found.groups()
    distance = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0))
    if not distance:
        return UTC
    try:
        return timezone(-distance if sign == "-" else distance)
    except ValueError:
        raise ScheduleError(f"timezone={name!r}: an offset is less than a day") from None


def zone_name(known: tzinfo) -> str:
    """The name by which `find_zone` gives that zone again; ScheduleError where it has none."""
    if known is UTC:
        return "UTC"
    if isinstance(known, LocalZone):
        return "local"
    if isinstance(known, timezone):
        text = datetime(2000, 1, 1, tzinfo=known).isoformat()[19:]
        return "UTC" if text == "+00:00" else text.partition(".")[0]
    for attribute in ("key", "zone"):  # ZoneInfo; pytz
        name = getattr(known, attribute, None)
        if isinstance(name, str) and name:
            return name
    raise ScheduleError(f"timezone={known!r} has no name that could be written down; use an IANA name")
