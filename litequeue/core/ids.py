"""Task ids: UUID version 7 as text (RFC 9562 section 5.7).

The first 48 bits are Unix milliseconds, so ids made one after the other sort one after the other and the index over
them grows at its end. Within one process ids are strictly increasing: the 12 bits of `rand_a` count within a
millisecond.
"""

from __future__ import annotations

import os
import threading
import time

_RANDOM_BYTES = 8
_POOL_SIZE = 512


class _Generator:
    """Makes ids from a pool of kernel randomness, so that seeding `random` can never make two processes agree."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Drop the random pool: a forked child must not repeat its parent's ids."""
        self._lock = threading.Lock()
        self._pool = b""
        self._used = 0
        self._stamp = 0  # milliseconds << 12 | counter

    def __call__(self) -> str:
        with self._lock:
            stamp = time.time_ns() // 1_000_000 << 12
            # A clock that stands still or goes back continues the count instead of repeating an id.
            self._stamp = stamp = stamp if stamp > self._stamp else self._stamp + 1
            used = self._used
            if used >= len(self._pool):
                self._pool, used = os.urandom(_RANDOM_BYTES * _POOL_SIZE), 0
            self._used = used + _RANDOM_BYTES
            tail = int.from_bytes(self._pool[used : used + _RANDOM_BYTES], "big")
        head = stamp >> 12
        text = f"{head:012x}{0x7000 | stamp & 0xFFF:04x}{tail & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


new_id = _Generator()
"""`new_id()` returns a fresh, time-ordered task id (36 characters)."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=new_id.forget)
