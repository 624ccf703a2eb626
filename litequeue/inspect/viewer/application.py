"""The live view as a whole: its screens, its keys, and where the data go."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import tzinfo
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message
from textual.notifications import SeverityLevel

from litequeue.core import clock, state
from litequeue.inspect.viewer import acting, figures
from litequeue.inspect.viewer.acting import Outcome
from litequeue.inspect.viewer.data import SHARE, Reader, Request, Seen
from litequeue.inspect.viewer.dialogs import Dialog, Help, Question, about
from litequeue.inspect.viewer.file import File
from litequeue.inspect.viewer.frame import Foot, Head, Hint, Trouble
from litequeue.inspect.viewer.look import PALETTES, choose
from litequeue.inspect.viewer.overview import Overview
from litequeue.inspect.viewer.pane import Shows
from litequeue.inspect.viewer.schedules import Schedules
from litequeue.inspect.viewer.table import Table
from litequeue.inspect.viewer.task_page import PageScreen
from litequeue.inspect.viewer.tasks import Tasks

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.inspect.views import ScheduleView

INTERRUPTED: Final = 130
_KEYS: Final = frozenset({"tab", "next_tab", "filter", "retry", "revoke", "pause", "look_otherwise", "help", "leave"})
"""The actions of keys that are letters too."""


class Fresh(Message):
    """Something was read."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def can_replace(self, message: Message) -> bool:
        """What was read later takes the place of what is not shown yet."""
        return isinstance(message, Fresh)


