"""What one slot has claimed and not started, and finished and not settled.

For every claim of a batch there is a ticket in a socket. Whoever draws the ticket decides what becomes of the claim:
the slot, which runs it; its watch thread, which gives it back when the task before it runs long; or the supervisor,
which does so when that task does not even let the watch thread run. Drawing is one `recv`, so the kernel sees to it
that a ticket is drawn once, and a process that dies leaves no lock behind.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress

from litequeue.core import clock
from litequeue.core.records import Claimed, Outcome, Ticket

_TICKET = struct.Struct("<qq")
_MOST = 4096 * _TICKET.size  # bytes: more than a claim can take


class Tickets:
    """The tickets of one slot; `reader` may be shared with another process, which then draws from the same ones."""

    def __init__(self, reader: socket.socket | None = None, writer: socket.socket | None = None) -> None:
        if reader is None or writer is None:
            reader, writer = socket.socketpair()
        self.reader = reader
        self._writer = writer
        reader.setblocking(False)

    def __reduce__(self) -> tuple[type[Tickets], tuple[socket.socket, socket.socket]]:
        return Tickets, (self.reader, self._writer)

    def put(self, claims: Sequence[Claimed]) -> None:
        """Put a ticket in for each of `claims`."""
        self._writer.sendall(b"".join(_TICKET.pack(claimed.seq, claimed.attempt) for claimed in claims))

    def draw(self) -> Ticket | None:
        """Take the first ticket; None when there is none."""
        try:
            return Ticket._make(_TICKET.unpack(self.reader.recv(_TICKET.size)))
        except (BlockingIOError, ConnectionError, struct.error):
            return None

    def draw_all(self) -> list[Ticket]:
        """Take all tickets."""
        with suppress(BlockingIOError, ConnectionError):
            return [Ticket._make(fields) for fields in _TICKET.iter_unpack(self.reader.recv(_MOST))]
        return []

    def first(self) -> bytes:
        """What the first ticket looks like, without taking it; empty when there is none."""
        with suppress(BlockingIOError, ConnectionError):
            return self.reader.recv(_TICKET.size, socket.MSG_PEEK)
        return b""

    def close_writer(self) -> None:
        """Leave the writing to the other process."""
        self._writer.close()

    def close(self) -> None:
        """Give the sockets up."""
        self.reader.close()
        self._writer.close()


class Batch:
    """The claims and outcomes of one slot, shared with the watch that guards it."""

    def __init__(self, tickets: Tickets | None = None) -> None:
        self._tickets = tickets or Tickets()
        self._claims: dict[int, Claimed] = {}
        self._single: Claimed | None = None  # needs no ticket: nothing is in front of it
        self._started_at = 0.0
        self._lock = threading.Lock()
        self._finished: list[Outcome] = []
        self._oldest_finish = 0.0

    def add(self, claims: Sequence[Claimed]) -> None:
        """Put the claims of a batch in; the one before must be through."""
        if len(claims) == 1:
            self._single = claims[0]
        else:
            self._claims = {claimed.seq: claimed for claimed in claims}
            self._tickets.put(claims)

    def start(self) -> Claimed | None:
        """Take the next claim out to run it; None when there is none, or the rest was given back."""
        self._started_at = clock.monotonic()
        if self._single is not None:
            claimed, self._single = self._single, None
            return claimed
        if not self._claims:
            return None
        ticket = self._tickets.draw()
        if ticket is None:
            self._claims.clear()
            return None
        return self._claims.pop(ticket.seq)

    def take_unstarted(self, running_for: float = 0.0) -> list[Ticket]:
        """Take all claims out that were not started, if the one before them has run for `running_for` seconds.

        With 0 it is the slot itself that asks, and starts nothing more.
        """
        if running_for and clock.monotonic() - self._started_at < running_for:
            return []
        taken = self._tickets.draw_all()
        if self._single is not None and not running_for:
            taken.append(Ticket(self._single.seq, self._single.attempt))
            self._single = None
        if not running_for:
            self._claims.clear()
        return taken

    def finish(self, outcome: Outcome) -> None:
        """Put an outcome in, to be settled with the next ones."""
        with self._lock:
            if not self._finished:
                self._oldest_finish = clock.monotonic()
            self._finished.append(outcome)

    def take_finished(self, older_than: float = 0.0) -> list[Outcome]:
        """Take all outcomes out, if the oldest has waited for `older_than` seconds."""
        if not self._finished:
            return []
        with self._lock:
            if older_than and clock.monotonic() - self._oldest_finish < older_than:
                return []
            finished, self._finished = self._finished, []
            return finished

    def waiting(self) -> bool:
        """Whether something is waiting to be started or settled."""
        return bool(self._finished or self._claims or self._single)

    def close(self) -> None:
        """Give the sockets up."""
        self._tickets.close()
