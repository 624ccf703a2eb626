"""The list of tasks, and the filter above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.widgets import Input

from litequeue.core import clock
from litequeue.inspect.filters import Filter
from litequeue.inspect.viewer import cells, figures
from litequeue.inspect.viewer.data import TASKS, Request, Seen
from litequeue.inspect.viewer.filtering import parse
from litequeue.inspect.viewer.frame import Hint, OneLine
from litequeue.inspect.viewer.lines import Column, Line, Widths, cut_start, line, one_line
from litequeue.inspect.viewer.look import BAD, KEY, MUTED, RUNNING, TEXT, WARN
from litequeue.inspect.viewer.pane import Target, task_hints
from litequeue.inspect.viewer.table import Table
from litequeue.inspect.views import TaskView

if TYPE_CHECKING:
    from litequeue.inspect.viewer.application import Viewer
    from litequeue.inspect.viewer.searching import Listing

FIRST: Final = 100
"""How many tasks are listed at first."""
MORE: Final = 200
"""How many more when the cursor comes near the end."""
MOST: Final = 2000

_COLUMNS: Final = (
    Column("Tasks", 20, stretch=2, most=44),
    Column("state", 9),
    Column("", 14, stretch=3),
    Column("queue", 8, drop=3, stretch=1, most=14),
    Column("worker", 14, drop=6, stretch=1, most=24),
    Column("enqueued", 8, right=True, drop=2),
    Column("runtime", 7, right=True),
    Column("id", 8, drop=5),
)


class FilterInput(Input):
    """The line in which a filter is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("down,tab", "submit", show=False),
        Binding("ctrl+c", "app.interrupt", show=False),
    ]

    def action_leave(self) -> None:
        """Give the filter up."""
        self.value = ""
        self.post_message(self.Submitted(self, ""))


