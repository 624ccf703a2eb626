"""Raising an exception inside a running task, from another thread or from a signal handler.

Each thread that runs tasks has a gate. The executor opens it while the task itself runs; the store and the log shut it
while they are at work: the one must not be left half-way, the other drops every exception that is raised in it. An
interrupt that finds the gate open is raised at once, by PyThreadState_SetAsyncExc or by a signal; one that finds it
shut is kept, and raised when it opens again. What comes when the task has ended is dropped.

An exception that is set for another thread is raised there a moment later: at the next call, the next turn of a loop,
or when a C function returns. So a gate that has been shut is not safe yet: first whoever is just setting one must be
through (`sending`), and then what was set must have come (a call of a Python function is where it comes at the latest).
Only then is a lock taken or a transaction begun. That all assignments are seen in the order in which they are made is
what the interpreter's global lock gives.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from litequeue import exceptions

if TYPE_CHECKING:
    import asyncio

    from litequeue.core.records import Claimed
    from litequeue.store.contract import Store
    from litequeue.worker.executor import Executor

SOFT_SIGNAL: Final = getattr(signal, "SIGUSR2", None)
"""What interrupts the task in a process's main thread; None where the system has no such signals."""
OUTSIDE: Final = 1 << 20
"""`Gate.shut` while no task runs; far more than calls of the store are ever nested."""

FINAL: Final = (exceptions.Terminated, exceptions.TimeLimitExceeded)
"""What no task survives, although it may catch it: where tasks are killed it could not."""


