"""What the keys do to the queue: each a call of `app.control`, and a sentence of what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from litequeue.core import state
from litequeue.exceptions import LiteQueueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from litequeue.app.base import LiteQueue


class Outcome(NamedTuple):
    """What became of it."""

    text: str
    done: bool = True


def attempt(act: Callable[[], Outcome]) -> Outcome:
    """Do it; what goes wrong is an outcome too."""
    try:
        return act()
    except (LiteQueueError, OSError, ValueError, TypeError) as error:
        return Outcome(" ".join(str(error).split()) or type(error).__name__, done=False)


def retry(app: LiteQueue, task_id: str, name: str) -> Outcome:
    """Run a task again that failed or was revoked."""
    revived = app.control.retry(task_id)
    if task_id in revived.ready:
        return Outcome(f"{name} runs again")
    return Outcome(revived.refused.get(task_id, f"{name} cannot be run again"), done=False)


def revoke(app: LiteQueue, task_id: str, name: str, terminate: bool) -> Outcome:
    """Revoke a task; with `terminate`, end it where it runs."""
    before = app.store.states([task_id]).get(task_id)
    if before is None or before in state.TERMINAL:
        return Outcome(f"{name} has ended already", done=False)
    app.control.revoke(task_id, terminate=terminate)
    after = app.store.states([task_id]).get(task_id)
    if after == state.RUNNING:
        return Outcome(f"{name} is being ended" if terminate else f"{name} was told to stop; it is not run again")
    return Outcome(f"{name} is revoked") if after == state.REVOKED else Outcome(f"{name} has ended already", done=False)


def pause(app: LiteQueue, kind: str, name: str, on: bool) -> Outcome:
    """Pause, or resume, a queue or the tasks of a name."""
    queues, tasks = ((name,), ()) if kind == "queue" else ((), (name,))
    what = f"queue {name}" if kind == "queue" else f"tasks {name}"
    if on:
        changed = app.control.pause(queues, tasks)
        return Outcome(f"{what}: paused; what runs is finished" if changed else f"{what}: was paused already")
    changed = app.control.resume(queues, tasks)
    return Outcome(f"{what}: resumed" if changed else f"{what}: was not paused")


def toggle(app: LiteQueue, entry: str, on: bool) -> Outcome:
    """Enable, or disable, an entry of the schedule."""
    if on:
        app.schedules.enable(entry)
        return Outcome(f"{entry} is enabled")
    app.schedules.disable(entry)
    return Outcome(f"{entry} is disabled, until it is enabled")
