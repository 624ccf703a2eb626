"""Makes as many slots as the backlog asks for, within bounds (`--autoscale`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from litequeue.core import clock
from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.core.records import ProcessRecord
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
        own = self._processes()
        if any(record.idle for record in own):
            self._shrink(size, least)
            return
        self._idle_since = None
        if size < most and worker.backlog(1):
            self._grow(size, most, own)

    def _processes(self) -> list[ProcessRecord]:
        """Those that hold what its slots run."""
        worker = self._worker
        if worker.options.pool == "prefork":
            return [each for each in worker.runtime.store.processes() if each.parent == worker.holder]
        return [each for each in worker.runtime.store.processes() if each.id == worker.holder]

    def _grow(self, size: int, most: int, own: list[ProcessRecord]) -> None:
        """Have as many more slots as there are tasks for which no slot is free.

        A slot that holds nothing is free, whether it is still starting or is just about to claim. It is looked at
        before the backlog: what is claimed in between is then taken for neither, and not for both.
        """
        busy = self._busy(size, own)
        waiting = self._worker.backlog(most - busy) - (size - busy)
        if waiting > 0:
            self._resize(min(size + waiting, most))

    def _busy(self, size: int, own: list[ProcessRecord]) -> int:
        """How many slots hold a task, `size` at most: one that leaves after its task is no slot any more."""
        held = [len(self._worker.runtime.store.held(record.id)) for record in own]
        if self._worker.options.pool == "prefork":  # one slot each, which may hold several
            held = [min(number, 1) for number in held]
        return min(sum(held), size)

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
