"""Tasks that can be aborted: they are told, and end of their own accord, as Celery's `celery.contrib.abortable` has it.

@app.task(bind=True, base=AbortableTask)
def crunch(self, numbers):
    for number in numbers:
        if self.is_aborted():
            return "stopped"
        ...

crunch.delay(numbers).abort()
"""

from __future__ import annotations

from typing import Any

from litequeue.core.state import TERMINAL
from litequeue.result.async_result import AsyncResult
from litequeue.task import Task

ABORTED = "ABORTED"
"""The state that an aborted task shows until it ends."""


class AbortableAsyncResult(AsyncResult):
    """The result of a task that can be aborted."""

    def abort(self) -> bool:
        """Tell the task to end, whether it runs or has yet to start; its state is ABORTED until it has.

        Returns when that is in the file. When the task ends, and whether, is its own affair. False: it has ended, or
        the file does not have it.
        """
        return bool(self.app.store.cancel(self.id, ABORTED))

    def is_aborted(self) -> bool:
        """Whether the task was told to end (`abort()`, `revoke()`) and has not ended yet."""
        record = self._record()
        return record is not None and record.state not in TERMINAL and record.cancel is not None


class AbortableTask(Task):
    """The base class of tasks that ask `is_aborted()` now and then, and end when it says so."""

    abstract = True

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AbortableAsyncResult:
        """The result of the task `task_id`, which has `abort()`."""
        return AbortableAsyncResult(task_id, app=self.app, **kwargs)

    def is_aborted(self, **kwargs: Any) -> bool:
        """Whether the running task, or the one of `task_id=`, was told to end; reads the file.

        False for a task whose result is no AbortableAsyncResult, and where the task was called as a function or is run
        in place.
        """
        task_id = kwargs.get("task_id")
        if task_id is None or task_id == self.request.id:
            return self.is_cancelled()
        result = self.AsyncResult(task_id)
        return isinstance(result, AbortableAsyncResult) and result.is_aborted()
