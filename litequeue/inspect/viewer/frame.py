"""What stands around every screen: the head with the tabs, the foot with the keys, lines of status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from litequeue.inspect.viewer.lines import Line, between, cut_middle, one_line, width_of
from litequeue.inspect.viewer.look import BAD, CHOSEN, KEY, MUTED, STRONG, TEXT
from litequeue.inspect.viewer.table import MARGIN, palette_of, strip_of

TABS: Final = ("Overview", "Tasks", "Schedules", "File")


class OneLine(Widget):
    """A line that is drawn anew only when it is another."""

    DEFAULT_CSS = """
    OneLine { height: 1; width: 1fr; background: $background; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[Line, Line] = ((), ())

    def put(self, left: Line, right: Line = ()) -> None:
        """Show `left`, and `right` at the right edge where there is room."""
        if (left, right) != self._shown:
            self._shown = (left, right)
            self.refresh()

    @property
    def text(self) -> str:
        """Its text."""
        return "".join(text for text, _ in between(*self._shown, self.size.width)).strip()

    def render_line(self, y: int) -> Strip:
        """The line."""
        left, right = self._shown
        drawn = between(left, right, self.size.width - 2 * MARGIN) if right else left
        return strip_of(drawn, self.size.width, palette_of(self.app), self.rich_style)


class Head(OneLine):
    """The name, the tabs, the file, the time."""

    DEFAULT_CSS = """
    Head { background: $panel; }
    """

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, tab: int) -> None:
            super().__init__()
            self.tab = tab

    def __init__(self, path: str) -> None:
        super().__init__(id="head")
        self._path = one_line(path)
        self._edges: list[int] = []

    def tell(self, tab: int | None, time: str) -> None:
        """Show which tab is open (None: something above them), and the time."""
        left: list[tuple[str, str]] = [("litequeue", STRONG), ("  ", TEXT)]
        self._edges = []
        for place, name in enumerate(TABS):
            self._edges.append(width_of(tuple(left)) + MARGIN)
            if place == tab:
                left.append((f" {place + 1} {name} ", CHOSEN))
            else:
                left += [(f" {place + 1} ", KEY), (f"{name} ", MUTED)]
        room = self.size.width - width_of(tuple(left)) - len(time) - 6
        path = cut_middle(self._path if len(self._path) <= room else self._path.rpartition("/")[2], max(room, 0))
        right = ((path if room >= 6 else "", MUTED), ("  ", TEXT), (time, MUTED))
        self.put(tuple(left), right)

    def on_click(self, event: events.Click) -> None:
        """Open the tab under the mouse."""
        for place in range(len(self._edges) - 1, -1, -1):
            if event.x >= self._edges[place]:
                if event.x < self._edges[place] + len(TABS[place]) + 4:
                    self.post_message(self.Chosen(place))
                return


class Hint(NamedTuple):
    """A key, and what it does here."""

    key: str
    does: str
    drop: int = 0
    """Where there is no room, the greatest go first."""


class Foot(OneLine):
    """The keys that do something here; or what is wrong with the file."""

    DEFAULT_CSS = """
    Foot { background: $panel; }
    """

    def tell(self, hints: Sequence[Hint]) -> None:
        """Show these keys, as many as have room."""
        shown = list(hints)
        while _length(shown) > self.size.width - 2 * MARGIN and any(hint.drop for hint in shown):
            shown.remove(max(shown, key=lambda hint: hint.drop))
        parts: list[tuple[str, str]] = []
        for hint in shown:
            parts += [(hint.key, KEY), (f" {hint.does}   ", MUTED)]
        self.put(tuple(parts))


def _length(hints: Sequence[Hint]) -> int:
    return sum(len(hint.key) + len(hint.does) + 4 for hint in hints) - 3


class Trouble(OneLine):
    """Why the file cannot be read; it takes no room where it can be."""

    DEFAULT_CSS = """
    Trouble { display: none; }
    Trouble.-shown { display: block; }
    """

    def tell(self, problem: str | None) -> None:
        """Show the problem, if there is one."""
        self.set_class(problem is not None, "-shown")
        self.put((("✕ ", BAD), (one_line(problem or ""), BAD)))
