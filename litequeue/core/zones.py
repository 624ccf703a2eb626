"""Time zones: by name, UTC, and that of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, tzinfo

utc = UTC


class LocalZone(tzinfo):
    """The time zone of this machine, with its changes between winter and summer."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """The distance to UTC at `moment` of local time."""
        return _as_local(moment).utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        """One hour in summer time."""
        return timedelta(hours=1 if time.localtime(_as_local(moment).timestamp()).tm_isdst > 0 else 0)

    def tzname(self, moment: datetime | None) -> str | None:
        """The abbreviation in use at `moment`."""
        return _as_local(moment).tzname()

    def fromutc(self, moment: datetime) -> datetime:
        """Local time of a time in UTC."""
        aware = moment.replace(tzinfo=utc).astimezone()
        naive = aware.replace(tzinfo=None)
        # The hour that a clock shows twice: it is the second where the first would have another distance to UTC.
        return naive.replace(tzinfo=self, fold=naive.astimezone().utcoffset() != aware.utcoffset())

    def __repr__(self) -> str:
        return "<LocalZone>"


def _as_local(moment: datetime | None) -> datetime:
    # A naive datetime is local time to Python, `fold` included.
    return (datetime.now() if moment is None else moment.replace(tzinfo=None)).astimezone()


local = LocalZone()


def zone(name: str | tzinfo | None, enable_utc: bool = True) -> tzinfo:
    """The zone of an IANA name, or the zone itself; without one UTC, or that of this machine with `enable_utc` off."""
    if isinstance(name, tzinfo):
        return name
    if not name:
        return utc if enable_utc else local
    if name.upper() == "UTC":
        return utc
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
