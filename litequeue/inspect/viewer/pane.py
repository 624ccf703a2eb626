"""What every screen of the viewer is: it asks for data, shows them, and says which keys do something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from litequeue.inspect.viewer.data import Request, Seen
from litequeue.inspect.viewer.frame import Hint

if TYPE_CHECKING:
    from litequeue.inspect.views import TaskView


@dataclass(frozen=True)
class Target:
    """What a key is about: what stands under the cursor."""

    task: TaskView | None = None
    queue: str | None = None
    """The queue that `p` pauses."""
    name: str | None = None
    """The task name that `p` pauses where there is no queue."""


class Shows(Protocol):
    """A pane, or the page of a task."""

    def request(self) -> Request:
        """What is to be read for it."""

    def show(self, seen: Seen) -> None:
        """Show what was read."""

    def hints(self) -> Sequence[Hint]:
        """The keys that do something here, beside those that do everywhere."""

    def target(self) -> Target:
        """What a key is about."""


def task_hints(task: TaskView | None) -> list[Hint]:
    """The keys for a task under the cursor."""
    if task is None:
        return []
    hints = [Hint("enter", "open", 2)]
    if task.engine_state in ("failed", "revoked"):
        hints.append(Hint("r", "retry"))
    if task.engine_state in ("waiting", "scheduled", "ready", "running"):
        hints.append(Hint("x", "revoke"))
    return hints
