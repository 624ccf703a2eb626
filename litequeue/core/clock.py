"""The one reader of time.

Everything that lives in the file is wall-clock Unix time in seconds (it must survive a reboot and mean the same to
every process); everything that measures a duration inside one process is monotonic.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

monotonic = time.monotonic
"""Seconds of a clock that never goes back; comparable only inside one boot of one host."""

now = time.time
"""Unix time in seconds, as it is stored in the file."""


def to_timestamp(moment: datetime) -> float:
    """Unix seconds of `moment`; a naive datetime is read as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


_FIRST: Final = -62_135_510_400.0
_LAST: Final = 253_402_128_000.0


def to_datetime(timestamp: float) -> datetime:
    """The aware UTC datetime of `timestamp` (Unix seconds); of what no calendar has, the nearest day that one has.

    A day is left at both ends, 0001-01-02 to 9999-12-30, so that it can be told in every time zone.
    """
    return datetime.fromtimestamp(min(max(timestamp, _FIRST), _LAST), UTC)
