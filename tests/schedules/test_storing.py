"""Schedules in a row of the file."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from litequeue.schedules import (
    BaseSchedule,
    ScheduleError,
    at,
    cron,
    crontab,
    find_zone,
    maybe_schedule,
    reboot,
    register_schedule,
    schedule,
    schedule_from_json,
    schedule_to_json,
    solar,
)
from litequeue.schedules.zonenames import zone_name

from .own_kinds import HalfHours, Outer, Tide, WorkHours
from .test_own_kinds import NotOurs

WRITTEN = [
    (crontab(30, 7, "mon-fri"), {"type": "crontab", "expression": "30 7 * * mon-fri"}),
    (
        crontab({0, 30}, second="*/10", timezone="Europe/Paris"),
        {"type": "crontab", "expression": "*/10 0,30 * * * *", "timezone": "Europe/Paris"},
    ),
    (cron("@weekly"), {"type": "crontab", "expression": "0 0 * * 0"}),
    (schedule(30), {"type": "interval", "seconds": 30.0}),
    (schedule(timedelta(days=1), relative=True), {"type": "interval", "seconds": 86400.0, "relative": True}),
    (solar("sunset", 48.86, 2.35), {"type": "solar", "event": "sunset", "lat": 48.86, "lon": 2.35}),
    (at(datetime(2030, 1, 31, 9, tzinfo=UTC)), {"type": "at", "when": "2030-01-31T09:00:00+00:00"}),
    (
        at("2030-01-31 09:00", timezone="local"),
        {"type": "at", "when": "2030-01-31T09:00:00", "timezone": "local"},
    ),
    (reboot(), {"type": "reboot"}),
    (Tide("Brest"), {"type": "object", "class": f"{Tide.__module__}:Tide", "args": ["Brest"]}),
    (HalfHours(3), {"type": "object", "class": "tests.half-hours", "args": [3]}),
]


@pytest.mark.parametrize(("rule", "written"), WRITTEN, ids=lambda value: repr(value)[:40])
def test_as_it_stands_in_a_row(rule: BaseSchedule, written: dict[str, Any]) -> None:
    assert schedule_to_json(rule) == written
    again = schedule_from_json(json.loads(json.dumps(written)))
    assert again == rule
    assert type(again) is type(rule)
    assert again.timezone == rule.timezone


@pytest.mark.parametrize(
    "rule",
    [
        Tide("Brest", offset=timedelta(minutes=5, microseconds=3)),
        Tide("Brest", timedelta(1), timezone="Europe/Paris"),
        Outer.Inner("Rance"),
        WorkHours(0, [9, 10], day_of_week="mon"),
    ],
)
def test_own_kinds_come_back(rule: BaseSchedule) -> None:
    for again in (schedule_from_json(json.loads(json.dumps(schedule_to_json(rule)))), pickle.loads(pickle.dumps(rule))):
        assert again == rule
        assert again.next_after(1e9) == rule.next_after(1e9) or rule.polled


def test_the_app_and_the_clock_stay_behind() -> None:
    rule = Tide("Brest", app=object(), nowfun=lambda: datetime.now(UTC))
    assert schedule_to_json(rule) == schedule_to_json(Tide("Brest"))


class Container(BaseSchedule):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.values = args, kwargs


def test_arguments_that_json_does_not_have() -> None:
    rule = Container(
        {1, 2},
        {"a": [timedelta(1)]},
        datetime(2030, 1, 1, tzinfo=UTC),
        datetime(2030, 1, 1).date(),
        inner=crontab(5, timezone="Asia/Tokyo"),
        zone=ZoneInfo("Europe/Paris"),
    )
    again = schedule_from_json(json.loads(json.dumps(schedule_to_json(rule))))
    assert isinstance(again, Container)
    assert again.values == rule.values
    with pytest.raises(ScheduleError, match="Container: thing: object cannot be written down"):
        schedule_to_json(Container(thing=object()))


def test_what_could_not_be_made_again() -> None:
    class Local(schedule):
        pass

    with pytest.raises(ScheduleError, match="cannot be imported by that name"):
        schedule_to_json(Local(3))
    Main = type("Main", (schedule,), {"__module__": "__main__"})
    with pytest.raises(ScheduleError, match="move it to a module"):
        schedule_to_json(Main(3))
    with pytest.raises(ScheduleError, match="cannot be written down"):
        schedule_to_json(maybe_schedule(NotOurs()))


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "crontab",
        {},
        {"type": "crontabs"},
        {"type": ["crontab"]},
        {"type": "crontab"},
        {"type": "crontab", "expression": "61 * * * *"},
        {"type": "crontab", "expression": 5},
        {"type": "crontab", "expression": "* * * * *", "timezone": "Mars/Phobos"},
        {"type": "crontab", "expression": "0 0 30 2 *"},
        {"type": "interval", "seconds": 0},
        {"type": "interval", "seconds": "30"},
        {"type": "solar", "event": "sunset", "lat": 99, "lon": 0},
        {"type": "at", "when": "soon"},
        {"type": "object", "class": "no.such.module:Kind"},
        {"type": "object", "class": "tests.unknown-name"},
        {"type": "object", "class": "subprocess:Popen", "args": [["true"]]},
        {"type": "object", "class": "os:system", "args": ["true"]},
        {"type": "object", "class": f"{Tide.__module__}:NOT_A_KIND"},
        {"type": "object", "class": f"{Tide.__module__}:Nothing"},
        {"type": "object", "class": f"{Tide.__module__}:Tide", "args": 5},
        {"type": "object", "class": f"{Tide.__module__}:Tide", "kwargs": {"depth": 3}},
        {"type": "object", "class": 5},
    ],
)
def test_a_broken_row_is_one_kind_of_error(data: Any) -> None:
    with pytest.raises(ScheduleError):
        schedule_from_json(data)


def test_names_of_kinds_are_not_given_twice() -> None:
    with pytest.raises(ScheduleError, match="stands for HalfHours already"):
        register_schedule("tests.half-hours")(Tide)
    with pytest.raises(ScheduleError, match="not a kind"):
        register_schedule("tests.int")(int)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("UTC", UTC),
        ("Europe/Paris", ZoneInfo("Europe/Paris")),
        ("+05:30", timezone(timedelta(hours=5, minutes=30))),
        ("-03:00", timezone(-timedelta(hours=3))),
        ("-00:44:30", timezone(-timedelta(minutes=44, seconds=30))),
        ("local", find_zone("local")),
    ],
)
def test_zones_have_names(name: str, known: Any) -> None:
    assert find_zone(name) == known
    assert zone_name(known) == name
    assert find_zone(known) is known


def test_zones_without_a_name() -> None:
    from datetime import tzinfo

    class Odd(tzinfo):
        pass

    with pytest.raises(ScheduleError, match="has no name"):
        zone_name(Odd())
    for wrong in ("", "+25:00", "utc+1", None, 5):
        with pytest.raises(ScheduleError, match="timezone="):
            find_zone(wrong)  # type: ignore[arg-type]
