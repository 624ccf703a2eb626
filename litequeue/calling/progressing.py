"""What a running task says of how far it is: `Task.progress`, `Task.track`.

A report is a write, so there are at most some ten a second: what comes sooner is held back, and written by the next
call that comes late enough.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from litequeue.core import clock
from litequeue.exceptions import StoreBusy
from litequeue.result.progress import PROGRESS

if TYPE_CHECKING:
    from litequeue.task import Task

INTERVAL: Final = 0.1
"""Seconds between two reports of one task that are written."""


class Reported:
    """When a running task wrote its last report."""

    __slots__ = ("complete", "next_at")

    def __init__(self) -> None:
        self.next_at = 0.0
        self.complete = False
        """Whether that said that all is done."""


def progress(task: Task, done: Any, total: Any, message: Any) -> None:
    """Show how far the running task is; TypeError, ValueError: `done` or `total` is no number that can be."""
    done = _number("done", done)
    total = None if total is None else _number("total", total)
    request = task.request
    if request.called_directly or request.is_eager:
        return
    reported: Reported = request.__dict__.setdefault("_reported", Reported())
    complete = total is not None and done >= total
    now = clock.monotonic()
    if now < reported.next_at and (reported.complete or not complete):
        return
    meta = {"done": done, "total": total, "message": None if message is None else str(message)}
    with suppress(StoreBusy):  # the next report says more
        task.update_state(state=PROGRESS, meta=meta)
    reported.next_at, reported.complete = clock.monotonic() + INTERVAL, complete


def track(task: Task, iterable: Iterable[Any], total: Any, message: Any) -> Iterator[Any]:
    """The items of `iterable`, each reported as done when the next one is asked for."""
    if total is None:
        with suppress(TypeError):
            total = len(iterable)  # type: ignore[arg-type]  # that is what is tried
    progress(task, 0, total, message)
    return _tracked(task, iterable, total, message)


def _tracked(task: Task, iterable: Iterable[Any], total: Any, message: Any) -> Iterator[Any]:
    for done, item in enumerate(iterable, 1):
        yield item
        progress(task, done, total, message)


def _number(what: str, value: Any) -> int | float:
    """A plain number, zero or more; those of other libraries are taken too."""
    number: int | float
    if isinstance(value, str | bytes):
        raise TypeError(f"progress: {what} must be a number, not {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        try:
            number = float(value)
        except TypeError:
            raise TypeError(f"progress: {what} must be a number, not {value!r}") from None
    if not 0 <= number < math.inf:  # nor NaN
        raise ValueError(f"progress: {what} must be a number, zero or more, not {value!r}")
    return number
