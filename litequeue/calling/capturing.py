"""What a task class that defines `apply_async` itself makes of a call that is a part of a canvas.

It is asked as for any call; but where it hands the call on to the `apply_async` of Task, the call is taken from it: the
canvas is enqueued as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litequeue.result.async_result import AsyncResult
    from litequeue.task import Task

Call = tuple[Any, Any, dict[str, Any]]
"""Arguments, keywords and options."""


class Captured:
    """A call on its way through the `apply_async` of a task class."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.call: Call | None = None

    def wants(self, task: Task) -> bool:
        """Whether a call of `task` is the one, and not another that the class makes beside it."""
        return task is self.task and self.call is None

    def take(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> AsyncResult:
        """Keep the call; what the class gets for it is the result of an id that nobody will use."""
        self.call = args or (), kwargs or {}, {name: value for name, value in options.items() if value is not None}
        return self.task.app.AsyncResult(options.get("task_id") or "captured")


capturing: ContextVar[Captured | None] = ContextVar("litequeue_capturing", default=None)


def captured_call(task: Task, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Call:
    """The call as the `apply_async` of `task` hands it on. RuntimeError: it does not."""
    captured = Captured(task)
    token = capturing.set(captured)
    try:
        task.apply_async(args, kwargs, **options)
    finally:
        capturing.reset(token)
    if captured.call is None:
        raise RuntimeError(
            f"the apply_async of {task.name} did not call that of litequeue.Task, so the task cannot be in a canvas"
        )
    return captured.call
