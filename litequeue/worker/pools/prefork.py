"""Child processes: one slot each, so that a task can be killed and a crash takes nothing else with it."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from litequeue import exceptions, signals
from litequeue.core import clock
from litequeue.core.steering import Termination
from litequeue.worker import child
from litequeue.worker.batch import Tickets
from litequeue.worker.pools.children import Child, describe_exit
from litequeue.worker.stacks import Line
from litequeue.worker.waiting import wait_for

if TYPE_CHECKING:
    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")

_BAD_STARTS: Final = 3  # children that die before they are up, one after the other, until the worker gives up
_PAUSE: Final = 0.5  # seconds after a child that died before it was up
_TURN: Final = 1.0  # seconds for which the next child to be replaced waits for the one before


class PreforkPool:
    """Starts, watches and replaces children; never runs a task."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._children: list[Child] = []
        self._wanted = worker.concurrency
        self._stopping = False
        self._bad_starts = 0
        self._turn_at = 0.0
        self._old_servers: list[int] = []
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
        while self._missing() and not self._bad_starts:
            self._start_one()

    def _missing(self) -> bool:
        """Whether there is to be one more child. Those that end after their task have their place until then."""
        return not self._stopping and len(self._children) < self._wanted + self._replacing()

    def _start_one(self) -> None:
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
        orders, obeyed = socket.socketpair()
        ours.setblocking(False)
        orders.setblocking(False)
        tickets = Tickets()
        number = worker.next_child_number()
        options = replace(worker.options, queues=worker.queues)
        lines = child.Lines(theirs, obeyed, tickets, worker.log_writer)
        process = self._context.Process(
            target=child.main,
            args=(worker.loader, options, worker.channel, lines, worker.holder, number),
            name=f"LiteQueueWorker-{number}",
            daemon=False,
        )
        with child.signals_blocked():
            process.start()
        theirs.close()
        obeyed.close()
        tickets.close_writer()
        self._children.append(Child(process, ours, orders, tickets))

    # Watching

    def watch(self, timeout: float) -> None:
        """Wait for a child to come up, get stuck or die, and act on it."""
        now = clock.monotonic()
        times = [at for each in self._children for at in (each.look_at, each.deadline.next_at()) if at]
        times += [self._turn_at] if self._turn_at else []
        times += [now] if self._missing() else []
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
                    self._worker.afterwards.release(each.holder, each.tickets.draw_all())
        self._take_turns(now)
        if self._missing():  # one at a time: the limits of the others do not wait for all of them
            self._start_one()

    def _sockets(self) -> list[socket.socket]:
        """What to wait for: a signal, a word of a child, and the first ticket of a batch."""
        sockets = [self._worker.interrupt]
        for each in self._children:
            sockets.append(each.control)
            if each.up and not each.look_at:
                sockets.append(each.tickets.reader)
        return sockets

    def _check_start(self, each: Child, now: float) -> None:
        if now - each.started_at > self._worker.options.proc_alive_timeout:
            logger.error("Process %s (pid %s) did not come up; killing it", each.process.name, each.process.pid)
            each.process.kill()

    def _replace(self, dead: Child) -> None:
        dead.hear()
        dead.close()
        dead.process.join()
        how = describe_exit(dead.process.exitcode)
        try:
            self._settle_death(dead, f"process {dead.process.pid} of {self._worker.options.node} {how}")
        finally:
            self._children.remove(dead)
        if dead.holder is not None:
            self._bad_starts = 0
        elif not self._stopping:
            self._count_bad_start(how)

    def _settle_death(self, dead: Child, reason: str) -> None:
        """End, or give back, what a dead child held."""
        afterwards, pid = self._worker.afterwards, dead.process.pid
        termination, ticket = dead.died_of(), dead.deadline.ticket
        if dead.timed_out and dead.holder is not None and ticket is not None:
            again = afterwards.time_out(dead.holder, ticket, dead.timed_out, dead.killed_at)
            afterwards.bury(pid, again or reason, (ticket,) if again else ())
        elif termination is not None:
            afterwards.bury(pid, reason, (), termination)
            code = dead.process.exitcode or 0
            afterwards.terminated(termination, abs(code))
        else:
            afterwards.bury(pid, reason)
            if dead.process.exitcode != 0:
                logger.error("Process %s: %s", dead.process.name, reason)

    def is_up(self) -> bool:
        """Whether every child can claim."""
        return sum(each.up for each in self._children) >= self._wanted

    # Another size, other children

    def resize(self, slots: int) -> None:
        """Have `slots` children. More are started at once; of those that are too many the idle ones end first, and each
        of the others after its task."""
        self._wanted = slots
        staying = [each for each in self._children if not each.leaving]
        for each in self._idle_first(staying)[: max(0, len(staying) - slots)]:
            each.say_stop()

    def _idle_first(self, children: list[Child]) -> list[Child]:
        store = self._worker.runtime.store  # a child that has only just come up is not marked idle yet, and not busy
        return sorted(children, key=lambda each: (each.up, each.holder is not None and bool(store.held(each.holder))))

    def restart(self, reload: bool) -> None:
        """Replace every child, one after another: a new one comes up, then an old one ends after its task.

        With `reload` the new ones come from a new fork server, which has imported the modules anew.
        """
        if reload and self._worker.options.start_method == "forkserver":
            self._old_servers.extend(_leave_fork_server())
        for each in self._children:
            each.outdated = True

    def _replacing(self) -> int:
        """1 while there is a child to be replaced, whose replacement comes up first; else 0."""
        return int(any(each.outdated and not each.leaving for each in self._children))

    def _take_turns(self, now: float) -> None:
        """Let the next child that is to be replaced end, once a new one is up.

        Where one takes long, the others do not wait for it: each ends after its task, and is replaced then.
        """
        old = [each for each in self._children if each.outdated and not each.leaving]
        if not old:
            self._turn_at = 0.0
        elif any(each.outdated and each.leaving for each in self._children):
            if now >= self._turn_at:
                for each in old:
                    each.say_stop()
        elif len(self._children) > self._wanted and all(each.up for each in self._children):
            self._idle_first(old)[0].say_stop()
            self._turn_at = now + _TURN

    # Revokes

    def terminate(self, terminations: Sequence[Termination]) -> None:
        """Kill, or signal, the children that run these tasks, if they still do."""
        worker = self._worker
        for wanted in terminations:
            for each in self._children:
                if each.holder == wanted.holder:
                    drawn = each.terminate(wanted, functools.partial(self._is_wanted, wanted))
                    worker.afterwards.release(each.holder, drawn)

    def _is_wanted(self, wanted: Termination) -> bool:
        """Whether the task runs and is to be terminated, as the file says now."""
        key = (wanted.claimed.seq, wanted.claimed.attempt)
        terminations = self._worker.runtime.store.terminations(self._worker.holder)
        return key in {(each.claimed.seq, each.claimed.attempt) for each in terminations}

    # Stopping

    def stop(self) -> None:
        """Ask every child to end after its task; what they have not started is given back now."""
        self._stopping = True
        for each in self._children:
            each.say_stop()
            if each.holder is not None:
                self._worker.afterwards.release(each.holder, each.tickets.draw_all())

    def is_down(self) -> bool:
        """Whether every child has ended."""
        return self._stopping and not self._children

    def kill(self) -> bool:
        """Kill every child; what they held is given back."""
        self._stopping = True
        for each in self._children:
            each.process.kill()
        for each in list(self._children):
            each.process.join()
            each.close()
            self._worker.afterwards.release_child(each.process.pid)
            self._children.remove(each)
        return True

    def close(self) -> None:
        """Give up what outlives the children."""
        for pid in self._old_servers:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def holders(self) -> list[int]:
        """The numbers of the children that are up and not yet buried; callable from any thread."""
        return [each.holder for each in list(self._children) if each.holder is not None]

    def stack_lines(self) -> list[Line]:
        """The children that can be asked for their stacks; callable from any thread."""
        children = [each for each in self._children if each.up and each.process.pid is not None]
        return [Line(each.process.name, each.process.pid or 0, each.orders) for each in children]


def _leave_fork_server() -> list[int]:
    """Have the next process started by a new fork server; returns the pid of the present one, if there is one.

    Every process that it has made keeps it alive: it ends with the last of them, and tells until then how they end.
    """
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver
    with server._lock:
        pid = server._forkserver_pid
        if pid is None:
            return []
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = server._forkserver_address = server._forkserver_pid = None
    return [pid]
