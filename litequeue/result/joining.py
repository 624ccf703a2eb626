"""The guard against waiting for a task inside a task, where the waiting one holds a slot that the other may need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from litequeue.core.context import current_tasks

WOULD_BLOCK = (
    "Never call result.get() within a task! It would hold this slot while it waits for another. Chain the tasks "
    "instead, or, where enough slots are sure to be free, call get(disable_sync_subtasks=False)."
)

_told: ContextVar[bool | None] = ContextVar("litequeue_join_will_block", default=None)


def task_join_will_block() -> bool:
    """Whether waiting for a result here would hold a worker's slot."""
    told = _told.get()
    if told is not None:
        return told
    return any(not task.request.called_directly and not task.request.is_eager for task in current_tasks.get())


def assert_will_not_block(finished_at: Callable[[], float | None] | None = None) -> None:
    """RuntimeError inside a task that a worker runs, unless `allow_join_result()` allows to wait.

    Nor does it wait for what had ended before the running task began: an error callback reads the task that failed.
    `finished_at()` says when the awaited task ended, in Unix seconds.
    """
    if (current_tasks.get() or _told.get()) and task_join_will_block():
        ended = finished_at() if finished_at is not None and _told.get() is None else None
        if ended is None or any(ended > task.request.get("began", 0.0) for task in current_tasks.get()):
            raise RuntimeError(WOULD_BLOCK)


@contextmanager
def _joining(blocks: bool) -> Iterator[None]:
    token = _told.set(blocks)
    try:
        yield
    finally:
        _told.reset(token)


def allow_join_result() -> AbstractContextManager[None]:
    """A context in which a task may wait for results."""
    return _joining(False)


def denied_join_result() -> AbstractContextManager[None]:
    """A context in which waiting for a result is a RuntimeError."""
    return _joining(True)
