"""The entries of the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from litequeue.core import clock
from litequeue.inspect.viewer import figures
from litequeue.inspect.viewer.data import SCHEDULES, Request, Seen
from litequeue.inspect.viewer.filtering import quoted
from litequeue.inspect.viewer.frame import Hint
from litequeue.inspect.viewer.lines import Column, Line, Widths, cut_start, line, one_line
from litequeue.inspect.viewer.look import BAD, GOOD, MUTED, TEXT, WARN
from litequeue.inspect.viewer.pane import Target
from litequeue.inspect.viewer.table import Table
from litequeue.inspect.views import ScheduleView

if TYPE_CHECKING:
    from litequeue.inspect.viewer.application import Viewer

_COLUMNS: Final = (
    Column("Schedules", 14, stretch=2, most=36),
    Column("when", 12, stretch=2, most=34),
    Column("task", 12, stretch=2, drop=3, most=44),
    Column("next", 9, right=True),
    Column("last", 8, right=True, drop=1),
    Column("runs", 6, right=True, drop=2),
    Column("skipped", 7, right=True, drop=4),
    Column("time zone", 12, drop=5, stretch=1, most=20),
    Column("", 6, stretch=1, most=60),
)
_STATES: Final = {"on": ("on", GOOD), "off": ("off", WARN), "ended": ("ended", MUTED), "broken": ("broken", BAD)}


class Schedules(Container):
    """The third tab."""

    app: Viewer
    DEFAULT_CSS = "Schedules { padding-top: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("e,space", "switch", show=False)]

    def __init__(self) -> None:
        super().__init__(id=SCHEDULES)
        self._now = 0.0
        self._widths = Widths(_COLUMNS, 0, 1, 2)
        self.table: Table[ScheduleView] = Table(
            self._draw,
            lambda entry: entry.name,
            heading=lambda width: self._widths.lay_out(width).heading(),
            id="schedules-table",
        )

    def compose(self) -> ComposeResult:
        """The entries."""
        yield self.table

    def request(self) -> Request:
        """What is to be read for it."""
        return Request(place=SCHEDULES)

    def show(self, seen: Seen) -> None:
        """Show what was read."""
        self._now = clock.now()
        for place, text in ((0, "name"), (1, "when"), (2, "task")):
            self._widths.see(place, (getattr(entry, text) or "" for entry in seen.schedules or ()))
        self.table.show(seen.schedules or (), "reading …" if seen.schedules is None else "The schedule is empty.")

    def hints(self) -> Sequence[Hint]:
        """The keys that do something here."""
        entry = self.table.selected
        if entry is None:
            return []
        return [Hint("enter", "its tasks", 2), Hint("e", "disable" if entry.enabled else "enable")]

    def target(self) -> Target:
        """What `p` pauses: the tasks of the entry."""
        entry = self.table.selected
        return Target(name=None if entry is None else entry.task)

    def focus_main(self) -> None:
        """Let the keys go to the list."""
        self.screen.set_focus(self.table)

    def action_switch(self) -> None:
        """Enable or disable the entry, after a question."""
        if (entry := self.table.selected) is not None:
            self.app.ask_toggle(entry)

    def on_table_opened(self, event: Table.Opened) -> None:
        """Show the tasks of the entry's name."""
        event.stop()
        if event.item.task is not None:
            self.app.open_tasks(quoted("name", event.item.task))

    def _draw(self, entry: ScheduleView, width: int) -> Line:
        zone, now = self.app.zone, self._now
        live = TEXT if entry.enabled else MUTED
        soon = entry.next_run_at is not None and entry.enabled
        word, tone = _STATES.get(entry.state, (entry.state, TEXT))
        state = [(word, tone)]
        if entry.error:
            state.append((f" {one_line(entry.error)}", BAD))
        layout = self._widths.lay_out(width)
        return layout.row(
            [
                line((one_line(entry.name), live)),
                line((one_line(entry.when), live)),
                line((cut_start(one_line(entry.task or "?"), layout.width_of(2)), MUTED)),
                line((figures.ago(entry.next_run_at, now) if soon else figures.NONE, live if soon else MUTED)),
                line((figures.short_moment(entry.last_run_at, zone, now), MUTED)),
                line((figures.count(entry.runs), live if entry.runs else MUTED)),
                line((figures.count(entry.skipped), WARN if entry.skipped else MUTED)),
                line((entry.timezone or "", MUTED)),
                tuple(state),
            ]
        )
