"""Where tasks run: child processes, threads, or the worker's own thread. One class a pool, the same methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from litequeue import exceptions

if TYPE_CHECKING:
    from litequeue.core.records import Claimed
    from litequeue.core.steering import Termination
    from litequeue.worker.stacks import Line
    from litequeue.worker.supervisor import Worker


class Pool(Protocol):
    """The slots of one worker."""

    def start(self) -> None:
        """Start the slots; returns before they are all up."""

    def watch(self, timeout: float) -> None:
        """Look after the slots until something happens, at most about `timeout` seconds."""

    def is_up(self) -> bool:
        """Whether every slot can claim."""

    def stop(self) -> None:
        """Ask every slot to end after the task that it runs."""

    def is_down(self) -> bool:
        """Whether every slot has ended."""

    def kill(self) -> bool:
        """End every slot at once, where the pool can; False where its tasks cannot be killed."""


class Resizable(Pool, Protocol):
    """A pool that can have more slots, or fewer."""

    def resize(self, slots: int) -> None:
        """Have `slots` of them. More are started at once; of those that are too many idle ones end first, and each of
        the others after its task."""


class Processes(Resizable, Protocol):
    """A pool whose slots are processes."""

    def restart(self, reload: bool) -> None:
        """Replace each after its task; with `reload` the new ones import changed modules anew."""

    def terminate(self, terminations: Sequence[Termination]) -> None:
        """Send each of these running tasks the signal that it was revoked with."""

    def holders(self) -> list[int]:
        """The numbers of the processes that are up and not yet buried; callable from any thread."""

    def stack_lines(self) -> list[Line]:
        """The processes that can be asked where their threads are; callable from any thread."""


class Interruptible(Pool, Protocol):
    """A pool in whose slots something can be raised."""

    def interrupt(self, claimed: Claimed, error: BaseException) -> bool:
        """Raise `error` in the task that `claimed` began; False where it does not run any more. From any thread."""


class Own(Pool, Protocol):
    """A pool whose tasks run in the worker's own thread."""

    def strike(self, error: BaseException) -> None:
        """Raise `error` in the task that runs, and start no other; from a signal handler of that thread."""


def make_pool(worker: Worker) -> Pool:
    """The pool that the worker's options name; ImproperlyConfigured for an unknown one."""
    name = worker.options.pool
    if name in ("prefork", "processes"):
        from litequeue.worker.pools.prefork import PreforkPool

        return PreforkPool(worker)
    if name == "threads":
        from litequeue.worker.pools.threads import ThreadPool

        return ThreadPool(worker)
    if name == "solo":
        from litequeue.worker.pools.solo import SoloPool

        return SoloPool(worker)
    if name == "asyncio":
        from litequeue.worker.pools.aio import AsyncioPool

        return AsyncioPool(worker)
    raise exceptions.ImproperlyConfigured(f"worker_pool={name!r}: give one of 'prefork', 'threads', 'asyncio', 'solo'.")
