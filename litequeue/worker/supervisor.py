"""The worker: starts, watches, replaces and stops its slots. It never runs a task itself.

Start: open the channel, register, start the pool, then the duties. Stop: the pool first, so that everything is settled
or given back while the worker is still registered; then the duties; then the row of the worker goes, and the file is
closed. What signals ask for is in `stopping`; what other threads ask for is handed to the loop (`calls`).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from litequeue import exceptions, signals
from litequeue.core import clock, process
from litequeue.core.rates import rate_text
from litequeue.core.records import NewProcess
from litequeue.worker import announcing, stacks
from litequeue.worker.afterwards import SOFT, Afterwards
from litequeue.worker.calls import Calls
from litequeue.worker.consumer import Consumer
from litequeue.worker.duties import Duty
from litequeue.worker.duties.autoscaler import Autoscaler
from litequeue.worker.duties.burst import Burst
from litequeue.worker.duties.controller import Controller
from litequeue.worker.duties.heartbeat import Heartbeat
from litequeue.worker.duties.poller import Poller
from litequeue.worker.duties.pruner import Pruner
from litequeue.worker.duties.rescuer import Rescuer, report
from litequeue.worker.duties.ticker import Ticker
from litequeue.worker.limits import Limiter, check_limits
from litequeue.worker.logs import LogReceiver
from litequeue.worker.pools import Interruptible, Pool, Processes, Resizable, make_pool
from litequeue.worker.runtime import Loader, Runtime, WorkerOptions
from litequeue.worker.stopping import Stopping
from litequeue.worker.waiting import wait_for

logger = logging.getLogger("litequeue.worker")

T = TypeVar("T")

_LOOK: Final = 1.0  # seconds between looks of the loop when nothing happens


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
        self.queues = options.queues
        """What it claims from now."""
        self.autoscale = options.autoscale
        """(most, least) slots; None: it keeps its size."""
        self.concurrency = options.concurrency if options.autoscale is None else options.autoscale[1]
        """How many slots it has now."""
        self.in_main_thread = False
        """Whether it is a program of its own, and not part of another."""
        self.channel = runtime.store.open_channel()
        self.interrupt, self._interrupter = socket.socketpair()
        self.interrupt.setblocking(False)
        self._interrupter.setblocking(False)
        check_limits(options, runtime.registry)
        self._check_autoscale()
        self.announcer = announcing.Announcer(self)
        self._stopping = Stopping(self)
        self._calls = Calls(options.node, self.wake)
        self._pool = make_pool(self)
        self._duties: list[Duty] = []
        self._children = 0
        self._changes_seen = -1
        self._looked_at = 0.0
        self._interrupted: set[tuple[int, int, str]] = set()
        self._thread: threading.Thread | None = None
        self._logs: LogReceiver | None = None

    @property
    def app(self) -> Any:
        """The app, for who listens to `celeryd_after_setup`."""
        return self.runtime.app

    @property
    def hostname(self) -> str:
        """The node name, as Celery calls it."""
        return self.options.node

    @property
    def pool(self) -> Pool:
        """Its slots. Only the loop touches them: hand what changes them to `call`."""
        return self._pool

    def _check_autoscale(self) -> None:
        if self.autoscale is not None and self.options.pool == "solo":
            raise exceptions.ImproperlyConfigured(
                "worker_pool='solo' has one slot, which cannot become more or fewer: leave autoscale out, or use"
                " 'prefork', 'threads' or 'asyncio'."
            )

    # Running

    def run(self, install_signals: bool = True) -> int:
        """Serve until stopped, in this thread; returns the exit code."""
        self.in_main_thread = install_signals
        previous = self._stopping.install() if install_signals else {}
        try:
            self._begin()
            self._serve()
        except exceptions.WorkerTerminate:
            self._stopping.cold, self._stopping.exit_code = True, 1
        except exceptions.OperationalError as error:
            self.fail(str(error))
            self._stopping.cold = True
        finally:
            try:
                self._end()
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)
        return self._stopping.exit_code

    @property
    def ended_well(self) -> bool:
        """Whether it has stopped, and nothing went wrong."""
        return self.stopped.is_set() and self._stopping.exit_code == 0

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
        self._stopping.ask("SIGTERM" if warm else "SIGQUIT", cold=not warm)
        if self._thread is None or self._thread is threading.current_thread():
            return self.stopped.is_set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _begin(self) -> None:
        store, options = self.runtime.store, self.options
        self._calls.open()
        signals.celeryd_after_setup.send(sender=options.node, instance=self, conf=getattr(self.app, "conf", None))
        signals.worker_init.send(sender=self)
        self.holder = store.register(
            NewProcess(
                worker=options.node,
                role="worker",
                parent=None,
                identity=process.current(),
                queues=self.queues,
                info={
                    "pool": options.pool,
                    "concurrency": self.concurrency,
                    "tasks": sorted(self.runtime.registry),
                    "max_tasks_per_child": options.max_tasks_per_child,
                    "max_memory_per_child": options.max_memory_per_child,
                },
                events=options.send_events,
            ),
            self.channel,
        )
        self.afterwards = Afterwards(self.runtime, options, self.holder)
        rescued = store.rescue(options.lease, self.runtime.death_limit)
        report(rescued.requeued, rescued.failed)
        self._declare_rates()
        self._say_if_name_is_taken()
        self.announcer.say(announcing.ONLINE)
        self._pool.start()
        self._duties = self._make_duties()
        for duty in self._duties:
            duty.start(self.fail)

    def _declare_rates(self) -> None:
        """The rate limits of the code are kept in the file, since they hold over all workers."""
        if self.options.rate_limited:
            tasks = self.runtime.registry.items()
            self.runtime.store.declare_rates({name: rate_text(task.rate_limit) for name, task in tasks})

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
            Heartbeat(store, self.process_ids, options.heartbeat_interval, self.announcer),
            Rescuer(store, options.lease, self.runtime.death_limit, self.holder, self._child_holders),
            Pruner(store, options.prune_batch, options.prune_interval),
            Poller(store, self.holder, self.channel, lambda: self.queues, options.poll_interval),
            Controller(self),
        ]
        if options.beat and self.runtime.make_beat is not None:
            duties.append(Ticker(self.runtime.make_beat(hostname=options.node, parent=self.holder)))
        if options.burst:
            names = self.runtime.registry.keys()
            duties.append(Burst(store, lambda: self.queues, names, lambda: self._stopping.ask("SIGTERM")))
        if self.autoscale is not None:
            duties.append(Autoscaler(self, options.autoscale_keepalive))
        return duties

    def _serve(self) -> None:
        while not self._pool.is_down():
            if not self.ready.is_set() and self._pool.is_up():
                self.ready.set()
                signals.worker_ready.send(sender=self)
                logger.info("%s ready.", self.options.node)
            self._pool.watch(_LOOK)
            self.act_on_signals()
            self._look_for_revokes()

    def _end(self) -> None:
        self._calls.close()
        if self._stopping.cold:
            self._stopping.end_pool()
        for duty in self._duties:
            duty.stop()
        if self.holder:
            with suppress(exceptions.OperationalError):  # the file is gone, or somebody rescues what is left
                self.announcer.say(announcing.OFFLINE)
            with suppress(exceptions.OperationalError):
                self.runtime.store.deregister(self.holder)
        signals.worker_shutdown.send(sender=self)
        self.channel.close()
        if self._logs is not None:
            self._logs.close()
        if self.in_main_thread:  # a program that embeds a worker goes on using the file
            self.runtime.store.close()
        self.interrupt.close()
        self._interrupter.close()
        self.stopped.set()

    # The loop

    def wake(self) -> None:
        """Let the loop look now; callable from any thread and from a signal handler."""
        with suppress(OSError):
            self._interrupter.send(b"!")

    def wait_for_signal(self, timeout: float) -> None:
        """Block until somebody wakes the loop, at most `timeout` seconds."""
        wait_for([self.interrupt], [], timeout)

    def act_on_signals(self) -> bool:
        """Carry out what signals and other threads asked for; returns whether the worker goes on."""
        self.answer_calls()
        return self._stopping.act()

    def answer_calls(self) -> None:
        """Do what other threads asked for."""
        with suppress(BlockingIOError):  # what woke the loop once must not wake it for ever
            self.interrupt.recv(4096)
        self._calls.run()

    def fail(self, reason: str) -> None:
        """Stop, because the worker cannot do its work."""
        self._stopping.fail(reason)

    def is_stopping(self) -> bool:
        """Whether the worker was told to stop."""
        return self._stopping.begun

    def pause(self, seconds: float) -> None:
        """Wait, unless a signal comes."""
        self.wait_for_signal(seconds)

    # What is asked of it while it runs; callable from any thread

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the loop, between what the loop does, and wait for it; returns, or raises, what it does.

        OperationalError: the worker does not run, or it is a solo worker inside a task.
        """
        return self._calls.call(function, solo=self.options.pool == "solo")

    def resize(self, slots: int) -> None:
        """Have so many slots. More are started at once; those that are too many end, idle ones first, each after its
        task. ValueError: fewer than none; ImproperlyConfigured: the pool keeps its size."""
        if slots < 0:
            raise ValueError(f"a pool cannot have {slots} slots")
        if self.options.pool == "solo":
            raise exceptions.ImproperlyConfigured("pool solo has one slot: use prefork, threads or asyncio for more")

        def resize() -> None:
            if not self.is_stopping():
                cast(Resizable, self._pool).resize(slots)
                self.concurrency = slots

        self.call(resize)
        with suppress(exceptions.OperationalError):  # only what people see depends on it
            self.runtime.store.set_slots(self.holder, slots)

    def restart(self, reload: bool = False) -> None:
        """Replace every child process, each after its task; with `reload` they import changed modules anew.

        ImproperlyConfigured: the pool has no child processes.
        """
        if self.options.pool != "prefork":
            raise exceptions.ImproperlyConfigured(
                f"pool {self.options.pool} has no processes that could be replaced: restart the worker"
            )
        self.call(lambda: cast(Processes, self._pool).restart(reload))

    def add_queues(self, names: Collection[str]) -> None:
        """Claim from these queues too, in every slot, from the next claim on."""
        self._set_queues((*self.queues, *(name for name in names if name not in self.queues)))

    def cancel_queues(self, names: Collection[str]) -> None:
        """Claim from these queues no more."""
        self._set_queues(tuple(name for name in self.queues if name not in names))

    def _set_queues(self, queues: tuple[str, ...]) -> None:
        self.queues = queues
        if self.holder:
            self.runtime.store.set_queues(self.holder, queues)

    def set_autoscale(self, most: int, least: int) -> None:
        """Have as many slots as the backlog asks for, within these bounds. ValueError: there is no number between."""
        if not 0 <= least <= most or most < 1:
            raise ValueError(f"autoscale from {least} to {most} slots: give the smaller first, the larger above 0")
        begins, before = self.autoscale is None, self.autoscale
        self.autoscale = (most, least)
        try:
            self._check_autoscale()
        except exceptions.ImproperlyConfigured:
            self.autoscale = before
            raise
        if begins and not self.is_stopping():
            duty = Autoscaler(self, self.options.autoscale_keepalive)
            self._duties.append(duty)
            duty.start(self.fail)

    def backlog(self, limit: int) -> int:
        """How many tasks it could start if it had free slots, at most `limit`."""
        return self.runtime.store.backlog(self.holder, self.queues, self.runtime.registry.keys(), limit)

    def terminate_revoked(self) -> None:
        """Kill, or interrupt, the tasks of this worker that were revoked with a signal."""
        found = self.runtime.store.terminations(self.holder) if self.holder else []
        if self.options.pool == "prefork":
            if found:
                self.call(lambda: cast(Processes, self._pool).terminate(found))
            return
        keys = {(each.claimed.seq, each.claimed.attempt, each.signal): each for each in found}
        self._interrupted &= keys.keys()
        for key, each in keys.items():
            if key not in self._interrupted:
                soft = each.signal == SOFT
                error = exceptions.SoftTimeLimitExceeded() if soft else exceptions.Terminated(each.signal)
                # Otherwise it has not begun, or has ended.
                if cast(Interruptible, self._pool).interrupt(each.claimed, error):
                    self._interrupted.add(key)

    def _look_for_revokes(self) -> None:
        """The safety net under the wake-up of the duty that does this."""
        now = clock.monotonic()
        if now - self._looked_at >= _LOOK and not self._pool.is_down():
            self._looked_at = now
            changes = self.runtime.store.changes()
            if changes != self._changes_seen:
                self._changes_seen = changes
                with suppress(exceptions.StoreBusy):
                    self.terminate_revoked()

    def log_stacks(self) -> None:
        """Log where every thread of the worker and of its children is; returns at once."""
        lines = cast(Processes, self._pool).stack_lines() if self.options.pool == "prefork" else []

        def log() -> None:
            stacks.log_own(self.options.node)
            stacks.ask(lines)

        threading.Thread(target=log, name="litequeue-stacks", daemon=True).start()

    # For the pools

    @property
    def log_writer(self) -> socket.socket | None:
        """Where children send what they log; None where they write it themselves."""
        return None if self._logs is None else self._logs.writer

    def make_consumer(
        self, interrupt: socket.socket, before_claim: Callable[[], bool] | None = None, *, limiter: Limiter
    ) -> Consumer:
        """A slot in this process."""
        return Consumer(
            self.runtime,
            node=self.options.node,
            holder=self.holder,
            queues=self.queues,
            channel=self.channel,
            interrupt=interrupt,
            before_claim=before_claim,
            rate_limited=self.options.rate_limited,
            limiter=limiter,
        )

    def next_child_number(self) -> int:
        """1 for the first child, and so on; a replacement gets a new number."""
        self._children += 1
        return self._children

    def _child_holders(self) -> Collection[int]:
        """The numbers of the children that the pool looks after; callable from any thread."""
        return cast(Processes, self._pool).holders() if self.options.pool == "prefork" else ()

    def leave_schedule(self, seconds: float) -> None:
        """End the scheduler of this worker, waiting `seconds` for it at most."""
        for duty in self._duties:
            if isinstance(duty, Ticker):
                duty.leave(seconds)

    def process_ids(self) -> list[int]:
        """The numbers of its processes in the file."""
        return [
            record.id
            for record in self.runtime.store.processes()
            if record.id == self.holder or record.parent == self.holder
        ]
