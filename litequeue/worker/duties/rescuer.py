"""Takes back what dead processes held. A worker buries its own children at once; this is for the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.store.contract import DeathLimit, Supervisor

logger = logging.getLogger("litequeue.worker")

INTERVAL = 0.5
"""Seconds between looks: reading a few process tables of the system."""


class Rescuer(Duty):
    """Looks whether the registered processes live."""

    name = "rescuer"

    def __init__(
        self,
        store: Supervisor,
        lease: float,
        max_deaths: DeathLimit,
        worker: int,
        spared: Callable[[], Collection[int]],
    ) -> None:
        """`spared` are the children of `worker` that it buries itself."""
        super().__init__(INTERVAL)
        self._worker = worker
        self._spared = spared
        self._store = store
        self._lease = lease
        self._max_deaths = max_deaths

    def run_once(self) -> None:
        """Bury who is dead."""
        rescued = self._store.rescue(self._lease, self._max_deaths, self._worker, self._spared())
        report(rescued.requeued, rescued.failed)


def report(requeued: tuple[str, ...], failed: tuple[str, ...]) -> None:
    """Log what was taken back."""
    for task_id in requeued:
        logger.warning("Task [%s] is ready again: the process that ran it is gone", task_id)
    for task_id in failed:
        logger.error("Task [%s] failed: the process that ran it is gone, and it may not run again", task_id)
