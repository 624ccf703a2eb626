"""Intervals: where they count from, and what rounding does."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litequeue.schedules import ScheduleError, schedule


@pytest.mark.parametrize("every", [0, -1, -0.5, float("nan"), float("inf"), 1e-9, timedelta(0), 1e20, True, "30", None])
def test_what_is_no_interval(every: Any) -> None:
    with pytest.raises(ScheduleError, match="run_every="):
        schedule(every)


def test_without_an_anchor_it_is_one_interval_later() -> None:
    assert schedule(30).next_after(1000.25) == 1030.25


def test_with_an_anchor_it_is_the_next_in_the_row() -> None:
    rule = schedule(30)
    assert [rule.next_after(moment, anchor=1000.0) for moment in (1000.0, 1001.0, 1029.999, 1030.0, 1089.5)] == [
        1030.0,
        1030.0,
        1030.0,
        1060.0,
        1090.0,
    ]


def test_a_clock_that_went_back_before_the_anchor_stays_in_the_row() -> None:
    assert schedule(30).next_after(905.0, anchor=1000.0) == 910.0


intervals = st.integers(1, 10**13).map(lambda number: timedelta(microseconds=number))
moments = st.floats(0, 4e9)


@given(intervals, st.integers(0, 4 * 10**15).map(lambda number: number / 1e6), moments)
def test_the_row_is_the_same_for_everyone(every: timedelta, anchor: float, after: float) -> None:
    rule = schedule(every)
    found = rule.next_after(after, anchor=anchor)
    assert found is not None
    assert found > after
    steps = (round(found * 1e6) - round(anchor * 1e6)) / (every // timedelta(microseconds=1))
    assert steps == int(steps)
    # Whoever asks, from anywhere before it, gets that instant to the last bit.
    assert rule.next_after(max(after, found - every.total_seconds() / 2), anchor=anchor) == found
    earlier = round(found * 1e6) - every // timedelta(microseconds=1)
    assert earlier / 1e6 <= after


def test_tenths_do_not_drift() -> None:
    begin = 1_700_000_000.0
    found = list(islice(schedule(0.1).instants(begin, anchor=begin), 36_000))
    assert found[-1] == begin + 3600
    assert found[9] == begin + 1


LOCAL = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (timedelta(days=1), ["2026-03-29 00:00+0100", "2026-03-30 00:00+0200", "2026-03-31 00:00+0200"]),
        (timedelta(days=2), ["2026-03-30 00:00+0200", "2026-04-01 00:00+0200", "2026-04-03 00:00+0200"]),
        (timedelta(hours=1), ["2026-03-29 00:00+0100", "2026-03-29 01:00+0100", "2026-03-29 03:00+0200"]),
        (timedelta(hours=6), ["2026-03-29 06:00+0200", "2026-03-29 12:00+0200", "2026-03-29 18:00+0200"]),
        (timedelta(minutes=20), ["2026-03-28 23:55+0100", "2026-03-29 00:15+0100", "2026-03-29 00:35+0100"]),
        (timedelta(minutes=90), ["2026-03-29 01:00+0100", "2026-03-29 03:00+0200", "2026-03-29 04:00+0200"]),
    ],
)
def test_relative_rounds_down_to_the_local_unit(every: timedelta, expected: list[str]) -> None:
    begin = datetime(2026, 3, 28, 23, 35, 12, 500_000, tzinfo=LOCAL)
    rule = schedule(every, relative=True, timezone="Europe/Paris")
    found = rule.instants(begin, limit=3)
    assert [moment.strftime("%Y-%m-%d %H:%M%z") for moment in found] == expected


def test_a_relative_day_begins_after_a_gap_at_midnight() -> None:
    rule = schedule(timedelta(days=1), relative=True, timezone="America/Sao_Paulo")
    found = rule.next_after(datetime(2018, 11, 3, 12, tzinfo=UTC))
    assert found is not None
    assert found.isoformat() == "2018-11-04T01:00:00-02:00"


def test_a_relative_second_drops_the_fraction() -> None:
    assert schedule(10, relative=True).next_after(1000.75) == 1010.0


@given(
    st.sampled_from([1, 7, 60, 90, 3600, 5400, 86400, 129600, 604800]),
    st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]),
    st.floats(0, 2e9),
    st.floats(-4e6, 4e6),
)
def test_a_relative_row_leaves_none_out(every: int, zone: str, anchor: float, distance: float) -> None:
    rule = schedule(every, relative=True, timezone=zone)
    after = max(anchor + distance, 0.0)
    found = rule.next_after(after, anchor=anchor)
    assert found is not None
    assert found > after
    if found - after > 1:
        assert rule.next_after((after + found) / 2, anchor=anchor) == found


def test_comparing_and_showing() -> None:
    assert schedule(30) == schedule(timedelta(seconds=30)) == timedelta(seconds=30)
    assert schedule(30) == 30
    assert schedule(30) != schedule(30, relative=True)
    assert schedule(30) != float("nan")
    assert hash(schedule(30)) == hash(timedelta(seconds=30))
    assert repr(schedule(30)) == "<freq: 30.00 seconds>"
    assert repr(schedule(60)) == "<freq: 1.00 minute>"
    assert repr(schedule(timedelta(days=1.5))) == "<freq: 1.50 days>"
    assert repr(schedule(0.25)) == "<freq: 0.25 seconds>"
    assert pickle.loads(pickle.dumps(schedule(30, True))) == schedule(30, True)
    assert schedule(90).seconds == 90.0


def test_longer_than_the_calendar_is_never() -> None:
    assert schedule(timedelta.max).next_after(0.0) is None
    assert schedule(timedelta(days=3_000_000), relative=True).next_after(0.0) is None
