"""The page of a task: over everything else, until it is closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen

from litequeue.core import clock
from litequeue.inspect.viewer import cells, task_lines
from litequeue.inspect.viewer.data import PAGE, Known, Request, Seen
from litequeue.inspect.viewer.frame import Foot, Head, Hint, OneLine, Trouble
from litequeue.inspect.viewer.look import STRONG
from litequeue.inspect.viewer.pane import Target, task_hints
from litequeue.inspect.viewer.table import Table
from litequeue.inspect.viewer.task_lines import Row

if TYPE_CHECKING:
    from litequeue.inspect.viewer.application import Viewer

WIDE: Final = 130
"""Cells from which on there are two columns."""


class PageScreen(Screen[None]):
    """Everything about one task."""

    app: Viewer
    DEFAULT_CSS = """
    PageScreen { background: $background; }
    PageScreen #name { margin-top: 1; margin-bottom: 1; }
    PageScreen #columns { height: 1fr; layout: vertical; }
    PageScreen #side { display: none; }
    PageScreen.-two #columns { layout: horizontal; }
    PageScreen.-two #main { width: 55%; }
    PageScreen.-two #side { display: block; width: 1fr; margin-left: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", show=False),
    ]

    def __init__(self, task_id: str) -> None:
        super().__init__()
        self.task_id = task_id
        self._known: Known | None = None
        self._read = False
        self.main: Table[Row] = _lines("main")
        self.side: Table[Row] = _lines("side")
        self.name_line = OneLine(id="name")

    def compose(self) -> ComposeResult:
        """Its name, then one column or two."""
        yield Head(self.app.path)
        yield self.name_line
        with Container(id="columns"):
            yield self.main
            yield self.side
        yield Trouble()
        yield Foot()

    def on_mount(self) -> None:
        """Ask for the page."""
        self.set_class(self.size.width >= WIDE, "-two")
        self.main.focus()
        self.app.look()

    def on_resize(self, event: events.Resize) -> None:
        """Two columns where there is room."""
        self.set_class(event.size.width >= WIDE, "-two")
        self.call_after_refresh(self._show)

    # What it shows

    def request(self) -> Request:
        """What is to be read for it."""
        return Request(place=PAGE, task_id=self.task_id)

    def show(self, seen: Seen) -> None:
        """Show what was read."""
        if seen.task_id == self.task_id:
            self._known, self._read = seen.page, True
        self._show()

    def _show(self) -> None:
        if not self.is_mounted:
            return
        known = self._known
        if known is None:
            text = "The file does not have this task any more." if self._read else "reading …"
            self.name_line.put(((self.task_id, STRONG),))
            self.main.show((), text)
            self.side.show(())
            return
        now, zone = clock.now(), self.app.zone
        self.name_line.put(task_lines.head(known.page))
        main = task_lines.main_part(known, self.main.text_width, now, zone)
        if self.has_class("-two"):
            self.main.show(task_lines.rows_of(main))
            side = list(task_lines.side_part(known, self.side.text_width, now, zone))
            self.side.show(task_lines.rows_of(side[1:] if side and not side[0] else side))
        else:
            side = list(task_lines.side_part(known, self.main.text_width, now, zone))
            self.main.show(task_lines.rows_of([*main, *side]))

    def hints(self) -> Sequence[Hint]:
        """The keys that do something here."""
        task = None if self._known is None else self._known.page.task
        hints = [hint for hint in task_hints(task) if hint.key != "enter"]
        node = self.selected_id
        return [Hint("esc", "back"), *([Hint("enter", f"open {cells.short_id(node)}", 2)] if node else []), *hints]

    @property
    def selected_id(self) -> str | None:
        """The task under the cursor, of those that the page names."""
        for table in (self.main, self.side):
            if table.has_focus and table.selected is not None:
                return table.selected.task_id
        return None

    def target(self) -> Target:
        """The task itself, whatever the cursor is on."""
        task = None if self._known is None else self._known.page.task
        return Target(task=task, name=None if task is None else task.name)

    def action_back(self) -> None:
        """Close the page."""
        self.app.pop_screen()
        self.app.look()

    def on_table_edge(self, event: Table.Edge) -> None:
        """Go to the other column."""
        event.stop()
        if event.sideways and self.has_class("-two"):
            (self.side if event.by > 0 else self.main).focus()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Open the page of a task that this one names."""
        event.stop()
        if event.item.task_id is not None:
            self.app.open_page(event.item.task_id)


def _lines(id: str) -> Table[Row]:
    return Table(
        lambda row, width: row.line,
        lambda row: row.key,
        selectable=lambda row: row.task_id is not None,
        always=False,
        id=id,
    )
