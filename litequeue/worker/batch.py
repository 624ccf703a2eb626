"""What one slot has claimed and not started, and finished and not settled; shared with the watch that guards it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from litequeue.core import clock
from litequeue.core.records import Claimed, Outcome


class Batch:
    """Handed between the slot's thread and the watch: what one of them takes, the other no longer sees."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unstarted: deque[Claimed] = deque()
        self._finished: list[Outcome] = []
        self._started_at = 0.0
        self._oldest_finish = 0.0

    def add(self, claimed: Iterable[Claimed]) -> None:
        """Put claims in."""
        with self._lock:
            self._unstarted.extend(claimed)

    def start(self) -> Claimed | None:
        """Take the next claim out to run it; None when there is none."""
        with self._lock:
            if not self._unstarted:
                return None
            self._started_at = clock.monotonic()
            return self._unstarted.popleft()

    def finish(self, outcome: Outcome) -> None:
        """Put an outcome in, to be settled with the next ones."""
        with self._lock:
            if not self._finished:
                self._oldest_finish = clock.monotonic()
            self._finished.append(outcome)

    def take_finished(self, older_than: float = 0.0) -> list[Outcome]:
        """Take all outcomes out, if the oldest has waited for `older_than` seconds."""
        with self._lock:
            if not self._finished or (older_than and clock.monotonic() - self._oldest_finish < older_than):
                return []
            finished, self._finished = self._finished, []
            return finished

    def take_unstarted(self, running_for: float = 0.0) -> list[Claimed]:
        """Take all claims out that were not started, if the one before them has run for `running_for` seconds."""
        with self._lock:
            if not self._unstarted or (running_for and clock.monotonic() - self._started_at < running_for):
                return []
            unstarted = list(self._unstarted)
            self._unstarted.clear()
            return unstarted

    def waiting(self) -> bool:
        """Whether something is waiting to be started or settled."""
        return bool(self._unstarted or self._finished)
