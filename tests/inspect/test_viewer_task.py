"""The live view: the page of a task, and the keys that change something."""

from __future__ import annotations

from typing import Any

import pytest

from litequeue import chord
from tests.inspect import looked_at
from tests.inspect.conftest import NAME

pytest.importorskip("textual")

from litequeue.inspect.viewer.dialogs import Question
from litequeue.inspect.viewer.task_page import PageScreen
from tests.inspect.driven import WIDE, Driven, drive

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
