"""How the tasks of a canvas hang on each other: the words that stand in a row.

A row that waits does so for one node, a task or a group, and `edge` says how it hangs on it. `ties` says of a task what
its end has to do for others; it is 0 for a task that stands alone, which then costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from litequeue.core.records import Keys, NewTask

THEN: Final = "then"
"""The next step of a chain."""
LINK: Final = "link"
"""A callback."""
BODY: Final = "body"
"""The body of a chord; it waits for a group."""
QUEUE: Final = "queue"
"""The next run of a schedule's entry; it waits for the one before to end, however that ends."""
ERRBACK: Final = "error"
"""An error callback that has fired; `after` is the task that failed."""

FEEDS: Final = 1
"""Another task takes its value, so that the value is kept even where no result is wanted."""
LEADS: Final = 2
"""Rows wait for its end."""
MEMBER: Final = 4
"""Its end is counted by the group `group_id`."""
ERRBACKS: Final = 8
"""It has error callbacks."""
QUEUED: Final = 16
"""Another run of its schedule's entry waits for its end, however that comes."""
APART: Final = 32
"""It is a run of an entry whose runs do not overlap: until it has ended, the entry's next run looks for it."""
KEYED: Final = 64
"""It has a concurrency key: when it has run, or ends before, the next one with that key may be claimed."""

# What of a task is not known before it fails, or is the same for every error callback.
_NOT_KEPT: Final = frozenset({"id", "root_id", "parent_id", "after", "edge", "group_id", "group_index", "ties"})
_DEFAULTS: Final = dict(NewTask._field_defaults)


def write_errbacks(errbacks: Sequence[NewTask]) -> str:
    """The error callbacks of a task as its row keeps them: JSON, each a task without an id."""
    return json.dumps([_kept(errback) for errback in errbacks], separators=(",", ":"))


def _kept(errback: NewTask) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in errback._asdict().items()
        if name not in _NOT_KEPT and value != _DEFAULTS.get(name, ...)
    }
    if isinstance(errback.payload, bytes):
        import base64

        kept["payload"] = {"base64": base64.b64encode(errback.payload).decode()}
    return kept


def read_errbacks(text: str | None) -> list[NewTask]:
    """The error callbacks that a row keeps, their ids empty. ValueError: the text is not as we write it."""
    if text is None:
        return []
    try:
        return [_read(kept) for kept in json.loads(text)]
    except (TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"error callbacks that cannot be read: {error}") from error


def _read(kept: dict[str, Any]) -> NewTask:
    payload = kept.pop("payload")
    if isinstance(payload, dict):
        import base64

        payload = base64.b64decode(payload["base64"])
    keys = kept.pop("keys", None)
    if keys is None:
        return NewTask(id="", payload=payload, **kept)
    keys = Keys(*keys)
    return NewTask(id="", payload=payload, **kept, ties=KEYED if keys.concurrency_key else 0, keys=keys)
