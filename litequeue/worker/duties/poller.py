"""The safety net under the datagrams: notices that the file changed, and wakes idle slots if there is work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.store.contract import Channel, Supervisor


class Poller(Duty):
    """One cheap look for the whole worker, so that its slots may sleep."""

    name = "poller"

    def __init__(
        self, store: Supervisor, holder: int, channel: Channel, queues: Callable[[], tuple[str, ...]], interval: float
    ) -> None:
        super().__init__(interval)
        self._store = store
        self._holder = holder
        self._channel = channel
        self._queues = queues

    def run_once(self) -> None:
        """Look once."""
        self._store.wake(self._holder, self._channel, self._queues())
