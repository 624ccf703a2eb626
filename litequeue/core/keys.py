"""What tasks share: the keys that limit how many run at once, and the keys that only one task may hold.

A task holds its unique key while it is in one of the states of `unique_hold` and its window has not passed. The file
keeps the key on the row longer than that; the next task that wants it takes it from a row that holds it no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from litequeue.core import state

STATES: Final[dict[str, int]] = {name: 1 << bit for bit, name in enumerate(state.ALL)}
"""The bit of each state in `unique_hold`."""

UNTIL_ENDED: Final = sum(STATES[name] for name in (state.WAITING, state.SCHEDULED, state.READY, state.RUNNING))
"""Held until the task has ended, however it ended: what counts where neither window nor states are given."""
ALSO_SUCCEEDED: Final = UNTIL_ENDED | STATES[state.SUCCEEDED]
"""Held after its success too, for as long as the window goes: what counts where only a window is given."""

EXISTING: Final = "existing"
"""The call returns the task that holds the key; nothing is enqueued."""
REPLACE: Final = "replace"
"""A task that has not started takes the new call's arguments, options and time, and keeps its id; one that runs, or has
ended, gives the key up, and the new task is enqueued."""
RAISE: Final = "raise"
"""The call raises NotUniqueError."""

CONFLICTS: Final[dict[str, int]] = {EXISTING: 0, REPLACE: 1 << 8, RAISE: 1 << 9}
"""The bits, in `unique_hold`, of what becomes of a call whose key is held."""

PARKED: Final = "\x1f"
"""What the lane of a row begins with that waits for its concurrency key; it also ends the key there, so no key may hold
it. (Not NUL: some of SQLite's functions end a text there.)"""


def hold(states: Iterable[str], on_conflict: str) -> int:
    """The value of `unique_hold`. ValueError names what is no state, or no way out of a conflict."""
    bits = 0
    for name in states:
        if name not in STATES:
            raise ValueError(f"unique_states: there is no state {name!r}; give some of {', '.join(STATES)}")
        bits |= STATES[name]
    if on_conflict not in CONFLICTS:
        raise ValueError(f"on_conflict={on_conflict!r}: give one of {', '.join(map(repr, CONFLICTS))}")
    return bits | CONFLICTS[on_conflict]


def conflict_of(unique_hold: int) -> str:
    """What becomes of a call whose key is held: EXISTING, REPLACE or RAISE."""
    return next((name for name, bit in CONFLICTS.items() if bit & unique_hold), EXISTING)


def parked_lane(key: str, queue: str, name: str) -> str:
    """The lane in which a row waits for its concurrency key."""
    return f"{PARKED}{key}{PARKED}{queue}\t{name}"
