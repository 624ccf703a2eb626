"""What opens over a screen: a question, and the help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from litequeue.inspect.viewer.cells import short_id
from litequeue.inspect.viewer.filtering import KEYS
from litequeue.inspect.viewer.lines import Line, cut_middle, line
from litequeue.inspect.viewer.look import BAD, GOOD, KEY, MUTED, RUNNING, STRONG, TEXT, TITLE, WARN
from litequeue.inspect.viewer.table import Table


class Dialog(ModalScreen[str | None]):
    """A sheet of lines in the middle; a key closes it with its name."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 55%; }
    Dialog #sheet { width: auto; height: auto; background: $panel; padding: 1 2; }
    Dialog #lines {
        height: auto; background: $panel; scrollbar-background: $panel; scrollbar-background-hover: $panel;
    }
    Dialog:ansi { background: transparent; }
    Dialog:ansi #sheet { border: round $foreground; padding: 0 1; }
    """

    def __init__(self, lines: Sequence[Line], width: int) -> None:
        super().__init__()
        self._lines = list(lines)
        self._wanted = width
        self.table: Table[tuple[int, Line]] = Table(
            lambda item, _: item[1], lambda item: item[0], selectable=lambda _: False, always=False, id="lines"
        )

    @property
    def lines(self) -> list[str]:
        """Its text."""
        return ["".join(text for text, _ in each) for each in self._lines]

    def compose(self) -> ComposeResult:
        """The sheet."""
        with Container(id="sheet"):
            yield self.table

    def on_mount(self) -> None:
        """Show the lines."""
        self._fit()
        self.table.show(list(enumerate(self._lines)))
        self.table.focus()

    def on_resize(self) -> None:
        """As wide as there is room."""
        self._fit()

    def _fit(self) -> None:
        width = min(self._wanted + 2, self.app.size.width - 6)
        self.table.styles.width = width
        self.table.styles.height = min(len(self._lines), self.app.size.height - 4)


class Question(Dialog):
    """A question that is answered with a key; anything that is no answer leaves all as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n,q", "answer('')", show=False),
        Binding("enter", "answer('enter')", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str], answers: Sequence[tuple[str, str]]) -> None:
        self._answers = {key for key, _ in answers}
        width = min(max(len(title), *(len(each) for each in lines), *(len(text) + 6 for _, text in answers)), 64)
        shown = [line((title, STRONG)), *(line((each, MUTED)) for each in lines), ()]
        shown += [line((f"{key:5}", KEY), text) for key, text in [*answers, ("esc", "leave it as it is")]]
        super().__init__(shown, width)

    def on_key(self, event: events.Key) -> None:
        """An answer."""
        if event.key in self._answers:
            event.stop()
            self.dismiss(event.key)

    def action_answer(self, key: str) -> None:
        """Enter is the first answer only where it stands there."""
        if not key or key in self._answers:
            self.dismiss(key or None)


def about(name: str, task_id: str) -> str:
    """A task, for a question."""
    return f"{cut_middle(name, 50)}  {short_id(task_id)}"


_KEYS: Final = (
    ("1 2 3 4, Tab", "overview, tasks, schedules, file"),
    ("↑ ↓ PgUp PgDn", "move; Home, End; ← → beside"),
    ("enter", "open: a task, the tasks of a queue or worker"),
    ("esc", "back; drops the filter"),
    ("/", "filter the tasks"),
    ("r", "run a task again that failed or was revoked"),
    ("x", "revoke a task, after a question"),
    ("p", "pause or resume: the queue, or the task's name"),
    ("e", "enable or disable an entry of the schedule"),
    ("t", "other colours"),
    ("q, Ctrl-C", "quit"),
)
_MARKS: Final = (
    (("●", GOOD), "the worker is alive; the queue has a worker"),
    (("◌", WARN), "hung: its process is there, but gives no sign"),
    (("✕", BAD), "dead: its process is gone"),
    (("○", MUTED), "no worker takes tasks from the queue"),
    (("‖", WARN), "the queue is paused"),
    (("━", RUNNING), "how far a task says that it is"),
)


class Help(Dialog):
    """The keys, the filter, the marks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "close", show=False),
    ]

    def __init__(self) -> None:
        lines: list[Line] = [line(("Keys", TITLE))]
        lines += [line((f"{key:22}", KEY), text) for key, text in _KEYS]
        lines += [(), line(("Filter", TITLE), ("   state:failed name:proj.* queue:mail words", TEXT))]
        lines += [line((f"{key + ':':22}", KEY), text.replace("`", "")) for key, text in KEYS.items()]
        lines += [(), line(("Marks", TITLE))]
        lines += [line(mark, f"  {text}") for mark, text in _MARKS]
        super().__init__(lines, 72)

    def action_close(self) -> None:
        """Close it."""
        self.dismiss(None)
