"""Waking who waits: datagrams over the loopback, and `PRAGMA data_version` under them.

A datagram is a hint, never the truth: who is woken reads the file again, and who is never woken finds the work by
polling.

- A worker binds one UDP socket and all its slots wait on it, so a datagram wakes one idle slot. Its port stands in
  litequeue_processes, with the number of idle slots.
- A client binds one socket; its port stands in every row it enqueues, and whoever settles the row sends one datagram
for
  each client and batch.
"""

from __future__ import annotations

import select
import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from litequeue.core import clock
from litequeue.store.sqlite.guarding import GuardedCondition

_HOST = "127.0.0.1"
_MESSAGE = b"litequeue"
_FIRST_POLL, _LAST_POLL = 0.002, 0.05  # seconds between looks at data_version while somebody waits
_EXCLUSIVE = getattr(select, "EPOLLEXCLUSIVE", None)


def bind() -> socket.socket:
    """A socket on a free port of the loopback."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((_HOST, 0))
    bound.setblocking(False)
    return bound


def _drain(bound: socket.socket) -> bool:
    """Take every datagram off; True when there was one."""
    found = False
    with suppress(BlockingIOError, ConnectionResetError):
        while True:
            bound.recv(64)
            found = True
    return found


class Sender:
    """Sends hints; an error is nobody's business, the receiver polls."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def send(self, port: int, count: int = 1) -> None:
        """Send `count` datagrams to `port`."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        with suppress(OSError, OverflowError):  # a port that is none, in a row that somebody else wrote
            for _ in range(count):
                self._socket.sendto(_MESSAGE, (_HOST, port))

    def send_all(self, ports: Iterable[int]) -> None:
        """Send one datagram to each of `ports`."""
        for port in ports:
            self.send(port)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket up; the next send opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Changes:
    """Waiting for the file to change, by any number of threads: one of them listens, the others wait for it."""

    def __init__(self, read_version: Callable[[], int]) -> None:
        self._read_version = read_version
        self._condition = GuardedCondition()
        self._listening = False
        self._count = 0
        self._version = -1
        self._socket: socket.socket | None = None
        self._port: int | None = None

    def port(self) -> int:
        """The port that stands in the rows this process enqueues."""
        port = self._port
        if port is None:
            with self._condition:
                if self._socket is None:
                    self._socket = bind()
                self._port = port = self._socket.getsockname()[1]
        return port

    def count(self) -> int:
        """A number that grows when the file may have changed."""
        self._look()
        return self._count

    def _look(self) -> None:
        version = self._read_version()
        with self._condition:
            if version != self._version:
                self._version = version
                self._count += 1
                self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> int:
        """Block until the number differs from `seen`, at most `timeout` seconds; returns it."""
        deadline = clock.monotonic() + timeout
        poll = _FIRST_POLL
        while True:
            self._look()
            remaining = deadline - clock.monotonic()
            if self._count != seen or remaining <= 0:
                return self._count
            mine = False
            try:
                with self._condition:
                    if self._count != seen:
                        return self._count
                    if self._listening:
                        self._condition.wait(min(remaining, _LAST_POLL))
                        continue
                    self._listening = mine = True
                self._listen(min(poll, remaining))
            finally:
                if mine:
                    with self._condition:
                        self._listening = False
            poll = min(poll * 1.5, _LAST_POLL)

    def _listen(self, timeout: float) -> None:
        if self._socket is None:
            self.port()
        assert self._socket is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.select(timeout)
        if _drain(self._socket):
            with self._condition:
                self._count += 1
                self._condition.notify_all()

    def __del__(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def close(self) -> None:
        """Give the port up."""
        with self._condition:
            if self._socket is not None:
                self._socket.close()
                self._socket = self._port = None


class WorkChannel:
    """The socket of one worker, on which its idle slots wait; passed on to its child processes."""

    def __init__(self, bound: socket.socket) -> None:
        self.socket = bound
        bound.setblocking(False)
        self.port: int = bound.getsockname()[1]
        self.version_seen = -1  # the data_version at the last look of the safety net
        self.look_at = 0.0  # when something falls due next, as far as it knew then
        self._local = threading.local()

    def __reduce__(self) -> tuple[type[WorkChannel], tuple[socket.socket]]:
        return WorkChannel, (self.socket,)

    def wait(self, timeout: float, interrupt: socket.socket | None) -> bool:
        """Block until a datagram comes for this slot, `interrupt` becomes readable, or `timeout` seconds pass.

        True when a datagram was taken: of all slots that wait, one gets it.
        """
        if _EXCLUSIVE is not None:
            self._poller(interrupt).poll(timeout)
        else:
            select.select([self.socket] if interrupt is None else [self.socket, interrupt], [], [], timeout)
        try:
            self.socket.recv(64)
        except (BlockingIOError, ConnectionResetError):
            return False
        return True

    def _poller(self, interrupt: socket.socket | None) -> select.epoll:
        # One epoll a thread: EPOLLEXCLUSIVE makes the kernel wake one waiter for a datagram, not all of them.
        poller: select.epoll | None = getattr(self._local, "poller", None)
        if poller is None:
            poller = select.epoll()
            poller.register(self.socket, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            if interrupt is not None:
                poller.register(interrupt, select.EPOLLIN)
            self._local.poller = poller
        return poller

    def close(self) -> None:
        """Give the port up."""
        self.socket.close()
