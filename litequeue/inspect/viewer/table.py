"""A list of lines with a selected row, drawn line by line; new data redraws only the lines that are no longer the same.

What is selected is a row's key, not its place: rows may come, go and move, the selection stays with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from litequeue.inspect.viewer.lines import Line, fit, line
from litequeue.inspect.viewer.look import DARK, MUTED, PALETTES, Palette

Item = TypeVar("Item")
MARGIN = 1
"""Cells at the left and at the right of every line."""


def palette_of(app: Any) -> Palette:
    """The palette that an app shows."""
    return PALETTES.get(app.theme, DARK)


def strip_of(given: Line, width: int, palette: Palette, base: Style, over: Style | None = None) -> Strip:
    """A line as Textual takes it, in exactly `width` cells."""
    styles = palette.styles
    fitted = fit(((" " * MARGIN, MUTED), *given), width)
    if over is None:
        return Strip([Segment(text, base + styles[tone]) for text, tone in fitted], width)
    if palette.ansi:  # reversed colours would be patches
        return Strip([Segment(text, base + Style(bold=styles[tone].bold) + over) for text, tone in fitted], width)
    return Strip([Segment(text, base + styles[tone] + over) for text, tone in fitted], width)


class Table(ScrollView, Generic[Item], can_focus=True):
    """A list that keeps its selection, and its place, while what it shows changes."""

    DEFAULT_CSS = """
    Table {
        height: 1fr;
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "first", show=False),
        Binding("end,G", "last", show=False),
        Binding("left,h", "beside(-1)", show=False),
        Binding("right,l", "beside(1)", show=False),
        Binding("enter", "open", show=False),
    ]

    class Opened(Message):
        """A row was opened."""

        def __init__(self, table: Table[Any], item: Any) -> None:
            super().__init__()
            self.table = table
            self.item = item

        @property
        def control(self) -> Table[Any]:
            """The table."""
            return self.table

    class Moved(Message):
        """Another row is selected."""

        def __init__(self, table: Table[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table[Any]:
            """The table."""
            return self.table

    class Edge(Message):
        """There is no further row in this direction."""

        def __init__(self, table: Table[Any], by: int, sideways: bool) -> None:
            super().__init__()
            self.table = table
            self.by = by
            self.sideways = sideways

        @property
        def control(self) -> Table[Any]:
            """The table."""
            return self.table

    def __init__(
        self,
        draw: Callable[[Item, int], Line],
        key: Callable[[Item], Hashable],
        *,
        heading: Callable[[int], Line] | None = None,
        selectable: Callable[[Item], bool] = lambda item: True,
        always: bool = True,
        id: str | None = None,
    ) -> None:
        """`draw` makes a row's line, `key` says which row it is. `always`: a row is selected, where there is one."""
        super().__init__(id=id)
        self._always = always
        self._draw = draw
        self._key = key
        self._heading = heading
        self._selectable = selectable
        self._items: Sequence[Item] = ()
        self._lines: dict[int, Line] = {}
        """Those that were drawn of the present rows, by their place."""
        self._window: list[Line | None] = []
        """What stands on each line of the window below the heading."""
        self._head: Line | None = None
        self._index = -1
        self._selected_key: Hashable = None
        self._drawn_width = 0
        self._nothing: Line = ()

    # What it shows

    @property
    def items(self) -> Sequence[Item]:
        """The rows."""
        return self._items

    @property
    def selected(self) -> Item | None:
        """The selected row."""
        return self._items[self._index] if 0 <= self._index < len(self._items) else None

    @property
    def rows_below(self) -> int:
        """How many rows there are below the selected one."""
        return len(self._items) - 1 - self._index

    @property
    def text(self) -> list[str]:
        """Its lines as plain text, the heading first."""
        head = [] if self._head is None else [self._head]
        lines = [self._draw(item, self.text_width) for item in self._items]
        return ["".join(text for text, _ in each).rstrip() for each in [*head, *lines]]

    def show(self, items: Sequence[Item], nothing: str = "") -> None:
        """Show these rows; where there are none, the sentence `nothing`."""
        before = self._place()
        size = Size(0, len(items) + self._head_lines)
        self._items = items
        self._nothing = line((nothing, MUTED))
        self._find_selected()
        self._lines.clear()
        self._drawn_width = self.text_width
        if self.virtual_size != size:
            self.virtual_size = size
        self._keep_place(before)
        self._show_head(self._drawn_width)
        self._refresh_changed()

    def select(self, key: Hashable) -> None:
        """Select the row of `key`, if it is there."""
        for index, item in enumerate(self._items):
            if self._key(item) == key and self._selectable(item):
                self._go(index)
                return

    def forget(self) -> None:
        """Begin at the top, as with another list."""
        self._index, self._selected_key = -1, None
        self.scroll_to(y=0, animate=False, immediate=True)

    def redraw(self) -> None:
        """Draw all rows anew, as for another width or another look."""
        self._drawn_width = 0
        self.show(self._items, "".join(text for text, _ in self._nothing))
        self.refresh()

    @property
    def _head_lines(self) -> int:
        return 0 if self._heading is None else 1

    @property
    def text_width(self) -> int:
        """Cells that a line has."""
        width: int = self.scrollable_content_region.width
        return max(width - 2 * MARGIN, 10)

    def _show_head(self, width: int) -> None:
        head = None if self._heading is None else self._heading(width)
        if head != self._head:
            self._head = head
            self.refresh(Region(0, 0, self.size.width, 1))

    def _line(self, index: int) -> Line | None:
        """The line of a row; None: there is none."""
        if not 0 <= index < len(self._items):
            return self._nothing if index == 0 else None
        found = self._lines.get(index)
        if found is None:
            found = self._lines[index] = self._draw(self._items[index], self._drawn_width)
        return found

    def _refresh_changed(self) -> None:
        """Draw those lines of the window anew that are not what they were."""
        top = round(self.scroll_y)
        window = [self._line(top + y) for y in range(self._rows_in_window())]
        old, self._window = self._window, window
        for y, there in enumerate(window):
            if y >= len(old) or old[y] != there:
                self.refresh(Region(0, y + self._head_lines, self.size.width, 1))

    def _refresh_row(self, index: int) -> None:
        y = index - round(self.scroll_y) + self._head_lines
        if self._head_lines <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    # Where it stands

    def _place(self) -> int | None:
        """On which line of the window the selected row is; None: it is not to be seen."""
        place = self._index - round(self.scroll_y)
        return place if self._index >= 0 and 0 <= place < self._rows_in_window() else None

    def _keep_place(self, before: int | None) -> None:
        """Let the selected row stay on its line of the window, where it moved among the rows; but the top stays the top
        as long as the selected row is still to be seen."""
        rows = self._rows_in_window()
        top = round(self.scroll_y)
        if before is None or self._index < 0 or (top == 0 and self._index < rows):
            return
        wanted = min(max(self._index - before, 0), max(len(self._items) - rows, 0))
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, immediate=True)
            self.refresh()

    def _rows_in_window(self) -> int:
        return max(self.size.height - self._head_lines, 0)

    def _find_selected(self) -> None:
        """Find the selected row where it is now; where it has gone, the one that stands in its place."""
        index = self._index
        old = self._index
        if self._selected_key is not None:
            index = next((at for at, item in enumerate(self._items) if self._key(item) == self._selected_key), -1)
        if index >= len(self._items) or index < 0 or not self._selectable(self._items[index]):
            index = self._nearest(min(max(old, 0), len(self._items) - 1)) if self._always else -1
        self._set_index(index)

    def _nearest(self, index: int) -> int:
        """The selectable row at `index`, or after it, or before it; -1: there is none."""
        at: int
        for at in (*range(max(index, 0), len(self._items)), *range(index - 1, -1, -1)):
            if self._selectable(self._items[at]):
                return at
        return -1

    def _set_index(self, index: int) -> None:
        key = self._key(self._items[index]) if index >= 0 else None
        moved = key != self._selected_key
        old, self._index, self._selected_key = self._index, index, key
        if old != index:
            self._refresh_row(old)
            self._refresh_row(index)
        if moved:
            self.post_message(self.Moved(self))

    def _go(self, index: int) -> None:
        """Select the row, and scroll so that it is seen."""
        self._set_index(index)
        rows = self._rows_in_window()
        top = round(self.scroll_y)
        if rows <= 0 or index < 0:
            return
        if index < top:
            self.scroll_to(y=0 if self._nearest(0) == index else index, animate=False, immediate=True)
        elif index >= top + rows:
            self.scroll_to(y=index - rows + 1, animate=False, immediate=True)

    # Keys and mouse

    def action_move(self, by: int) -> None:
        """Select the next row above or below; where none is in the window, scroll."""
        top, rows = round(self.scroll_y), self._rows_in_window()
        index = self._index
        if not top <= index < top + rows:
            index = top - 1 if by > 0 else top + rows
        index += by
        while 0 <= index < len(self._items) and not self._selectable(self._items[index]):
            index += by
        if 0 <= index < len(self._items) and top - 1 <= index <= top + rows:
            self._go(index)
        elif not self._scroll_by(by):
            self.post_message(self.Edge(self, by, sideways=False))

    def action_beside(self, by: int) -> None:
        """Go to what stands at the left or at the right."""
        self.post_message(self.Edge(self, by, sideways=True))

    def action_page(self, by: int) -> None:
        """Go a window up or down."""
        rows = max(self._rows_in_window() - 1, 1)
        if self._always and self._items:
            self._go(self._nearest(min(max(self._index + by * rows, 0), len(self._items) - 1)))
        else:
            self._scroll_by(by * rows)

    def _scroll_by(self, by: int) -> bool:
        """Scroll by so many lines; False: that is as far as it goes."""
        before = round(self.scroll_y)
        self.scroll_to(y=min(max(before + by, 0), self.max_scroll_y), animate=False, immediate=True)
        return round(self.scroll_y) != before

    def action_first(self) -> None:
        """Go to the first row."""
        if self._always and self._items:
            self._go(self._nearest(0))
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_last(self) -> None:
        """Go to the last row."""
        if self._always and self._items:
            self._go(self._nearest(len(self._items) - 1))
        else:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    def action_open(self) -> None:
        """Open the selected row."""
        if (item := self.selected) is not None:
            self.post_message(self.Opened(self, item))

    def on_click(self, event: events.Click) -> None:
        """Select the row under the mouse; open it on a double click."""
        index = event.y - self._head_lines + round(self.scroll_y)
        if event.y >= self._head_lines and 0 <= index < len(self._items) and self._selectable(self._items[index]):
            self._go(index)
            if event.chain == 2:
                self.action_open()

    # Drawing

    def on_resize(self) -> None:
        """Lay the lines out for the new width."""
        if self.text_width != self._drawn_width:
            self.redraw()

    def on_focus(self) -> None:
        """The selected row of the table that has the focus stands out."""
        self._refresh_row(self._index)

    def on_blur(self) -> None:
        """See `on_focus`."""
        self._refresh_row(self._index)

    def render_line(self, y: int) -> Strip:
        """One line of the window."""
        width = self.size.width
        palette = palette_of(self.app)
        base = self.rich_style
        if y < self._head_lines:
            return strip_of(self._head or (), width, palette, base)
        index = y - self._head_lines + round(self.scroll_y)
        selected = index == self._index and self.has_focus and index >= 0
        return strip_of(self._line(index) or (), width, palette, base, palette.cursor if selected else None)
