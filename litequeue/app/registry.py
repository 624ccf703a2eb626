"""The tasks of an app by name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from litequeue.exceptions import NotRegistered

if TYPE_CHECKING:
    from litequeue.task import Task

MAIN_MODULES = ("__main__", "__mp_main__")
"""The program itself, as it is named in it and in the processes that multiprocessing starts from it."""


class TaskRegistry(dict[str, "Task"]):
    """Task by name; a name that is not there is NotRegistered."""

    NotRegistered = NotRegistered

    def __missing__(self, name: str) -> Task:
        raise self.NotRegistered(name)

    def register(self, task: Any) -> Task:
        """Add a task, or an instance of a task class, under its own name."""
        if isinstance(task, type):
            task = task()
        if not task.name:
            raise ValueError(
                f"{type(task).__qualname__} has no name; set its attribute `name`, or use app.register_task"
            )
        self[task.name] = task
        return task  # type: ignore[no-any-return]

    def unregister(self, name: Any) -> None:
        """Take a task out, given by name or itself. NotRegistered: it is not there."""
        name = getattr(name, "name", name)
        if self.pop(name, None) is None:
            raise self.NotRegistered(name)


def gen_task_name(main: str | None, name: str, module: str | None) -> str:
    """The name of a task declared in `module`: `module.name`.

    In the program's own module it is `main.name` where the app has a `main`, so that a script and the worker that
    imports it agree.
    """
    found = sys.modules.get(module or "__main__")
    module = getattr(found, "__name__", None) or module or "__main__"
    if module in MAIN_MODULES:
        module = main or "__main__"
    return f"{module}.{name}"
