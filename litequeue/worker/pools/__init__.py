"""Where tasks run: child processes, threads, or the worker's own thread. One class a pool, the same methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from litequeue import exceptions

if TYPE_CHECKING:
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
    raise exceptions.ImproperlyConfigured(f"worker_pool={name!r}: give one of 'prefork', 'threads', 'solo'.")
