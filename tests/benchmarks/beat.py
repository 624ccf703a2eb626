"""The scheduler: how late entries are fired that are all due at once, and how fast the next instant is found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from litequeue.beat.ticking import Ticking
from litequeue.core.records import FULL, NORMAL
from litequeue.schedules import crontab, schedule
from tests.benchmarks.machinery import fresh, median_of, percentile, rate
from tests.benchmarks.table import Figure

if TYPE_CHECKING:
    from tests.benchmarks.figures import Sizes

ZONE = "Europe/Berlin"
SEARCHES = 20_000  # next instants in one measure


def lateness(sizes: Sizes) -> list[Figure]:
    """One scheduler, all entries due at each whole second: from the instant to the end of the commit with its task."""
    figures = []
    for durability in (NORMAL, FULL):
        taken = [seconds * 1000 for seconds in fired_late(durability, sizes.entries, sizes.beat_seconds)]
        for share, reach in ((0.5, None), (0.99, 20.0)):
            name = f"{sizes.entries:,} entries each second, p{share * 100:.0f}, {durability}"
            note = f"{len(taken):,} instants"
            figures.append(
                Figure(name=name, unit="ms", ours=percentile(taken, share), reach=reach, at_least=False, note=note)
            )
    return figures


def fired_late(durability: str, entries: int, seconds: float) -> list[float]:
    """By how many seconds each instant was late."""
    with fresh(durability) as queue:
        now = time.time()
        start = float(int(now) + 3)
        given = {"task": "noop", "schedule": 1.0, "args": (1,), "start": start, "catchup": "all"}
        queue.app.store.sync_schedules(
            "bench", [queue.app.schedules.make(f"entry {n}", given, now, "bench") for n in range(entries)]
        )
        late: list[float] = []
        fire = queue.app.store.fire

        def measured(firings: Sequence[Any]) -> Any:
            fired = fire(firings)
            done = time.time()
            late.extend(done - instant for firing in firings for instant, _ in firing.tasks)
            return fired

        queue.app.store.fire = measured
        beat = Ticking(queue.app.store, "beat@bench")
        beat.start()
        try:
            while (now := time.time()) < start + seconds - 0.5:
                beat.wait(min(beat.tick(), start + seconds - 0.4 - now))
        finally:
            beat.close()
    if len(late) < entries * int(seconds):
        raise RuntimeError(f"{len(late)} of {entries * int(seconds)} instants were fired")
    return late


def instants(sizes: Sizes) -> list[Figure]:
    """One after the other, in a time zone with summer time."""
    every_five, nightly = crontab(minute="*/5"), crontab(minute="30", hour="2", day_of_week="mon-fri")
    interval = schedule(30.0)
    rates = median_of(sizes.rounds, *(lambda rule=rule: searched(rule) for rule in (every_five, nightly, interval)))
    names = ("crontab(minute='*/5')", "crontab at 2:30 on weekdays", "schedule(30)")
    return [
        Figure(name=f"next instants, {name}", unit="/s", ours=found, reach=20_000)
        for name, found in zip(names, rates, strict=True)
    ]


def searched(rule: Any) -> float:
    """Next instants a second, from the year 2026 on."""
    moment = 1_767_225_600.0

    def search() -> None:
        after: float = moment
        for _ in range(SEARCHES):
            after = rule.next_after(after, ZONE, moment)

    return rate(SEARCHES, search)