class Tasks(Container):
    """The second tab."""

    app: Viewer
    DEFAULT_CSS = """
    Tasks { layout: vertical; }
    Tasks #filter { height: 1; background: $background; }
    Tasks #query {
        width: 2fr; height: 1; border: none; padding: 0 1; background: $background; color: $foreground;
    }
    Tasks #query:focus { border: none; background-tint: $background 0%; }
    Tasks #standing { width: 3fr; }
    Tasks #tasks { margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear", show=False)]

    def __init__(self) -> None:
        super().__init__(id=TASKS)
        self._now = 0.0
        self._which = Filter()
        self._limit = FIRST
        self._error: str | None = None
        self._listing: Listing | None = None
        self._widths = Widths(_COLUMNS, 0, 3, 4)
        self.table: Table[TaskView] = Table(
            self._draw, lambda task: task.id, heading=lambda width: self._widths.lay_out(width).heading(), id="tasks"
        )
        self.input = FilterInput(id="query", select_on_focus=False, compact=True)
        self.input.styles.display = "none"
        self.standing = OneLine(id="standing")

    def compose(self) -> ComposeResult:
        """The filter, then the tasks."""
        with Horizontal(id="filter"):
            yield self.input
            yield self.standing
        yield self.table

    # What it shows

    @property
    def query_text(self) -> str:
        """The filter as it is written."""
        return self.input.value.strip()

    def request(self) -> Request:
        """What is to be read for it."""
        return Request(place=TASKS, which=self._which, limit=self._limit)

    def show(self, seen: Seen) -> None:
        """Show what was read."""
        self._now = clock.now()
        listing = seen.listing
        if listing is not None and listing.which == self._which:
            if self._listing is None:  # the first of another filter
                self.table.forget()
            self._listing = listing
            for place, text in ((0, "name"), (3, "queue"), (4, "worker")):
                self._widths.see(place, (getattr(task, text) or "" for task in listing.tasks))
            searching = "searching …" if listing.searching else "No task is like that."
            self.table.show(listing.tasks, searching if self.query_text else "There is no task yet.")
        self._tell()

    def _tell(self) -> None:
        """Say what the filter is, and how many tasks it has found."""
        shown = self._listing
        right: Line = ()
        if shown is not None:
            known = figures.count(len(shown.tasks))
            said = f"newest {known}"
            if shown.searching:
                said = f"{known} found, searching …"
            elif shown.complete:
                said = "1 task" if len(shown.tasks) == 1 else f"{known} tasks"
            right = ((said, MUTED),)
        if self._error is not None:
            left = line((one_line(self._error), BAD))
            right = ()
        elif self.has_class("-typing"):
            left = line(("state: name: queue: worker: since: words", MUTED)) if not self.query_text else ()
        elif self.query_text:
            left = line(("/ ", KEY), (one_line(self.query_text), TEXT))
        else:
            left = line(("/ ", KEY), ("filter", MUTED))
        self.standing.put(left, right)

    def hints(self) -> Sequence[Hint]:
        """The keys that do something here."""
        if self.input.has_focus:
            return [Hint("enter", "keep the filter"), Hint("esc", "drop it")]
        task = self.table.selected
        hints = [*task_hints(task), Hint("/", "filter")]
        if task is not None:
            paused = task.name in self.app.paused_names
            hints.append(Hint("p", f"{'resume' if paused else 'pause'} its name", 3))
        return [*hints, Hint("esc", "no filter", 1)] if self.query_text else hints

    def target(self) -> Target:
        """What stands under the cursor."""
        task = self.table.selected
        return Target(task=task, name=None if task is None else task.name)

    def focus_main(self) -> None:
        """Let the keys go to the list."""
        self.screen.set_focus(self.table)

    # The filter

    def filter_by(self, text: str) -> None:
        """Show the tasks that this filter means."""
        self.input.value = text
        self._apply()

    def begin_typing(self) -> None:
        """Open the filter's line."""
        self.add_class("-typing")
        self.input.styles.display = "block"  # by no class: it must be there for the very next key
        self.screen.set_focus(self.input)
        self.input.cursor_position = len(self.input.value)
        self._tell()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show at once what the filter means by now."""
        event.stop()
        self._apply()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on with the list."""
        event.stop()
        self.remove_class("-typing")
        self.input.styles.display = "none"
        self.screen.set_focus(self.table)
        self._apply()

    def action_clear(self) -> None:
        """Show all tasks again."""
        self.filter_by("")

    def _apply(self) -> None:
        try:
            which = parse(self.input.value, self.app.zone)
        except ValueError as error:
            self._error = str(error)
        else:
            self._error = None
            if which != self._which:
                self._which, self._limit, self._listing = which, FIRST, None
                self.app.look()
        self._tell()

    def on_table_moved(self) -> None:
        """Read more where the cursor comes near the end."""
        listing = self._listing
        if listing is None or listing.complete or self.table.selected is None:
            return
        if len(listing.tasks) >= self._limit and self.table.rows_below < FIRST // 2 and self._limit < MOST:
            self._limit = min(self._limit + MORE, MOST)
            self.app.look()

    def on_table_opened(self, event: Table.Opened) -> None:
        """Open the page of the task."""
        event.stop()
        self.app.open_page(event.item.id)

    # Lines

    def _draw(self, task: TaskView, width: int) -> Line:
        word, tone = cells.state_word(task)
        spent = cells.runtime(task, self._now)
        running = task.engine_state == "running"
        zone = self.app.zone
        paused = task.name in self.app.paused_names and task.engine_state == "ready"
        layout = self._widths.lay_out(width)
        said = " paused" if paused else ""
        name = cut_start(one_line(task.name), layout.width_of(0) - len(said))
        return layout.row(
            [
                line(name, (said, WARN)),
                line((word, tone)),
                cells.detail(task, self._now),
                line((one_line(task.queue), MUTED)),
                line((one_line(task.worker or ""), MUTED)),
                line((figures.short_moment(task.enqueued_at, zone, self._now), MUTED)),
                line((figures.span(spent), RUNNING if running else MUTED if spent is None else TEXT)),
                line((cells.short_id(task.id), MUTED)),
            ]
        )
