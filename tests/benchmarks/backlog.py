"""The rate of claims, by how many rows wait behind them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from litequeue.core.ids import new_id
from litequeue.core.process import current
from litequeue.core.records import NORMAL, Claimed, Encoded, NewProcess, NewTask, Outcome
from litequeue.core.state import SUCCEEDED
from litequeue.store import open_store
from litequeue.store.contract import Claimant, Pick, Store, StoreOptions
from tests.benchmarks.machinery import median_of, new_folder

BATCH = 16
ROUND = 960  # claims in one measure
QUEUES = ("default",)


class TakeAll:
    """A claimer that takes whatever is ready."""

    names = frozenset({"noop"})

    def pick(self, name: str, deaths: int) -> Pick:
        """Take it."""
        return Pick.TAKE

    def at_most_once(self, name: str) -> bool:
        """It may run again."""
        return False


def claim_rates(few: int, many: int, rounds: int) -> list[float]:
    """Claims a second with `few` rows waiting, and with `many`, measured in turns."""
    with filled(few) as (small, at_small), filled(many) as (large, at_large):
        return median_of(rounds, lambda: claim_round(small, at_small), lambda: claim_round(large, at_large))


@contextmanager
def filled(waiting: int) -> Iterator[tuple[Store, Claimant]]:
    """A store with `waiting` rows that are ready, and who may claim them."""
    with new_folder() as folder:
        store = open_store(str(folder / "queue.db"), StoreOptions(durability=NORMAL))
        for first in range(0, waiting, 50_000):
            store.enqueue([new_task() for _ in range(min(50_000, waiting - first))])
        me = current()
        process = NewProcess(worker="bench", role="worker", parent=None, identity=me, queues=QUEUES)
        holder = store.register(process)
        try:
            yield store, Claimant(holder=holder, worker="bench", pid=me.pid, queues=QUEUES, picker=TakeAll())
        finally:
            store.close()


def new_task() -> NewTask:
    """A task without arguments."""
    return NewTask(id=new_id(), name="noop", queue="default", priority=0, payload="[[], {}]", serializer="json")


def claim_round(store: Store, claimant: Claimant) -> float:
    """Claims a second: finish what is held and claim the next, one transaction each. As many rows are added before."""
    store.enqueue([new_task() for _ in range(ROUND)])
    began = time.perf_counter()
    claimed = store.claim(claimant, BATCH).claimed
    done = 0
    while done < ROUND:
        done += len(claimed)
        more = BATCH if done < ROUND else 0
        claimed = store.settle(claimant, [succeeded(one) for one in claimed], more).claimed
    return done / (time.perf_counter() - began)


def succeeded(claimed: Claimed) -> Outcome:
    """The outcome of a no-op."""
    now = time.time()
    return Outcome(claimed, SUCCEEDED, now, Encoded("null", "json"), prune_at=now + 86_400)
