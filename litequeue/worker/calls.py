"""What other threads ask of a worker, done by the thread of its loop, which alone touches the pool."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final, TypeVar

from litequeue import exceptions

T = TypeVar("T")

_LOOK: Final = 0.25  # seconds between looks whether the worker still runs
_SOLO_PATIENCE: Final = 0.5  # seconds until a solo worker counts as being inside a task


class Calls:
    """Functions that wait for the loop."""

    def __init__(self, node: str, wake: Callable[[], None]) -> None:
        self._node = node
        self._wake = wake
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._loop: int | None = None
        self._closed = False

    def open(self) -> None:
        """This thread is the loop's."""
        self._loop = threading.get_ident()

    def call(self, function: Callable[[], T], solo: bool = False) -> T:
        """Have the loop run `function`; returns what it returns, and raises what it raises.

        OperationalError: the worker does not run, or, with `solo`, its loop is inside a task.
        """
        if threading.get_ident() == self._loop:
            return function()
        future: Future[T] = Future()
        self._waiting.append((function, future))
        self._wake()
        while True:
            if self._closed or self._loop is None:
                self._give_up(f"worker {self._node} does not run")
            try:
                return future.result(_SOLO_PATIENCE if solo else _LOOK)
            except CancelledError:
                raise exceptions.OperationalError(f"worker {self._node} has stopped") from None
            except NotYet:
                if future.done():  # it was the function that raised this
                    raise
                if solo and future.cancel():
                    raise exceptions.OperationalError(
                        f"worker {self._node} is inside a task, which its pool solo runs in the worker's own thread;"
                        " ask again when that has ended"
                    ) from None

    def _give_up(self, reason: str) -> None:
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        raise exceptions.OperationalError(reason)

    def run(self) -> None:
        """Run what waits; only the loop does."""
        while self._waiting:
            function, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except Exception as error:
                    future.set_exception(error)

    def close(self) -> None:
        """Nothing is run any more: whoever waits is told."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft()[1].cancel()
