"""Looking ahead and back: rows of instants, previews, bounds, and the tables of odd zones."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from litequeue.core.zones import local
from litequeue.schedules import Bounds, ScheduleError, at, cron, crontab, preview, reboot, schedule
from litequeue.schedules.offsets import offsets_of

BEGIN = datetime(2026, 5, 5, 12, tzinfo=UTC)


def test_instants_are_what_was_asked_with() -> None:
    assert list(crontab(0).instants(BEGIN.timestamp(), limit=2)) == [BEGIN.timestamp() + 3600, BEGIN.timestamp() + 7200]
    found = list(crontab(0).instants(BEGIN, "Asia/Tokyo", limit=1))
    assert found[0].tzinfo == ZoneInfo("Asia/Tokyo")
    assert crontab(0).next_after(0) == 3600.0
    with pytest.raises(TypeError, match="not str"):
        crontab(0).next_after("now")  # type: ignore[type-var]


def test_until_is_included_and_after_is_not() -> None:
    found = list(crontab(0).instants(BEGIN, until=BEGIN + timedelta(hours=2)))
    assert [moment.hour for moment in found] == [13, 14]
    assert list(crontab(0).instants(BEGIN, until=BEGIN - timedelta(hours=2))) == []
    assert list(crontab(0).instants(BEGIN, limit=0)) == []


def test_the_latest_of_a_week_of_seconds_is_found_at_once() -> None:
    rule = crontab(second="*")
    begun = time.perf_counter()
    assert rule.latest(BEGIN, BEGIN + timedelta(days=7, microseconds=5)) == BEGIN + timedelta(days=7)
    assert time.perf_counter() - begun < 0.5


@pytest.mark.parametrize(
    ("rule", "until", "expected"),
    [
        (crontab(0, 9), BEGIN + timedelta(days=2), BEGIN.replace(hour=9) + timedelta(days=2)),
        (crontab(0, 9), BEGIN + timedelta(hours=2), None),
        (crontab(0, 13), BEGIN + timedelta(hours=1), BEGIN + timedelta(hours=1)),
        (crontab(0, 13), BEGIN, None),
        (schedule(7), BEGIN + timedelta(seconds=20), BEGIN + timedelta(seconds=14)),
        (at(BEGIN + timedelta(1)), BEGIN + timedelta(9), BEGIN + timedelta(1)),
        (at(BEGIN), BEGIN + timedelta(9), None),
    ],
)
def test_the_latest(rule: Any, until: datetime, expected: datetime | None) -> None:
    assert rule.latest(BEGIN, until) == expected


def test_the_latest_before_the_end_of_the_calendar() -> None:
    assert at(BEGIN).latest(0.0, float("inf")) == BEGIN.timestamp()


def test_beyond_the_calendar_there_is_nothing() -> None:
    for rule in (crontab(), schedule(5), at(BEGIN)):
        assert rule.next_after(1e18) is None
        assert rule.next_after(float("inf")) is None
    assert crontab().next_after(float("-inf")) is not None
    with pytest.raises(ValueError, match="nan"):
        crontab().next_after(float("nan"))


# Preview


def test_preview_of_an_expression_in_a_zone() -> None:
    found = preview("30 7 * * mon-fri", 3, after=BEGIN, tz="Europe/Paris")
    assert [moment.isoformat() for moment in found] == [
        "2026-05-06T07:30:00+02:00",
        "2026-05-07T07:30:00+02:00",
        "2026-05-08T07:30:00+02:00",
    ]


def test_preview_shows_both_sides_of_a_fold() -> None:
    found = preview(crontab(30, timezone="Europe/Paris"), 3, after=datetime(2026, 10, 24, 23, 45, tzinfo=UTC))
    assert [moment.strftime("%H:%M %Z") for moment in found] == ["02:30 CEST", "02:30 CET", "03:30 CET"]


def test_preview_ends_where_the_schedule_does() -> None:
    assert preview(at(BEGIN), after=BEGIN - timedelta(1)) == [BEGIN]
    assert preview(at(BEGIN), after=BEGIN) == []
    assert preview(reboot()) == []
    assert preview("@reboot") == []
    assert len(preview(60)) == 10


def test_preview_counts_an_interval_from_its_anchor() -> None:
    found = preview(3600, 2, after=BEGIN, anchor=BEGIN.timestamp() - 1800)
    assert found == [BEGIN + timedelta(minutes=30), BEGIN + timedelta(minutes=90)]


# Bounds


def test_bounds_include_both_ends() -> None:
    bounds = Bounds.of(BEGIN, BEGIN + timedelta(hours=2), UTC)
    found = preview(crontab(0), after=BEGIN - timedelta(days=9), bounds=bounds)
    assert [moment.hour for moment in found] == [12, 13, 14]


def test_bounds_of_local_times() -> None:
    bounds = Bounds.of(datetime(2026, 5, 5, 12), None, ZoneInfo("Europe/Paris"))
    assert bounds.start == BEGIN.timestamp() - 7200
    assert Bounds.of(5, 7.5, UTC) == Bounds(start=5, end=7.5)


def test_an_interval_in_bounds_stays_in_its_row() -> None:
    bounds = Bounds(start=1000.0)
    assert bounds.next_instant(schedule(30), 0.0, anchor=1000.0) == 1000.0
    assert bounds.next_instant(schedule(30), 1000.0, anchor=1000.0) == 1030.0
    assert Bounds(end=1015.0).next_instant(schedule(30), 1000.0, anchor=1000.0) is None


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        (BEGIN, BEGIN - timedelta(1), "end=2026-05-04 12:00:00.* lies before start=2026-05-05"),
        (float("nan"), None, "start=nan"),
        (None, "tomorrow", "end='tomorrow'"),
    ],
)
def test_what_are_no_bounds(start: Any, end: Any, told: str) -> None:
    with pytest.raises(ScheduleError, match=told):
        Bounds.of(start, end, UTC)


# Zones of other makes


class Unhashable(tzinfo):
    """As dateutil's: it cannot be a key."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self._inner = ZoneInfo("America/New_York")

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return self._inner.utcoffset(None if moment is None else moment.replace(tzinfo=self._inner))

    def dst(self, moment: datetime | None) -> timedelta | None:
        return self._inner.dst(None if moment is None else moment.replace(tzinfo=self._inner))

    def fromutc(self, moment: datetime) -> datetime:
        return self._inner.fromutc(moment.replace(tzinfo=self._inner)).replace(tzinfo=self)


