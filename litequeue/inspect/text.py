"""Tables and pages of text for a terminal: aligned, no wider than it, coloured where it has colours."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple

from litequeue.core import clock
from litequeue.utils import words

GAP: Final = "  "
WIDTH: Final = 80
_WIDE_ENOUGH: Final = 10
"""Columns are not made narrower than that, unless they say so themselves."""
BARS: Final = "▁▂▃▄▅▆▇█"

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
TONES: Final = {
    "SUCCESS": "green",
    "FAILURE": "red",
    "REVOKED": "yellow",
    "IGNORED": "dim",
    "STARTED": "cyan",
    "PROGRESS": "cyan",
    "RETRY": "yellow",
    "PENDING": "blue",
    "alive": "green",
    "hung": "yellow",
    "orphan": "yellow",
    "dead": "red",
    "paused": "yellow",
    "on": "green",
    "off": "dim",
    "ended": "dim",
    "broken": "red",
}
"""Colours of words that say a state."""


class Look(NamedTuple):
    """Where text goes: how wide it may be, and whether it may have colours."""

    width: int | None = None
    """Characters; None: as wide as it comes, for a pipe."""
    color: bool = False
    zone: tzinfo | None = None
    """In which times are shown; None: UTC."""

    def paint(self, text: str, tone: str | None) -> str:
        """`text` in a colour."""
        return f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if self.color and tone else text

    def moment(self, at: float | None) -> str:
        """A time to the second, with its distance to UTC; `-` for none."""
        if at is None:
            return "-"
        moment = clock.to_datetime(at)
        return (moment if self.zone is None else moment.astimezone(self.zone)).isoformat(sep=" ", timespec="seconds")


def look_of_stdout(color: bool | None = None, zone: tzinfo | None = None) -> Look:
    """As wide as the terminal, coloured on one unless `color` is False; for a file or a pipe as wide as it comes."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((WIDTH, 24)).columns if terminal else None
    return Look(width, terminal and color is not False, zone)


_PLAIN: Final = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "↓": "v", "×": "x", "…": "~"})


# What is shown comes from rows, and whoever wrote them shall not steer the terminal. Colours may: they are ours.
_STEERS: Final = re.compile(
    r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def sayable(text: str, encoding: str | None) -> str:
    """`text` with other characters in place of those that steer a terminal, or that `encoding` does not have."""
    encoding = encoding or "ascii"
    text = _STEERS.sub(lambda found: ascii(found[0])[1:-1], text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    return text


class Column(NamedTuple):
    """A column of a table."""

    title: str
    right: bool = False
    """Whether its texts stand to the right: numbers."""
    give: int = 0
    """How readily it becomes narrower where the terminal is: 0 never, as an id, a time or a number; else the highest
    first."""
    leave: int = 0
    """How readily it is left out where the others would not fit: 0 never, else the highest first."""
    least: int = _WIDE_ENOUGH
    """As narrow as it becomes before others are left out."""


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], look: Look) -> str:
    """Rows of texts below the columns' titles, no wider than `look` allows.

    Where they do not fit, columns that may be cut become narrower, others are left out. What stays whole then, such as
    an id, may be wider than the terminal.
    """
    widths = [max([len(column.title), *(len(row[place]) for row in rows)]) for place, column in enumerate(columns)]
    kept = list(range(len(columns)))
    if look.width is not None:
        kept = _kept(columns, widths, look.width)
        _narrow(columns, widths, kept, look.width)
    shown = [columns[place] for place in kept]
    fitted = [widths[place] for place in kept]
    lines = [_line(shown, [column.title for column in shown], fitted, look, title=True)]
    lines += [_line(shown, [row[place] for place in kept], fitted, look) for row in rows]
    return "\n".join(lines)


