"""Stops a `--burst` worker when its queues are empty."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.store.contract import Supervisor

INTERVAL = 0.05
"""Seconds between looks."""


class Burst(Duty):
    """Looks whether anything is ready, due or running."""

    name = "burst"

    def __init__(
        self,
        store: Supervisor,
        queues: Callable[[], tuple[str, ...]],
        names: Collection[str],
        stop: Callable[[], None],
    ) -> None:
        super().__init__(INTERVAL)
        self._store = store
        self._queues = queues
        self._names = names
        self._stop_worker = stop

    def run_once(self) -> None:
        """Stop the worker if there is nothing more to do."""
        if not self._store.busy(self._queues(), self._names):
            self._stop_worker()
