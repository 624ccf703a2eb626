"""The scheduler whose entries are rows of the file."""

from __future__ import annotations

import socket
from collections.abc import MutableMapping
from typing import Any, Final

from litequeue.beat.in_memory import Scheduler
from litequeue.beat.ticking import LOOK_INTERVAL, Ticking

_NOT_CALLED: Final = (
    "adjust",
    "apply_async",
    "apply_entry",
    "is_due",
    "merge_inplace",
    "populate_heap",
    "reserve",
    "schedules_equal",
    "send_task",
    "set_schedule",
    "sync",
    "update_from_dict",
)


class PersistentScheduler(Scheduler):
    """The default: any number may run on one file, and each instant is fired once.

    What is due is enqueued in the transaction that moves its entry on, so there is no step in between that a subclass
    could replace: one that sends tasks in its own way is derived from `Scheduler`. TypeError says so.
    """

    max_interval = LOOK_INTERVAL

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _NOT_CALLED:
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{name} would never be called: PersistentScheduler fires entries inside the file; "
                    "derive the class from litequeue.beat.Scheduler"
                )

    def __init__(self, app: Any, *, hostname: str | None = None, parent: int | None = None, **kwargs: Any) -> None:
        """`parent` is the process number of the worker that it is a part of."""
        self._ticking: Ticking | None = None
        self.hostname = hostname
        self.parent = parent
        super().__init__(app, **kwargs)

    def setup_schedule(self) -> None:
        """Bring the entries of the code into the file, and read all."""
        self.app.schedules.sync()
        from litequeue.utils.nodenames import default_nodename

        node = self.hostname or default_nodename(None, "celerybeat")
        ticking = Ticking(self.app.store, node, parent=self.parent, look_interval=self.max_interval)
        try:
            ticking.start()
        except BaseException:
            ticking.close()
            raise
        self._ticking = ticking

    @property
    def ticking(self) -> Ticking:
        """The loop."""
        if self._ticking is None:
            self.setup_schedule()
        assert self._ticking is not None
        return self._ticking

    def get_schedule(self) -> MutableMapping[str, Any]:
        """The entries of the file by name, read now; to change one there is `app.schedules`."""
        return {entry.name: entry for entry in self.app.schedules.list()}

    def add(self, **kwargs: Any) -> Any:
        """Add an entry to the file."""
        return self.app.schedules.add(**kwargs)

    def tick(self) -> float:
        """Fire what is due; returns the seconds until the next turn."""
        return self.ticking.tick()

    def wait(self, seconds: float, interrupt: socket.socket | None = None) -> None:
        """Sleep, until an entry changes."""
        self.ticking.wait(seconds, interrupt)

    def should_sync(self) -> bool:
        """Never: everything is written at once."""
        return False

    def close(self) -> None:
        """Leave the file."""
        if self._ticking is not None:
            self._ticking.close()
            self._ticking = None

    @property
    def info(self) -> str:
        """One line about it."""
        return f"file -> {self.app.store.path}"