def _total(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + len(GAP) * max(len(each) - 1, 0)


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The places of the columns that fit, the least important left out."""
    least = [min(wide, column.least) if column.give else wide for column, wide in zip(columns, widths, strict=True)]
    kept = list(range(len(columns)))
    for place in sorted(kept, key=lambda place: -columns[place].leave):
        if _total(least[place] for place in kept) <= width or not columns[place].leave:
            break
        kept.remove(place)
    return kept


def _narrow(columns: Sequence[Column], widths: list[int], kept: Sequence[int], width: int) -> None:
    """Make the kept columns narrower until they fit: by what each may give, and at last these to a single character."""
    over = _total(widths[place] for place in kept) - width
    giving = sorted((place for place in kept if columns[place].give), key=lambda place: -columns[place].give)
    for least in (None, 1):
        for place in giving:
            take = min(max(over, 0), max(widths[place] - (columns[place].least if least is None else least), 0))
            widths[place] -= take
            over -= take


def _line(
    columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int], look: Look, title: bool = False
) -> str:
    parts = []
    for column, text, width in zip(columns, texts, widths, strict=True):
        shown = cut(text, width)
        padded = shown.rjust(width) if column.right else shown.ljust(width)
        parts.append(look.paint(padded, "bold" if title else TONES.get(text)))
    line = GAP.join(parts)
    return line if look.color else line.rstrip()


def cut(text: str, width: int | None) -> str:
    """`text`, ended by `…` where it is longer than `width`."""
    return text if width is None or len(text) <= width else text[: max(width - 1, 0)] + "…"


def cut_after(whole: str, text: str, width: int | None) -> str:
    """`whole`, and of `text` what there is room for: no part of `whole` is cut."""
    return whole + (
        "" if width is not None and width <= len(whole) + len(GAP) else cut(whole + text, width)[len(whole) :]
    )


def fields(rows: Iterable[tuple[str, str | None]], look: Look) -> str:
    """A line for each name and value; those without a value are left out. Long values go on below themselves."""
    shown = [(name, text) for name, text in rows if text not in (None, "")]
    margin = max((len(name) for name, _ in shown), default=0) + len(GAP)
    lines = []
    for name, text in shown:
        head = look.paint(name.ljust(margin), "dim")
        first, *rest = wrap(str(text), None if look.width is None else max(look.width - margin, _WIDE_ENOUGH))
        lines.append(head + look.paint(first, TONES.get(str(text))))
        lines += [" " * margin + more for more in rest]
    return "\n".join(lines)


def wrap(text: str, width: int | None) -> list[str]:
    """The lines of `text`, none longer than `width`; broken at spaces where there are some."""
    found: list[str] = []
    for line in text.splitlines() or [""]:
        while width is not None and len(line) > width:
            space = line.rfind(" ", 1, width + 1)
            word = line[space + 1 :].split(" ", 1)[0]
            whole = len(word) <= width and line[: max(space, 0)].strip()  # an id is not broken where it need not be
            at = space if space > width // 2 or whole else width
            found.append(line[:at].rstrip())
            line = line[at:].lstrip()
        found.append(line)
    return found


def heading(text: str, look: Look) -> str:
    """The title of a part of a page."""
    return look.paint(text, "bold")


def indented(text: str, look: Look, by: int = 2) -> str:
    """`text` with a margin, its lines cut where the terminal ends."""
    width = None if look.width is None else max(look.width - by, _WIDE_ENOUGH)
    return "\n".join((" " * by + cut(line, width)).rstrip() for line in text.splitlines())


# Numbers


def size(count: int | None) -> str:
    """Bytes in the unit that fits; `-` for none."""
    return "-" if count is None else words.size(count)


def number(count: int | None) -> str:
    """A whole number with thousands apart; `-` for none."""
    return "-" if count is None else f"{count:,}"


def rate(per_second: float) -> str:
    """So many in a second, or in a minute where they are few."""
    if not per_second:
        return "-"
    if per_second >= 1:
        return f"{per_second:.0f}/s" if per_second >= 100 else f"{per_second:.1f}/s"
    return f"{per_second * 60:.0f}/min" if per_second * 60 >= 1 else "<1/min"


def seconds(span: float | None) -> str:
    """A span in the unit that fits, short: `1.5ms`, `12s`, `3m20s`, `2h05m`, `4d03h`; `-` for none."""
    if span is None:
        return "-"
    if not math.isfinite(span):
        return "∞"
    if span < 1:
        return f"{span * 1000:.1f}ms" if span < 0.01 else f"{span * 1000:.0f}ms"
    if span < 60:
        return f"{span:.1f}s" if span < 10 else f"{span:.0f}s"
    whole = int(span)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def percent(value: float | None) -> str:
    """A share of a core."""
    return "-" if value is None else f"{value:.0f} %"


def sparkline(values: Sequence[int], width: int) -> str:
    """The last values as bars of different height."""
    shown = values[-width:]
    most = max(shown, default=0)
    if not most:
        return ""
    return "".join(" " if not value else BARS[min(value * len(BARS) // (most + 1), 7)] for value in shown)


def as_text(value: Any) -> str:
    """A value of the caller's, on as many lines as it needs."""
    import pprint

    return pprint.pformat(value, width=100, compact=True)
