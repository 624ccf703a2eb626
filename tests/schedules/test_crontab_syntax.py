"""What a field of a crontab may hold, as Celery reads it, and what is said of the rest."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from litequeue.exceptions import ImproperlyConfigured
from litequeue.schedules import ParseException, ScheduleError, cron, crontab, crontab_parser, reboot
from litequeue.schedules.crontabs import ALIASES


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        ("*", set(range(60))),
        (None, set(range(60))),
        (7, {7}),
        ("7", {7}),
        ("007", {7}),
        ("*/15", {0, 15, 30, 45}),
        ("*/2,*/3", {number for number in range(60) if number % 2 == 0 or number % 3 == 0}),
        ("2-10/3", {2, 5, 8}),
        ("1,13,30-45,50-59/2", {1, 13, *range(30, 46), *range(50, 60, 2)}),
        (" 1 , 2-3 ", {1, 2, 3}),
        ("50-10", {*range(50, 60), *range(11)}),
        ("50-10/5", {50, 55, 0, 5, 10}),
        ("*/70", {0}),
        ({0, 30}, {0, 30}),
        ([1, 2, 2], {1, 2}),
        ((5, "10-12"), {5, 10, 11, 12}),
        (range(0, 60, 20), {0, 20, 40}),
        (iter([1, 2, 3]), {1, 2, 3}),
    ],
)
def test_a_minute(spec: Any, numbers: set[int]) -> None:
    assert crontab(minute=spec).minute == numbers


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        ("sun", {0}),
        ("Sunday", {0}),
        ("SAT", {6}),
        ("tues", {2}),
        ("mon-fri", {1, 2, 3, 4, 5}),
        ("fri-mon", {5, 6, 0, 1}),
        ("mon,wed,5", {1, 3, 5}),
        ("*/2", {0, 2, 4, 6}),
        (["mon", 3], {1, 3}),
        (0, {0}),
    ],
)
def test_a_day_of_the_week(spec: Any, numbers: set[int]) -> None:
    assert crontab(day_of_week=spec).day_of_week == numbers


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [("jan", {1}), ("dec-feb", {12, 1, 2}), ("*/3", {1, 4, 7, 10}), ("2-12/2", {2, 4, 6, 8, 10, 12}), ("Sept", {9})],
)
def test_a_month(spec: str, numbers: set[int]) -> None:
    assert crontab(month_of_year=spec).month_of_year == numbers


def test_steps_of_days_count_from_the_first() -> None:
    assert crontab(day_of_month="*/10").day_of_month == {1, 11, 21, 31}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"minute": "60"}, ["minute='60'", "60 is not from 0 to 59"]),
        ({"minute": 60}, ["minute='60'"]),
        ({"minute": -1}, ["minute='-1'", "negative"]),
        ({"hour": "24"}, ["hour='24'", "0 to 23"]),
        ({"hour": {1, 25}}, ["hour", "25"]),
        ({"day_of_month": 0}, ["day_of_month='0'", "1 to 31"]),
        ({"day_of_month": "1-32"}, ["day_of_month", "32"]),
        ({"month_of_year": 13}, ["month_of_year='13'", "1 to 12"]),
        ({"day_of_week": 7}, ["day_of_week='7'", "Sunday is 0"]),
        ({"day_of_week": "funday"}, ["day_of_week='funday'", "'funday'", "'mon'"]),
        ({"day_of_week": "jan"}, ["day_of_week='jan'"]),
        ({"minute": "mon"}, ["minute='mon'", "'mon' is not a number"]),
        ({"minute": ""}, ["minute=''", "empty"]),
        ({"minute": "1,,2"}, ["minute='1,,2'", "empty part"]),
        ({"minute": "*/0"}, ["minute='*/0'", "from 1 on"]),
        ({"minute": "*/"}, ["minute='*/'", "step"]),
        ({"minute": "*/x"}, ["minute='*/x'", "step"]),
        ({"minute": "5/15"}, ["minute='5/15'", "'*/15'"]),
        ({"minute": "1-"}, ["minute='1-'", "missing"]),
        ({"minute": "1.5"}, ["minute='1.5'"]),
        ({"minute": "٣"}, ["minute='٣'"]),
        ({"minute": []}, ["minute=[]", "nothing would ever match"]),
        ({"second": 60}, ["second='60'"]),
        ({"day_of_month": 30, "month_of_year": 2}, ["day_of_month='30'", "month_of_year='2'", "no such date"]),
        ({"day_of_month": 31, "month_of_year": "feb,4,jun,9,11"}, ["no such date"]),
        ({"timezone": "Mars/Phobos"}, ["timezone='Mars/Phobos'", "no such time zone"]),
        ({"timezone": "Paris"}, ["timezone='Paris'", "'Europe/Oslo'"]),
        ({"timezone": "../etc/passwd"}, ["timezone='../etc/passwd'"]),
        ({"timezone": 3}, ["timezone=3"]),
    ],
)
def test_what_cannot_be_is_told_when_it_is_made(fields: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(ScheduleError) as caught:
        crontab(**fields)
    assert all(part in str(caught.value) for part in told), str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ImproperlyConfigured)


@pytest.mark.parametrize("spec", [1.5, object(), True, [1.5], [None]])
def test_what_is_no_field_at_all(spec: Any) -> None:
    with pytest.raises(TypeError, match="hour: a number"):
        crontab(hour=spec)


def test_leap_day_is_a_date() -> None:
    rule = crontab(0, 0, day_of_month=29, month_of_year=2)
    assert rule.next_after(datetime(2097, 1, 1, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)


def test_a_leap_day_on_a_monday_across_2100() -> None:
    rule = crontab(0, 0, 1, 29, 2)
    assert rule.next_after(datetime(2072, 2, 29, tzinfo=UTC)) == datetime(2112, 2, 29, tzinfo=UTC)


def test_the_day_of_the_month_and_of_the_week_must_both_match() -> None:
    friday_13th = crontab(0, 0, "fri", 13)
    found = friday_13th.instants(datetime(2026, 1, 1, tzinfo=UTC), limit=4)
    assert [moment.strftime("%Y-%m-%d") for moment in found] == ["2026-02-13", "2026-03-13", "2026-11-13", "2027-08-13"]


# Expressions


def test_the_order_of_an_expression() -> None:
    rule = crontab.from_string("1 2 3 4 5")
    assert rule == crontab(minute=1, hour=2, day_of_month=3, month_of_year=4, day_of_week=5)
    assert crontab.from_string("  0\t12  * * mon-fri ").expression == "0 12 * * mon-fri"


def test_six_fields_begin_with_the_second() -> None:
    rule = cron("*/10 * * * * *")
    assert rule == crontab(second="*/10")
    assert rule.next_after(1_700_000_001.5) == 1_700_000_010 // 10 * 10
    assert crontab.from_string("5 1 2 * * *") == crontab(1, 2, second=5)


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    assert cron(alias) == crontab.from_string(alias.upper()) == crontab.from_string(ALIASES[alias])


def test_reboot_is_no_crontab() -> None:
    assert isinstance(cron("@reboot"), reboot)
    with pytest.raises(ParseException, match=r"cron\('@reboot'\)"):
        crontab.from_string("@reboot")


def test_seven_is_sunday_in_an_expression_of_cron() -> None:
    assert cron("0 0 * * 7") == crontab(0, 0, 0)
    assert cron("0 0 * * 5-7") == crontab(0, 0, "fri,sat,sun")
    assert cron("0 0 * * 1-7").expression == "0 0 * * 0,1,2,3,4,5,6"
    with pytest.raises(ParseException):
        crontab.from_string("0 0 * * 7")


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * * *", "@fortnightly", "every day", "* * * * *#"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ParseException):
        cron(text)


def test_an_expression_is_a_text() -> None:
    with pytest.raises(TypeError, match="not int"):
        cron(5)  # type: ignore[arg-type]


def test_celerys_reader_of_one_field() -> None:
    assert crontab_parser(60).parse("*/15") == {0, 15, 30, 45}
    assert crontab_parser(31, 1).parse("*/3") == {1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31}
    assert crontab_parser(12, 1).parse("jan,2-12/2") == {1, 2, 4, 6, 8, 10, 12}
    assert crontab_parser(7).parse("mon-fri") == {1, 2, 3, 4, 5}
    with pytest.raises(crontab_parser.ParseException):
        crontab_parser(60).parse("")


# As values


RULES = [
    crontab(),
    crontab("*/5", "9-17", "mon-fri"),
    crontab(0, {1, 2}, day_of_month=[1, 15], month_of_year="jan-mar"),
    crontab(minute=iter([1, 2, 3])),
    crontab(second="*/10", timezone="Europe/Paris"),
    crontab(0, "0-23", timezone="+05:30"),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_copies_are_equal(rule: crontab) -> None:
    for copied in (pickle.loads(pickle.dumps(rule)), copy.copy(rule), copy.deepcopy(rule)):
        assert copied == rule
        assert hash(copied) == hash(rule)
        assert repr(copied) == repr(rule)
    assert sum(other == rule for other in RULES) == 1


def test_equal_is_what_is_due_at_the_same_times() -> None:
    assert crontab("0,15,30,45") == crontab([45, 30, 15, 0])
    assert crontab(day_of_week="mon") == crontab(day_of_week=1)
    assert crontab(0, "*") == crontab(0, "0-23")
    assert crontab(0, "*/12") != crontab(0, "0,12"), "they differ where the clock is changed"
    assert crontab(0) != crontab(0, timezone="Europe/Paris")
    assert crontab(0) != "0 * * * *"


def test_how_it_is_shown() -> None:
    assert repr(crontab("*/5", 9, "mon")) == "<crontab: */5 9 * * mon (m/h/dM/MY/d)>"
    assert repr(crontab([2, 1])) == "<crontab: 1,2 * * * * (m/h/dM/MY/d)>"
    six = crontab(0, 9, second=30, timezone="Europe/Paris")
    assert repr(six) == "<crontab: 30 0 9 * * * (s/m/h/dM/MY/d) Europe/Paris>"


def test_the_app_does_not_travel() -> None:
    rule = crontab(0, app=object())
    assert pickle.loads(pickle.dumps(rule)).app is None
