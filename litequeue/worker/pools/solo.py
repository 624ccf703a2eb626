"""The worker's own thread runs the tasks, one at a time: for debugging, and for what must run in the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litequeue.worker.consumer import Consumer

if TYPE_CHECKING:
    from litequeue.worker.supervisor import Worker


class SoloPool:
    """One consumer, run by `watch` itself."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._consumer: Consumer | None = None
        self._down = False

    def start(self) -> None:
        """Make the consumer; `watch` runs it."""
        self._consumer = self._worker.make_consumer(self._worker.interrupt, self._worker.act_on_signals)
        self._consumer.executor.terminable = True

    def watch(self, timeout: float) -> None:
        """Run tasks until the worker is told to stop."""
        assert self._consumer is not None, "start comes first"
        try:
            self._consumer.run()
        finally:
            self._down = True

    def is_up(self) -> bool:
        """Whether the consumer is made."""
        return self._consumer is not None

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
