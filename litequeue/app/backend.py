"""`app.backend`: results by task id, for code that was written against Celery's result backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litequeue import states

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.group_result import GroupResult


class Backend:
    """Reads the queue's own file; there is no other place where results could be."""

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES
    supports_native_join = True

    def __init__(self, app: LiteQueue) -> None:
        self.app = app

    def as_uri(self, include_password: bool = True) -> str:
        """The file as a URL."""
        path = self.app.store.path
        return "sqlite://" if path == ":memory:" else f"sqlite:///{path}"

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """Everything that is known of a task."""
        return self.app.AsyncResult(task_id)._get_task_meta()

    def get_state(self, task_id: str) -> str:
        """The task's state."""
        return self.app.AsyncResult(task_id).state

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        """The task's result, or its exception."""
        return self.app.AsyncResult(task_id).result

    def get_traceback(self, task_id: str) -> str | None:
        """The traceback of a failed task."""
        return self.app.AsyncResult(task_id).traceback

    def get_children(self, task_id: str) -> Any:
        """The results of the tasks that it called."""
        return self.app.AsyncResult(task_id).children

    def task_result_exists(self, task_id: str) -> bool:
        """Whether the file has the task."""
        return self.app.AsyncResult(task_id).exists()

    def forget(self, task_id: str) -> None:
        """Delete what is kept of the task, once it has ended."""
        self.app.AsyncResult(task_id).forget()

    def save_group(self, group_id: str, result: GroupResult) -> None:
        """Make sure that `restore_group` finds the group."""
        result.save()

    def restore_group(self, group_id: str, cache: bool = True) -> GroupResult | None:
        """The group as the file has it; None when it has none."""
        return self.app.GroupResult.restore(group_id)

    def delete_group(self, group_id: str) -> None:
        """Delete what `save_group` wrote."""
        self.app.GroupResult(group_id).delete()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.as_uri()}>"
