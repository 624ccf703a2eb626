"""One event loop on which coroutines run side by side, and threads beside it for tasks that are not coroutines.

The loop runs in a thread of its own, and so does the clerk that claims and settles: neither a commit nor the worker's
own duties ever keep the loop from going on.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import queue
import socket
import sys
import threading
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from litequeue import exceptions
from litequeue.core import clock
from litequeue.core.context import current_tasks
from litequeue.core.records import Claimed, Input, Outcome
from litequeue.worker.clerk import Clerk, Start
from litequeue.worker.coroutines import Interruptible
from litequeue.worker.executor import Executor
from litequeue.worker.keeping import make_executor
from litequeue.worker.limits import InThread, Timekeeper, limits_of
from litequeue.worker.waiting import wait_for

if TYPE_CHECKING:
    from litequeue.worker.runtime import WorkerOptions
    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")

_LAG: Final = 1.0  # seconds for which a task may keep the loop from going on, until the log says so
_LOOK: Final = 0.25  # seconds between looks whether the loop goes on
_UNWIND: Final = 1.0  # seconds that cancelled coroutines have to clean up at a cold stop


class Course:
    """One attempt of a coroutine on the loop."""

    def __init__(self, claimed: Claimed, options: WorkerOptions, timekeeper: Timekeeper) -> None:
        self.claimed = claimed
        self.task: asyncio.Task[None] | None = None
        self.outcome: Outcome | None = None
        self._options = options
        self._timekeeper = timekeeper
        self._coroutine: Interruptible | None = None
        self._terminated = False
        self._timers: list[asyncio.TimerHandle] = []

    def drive(self, coroutine: Coroutine[Any, Any, Any]) -> Interruptible:
        """What is to be awaited in place of `coroutine`; its limits count from now on."""
        self._coroutine = Interruptible(coroutine)
        soft, hard = limits_of(self.claimed, self._options)
        if soft:
            self._at(soft, exceptions.SoftTimeLimitExceeded(), "Soft", logging.WARNING)
        if hard:
            self._timekeeper.tell(self.claimed, hard)
            self._at(hard, exceptions.TimeLimitExceeded(hard), "Hard", logging.ERROR)
        return self._coroutine

    def _at(self, limit: float, error: BaseException, kind: str, level: int) -> None:
        def exceed() -> None:
            if self.interrupt(error):
                text = "%s time limit (%ss) exceeded for %s[%s]"
                logger.log(level, text, kind, limit, self.claimed.name, self.claimed.id)

        self._timers.append(asyncio.get_running_loop().call_later(limit, exceed))

    def interrupt(self, error: BaseException) -> bool:
        """Raise `error` in the coroutine, if it still runs; after Terminated nothing more."""
        if self._coroutine is None or self._terminated:
            return False
        self._terminated = isinstance(error, exceptions.Terminated)
        return self._coroutine.interrupt(error)

    def abandon(self) -> None:
        """Cancel it, and keep no outcome of it."""
        if self._coroutine is not None:
            self._coroutine.abandon()

    def end(self) -> None:
        """It has ended: no limit counts any more."""
        for timer in self._timers:
            timer.cancel()


class AsyncioPool:
    """One loop, one clerk, and as many threads as sync tasks run at once."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._clerk: Clerk | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timekeeper = Timekeeper(worker.options.pool)
        self._threads = Threads(worker, self._timekeeper)
        self._courses: dict[tuple[int, int], Course] = {}
        self._is_coroutine: dict[str, bool] = {}
        self._watchdog = Watchdog()
        self._stopping = False
        self._killed = False
        self._loop_thread = threading.Thread(target=self._run_loop, name="LiteQueueWorker-loop", daemon=True)
        self._clerk_thread = threading.Thread(target=self._run_clerk, name="LiteQueueWorker-clerk", daemon=True)
        self._end, self._ended = socket.socketpair()

    def start(self) -> None:
        """Start the loop, and then claiming."""
        worker = self.worker
        self._executor = make_executor(worker.runtime, worker.options.node, worker.holder)
        self._clerk = Clerk(
            worker.runtime,
            self._executor,
            node=worker.options.node,
            holder=worker.holder,
            queues=worker.queues,
            channel=worker.channel,
            slots=worker.concurrency,
            rate_limited=worker.options.rate_limited,
            start=self._start,
        )
        self._loop_thread.start()

    def is_up(self) -> bool:
        """Whether the loop runs."""
        return self._clerk_thread.ident is not None

    # The loop's thread

    def _run_loop(self) -> None:
        """Run the loop until the clerk is through; then cancel whatever the tasks have left behind on it."""
        try:
            with asyncio.Runner() as runner:  # the loop of the policy that the program has installed
                self._loop = self._executor.loop = runner.get_loop()
                self._loop.call_soon(self._clerk_thread.start)
                while not self._run_until_stopped(self._loop):
                    pass
        except BaseException as error:
            logger.exception("The event loop of the worker ended")
            self.worker.fail(f"the event loop of the pool ended: {error!r}")
        finally:
            self._end.close()

    def _run_until_stopped(self, loop: asyncio.AbstractEventLoop) -> bool:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:  # raised by an asyncio task that a task has left behind
            logger.error("%r was raised on the event loop of the worker, outside of its tasks; the loop goes on", error)
            return False
        return True

    def _start_coroutines(self, starts: Sequence[Start]) -> None:
        assert self._loop is not None, "it runs"
        for claimed, given in starts:
            if self._stopping and self._clerk is not None:
                self._clerk.give_back(claimed)
                continue
            course = Course(claimed, self.worker.options, self._timekeeper)
            self._courses[claimed.seq, claimed.attempt] = course
            name = f"{claimed.name}[{claimed.id}]"
            course.task = task = self._loop.create_task(self._run_coroutine(course, given), name=name)
            task.add_done_callback(functools.partial(self._end_course, course))

    async def _run_coroutine(self, course: Course, given: Input | None) -> None:
        with suppress(exceptions.WorkerTerminate):
            course.outcome = await self._executor.run_async(course.claimed, given, course.drive)

    def _end_course(self, course: Course, task: asyncio.Task[None]) -> None:
        """Hand the outcome in. There is none where the task was abandoned, or cancelled before its first step."""
        assert self._clerk is not None, "it was started"
        course.end()
        self._courses.pop((course.claimed.seq, course.claimed.attempt), None)
        if not task.cancelled():
            task.exception()  # nobody else asks for it
        if course.outcome is not None:
            self._clerk.finish(course.outcome)
        elif self._killed:
            self._clerk.let_go()
        else:
            self._clerk.give_back(course.claimed)

    # The clerk's thread

    def _run_clerk(self) -> None:
        assert self._clerk is not None and self._loop is not None, "the loop runs"
        self.worker.wake()  # the pool is up
        try:
            self._clerk.run()
        except BaseException as error:
            logger.exception("The clerk of the worker ended")
            self.worker.fail(f"the thread that claims and settles ended: {error}")
        finally:
            self._threads.stop()
            self._timekeeper.stop()
            with suppress(RuntimeError):  # it ended before us
                self._loop.call_soon_threadsafe(self._stop_loop)

    def _stop_loop(self) -> None:
        assert self._loop is not None, "it runs"
        self._abandon_coroutines()  # there are none, unless the clerk could not go on
        self._loop.stop()

    def _start(self, starts: Sequence[Start]) -> None:
        """Start what was claimed: coroutines on the loop, everything else in threads."""
        assert self._loop is not None and self._clerk is not None, "they run"
        coroutines = [start for start in starts if self._runs_on_loop(start[0].name)]
        if coroutines:
            self._loop.call_soon_threadsafe(self._start_coroutines, coroutines)
        for claimed, given in starts:
            if not self._runs_on_loop(claimed.name):
                self._threads.run(self._executor, self._clerk, claimed, given)

    def _runs_on_loop(self, name: str) -> bool:
        known = self._is_coroutine.get(name)
        if known is None:
            run = self.worker.runtime.registry[name].run
            known = self._is_coroutine[name] = inspect.iscoroutinefunction(run)
        return known

    # For the worker

    def watch(self, timeout: float) -> None:
        """Wait, and look whether a task keeps the loop from going on; loop and clerk look after themselves."""
        busy = bool(self._courses)
        wait_for([self.worker.interrupt, self._ended], [], min(timeout, _LOOK) if busy else timeout)
        if self._loop is not None and self._loop_thread.is_alive() and self._watchdog.is_late(self._loop, busy):
            self._watchdog.tell(self._task_on(self._loop))

    def _task_on(self, loop: asyncio.AbstractEventLoop) -> str:
        """The name of the task that is on now, as well as can be known from another thread."""
        running = asyncio.current_task(loop)
        if running is None:
            return "something"
        for course in list(self._courses.values()):
            if course.task is running:
                return course.claimed.name
        if sys.version_info >= (3, 12):  # an asyncio task that a task of ours has made
            for task in running.get_context().get(current_tasks, ()):
                return str(task.name)
        return getattr(running.get_coro(), "__qualname__", running.get_name())

    def stop(self) -> None:
        """Claim nothing more, and end when what runs has ended."""
        self._stopping = True
        if self._clerk is not None:
            self._clerk.stop()

    def is_down(self) -> bool:
        """Whether the loop has ended, and nothing is left to be settled."""
        if self._loop_thread.ident is None:
            return self._stopping
        down = not self._loop_thread.is_alive()
        if down:
            self._ended.close()
        return down

    def kill(self) -> bool:
        """Cancel every coroutine; a task in a thread cannot be ended so."""
        self.stop()
        if self._loop is not None and self._loop_thread.is_alive():
            with suppress(RuntimeError):  # it has just been closed
                self._loop.call_soon_threadsafe(self._abandon_coroutines)
            deadline = clock.monotonic() + _UNWIND
            while not self.is_down() and self._unwinds() and clock.monotonic() < deadline:
                self._loop_thread.join(0.01)
        return self.is_down()

    def _unwinds(self) -> bool:
        """Whether coroutines still clean up, or everything has ended and the loop is about to."""
        return bool(self._courses) or self._clerk is None or not self._clerk.busy

    def _abandon_coroutines(self) -> None:
        self._killed = self._executor.terminable = True
        for course in self._courses.values():
            course.abandon()

    def resize(self, slots: int) -> None:
        """Run so many tasks at once from now on; those that run go on."""
        if self._clerk is not None:
            self._clerk.resize(slots)

    def interrupt(self, claimed: Claimed, error: BaseException) -> bool:
        """Raise `error` in the task that `claimed` names; False: it does not run."""
        course = self._courses.get((claimed.seq, claimed.attempt))
        if course is None or self._loop is None:
            return self._threads.interrupt(claimed, error)
        with suppress(RuntimeError):  # the loop has just been closed, and the course with it
            self._loop.call_soon_threadsafe(course.interrupt, error)
        return True


