"""An event as Celery's handlers get it: a dict with `type` and `timestamp`, and fields by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litequeue.core import clock

__all__ = ("Event", "group_from")


def Event(type: str, _fields: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """An event of `type` with these fields; `timestamp` is now unless it is given."""
    event = {**(_fields or {}), **fields}
    event.setdefault("timestamp", clock.now())
    event["type"] = type
    return event


def group_from(type: str) -> str:
    """The group of a type, what stands before its first dash: `task` of `task-sent`."""
    return type.partition("-")[0]
