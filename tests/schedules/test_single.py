"""One moment, and the start of the scheduler."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from litequeue.schedules import ScheduleError, at, reboot

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def test_it_comes_once() -> None:
    rule = at(NOON)
    assert rule.next_after(0.0) == NOON.timestamp()
    assert rule.next_after(NOON) is None
    assert list(rule.instants(datetime(2020, 1, 1, tzinfo=UTC))) == [NOON]


@pytest.mark.parametrize("when", [NOON, "2030-01-31T12:00:00+00:00", "2030-01-31 13:00+01:00", NOON.timestamp()])
def test_ways_to_name_a_moment(when: Any) -> None:
    assert at(when).next_after(0.0) == NOON.timestamp()
    assert at(when) == at(NOON)


def test_a_fraction_of_a_second_stays() -> None:
    assert at(NOON.replace(microsecond=250_000)).next_after(0.0) == NOON.timestamp() + 0.25
    assert at("2030-01-31 12:00:00.25").next_after(0.0) == NOON.timestamp() + 0.25


def test_a_naive_moment_is_local_time() -> None:
    rule = at("2030-01-31 12:00")
    assert rule.next_after(0.0, "Asia/Tokyo") == NOON.timestamp() - 9 * 3600
    assert at("2030-01-31 12:00", timezone="Europe/Paris").next_after(0.0, "Asia/Tokyo") == NOON.timestamp() - 3600


@pytest.mark.parametrize(
    ("text", "utc"), [("2026-03-29 02:30", "2026-03-29 01:30"), ("2026-10-25 02:30", "2026-10-25 00:30")]
)
def test_a_naive_moment_that_is_not_or_is_twice(text: str, utc: str) -> None:
    expected = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert at(text, timezone="Europe/Paris").next_after(0.0) == expected.timestamp()


@pytest.mark.parametrize(
    "when", ["tomorrow", "2030-02-30", "", float("nan"), float("inf"), 1e20, None, True, object(), datetime.max]
)
def test_what_is_no_moment(when: Any) -> None:
    with pytest.raises(ScheduleError, match="when="):
        at(when)


def test_as_a_value() -> None:
    rule = at(datetime(2030, 1, 31, 9), timezone="Europe/Paris")
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert rule != at(datetime(2030, 1, 31, 9))
    assert len({rule, pickle.loads(pickle.dumps(rule))}) == 1
    assert repr(rule) == "<at: 2030-01-31 09:00:00 Europe/Paris>"
    assert repr(at(NOON.astimezone(ZoneInfo("Europe/Paris")))) == "<at: 2030-01-31 13:00:00+01:00>"


def test_reboot_comes_at_the_start_it_is_told() -> None:
    rule = reboot()
    assert rule.on_start
    assert rule.next_after(0.0) is None
    assert rule.next_after(100.0, anchor=200.0) == 200.0
    assert rule.next_after(200.0, anchor=200.0) is None
    assert pickle.loads(pickle.dumps(rule)) == rule
