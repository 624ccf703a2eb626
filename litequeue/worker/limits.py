"""Time limits of running tasks.

A child tells its supervisor when a task with limits starts and ends. At the soft limit the supervisor sends the child a
signal, and SoftTimeLimitExceeded is raised inside the task; at the hard limit it kills the child, and the task is
FAILURE with TimeLimitExceeded. A pool without child processes can do neither, and says so.
"""

from __future__ import annotations

import logging
import signal
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol

from litequeue import exceptions
from litequeue.core import clock
from litequeue.core.records import Claimed, Ticket

if TYPE_CHECKING:
    from litequeue.store.contract import Store
    from litequeue.worker.executor import Executor
    from litequeue.worker.runtime import WorkerOptions

logger = logging.getLogger("litequeue.worker")

MESSAGE: Final = struct.Struct("<qqdd")
"""seq, attempt, soft and hard limit in seconds (0: none) of the task that starts; seq 0: it has ended."""

SOFT_SIGNAL: Final = getattr(signal, "SIGUSR2", None)
"""What raises SoftTimeLimitExceeded in a child; None where the system has no such signals."""


class Limiter(Protocol):
    """Told by a slot of every task that it starts."""

    def begin(self, claimed: Claimed) -> bool:
        """A task starts; True when it has limits, and `end` is to be called."""

    def end(self) -> None:
        """It has ended."""


class ToSupervisor:
    """The limiter of a child: its supervisor holds the clock."""

    def __init__(self, control: socket.socket, options: WorkerOptions) -> None:
        self._control = control
        self._soft = options.soft_time_limit
        self._hard = options.time_limit

    def begin(self, claimed: Claimed) -> bool:
        """Tell the supervisor when the task must have ended."""
        soft = self._soft if claimed.soft_time_limit is None else claimed.soft_time_limit
        hard = self._hard if claimed.time_limit is None else claimed.time_limit
        if soft is None and hard is None:
            return False
        self._control.send(MESSAGE.pack(claimed.seq, claimed.attempt, soft or 0.0, hard or 0.0))
        return True

    def end(self) -> None:
        """Tell the supervisor that it has."""
        self._control.send(MESSAGE.pack(0, 0, 0.0, 0.0))


class Without:
    """The limiter of a pool that cannot stop a task: says so once for each task name."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._told: set[str] = set()

    def begin(self, claimed: Claimed) -> bool:
        """Log that the limits of this task are not kept."""
        limited = claimed.time_limit is not None or claimed.soft_time_limit is not None
        if limited and claimed.name not in self._told:
            self._told.add(claimed.name)
            logger.warning("The time limits of %s are not kept: pool %s cannot; prefork can", claimed.name, self._pool)
        return False

    def end(self) -> None:
        """Nothing was begun."""


class Deadline:
    """The task with limits that a child runs, as its supervisor knows it."""

    def __init__(self) -> None:
        self.ticket: Ticket | None = None
        self.soft_at = 0.0
        self.hard_at = 0.0
        self.soft = self.hard = 0.0

    def hear(self, message: bytes) -> None:
        """Take a message of the child."""
        seq, attempt, self.soft, self.hard = MESSAGE.unpack(message)
        now = clock.monotonic()
        self.ticket = Ticket(seq, attempt) if seq else None
        self.soft_at = now + self.soft if self.soft else 0.0
        self.hard_at = now + self.hard if self.hard else 0.0

    def next_at(self) -> float:
        """When something is to be done; 0: never."""
        return min((at for at in (self.soft_at, self.hard_at) if at), default=0.0)


def raise_in_task(executor: Executor, store: Store) -> None:
    """Let SOFT_SIGNAL raise SoftTimeLimitExceeded inside the task that runs in this process's main thread.

    A task may be inside a transaction of its own (it calls `delay()`): then it is raised as soon as that has ended. To
    try again later would not do, as a task that does nothing else runs its handlers only when a commit lets others run.
    """

    def interrupt() -> None:
        if executor.interruptible:
            executor.interruptible = False
            raise exceptions.SoftTimeLimitExceeded

    def on_signal(number: int, frame: object) -> None:
        if executor.interruptible:
            store.when_outside(interrupt)

    if SOFT_SIGNAL is not None:
        signal.signal(SOFT_SIGNAL, on_signal)


def check_pool(options: WorkerOptions) -> None:
    """Raise ImproperlyConfigured when limits are asked of a pool that cannot keep them."""
    if options.pool != "prefork" and (options.time_limit or options.soft_time_limit):
        raise exceptions.ImproperlyConfigured(
            f"worker_pool={options.pool!r} cannot stop a task: time_limit and soft_time_limit need 'prefork'."
        )
    if SOFT_SIGNAL is None and options.soft_time_limit:
        raise exceptions.ImproperlyConfigured(
            "soft_time_limit needs POSIX signals, which this system has not; time_limit works here."
        )
