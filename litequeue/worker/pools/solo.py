"""The worker's own thread runs the tasks, one at a time: for debugging, and for what must run in the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litequeue import signals
from litequeue.worker.consumer import Consumer
from litequeue.worker.limits import InThread, Timekeeper
from litequeue.worker.watched import ToWatchdog

if TYPE_CHECKING:
    from litequeue.core.records import Claimed
    from litequeue.worker.supervisor import Worker


class SoloPool:
    """One consumer, run by `watch` itself."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._timekeeper = Timekeeper(worker.options.pool)
        self._limiter: InThread | None = None
        self._consumer: Consumer | None = None
        self._down = False

    def start(self) -> None:
        """Make the consumer; `watch` runs it."""
        worker, address = self._worker, self._worker.options.watchdog
        watchdog = None if address is None else ToWatchdog(address, worker.holder)
        if watchdog is not None:
            watchdog.when_gone(worker.stop)
        self._limiter = InThread(self._timekeeper, worker.options, watchdog)
        self._consumer = worker.make_consumer(worker.interrupt, worker.act_on_signals, limiter=self._limiter)
        self._consumer.executor.terminable = True
        signals.worker_process_init.send(sender=worker.options.node)

    def watch(self, timeout: float) -> None:
        """Run tasks until the worker is told to stop."""
        assert self._consumer is not None and self._limiter is not None, "start comes first"
        worker = self._worker
        try:
            with self._limiter.serving(self._consumer.executor, worker.runtime.store, worker.in_main_thread):
                self._consumer.run()
        finally:
            self._timekeeper.stop()
            self._down = True

    def is_up(self) -> bool:
        """Whether the consumer is made."""
        return self._consumer is not None

    def interrupt(self, claimed: Claimed, error: BaseException) -> bool:
        """Raise `error` in the task that `claimed` began; False where it does not run any more. From any thread."""
        return self._limiter is not None and self._limiter.interrupt(claimed, error)

    def strike(self, error: BaseException) -> None:
        """Raise `error` in the task that runs, and start no other; from a signal handler of this thread."""
        self.stop()
        if self._limiter is not None:
            self._limiter.gate.strike(error)

    def stop(self) -> None:
        """End after the task that runs."""
        if self._consumer is not None:
            self._consumer.stop()
        else:
            self._down = True

    def is_down(self) -> bool:
        """Whether the consumer has ended."""
        return self._down

    def kill(self) -> bool:
        """Nothing runs when this is asked: the slot's own thread asks, or WorkerTerminate was raised in its task."""
        self.stop()
        return True
