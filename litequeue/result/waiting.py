"""One thread of an app that watches for every result somebody wants to be told of.

`then` and `await` hand their results over here; the thread starts with the first and ends a moment
after the last, so that a program with a thousand results pending has one thread for them, and one with none has none.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from litequeue.core.state import TERMINAL

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.tree import ResultBase

Ended = Callable[[Any], object]

LONGEST_WAIT = 0.5
"""Seconds between two looks where no change is noticed."""


class Watcher:
    """Calls back when tasks, or groups of them, have ended."""

    def __init__(self, app: LiteQueue) -> None:
        self._app = app
        self.forget()
        _watchers.add(self)

    def forget(self) -> None:
        """Start afresh, without a thread: what a forked child does with its parent's watcher."""
        self._lock = threading.Lock()
        self._pending: dict[str, list[tuple[ResultBase, Ended]]] = {}
        self._others: list[tuple[ResultBase, Ended, Callable[[], bool]]] = []
        self._thread: threading.Thread | None = None

    def watch(self, result: ResultBase, ended: Ended, test: Callable[[], bool] | None = None) -> None:
        """Call `ended(result)` once `test()` is true, None: once the task has ended; now, or from the watching thread.

        Of tasks many are asked for in one statement; `test` is called at each look.
        """
        if result.ready() if test is None else test():
            ended(result)
            return
        # Registered before the thread looks again: a task that ends in between is found by that look.
        with self._lock:
            if test is None:
                self._pending.setdefault(str(result.id), []).append((result, ended))
            else:
                self._others.append((result, ended, test))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="litequeue-results", daemon=True)
                self._thread.start()

    def unwatch(self, result: ResultBase, ended: Ended) -> None:
        """Do not call `ended` any more."""
        with self._lock:
            self._others = [entry for entry in self._others if entry[1] is not ended]
            waiting = [entry for entry in self._pending.get(str(result.id), ()) if entry[1] is not ended]
            if waiting:
                self._pending[str(result.id)] = waiting
            else:
                self._pending.pop(str(result.id), None)

    def _run(self) -> None:
        from litequeue.utils.log import get_logger

        logger = get_logger(__name__)
        while True:
            try:
                store = self._app.store
                seen = store.changes()
                self._look()
                with self._lock:
                    if not self._pending and not self._others:
                        self._thread = None
                        return
                store.wait_for_change(seen, LONGEST_WAIT)
            except Exception:
                logger.exception("the file cannot be read; results are looked for again in %g s", LONGEST_WAIT)
                threading.Event().wait(LONGEST_WAIT)

    def _look(self) -> None:
        """Read the states of all that is watched, and call back for what has ended."""
        with self._lock:
            ids, others = list(self._pending), list(self._others)
        for task_id, state in self._app.store.states(ids).items():
            if state not in TERMINAL:
                continue
            with self._lock:
                entries = self._pending.pop(task_id, [])
            for result, ended in entries:
                _call(ended, result)
        for entry in others:
            if not entry[2]():
                continue
            with self._lock:
                if entry not in self._others:
                    continue
                self._others.remove(entry)
            _call(entry[1], entry[0])


def _call(ended: Ended, result: ResultBase) -> None:
    try:
        ended(result)
    except Exception:
        from litequeue.utils.log import get_logger

        get_logger(__name__).exception("a callback of then() raised, for %s", result.id)


async def wait_for(result: ResultBase, timeout: float | None, test: Callable[[], bool] | None = None) -> bool:
    """Let the event loop go on until `result` has ended, or `test()` is true; False: not within `timeout` seconds."""
    import asyncio

    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def ended(_result: ResultBase) -> None:
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the loop was closed before the task ended: nobody waits any more
            pass

    watcher = result.app.watcher
    watcher.watch(result, ended, test)
    try:
        async with asyncio.timeout(timeout):
            await done
    except TimeoutError:
        return False
    finally:
        watcher.unwatch(result, ended)
    return True


_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _forget_all() -> None:
    for watcher in list(_watchers):
        watcher.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