class Threads:
    """As many threads as there are sync tasks at once; they are kept for the next ones."""

    def __init__(self, worker: Worker, timekeeper: Timekeeper) -> None:
        self._worker = worker
        self._timekeeper = timekeeper
        self._limiters: list[InThread] = []
        self._calls: queue.SimpleQueue[tuple[Claimed, Input | None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)

    def run(self, executor: Executor, clerk: Clerk, claimed: Claimed, given: Input | None) -> None:
        """Run a task in a thread, and hand in its outcome. Called from one thread only."""
        if not self._idle.acquire(blocking=False):
            limiter = InThread(self._timekeeper, self._worker.options)
            self._limiters.append(limiter)
            name = f"LiteQueueWorker-{len(self._limiters)}"
            threading.Thread(target=self._serve, args=(limiter, executor, clerk), name=name, daemon=True).start()
        self._calls.put((claimed, given))

    def _serve(self, limiter: InThread, executor: Executor, clerk: Clerk) -> None:
        with limiter.serving(executor, self._worker.runtime.store):
            while (call := self._calls.get()) is not None:
                outcome = self._run_one(limiter, executor, *call)
                self._idle.release()
                if outcome is None:
                    clerk.let_go()
                else:
                    clerk.finish(outcome)

    def _run_one(self, limiter: InThread, executor: Executor, claimed: Claimed, given: Input | None) -> Outcome | None:
        limiter.begin(claimed)
        try:
            return contextvars.copy_context().run(executor.run, claimed, given)
        except exceptions.WorkerTerminate:  # the worker ends, and the task with it
            return None
        finally:
            limiter.end()

    def interrupt(self, claimed: Claimed, error: BaseException) -> bool:
        """Raise `error` in the task that `claimed` began; False: it does not run here."""
        return any(limiter.interrupt(claimed, error) for limiter in list(self._limiters))

    def stop(self) -> None:
        """End the idle threads."""
        for _ in self._limiters:
            self._calls.put(None)


class Watchdog:
    """Notices that the loop does not go on, because a coroutine computes or blocks, and says which."""

    def __init__(self) -> None:
        self._asked_at = 0.0
        self._told: set[str] = set()

    def is_late(self, loop: asyncio.AbstractEventLoop, busy: bool) -> bool:
        """Whether the loop has not answered for _LAG seconds; to be called from another thread every now and then."""
        if self._asked_at:
            return clock.monotonic() - self._asked_at >= _LAG
        if busy:
            self._asked_at = clock.monotonic()
            with suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(self._answer)
        return False

    def _answer(self) -> None:
        self._asked_at = 0.0

    def tell(self, name: str) -> None:
        """Say so, once for each task name."""
        if name not in self._told:
            self._told.add(name)
            logger.warning(
                "%s keeps the event loop from going on for more than %g s: every other coroutine of this worker waits"
                " for it. Let it await what takes long, or make it a plain function: those run in threads",
                name,
                _LAG,
            )
