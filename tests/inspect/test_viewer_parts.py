"""The parts of the live view that need no terminal: the filter's line, lines and columns, the search, the palettes."""

from __future__ import annotations

import dataclasses
import importlib.util
from datetime import UTC
from typing import Any

import pytest

from tests.inspect import looked_at

pytest.importorskip("textual")

from litequeue.core import clock
from litequeue.inspect import snapshot
from litequeue.inspect.filters import make_filter
from litequeue.inspect.page import page
from litequeue.inspect.viewer import figures
from litequeue.inspect.viewer.data import Known
from litequeue.inspect.viewer.filtering import parse, quoted
from litequeue.inspect.viewer.lines import (
    Column,
    Widths,
    bar,
    between,
    cut,
    cut_middle,
    cut_start,
    fit,
    lay_out,
    line,
    one_line,
    plain,
    sparkline,
    width_of,
)
from litequeue.inspect.viewer.look import DARK, LIGHT, MUTED, PALETTES, RUNNING, TERMINAL, TEXT, choose
from litequeue.inspect.viewer.overview import _draw_worker
from litequeue.inspect.viewer.searching import Search
from litequeue.inspect.viewer.task_lines import side_part

# The filter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("state:failed", {"states": ["failed"]}),
        ("state:FAILURE", {"states": ["FAILURE"]}),
        ("state:failed,ready", {"states": ["failed", "ready"]}),
        ("state:failed state:ready", {"states": ["failed", "ready"]}),
        ("name:proj.* queue:mail", {"names": ["proj.*"], "queues": ["mail"]}),
        ('name:"two words"', {"names": ["two words"]}),
        ("no such key", {"text": "no such key"}),
        ("state:failed no way", {"states": ["failed"], "text": "no way"}),
        ("http://example.org/a", {"text": "http://example.org/a"}),
        ('"state:failed"', {"text": "state:failed"}),
        ("worker:w1@here root:abc", {"worker": "w1@here", "root_id": "abc"}),
        ("since:1700000000", None),
        ("state:", {}),
        ("name:", {}),
        ('name:"open', {"names": ["open"]}),
    ],
)
def test_what_a_filter_means(text: str, expected: dict[str, Any] | None) -> None:
    """Keys, several values, quotes, words; what is not finished yet means nothing."""
    if expected is None:
        with pytest.raises(ValueError, match="since"):
            parse(text)
    else:
        assert parse(text) == make_filter(**expected)


def test_a_state_that_is_being_typed_means_what_it_may_become() -> None:
    """So the list does not say that there is no such state after each letter."""
    assert parse("state:fail").shown == {"failed", "FAILURE"}
    assert parse("state:s").shown == {"scheduled", "succeeded", "STARTED", "SUCCESS"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [("sate:failed", "did you mean state:"), ("queu:mail", "queue:"), ("state:fialed", "did you mean")],
)
def test_slips_are_named(text: str, hint: str) -> None:
    """In a sentence for the line beside it."""
    with pytest.raises(ValueError, match=hint):
        parse(text)


def test_a_name_with_spaces_survives_as_a_filter() -> None:
    """What enter on a queue writes is read as that queue."""
    assert parse(quoted("queue", "two words")) == make_filter(queues=["two words"])
    assert parse(quoted("queue", "mail")) == make_filter(queues=["mail"])


# Lines


def test_lines_are_cut_and_filled_to_the_cell() -> None:
    """Also where a character takes two cells."""
    assert plain(fit(line("abc", ("def", MUTED)), 5)) == "abcd…"
    assert plain(fit(line("ab"), 5)) == "ab   "
    for text in ("日本語のタスク", "é́tude", "🙂🙂🙂", "plain"):
        for width in range(1, 20):
            assert width_of(fit(line(text), width)) == width
    assert cut("abcdef", 3) == "ab…" and cut("abc", 3) == "abc" and cut("abc", 0) == ""
    assert cut_start("proj.tasks.add", 8) == "…sks.add"
    assert cut_middle("celery@long.example.org", 13) == "celery…le.org"
    assert plain(between(line("left"), line("right"), 20)) == "left           right"
    assert one_line("a\x1b[31m\nb\tc") == "a [31m b c"


COLUMNS = (
    Column("name", 6, stretch=1, most=10),
    Column("count", 5, right=True),
    Column("rare", 8, drop=2),
    Column("rarer", 8, drop=3),
)


def test_columns_drop_by_importance_and_stretch_to_their_most() -> None:
    """The least important goes first; numbers stand at the right."""
    wide = lay_out(COLUMNS, 80)
    assert plain(wide.heading()) == "name        count  rare      rarer   "
    assert plain(wide.row([line("a"), line("1"), line("x"), line("y")])) == "a               1  x         y       "
    assert plain(lay_out(COLUMNS, 30).heading()) == "name        count  rare    "
    assert plain(lay_out(COLUMNS, 14).heading()) == "name     count"
    assert plain(lay_out(COLUMNS, 5).heading()) == "name    count", "what may not go stays"


