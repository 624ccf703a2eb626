"""The sun: compared with what PyEphem 4.2.1 gives for the same definitions, and where it does not rise."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from litequeue.schedules import ScheduleError, solar
from litequeue.schedules.sun import EVENTS

EPHEM = [
    ("dawn_astronomical", 48.86, 2.35, "2026-03-28 12:00", "2026-03-29 03:45:21"),
    ("dawn_nautical", 48.86, 2.35, "2026-03-28 12:00", "2026-03-29 04:25:07"),
    ("dawn_civil", 48.86, 2.35, "2026-03-28 12:00", "2026-03-29 05:03:00"),
    ("sunrise", 48.86, 2.35, "2026-03-28 12:00", "2026-03-29 05:34:47"),
    ("solar_noon", 48.86, 2.35, "2026-03-28 12:00", "2026-03-29 11:55:20"),
    ("sunset", 48.86, 2.35, "2026-03-28 12:00", "2026-03-28 18:15:19"),
    ("dusk_civil", 48.86, 2.35, "2026-03-28 12:00", "2026-03-28 18:47:09"),
    ("dusk_nautical", 48.86, 2.35, "2026-03-28 12:00", "2026-03-28 19:25:06"),
    ("dusk_astronomical", 48.86, 2.35, "2026-03-28 12:00", "2026-03-28 20:04:55"),
    ("dawn_astronomical", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 10:37:03"),
    ("dawn_nautical", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 11:10:25"),
    ("dawn_civil", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 11:44:54"),
    ("sunrise", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 12:15:53"),
    ("solar_noon", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 16:53:34"),
    ("sunset", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 21:31:14"),
    ("dusk_civil", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 22:02:12"),
    ("dusk_nautical", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 22:36:42"),
    ("dusk_astronomical", 40.71, -74.01, "2027-12-20 00:00", "2027-12-20 23:10:03"),
    ("dawn_astronomical", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 19:31:50"),
    ("dawn_nautical", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 20:02:15"),
    ("dawn_civil", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 20:33:24"),
    ("sunrise", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 21:01:04"),
    ("solar_noon", -33.87, 151.21, "2030-06-30 05:00", "2030-07-01 01:59:00"),
    ("sunset", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 06:56:37"),
    ("dusk_civil", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 07:24:17"),
    ("dusk_nautical", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 07:55:28"),
    ("dusk_astronomical", -33.87, 151.21, "2030-06-30 05:00", "2030-06-30 08:25:53"),
    ("dawn_astronomical", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 05:28:17"),
    ("dawn_nautical", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 06:25:22"),
    ("dawn_civil", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 07:20:39"),
    ("sunrise", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 08:08:57"),
    ("solar_noon", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 13:14:14"),
    ("sunset", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 18:18:08"),
    ("dusk_civil", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 19:06:17"),
    ("dusk_nautical", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 20:01:19"),
    ("dusk_astronomical", 64.15, -21.94, "2026-10-12 00:00", "2026-10-12 20:58:00"),
]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("event", "lat", "lon", "after", "expected"), EPHEM)
def test_the_time_of_an_event(event: str, lat: float, lon: float, after: str, expected: str) -> None:
    found = solar(event, lat, lon).next_after(moment(after))
    assert found is not None
    assert abs(found - moment(expected)) < timedelta(seconds=6)


def test_every_event_has_been_compared() -> None:
    assert {row[0] for row in EPHEM} == set(EVENTS)


def test_each_day_has_one_and_whoever_asks_gets_the_same() -> None:
    rule = solar("sunrise", 48.86, 2.35)
    begin = moment("2026-01-01").timestamp()
    found = list(rule.instants(begin, limit=400))
    assert all(
        timedelta(hours=23).total_seconds() < b - a < timedelta(hours=25).total_seconds() for a, b in pairwise(found)
    )
    for before, after in pairwise(found[:60]):
        for share in (0.0, 0.3, 0.99999):
            assert rule.next_after(before + (after - before) * share) == after


def test_the_order_of_a_day() -> None:
    begin = moment("2026-03-28 00:00")
    events = [name for name in EVENTS if name != "solar_noon"]
    times = {name: solar(name, 48.86, 2.35).next_after(begin) for name in EVENTS}
    order = sorted(times, key=lambda name: times[name] or begin)
    assert order == [*events[:4], "solar_noon", *events[4:]]


def test_where_the_sun_does_not_rise_there_is_no_instant() -> None:
    longyearbyen = solar("sunrise", 78.22, 15.65)
    days = [found.date() for found in longyearbyen.instants(moment("2026-10-20"), until=moment("2027-02-20"))]
    before, after = max(day for day in days if day.year == 2026), min(day for day in days if day.year == 2027)
    assert (before.month, after.month) == (10, 2)
    assert list(longyearbyen.instants(moment("2026-11-01"), until=moment("2027-01-31"))) == []


def test_noon_comes_in_the_polar_night_too() -> None:
    assert len(list(solar("solar_noon", 78.22, 15.65).instants(moment("2026-12-01"), until=moment("2026-12-11")))) == 10


def test_a_white_night_has_no_astronomical_dusk() -> None:
    paris_like = solar("dusk_astronomical", 56.0, 3.0)
    assert list(paris_like.instants(moment("2026-06-01"), until=moment("2026-06-30"))) == []
    assert paris_like.next_after(moment("2026-06-01")) is not None


@pytest.mark.parametrize("lat", [90, -90])
def test_at_the_poles_it_rises_once_a_year(lat: float) -> None:
    found = list(solar("sunrise", lat, 0).instants(moment("2026-01-01"), until=moment("2029-12-31")))
    assert len(found) == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("moonrise", 1, 2), "event='moonrise'"),
        (("sunrise", 91, 2), "lat=91"),
        (("sunrise", 1, -181), "lon=-181"),
        (("sunrise", "48", 2), "lat='48'"),
        (("sunrise", float("nan"), 2), "lat=nan"),
    ],
)
def test_what_cannot_be(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ScheduleError, match=told):
        solar(*arguments)


def test_as_a_value() -> None:
    rule = solar("sunset", 48.86, 2.35)
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert len({rule, solar("sunset", 48.86, 2.35), solar("sunset", 48.86, 2.36)}) == 2
    assert repr(rule) == "<solar: sunset at latitude 48.86, longitude: 2.35>"
