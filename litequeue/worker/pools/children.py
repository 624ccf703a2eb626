"""One child process, as its supervisor sees it."""

from __future__ import annotations

import logging
import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from litequeue.core import clock
from litequeue.core.records import Ticket
from litequeue.core.steering import Termination
from litequeue.worker import child
from litequeue.worker.afterwards import SOFT
from litequeue.worker.aiming import strike
from litequeue.worker.batch import Tickets
from litequeue.worker.consumer import GIVE_BACK_AFTER
from litequeue.worker.interrupting import SOFT_SIGNAL
from litequeue.worker.limits import MESSAGE, Deadline
from litequeue.worker.orphan import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

logger = logging.getLogger("litequeue.worker")

_DEADLY: Final = frozenset(
    {"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGBREAK", "SIGUSR2"}
    | {"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"}
)
"""Signals of a revoke that mean SIGKILL: those that a child answers in its own way, and those that would not end it."""


class Child:
    """A process with one slot."""

    def __init__(self, process: BaseProcess, control: socket.socket, orders: socket.socket, tickets: Tickets) -> None:
        self.process = process
        self.control = control
        self.orders = orders
        self.tickets = tickets
        self.holder: int | None = None
        """Its number in the file; None until it is up."""
        self.started_at = clock.monotonic()
        self.seen = b""
        """The first of its tickets, when we looked last."""
        self.look_at = 0.0
        """When to look at its tickets again."""
        self.leaving = False
        """Whether it was told to end after its task."""
        self.outdated = False
        """Whether it is to be replaced."""
        self.deadline = Deadline()
        self.timed_out = 0.0
        """The hard limit in seconds at which it was killed."""
        self.killed_at = 0.0
        """When that was."""
        self.struck: Termination | None = None
        """The revoke that it was killed for."""
        self._signalled: set[tuple[Ticket, str]] = set()

    @property
    def up(self) -> bool:
        """Whether it can claim."""
        return self.holder is not None

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

    # Limits

    def keep_limits(self, now: float) -> None:
        """Do what is due at a time limit."""
        deadline = self.deadline
        if deadline.hard_at and now >= deadline.hard_at:
            limit = deadline.hard
            if self._strike_at(deadline.ticket, self.process.kill):
                self.timed_out, self.killed_at, deadline.hard_at = limit, clock.now(), 0.0
        elif deadline.soft_at and now >= deadline.soft_at and deadline.ticket is not None:
            deadline.soft_at = 0.0
            logger.warning("Soft time limit (%ss) exceeded in %s", deadline.soft, self.process.name)
            self._interrupt(deadline.ticket)

    def _strike_at(self, ticket: Ticket | None, act: Callable[[], None]) -> bool:
        """Do it if the child still runs what it ran; what it says shows that. It is gone where it cannot be struck."""
        pid = self.process.pid
        if pid is None or ticket is None:
            return False

        def still() -> bool:
            self.hear()
            return self.deadline.ticket == ticket

        return strike(pid, still, act)

    def _interrupt(self, ticket: Ticket) -> None:
        """Raise SoftTimeLimitExceeded in this attempt; the child sees to it that it is no other, and once.

        It must not be suspended for that: the signal might then come to a thread that is not the main one, and end no
        system call in which the task waits.
        """
        if SOFT_SIGNAL is not None and self.process.pid is not None:
            with suppress(OSError):  # it has ended, or has not yet read many others
                self.orders.send(ORDER.pack(*ticket))
                os.kill(self.process.pid, SOFT_SIGNAL)

    # Revokes

    def terminate(self, termination: Termination, still: Callable[[], bool]) -> list[Ticket]:
        """Send the signal of a revoke, if `still()` says that the row is running.

        What the child has claimed and not started is drawn from it and returned, to be given back. Where the row is
        among that, nothing is sent.
        """
        claimed, pid, name = termination.claimed, self.process.pid, termination.signal
        ticket, drawn = Ticket(claimed.seq, claimed.attempt), list[Ticket]()
        if pid is None or not self.process.is_alive() or (ticket, name) in self._signalled:
            return drawn

        def running() -> bool:
            drawn.extend(self.tickets.draw_all())
            return ticket not in drawn and still()

        def kill() -> None:
            self.struck = termination
            self.process.kill()

        if name in _DEADLY:
            strike(pid, running, kill)
        elif name == SOFT:
            if running():
                self._interrupt(ticket)
        else:
            self._signalled.add((ticket, name))
            if not hasattr(signal, name):
                logger.error("Task %s[%s]: this system has no signal %s", claimed.name, claimed.id, name)
            elif running():
                self.struck = termination
                os.kill(pid, getattr(signal, name))
        return drawn

    def died_of(self) -> Termination | None:
        """The revoke that it was killed for; None where it has ended for another reason."""
        code, struck = self.process.exitcode, self.struck
        if struck is None or code in (None, 0):
            return None
        expected = "SIGKILL" if struck.signal in _DEADLY else struck.signal
        return struck if os.name != "posix" or code == -getattr(signal, expected, 0) else None

    # Its end

    def say_stop(self) -> None:
        """Ask the child to end after its task."""
        self.leaving = True
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
        self.orders.close()
        self.tickets.close()


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "is running"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"
    return f"exited with code {code}"
