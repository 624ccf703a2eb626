"""The live view: each screen and key, over real files, in Textual's own headless terminal."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.inspect import looked_at
from tests.inspect.conftest import NAME, NODE

pytest.importorskip("textual")

from litequeue.inspect.viewer.application import INTERRUPTED
from litequeue.inspect.viewer.dialogs import Help
from litequeue.inspect.viewer.look import PALETTES
from litequeue.inspect.viewer.task_page import PageScreen
from tests.inspect.driven import NARROW, WIDE, Driven, drive

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