class Gate:
    """Whether the task of one thread may be interrupted now.

    `interrupt` is called by other threads, `strike` by a signal handler of the thread itself, and everything else by
    that thread.
    """

    __slots__ = ("_claimed", "_given", "_kept", "_lock", "_throw", "sending", "shut", "wake")

    def __init__(self) -> None:
        self.shut = OUTSIDE
        """0: it is open. Otherwise how many calls keep it shut, and OUTSIDE where no task runs."""
        self.sending = False
        """Whether another thread is just raising something in this one."""
        self.wake: Callable[[], object] | None = None
        """How a coroutine is told that something is kept for it: an event loop waits, and opens no gate."""
        self._claimed: Claimed | None = None
        self._kept: list[BaseException] = []  # one at most
        self._given: list[BaseException] = []
        self._lock = threading.Lock()
        self._throw: Callable[[], object] | None = None

    @contextmanager
    def serve(self, executor: Executor, store: Store, by_signal: bool = False) -> Iterator[None]:
        """Be the gate of this thread, for the tasks that `executor` runs here.

        `by_signal` may be asked for in the main thread of a process: a signal also ends a system call that waits.
        """
        ident = threading.get_ident()
        previous: Any = None
        if by_signal and SOFT_SIGNAL is not None:
            previous = signal.signal(SOFT_SIGNAL, self._answer)
            self._throw = functools.partial(signal.pthread_kill, ident, SOFT_SIGNAL)
        else:
            self._throw = functools.partial(self._throw_into, ident, _setter())
        executor.use_gate(self)
        store.guard(self)
        guard_logging(self)
        try:
            yield
        finally:
            guard_logging(None)
            store.guard(None)
            executor.use_gate(None)
            with self._lock:
                self._throw = None
            if previous is not None and SOFT_SIGNAL is not None:
                signal.signal(SOFT_SIGNAL, previous)

    # Around a task

    def begin(self, claimed: Claimed) -> None:
        """From now on an interrupt of `claimed` is meant for this thread."""
        with self._lock:
            self._kept.clear()
            self._given.clear()
            self._claimed = claimed

    def end(self) -> bool:
        """From now on it is not. True: the task was interrupted, or was to be."""
        with self._lock:
            self._claimed = None
            return bool(self._given)

    @property
    def busy(self) -> bool:
        """Whether it is between `begin` and `end`."""
        return self._claimed is not None

    def open(self) -> None:
        """The task itself begins. Raises what was kept for it."""
        self.shut = 0
        if self._kept:
            self._raise_kept()

    def close(self) -> None:
        """The task itself has ended, and `shut` has been set to OUTSIDE. Raises what is on its way, for the last time;
        and FINAL again, whatever the task has made of it.

        Setting it is left to the caller: this call may be interrupted before it has done anything.
        """
        self.pass_interrupt()
        if self._kept:  # it came too late
            self._kept.clear()
        elif self._given and isinstance(self._given[-1], FINAL):
            raise self._given[-1]

    def named(self, error: BaseException) -> BaseException:
        """`error`, with the arguments of the interrupt that it is: only a class can be raised in another thread."""
        for given in self._given:
            if type(given) is type(error) and not error.args:
                error.args = given.args
        return error

    # Around what must not be interrupted

    def enter(self) -> None:
        """Keep every interrupt from now on. Raises what is on its way; then it is as if it had not been called."""
        self.shut += 1
        try:
            self.pass_interrupt()
        except BaseException:
            self.shut -= 1
            raise

    def leave(self) -> None:
        """The counterpart of `enter`. Raises what was kept."""
        self.shut -= 1
        if self._kept and not self.shut:
            self._raise_kept()

    def pass_interrupt(self) -> None:
        """Let what is on its way come, now that the gate is shut."""
        while self.sending:
            time.sleep(0)
        _pass()

    def _raise_kept(self) -> None:
        error = self.take()
        if error is not None:
            raise error

    def take(self) -> BaseException | None:
        """What is kept, to be raised by the caller."""
        try:
            return self._kept.pop()
        except IndexError:  # the other thread was quicker
            return None

    # Interrupts

    def interrupt(self, claimed: Claimed, error: BaseException) -> bool:
        """Raise `error` in the task, if that attempt of it still runs; from any other thread.

        The same kind is raised once, and after Terminated nothing more: what the task then does is to clean up.
        """
        with self._lock:
            mine, throw = self._claimed, self._throw
            if mine is None or (mine.seq, mine.attempt) != (claimed.seq, claimed.attempt) or throw is None:
                return False
            if any(isinstance(given, (exceptions.Terminated, type(error))) for given in self._given):
                return True
            self._given.append(error)
            self._kept[:] = [error]
            self._deliver(throw)
        return True

    def _deliver(self, throw: Callable[[], object]) -> None:
        """Raise what is kept, if the gate is open: it is taken either here, or by who opens it."""
        if self.wake is not None:
            with suppress(RuntimeError):  # the loop has just ended, and the coroutine with it
                self.wake()
        self.sending = True
        try:
            if not self.shut:
                throw()
        finally:
            self.sending = False

    def _throw_into(self, ident: int, set_async: Callable[[int, type[BaseException]], int]) -> None:
        error = self.take()
        if error is not None:
            set_async(ident, type(error))

    def strike(self, error: BaseException) -> None:
        """Raise `error` in the task of this thread, from a signal handler; nothing where none runs, or is about to."""
        if self.shut < OUTSIDE or self._claimed is not None:
            self._kept[:] = [error]
            self._answer()

    def _answer(self, *_: object) -> None:
        """A signal has come: what is kept is raised here, or when the gate opens."""
        if not self.shut:
            self._raise_kept()
        elif self._kept and self.wake is not None:
            self.wake()


NOBODYS: Final = Gate()
"""That of threads whose tasks nobody interrupts."""


class Gates(threading.local):
    """The gate of each thread, for an executor that many threads share."""

    gate = NOBODYS


def _pass() -> None:
    """Where an exception that was set for this thread comes, at the latest."""


@functools.cache
def _setter() -> Callable[[int, type[BaseException]], int]:
    """Sets an exception for another thread, to be raised there; keeps the interpreter's lock."""
    import ctypes

    found = ctypes.pythonapi.PyThreadState_SetAsyncExc
    found.argtypes, found.restype = (ctypes.c_ulong, ctypes.py_object), ctypes.c_int
    return found


# Coroutines


