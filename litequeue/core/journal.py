"""The form of the journal: how the moves of one transaction are written, and what events they are.

A row of the journal holds a JSON array with an item for each move:

    ["claimed", task id, attempt, {"name": ...}]      a move of a task; its fields may be left out
    ["", type, {...}]                                 what somebody published, under the type that it has

A claim is two events, as Celery tells them apart: `task-received` and `task-started`. Moves are made as text at once:
that takes 0.3 us for the two of a task, where `json.dumps` of the whole array takes 1.7 us.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Final

from litequeue.core.state import FAILED, IGNORED, READY, REVOKED, SUCCEEDED

if TYPE_CHECKING:
    from litequeue.core.viewing import EventRecord

Move = str
"""One move, as JSON."""

SENT: Final = "sent"
CLAIMED: Final = "claimed"
RETRIED: Final = "retried"
REJECTED: Final = "rejected"
SNOOZED: Final = "snoozed"
REPLACED: Final = "replaced"
RELEASED: Final = "released"
RESCUED: Final = "rescued"
REVIVED: Final = "revived"

ENDS: Final[Mapping[str, str]] = {
    SUCCEEDED: "succeeded",
    FAILED: "failed",
    REVOKED: "revoked",
    IGNORED: "ignored",
    READY: RESCUED,
}
"""The move that brought a task into a state, where it was not a retry, a release or the like."""

_PUBLISHED: Final = ""
_TYPES: Final = {CLAIMED: ("task-received", "task-started")}
_CLAIM_BEGINS: Final = f'["{CLAIMED}"'
_SENDING_BEGINS: Final = f'["{SENT}"'


def move(kind: str, task_id: str, attempt: int | None = None) -> Move:
    """A move of a task."""
    return f'["{kind}",{quoted(task_id)},{"null" if attempt is None else attempt}]'


def claim(task_id: str, attempt: int, name: str) -> Move:
    """The move of a task that was claimed."""
    return f'["{CLAIMED}",{quoted(task_id)},{attempt},{{"name":{quoted(name)}}}]'


def sending(task_id: str, name: str, queue: str) -> Move:
    """The move of a task that was enqueued."""
    return f'["{SENT}",{quoted(task_id)},null,{{"name":{quoted(name)},"queue":{quoted(queue)}}}]'


def publication(kind: str, fields: Mapping[str, Any]) -> Move:
    """An event of somebody's own; a field that JSON cannot say is kept as its `repr`."""
    return json.dumps([_PUBLISHED, kind, dict(fields)], default=repr)


def sendings(moves: Sequence[Move]) -> list[Move]:
    """Those of the moves that are of tasks that were enqueued."""
    return [each for each in moves if each.startswith(_SENDING_BEGINS)]


def size_of(moves: Sequence[Move]) -> int:
    """How many events the moves are."""
    return len(moves) + sum(1 for each in moves if each.startswith(_CLAIM_BEGINS))


def write_moves(moves: Sequence[Move]) -> str:
    """The moves as the journal keeps them."""
    return f"[{','.join(moves)}]"


def events_of(number: int, at: float, worker: str | None, text: str) -> Iterator[EventRecord]:
    """The events of a row of the journal. ValueError, TypeError: it is not as we write it."""
    from litequeue.core.viewing import EventRecord

    for kind, *rest in json.loads(text):
        if kind == _PUBLISHED:
            name, fields = rest
            _check(name, fields)
            yield EventRecord(number, at, name, fields.get("uuid"), None, worker, fields)
            number += 1
            continue
        task_id, attempt, *more = rest
        fields = more[0] if more else {}
        _check(task_id, fields)
        for event in _TYPES.get(kind, (f"task-{kind}",)):
            yield EventRecord(number, at, event, task_id, attempt, worker, fields)
            number += 1


def _check(text: object, fields: object) -> None:
    """TypeError: it is not as we write it."""
    if not (isinstance(text, str) and isinstance(fields, dict)):
        raise TypeError("a move that cannot be read")
