"""The file behind the queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from litequeue.core import clock, state
from litequeue.inspect.viewer import figures
from litequeue.inspect.viewer.data import FILE, Request, Seen
from litequeue.inspect.viewer.frame import Hint
from litequeue.inspect.viewer.lines import Line, bar, line, one_line
from litequeue.inspect.viewer.look import MUTED, RUNNING, STATE_TONES, TEXT, TITLE, WARN
from litequeue.inspect.viewer.pane import Target
from litequeue.inspect.viewer.table import Table

if TYPE_CHECKING:
    from litequeue.inspect.viewer.application import Viewer
    from litequeue.inspect.views import FileView

_LABEL: Final = 14
"""Cells of the names of facts."""


class File(Container):
    """The fourth tab."""

    app: Viewer
    DEFAULT_CSS = "File { padding-top: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "count", show=False)]

    def __init__(self) -> None:
        super().__init__(id=FILE)
        self._count = 0
        self._counted = 0
        self.table: Table[Line] = Table(
            lambda given, width: given, lambda given: given, selectable=lambda given: False, id="file-lines"
        )

    def compose(self) -> ComposeResult:
        """Facts, a line each."""
        yield self.table

    def request(self) -> Request:
        """What is to be read for it."""
        return Request(place=FILE, count=self._count)

    def show(self, seen: Seen) -> None:
        """Show what was read."""
        self._counted = seen.counted
        if seen.file is None:
            self.table.show((), "reading …")
        else:
            self.table.show([*_facts(seen.file), *self._rows(seen.rows)])

    def hints(self) -> Sequence[Hint]:
        """The keys that do something here."""
        return [Hint("c", "count the tasks by state")]

    def target(self) -> Target:
        """Nothing."""
        return Target()

    def focus_main(self) -> None:
        """Let the keys scroll."""
        self.screen.set_focus(self.table)

    def action_count(self) -> None:
        """Count the rows, once: that reads through the whole file."""
        self._count += 1
        self.app.look()

    def _rows(self, rows: dict[str, int] | None) -> Iterable[Line]:
        yield ()
        if rows is None:
            text = "counting …" if self._count != self._counted else "c counts them; that reads through the file"
            yield line(("Tasks by state  ", TITLE), (text, MUTED))
            return
        total = sum(rows.values())
        yield line(("Tasks by state  ", TITLE), (f"{total:,} in all", MUTED))
        for name in state.ALL:
            share = rows.get(name, 0) / total if total else 0.0
            tone = STATE_TONES[name] if rows.get(name) else MUTED
            yield (
                (name.ljust(_LABEL), MUTED),
                (f"{rows.get(name, 0):>12,}  ", tone),
                *bar(share, 24, tone),
                (f"{share * 100:5.0f} %", MUTED),
            )


def _facts(file: FileView) -> Iterable[Line]:
    used = 1 - file.free_pages / file.pages if file.pages else 1.0
    yield line(("File", TITLE))
    yield _fact("path", one_line(file.path))
    yield _fact("size", figures.size(file.size))
    yield _fact("WAL", figures.size(file.wal_size))
    pages = f"{file.pages:,} of {figures.size(file.page_size)}, {file.free_pages:,} free"
    yield (*_fact("pages", f"{pages}  "), *bar(used, 24, RUNNING))
    yield _fact("durability", file.durability)
    yield _fact("journal", file.journal_mode)
    yield _fact("schema", f"version {file.schema_version}")
    yield _fact("SQLite", f"{file.sqlite}, apsw {file.apsw}")
    if file.oldest_ready_at is None:
        yield _fact("oldest ready", "no task is ready", MUTED)
    else:
        age = clock.now() - file.oldest_ready_at
        yield _fact("oldest ready", f"for {figures.coarse(age)}", WARN if age > 60 else TEXT)


def _fact(name: str, value: str, tone: str = TEXT) -> Line:
    return ((name.ljust(_LABEL), MUTED), (value, tone))
