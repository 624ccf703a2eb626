"""The signals around the enqueueing of a call: before_task_publish and after_task_publish."""

from __future__ import annotations

from typing import Any

from litequeue import signals
from litequeue.core import clock
from litequeue.core.records import NewTask


def announce(
    new: NewTask,
    args: Any,
    kwargs: Any,
    headers: dict[str, Any],
    carried: dict[str, Any],
    stamps: dict[str, Any],
) -> dict[str, Any]:
    """Send before_task_publish, and return the caller's headers as the receivers left them."""
    ours = {
        "lang": "py",
        "task": new.name,
        "id": new.id,
        "shadow": carried.get("shadow"),
        "eta": _iso(new.run_at),
        "expires": _iso(new.expires_at),
        "group": new.group_id,
        "group_index": new.group_index,
        "retries": new.retries,
        "timelimit": [new.time_limit, new.soft_time_limit],
        "root_id": new.root_id or new.id,
        "parent_id": new.parent_id,
        "argsrepr": carried.get("argsrepr"),
        "kwargsrepr": carried.get("kwargsrepr"),
        "origin": new.origin,
        "ignore_result": bool(new.ignore_result),
        "replaced_task_nesting": carried.get("replaced_task_nesting", 0),
        "stamped_headers": list(stamps) or None,
        "stamps": stamps,
    }
    shown = {**ours, **headers}
    signals.before_task_publish.send(
        sender=new.name,
        body=(args, kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}),
        exchange="",
        routing_key=new.queue,
        headers=shown,
        properties={"correlation_id": new.id, "priority": new.priority, **carried.get("properties", {})},
        declare=[],
        retry_policy=None,
    )
    return {name: value for name, value in shown.items() if name in headers or name not in ours}


def announce_published(new: NewTask, args: Any, kwargs: Any) -> None:
    """Send after_task_publish."""
    signals.after_task_publish.send(
        sender=new.name,
        body=(args, kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}),
        exchange="",
        routing_key=new.queue,
        headers={"id": new.id, "task": new.name},
    )


def _iso(timestamp: float | None) -> str | None:
    return None if timestamp is None else clock.to_datetime(timestamp).isoformat()
