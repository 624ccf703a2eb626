"""Task ids: UUID version 7 as text (RFC 9562 section 5.7).

The first 48 bits are Unix milliseconds, so ids made one after the other sort one after the other and the index over
them grows at its end. Within one process ids are strictly increasing: the 12 bits of `rand_a` count within a
millisecond.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

_RANDOM_BYTES = 8
_POOL_SIZE = 64
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class _Generator:
    """Makes ids from a pool of kernel randomness, so that seeding `random` can never make two processes agree."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Drop the random pool: a forked child must not repeat its parent's ids."""
        self._lock = threading.Lock()
        self._pool: Iterator[str] = iter(())
        self._stamp = 0  # milliseconds << 12 | counter

    def __call__(self) -> str:
        with self._lock:
            stamp = time.time_ns() // 1_000_000 << 12
            # A clock that stands still or goes back continues the count instead of repeating an id.
            self._stamp = stamp = stamp if stamp > self._stamp else self._stamp + 1
            tail = next(self._pool, None)
            if tail is None:
                self._pool = _random_tails()
                tail = next(self._pool)
        head = f"{stamp:015x}"
        return f"{head[:8]}-{head[8:12]}-7{head[12:]}-{tail}"


def _random_tails() -> Iterator[str]:
    """The last two parts of some ids: 62 random bits each, and the variant."""
    text = os.urandom(_RANDOM_BYTES * _POOL_SIZE).hex()
    return iter(
        [f"{_VARIANT[text[at]]}{text[at + 1 : at + 4]}-{text[at + 4 : at + 16]}" for at in range(0, len(text), 16)]
    )


new_id = _Generator()
"""`new_id()` returns a fresh, time-ordered task id (36 characters)."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=new_id.forget)
