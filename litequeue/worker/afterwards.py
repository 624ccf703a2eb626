"""What is done in the name of a child process that is no more: its tasks are given back, or end."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from litequeue import exceptions, signals
from litequeue.core import process, state
from litequeue.core.failure import ExceptionInfo, encode_exception
from litequeue.core.records import ERROR, Claimed, Encoded, Outcome, Rescued, Ticket
from litequeue.core.steering import Termination
from litequeue.store.contract import Claimant
from litequeue.worker.duties.rescuer import report
from litequeue.worker.executor import Executor, Run
from litequeue.worker.picker import BatchPicker
from litequeue.worker.runtime import Runtime, WorkerOptions

logger = logging.getLogger("litequeue.worker")

SOFT: Final = "SIGUSR1"
"""The signal of a revoke that raises SoftTimeLimitExceeded in the task, and does not end it otherwise."""


class Afterwards:
    """Acts for the children of one worker."""

    def __init__(self, runtime: Runtime, options: WorkerOptions, parent: int) -> None:
        self._runtime = runtime
        self._options = options
        self._parent = parent
        self._executor = Executor(runtime, options.node)

    # A child that died

    def bury(
        self,
        pid: int | None,
        reason: str,
        guilty: Collection[Ticket] | None = None,
        terminated: Termination | None = None,
    ) -> None:
        """Take back at once what a dead child held; with `guilty`, only those attempts count a death.

        `terminated` is the revoke that the child was killed for.
        """
        store, max_deaths = self._runtime.store, self._runtime.death_limit
        try:
            for number in self._holders(pid):
                held = store.held(number)
                name = None if terminated is None else terminated.claimed.id
                self._tell(store.bury(number, reason, max_deaths, guilty), held, name)
        except exceptions.StoreBusy as error:
            logger.error("%s; what the process held is rescued later", error)

    def _tell(self, rescued: Rescued, held: list[Claimed], terminated: str | None) -> None:
        """Log what became of what a dead child held, and send the signals that belong to it."""
        report(rescued.requeued, rescued.failed)
        claims = {claimed.id: claimed for claimed in held}
        for task_id in rescued.failed:
            if task_id in claims:
                error = exceptions.WorkerLostError(f"the process that ran {claims[task_id].name}[{task_id}] died")
                self._tell_failed(claims[task_id], error, ())
        for task_id in rescued.revoked:
            if task_id in claims and task_id != terminated:
                logger.warning("Task [%s] had been revoked: it does not run again", task_id)
                self._send_revoked(claims[task_id], terminated=False, signum=None)

    def terminated(self, termination: Termination, signum: int) -> None:
        """Say that a child was killed because of a revoke of what it ran; `bury` has revoked that."""
        claimed = termination.claimed
        logger.warning("Task %s[%s] was revoked and terminated (%s)", claimed.name, claimed.id, termination.signal)
        self._send_revoked(claimed, terminated=True, signum=signum)

    def _send_revoked(self, claimed: Claimed, *, terminated: bool, signum: int | None) -> None:
        if signals.task_revoked.receivers:
            signals.task_revoked.send(
                sender=self._executor.task_named(claimed.name),
                request=self._executor.describe(claimed),
                terminated=terminated,
                signum=signum,
                expired=False,
            )

    # A child that was killed at a hard limit

    def time_out(self, holder: int, ticket: Ticket, limit: float, killed_at: float) -> str | None:
        """End, as of then, the task of a child that was killed at the hard limit of `limit` seconds.

        Where it is to run again all the same (`acks_on_timeout=False`), it is left to `bury`, and this returns why it
        died.
        """
        store = self._runtime.store
        claimed = next((each for each in store.held(holder) if (each.seq, each.attempt) == ticket), None)
        if claimed is None:
            return None
        logger.error("Hard time limit (%ss) exceeded for %s[%s]", limit, claimed.name, claimed.id)
        if self._runs_again(claimed):
            return f"it was killed at its hard time limit of {limit:g} s"
        error = exceptions.TimeLimitExceeded(limit)
        retention = self._runtime.failure_retention
        prune_at = None if retention is None else killed_at + retention
        outcome = Outcome(claimed, state.FAILED, killed_at, Encoded(encode_exception(error), ERROR), None, prune_at)
        store.settle(self._claimant(holder), [outcome])
        self._tell_failed(claimed, error, ("on_failure", "after_return"))
        return None

    def _runs_again(self, claimed: Claimed) -> bool:
        task = self._runtime.registry.get(claimed.name)
        if task is None or not task.acks_late or task.acks_on_timeout is not False:
            return False
        return claimed.deaths + 1 < self._runtime.death_limit(claimed.name)

    def _tell_failed(self, claimed: Claimed, error: Exception, handlers: Collection[str]) -> None:
        """Call what is called on a failure, as far as it was declared: the child cannot do it any more."""
        task = self._runtime.registry.get(claimed.name)
        wanted = frozenset() if task is None else task.overrides.intersection(handlers)
        if task is None or not (wanted or signals.task_failure.receivers):
            return
        request = self._executor.describe(claimed)
        run = Run(task, claimed, request, request.args or (), request.kwargs or {})
        task.request_stack.push(request)
        try:
            self._executor.tell_failed(run, error, ExceptionInfo(error), wanted)
        finally:
            task.request_stack.pop()

    # A child that was stopped, or is stuck

    def release_child(self, pid: int | None) -> None:
        """Give back what a child held that was stopped by request: no death is counted."""
        with suppress(exceptions.OperationalError):  # the next worker rescues it
            for number in self._holders(pid):
                self._runtime.store.deregister(number)

    def release(self, holder: int, tickets: list[Ticket]) -> None:
        """Give back what a child had claimed and cannot start."""
        if not tickets:
            return
        try:
            self._runtime.store.release(holder, tickets)
        except exceptions.OperationalError as error:  # the child holds them until it ends
            logger.error("%s; %d claims wait for a process that does not start them", error, len(tickets))

    def _claimant(self, holder: int) -> Claimant:
        """In the name of a child that is no more."""
        return Claimant(
            holder=holder,
            worker=self._options.node,
            pid=os.getpid(),
            queues=self._options.queues,
            picker=BatchPicker(self._runtime.registry),
        )

    def _holders(self, pid: int | None) -> list[int]:
        """The numbers of the child that had this pid. One that lives is not among them, whatever its exit code says."""
        return [
            record.id
            for record in self._runtime.store.processes()
            if record.parent == self._parent
            and record.identity.pid == pid
            and process.is_alive(record.identity) is not True
        ]
