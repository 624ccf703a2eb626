"""The tasks that every app has: what a canvas calls that is not a task of the program."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from litequeue.app import declaring

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.task import Task

PREFIX = "litequeue."
BUILTIN = (PREFIX, "celery.")
"""How the names of tasks begin that are no program's own."""


def add_builtins(app: LiteQueue) -> None:
    """Add them to `app`, unless it has tasks of these names."""
    for name, (fun, bind) in _BUILTINS.items():
        declaring.task_from_function(app, fun, {"name": PREFIX + name, "bind": bind, "typing": False}, warn=False)


def _map(self: Task, task: Any, it: Any) -> Any:
    """`[task(item) for item in it]`."""
    call = self.app.tasks[task["task"]]
    return _values([call(item) for item in it])


def _starmap(self: Task, task: Any, it: Any) -> Any:
    """`[task(*item) for item in it]`."""
    call = self.app.tasks[task["task"]]
    return _values([call(*item) for item in it])


def _values(found: list[Any]) -> Any:
    """What the calls returned; of coroutines, one that waits for each in turn."""
    return _awaited(found) if any(value.__class__ is CoroutineType for value in found) else found


async def _awaited(coroutines: list[Any]) -> list[Any]:
    return [await coroutine for coroutine in coroutines]


def _accumulate(*args: Any, index: int | None = None) -> Any:
    """One of its arguments, or all of them: what a task that is replaced by a group ends with."""
    return args if index is None else args[index]


def _start(self: Task, *args: Any, signature: Any) -> Any:
    """Become a canvas, called with these arguments."""
    from litequeue.canvas.signature import signature as signature_of

    whole = signature_of(signature, app=self.app)
    raise self.replace(whole.clone(args) if args else whole)


def _start_as(kind: str) -> Callable[..., Any]:
    """A task of Celery's name for a composed signature, as a payload that was written elsewhere may call it."""

    def start(self: Task, *args: Any, **kwargs: Any) -> Any:
        parts = {"task": PREFIX + kind, "args": (), "kwargs": kwargs, "options": {}, "subtask_type": kind}
        return _start(self, *args, signature={**parts, "immutable": False})

    start.__name__ = kind
    return start


def _backend_cleanup(self: Task) -> int:
    """Delete what is past its retention, and give the room back to the disk."""
    from litequeue.app.schedules import clean_up

    return clean_up(self.app)


_BUILTINS: dict[str, tuple[Callable[..., Any], bool]] = {
    "accumulate": (_accumulate, False),
    "backend_cleanup": (_backend_cleanup, True),
    "chain": (_start_as("chain"), True),
    "chord": (_start_as("chord"), True),
    "chunks": (_start_as("chunks"), True),
    "group": (_start_as("group"), True),
    "map": (_map, True),
    "starmap": (_starmap, True),
    "start": (_start, True),
}
