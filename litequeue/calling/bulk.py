"""Enqueueing many calls at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from litequeue.app.current import get_current_worker_task
from litequeue.calling.canvas import announce_all
from litequeue.canvas.places import now
from litequeue.canvas.plan import Planner
from litequeue.canvas.signature import Signature
from litequeue.core.context import current_tasks

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue


def enqueue_many(
    app: LiteQueue, signatures: Iterable[Signature | Mapping[str, Any]], durability: str | None = None
) -> list[Any]:
    """Write every call in one transaction, all or none; returns their results in order.

    The calls may be chains, groups and chords. With `task_always_eager` each is run in place instead, one after the
    other.
    """
    if app.conf.task_always_eager:
        return [_as_signature(given).clone().apply_async() for given in signatures]
    planner = Planner(app, strict=False)
    spot = now(app, {})
    results = []
    for given in signatures:
        tail = planner.plan(given if type(given) is Signature else _as_signature(given), spot)
        results.append(None if tail is None else tail.result)
    if len(planner.rows):
        app.store.enqueue_canvas(planner.canvas(), durability)
        announce_all(planner)
    caller = get_current_worker_task() if current_tasks.get() else None
    if caller is not None:
        for result in results:
            caller.add_trail(result)
    return results


def _as_signature(given: Any) -> Signature:
    if isinstance(given, Signature):
        return given
    if isinstance(given, Mapping):
        return Signature.from_dict(dict(given))
    raise TypeError(f"enqueue_many takes signatures, as task.s(...) makes them, not {given!r}")
