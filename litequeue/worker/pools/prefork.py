"""Child processes: one slot each, so that a task can be killed and a crash takes nothing else with it."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

from litequeue import exceptions, signals
from litequeue.core import clock
from litequeue.worker import child

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")

_BAD_STARTS: Final = 3  # children that die before they are up, one after the other, until the worker gives up
_PAUSE: Final = 0.5  # seconds after a child that died before it was up


class Child:
    """One child process, as its supervisor sees it."""

    def __init__(self, process: BaseProcess, control: socket.socket) -> None:
        self.process = process
        self.control = control
        self.up = False
        self.started_at = clock.monotonic()

    def hear(self) -> bool:
        """Whether the child is up; it says so once."""
        with suppress(BlockingIOError, ConnectionError):
            self.up = self.up or self.control.recv(1) == child.UP
        return self.up

    def say_stop(self) -> None:
        """Ask the child to end after its task."""
        with suppress(OSError):
            self.control.send(child.STOP)


class PreforkPool:
    """Starts, watches and replaces children; never runs a task."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._children: list[Child] = []
        self._stopping = False
        self._bad_starts = 0
        method = worker.options.start_method
        if method not in multiprocessing.get_all_start_methods() or method == "fork":
            raise exceptions.ImproperlyConfigured(
                f"worker_pool_start_method={method!r}: give 'forkserver' (POSIX) or 'spawn'. A forked child would share"
                " the file's connection with its parent."
            )
        self._context: Any = multiprocessing.get_context(method)

    def start(self) -> None:
        """Start as many children as the worker has slots."""
        if self._worker.options.start_method == "forkserver":
            self._context.set_forkserver_preload(self._worker.loader.preload())
        for _ in range(self._worker.options.concurrency):
            self._spawn()

    def _spawn(self) -> None:
        worker = self._worker
        if signals.worker_before_create_process.receivers:
            signals.worker_before_create_process.send(sender=self)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        number = worker.next_child_number()
        process = self._context.Process(
            target=child.main,
            args=(worker.loader, worker.options, worker.channel, theirs, worker.holder, number),
            name=f"LiteQueueWorker-{number}",
            daemon=False,
        )
        process.start()
        theirs.close()
        self._children.append(Child(process, ours))

    def watch(self, timeout: float) -> None:
        """Wait for a child to come up or die, and act on it."""
        controls = [each.control for each in self._children if not each.up]
        sentinels = [each.process.sentinel for each in self._children]
        wait([*controls, *sentinels, self._worker.interrupt], timeout)
        for each in list(self._children):
            if not each.up and each.hear():
                self._bad_starts = 0
            if not each.process.is_alive():
                self._replace(each)
            elif not each.up and clock.monotonic() - each.started_at > self._worker.options.proc_alive_timeout:
                logger.error("Process %s (pid %s) did not come up; killing it", each.process.name, each.process.pid)
                each.process.kill()

    def _replace(self, dead: Child) -> None:
        self._children.remove(dead)
        dead.control.close()
        dead.process.join()
        how = describe_exit(dead.process.exitcode)
        self._worker.bury_child(dead.process.pid, f"process {dead.process.pid} of {self._worker.options.node} {how}")
        if dead.process.exitcode != 0:
            logger.error("Process %s (pid %s) %s", dead.process.name, dead.process.pid, how)
        if self._stopping:
            return
        if not dead.up:
            self._bad_starts += 1
            if self._bad_starts >= _BAD_STARTS:
                self._worker.fail(f"{self._bad_starts} child processes in a row {how} before they were up")
                return
            self._worker.pause(_PAUSE)
        self._spawn()

    def is_up(self) -> bool:
        """Whether every child can claim."""
        return bool(self._children) and all(each.up for each in self._children)

    def stop(self) -> None:
        """Ask every child to end after its task."""
        self._stopping = True
        for each in self._children:
            each.say_stop()

    def is_down(self) -> bool:
        """Whether every child has ended."""
        return not self._children

    def kill(self) -> bool:
        """Kill every child; what they held is given back."""
        self._stopping = True
        for each in self._children:
            each.process.kill()
        for each in list(self._children):
            each.process.join()
            each.control.close()
            self._worker.release_child(each.process.pid)
            self._children.remove(each)
        return True

    def pids(self) -> list[int]:
        """The pids of the children."""
        return [each.process.pid for each in self._children if each.process.pid is not None]


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "is running"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"
    return f"exited with code {code}"
