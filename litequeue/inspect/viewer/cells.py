"""Cells that several lists have: the state of a task, what there is to say of it, how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litequeue import states
from litequeue.core import state
from litequeue.inspect.viewer import figures
from litequeue.inspect.viewer.lines import Line, bar, line, one_line
from litequeue.inspect.viewer.look import BAD, MUTED, RUNNING, STATE_TONES, TEXT, WARN
from litequeue.result.progress import PROGRESS

if TYPE_CHECKING:
    from litequeue.inspect.views import TaskView
    from litequeue.result.progress import Progress

BAR: Final = 10
"""Cells of a bar in a list."""


def short_id(task_id: str) -> str:
    """The end of an id: the beginning is the time, and nearly the same for many."""
    return task_id if len(task_id) <= 8 else f"…{task_id[-7:]}"


def number(value: int, tone: str = TEXT) -> Line:
    """A count; 0 stands back."""
    return ((figures.count(value), tone if value else MUTED),)


def state_word(task: TaskView) -> tuple[str, str]:
    """The state as a word, and its tone; a state that the task has set itself is shown as it is."""
    tone = STATE_TONES.get(task.engine_state, TEXT)
    if task.state == states.RETRY:
        return "retry", WARN
    if task.engine_state not in state.TERMINAL and task.state not in (states.PENDING, states.STARTED, PROGRESS):
        return one_line(task.state), tone
    return task.engine_state, tone


def runtime(task: TaskView, now: float) -> float | None:
    """Seconds that it has run by now, or ran the last time."""
    if task.engine_state == state.RUNNING and task.started_at is not None:
        return max(now - task.started_at, 0.0)
    return task.runtime


def progress_bar(progress: Progress | None, width: int = BAR) -> Line:
    """A bar with percent; where the whole is not known, what is done."""
    if progress is None:
        return ()
    if progress.fraction is None:
        return ((f"{progress.done:g} done", RUNNING),)
    return (*bar(progress.fraction, width, RUNNING), (f"{progress.fraction * 100:4.0f} %", RUNNING))


def message(progress: Progress | None) -> Line:
    """What the task says beside its bar."""
    return () if progress is None or not progress.message else ((one_line(progress.message), MUTED),)


def arguments(task: TaskView) -> str:
    """The arguments as in a call, without the parentheses."""
    return one_line(task.call[len(task.name) + 1 : -1])


def detail(task: TaskView, now: float) -> Line:
    """What there is to say of a task in a list: how it failed, how far it is, when it starts, its arguments."""
    if task.engine_state == state.RUNNING and task.progress is not None:
        said = message(task.progress)
        return (*progress_bar(task.progress), ("  ", TEXT), *said)
    if task.error:
        return line((one_line(task.error), BAD if task.engine_state == state.FAILED else MUTED))
    given = arguments(task)
    if task.engine_state == state.SCHEDULED and task.run_at is not None:
        return line((figures.ago(task.run_at, now), TEXT), (f"  {given}", MUTED))
    return line((given, MUTED))
