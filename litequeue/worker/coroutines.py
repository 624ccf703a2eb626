"""Raising an exception inside a coroutine where it waits.

asyncio has one interruption, CancelledError, and all that is built on it cleans up when it meets that one: task groups
end their tasks, clients give their connections back. So what is raised in the coroutine is the exception that is wanted
and a CancelledError at once; when it leaves the coroutine, it is the wanted one alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from litequeue.exceptions import WorkerTerminate


class Interruptible:
    """One coroutine, awaited by an asyncio task of its own. Everything here is called on its event loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._wanted: BaseException | None = None
        self._raised: BaseException | None = None
        self._cancels = 0
        self._abandoned = False

    def interrupt(self, error: BaseException) -> bool:
        """Raise `error` where the coroutine waits, once the loop goes on; False: it does not run."""
        if self._task is None:
            return False
        self._wanted = error
        self._cancels += 1
        self._task.cancel()
        return True

    def abandon(self) -> None:
        """Cancel the coroutine, because the worker ends; if that ends it, it ends with WorkerTerminate."""
        self._abandoned = True
        if self._task is not None:
            self._task.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        try:
            return (yield from self._drive())
        except asyncio.CancelledError as error:
            if self._abandoned:
                raise WorkerTerminate(1) from None
            if error is self._raised and self._wanted is not None:
                raise self._wanted.with_traceback(error.__traceback__) from None
            raise
        finally:
            self._forget_cancels()
            self._task = None

    def _drive(self) -> Generator[Any, Any, Any]:
        """`yield from` the coroutine, but for what is thrown into it."""
        coroutine = self._coroutine
        thrown: BaseException | None = None
        while True:
            try:
                if thrown is None:
                    waiting_for = coroutine.send(None)
                else:
                    error, thrown = thrown, None
                    try:
                        waiting_for = coroutine.throw(error)
                    finally:
                        del error
            except StopIteration as stop:
                return stop.value
            try:
                yield waiting_for
            except BaseException as error:
                thrown = error
            if self._cancels:  # also where what it waited for took no notice of being cancelled
                self._forget_cancels()
                assert self._wanted is not None, "interrupt sets both"
                thrown = self._raised = _as_cancellation(self._wanted)

    def _forget_cancels(self) -> None:
        """Take our own cancellations back: `asyncio.timeout` and task groups count them."""
        assert self._task is not None, "it runs"
        for _ in range(self._cancels):
            self._task.uncancel()
        self._cancels = 0


class _Interruption(asyncio.CancelledError):
    """What is raised inside a coroutine."""


def _as_cancellation(error: BaseException) -> BaseException:
    """`error`, as a CancelledError too."""
    kind = _cancelling(type(error))
    made = kind.__new__(kind, *error.args)
    made.__dict__.update(error.__dict__)
    return made


_kinds: dict[type[BaseException], type[BaseException]] = {}


def _cancelling(kind: type[BaseException]) -> type[BaseException]:
    """A class that is `kind` and a CancelledError, and looks like `kind` where it is shown or written down."""
    made = _kinds.get(kind)
    if made is None:
        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        made = _kinds[kind] = type(kind.__name__, (kind, _Interruption), names)
    return made
