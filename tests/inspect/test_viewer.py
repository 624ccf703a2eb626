"""The live view: each screen and key, over real files, in Textual's own headless terminal."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from litequeue import chord
from tests.cli.conftest import PATIENCE
from tests.inspect import looked_at
from tests.inspect.conftest import NAME, NODE

pytest.importorskip("textual")

from litequeue.inspect.viewer.application import INTERRUPTED, Viewer
from litequeue.inspect.viewer.dialogs import Help, Question
from litequeue.inspect.viewer.look import PALETTES
from litequeue.inspect.viewer.task_page import PageScreen

NARROW, WIDE = (80, 24), (160, 50)
NAMES = {" ": "space", ":": "colon", ".": "full_stop", "*": "asterisk", "/": "slash", "?": "question_mark", "_": "_"}


class Driven:
    """A viewer that runs, and what its screen shows."""

    def __init__(self, viewer: Viewer, pilot: Any) -> None:
        self.viewer = viewer
        self.pilot = pilot

    @property
    def lines(self) -> list[str]:
        """The screen's lines as text."""
        strips = self.viewer.screen._compositor.render_strips()
        return [strip.text.rstrip() for strip in strips]

    @property
    def text(self) -> str:
        """The screen as text."""
        return "\n".join(self.lines)

    def line(self, word: str) -> str:
        """The first line with a word."""
        return next((line for line in self.lines if word in line), "")

    async def until(self, fact: Callable[[], Any], what: str = "it") -> Any:
        """The first true answer of `fact`."""
        deadline = time.monotonic() + PATIENCE
        while not (answer := fact()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not happen:\n{self.text}")
            await self.pilot.pause(0.01)
        return answer

    async def shows(self, *words: str) -> None:
        """Wait until the screen has all of these."""
        await self.until(lambda: all(word in self.text for word in words), repr(words))

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Press the keys of a text."""
        await self.pilot.press(*(NAMES.get(char, char) for char in text))

    async def filter(self, text: str) -> None:
        """Open the list of tasks with this filter."""
        await self.press("slash")
        await self.type(text)
        await self.press("enter")
        await self.until(lambda: self.viewer.tasks_pane.table.has_focus)

    def said(self) -> list[str]:
        """The toasts that were shown."""
        return [each.message for each in self.viewer._notifications]


def drive(app: Any, act: Callable[[Driven], Awaitable[None]], size: tuple[int, int] = NARROW, **options: Any) -> Viewer:
    """Run the viewer, and `act` on it."""
    viewer = Viewer(app, **{"refresh": 0.1, "share": 1.0, **options})

    async def run() -> None:
        async with viewer.run_test(size=size, notifications=True) as pilot:
            await act(Driven(viewer, pilot))

    asyncio.run(run())
    return viewer


# The screens


def test_the_overview_shows_queues_workers_and_what_runs(app: Any, worker: Any, held: Any) -> None:
    """Each queue with its counts, each worker with the tasks in its slots."""
    held()
    looked_at.add.apply_async((1, 2), countdown=600)
    looked_at.add.apply_async((1, 2), queue="mail")

    async def act(view: Driven) -> None:
        await view.shows("● celery", "○ mail no worker", f"● {NODE}", "1 of 2", f"{NAME}hold(")
        celery = view.line("● celery").split()
        assert celery[2:6] == ["0", "1", "1", "0"], "ready, scheduled, running, failed"
        assert view.line("mail no worker").split()[4] == "1"

    drive(app, act)


def test_a_wide_screen_has_the_workers_at_the_right(app: Any, ended: Any) -> None:
    """From 120 cells on there are two panes, and more columns."""
    ended(looked_at.boom.delay())

    async def narrow(view: Driven) -> None:
        await view.shows("Queues", "Workers", "Failed lately")
        assert "Workers" not in view.line("Queues")
        assert "waiting" not in view.line("Queues")

    async def wide(view: Driven) -> None:
        await view.shows("Queues", "Failed lately", f"{NAME}boom", "ValueError: no way")
        assert "Workers" in view.line("Queues")

    drive(app, narrow)
    drive(app, wide, WIDE)


@pytest.mark.parametrize("size", [NARROW, WIDE, (40, 10), (20, 3), (300, 90)], ids=str)
@pytest.mark.parametrize("palette", PALETTES)
def test_every_screen_can_be_drawn_at_every_size_in_every_look(
    app: Any, ended: Any, palette: str, size: tuple[int, int]
) -> None:
    """Nothing fails, whatever the room."""
    ended(looked_at.boom.delay(), looked_at.add.delay(1, 2), looked_at.flaky.delay())

    async def act(view: Driven) -> None:
        view.viewer.theme = palette
        for key in ("1", "2", "3", "4", "question_mark", "escape", "2"):
            await view.press(key)
            await view.pilot.pause()
            assert len(view.lines) == size[1]
        await view.until(lambda: len(view.viewer.tasks_pane.table.items) == 3)
        await view.press("enter")
        await view.until(lambda: isinstance(view.viewer.screen, PageScreen))
        await view.pilot.pause()

    drive(app, act, size)


def test_tabs_by_number_and_by_tab(app: Any) -> None:
    """1 to 4, Tab and Shift-Tab."""
    app.schedules.add("often", f"{NAME}add", 600.0, (1, 2))

    async def act(view: Driven) -> None:
        await view.shows("There is no queue yet", "No worker is registered")
        await view.press("2")
        await view.shows("There is no task yet")
        await view.press("tab")
        await view.shows("often", "every 10 minutes")
        await view.press("4")
        await view.shows("durability", "schema")
        await view.press("tab")
        await view.shows("Queues")
        await view.press("shift+tab", "c")
        await view.shows("0 in all", "succeeded")

    drive(app, act)


def test_the_file_counts_when_asked(app: Any) -> None:
    """Rows by state only on `c`; each time anew."""
    looked_at.add.delay(1, 2)

    async def act(view: Driven) -> None:
        await view.press("4")
        await view.shows("c counts them")
        await view.press("c")
        await view.shows("1 in all")
        looked_at.add.delay(1, 2)
        await view.press("c")
        await view.shows("2 in all")

    drive(app, act)


def test_help_names_every_key_and_closes(app: Any) -> None:
    """`?` opens it over any screen."""

    async def act(view: Driven) -> None:
        await view.press("question_mark")
        await view.until(lambda: isinstance(view.viewer.screen, Help))
        text = "\n".join(view.viewer.screen.lines)  # type: ignore[attr-defined]
        for word in ("enter", "esc", "PgUp", "r  ", "x  ", "p  ", "state:", "queue:", "since:", "‖"):
            assert word in text
        await view.press("escape")
        await view.until(lambda: not isinstance(view.viewer.screen, Help))

    drive(app, act)


# The list of tasks


def test_the_filter_works_while_it_is_typed(app: Any, ended: Any) -> None:
    """By state, name, queue and words; an error stands beside it; escape drops it."""
    ended(looked_at.boom.delay("luck"), looked_at.add.delay(1, 2))
    looked_at.add.apply_async((7, 8), queue="mail")

    async def act(view: Driven) -> None:
        table = view.viewer.tasks_pane.table

        async def found(*states: str) -> None:
            await view.until(lambda: [task.engine_state for task in table.items] == list(states), f"{states}")

        await view.press("2")
        await found("ready", "succeeded", "failed")
        await view.press("slash")
        await view.type("state:fai")
        await found("failed")
        await view.press("enter")
        await view.shows("/ state:fai", "1 task")
        await view.press("escape")
        await found("ready", "succeeded", "failed")
        await view.filter("queue:mail")
        await found("ready")
        await view.press("escape")
        await view.filter("name:*.boom luck")
        await found("failed")
        await view.press("slash")
        await view.type(" sate:x")
        await view.shows("did you mean state:?")
        await view.press("escape")
        await found("ready", "succeeded", "failed")
        await view.filter("nothing")
        await view.shows("No task is like that")

    drive(app, act)


def test_the_filter_opens_from_every_screen(app: Any) -> None:
    """And takes every key that follows, however fast."""
    result = looked_at.add.delay(1, 2)

    async def act(view: Driven) -> None:
        for keys in (("1",), ("3",), ("4",), ("2", "enter")):
            await view.press(*keys)
            await view.press("slash", *"state", "colon", *"ready")
            assert view.viewer.tasks_pane.input.value == "state:ready"
            await view.press("enter")
            await view.shows("/ state:ready", "1 task")
            assert not isinstance(view.viewer.screen, PageScreen)
            await view.press("escape")
            await view.shows("/ filter")
        assert result.state == "PENDING"

    drive(app, act)


def test_the_selected_task_stays_selected_when_rows_move(app: Any) -> None:
    """New tasks come above it; the cursor goes with its task, and it stays on its line once it is at the end."""
    ids = [looked_at.add.delay(number, 0).id for number in range(30)][::-1]

    async def act(view: Driven) -> None:
        await view.press("2")
        table = view.viewer.tasks_pane.table
        await view.until(lambda: len(table.items) == 30)
        await view.press("down", "down")
        assert table.selected is not None and table.selected.id == ids[2]
        looked_at.add.delay(100, 0)
        await view.until(lambda: len(table.items) == 31)
        assert table.selected.id == ids[2]
        assert round(table.scroll_y) == 0, "the newest are still to be seen"
        for number in range(40):
            looked_at.add.delay(number, 1)
        await view.until(lambda: len(table.items) == 71)
        assert table.selected.id == ids[2]
        place = table._index - round(table.scroll_y)
        assert 0 <= place < table.size.height - 1, "it is still to be seen"
        await view.press("end")
        assert table.selected.id == ids[-1]
        await view.press("home")
        assert table.selected.id != ids[0] and round(table.scroll_y) == 0
        await view.press("pagedown")
        assert table._index > 10

    drive(app, act)


def test_more_tasks_are_read_when_the_cursor_comes_to_the_end(app: Any) -> None:
    """A hundred at first."""
    for number in range(150):
        looked_at.add.delay(number, 0)

    async def act(view: Driven) -> None:
        await view.press("2")
        table = view.viewer.tasks_pane.table
        await view.shows("newest 100")
        await view.press("end")
        await view.until(lambda: len(table.items) == 150)
        await view.shows("150 tasks")
        await view.press("end")
        assert "(0, 0)" in str(table.selected and table.selected.args)

    drive(app, act)


def test_lines_that_are_the_same_are_not_drawn_again(app: Any) -> None:
    """New data redraw the lines that changed, and no other."""
    for number in range(5):
        looked_at.add.delay(number, 0)

    async def act(view: Driven) -> None:
        await view.press("2")
        table = view.viewer.tasks_pane.table
        await view.until(lambda: len(table.items) == 5)
        await view.pilot.pause()
        drawn: list[Any] = []
        before = table.refresh
        table.refresh = lambda *regions, **more: (drawn.extend(regions or ["all"]), before(*regions, **more))[1]  # type: ignore[method-assign,assignment]
        table.show(tuple(table.items))
        assert drawn == []
        app.control.revoke(table.items[3].id)
        await view.until(lambda: table.items[3].engine_state == "revoked")
        assert {region.y for region in drawn} == {4}, "the heading is line 0"

    drive(app, act)


def test_nothing_is_read_while_nothing_changes(app: Any) -> None:
    """The clock goes on; the file is left alone."""
    looked_at.add.delay(1, 2)

    async def act(view: Driven) -> None:
        await view.shows("○ celery")
        reader = view.viewer.reader
        await view.until(lambda: reader._changes == app.store.changes())
        reads, at = reader.reads, view.viewer.seen.at
        began = time.monotonic()
        await view.until(lambda: view.viewer.seen.at > at + 0.5)
        if time.monotonic() - began < 4:  # a quiet file is read every five seconds all the same
            assert reader.reads <= reads + 4, "each part of the screen once"
        looked_at.add.delay(1, 2)
        await view.until(lambda: reader.reads > reads)

    drive(app, act)


# The page of a task


def test_the_page_shows_arguments_error_and_traceback(app: Any, ended: Any) -> None:
    """Enter opens it, escape goes back to the same row."""
    ended(looked_at.boom.delay("luck"))
    looked_at.add.delay(1, 2)

    async def act(view: Driven) -> None:
        await view.press("2")
        table = view.viewer.tasks_pane.table
        await view.until(lambda: len(table.items) == 2)
        await view.press("down", "enter")
        await view.shows(f"{NAME}boom", "failed", "Arguments", "'luck'", "ValueError: no luck", "Traceback")
        await view.press("end")
        await view.shows('raise ValueError(f"no {word}")')
        await view.press("escape")
        await view.until(lambda: not isinstance(view.viewer.screen, PageScreen))
        assert table.selected is not None and table.selected.name == f"{NAME}boom"
        assert table.has_focus

    drive(app, act)


def test_the_page_says_why_a_task_does_not_run(app: Any) -> None:
    """As `inspect explain` does."""
    looked_at.add.delay(1, 2)
    app.control.pause("celery")

    async def act(view: Driven) -> None:
        await view.filter("state:ready")
        await view.until(lambda: view.viewer.tasks_pane.table.items)
        await view.press("enter")
        await view.shows("Why it does not run", "its queue celery", "paused", "litequeue resume celery")

    drive(app, act)


def test_the_page_of_what_runs_has_its_progress_and_its_log(app: Any, worker: Any, held: Any) -> None:
    """A bar, the message, the lines."""
    held(looked_at.tell)

    async def act(view: Driven) -> None:
        await view.filter("state:running")
        await view.until(lambda: view.viewer.tasks_pane.table.items)
        await view.press("enter")
        await view.shows("Progress", "50 %", "1 of 2", "half", "runs for", "Log", "half of it")

    drive(app, act, WIDE)


def test_the_canvas_leads_to_the_pages_of_its_tasks(app: Any, ended: Any) -> None:
    """Arrows select a task of the drawing, enter opens it, escape comes back."""
    result = chord([looked_at.add.s(1, 1), looked_at.add.s(2, 2)], looked_at.total.s()).delay()
    ended(result)

    async def act(view: Driven) -> None:
        await view.filter("name:*total")
        await view.until(lambda: view.viewer.tasks_pane.table.items)
        await view.press("enter")
        await view.shows("Canvas", "group of 2", "◂ this task")
        page = view.viewer.screen
        assert isinstance(page, PageScreen)
        await view.press("right")
        await view.until(lambda: page.side.has_focus)
        await view.press("down", "enter")
        await view.until(lambda: view.viewer.screen is not page)
        await view.shows(f"{NAME}add", "Result", "◂ this task")
        await view.press("escape", "escape")
        await view.until(lambda: not isinstance(view.viewer.screen, PageScreen))

    drive(app, act, WIDE)


def test_the_page_of_a_task_that_was_deleted_meanwhile(app: Any, ended: Any) -> None:
    """A sentence."""
    result = looked_at.boom.delay()
    ended(result)

    async def act(view: Driven) -> None:
        await view.filter("state:failed")
        await view.until(lambda: view.viewer.tasks_pane.table.items)
        await view.press("enter")
        await view.shows("Traceback")
        app.control.discard(result.id)
        await view.shows("does not have this task any more")

    drive(app, act)


# Steering


def test_r_runs_a_dead_letter_again(app: Any, ended: Any) -> None:
    """It is ready at once; what did not fail is refused with a sentence."""
    result = looked_at.boom.delay()
    ended(result)

    async def act(view: Driven) -> None:
        await view.press("2")
        table = view.viewer.tasks_pane.table
        await view.until(lambda: table.items)
        await view.press("r")
        await view.until(lambda: app.store.task(result.id).state == "ready")
        await view.until(lambda: table.items[0].engine_state == "ready")
        await view.until(lambda: f"{NAME}boom runs again" in view.said())
        await view.press("r")
        await view.until(lambda: any("only what failed or was revoked" in text for text in view.said()))

    drive(app, act)


def test_x_revokes_after_a_question(app: Any) -> None:
    """Escape leaves the task as it is, `y` revokes it, here and on its page."""
    result = looked_at.add.delay(1, 2)

    async def act(view: Driven) -> None:
        await view.press("2")
        await view.until(lambda: view.viewer.tasks_pane.table.items)
        await view.press("x")
        await view.until(lambda: isinstance(view.viewer.screen, Question))
        assert "Revoke this task?" in view.text and "terminate" not in view.text
        await view.press("escape")
        await view.until(lambda: not isinstance(view.viewer.screen, Question))
        assert result.state == "PENDING"
        await view.press("enter")
        await view.shows("Arguments")
        await view.press("x")
        await view.until(lambda: isinstance(view.viewer.screen, Question))
        await view.press("y")
        await view.until(lambda: result.state == "REVOKED")
        await view.until(lambda: f"{NAME}add is revoked" in view.said())
        await view.shows("revoked")
        await view.press("x")
        await view.until(lambda: f"{NAME}add has ended already" in view.said())

    drive(app, act)


def test_what_runs_may_be_terminated(app: Any, worker: Any, held: Any) -> None:
    """From the overview too, where the cursor is on a slot."""
    result = held()

    async def act(view: Driven) -> None:
        await view.shows(f"{NAME}hold(")
        view.viewer.panes[0].nodes.focus()
        await view.press("down")
        await view.until(lambda: "x revoke" in view.lines[-1])
        await view.press("x")
        await view.shows("terminate: its process is killed now")
        await view.press("t")
        await view.until(lambda: result.state == "REVOKED")

    drive(app, act)


def test_p_pauses_and_resumes_the_queue(app: Any) -> None:
    """The one under the cursor; the list shows it."""
    looked_at.add.delay(1, 2)

    async def act(view: Driven) -> None:
        await view.shows("○ celery")
        await view.press("p")
        await view.shows("‖ celery paused", "p resume")
        assert list(app.control.paused()["queues"]) == ["celery"]
        await view.press("p")
        await view.shows("○ celery no worker", "p pause")
        assert app.control.paused()["queues"] == {}

    drive(app, act)


def test_p_on_a_task_pauses_its_name(app: Any) -> None:
    """And resumes it."""
    looked_at.add.delay(1, 2)

    async def act(view: Driven) -> None:
        await view.press("2")
        await view.shows("looked_at.add")
        await view.press("p")
        await view.until(lambda: list(app.control.paused()["tasks"]) == [f"{NAME}add"])
        await view.shows("p resume its name")
        await view.press("p")
        await view.until(lambda: not app.control.paused()["tasks"])

    drive(app, act)


def test_e_disables_an_entry_after_a_question(app: Any) -> None:
    """And enables it."""
    app.schedules.add("often", f"{NAME}add", 600.0, (1, 2))

    async def act(view: Driven) -> None:
        await view.press("3")
        await view.shows("often", "on")
        await view.press("e")
        await view.shows("Disable this entry?")
        await view.press("escape")
        await view.until(lambda: not isinstance(view.viewer.screen, Question))
        assert app.schedules.get("often").enabled
        await view.press("e", "y")
        await view.until(lambda: not app.schedules.get("often").enabled)
        await view.shows("e enable")
        await view.press("e", "y")
        await view.until(lambda: app.schedules.get("often").enabled)
        await view.press("enter")
        await view.shows(f"/ name:{NAME}add")

    drive(app, act)


def test_enter_on_a_queue_shows_its_tasks(app: Any) -> None:
    """As a filter that can be changed."""
    looked_at.add.delay(1, 2)
    looked_at.add.apply_async((3, 4), queue="mail")

    async def act(view: Driven) -> None:
        await view.shows("○ mail")
        await view.press("down", "enter")
        await view.shows("/ queue:mail", "1 task", "3, 4")

    drive(app, act)


# The file


def test_a_file_that_is_replaced_is_a_line_and_then_read(app: Any, tmp_path: Path) -> None:
    """No crash; what is at the path by then is shown."""
    looked_at.add.delay(1, 2)
    path = Path(app.store.path)

    async def act(view: Driven) -> None:
        await view.shows("○ celery")
        away = tmp_path / "away"
        away.mkdir()
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            if (path.parent / name).exists():
                shutil.copy(path.parent / name, away / name)
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            (path.parent / name).unlink(missing_ok=True)
        await view.until(lambda: view.viewer.seen.problem)
        await view.shows("✕", "○ celery")
        for name in os.listdir(away):
            shutil.move(away / name, path.parent / name)
        await view.until(lambda: view.viewer.seen.problem is None)
        await view.until(lambda: "✕" not in view.text)

    drive(app, act)


def test_texts_of_tasks_cannot_steer_the_terminal(app: Any) -> None:
    """Control characters in names and arguments are shown as something else."""
    app.send_task("evil\x1b[2J\nname", ("\x1b]0;title\x07",), queue="q\x1b[31m")

    async def overview(view: Driven) -> None:
        await view.shows("○ q")
        assert "\x1b" not in view.text

    drive(app, overview)

    async def tasks(view: Driven) -> None:
        await view.press("2")
        await view.shows("evil")
        assert "\x1b" not in view.text
        await view.press("enter")
        await view.shows("Arguments")
        assert "\x1b" not in view.text and "\x07" not in view.text

    drive(app, tasks)


# Its end


def test_q_ends_with_0_and_ctrl_c_with_130(app: Any) -> None:
    """And `t` changes the colours."""

    async def leave(view: Driven) -> None:
        before = view.viewer.theme
        await view.press("t")
        assert view.viewer.theme != before
        await view.press("q")

    async def interrupt(view: Driven) -> None:
        await view.press("ctrl+c")

    assert drive(app, leave).return_value == 0
    assert drive(app, interrupt).return_value == INTERRUPTED


def test_without_colour_nothing_is_coloured(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`NO_COLOR`, and `-C`."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(view: Driven) -> None:
        await view.shows("Queues")
        assert view.viewer.theme == "litequeue-terminal"
        assert view.viewer.no_color

    drive(app, act)
    monkeypatch.delenv("NO_COLOR", raising=False)
    drive(app, act, color=False)
