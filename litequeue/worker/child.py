"""A child process of a worker: builds its own runtime, opens the file for itself, and runs one slot.

Stop order: the slot ends its task, settles, gives back what it has not started; then the process takes itself out of
the file. A child whose supervisor died does the same by itself: the control socket then reads as ended.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from litequeue import exceptions, signals
from litequeue.core import process
from litequeue.core.records import NewProcess
from litequeue.store.contract import Channel
from litequeue.utils.nodenames import set_process_number
from litequeue.worker.batch import Tickets
from litequeue.worker.consumer import Consumer
from litequeue.worker.logs import send_records
from litequeue.worker.orphan import Guard, Limiter
from litequeue.worker.runtime import Loader, Runtime, WorkerOptions
from litequeue.worker.stacks import answer_on

logger = logging.getLogger("litequeue.worker")

UP = struct.Struct("<q")
"""What a child sends when it is ready to claim: its number in the file."""
STOP = b"."
"""What a supervisor sends to stop a child after its task."""


class Lines(NamedTuple):
    """What a child shares with its supervisor."""

    control: socket.socket
    """On which it is told to stop, and says when it is up, and of each task with limits."""
    orders: socket.socket
    """On which it is told which task a signal is meant for, and answers where its threads are."""
    tickets: Tickets
    log: socket.socket | None
    """On which it sends what it logs; None: it writes that itself."""


def main(loader: Loader, options: WorkerOptions, channel: Channel, lines: Lines, parent: int, number: int) -> None:
    """Run one slot until the supervisor says stop, or is gone, or the child is to be recycled."""
    stop = StopRequest()
    answer_on(lines.orders)
    set_process_number(number)
    if lines.log is None:
        loader.set_up_logging(options)
    else:
        send_records(lines.log, options.loglevel)
    try:
        _live(loader, options, channel, lines, parent, stop)
    except exceptions.StoreLost as error:
        logger.critical("%s", error)
        sys.exit(1)


def _live(
    loader: Loader, options: WorkerOptions, channel: Channel, lines: Lines, parent: int, stop: StopRequest
) -> None:
    """From the entry in the file to its removal."""
    runtime = loader.load()
    lines.control.setblocking(False)
    identity = process.current()
    holder = runtime.store.register(
        NewProcess(worker=options.node, role="child", parent=parent, identity=identity, queues=options.queues), channel
    )
    try:
        _serve(runtime, options, channel, lines, holder, stop)
    finally:
        runtime.store.deregister(holder)
        runtime.store.close()


def _serve(
    runtime: Runtime, options: WorkerOptions, channel: Channel, lines: Lines, holder: int, stop: StopRequest
) -> None:
    link = Link(lines.control, options.max_memory_per_child)
    limiter = Limiter(lines, options)
    consumer = Consumer(
        runtime,
        node=options.node,
        holder=holder,
        queues=options.queues,
        channel=channel,
        interrupt=lines.control,
        before_claim=link.may_go_on,
        max_tasks=options.max_tasks_per_child,
        tickets=lines.tickets,
        rate_limited=options.rate_limited,
        limiter=limiter,
    )
    limiter.serve(consumer.executor, runtime.store)

    Guard(runtime, options, holder, consumer, limiter).start()

    def end() -> None:
        consumer.stop()
        link.interrupt()

    stop.then(end)
    signals.worker_process_init.send(sender=options.node)
    lines.control.send(UP.pack(holder))
    try:
        consumer.run()
    finally:
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)


_GROUP_SIGNALS: Final = frozenset(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP") if hasattr(signal, name)
)
"""What a terminal or a service manager sends to every process of the group at once."""


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Start processes in which signals to the group wait until `unblock_signals`.

    The fork server keeps them blocked for good: `multiprocessing` learns through it how children end, and would take
    living ones for dead if a signal ended it. A child lets them in once it can answer them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_signals() -> None:
    """Let the signals in that were blocked when this process was started."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)


class StopRequest:
    """What signals mean to a child: SIGTERM, which a stop of the whole group sends, ends it after its task.

    Ctrl-C and Ctrl-\\ go to the whole group too; what they mean the supervisor decides.
    """

    def __init__(self) -> None:
        self._asked = False
        self._action: Callable[[], None] | None = None
        for name in ("SIGINT", "SIGQUIT", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._ask)
        unblock_signals()

    def _ask(self, *_: object) -> None:
        self._asked = True
        if self._action is not None:
            self._action()

    def then(self, action: Callable[[], None]) -> None:
        """Call `action` on SIGTERM; now, if it has come already."""
        self._action = action
        if self._asked:
            action()


class Link:
    """A child's end of the line to its supervisor."""

    def __init__(self, control: socket.socket, max_memory: int | None) -> None:
        self._control = control
        self._max_memory = max_memory

    def may_go_on(self) -> bool:
        """False once the supervisor said stop or is gone, or this process has grown over its limit."""
        try:
            self._control.recv(1)  # STOP, or nothing at all from a supervisor that is gone
        except BlockingIOError:
            return self._max_memory is None or resident_kilobytes() < self._max_memory
        except OSError:
            pass
        return False

    def interrupt(self) -> None:
        """End a wait on the control socket, from a signal handler."""
        self._control.shutdown(socket.SHUT_RD)


def resident_kilobytes() -> int:
    """The resident memory of this process."""
    if _LINUX:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_KILOBYTES
    import psutil

    resident: int = psutil.Process().memory_info().rss // 1024
    return resident


_LINUX = sys.platform.startswith("linux")
_PAGE_KILOBYTES = os.sysconf("SC_PAGE_SIZE") // 1024 if hasattr(os, "sysconf") else 4
