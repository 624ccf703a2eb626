"""Says in the file that the worker lives, for whoever cannot see its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from litequeue import signals
from litequeue.worker.announcing import HEARTBEAT, Announcer
from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.store.contract import Supervisor


class Heartbeat(Duty):
    """One small write for the worker and all its children."""

    name = "heartbeat"

    def __init__(
        self, store: Supervisor, process_ids: Callable[[], list[int]], interval: float, announcer: Announcer
    ) -> None:
        super().__init__(interval)
        self._announcer = announcer
        self._store = store
        self._process_ids = process_ids

    def run_once(self) -> None:
        """Write the time into the rows of this worker's processes."""
        self._store.heartbeat(self._process_ids())
        self._announcer.say(HEARTBEAT)
        if signals.heartbeat_sent.receivers:
            signals.heartbeat_sent.send(sender=self)
