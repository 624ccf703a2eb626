"""Deletes finished tasks past their retention, a small batch at a time, and revokes what expired unstarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.store.contract import Supervisor

_BETWEEN_BATCHES = 0.05  # seconds: the pruner never keeps the file from others


class Pruner(Duty):
    """Keeps the file bounded."""

    name = "pruner"

    def __init__(self, store: Supervisor, batch: int, interval: float) -> None:
        super().__init__(interval)
        self._store = store
        self._batch = batch

    def run_once(self) -> float | None:
        """Delete one batch; soon again while there is more."""
        return _BETWEEN_BATCHES if self._store.prune(self._batch) >= self._batch else None