def run_coroutine(runner: asyncio.Runner, coroutine: Coroutine[Any, Any, Any], gate: Gate) -> Any:
    """Run a task's coroutine to its end, so that it can be interrupted."""
    # Without a context the runner would give every coroutine that of its first: `self.request` would be old.
    context = contextvars.copy_context()
    if gate is NOBODYS:
        return runner.run(coroutine, context=context)
    try:
        gate.enter()
    except BaseException:
        coroutine.close()
        raise
    try:
        return runner.run(_awaited(_Opening(coroutine, gate), gate), context=context)  # type: ignore[arg-type]
    finally:
        gate.leave()


def run_on_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], gate: Gate) -> Any:
    """Run a task's coroutine to its end on the loop of another thread; interrupted is what waits there."""
    import asyncio

    async def caught() -> tuple[Any, BaseException | None]:
        try:
            return await _awaited(coroutine, gate), None
        except BaseException as error:  # SystemExit would end the loop
            return None, error

    try:
        gate.enter()
    except BaseException:
        coroutine.close()
        raise
    try:
        value, error = asyncio.run_coroutine_threadsafe(caught(), loop).result()
    finally:
        gate.leave()
    if error is not None:
        raise error
    return value


async def _awaited(coroutine: Coroutine[Any, Any, Any], gate: Gate) -> Any:
    """Await it on the loop that runs this; an interrupt is raised where it waits."""
    import asyncio

    from litequeue.worker.coroutines import Interruptible

    driver = Interruptible(coroutine)
    loop = asyncio.get_running_loop()

    def hand_over() -> None:
        error = gate.take()
        if error is not None:
            driver.interrupt(error)

    loop.call_soon(hand_over)  # what was kept before there was a loop
    gate.wake = functools.partial(loop.call_soon_threadsafe, hand_over)
    try:
        return await driver
    finally:
        gate.wake = None


class _Opening:
    """A coroutine for which the gate is open while its own code runs, and shut while the loop's does."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], gate: Gate) -> None:
        self._coroutine = coroutine
        self._gate = gate
        self.close = coroutine.close

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, error: BaseException) -> Any:
        return self._step(self._coroutine.throw, error)

    def _step(self, resume: Callable[[Any], Any], value: Any) -> Any:
        gate = self._gate
        try:
            gate.shut -= 1
            return resume(value)
        finally:
            gate.shut += 1
            gate.pass_interrupt()


# Logging

_guarding = threading.Lock()
_guards: dict[int, Gate] = {}  # by thread
_handle = logging.Logger.handle
_in_place = False


def guard_logging(gate: Gate | None) -> None:
    """Shut `gate` from now on while this thread logs; None: no more.

    A handler drops whatever is raised in it, and may keep its lock, which every other thread wants. There is no hook
    around it, so `Logger.handle` is replaced while any thread is guarded.
    """
    global _handle, _in_place
    with _guarding:
        if gate is None:
            _guards.pop(threading.get_ident(), None)
        else:
            _guards[threading.get_ident()] = gate
        if _guards and not _in_place:
            _handle, _in_place = logging.Logger.handle, True
            logging.Logger.handle = _guarded_handle  # type: ignore[method-assign]
        elif not _guards and logging.Logger.handle is _guarded_handle:  # else somebody has wrapped ours: it stays
            logging.Logger.handle, _in_place = _handle, False  # type: ignore[method-assign]


def _guarded_handle(self: logging.Logger, record: logging.LogRecord) -> None:
    gate = _guards.get(threading.get_ident())
    if gate is None:
        return _handle(self, record)
    gate.enter()
    try:
        _handle(self, record)
    finally:
        gate.leave()


def free_log_locks() -> None:
    """Release what this thread holds of the locks of `logging`, outside of any call of it.

    Other calls of it than those that log take them too, and are not ready for an exception that comes from elsewhere.
    """
    handlers = [handler() for handler in getattr(logging, "_handlerList", ())]
    for lock in (getattr(logging, "_lock", None), *(getattr(handler, "lock", None) for handler in handlers)):
        while lock is not None and getattr(lock, "_is_owned", bool)():
            lock.release()
