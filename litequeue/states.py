"""The states of a task under the names Celery users import.

PENDING is a task that has not started, or an id the file has never seen (`AsyncResult.exists()` tells them apart).
`state` objects compare by precedence, as in Celery: `state(STARTED) < state(SUCCESS)`. The engine's finer states
(waiting, scheduled, ready, …) are in `litequeue.core.state` and shown as `AsyncResult.engine_state`.
"""

from __future__ import annotations

from typing import Final

PENDING: Final = "PENDING"
RECEIVED: Final = "RECEIVED"
STARTED: Final = "STARTED"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
REVOKED: Final = "REVOKED"
REJECTED: Final = "REJECTED"
RETRY: Final = "RETRY"
IGNORED: Final = "IGNORED"

READY_STATES: Final = frozenset({SUCCESS, FAILURE, REVOKED, IGNORED})
UNREADY_STATES: Final = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
EXCEPTION_STATES: Final = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES: Final = frozenset({FAILURE, REVOKED})
ALL_STATES: Final = frozenset({PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED, IGNORED})

PRECEDENCE: Final = (SUCCESS, FAILURE, None, REVOKED, STARTED, RECEIVED, REJECTED, RETRY, PENDING)
"""From the most final to the least; `None` stands for every custom state."""

_RANK: Final = {name: rank for rank, name in enumerate(PRECEDENCE)}


def precedence(name: str | None) -> int:
    """The rank of a state: the smaller, the more final."""
    return _RANK.get(name, _RANK[None])


class state(str):
    """A state that compares by precedence: a more final state is greater."""

    __slots__ = ()

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)