class Viewer(App[int]):
    """`litequeue inspect`, live."""

    TITLE = "litequeue"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; color: $foreground; layout: vertical; }
    Dialog { background: $background 60%; }
    #panes { height: 1fr; }
    #panes > * { display: none; height: 1fr; }
    #panes > .-open { display: block; }
    Toast { background: $panel; padding: 0 2; max-width: 70; width: auto; }
    ToastRack { margin-bottom: 1; }
    Toast .toast--title { text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number + 1), f"tab({number})", show=False, priority=True) for number in range(4)),
        Binding("tab", "next_tab(1)", show=False, priority=True),
        Binding("shift+tab", "next_tab(-1)", show=False, priority=True),
        Binding("slash", "filter", show=False, priority=True),
        Binding("r", "retry", show=False, priority=True),
        Binding("x", "revoke", show=False, priority=True),
        Binding("p", "pause", show=False, priority=True),
        Binding("t", "look_otherwise", show=False, priority=True),
        Binding("question_mark,f1", "help", show=False, priority=True),
        Binding("q", "leave", show=False, priority=True),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("ctrl+q", "interrupt", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False),
    ]
    """With priority, so that keys which are typed fast are taken in their order; see `check_action`."""

    def __init__(self, queue: LiteQueue, refresh: float = 1.0, color: bool | None = None, share: float = SHARE) -> None:
        """`share`: of the time that each part may take to read."""
        if color is False:
            os.environ["NO_COLOR"] = "1"  # Textual looks there, and takes it out
        # Without colours those of the terminal are left alone; Textual would make its default colour black.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.queue = queue
        self.animation_level = "none"
        self.path = str(queue.store.path)
        self.zone: tzinfo = queue.timezone
        self.tab = 0
        self.paused_names: frozenset[str] = frozenset()
        self.seen = Seen()
        self.reader = Reader(queue, refresh, lambda seen: self.post_message(Fresh(seen)), share)
        self.tasks_pane = Tasks()
        self.panes: tuple[Overview, Tasks, Schedules, File] = (Overview(), self.tasks_pane, Schedules(), File())
        for palette in PALETTES.values():
            self.register_theme(palette.theme)
        self.theme = choose(None if self.no_color else _colors(self)).name

    def compose(self) -> ComposeResult:
        """Head, the tabs' panes, foot."""
        yield Head(self.path)
        with Container(id="panes"):
            yield from self.panes
        yield Trouble()
        yield Foot()

    def on_mount(self) -> None:
        """Begin to read."""
        self._catch_signals()
        self.action_tab(0)
        self.reader.start()

    def on_unmount(self) -> None:
        """Read no more."""
        self.reader.stop()

    def _catch_signals(self) -> None:
        """Give the terminal back before ending by a signal."""
        if sys.platform == "win32":
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(RuntimeError, ValueError):  # not in the main thread
                loop.add_signal_handler(number, self.exit, 128 + number)

    # Data

    @property
    def place(self) -> Shows:
        """What is on the screen: the page that is open, or the tab's pane."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, PageScreen):
                return screen
        return self.panes[self.tab]

    def look(self) -> None:
        """Read what is on the screen by now."""
        self.reader.look(self.place.request())
        self.tell()

    def on_fresh(self, event: Fresh) -> None:
        """Show what was read."""
        self.seen = event.seen
        self.paused_names = event.seen.paused_names
        self.tell(show=True)

    def tell(self, show: bool = False) -> None:
        """Say where one is and which keys do something; with `show`, the data too."""
        if not self.is_running:
            return
        place = self.place
        if show:
            place.show(self.seen)
        screen = place if isinstance(place, PageScreen) else self.screen_stack[0]
        time = figures.moment(clock.now(), self.zone)
        for head in screen.query(Head):
            head.tell(None if isinstance(place, PageScreen) else self.tab, time)
        for trouble in screen.query(Trouble):
            trouble.tell(self.seen.problem)
        typing = self.tasks_pane.input.has_focus
        general = [] if typing else [Hint("?", "help"), Hint("q", "quit")]
        for foot in screen.query(Foot):
            foot.tell([*place.hints(), *general])

    def on_table_moved(self) -> None:
        """Other keys do something on another row."""
        self.tell()

    def on_descendant_focus(self) -> None:
        """The same in another list."""
        self.tell()

    # Places

    def action_tab(self, number: int) -> None:
        """Open a tab; from a page, close that."""
        self._close_pages()
        self.tab = number
        for place, pane in enumerate(self.panes):
            pane.set_class(place == number, "-open")
        self.panes[number].show(self.seen)
        self.panes[number].focus_main()
        self.look()

    def action_next_tab(self, by: int) -> None:
        """Open the next tab."""
        self.action_tab((self.tab + by) % len(self.panes))

    def on_head_chosen(self, event: Head.Chosen) -> None:
        """Open the tab that was clicked."""
        self.action_tab(event.tab)

    def open_tasks(self, query: str) -> None:
        """The tasks that a filter means."""
        self.tasks_pane.filter_by(query)
        self.action_tab(1)

    def open_page(self, task_id: str) -> None:
        """The page of a task."""
        self.push_screen(PageScreen(task_id))

    def _close_pages(self) -> None:
        while isinstance(self.screen, (PageScreen, Dialog)):
            self.pop_screen()

    def action_filter(self) -> None:
        """Type a filter."""
        if self.tab != 1 or isinstance(self.place, PageScreen):
            self.action_tab(1)
        self.tasks_pane.begin_typing()

    def action_help(self) -> None:
        """The keys."""
        self.push_screen(Help())

    def action_look_otherwise(self) -> None:
        """Other colours: dark, light, those of the terminal."""
        if self.no_color:
            return
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        for screen in self.screen_stack:
            for table in screen.query(Table):
                table.refresh()

    def action_leave(self) -> None:
        """Quit."""
        self.exit(0)

    def action_interrupt(self) -> None:
        """Quit, as every command does on Ctrl-C."""
        self.exit(INTERRUPTED)

    # Acting

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No key of the view counts where text is typed, or a question is open."""
        if action in _KEYS and (self.tasks_pane.input.has_focus or isinstance(self.screen, Dialog)):
            return False
        return super().check_action(action, parameters)

    def action_retry(self) -> None:
        """Run the task under the cursor again."""
        task = self.place.target().task
        if task is None:
            return
        if task.engine_state not in (state.FAILED, state.REVOKED):
            self._say(Outcome(f"{task.name} is {task.engine_state}; only what failed or was revoked is retried", False))
            return
        self._act(partial(acting.retry, self.queue, task.id, task.name))

    def action_revoke(self) -> None:
        """Revoke the task under the cursor, after a question."""
        task = self.place.target().task
        if task is None:
            return
        if task.engine_state in state.TERMINAL:
            self._say(Outcome(f"{task.name} has ended already", False))
            return
        answers = [("y", "revoke: it never starts")]
        if task.engine_state == state.RUNNING:
            answers = [
                ("y", "revoke: it may ask and stop, and is not run again"),
                ("t", "terminate: its process is killed now"),
            ]

        def answered(key: str | None) -> None:
            if key is not None:
                self._act(partial(acting.revoke, self.queue, task.id, task.name, key == "t"))

        self.push_screen(Question("Revoke this task?", [about(task.name, task.id)], answers), answered)

    def action_pause(self) -> None:
        """Pause, or resume, what stands under the cursor."""
        target = self.place.target()
        if target.queue is not None:
            paused = any(queue.name == target.queue and queue.paused for queue in self.seen.queues or ())
            self._act(partial(acting.pause, self.queue, "queue", target.queue, not paused))
        elif target.name is not None:
            paused = target.name in self.paused_names
            self._act(partial(acting.pause, self.queue, "task", target.name, not paused))

    def ask_toggle(self, entry: ScheduleView) -> None:
        """Enable or disable an entry, after a question."""
        on = not entry.enabled

        def answered(key: str | None) -> None:
            if key is not None:
                self._act(partial(acting.toggle, self.queue, entry.name, on))

        does = "it is fired from its next instant on" if on else "it is not fired until it is enabled"
        title = "Enable this entry?" if on else "Disable this entry?"
        self.push_screen(Question(title, [f"{entry.name}  {entry.when}"], [("y", does)]), answered)

    @work(thread=True, group="acting")
    def _act(self, act: Callable[[], Outcome]) -> None:
        """Do it in a thread, since the file may be busy; tell what became of it."""
        outcome = acting.attempt(act)
        self.reader.again()
        self.call_from_thread(self._say, outcome)

    def _say(self, outcome: Outcome) -> None:
        severity: SeverityLevel = "information" if outcome.done else "warning"
        self.notify(outcome.text, severity=severity, timeout=4.0, markup=False)


def _colors(app: App[int]) -> int | None:
    """How many colours the terminal has."""
    system = app.console.color_system
    return {"truecolor": 1 << 24, "256": 256, "standard": 16, "windows": 16}.get(system or "")


__all__ = ("Request", "Viewer")
