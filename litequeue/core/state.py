"""The engine's states of a row, and the moves between them.

    waiting ──► ready ◄──► scheduled ◄─┐
       ▲         │ ▲                   │ retry
       │   claim │ │ release, rescue   │
       │         ▼ │                   │
       └────── running ────────────────┴──► succeeded | failed | revoked | ignored
      replace

A row that waits ends without having run when what it waits for failed, was revoked, or ended ignored.

What failed or was revoked is a dead letter. `retry` makes it ready again, or has it wait where what it waits for has
not ended; what had ended because of it waits again, and so does a body that was ready, if its group counts it again.

`litequeue.states` has the names Celery users know; `celery_state` derives them, they are never stored beside these.
"""

from __future__ import annotations

from typing import Final

WAITING: Final = "waiting"
"""Exists, but waits for other tasks of its canvas."""
SCHEDULED: Final = "scheduled"
"""Waits for its time (`run_at`)."""
READY: Final = "ready"
"""May be claimed now."""
RUNNING: Final = "running"
"""Claimed by one process; either it settles the row or the row is rescued from it."""
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
REVOKED: Final = "revoked"
IGNORED: Final = "ignored"
"""The task raised `Ignore`: it ended, and no result was kept."""

ALL: Final = (WAITING, SCHEDULED, READY, RUNNING, SUCCEEDED, FAILED, REVOKED, IGNORED)
OPEN: Final = frozenset({WAITING, SCHEDULED, READY})
"""Not started, or given back: may still be revoked, expired or discarded."""
TERMINAL: Final = frozenset({SUCCEEDED, FAILED, REVOKED, IGNORED})

MOVES: Final[dict[str, frozenset[str]]] = {
    WAITING: frozenset({READY, SCHEDULED, FAILED, REVOKED, IGNORED}),
    SCHEDULED: frozenset({READY, REVOKED, WAITING}),
    READY: frozenset({RUNNING, REVOKED, WAITING}),
    RUNNING: frozenset({WAITING, READY, SCHEDULED, SUCCEEDED, FAILED, REVOKED, IGNORED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset({READY, WAITING}),
    REVOKED: frozenset({READY, WAITING}),
    IGNORED: frozenset(),
}
"""Every legal move: from a state to the states it may become."""

_CELERY: Final = {
    RUNNING: "STARTED",
    SUCCEEDED: "SUCCESS",
    FAILED: "FAILURE",
    REVOKED: "REVOKED",
    IGNORED: "IGNORED",
}


def celery_state(state: str, retries: int = 0, custom: str | None = None) -> str:
    """The name Celery shows for an engine state.

    A row that waits for a retry is RETRY; any other row that has not started is PENDING. A custom state
    (`Task.update_state`) is shown as it was written until the next move of the row.
    """
    if custom is not None and state not in TERMINAL:
        return custom
    return _CELERY.get(state) or ("RETRY" if retries else "PENDING")
