"""One thread of an app that watches for every result somebody wants to be told of.

`AsyncResult.then` and `await result` hand their results over here; the thread starts with the first and ends a moment
after the last, so that a program with a thousand results pending has one thread for them, and one with none has none.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from litequeue.core.state import TERMINAL

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.async_result import AsyncResult

Ended = Callable[["AsyncResult"], object]

LONGEST_WAIT = 0.5
"""Seconds between two looks where no change is noticed."""


class Watcher:
    """Calls back when tasks have ended."""

    def __init__(self, app: LiteQueue) -> None:
        self._app = app
        self.forget()
        _watchers.add(self)

    def forget(self) -> None:
        """Start afresh, without a thread: what a forked child does with its parent's watcher."""
        self._lock = threading.Lock()
        self._pending: dict[str, list[tuple[AsyncResult, Ended]]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, result: AsyncResult, ended: Ended) -> None:
        """Call `ended(result)` once the task has ended: now, if it has, else from the watching thread."""
        if result.ready():
            ended(result)
            return
        # Registered before the thread looks again: a task that ends in between is found by that look.
        with self._lock:
            self._pending.setdefault(result.id, []).append((result, ended))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="litequeue-results", daemon=True)
                self._thread.start()

    def unwatch(self, result: AsyncResult, ended: Ended) -> None:
        """Do not call `ended` any more."""
        with self._lock:
            waiting = [entry for entry in self._pending.get(result.id, ()) if entry[1] is not ended]
            if waiting:
                self._pending[result.id] = waiting
            else:
                self._pending.pop(result.id, None)

    def _run(self) -> None:
        from litequeue.utils.log import get_logger

        logger = get_logger(__name__)
        while True:
            try:
                store = self._app.store
                seen = store.changes()
                self._look()
                with self._lock:
                    if not self._pending:
                        self._thread = None
                        return
                store.wait_for_change(seen, LONGEST_WAIT)
            except Exception:
                logger.exception("the file cannot be read; results are looked for again in %g s", LONGEST_WAIT)
                threading.Event().wait(LONGEST_WAIT)

    def _look(self) -> None:
        """Read the states of all that is pending, and call back for what has ended."""
        with self._lock:
            ids = list(self._pending)
        for task_id, state in self._app.store.states(ids).items():
            if state not in TERMINAL:
                continue
            with self._lock:
                entries = self._pending.pop(task_id, [])
            for result, ended in entries:
                _call(ended, result)


def _call(ended: Ended, result: AsyncResult) -> None:
    try:
        ended(result)
    except Exception:
        from litequeue.utils.log import get_logger

        get_logger(__name__).exception("a callback of AsyncResult.then raised, for task %s", result.id)


_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _forget_all() -> None:
    for watcher in list(_watchers):
        watcher.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
