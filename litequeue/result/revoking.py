"""Revoking, and waiting for what was told to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from litequeue.core.signal_names import signal_name
from litequeue.core.state import RUNNING
from litequeue.result.looking import looks

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

Replies = list[dict[str, dict[str, str]]]
"""What the workers have to say, as Celery's `revoke` returns it: `[{node: {"ok": text}}]`."""


def revoke(
    app: LiteQueue,
    ids: Sequence[str],
    terminate: bool,
    signal: Any,
    wait: bool,
    timeout: float | None,
    watched: Sequence[str] | None = None,
) -> Replies | None:
    """Revoke tasks and groups; with `wait`, what the workers say that were concerned, when they have done it.

    `watched` are the tasks among them to wait for (None: `ids`).
    """
    given = signal_name(signal)
    name = given if terminate else None
    store = app.store
    watched = ids if watched is None else watched
    before = _running(app, watched) if wait else {}
    if ids:
        store.revoke(list(ids), signal=name)
    if not wait:
        return None
    if not terminate:
        return _flagged(app, f"tasks {', '.join(ids)} flagged as revoked")
    seen, left = dict(before), before
    for _ in looks(store, timeout):
        left = _running(app, watched)
        seen.update(left)
        if not left:
            break
    ended: dict[str, list[str]] = {}
    for task_id, node in seen.items():
        if task_id not in left:
            ended.setdefault(node, []).append(task_id)
    return [{node: {"ok": f"terminate: {', '.join(done)}"}} for node, done in ended.items()]


def revoke_stamped(
    app: LiteQueue, headers: Mapping[str, Any], terminate: bool, signal: Any, wait: bool
) -> Replies | None:
    """Revoke what has one of these stamps; with `wait`, a reply for each worker."""
    name = signal_name(signal)
    several = (list, tuple, set, frozenset)
    values = {header: list(value) if isinstance(value, several) else [value] for header, value in headers.items()}
    app.store.revoke_stamped(values, signal=name if terminate else None)
    if not wait:
        return None
    return _flagged(app, f"headers {dict(headers)} flagged as revoked{'' if terminate else ', but not terminated'}")


def _running(app: LiteQueue, ids: Sequence[str]) -> dict[str, str]:
    """The nodes that run tasks of `ids`, by their ids."""
    running = [task_id for task_id, state in app.store.states(ids).items() if state == RUNNING]
    return {task.id: task.worker or "" for task in app.store.tasks(running) if task.state == RUNNING}


def _flagged(app: LiteQueue, text: str) -> Replies:
    """The same reply of every worker: what is in the file all of them see."""
    return [{process.worker: {"ok": text}} for process in app.store.processes() if process.role == "worker"]
