"""What holds for every crontab, every zone and every moment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from litequeue.schedules import ScheduleError, cron, crontab, schedule_from_json, schedule_to_json

from .minute_scan import matches

ZONES = ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]
BEGIN = datetime(1970, 1, 1, tzinfo=UTC).timestamp()
END = datetime(2037, 12, 31, tzinfo=UTC).timestamp()


def fields(low: int, high: int) -> st.SearchStrategy[Any]:
    number = st.integers(low, high)
    part = st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(number, number, st.integers(1, 9)).map(lambda three: f"{three[0]}-{three[1]}/{three[2]}"),
        st.integers(1, high).map(lambda step: f"*/{step}"),
    )
    return st.one_of(
        st.just("*"), part, number, st.sets(number, min_size=1), st.lists(part, min_size=1, max_size=3).map(",".join)
    )


@st.composite
def crontabs(draw: st.DrawFn) -> crontab:
    second = draw(st.one_of(st.just(0), fields(0, 59)))
    month_of_year = draw(fields(1, 12))
    for day_of_month in (draw(fields(1, 31)), "*"):
        try:
            return crontab(
                draw(fields(0, 59)),
                draw(fields(0, 23)),
                draw(fields(0, 6)),
                day_of_month,
                month_of_year,
                second=second,
                timezone=draw(st.sampled_from(ZONES)),
            )
        except ScheduleError:
            continue  # as 30 February
    raise AssertionError("every day of any month is a date")


@given(crontabs(), st.floats(BEGIN, END))
def test_the_next_is_later_and_the_same_from_anywhere_before_it(rule: crontab, after: float) -> None:
    found = rule.next_after(after)
    assert found is not None
    assert found > after
    assert found == int(found)
    for share in (0.1, 0.5, 0.999999):
        assert rule.next_after(after + (found - after) * share) in (found, rule.next_after(found))
        middle = after + (found - after) * share
        assert middle >= found or rule.next_after(middle) == found


@given(crontabs(), st.floats(BEGIN, END))
def test_it_matches_its_fields(rule: crontab, after: float) -> None:
    found = rule.next_after(after)
    assert found is not None
    local = datetime.fromtimestamp(found, rule.tz)
    assert local.second in rule.second
    if matches(rule, local.replace(second=0)):
        return
    # Else it makes up for a time that the zone skipped within the last day, and that matched.
    assert not rule.follows_elapsed_time
    naive = local.replace(tzinfo=None)
    skipped = [
        wall
        for jump in (1800, 3600, 7200, 86400)
        if (wall := naive - timedelta(seconds=jump)).replace(tzinfo=rule.tz).timestamp() == found
    ]
    assert any(matches(rule, wall.replace(second=0)) for wall in skipped)


@given(crontabs(), st.floats(BEGIN, END))
@settings(max_examples=50)
def test_the_row_only_grows(rule: crontab, after: float) -> None:
    found = list(rule.instants(after, limit=30))
    assert len(found) == 30
    assert all(before < later for before, later in pairwise([after, *found]))


@given(crontabs(), st.floats(BEGIN, END), st.floats(0, 10 * 86400))
@settings(max_examples=50)
def test_the_latest_is_the_last_of_the_row(rule: crontab, after: float, length: float) -> None:
    until = after + min(length, 6 * 3600 if rule.second != {0} else length)
    row = list(rule.instants(after, until=until))
    assert rule.latest(after, until) == (row[-1] if row else None)


@given(fields(1, 31), fields(1, 12), fields(0, 6), st.dates(date(1971, 1, 1), date(2090, 1, 1)))
@settings(max_examples=60)
def test_no_day_is_left_out(day_of_month: Any, month_of_year: Any, day_of_week: Any, begin: date) -> None:
    try:
        rule = crontab(0, 0, day_of_week, day_of_month, month_of_year)
    except ScheduleError:
        return
    start = datetime(begin.year, begin.month, begin.day, tzinfo=UTC)
    found = rule.next_after(start)
    assert found is not None
    day = start + timedelta(days=1)
    while not matches(rule, day):
        day += timedelta(days=1)
    assert found == day


@given(crontabs())
def test_it_comes_back_from_json_as_it_was(rule: crontab) -> None:
    again = schedule_from_json(schedule_to_json(rule))
    assert again == rule
    assert isinstance(again, crontab)
    assert again.follows_elapsed_time == rule.follows_elapsed_time
    assert cron(rule.expression, timezone=rule.timezone) == rule


@given(st.text(alphabet="0123456789*/-,@ monjaf", max_size=20))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        rule = cron(text)
    except ScheduleError as error:
        assert str(error)
        return
    assert rule.on_start or rule.next_after(0.0, ZoneInfo("Europe/Paris")) is not None
