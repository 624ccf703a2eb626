"""Claiming and settling for many slots at once, in a thread of its own, so that nobody else waits for the file.

    until stopped and all slots are free:
        settle what has finished and claim as many as there are free slots, in one transaction
        hand the claims over, to be started at once
        where there was nothing to claim: wait to be woken by who makes work, or by the bell of a slot that has finished

No claim ever waits behind another here; so a claim takes as many as are free, whatever is known of how long they take.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from litequeue import exceptions
from litequeue.core import clock
from litequeue.core.records import Claimed, Input, Outcome, Settled, Ticket
from litequeue.store.contract import Claimant, Pick
from litequeue.worker.consumer import IDLE_WAIT
from litequeue.worker.picker import BatchPicker
from litequeue.worker.reporting import Reporter
from litequeue.worker.waiting import wait_for

if TYPE_CHECKING:
    from litequeue.store.contract import Channel
    from litequeue.worker.executor import Executor
    from litequeue.worker.runtime import Runtime

logger = logging.getLogger("litequeue.worker")

_BUSY_PAUSE: Final = 0.5  # seconds to wait after the file refused a transaction

Start = tuple[Claimed, Input | None]
"""A claim, with what it gets from the node that it waited for."""


class Everything(BatchPicker):
    """The policy of many slots: whatever is ready, as long as a slot is free."""

    def pick(self, name: str, deaths: int) -> Pick:
        """Decide on the next ready row."""
        return Pick.TAKE if name in self.names else Pick.ASIDE


class Clerk:
    """The claims of many slots. `finish`, `give_back`, `let_go`, `resize` and `stop` may be called from any thread."""

    def __init__(
        self,
        runtime: Runtime,
        executor: Executor,
        *,
        node: str,
        holder: int,
        queues: tuple[str, ...],
        channel: Channel,
        slots: int,
        rate_limited: bool,
        start: Callable[[Sequence[Start]], object],
    ) -> None:
        """`start` is given claims to be started at once, in the thread of `run`; it must not block."""
        self._store = runtime.store
        self._executor = executor
        self._report = Reporter(node, executor).report
        self._claimant = Claimant(
            holder=holder,
            worker=node,
            pid=os.getpid(),
            queues=queues,
            picker=Everything(runtime.registry),
            rate_limited=rate_limited,
        )
        self._channel = channel
        self._start = start
        self._slots = slots
        self._taken = 0
        self._finished: list[Outcome] = []
        self._unstarted: list[Ticket] = []
        self._without_input: list[Claimed] = []
        self._idle = False
        self._stopping = False
        self._lock = threading.Lock()
        self._rung = False
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)

    # Called by the slots

    def finish(self, outcome: Outcome) -> None:
        """A slot is free again, and this is to be settled."""
        with self._lock:
            self._finished.append(outcome)
            self._taken -= 1
        self._ring()

    def give_back(self, claimed: Claimed) -> None:
        """A slot is free again; what it was given has not been started."""
        with self._lock:
            self._unstarted.append(Ticket(claimed.seq, claimed.attempt))
            self._taken -= 1
        self._ring()

    def let_go(self) -> None:
        """A slot is free again, and its task stays claimed until this process is taken out of the file."""
        with self._lock:
            self._taken -= 1
        self._ring()

    def resize(self, slots: int) -> None:
        """Have so many slots from now on; what runs goes on."""
        self._slots = slots
        self._ring()

    def stop(self) -> None:
        """Claim nothing more, and return from `run` once every slot is free and all is settled."""
        self._stopping = True
        self._ring()

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return self._taken

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # full, so it rings; or it is over
                self._ringer.send(b"!")

    # The thread

    def run(self) -> None:
        """Claim and settle until stopped."""
        try:
            while True:
                # In this order: what rings in between finds that the bell rings, and is seen to in this turn. The other
                # way round the bell could be silenced and still count as ringing, and nobody would ring it again.
                with suppress(BlockingIOError):
                    self._bell.recv(64)
                self._rung = False
                next_at, again = self._turn()
                if again:
                    continue
                if self._stopping and not self._open_business():
                    return
                self._wait(next_at)
        finally:
            self._bell.close()
            self._ringer.close()

    def _open_business(self) -> bool:
        with self._lock:
            return bool(self._taken > 0 or self._finished or self._unstarted)

    def _free(self) -> int:
        return 0 if self._stopping else max(0, self._slots - self._taken)

    def _turn(self) -> tuple[float | None, bool]:
        """Settle, give back and claim once; when the next row is due, and whether to go on without waiting."""
        with self._lock:
            finished, self._finished = self._finished, []
            unstarted, self._unstarted = self._unstarted, []
            free = self._free()
        try:
            if unstarted:
                self._store.release(self._claimant.holder, unstarted)
                unstarted = []
            settled = self._settle_and_claim(finished, free)
        except exceptions.OperationalError as error:
            self._keep(finished, unstarted, error)
            return None, True
        self._report(settled)
        self._hand_over([*self._take_without_input(), *settled.claimed])
        return settled.next_at, bool(settled.claimed)

    def _settle_and_claim(self, finished: list[Outcome], free: int) -> Settled:
        """One transaction; nothing at all where there is nothing to do."""
        if finished:
            settled = self._store.settle(self._claimant, finished, free, self._idle)
        elif free:
            settled = self._store.claim(self._claimant, free, self._idle)
        else:
            return Settled((), (), (), (), None)
        if free:
            self._idle = not settled.claimed
            with self._lock:
                self._taken += len(settled.claimed)
        return settled

    def _take_without_input(self) -> list[Claimed]:
        waiting, self._without_input = self._without_input, []
        return waiting

    def _hand_over(self, claims: Sequence[Claimed]) -> None:
        """Let the claims be started, those that take one with their input."""
        starts: list[Start] = []
        for claimed in claims:
            if self._stopping:
                self.give_back(claimed)
                continue
            if not claimed.takes_input:
                starts.append((claimed, None))
                continue
            try:
                starts.append((claimed, self._store.inputs(claimed)))
            except exceptions.InvalidTaskError as error:
                self.finish(self._executor.refuse(claimed, error))
            except exceptions.StoreLost:
                raise
            except exceptions.OperationalError as error:
                logger.error("%s; trying again", error)
                self._without_input.append(claimed)
        if starts:
            self._start(starts)

    def _keep(self, finished: list[Outcome], unstarted: list[Ticket], error: exceptions.OperationalError) -> None:
        """The file refused: nothing was written, so keep everything and try again."""
        if isinstance(error, exceptions.StoreLost):
            raise error
        logger.error("%s; trying again", error)
        with self._lock:
            self._finished[:0] = finished
            self._unstarted[:0] = unstarted
        time.sleep(_BUSY_PAUSE)

    def _wait(self, next_at: float | None) -> None:
        timeout = IDLE_WAIT if next_at is None else min(IDLE_WAIT, max(0.0, next_at - clock.now()))
        if self._without_input:
            timeout = min(timeout, _BUSY_PAUSE)
        if self._free():
            self._store.wait_for_work(self._channel, timeout, self._bell)
        else:  # a hint that is taken off the channel now would be lost
            wait_for([self._bell], [], timeout)
