"""What a worker says of itself in the journal: that it is there, every heartbeat, and that it goes."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any, Final

import litequeue
from litequeue.core import clock

if TYPE_CHECKING:
    from litequeue.worker.supervisor import Worker

ONLINE: Final = "worker-online"
HEARTBEAT: Final = "worker-heartbeat"
OFFLINE: Final = "worker-offline"

_COUNTED: Final = 100_000
"""The newest tasks of the file, in which those that the worker has started are counted."""


class Announcer:
    """Writes `worker-online`, `worker-heartbeat` and `worker-offline` as long as the worker writes events."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._since = clock.now()
        self.on = worker.options.send_events
        """Whether the worker writes events."""

    def switch(self, on: bool) -> bool:
        """Have the worker write events, or not. False: it is so already."""
        worker = self._worker
        changed = worker.runtime.store.set_events(worker.holder, on)
        if on != self.on:
            self.on = on
            self.say(HEARTBEAT)
        return changed

    def say(self, kind: str) -> None:
        """Write an event, if the worker writes events."""
        if self.on:
            worker = self._worker
            worker.runtime.store.publish([(kind, self._fields())], worker=worker.options.node)

    def _fields(self) -> dict[str, Any]:
        worker = self._worker
        store, node = worker.runtime.store, worker.options.node
        return {
            "pid": os.getpid(),
            "freq": worker.options.heartbeat_interval,
            "active": sum(len(store.held(number)) for number in worker.process_ids()),
            "processed": sum(store.started_by(node, self._since, _COUNTED).values()),
            "loadavg": _load(),
            "sw_ident": "litequeue",
            "sw_ver": litequeue.__version__,
            "sw_sys": platform.system(),
        }


def _load() -> list[float]:
    """How busy the machine was in the last 1, 5 and 15 minutes; zeroes where the system does not say."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (AttributeError, OSError):
        return [0.0, 0.0, 0.0]
