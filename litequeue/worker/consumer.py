"""The one loop of a slot: claim, execute, settle.

    while not stopped:
        claimed = settle what is finished and claim the next, in one transaction
        execute each, and put its outcome with the finished

Beside it a watch thread makes sure that nobody waits for a slow neighbour: when one task of a batch runs long, what the
slot finished is settled and what it has not started is given back.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from litequeue import exceptions
from litequeue.core import clock
from litequeue.core.records import Claimed, Outcome, Settled
from litequeue.store.contract import Channel, Claimant
from litequeue.worker.batch import Batch, Tickets
from litequeue.worker.keeping import make_executor
from litequeue.worker.picker import BATCH_LIMIT, BatchPicker
from litequeue.worker.reporting import Reporter

if TYPE_CHECKING:
    from litequeue.worker.limits import Limiter
    from litequeue.worker.runtime import Runtime

logger = logging.getLogger("litequeue.worker")

SETTLE_WITHIN: Final = 0.006
"""Seconds after which a finished task is committed, even when its neighbours still run."""
GIVE_BACK_AFTER: Final = 0.010
"""Seconds a task may run before what was claimed behind it is given back."""
IDLE_WAIT: Final = 5.0
"""Seconds an idle slot waits before it looks again without having been woken."""
_BUSY_PAUSE: Final = 0.5  # seconds to wait after the file refused a transaction


class Consumer:
    """A slot: one thread that runs one task at a time."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        node: str,
        holder: int,
        queues: tuple[str, ...],
        channel: Channel,
        interrupt: socket.socket | None = None,
        before_claim: Callable[[], bool] | None = None,
        max_tasks: int | None = None,
        tickets: Tickets | None = None,
        rate_limited: bool = True,
        limiter: Limiter,
    ) -> None:
        """`interrupt` wakes an idle slot when it is readable; `before_claim` says before each claim whether to go on;
        `max_tasks` is how many tasks the slot runs before `run` returns; `tickets` are those that a supervisor sees;
        `rate_limited` is whether it keeps rate limits; `limiter` is told of each task that starts."""
        self._store = runtime.store
        self._node = node
        self._picker = BatchPicker(runtime.registry)
        self._claimant = Claimant(
            holder=holder,
            worker=node,
            pid=os.getpid(),
            queues=queues,
            picker=self._picker,
            rate_limited=rate_limited,
        )
        self.executor = make_executor(runtime, node, holder)
        self._report = Reporter(node, self.executor).report
        self._limiter = limiter
        self._batch = Batch(tickets)
        self._channel = channel
        self._interrupt = interrupt
        self._before_claim = before_claim
        self._tasks_left = max_tasks
        self._stopping = False
        self._idle = False
        self._watch = Watch(self)

    def run(self) -> None:
        """Run tasks until stopped; then everything that was finished is settled and nothing is held."""
        try:
            while not self._stopping and (self._before_claim is None or self._before_claim()):
                settled = self._settle_and_claim()
                if settled.claimed:
                    self._run_batch(settled.claimed)
                elif not self._batch.waiting():
                    self._wait(settled.next_at)
        finally:
            self._watch.stop()
            self._hand_in()
            self._batch.close()
            if self._idle:  # who makes work must not count on this slot
                with suppress(exceptions.OperationalError):
                    self._store.settle(self._claimant, (), idle=True)

    def stop(self) -> None:
        """Return from `run` after the task that runs now; callable from any thread and from a signal handler."""
        self._stopping = True

    # One turn

    def _settle_and_claim(self) -> Settled:
        """Commit what is finished and take the next batch; where the file refuses, keep everything and try again."""
        finished = self._batch.take_finished()
        limit = BATCH_LIMIT if self._tasks_left is None else min(BATCH_LIMIT, self._tasks_left)
        self._picker.begin()
        try:
            if finished:
                settled = self._store.settle(self._claimant, finished, limit)
                self._idle = not settled.claimed
            else:
                settled = self._store.claim(self._claimant, limit, self._idle)
                self._idle = not settled.claimed
        except exceptions.OperationalError as error:
            self._keep(finished, error)
            return Settled((), (), (), (), None)
        self._report(settled)
        return settled

    def _run_batch(self, claims: tuple[Claimed, ...]) -> None:
        batch, learn, run, limiter = self._batch, self._picker.learn, self.executor.run, self._limiter
        if len(claims) > 1:
            self._watch.start()
        batch.add(claims)
        while not self._stopping and (claimed := batch.start()) is not None:
            if not self._picker.is_quick(claimed.name):
                self.settle_now(0.0)
            limited = limiter.begin(claimed)
            started = time.perf_counter()
            outcome = run(claimed) if not claimed.takes_input else self._run_with_input(claimed)
            if limited:
                limiter.end()
            learn(claimed.name, time.perf_counter() - started)
            batch.finish(outcome)
            self.settle_now(SETTLE_WITHIN)
            if self._tasks_left is not None:
                self._tasks_left -= 1
                self._stopping = self._stopping or self._tasks_left <= 0

    def _run_with_input(self, claimed: Claimed) -> Outcome:
        """Run a task that takes the value of what it waited for; where the file refuses, try again."""
        while True:
            try:
                given = self._store.inputs(claimed)
            except exceptions.InvalidTaskError as error:
                return self.executor.refuse(claimed, error)
            except exceptions.StoreLost:
                raise
            except exceptions.OperationalError as error:
                logger.error("%s; trying again", error)
                time.sleep(_BUSY_PAUSE)
            else:
                return self.executor.run(claimed, given)

    def _wait(self, next_at: float | None) -> None:
        timeout = IDLE_WAIT if next_at is None else min(IDLE_WAIT, max(0.0, next_at - clock.now()))
        if not self._stopping:
            self._store.wait_for_work(self._channel, timeout, self._interrupt)

    # Also called by the watch

    def settle_now(self, older_than: float) -> None:
        """Commit what is finished, if the oldest has waited for `older_than` seconds."""
        finished = self._batch.take_finished(older_than)
        if finished:
            try:
                self._report(self._store.settle(self._claimant, finished))
            except exceptions.OperationalError as error:
                self._keep(finished, error)

    def give_back(self, running_for: float = 0.0) -> None:
        """Give back what was claimed and not started, if the running task has taken `running_for` seconds."""
        unstarted = self._batch.take_unstarted(running_for)
        if unstarted:
            self._store.release(self._claimant.holder, unstarted)

    # Ends and errors

    def _hand_in(self) -> None:
        """Settle and give back everything; the file may be busy, so this is tried until it is done."""
        while True:
            try:
                self.give_back()
            except exceptions.OperationalError:
                logger.exception("Claims that were not started could not be given back; they are rescued later")
            self.settle_now(0.0)
            if not self._batch.waiting():
                return

    def _keep(self, finished: list[Outcome], error: exceptions.OperationalError) -> None:
        """The file refused: nothing was written, so keep the outcomes and try again."""
        if isinstance(error, exceptions.StoreLost):
            raise error
        logger.error("%s; trying again", error)
        for outcome in finished:
            self._batch.finish(outcome)
        time.sleep(_BUSY_PAUSE)


class Watch:
    """Looks after a slot while a batch is on: a thread, because the slot's own thread is inside a task."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._on = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch until the batch is through."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="litequeue-watch", daemon=True)
            self._thread.start()
        self._on.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._on.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._on.wait()
            time.sleep(SETTLE_WITHIN)
            if self._stopped:
                return
            if not self._consumer._batch.waiting():
                self._on.clear()
                if not self._consumer._batch.waiting():
                    continue
                self._on.set()
            try:
                self._consumer.give_back(GIVE_BACK_AFTER)
                self._consumer.settle_now(SETTLE_WITHIN)
            except exceptions.OperationalError:
                logger.exception("The watch of %s could not reach the file", self._consumer._node)