def test_any_tzinfo_will_do() -> None:
    begin = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    expected = list(cron("0 * * * *").instants(begin, "America/New_York", limit=9))
    assert list(cron("0 * * * *").instants(begin, Unhashable(), limit=9)) == expected


def test_a_fixed_offset() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert crontab(0, 0).next_after(BEGIN, zone) == datetime(2026, 5, 6, tzinfo=zone)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its zone")
def test_the_zone_of_this_machine_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        for name in ("Asia/Tokyo", "America/New_York"):
            monkeypatch.setenv("TZ", name)
            time.tzset()
            expected = crontab(30, 2).instants(BEGIN.timestamp(), ZoneInfo(name), limit=400)
            assert list(crontab(30, 2).instants(BEGIN.timestamp(), local, limit=400)) == list(expected)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_tables_are_kept() -> None:
    zone = ZoneInfo("Europe/Paris")
    assert offsets_of(zone) is offsets_of(zone)


# Speed


@pytest.mark.parametrize("text", ["*/5 * * * *", "30 7 * * mon-fri", "0 0 1 * *", "*/10 * * * * *"])
def test_twenty_thousand_a_second(text: str) -> None:
    rule, zone = cron(text), ZoneInfo("Europe/Paris")
    best = 0.0
    for _ in range(5):  # the machine may be busy
        begun = time.perf_counter()
        assert len(list(rule.instants(BEGIN.timestamp(), zone, limit=1000))) == 1000
        best = max(best, 1000 / (time.perf_counter() - begun))
    assert best > 20_000
