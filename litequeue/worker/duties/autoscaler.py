"""Makes as many slots as the backlog asks for, within bounds (`--autoscale`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from litequeue.core import clock
from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")

INTERVAL: Final = 0.1
"""Seconds between looks."""


class Autoscaler(Duty):
    """Grows at once when every slot is busy and rows are ready; shrinks by one each time a slot was idle for long."""

    name = "autoscaler"

    def __init__(self, worker: Worker, keepalive: float) -> None:
        """`keepalive`: the seconds for which a slot is idle before one ends."""
        super().__init__(min(INTERVAL, keepalive / 4))
        self._worker = worker
        self._keepalive = keepalive
        self._idle_since: float | None = None

    def run_once(self) -> None:
        """Look once."""
        worker, bounds = self._worker, self._worker.autoscale
        if bounds is None or worker.is_stopping():
            return
        most, least = bounds
        size = worker.concurrency
        if not least <= size <= most:
            self._resize(min(max(size, least), most))
            return
        idle, up = self._slots()
        if idle:
            self._shrink(size, least)
            return
        self._idle_since = None
        starting = max(0, size - up)
        if size < most:
            waiting = worker.backlog(most - size + starting) - starting
            if waiting > 0:
                self._resize(min(size + waiting, most))

    def _slots(self) -> tuple[int, int]:
        """How many slots are idle, and how many there are."""
        worker, idle, up = self._worker, 0, 0
        for record in worker.runtime.store.processes():
            if record.parent == worker.holder and record.role == "child":
                idle += min(record.idle, 1)
                up += 1
            elif record.id == worker.holder and worker.options.pool != "prefork":
                idle += record.idle
                up += worker.concurrency
        return idle, up

    def _shrink(self, size: int, least: int) -> None:
        now = clock.monotonic()
        if self._idle_since is None or size <= least:
            self._idle_since = now
        elif now - self._idle_since >= self._keepalive:
            self._idle_since = now
            self._resize(size - 1)

    def _resize(self, size: int) -> None:
        logger.info("Scaling from %d to %d slots", self._worker.concurrency, size)
        self._worker.resize(size)
