"""The worker: starts, watches, replaces and stops its slots, and owns the signals. It never runs a task itself.

Start: open the channel, register, start the pool, then the duties. Stop: the pool first, so that everything is settled
or given back while the worker is still registered; then the duties; then the row of the worker goes, and the file is
closed. A signal handler only notes the signal and wakes the loop; the loop acts.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from litequeue import exceptions, signals
from litequeue.core import clock, process, state
from litequeue.core.failure import encode_exception
from litequeue.core.records import ERROR, Encoded, NewProcess, Outcome, Ticket
from litequeue.store.contract import Claimant
from litequeue.worker.consumer import Consumer
from litequeue.worker.duties import Duty
from litequeue.worker.duties.burst import Burst
from litequeue.worker.duties.heartbeat import Heartbeat
from litequeue.worker.duties.poller import Poller
from litequeue.worker.duties.pruner import Pruner
from litequeue.worker.duties.rescuer import Rescuer, report
from litequeue.worker.duties.ticker import Ticker
from litequeue.worker.limits import Without, check_pool
from litequeue.worker.logs import LogReceiver
from litequeue.worker.picker import BatchPicker
from litequeue.worker.pools import make_pool
from litequeue.worker.runtime import Loader, Runtime, WorkerOptions
from litequeue.worker.waiting import wait_for

logger = logging.getLogger("litequeue.worker")

_LOOK: Final = 1.0  # seconds between looks of the loop when nothing happens
_WARM = ("SIGTERM", "SIGINT", "SIGBREAK")
_COLD = ("SIGQUIT",)


class Worker:
    """One worker: a node name, a pool of slots, and the duties."""

    def __init__(self, runtime: Runtime, options: WorkerOptions, loader: Loader) -> None:
        self.runtime = runtime
        self.options = options
        self.loader = loader
        self.ready = threading.Event()
        """Set once every slot can claim."""
        self.stopped = threading.Event()
        """Set once everything has ended."""
        self.holder = 0
        self.channel = runtime.store.open_channel()
        self.interrupt, self._interrupter = socket.socketpair()
        self.interrupt.setblocking(False)
        self._interrupter.setblocking(False)
        check_pool(options)
        self._pool = make_pool(self)
        self._duties: list[Duty] = []
        self._signals: deque[str] = deque()
        self._stopping = False
        self._cold = False
        self._exit_code = 0
        self._failure: str | None = None
        self._children = 0
        self._thread: threading.Thread | None = None
        self._main_thread = False
        self._logs: LogReceiver | None = None

    # Running

    def run(self, install_signals: bool = True) -> int:
        """Serve until stopped, in this thread; returns the exit code."""
        previous = self._install_signals() if install_signals else {}
        try:
            self._begin()
            self._serve()
        except exceptions.WorkerTerminate:
            self._cold, self._exit_code = True, 1
        except exceptions.OperationalError as error:
            self.fail(str(error))
            self._cold = True
        finally:
            try:
                self._end()
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)
        return self._exit_code

    @property
    def ended_well(self) -> bool:
        """Whether it has stopped, and nothing went wrong."""
        return self.stopped.is_set() and self._exit_code == 0

    def start(self) -> None:
        """Serve in a thread of its own; returns at once. `ready` is set when the slots are up.

        RuntimeError: it was started before; a worker serves once.
        """
        if self._thread is not None:
            raise RuntimeError(f"worker {self.options.node} was started before; make another one")
        if self.options.pool == "prefork":
            self._logs = LogReceiver()
        self._thread = threading.Thread(target=self.run, args=(False,), name="litequeue-worker", daemon=True)
        self._thread.start()

    def stop(self, warm: bool = True, timeout: float | None = None) -> bool:
        """Stop from another thread; True when everything has ended within `timeout` seconds."""
        self._signals.append("SIGTERM" if warm else "SIGQUIT")
        self._wake()
        if self._thread is None or self._thread is threading.current_thread():
            return self.stopped.is_set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _begin(self) -> None:
        store, options = self.runtime.store, self.options
        signals.worker_init.send(sender=self)
        self.holder = store.register(
            NewProcess(
                worker=options.node,
                role="worker",
                parent=None,
                identity=process.current(),
                queues=options.queues,
                info={
                    "pool": options.pool,
                    "concurrency": options.concurrency,
                    "tasks": sorted(self.runtime.registry),
                    "max_tasks_per_child": options.max_tasks_per_child,
                    "max_memory_per_child": options.max_memory_per_child,
                },
            ),
            self.channel,
        )
        rescued = store.rescue(options.lease, self.runtime.max_deaths)
        report(rescued.requeued, rescued.failed)
        self._say_what_is_not_kept()
        self._say_if_name_is_taken()
        self._pool.start()
        self._duties = self._make_duties()
        for duty in self._duties:
            duty.start(self.fail)

    def _say_what_is_not_kept(self) -> None:
        """Options that a program may rely on, and that this version only carries."""
        for name, task in self.runtime.registry.items():
            for option, without in (("rate_limit", None), ("acks_on_failure", True), ("acks_on_timeout", True)):
                value = getattr(task, option, None)
                if value is not None and value != without:
                    logger.warning("%s=%r of %s is not kept by this version of litequeue", option, value, name)

    def _say_if_name_is_taken(self) -> None:
        """Two workers of one name cannot be told apart in what people see; nothing else depends on it."""
        for record in self.runtime.store.processes():
            other = record.role == "worker" and record.identity.pid != os.getpid()  # a program may embed several
            if other and record.worker == self.options.node:
                warnings.warn(
                    f"another worker runs as {record.worker} (pid {record.identity.pid}); give this one another name",
                    exceptions.DuplicateNodenameWarning,
                    stacklevel=2,
                )

    def _make_duties(self) -> list[Duty]:
        store, options = self.runtime.store, self.options
        duties: list[Duty] = [
            Heartbeat(store, self._process_ids, options.heartbeat_interval),
            Rescuer(store, options.lease, self.runtime.max_deaths),
            Pruner(store, options.prune_batch, options.prune_interval),
            Poller(store, self.holder, self.channel, options.queues, options.poll_interval),
        ]
        if options.beat and self.runtime.make_beat is not None:
            duties.append(Ticker(self.runtime.make_beat(hostname=options.node, parent=self.holder)))
        if options.burst:
            duties.append(Burst(store, options.queues, self.runtime.registry.keys(), lambda: self._note("SIGTERM")))
        return duties

    def _serve(self) -> None:
        while not self._pool.is_down():
            if not self.ready.is_set() and self._pool.is_up():
                self.ready.set()
                signals.worker_ready.send(sender=self)
                logger.info("%s ready.", self.options.node)
            self._pool.watch(_LOOK)
            self.act_on_signals()

    def _end(self) -> None:
        if self._cold and not self._pool.kill() and not self._pool.is_down():
            self._abandon()
        for duty in self._duties:
            duty.stop()
        if self.holder:
            with suppress(exceptions.OperationalError):  # the file is gone, or somebody rescues what is left
                self.runtime.store.deregister(self.holder)
        signals.worker_shutdown.send(sender=self)
        self.channel.close()
        if self._logs is not None:
            self._logs.close()
        if self._main_thread:  # a program that embeds a worker goes on using the file
            self.runtime.store.close()
        self.interrupt.close()
        self._interrupter.close()
        self.stopped.set()

    def _abandon(self) -> None:
        """A cold stop of threads: give their tasks back and leave without them, since a thread cannot be killed."""
        if not self._main_thread:  # inside another program: its threads end their tasks, and only then it is over
            while not self._pool.is_down():
                self._pool.watch(_LOOK)
            return
        for number in self._process_ids():
            self.runtime.store.deregister(number)
        logging.shutdown()
        os._exit(self._exit_code or 1)

    # Signals

    def _install_signals(self) -> dict[int, Any]:
        self._main_thread = True
        previous: dict[int, Any] = {}
        for name in (*_WARM, *_COLD):
            number = getattr(signal, name, None)
            if number is not None:
                previous[number] = signal.signal(number, self._on_signal)
        return previous

    def _on_signal(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        again = name == "SIGINT" and bool(self._signals)  # the first one waits for the task of a solo worker
        self._note("SIGQUIT" if again else name)
        if self.options.pool == "solo" and self._is_cold(self._signals[-1]):
            raise exceptions.WorkerTerminate(1)  # into the task itself: this thread runs it

    def _is_cold(self, name: str) -> bool:
        return name in _COLD or (name == "SIGINT" and self._stopping)

    def _note(self, name: str) -> None:
        self._signals.append(name)
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            self._interrupter.send(b"!")

    def wait_for_signal(self, timeout: float) -> None:
        """Block until a signal was noted, at most `timeout` seconds."""
        wait_for([self.interrupt], [], timeout)

    def act_on_signals(self) -> bool:
        """Carry out what signals asked for; returns whether the worker goes on."""
        with suppress(BlockingIOError):
            self.interrupt.recv(4096)
        while self._signals:
            name = self._signals.popleft()
            if self._is_cold(name):
                self._stop_cold(name)
            elif not self._stopping:
                self._stop_warm(name)
        return not self._stopping

    def _stop_warm(self, name: str) -> None:
        self._stopping = True
        signals.worker_shutting_down.send(sender=self.options.node, sig=name, how="Warm", exitcode=self._exit_code)
        if self._main_thread and name != "SIGTERM":
            logger.warning("Warm shutdown: the running tasks are finished first (once more to stop at once)")
        else:
            logger.info("Warm shutdown: the running tasks are finished first")
        self._pool.stop()

    def _stop_cold(self, name: str) -> None:
        self._stopping = self._cold = True
        self._exit_code = self._exit_code or 1
        signals.worker_shutting_down.send(sender=self.options.node, sig=name, how="Cold", exitcode=self._exit_code)
        self._let_finish(self.options.soft_shutdown_timeout)
        logger.warning("Cold shutdown: everything unfinished is given back")
        if not self._pool.kill() and not self._pool.is_down():
            self._abandon()

    def _let_finish(self, seconds: float) -> None:
        """The soft part of a cold stop: running tasks may end within `seconds`; one more signal cuts it short."""
        deadline = clock.monotonic() + seconds
        if seconds > 0:
            logger.warning("Soft shutdown: running tasks have %s seconds to finish", seconds)
            self._pool.stop()
        while not self._pool.is_down() and not self._signals and (left := deadline - clock.monotonic()) > 0:
            self._pool.watch(min(left, _LOOK))

    def fail(self, reason: str) -> None:
        """Stop, because the worker cannot do its work."""
        if self._failure is None:
            logger.critical("The worker stops: %s", reason)
        self._failure = reason
        self._exit_code = 1
        self._note("SIGTERM")

    def is_stopping(self) -> bool:
        """Whether the worker was told to stop."""
        return self._stopping

    def pause(self, seconds: float) -> None:
        """Wait, unless a signal comes."""
        self.wait_for_signal(seconds)

    # For the pools

    @property
    def log_writer(self) -> socket.socket | None:
        """Where children send what they log; None where they write it themselves."""
        return None if self._logs is None else self._logs.writer

    def make_consumer(self, interrupt: socket.socket, before_claim: Callable[[], bool] | None = None) -> Consumer:
        """A slot in this process."""
        return Consumer(
            self.runtime,
            node=self.options.node,
            holder=self.holder,
            queues=self.options.queues,
            channel=self.channel,
            interrupt=interrupt,
            before_claim=before_claim,
            limiter=Without(self.options.pool),
        )

    def next_child_number(self) -> int:
        """1 for the first child, and so on; a replacement gets a new number."""
        self._children += 1
        return self._children

    def bury_child(self, pid: int | None, reason: str) -> None:
        """Take back at once what a dead child held."""
        try:
            for number in self._holders(pid):
                rescued = self.runtime.store.bury(number, reason, self.runtime.max_deaths)
                report(rescued.requeued, rescued.failed)
        except exceptions.StoreBusy as error:
            logger.error("%s; what the process held is rescued later", error)

    def time_out(self, holder: int, ticket: Ticket, limit: float) -> None:
        """End the task of a child that was killed at the hard limit of `limit` seconds."""
        store, retention = self.runtime.store, self.runtime.failure_retention
        now = clock.now()
        for claimed in store.held(holder):
            if (claimed.seq, claimed.attempt) == ticket:
                logger.error("Hard time limit (%ss) exceeded for %s[%s]", limit, claimed.name, claimed.id)
                error = Encoded(encode_exception(exceptions.TimeLimitExceeded(limit)), ERROR)
                prune_at = None if retention is None else now + retention
                outcome = Outcome(claimed, state.FAILED, now, error, None, prune_at)
                store.settle(self._claimant(holder), [outcome])

    def release_child(self, pid: int | None) -> None:
        """Give back what a child held that was stopped by request: no death is counted."""
        with suppress(exceptions.OperationalError):  # the next worker rescues it
            for number in self._holders(pid):
                self.runtime.store.deregister(number)

    def release(self, holder: int, tickets: list[Ticket]) -> None:
        """Give back what a child had claimed and cannot start."""
        try:
            self.runtime.store.release(holder, tickets)
        except exceptions.OperationalError as error:  # the child holds them until it ends
            logger.error("%s; %d claims wait for a stuck process", error, len(tickets))

    def _claimant(self, holder: int) -> Claimant:
        """In the name of a child that is no more."""
        return Claimant(
            holder=holder,
            worker=self.options.node,
            pid=os.getpid(),
            queues=self.options.queues,
            picker=BatchPicker(self.runtime.registry),
        )

    def _holders(self, pid: int | None) -> list[int]:
        """The numbers of the child that had this pid. One that lives is not among them, whatever its exit code says."""
        return [
            record.id
            for record in self.runtime.store.processes()
            if record.parent == self.holder
            and record.identity.pid == pid
            and process.is_alive(record.identity) is not True
        ]

    def _process_ids(self) -> list[int]:
        return [
            record.id
            for record in self.runtime.store.processes()
            if record.id == self.holder or record.parent == self.holder
        ]
