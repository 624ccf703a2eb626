"""Who is told before a thread does what must not be interrupted, of whichever file (`contract.Guard`)."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Final

from litequeue.store.contract import Guard

guards: Final[dict[int, Guard]] = {}
"""By thread."""


def guard_of_thread() -> Guard | None:
    """The guard of this thread; None: nobody interrupts it."""
    return guards.get(threading.get_ident()) if guards else None


class GuardedCondition(threading.Condition):
    """A condition whose lock no interrupt leaves behind: its own `with` takes that in a function of Python."""

    def __enter__(self) -> bool:
        guard = guard_of_thread()
        if guard is not None:
            guard.enter()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        guard = guard_of_thread()
        if guard is not None:
            guard.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=guards.clear)  # nobody interrupts the thread that is left
