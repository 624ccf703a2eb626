"""Time zones by name, and the machine's own."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from litequeue.core.zones import local, utc, zone


def test_without_a_name_it_is_utc_or_local() -> None:
    assert zone(None) is utc
    assert zone("") is utc
    assert zone("utc") is utc
    assert zone(None, enable_utc=False) is local


def test_a_name_or_a_zone() -> None:
    assert zone("Europe/Oslo") == ZoneInfo("Europe/Oslo")
    fixed = timezone(timedelta(hours=3))
    assert zone(fixed) is fixed


def test_local_time_follows_the_machine_through_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Oslo")
    time.tzset()
    try:
        winter = datetime(2030, 1, 1, 12, tzinfo=local)
        summer = datetime(2030, 7, 1, 12, tzinfo=local)
        assert (winter.utcoffset(), winter.dst()) == (timedelta(hours=1), timedelta(0))
        assert (summer.utcoffset(), summer.dst()) == (timedelta(hours=2), timedelta(hours=1))
        assert summer.timestamp() == datetime(2030, 7, 1, 10, tzinfo=utc).timestamp()
        assert datetime(2030, 7, 1, 10, tzinfo=utc).astimezone(local).hour == 12
        assert summer.tzname() == "CEST"
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
