"""Tables and numbers as text."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from litequeue.inspect import text
from litequeue.inspect.text import Column, Look

COLUMNS = (Column("name", give=1), Column("count", right=True), Column("id"))
ROWS = [("a" * 40, "1", "01a1fe1d"), ("b", "1,000", "01a1fe1e")]


def test_a_table_is_aligned_and_has_no_blanks_at_its_end() -> None:
    assert text.table(COLUMNS, [("mail", "7", "x"), ("b", "1,000", "yy")], Look()) == (
        "name  count  id\nmail      7  x\nb     1,000  yy"
    )


@pytest.mark.parametrize("width", [5, 12, 20, 40, 80])
def test_a_table_is_only_wider_than_the_terminal_where_what_stays_whole_is(width: int) -> None:
    lines = text.table(COLUMNS, ROWS, Look(width)).splitlines()
    assert max(map(len, lines)) <= max(width, len("…  count  01a1fe1d"))
    assert all("01a1fe1" in line for line in lines[1:])


def test_columns_are_left_out_the_least_important_first() -> None:
    columns = (Column("name", give=1), Column("count", right=True, leave=1), Column("id"), Column("when", leave=2))
    rows = [(*row, "12 s ago") for row in ROWS]

    def titles(width: int | None) -> list[str]:
        return text.table(columns, rows, Look(width)).split("\n")[0].split()

    assert titles(None) == titles(37) == ["name", "count", "id", "when"]
    assert titles(36) == titles(27) == ["name", "count", "id"]
    assert titles(26) == titles(16) == ["name", "id"]


def test_what_may_give_becomes_narrower_first() -> None:
    lines = text.table(COLUMNS, ROWS, Look(40)).splitlines()
    assert lines[1].endswith("…      1  01a1fe1d")


def test_colour_only_where_it_is_wanted() -> None:
    assert "\x1b" not in text.table((Column("state"),), [("FAILURE",)], Look(80))
    assert "\x1b[31mFAILURE\x1b[0m" in text.table((Column("state"),), [("FAILURE",)], Look(80, color=True))


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (text.size, None, "-"),
        (text.size, 0, "0 B"),
        (text.size, 999, "999 B"),
        (text.size, 1536, "1.5 kB"),
        (text.size, 350_000_000, "350 MB"),
        (text.size, 3_000_000_000_000, "3.0 TB"),
        (text.seconds, None, "-"),
        (text.seconds, 0.0015, "1.5ms"),
        (text.seconds, 0.25, "250ms"),
        (text.seconds, 9.94, "9.9s"),
        (text.seconds, 59.0, "59s"),
        (text.seconds, 200.0, "3m20s"),
        (text.seconds, 7500.0, "2h05m"),
        (text.seconds, 4 * 86400 + 3 * 3600.0, "4d03h"),
        (text.rate, 0.0, "-"),
        (text.rate, 1234.5, "1234/s"),
        (text.rate, 2.55, "2.5/s"),
        (text.rate, 0.5, "30/min"),
        (text.rate, 0.001, "<1/min"),
        (text.number, 1_000_000, "1,000,000"),
        (text.percent, 12.6, "13 %"),
    ],
)
def test_numbers(function: object, value: float | None, shown: str) -> None:
    assert function(value) == shown  # type: ignore[operator]


def test_a_sparkline() -> None:
    assert text.sparkline([0, 1, 4, 8], 10) == " ▁▄█"
    assert text.sparkline([5, 0, 8], 2) == " █"
    assert text.sparkline([0, 0], 10) == ""


def test_moments_are_in_the_zone_of_the_app() -> None:
    assert Look(zone=timezone(timedelta(hours=2))).moment(0.0) == "1970-01-01 02:00:00+02:00"
    assert Look().moment(0.0) == "1970-01-01 00:00:00+00:00"
    assert Look().moment(None) == "-"


def test_what_has_to_be_whole_is_not_cut() -> None:
    assert text.cut_after("01a1fe1d", "  proj.add", None) == "01a1fe1d  proj.add"
    assert text.cut_after("01a1fe1d", "  proj.add", 14) == "01a1fe1d  pro…"
    assert text.cut_after("01a1fe1d", "  proj.add", 10) == text.cut_after("01a1fe1d", "  proj.add", 5) == "01a1fe1d"


def test_long_lines_are_wrapped() -> None:
    assert text.wrap("one two three", 8) == ["one two", "three"]
    assert text.wrap("x" * 10, 4) == ["xxxx", "xxxx", "xx"]
    assert text.wrap("", 4) == [""]
    assert text.wrap("id 01a1fe1d", 9) == ["id", "01a1fe1d"]
    assert text.wrap("    01a1fe1d", 9) == ["    01a1f", "e1d"]
    assert text.fields([("name", "a b"), ("none", None)], Look(80)) == "name  a b"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "↓ é…"), ("ascii", "v ?~"), ("cp1252", "v é~"), (None, "v ?~")]
)
def test_what_an_encoding_does_not_have(encoding: str | None, shown: str) -> None:
    assert text.sayable("↓ é…", encoding) == shown
