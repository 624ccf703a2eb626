"""Next instants around every change of a time zone, compared with a look at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from litequeue.schedules import cron, crontab
from litequeue.schedules.offsets import offsets_of

from .minute_scan import offset, transitions, windows

ZONES = [
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kolkata",  # none since 1945
    "America/Sao_Paulo",  # at midnight
    "Africa/Casablanca",  # for Ramadan
    "Pacific/Apia",  # without 30 December 2011
    "Africa/Monrovia",  # 44 minutes and 30 seconds, in 1972
]
WILD = [
    "* * * * *",
    "0 * * * *",
    "*/25 * * * *",
    "10 */2 * * *",
    "0 */3,*/4 * * sat,sun",
    "*/30 2 * * *",
    "0 0-23 * * *",
    "30 * 29-31 * *",
]
FIXED = [
    "30 2 * * *",
    "0 0 * * *",
    "30 0 * * *",
    "15,45 1,2,3 * * *",
    "59 23 * * sat",
    "0 2 * 3,10,11 sun",
    "0-59/20 0-4 * * *",
    "30 12 30 12 *",
]


@pytest.mark.parametrize("name", ZONES)
def test_every_change_from_1970_to_2037(name: str) -> None:
    zone = ZoneInfo(name)
    rules = [(cron(text), True) for text in WILD] + [(cron(text), False) for text in FIXED]
    for window in windows(zone):
        for rule, follows_elapsed_time in rules:
            found = list(rule.instants(float(window.low), zone, until=window.high))
            assert found == window.expected(rule, follows_elapsed_time), (
                rule,
                datetime.fromtimestamp(window.low, zone),
            )


@pytest.mark.parametrize("name", ["Asia/Kolkata", "Europe/Paris"])
def test_a_quiet_week_is_like_any_calendar(name: str) -> None:
    zone = ZoneInfo(name)
    begin = datetime(2026, 6, 1, tzinfo=zone)
    found = list(crontab(30, "9-17/4", "mon-fri").instants(begin, zone, until=begin + timedelta(days=7)))
    assert found == [datetime(2026, 6, day, hour, 30, tzinfo=zone) for day in range(1, 6) for hour in (9, 13, 17)]


@pytest.mark.parametrize("name", [*ZONES, "Pacific/Kwajalein", "Pacific/Enderbury", "Antarctica/Casey"])
def test_the_table_of_a_zone_has_every_change(name: str) -> None:
    zone = ZoneInfo(name)
    table = offsets_of(zone)
    expected = transitions(zone)
    moment = int(datetime(1970, 1, 1, tzinfo=UTC).timestamp())
    found = []
    while moment < datetime(2038, 1, 1, tzinfo=UTC).timestamp():
        stretch = table.at(moment)
        assert stretch.offset == offset(zone, moment)
        moment = stretch.end
        if offset(zone, moment) != stretch.offset:
            found.append(moment)
    assert found == expected


PARIS = ZoneInfo("Europe/Paris")
FORWARD = datetime(2026, 3, 29, tzinfo=PARIS)
BACK = datetime(2026, 10, 25, tzinfo=PARIS)


def local(rule: object, begin: datetime, hours: int = 6) -> list[str]:
    assert isinstance(rule, crontab)
    moments = rule.instants(begin - timedelta(seconds=1), begin.tzinfo, until=begin.timestamp() + hours * 3600)
    return [moment.strftime("%H:%M%z") for moment in moments]


def test_a_fixed_time_in_the_gap_comes_once() -> None:
    assert local(crontab(30, 2), FORWARD) == ["03:30+0200"]
    assert local(crontab("0,15,45", 2), FORWARD) == ["03:00+0200", "03:15+0200", "03:45+0200"]


def test_a_time_that_is_also_named_after_the_gap_is_not_doubled() -> None:
    assert local(crontab(30, "2,3"), FORWARD) == ["03:30+0200"]


def test_a_fixed_time_in_the_fold_comes_once() -> None:
    assert local(crontab(30, 2), BACK) == ["02:30+0200"]
    assert local(crontab(0, "2,3"), BACK) == ["02:00+0200", "03:00+0100"]


def test_every_hour_leaves_no_hour_out_and_doubles_none() -> None:
    for begin in (FORWARD, BACK):
        moments = list(crontab(0).instants(begin.timestamp() - 1, PARIS, until=begin.timestamp() + 10 * 3600))
        assert {after - before for before, after in pairwise(moments)} == {3600}
    assert local(crontab(0), BACK, 4) == ["00:00+0200", "01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100"]


def test_a_full_field_is_a_wildcard_however_it_is_written() -> None:
    expected = local(crontab(0), BACK)
    assert local(crontab(0, "0-23"), BACK) == local(crontab(0, range(24)), BACK) == expected
    assert local(crontab(0, "0-11,12-23"), BACK) == expected


def test_midnight_in_a_gap_is_the_start_of_the_day() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    rule = cron("@daily")
    moments = rule.instants(datetime(2018, 11, 3, 12, tzinfo=zone), zone, limit=2)
    assert [moment.isoformat() for moment in moments] == ["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"]


def test_a_day_that_a_zone_skipped_is_made_up_for_on_the_next() -> None:
    zone = ZoneInfo("Pacific/Apia")
    begin = datetime(2011, 12, 29, 13, tzinfo=zone)
    daily = list(crontab(0, 12).instants(begin, zone, limit=2))
    assert [moment.isoformat() for moment in daily] == ["2011-12-31T12:00:00+14:00", "2012-01-01T12:00:00+14:00"]
    once_a_year = crontab(0, 12, day_of_month=30, month_of_year=12).next_after(begin, zone)
    assert once_a_year is not None
    assert once_a_year.isoformat() == "2011-12-31T12:00:00+14:00"


def test_a_skipped_day_that_reaches_into_the_next_year() -> None:
    # Enderbury had no 31 December 1994: its clock went from its begin, 11:00 UTC, to that of 1 January.
    zone = ZoneInfo("Pacific/Enderbury")
    [change] = transitions(zone, 1994, 1995)
    rule = crontab(45, "0-23/5", day_of_month=31, month_of_year=12)
    found = [moment - change for moment in rule.instants(change - 1.0, zone, until=change + 90000)]
    assert found == [hour * 3600 + 45 * 60 for hour in (0, 5, 10, 15, 20)]


def test_a_wildcard_around_a_fold_that_the_next_match_is_far_from() -> None:
    rule = cron("*/30 2 25 10 *")
    last_of_the_first = BACK.replace(hour=2, minute=30)
    assert rule.next_after(last_of_the_first, PARIS) == BACK.replace(hour=2, fold=1)


def test_the_zone_of_a_schedule_is_its_own_then_the_callers_then_utc() -> None:
    noon = crontab(0, 12)
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert noon.next_after(day) == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert noon.next_after(day, "Asia/Tokyo") == datetime(2026, 1, 1, 3, tzinfo=UTC)
    fixed = crontab(0, 12, timezone="Europe/Paris")
    assert fixed.next_after(day, "Asia/Tokyo") == datetime(2026, 1, 1, 11, tzinfo=UTC)
    answer = fixed.next_after(day)
    assert answer is not None
    assert answer.tzinfo is fixed.timezone
