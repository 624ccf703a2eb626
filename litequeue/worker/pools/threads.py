"""Threads of the worker's own process: for tasks that wait more than they compute, and for embedding."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

from litequeue.core import clock
from litequeue.worker.consumer import Consumer

if TYPE_CHECKING:
    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")


class ThreadPool:
    """One consumer a thread, all of them holding claims as the worker's one process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._threads: list[threading.Thread] = []
        self._consumers: list[Consumer] = []
        self._interrupt, self._interrupter = socket.socketpair()

    def start(self) -> None:
        """Start the threads."""
        for number in range(1, self._worker.options.concurrency + 1):
            consumer = self._worker.make_consumer(self._interrupt)
            thread = threading.Thread(target=self._run, args=(consumer,), name=f"LiteQueueWorker-{number}", daemon=True)
            self._consumers.append(consumer)
            self._threads.append(thread)
            thread.start()

    def _run(self, consumer: Consumer) -> None:
        try:
            consumer.run()
        except BaseException as error:
            logger.exception("A thread of the worker ended")
            self._worker.fail(f"a thread of the pool ended: {error}")

    def watch(self, timeout: float) -> None:
        """Wait; threads look after themselves."""
        if self._consumers and self._worker.is_stopping():
            deadline = clock.monotonic() + timeout
            for thread in self._threads:
                thread.join(max(0.0, deadline - clock.monotonic()))
        else:
            self._worker.wait_for_signal(timeout)

    def is_up(self) -> bool:
        """Whether every thread runs."""
        return bool(self._threads)

    def stop(self) -> None:
        """Ask every thread to end after its task."""
        for consumer in self._consumers:
            consumer.stop()
        self._interrupter.close()  # the other end reads as ended, for every thread that waits

    def is_down(self) -> bool:
        """Whether every thread has ended."""
        return not any(thread.is_alive() for thread in self._threads)

    def kill(self) -> bool:
        """A thread cannot be killed."""
        self.stop()
        return False
