"""Lines of text in tones, as plain values: made, measured, cut and compared without a terminal."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from litequeue.inspect.viewer.look import FAINT, MUTED, TEXT, TITLE

Line = tuple[tuple[str, str], ...]
"""(text, tone) after another."""
ELLIPSIS: Final = "…"
GAP: Final = 2
"""Cells between columns."""


def line(*parts: tuple[str, str] | str) -> Line:
    """A line of texts, each with its tone; a text alone is in `TEXT`."""
    return tuple((part, TEXT) if isinstance(part, str) else part for part in parts)


def plain(given: Line) -> str:
    """The text alone."""
    return "".join(text for text, _ in given)


def width_of(given: Line) -> int:
    """Cells that the line takes."""
    return sum(cell_len(text) for text, _ in given)


def one_line(text: str) -> str:
    """`text` without line breaks and other characters that a terminal would act upon."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells; where something is left out, its last is `…`."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + ELLIPSIS


def cut_start(text: str, width: int) -> str:
    """`text` in at most `width` cells, its end kept: for names with modules before them."""
    if cell_len(text) <= width:
        return text
    return ELLIPSIS + text[-max(width - 1, 0) :] if width > 1 else ELLIPSIS[:width]


def cut_middle(text: str, width: int) -> str:
    """`text` in at most `width` cells, its begin and its end kept: for paths and names with a domain."""
    if cell_len(text) <= width:
        return text
    if width < 8:
        return cut(text, width)
    tail = (width - 1) // 2
    return set_cell_size(text, width - 1 - tail) + ELLIPSIS + text[-tail:]


def fit(given: Line, width: int) -> Line:
    """The line in exactly `width` cells."""
    fitted: list[tuple[str, str]] = []
    left = width
    for text, tone in given:
        size = cell_len(text)
        if size > left:
            if left > 0:
                fitted.append((cut(text, left), tone))
                left -= cell_len(fitted[-1][0])
            break
        fitted.append((text, tone))
        left -= size
    if left > 0:
        fitted.append((" " * left, TEXT))
    return tuple(fitted)


def between(left: Line, right: Line, width: int) -> Line:
    """`left` and `right` at the two edges; where there is no room for both, `left` is cut."""
    room = width - width_of(right) - 1
    if room < 8:
        return fit(left, width)
    return (*fit(left, room), (" ", TEXT), *right)


class Column(NamedTuple):
    """A column of a table."""

    title: str
    width: int
    """Cells; of one that stretches, the least."""
    right: bool = False
    """Numbers stand at the right."""
    stretch: int = 0
    """Its share of the cells that are left."""
    drop: int = 0
    """Where there is no room, the columns with the greatest go first; 0 stays."""
    most: int = 1000
    """Cells beyond which it does not stretch."""
    short: str = ""
    """Its title where there is no room for the whole."""


class Layout(NamedTuple):
    """Which columns of a table there are at a width, and how wide."""

    columns: tuple[tuple[int, Column, int], ...]
    """(place in the row, column, cells)."""

    def width_of(self, place: int) -> int:
        """Cells of the column at `place`; 0: it has no room."""
        return next((width for at, _, width in self.columns if at == place), 0)

    def heading(self) -> Line:
        """The titles; the first of them names the table."""
        return self._join(
            [
                ((column.title if len(column.title) <= width else column.short or column.title, tone),)
                for (_, column, width), tone in zip(self.columns, (TITLE, *[MUTED] * len(self.columns)), strict=False)
            ]
        )

    def row(self, cells: Sequence[Line]) -> Line:
        """A row's cells, side by side."""
        return self._join([cells[place] for place, _, _ in self.columns])

    def _join(self, cells: Sequence[Line]) -> Line:
        joined: list[tuple[str, str]] = []
        for (_, column, width), cell in zip(self.columns, cells, strict=True):
            if joined:
                joined.append((" " * GAP, TEXT))
            room = width - width_of(cell)
            if room >= 0:
                blank = (" " * room, TEXT)
                joined.extend((blank, *cell) if column.right else (*cell, blank))
            else:
                joined.extend(fit(cell, width))
        return tuple(joined)


class Widths:
    """How wide the texts of some columns have been so far, so that a column takes no more than it needs.

    It only grows, so that columns do not jump.
    """

    def __init__(self, columns: Sequence[Column], *places: int) -> None:
        self._columns = self._fitted = tuple(columns)
        self._longest = {place: columns[place].width for place in places}
        self._fit()

    def see(self, place: int, texts: Iterable[str]) -> None:
        """Remember the longest."""
        longest = max(map(cell_len, texts), default=0)
        if longest > self._longest[place]:
            self._longest[place] = longest
            self._fit()

    def _fit(self) -> None:
        self._fitted = tuple(
            column._replace(most=min(column.most, self._longest.get(place, column.most)))
            for place, column in enumerate(self._columns)
        )

    def lay_out(self, width: int) -> Layout:
        """As the function `lay_out`."""
        return lay_out(self._fitted, width)


@functools.lru_cache(maxsize=64)
def lay_out(columns: tuple[Column, ...], width: int) -> Layout:
    """The columns that have room in `width` cells; those that stretch share what is left."""
    chosen = list(enumerate(columns))
    while _least(column for _, column in chosen) > width:
        worst = max(chosen, key=lambda item: (item[1].drop, item[0]))
        if worst[1].drop == 0:
            break
        chosen.remove(worst)
    left = max(width - _least(column for _, column in chosen), 0)
    widths = [column.width for _, column in chosen]
    open_ = {index for index, (_, column) in enumerate(chosen) if column.stretch}
    while left > 0 and open_:
        total = sum(chosen[index][1].stretch for index in open_)
        shares = {index: max(left * chosen[index][1].stretch // total, 1) for index in sorted(open_)}
        for index, share in shares.items():
            more = min(share, chosen[index][1].most - widths[index], left)
            widths[index] += more
            left -= more
            if more < share or widths[index] >= chosen[index][1].most:
                open_.discard(index)
    return Layout(
        tuple((place, column, width) for (place, column), width in zip(chosen, widths, strict=True)),
    )


def _least(columns: Iterable[Column]) -> int:
    widths = [column.width for column in columns]
    return sum(widths) + GAP * (len(widths) - 1)


_HEIGHTS: Final = "▁▂▃▄▅▆▇"
"""Without the full block, so that a line does not grow into the one above it."""


def bar(share: float, width: int, tone: str) -> Line:
    """`share` (0 to 1) of `width` cells filled, to half a cell."""
    halves = round(min(max(share, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    done = "━" * full + "╸" * half
    return ((done, tone), ("─" * (width - full - half), FAINT))


def sparkline(values: Sequence[float], width: int) -> str:
    """`values` as `width` heights, each the sum of its share of them, the greatest of them full; what is above 0 shows
    at least a little."""
    if width <= 0 or not values:
        return " " * width
    count = len(values)
    width = min(width, count)
    sums = [sum(values[count * place // width : count * (place + 1) // width]) for place in range(width)]
    top = max(sums)
    return "".join(" " if value <= 0 else _HEIGHTS[round(value / top * (len(_HEIGHTS) - 1))] for value in sums)