def test_columns_take_what_their_texts_need_and_never_shrink() -> None:
    """So nothing jumps when a long name leaves the list."""
    widths = Widths((Column("name", 4, stretch=1, most=30), Column("rest", 4, stretch=1)), 0)
    widths.see(0, ["a long name"])
    assert widths.lay_out(60).width_of(0) == 11
    widths.see(0, ["short"])
    assert widths.lay_out(60).width_of(0) == 11


def test_bars_and_sparklines_can_be_read_without_colour() -> None:
    """Filled and empty are different characters."""
    assert plain(bar(0.5, 10, RUNNING)) == "━━━━━─────"
    assert plain(bar(0.25, 10, RUNNING)) == "━━╸───────"
    assert plain(bar(7, 4, RUNNING)) == "━━━━" and plain(bar(-1, 4, RUNNING)) == "────"
    assert sparkline([0, 1, 3, 6], 4) == " ▂▄▇"
    assert len(sparkline(range(60), 7)) == 7
    assert sparkline([0] * 60, 6).strip() == ""


def test_figures_keep_their_width() -> None:
    """Counts in seven cells, rates in five."""
    for number in (0, 7, 999, 1000, 999_999, 1_000_000, 12_345_678, 999_999_999):
        assert len(figures.count(number)) <= 7
    for rate in (0, 0.004, 0.5, 9.96, 99.9, 100, 9999):
        assert len(figures.rate(rate)) <= 5
    assert [figures.coarse(span) for span in (0.2, 59, 60, 7200, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]


# The look


def test_palettes_have_the_same_tones() -> None:
    """Each tone is a style of each."""
    assert set(DARK.colors) == set(LIGHT.colors) == set(TERMINAL.colors)
    for palette in PALETTES.values():
        assert palette.styles[TEXT] is not None
        assert palette.theme.name == palette.name


def test_the_palette_suits_the_terminal() -> None:
    """Sixteen colours: those of the terminal; a background that is said to be light: the light one."""
    assert choose(None, {}) is TERMINAL
    assert choose(16, {}) is TERMINAL
    assert choose(1 << 24, {}) is DARK
    assert choose(256, {"COLORFGBG": "15;0"}) is DARK
    assert choose(256, {"COLORFGBG": "0;15"}) is LIGHT
    assert choose(256, {"COLORFGBG": "0;default;15"}) is LIGHT


# The search


def test_a_rare_task_among_many_is_found_step_by_step(app: Any) -> None:
    """No step looks at all rows, and what was found stays when new tasks come."""
    old = app.send_task("rare", queue="q")
    for number in range(300):
        looked_at.add.delay(number, 0)
    search = Search(app)
    assert search.asks(make_filter(names=["rare"]), 10)
    steps = 0
    while search.goes_on:
        listing = search.step()
        steps += 1
    assert [task.id for task in listing.tasks] == [old.id]
    assert listing.complete and not listing.searching
    assert not search.asks(make_filter(names=["rare"]), 10)
    new = app.send_task("rare", queue="q")
    assert [task.id for task in search.refresh().tasks] == [new.id, old.id]


def test_more_can_be_asked_for(app: Any) -> None:
    """A list grows by what is older, and a refresh keeps all of it."""
    ids = [looked_at.add.delay(number, 0).id for number in range(260)][::-1]
    search = Search(app)
    search.asks(make_filter(), 100)
    assert [task.id for task in search.step().tasks] == ids[:100]
    assert not search.step().complete
    assert search.asks(make_filter(), 250)
    listing = search.step()
    assert [task.id for task in listing.tasks] == ids[:250]
    app.control.revoke(ids[200])
    newest = looked_at.add.delay(0, 1).id
    listing = search.refresh()
    assert [task.id for task in listing.tasks] == [newest, *ids[:249]]
    assert listing.tasks[201].engine_state == "revoked"
    assert not listing.complete


def test_textual_is_imported_by_the_viewer_alone() -> None:
    """`import litequeue.inspect` and the command line do not need it."""
    import subprocess
    import sys

    assert importlib.util.find_spec("textual") is not None
    code = (
        "import sys, litequeue.inspect.snapshot, litequeue.inspect.viewer, litequeue.cli.main, litequeue.cli.inspect;"
        "sys.exit('textual' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# What is drawn of records


@pytest.mark.parametrize(
    ("liveness", "says"),
    [
        ("alive", "● w1@here"),
        ("hung", "◌ w1@here hung, silent for"),
        ("orphan", "◌ w1@here orphan"),
        ("dead", "✕ w1@here dead"),
    ],
)
def test_whether_a_worker_lives(app: Any, worker: Any, liveness: str, says: str) -> None:
    (view,) = snapshot.workers(app)
    drawn = _draw_worker(dataclasses.replace(view, liveness=liveness), 120, clock.now())
    assert plain(drawn).startswith(says)
    assert ("silent" in plain(drawn)) == (liveness in ("hung", "dead"))


def test_the_log_says_the_attempt_where_there_was_more_than_one(app: Any, ended: Any) -> None:
    result = looked_at.told_twice.delay()
    ended(result)
    found = page(app, result.id)
    assert found is not None
    text = str(list(side_part(Known(found, None, ""), 80, clock.now(), UTC)))
    assert " attempt 1 " in text
    assert " attempt 2 " in text
