"""What the journal of events costs: the same drain with it and without, in turns."""

from __future__ import annotations

import gc
import statistics
from typing import TYPE_CHECKING

from litequeue.core.records import NORMAL
from tests.benchmarks.machinery import check_success, fresh, rate, wait_until_done
from tests.benchmarks.table import Figure

if TYPE_CHECKING:
    from tests.benchmarks.figures import Sizes

REACH = 85.0
"""Percent of the drain without."""


def cost(sizes: Sizes) -> list[Figure]:
    """Drain with events, as a share of the drain without; the median of pairs."""
    pairs = [(drained(sizes.drained, False), drained(sizes.drained, True)) for _ in range(max(sizes.rounds, 1))]
    share = statistics.median(100 * with_events / without for without, with_events in pairs)
    note = ", ".join(f"{with_events:,.0f} beside {without:,.0f}/s" for without, with_events in pairs)
    return [Figure(name="drain with events, of that without", unit="%", ours=share, reach=REACH, note=note)]


def drained(count: int, events: bool) -> float:
    """Tasks a second of a worker with two processes; every event must be there."""
    with fresh(NORMAL) as queue, queue.held_worker(2) as open_gate:
        store = queue.app.store
        (worker,) = (record.id for record in store.processes() if record.role == "worker")
        store.set_events(worker, events)
        results = queue.app.enqueue_many(queue.task("noop").s(number) for number in range(count))

        def work() -> None:
            open_gate()
            wait_until_done(results)

        gc.collect()
        measured = rate(count, work)
        check_success(results)
        written = store.event_range().last
        if written < (3 * count if events else 0) or (written and not events):
            raise RuntimeError(f"{written} events of {count} tasks")
    return measured
