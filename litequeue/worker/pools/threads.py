"""Threads of the worker's own process: for tasks that wait more than they compute, and for embedding."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

from litequeue.worker.limits import InThread, Timekeeper

if TYPE_CHECKING:
    from litequeue.core.records import Claimed
    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")


class Slot:
    """One thread that runs one task at a time."""

    def __init__(self, worker: Worker, timekeeper: Timekeeper, number: int) -> None:
        self._worker = worker
        self._interrupt, self._interrupter = socket.socketpair()
        self.limiter = InThread(timekeeper, worker.options)
        self.consumer = worker.make_consumer(self._interrupt, limiter=self.limiter)
        self.thread = threading.Thread(target=self._run, name=f"LiteQueueWorker-{number}", daemon=True)
        self.leaving = False
        """Whether it was told to end after its task."""
        self.ended = False
        """Whether it does no more."""

    def _run(self) -> None:
        try:
            with self.limiter.serving(self.consumer.executor, self._worker.runtime.store):
                self.consumer.run()
        except BaseException as error:
            logger.exception("A thread of the worker ended")
            self._worker.fail(f"a thread of the pool ended: {error}")
        finally:
            self._interrupt.close()
            self.ended = True
            self._worker.wake()  # a stop waits for this, and for further signals

    def stop(self) -> None:
        """Ask it to end after its task."""
        self.leaving = True
        self.consumer.stop()
        self._interrupter.close()  # the other end reads as ended, for a thread that waits


class ThreadPool:
    """One consumer a thread, all of them holding claims as the worker's one process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._timekeeper = Timekeeper(worker.options.pool)
        self._slots: list[Slot] = []
        self._started = 0
        self._stopping = False

    def start(self) -> None:
        """Start the threads."""
        self.resize(self._worker.concurrency)

    def watch(self, timeout: float) -> None:
        """Wait; threads look after themselves."""
        self._worker.wait_for_signal(timeout)
        for slot in self._slots:
            if slot.ended:
                slot.thread.join()
        self._slots = [slot for slot in self._slots if slot.thread.is_alive()]

    def is_up(self) -> bool:
        """Whether every thread runs."""
        return self._started > 0 or self._worker.concurrency == 0

    def resize(self, slots: int) -> None:
        """Have `slots` threads. Of those that are too many idle ones end first, and each of the others after its
        task."""
        staying = [slot for slot in self._slots if not slot.leaving]
        staying.sort(key=lambda slot: slot.limiter.busy)
        for slot in staying[: max(0, len(staying) - slots)]:
            slot.stop()
        for _ in range(slots - len(staying)):
            if not self._stopping:
                self._started += 1
                slot = Slot(self._worker, self._timekeeper, self._started)
                self._slots.append(slot)
                slot.thread.start()

    def interrupt(self, claimed: Claimed, error: BaseException) -> bool:
        """Raise `error` in the task that `claimed` began; False where it does not run any more. From any thread."""
        return any(slot.limiter.interrupt(claimed, error) for slot in list(self._slots))

    def stop(self) -> None:
        """Ask every thread to end after its task."""
        self._stopping = True
        for slot in self._slots:
            slot.stop()

    def is_down(self) -> bool:
        """Whether every thread has ended."""
        down = self._stopping and not any(slot.thread.is_alive() for slot in self._slots)
        if down:
            self._timekeeper.stop()
        return down

    def kill(self) -> bool:
        """A thread cannot be killed."""
        self.stop()
        return False
