"""Time limits of running tasks.

A child tells its supervisor when a task with limits starts and ends. At the soft limit the supervisor sends the child a
signal, and SoftTimeLimitExceeded is raised inside the task; at the hard limit it kills the child, and the task is
FAILURE with TimeLimitExceeded. Where tasks run in the worker's own process, nothing can be killed: there a timekeeper
raises both inside the task (`interrupting`), and a worker that was told to keep hard limits refuses to start.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from litequeue import exceptions
from litequeue.core import clock
from litequeue.core.records import Claimed, Ticket
from litequeue.worker.interrupting import SOFT_SIGNAL, Gate, free_log_locks, guard_logging

if TYPE_CHECKING:
    from litequeue.store.contract import Store
    from litequeue.worker.executor import Executor
    from litequeue.worker.runtime import Runnable, WorkerOptions

logger = logging.getLogger("litequeue.worker")

MESSAGE: Final = struct.Struct("<qqdd")
"""seq, attempt, soft and hard limit in seconds (0: none) of the task that starts; seq 0: it has ended."""


class Limiter(Protocol):
    """Told by a slot of every task that it starts."""

    def begin(self, claimed: Claimed) -> bool:
        """A task starts; True when it has limits, and `end` is to be called."""

    def end(self) -> None:
        """It has ended."""


def limits_of(claimed: Claimed, options: WorkerOptions) -> tuple[float, float]:
    """The soft and the hard limit in seconds that count for a claim: its own, else those of its worker; 0: none."""
    soft = options.soft_time_limit if claimed.soft_time_limit is None else claimed.soft_time_limit
    hard = options.time_limit if claimed.time_limit is None else claimed.time_limit
    return soft or 0.0, hard or 0.0


# In child processes


class ToSupervisor:
    """The limiter of a child: its supervisor holds the clock.

    Where there are no signals the child sees to the soft limit itself.
    """

    def __init__(self, control: socket.socket, options: WorkerOptions) -> None:
        self._control = control
        self._options = options
        self._own: InThread | None = None
        self._own_begun = False
        self._served = ExitStack()  # never left: it is the whole life of the process

    def serve(self, executor: Executor, store: Store) -> None:
        """Have the tasks of this thread, the child's main one, interrupted at the soft limit.

        A task may be inside a transaction of its own (it calls `delay()`): then that is done as soon as it has ended.
        To try again later would not do, as a task that does nothing else runs its handlers only when a commit lets
        others run.
        """
        if SOFT_SIGNAL is None:
            self._own = InThread(Timekeeper("prefork"), self._options)
            self._served.enter_context(self._own.serving(executor, store))
            return
        gate = Gate()
        executor.use_gate(gate)
        store.guard(gate)
        guard_logging(gate)

        def strike(number: int, frame: object) -> None:
            if self.is_meant():
                gate.strike(exceptions.SoftTimeLimitExceeded())

        signal.signal(SOFT_SIGNAL, strike)

    def is_meant(self) -> bool:
        """Whether the signal that has come is for the task that runs now."""
        return True

    def begin(self, claimed: Claimed) -> bool:
        """Tell the supervisor when the task must have ended."""
        soft, hard = limits_of(claimed, self._options)
        if not soft and not hard:
            return False
        if self._own is not None and soft:
            self._own.begin(claimed._replace(time_limit=0.0))
            self._own_begun, soft = True, 0.0
        self._control.send(MESSAGE.pack(claimed.seq, claimed.attempt, soft, hard))
        return True

    def end(self) -> None:
        """Tell the supervisor that it has."""
        if self._own is not None and self._own_begun:
            self._own.end()
            self._own_begun = False
        self._control.send(MESSAGE.pack(0, 0, 0.0, 0.0))


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


# In threads


class InThread:
    """The limiter of a slot of this process: what is due is raised inside the task. One for each thread."""

    def __init__(self, timekeeper: Timekeeper, options: WorkerOptions, hard: HardLimiter | None = None) -> None:
        """`hard` keeps hard limits in place of the timekeeper."""
        self.gate = Gate()
        self._timekeeper = timekeeper
        self._options = options
        self._hard = hard
        self._timed = False

    @contextmanager
    def serving(self, executor: Executor, store: Store, by_signal: bool = False) -> Iterator[None]:
        """Be the limiter of this thread; see `Gate.serve`."""
        with self.gate.serve(executor, store, by_signal):
            yield

    def begin(self, claimed: Claimed) -> bool:
        """A task starts, and may be interrupted from now on."""
        self.gate.begin(claimed)
        soft, hard = limits_of(claimed, self._options)
        if soft or hard:
            self._timed = True
            if hard and self._hard is not None:
                self._hard.begin(claimed, hard)
                hard = 0.0
            self._timekeeper.begin(self.gate, claimed, soft, hard)
        return True

    def end(self) -> None:
        """It has ended, and may not be interrupted any more."""
        if self._timed:
            self._timed = False
            self._timekeeper.end(self.gate)
            if self._hard is not None:
                self._hard.end()
        if self.gate.end():
            free_log_locks()

    @property
    def busy(self) -> bool:
        """Whether a task runs."""
        return self.gate.busy

    def interrupt(self, claimed: Claimed, error: BaseException) -> bool:
        """Raise `error` in the task of this slot, from any other thread; False: it does not run that claim now."""
        return self.gate.interrupt(claimed, error)


class HardLimiter(Protocol):
    """What kills the process of a task at its hard limit, from outside."""

    def begin(self, claimed: Claimed, limit: float) -> None:
        """A task starts that has to end within `limit` seconds."""

    def end(self) -> None:
        """It has ended."""


class Timed(NamedTuple):
    """A task that runs in a thread, and when it is to be interrupted (monotonic; 0: never)."""

    claimed: Claimed
    soft: float
    hard: float
    soft_at: float
    hard_at: float

    def next_at(self) -> float:
        """When something is to be done; infinity: never."""
        return min(self.soft_at or math.inf, self.hard_at or math.inf)


class Due(NamedTuple):
    """A task that has run into a limit."""

    gate: Gate
    claimed: Claimed
    limit: float
    error: Exception


class Timekeeper:
    """One thread that interrupts the tasks of all slots of a worker at their limits; started by the first of them."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._condition = threading.Condition()
        self._running: dict[Gate, Timed] = {}
        self._next_at = math.inf
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._told: set[str] = set()

    def begin(self, gate: Gate, claimed: Claimed, soft: float, hard: float) -> None:
        """A task with limits starts in the thread of `gate`."""
        if hard:
            self.tell(claimed, hard)
        now = clock.monotonic()
        timed = Timed(claimed, soft, hard, now + soft if soft else 0.0, now + hard if hard else 0.0)
        with self._condition:
            self._running[gate] = timed
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="litequeue-timekeeper", daemon=True)
                self._thread.start()
            if timed.next_at() < self._next_at:
                self._condition.notify()

    def end(self, gate: Gate) -> None:
        """It has ended."""
        with self._condition:
            self._running.pop(gate, None)

    def stop(self) -> None:
        """Interrupt nothing any more."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def tell(self, claimed: Claimed, hard: float) -> None:
        """Say once for each task name what becomes of its hard limit."""
        if claimed.name not in self._told:
            self._told.add(claimed.name)
            logger.warning(
                "%s has a time_limit (%gs) and pool %s cannot kill a task: TimeLimitExceeded is raised inside it, which"
                " it may put off. Only prefork keeps hard limits",
                claimed.name,
                hard,
                self._pool,
            )

    def _run(self) -> None:
        while True:
            with self._condition:
                self._next_at = min((timed.next_at() for timed in self._running.values()), default=math.inf)
                wait = self._next_at - clock.monotonic()
                if wait > 0 and not self._stopped:
                    self._condition.wait(None if wait == math.inf else min(wait, threading.TIMEOUT_MAX))
                if self._stopped:
                    return
                due = self._take_due(clock.monotonic())
            for gate, claimed, limit, error in due:
                if gate.interrupt(claimed, error):
                    hard = isinstance(error, exceptions.TimeLimitExceeded)
                    text = "%s time limit (%ss) exceeded for %s[%s]"
                    level = logging.ERROR if hard else logging.WARNING
                    logger.log(level, text, "Hard" if hard else "Soft", limit, claimed.name, claimed.id)

    def _take_due(self, now: float) -> list[Due]:
        due: list[Due] = []
        for gate, timed in self._running.items():
            if timed.hard_at and timed.hard_at <= now:
                due.append(Due(gate, timed.claimed, timed.hard, exceptions.TimeLimitExceeded(timed.hard)))
                self._running[gate] = timed._replace(soft_at=0.0, hard_at=0.0)
            elif timed.soft_at and timed.soft_at <= now:
                due.append(Due(gate, timed.claimed, timed.soft, exceptions.SoftTimeLimitExceeded()))
                self._running[gate] = timed._replace(soft_at=0.0)
        return due


# At the start


def check_limits(options: WorkerOptions, registry: Mapping[str, Runnable]) -> None:
    """Raise ImproperlyConfigured when a hard limit is asked of a pool that cannot keep it."""
    if options.pool == "prefork" or (options.pool == "solo" and options.watchdog is not None):
        return
    found: tuple[float, str] | None = None
    if options.time_limit:
        found = options.time_limit, options.time_limit_from
    else:
        for name, task in sorted(registry.items()):
            limit = getattr(task, "time_limit", None)
            if limit:
                found = limit, f"declared by the task {name}"
                break
    if found is not None:
        solo = ", or give a solo worker a --watchdog" if options.pool == "solo" else ""
        raise exceptions.ImproperlyConfigured(
            f"pool {options.pool} cannot kill a task, so it cannot keep time_limit={found[0]:g} ({found[1]}). Use pool"
            f" prefork, which can{solo}; or use soft_time_limit, which works in every pool."
        )
