"""Where every thread of a worker is: stacks for the log, one record a process, on SIGUSR1.

A child answers in two ways. `faulthandler` writes from the signal handler itself, whatever the interpreter does; and a
handler in Python sends the stacks with names of threads and lines of code, as soon as the main thread lets it. Where it
does not, because it is inside one long call of C code, the first answer is shown. Not on Windows, which has no such
signals.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Final, NamedTuple

from litequeue.core import clock

logger = logging.getLogger("litequeue.worker")

SIGNAL: Final = getattr(signal, "SIGUSR1", None)
"""What asks a child; None where the system has no such signal."""
_MARK: Final = b"\0"  # between the two answers, and at the end
_PATIENCE: Final = 0.5  # seconds for the second answer
_LARGEST: Final = 60_000  # bytes of an answer


def stacks(own: FrameType | None = None) -> str:
    """The stacks of all threads of this process, by name; this thread's from `own` on, or not at all."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames: dict[int, FrameType | None] = {**sys._current_frames(), threading.get_ident(): own}
    return "\n".join(
        f"Thread {names.get(ident, 'of another kind')} ({ident}):\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames.items()
        if frame is not None
    )


def log_own(title: str) -> None:
    """Log the stacks of this process."""
    logger.warning("Stacks of %s (pid %d):\n%s", title, os.getpid(), stacks())


# In a child


def answer_on(line: socket.socket) -> None:
    """Answer SIGNAL on `line`; only in the main thread."""
    if SIGNAL is None:
        return
    line.setblocking(False)

    def send(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            line.send(_MARK + stacks(frame).encode(errors="replace")[:_LARGEST] + _MARK)

    signal.signal(SIGNAL, send)
    faulthandler.register(SIGNAL, file=line.fileno(), all_threads=True, chain=True)


# In the supervisor


class Line(NamedTuple):
    """A child that may be asked."""

    name: str
    pid: int
    socket: socket.socket


def ask(lines: Iterable[Line]) -> None:
    """Log the stacks of each child."""
    if SIGNAL is None:
        return
    for line in lines:
        _drain(line.socket)
        with suppress(ProcessLookupError):
            os.kill(line.pid, SIGNAL)
            logger.warning("Stacks of %s (pid %d):\n%s", line.name, line.pid, _answer(line.socket))


def _answer(line: socket.socket) -> str:
    """What a child says; the second answer where it comes in time."""
    heard, deadline = b"", clock.monotonic() + _PATIENCE
    while heard.count(_MARK) < 2 and (left := deadline - clock.monotonic()) > 0:
        if select.select([line], [], [], left)[0]:
            part = _drain(line)
            if not part:
                break  # it has ended
            heard += part
    first, _, second = heard.partition(_MARK)
    if second:
        return second.rstrip(_MARK).decode(errors="replace")
    if first:
        text = first.decode(errors="replace")
        return f"(inside one call of C code: no names, the most recent call first)\n{text}"
    return "(no answer)"


def _drain(line: socket.socket) -> bytes:
    heard = b""
    with suppress(BlockingIOError, ConnectionError):
        while part := line.recv(1 << 16):
            heard += part
    return heard
