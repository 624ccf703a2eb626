"""Sending one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litequeue import signals
from litequeue.app.current import get_current_worker_task
from litequeue.calling.announcing import announce_published
from litequeue.calling.message import build
from litequeue.calling.options import CANVAS

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.async_result import AsyncResult
    from litequeue.task import Task


def send(
    app: LiteQueue, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Task | None
) -> AsyncResult:
    """Enqueue a call, whose options are complete; its result, or that of the task that holds its unique key."""
    if any(map(options.get, CANVAS)):
        from litequeue.calling.canvas import send_call

        return send_call(app, name, args, kwargs, options, task)
    built = build(app, name, args, kwargs, options, task)
    new = built.new
    holder = app.store.enqueue((new,), built.durability).get(new.id)
    if signals.after_task_publish.receivers and holder is None:
        announce_published(new, args, kwargs)
    task_id = holder or new.id
    result: AsyncResult = app.AsyncResult(task_id) if task is None else task.AsyncResult(task_id)
    if holder is not None:
        result.existed = True
    if built.ignored:
        result.ignored = True
    if new.parent_id is not None and options.get("add_to_parent", True):
        caller = get_current_worker_task()
        if caller is not None:
            caller.add_trail(result)
    return result
