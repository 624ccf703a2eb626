"""A child whose supervisor is gone: it ends after the task that it runs, and keeps the limits of that by itself."""

from __future__ import annotations

import logging
import multiprocessing
import os
import struct
import threading
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final, NamedTuple

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.failure import encode_exception
from litequeue.core.records import ERROR, Claimed, Encoded, Outcome, Ticket
from litequeue.store.contract import Claimant
from litequeue.worker.interrupting import SOFT_SIGNAL
from litequeue.worker.limits import ToSupervisor, limits_of
from litequeue.worker.picker import BatchPicker

if TYPE_CHECKING:
    from litequeue.worker.child import Lines
    from litequeue.worker.consumer import Consumer
    from litequeue.worker.runtime import Runtime, WorkerOptions

logger = logging.getLogger("litequeue.worker")

ORDER: Final = struct.Struct("<qq")
"""seq and attempt of the task that the next signal is meant for."""

_AT_ONCE: Final = 1e-9  # seconds that the running task has taken at least
_LOOK: Final = 0.05  # seconds between looks at the running task


class Running(NamedTuple):
    """A task with limits, and when (monotonic) it runs into them; 0: it has no such limit."""

    claimed: Claimed
    hard: float
    soft_at: float
    hard_at: float


class Limiter(ToSupervisor):
    """The limiter of a child, which knows by itself what it runs, and what the supervisor is told."""

    def __init__(self, lines: Lines, options: WorkerOptions) -> None:
        super().__init__(lines.control, options)
        self._orders = lines.orders
        self._orders.setblocking(False)
        self.running: Running | None = None
        self._current: Claimed | None = None
        self._struck: Claimed | None = None
        self._own_order: Ticket | None = None

    def begin(self, claimed: Claimed) -> bool:
        """A task starts."""
        self._current = claimed
        soft, hard = limits_of(claimed, self._options)
        if not soft and not hard:
            return False
        now = clock.monotonic()
        self.running = Running(claimed, hard, now + soft if soft else 0.0, now + hard if hard else 0.0)
        with suppress(OSError):  # the supervisor is gone
            super().begin(claimed)
        return True

    def end(self) -> None:
        """It has ended."""
        self.running = None
        with suppress(OSError):
            super().end()

    def strike(self, claimed: Claimed) -> None:
        """Do what the supervisor would do at the soft limit."""
        if SOFT_SIGNAL is not None:
            self._own_order = Ticket(claimed.seq, claimed.attempt)
            os.kill(os.getpid(), SOFT_SIGNAL)

    def is_meant(self) -> bool:
        """Whether an order names the task that runs, which has not been interrupted before."""
        current = self._current
        meant = current is not None and (current.seq, current.attempt) == self._own_order
        with suppress(OSError):
            while order := self._orders.recv(ORDER.size):
                seq, attempt = ORDER.unpack(order)
                meant = meant or (current is not None and (current.seq, current.attempt) == (seq, attempt))
        if not meant or current is self._struck:
            return False
        self._struck = current
        return True


class Guard:
    """Waits for the end of the supervisor."""

    def __init__(
        self, runtime: Runtime, options: WorkerOptions, holder: int, consumer: Consumer, limiter: Limiter
    ) -> None:
        self._runtime = runtime
        self._options = options
        self._holder = holder
        self._consumer = consumer
        self._limiter = limiter

    def start(self) -> None:
        """Wait in a thread that nobody waits for."""
        threading.Thread(target=self._run, name="litequeue-guard", daemon=True).start()

    def _run(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is None:
            return
        wait([parent.sentinel])
        logger.warning("The worker of this process is gone; it ends after its task")
        self._consumer.stop()
        with suppress(exceptions.OperationalError):  # given back at the end, or rescued
            self._consumer.give_back(_AT_ONCE)
        while (running := self._limiter.running) is not None:
            self._keep(running)

    def _keep(self, running: Running) -> None:
        """Do what is due at the limits of a task, until it has ended."""
        soft_at, hard_at, pause = running.soft_at, running.hard_at, threading.Event()
        while self._limiter.running is running:
            now = clock.monotonic()
            if soft_at and now >= soft_at:
                soft_at = 0.0
                self._limiter.strike(running.claimed)
            if hard_at and now >= hard_at:
                self._time_out(running)
                return
            pause.wait(_LOOK)

    def _time_out(self, running: Running) -> None:
        """End this process at a hard limit, and the task with it."""
        claimed, store, now = running.claimed, self._runtime.store, clock.now()
        logger.error("Hard time limit (%ss) exceeded for %s[%s]", running.hard, claimed.name, claimed.id)
        if self._runtime.registry[claimed.name].acks_on_timeout is not False:  # else who rescues it gives it back
            error = Encoded(encode_exception(exceptions.TimeLimitExceeded(running.hard)), ERROR)
            retention = self._runtime.failure_retention
            prune_at = None if retention is None else now + retention
            outcome = Outcome(claimed, state.FAILED, now, error, None, prune_at)
            with suppress(exceptions.OperationalError):  # then it counts as lost
                store.settle(self._claimant(), [outcome])
                store.deregister(self._holder)
        logging.shutdown()
        os._exit(1)

    def _claimant(self) -> Claimant:
        return Claimant(
            holder=self._holder,
            worker=self._options.node,
            pid=os.getpid(),
            queues=self._options.queues,
            picker=BatchPicker(self._runtime.registry),
        )
