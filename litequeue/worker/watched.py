"""What a solo worker tells the watchdog process that has started it: which task has to end by when.

Datagrams over the loopback, each with a token that only the two know. The watchdog looks at the file before it acts on
one, so that a message that is lost costs a limit and never a task.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from litequeue.core.records import Claimed, Ticket

logger = logging.getLogger("litequeue.worker")

ENVIRONMENT: Final = "LITEQUEUE_WATCHDOG"
"""The variable by which a worker knows its watchdog: `PORT:TOKEN:PID:STARTS`."""
_LOOK: Final = 1.0  # seconds between looks whether the watchdog still runs
_HOST: Final = "127.0.0.1"
_MESSAGE: Final = struct.Struct("<16sqqqd")
"""Token, number of the process in the file, seq, attempt (0 and 0: the task has ended), hard limit in seconds."""


class Address(NamedTuple):
    """Where a watchdog listens."""

    port: int
    token: bytes
    pid: int
    starts: int
    """How many workers it has started before this one."""

    def written(self) -> str:
        """As it stands in the environment."""
        return f"{self.port}:{self.token.hex()}:{self.pid}:{self.starts}"

    @classmethod
    def read(cls, text: str) -> Address:
        """From the environment. ValueError: that is no address."""
        port, token, pid, starts = text.split(":")
        return cls(int(port), bytes.fromhex(token), int(pid), int(starts))

    def lives(self) -> bool:
        """Whether the watchdog still runs; asked in the process that it has started."""
        if sys.platform == "win32":
            import psutil

            return psutil.pid_exists(self.pid)
        return os.getppid() == self.pid


class Heard(NamedTuple):
    """A message of a worker."""

    holder: int
    ticket: Ticket | None
    """The attempt that has begun; None: it has ended."""
    limit: float


class ToWatchdog:
    """The hard limiter of a worker that is watched."""

    def __init__(self, address: Address, holder: int) -> None:
        self._address = address
        self._holder = holder
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call `call`, in another thread, once the watchdog does not run any more."""

        def look() -> None:
            while self._address.lives():
                time.sleep(_LOOK)
            logger.error("The watchdog of this worker is gone: it stops")
            call()

        threading.Thread(target=look, name="litequeue-watched", daemon=True).start()

    def begin(self, claimed: Claimed, limit: float) -> None:
        """Tell it when the task must have ended."""
        self._send(claimed.seq, claimed.attempt, limit)

    def end(self) -> None:
        """Tell it that the task has."""
        self._send(0, 0, 0.0)

    def _send(self, seq: int, attempt: int, limit: float) -> None:
        message = _MESSAGE.pack(self._address.token, self._holder, seq, attempt, limit)
        with suppress(OSError):  # it is gone, and this worker ends soon
            self._socket.sendto(message, (_HOST, self._address.port))


class FromWorker:
    """The watchdog's end of it."""

    def __init__(self, token: bytes) -> None:
        self.token = token
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((_HOST, 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]

    def hear(self) -> list[Heard]:
        """Every message that has come; what is not from the worker is left out."""
        heard: list[Heard] = []
        with suppress(BlockingIOError, ConnectionResetError):
            while True:
                message = self.socket.recv(_MESSAGE.size + 1)
                if len(message) == _MESSAGE.size:
                    token, holder, seq, attempt, limit = _MESSAGE.unpack(message)
                    if token == self.token:
                        heard.append(Heard(holder, Ticket(seq, attempt) if seq else None, limit))
        return heard

    def close(self) -> None:
        """Give the port up."""
        self.socket.close()
