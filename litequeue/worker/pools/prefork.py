"""Child processes: one slot each, so that a task can be killed and a crash takes nothing else with it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from litequeue import exceptions, signals
from litequeue.core import clock
from litequeue.worker import child
from litequeue.worker.batch import Tickets
from litequeue.worker.consumer import GIVE_BACK_AFTER
from litequeue.worker.limits import MESSAGE, SOFT_SIGNAL, Deadline
from litequeue.worker.waiting import wait_for

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")

_BAD_STARTS: Final = 3  # children that die before they are up, one after the other, until the worker gives up
_PAUSE: Final = 0.5  # seconds after a child that died before it was up


class Child:
    """One child process, as its supervisor sees it."""

    def __init__(self, process: BaseProcess, control: socket.socket, tickets: Tickets) -> None:
        self.process = process
        self.control = control
        self.tickets = tickets
        self.holder: int | None = None
        """Its number in the file; None until it is up."""
        self.started_at = clock.monotonic()
        self.seen = b""
        """The first of its tickets, when we looked last."""
        self.look_at = 0.0
        """When to look at its tickets again."""
        self.deadline = Deadline()
        self.timed_out = 0.0
        """The hard limit in seconds at which it was killed."""

    def hear(self) -> None:
        """Take what the child says: that it is up, then each start and end of a task with limits."""
        with suppress(BlockingIOError, ConnectionError):
            if self.holder is None:
                message = self.control.recv(child.UP.size)
                if len(message) == child.UP.size:
                    (self.holder,) = child.UP.unpack(message)
            while self.holder is not None:
                message = self.control.recv(MESSAGE.size)
                if len(message) < MESSAGE.size:
                    return
                self.deadline.hear(message)

    def keep_limits(self, now: float) -> None:
        """Do what is due at a time limit."""
        deadline = self.deadline
        if deadline.hard_at and now >= deadline.hard_at:
            self.timed_out, deadline.hard_at = deadline.hard, 0.0
            self.process.kill()
        elif deadline.soft_at and now >= deadline.soft_at:
            deadline.soft_at = 0.0
            logger.warning("Soft time limit (%ss) exceeded in %s", deadline.soft, self.process.name)
            if SOFT_SIGNAL is not None and self.process.pid is not None:
                os.kill(self.process.pid, SOFT_SIGNAL)

    def say_stop(self) -> None:
        """Ask the child to end after its task."""
        with suppress(OSError):
            self.control.send(child.STOP)

    def is_stuck(self, now: float) -> bool:
        """Whether its first ticket is still the one that it was GIVE_BACK_AFTER seconds ago."""
        if now < self.look_at:
            return False
        first = self.tickets.first()
        stuck = bool(first) and first == self.seen
        self.seen = first
        self.look_at = now + GIVE_BACK_AFTER if first else 0.0
        return stuck

    def close(self) -> None:
        """Give the sockets up."""
        self.control.close()
        self.tickets.close()


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
            preload = ["litequeue.worker.child", *self._worker.loader.preload(), "litequeue.worker.zygote"]
            self._context.set_forkserver_preload(preload)
        if os.name == "posix":
            from multiprocessing import resource_tracker

            # It lets signals in while it starts, so it must not be started when they are blocked.
            resource_tracker.ensure_running()
        self._fill()

    def _fill(self) -> None:
        """Start the children that are missing."""
        while len(self._children) < self._worker.options.concurrency and not self._stopping:
            if self._bad_starts and not self._worker.act_on_signals():
                return
            try:
                self._spawn()
            except (OSError, EOFError) as error:  # the fork server went away; the next start makes another
                self._count_bad_start(f"could not be started ({error!r})")

    def _count_bad_start(self, how: str) -> None:
        self._bad_starts += 1
        if self._bad_starts < _BAD_STARTS:
            self._worker.pause(_PAUSE)
        else:
            self._stopping = True
            self._worker.fail(f"{self._bad_starts} child processes in a row {how} before they were up")

    def _spawn(self) -> None:
        worker = self._worker
        if signals.worker_before_create_process.receivers:
            signals.worker_before_create_process.send(sender=self)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        tickets = Tickets()
        number = worker.next_child_number()
        process = self._context.Process(
            target=child.main,
            args=(
                worker.loader,
                worker.options,
                worker.channel,
                theirs,
                tickets,
                worker.log_writer,
                worker.holder,
                number,
            ),
            name=f"LiteQueueWorker-{number}",
            daemon=False,
        )
        with child.signals_blocked():
            process.start()
        theirs.close()
        tickets.close_writer()
        self._children.append(Child(process, ours, tickets))

    # Watching

    def watch(self, timeout: float) -> None:
        """Wait for a child to come up, get stuck or die, and act on it."""
        now = clock.monotonic()
        times = [at for each in self._children for at in (each.look_at, each.deadline.next_at()) if at]
        sentinels = [each.process.sentinel for each in self._children]
        wait_for(self._sockets(), sentinels, max(0.0, min([now + timeout, *times]) - now))
        now = clock.monotonic()
        for each in list(self._children):
            each.hear()
            if not each.process.is_alive():
                self._replace(each)
            elif each.holder is None:
                self._check_start(each, now)
            else:
                each.keep_limits(now)
                if each.is_stuck(now):
                    self._worker.release(each.holder, each.tickets.draw_all())
        self._fill()

    def _sockets(self) -> list[socket.socket]:
        """What to wait for: a signal, a word of a child, and the first ticket of a batch."""
        sockets = [self._worker.interrupt]
        for each in self._children:
            sockets.append(each.control)
            if each.holder is not None and not each.look_at:
                sockets.append(each.tickets.reader)
        return sockets

    def _check_start(self, each: Child, now: float) -> None:
        if now - each.started_at > self._worker.options.proc_alive_timeout:
            logger.error("Process %s (pid %s) did not come up; killing it", each.process.name, each.process.pid)
            each.process.kill()

    def _replace(self, dead: Child) -> None:
        self._children.remove(dead)
        dead.hear()
        dead.close()
        dead.process.join()
        how = describe_exit(dead.process.exitcode)
        if dead.timed_out and dead.holder is not None and dead.deadline.ticket is not None:
            self._worker.time_out(dead.holder, dead.deadline.ticket, dead.timed_out)
        self._worker.bury_child(dead.process.pid, f"process {dead.process.pid} of {self._worker.options.node} {how}")
        if dead.process.exitcode != 0:
            logger.error("Process %s (pid %s) %s", dead.process.name, dead.process.pid, how)
        if dead.holder is not None:
            self._bad_starts = 0
        elif not self._stopping:
            self._count_bad_start(how)

    def is_up(self) -> bool:
        """Whether every child can claim."""
        up = sum(each.holder is not None for each in self._children)
        return up == self._worker.options.concurrency

    # Stopping

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
            each.close()
            self._worker.release_child(each.process.pid)
            self._children.remove(each)
        return True


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "is running"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"
    return f"exited with code {code}"
