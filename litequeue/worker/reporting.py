"""What a claimer tells of a transaction: what it lost, what had expired, what nobody here knows, what it received."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from litequeue import exceptions, signals
from litequeue.core.records import Claimed, Settled
from litequeue.worker.executor import record_data

if TYPE_CHECKING:
    from litequeue.worker.executor import Executor

logger = logging.getLogger("litequeue.worker")


class Reporter:
    """The log and the signals of one claimer."""

    def __init__(self, node: str, executor: Executor) -> None:
        self._node = node
        self._executor = executor
        self._unknown: set[str] = set()

    def report(self, settled: Settled) -> None:
        """Log it, and send the signals that belong to it."""
        for claimed in settled.lost:
            logger.warning(
                "Task %s[%s]: the result of attempt %d was not kept, another process had taken the task over",
                claimed.name,
                claimed.id,
                claimed.attempt,
            )
        for claimed in settled.revoked:
            logger.info("Discarding revoked task: %s[%s] expired", claimed.name, claimed.id)
            if signals.task_revoked.receivers:
                request = self._executor.describe(claimed)
                sender = self._executor.task_named(claimed.name)
                signals.task_revoked.send(sender=sender, request=request, terminated=False, signum=None, expired=True)
        for claimed in settled.aside:
            self._tell_unknown(claimed)
        if settled.claimed and (logger.isEnabledFor(logging.INFO) or signals.task_received.receivers):
            for claimed in settled.claimed:
                request = self._executor.describe(claimed)
                logger.info("Task %s[%s] received", claimed.name, claimed.id, extra=record_data(request))
                if signals.task_received.receivers:
                    signals.task_received.send(sender=self._node, request=request)

    def _tell_unknown(self, claimed: Claimed) -> None:
        """Say once for each name that its tasks wait for another worker."""
        if claimed.name not in self._unknown:
            self._unknown.add(claimed.name)
            logger.error(
                "Task %.200s[%s] is not known to this worker; all of that name wait in queue %s for one that knows it",
                claimed.name,
                claimed.id,
                claimed.queue,
            )
        if signals.task_unknown.receivers:
            error = exceptions.NotRegistered(claimed.name)
            signals.task_unknown.send(sender=self._node, message=claimed, exc=error, name=claimed.name, id=claimed.id)
