"""Canvases: sent and run, only sent, counted down, and the memory of large ones."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from litequeue import chain, chord, group
from litequeue.core.ids import new_id
from litequeue.core.records import FULL, NORMAL, NewCanvas, NewGroup
from litequeue.core.ties import BODY, FEEDS, MEMBER
from litequeue.store.contract import Claimant, Store
from tests.benchmarks import ceiling
from tests.benchmarks.backlog import BATCH, filled, new_task, succeeded
from tests.benchmarks.large import nested
from tests.benchmarks.machinery import PATIENCE, ROOT, Queue, fresh, median_of, rate, seconds
from tests.benchmarks.table import Figure

if TYPE_CHECKING:
    from tests.benchmarks.figures import Sizes

REACH = {"group": 0.5, "chord": 0.15, "chain": 0.1}
"""Seconds at NORMAL, at full size; twice that at FULL."""


def run(sizes: Sizes) -> list[Figure]:
    """From the call to its result, by two processes: a group, a chord, a chain."""
    taken: dict[str, list[dict[str, float]]] = {durability: [] for durability in (NORMAL, FULL)}
    for _ in range(sizes.rounds):
        for durability in taken:
            with fresh(durability) as queue, queue.held_worker(2) as open_gate:
                open_gate()
                taken[durability].append(run_once(queue, sizes))
    figures = []
    for kind, size in (("group", sizes.group), ("chord", sizes.chord), ("chain", sizes.chain)):
        for times, durability in ((1, NORMAL), (2, FULL)):
            name = f"{kind} of {size:,}, send and get, {durability}"
            ours = statistics.median(found[kind] for found in taken[durability])
            reach = times * REACH[kind]
            figures.append(Figure(name=name, unit="s", ours=ours, reach=reach, at_least=False))
    return figures


def run_once(queue: Queue, sizes: Sizes) -> dict[str, float]:
    """Seconds of each kind; a small one of it has been run before."""
    noop, step, total = queue.task("noop"), queue.task("increment"), queue.task("total")

    def run_group(count: int) -> int:
        return len(group(noop.s(number) for number in range(count)).delay().get(timeout=PATIENCE))

    def run_chord(count: int) -> Any:
        return chord((step.s(0) for _ in range(count)), total.s()).delay().get(timeout=PATIENCE)

    def run_chain(count: int) -> Any:
        return chain(step.s(0), *(step.s() for _ in range(count - 1))).delay().get(timeout=PATIENCE)

    return {
        "group": seconds(run_group, sizes.group),
        "chord": seconds(run_chord, sizes.chord),
        "chain": seconds(run_chain, sizes.chain),
    }


def send(sizes: Sizes) -> list[Figure]:
    """A group and a chain in one transaction: made, planned and written."""
    figures = []
    for kind, count, durability in (
        ("group", sizes.sent, NORMAL),
        ("group", sizes.sent, FULL),
        ("group", sizes.large, NORMAL),
        ("chain", sizes.large, NORMAL),
    ):
        with fresh(durability) as queue, ceiling.bare_file(durability) as bare:
            noop = queue.task("noop")
            make = group if kind == "group" else chain
            make(noop.s(number) for number in range(4)).delay()
            measured, bound = median_of(
                sizes.rounds,
                lambda noop=noop, make=make, count=count: rate(
                    count, lambda: make(noop.s(number) for number in range(count)).delay()
                ),
                lambda bare=bare, count=count: rate(count, lambda: ceiling.enqueue_many(bare, count)),
            )
        name = f"send a {kind} of {count:,}, {durability}"
        reach = 60_000 if kind == "group" else None
        figures.append(Figure(name=name, unit="/s", ours=measured, ceiling=bound, reach=reach))
    return figures


# Counting down


def members(sizes: Sizes) -> list[Figure]:
    """What it takes to settle and claim members of one large chord, beside as many of small ones."""
    with (
        chords_under_way(1, sizes.large) as large,
        chords_under_way(max(1, sizes.large // sizes.chord), sizes.chord) as small,
    ):
        rounds = min(sizes.large // sizes.chord, sizes.rounds * 10)
        many, few = median_of(rounds, lambda: large(sizes.chord), lambda: small(sizes.chord))
    note = f"ceiling: in chords of {sizes.chord:,}; {1e6 / many:.1f} us a member, {1e6 / few:.1f} us there"
    name = f"settle members of a chord of {sizes.large:,}"
    return [Figure(name=name, unit="/s", ours=many, ceiling=few, ceiling_share=1 / 1.2, note=note)]


@contextmanager
def chords_under_way(count: int, size: int) -> Iterator[Callable[[int], float]]:
    """A file with chords; what is yielded settles some of their members, and says how many a second."""
    with filled(0) as (store, claimant):
        for _ in range(count):
            header, tasks = new_id(), []
            for slot in range(size):
                tasks.append(new_task()._replace(group_id=header, group_index=slot, ties=MEMBER | FEEDS))
            tasks.append(new_task()._replace(queue="bodies", after=header, edge=BODY, takes_input=1))
            store.enqueue_canvas(NewCanvas(tasks, [NewGroup(header, size)]))
        yield lambda members: settle_some(store, claimant, members)


def settle_some(store: Store, claimant: Claimant, count: int) -> float:
    """Members a second: finish what is held and claim the next, one transaction each; the bodies are left."""
    began = time.perf_counter()
    claimed = store.claim(claimant, min(BATCH, count)).claimed
    done = 0
    while done < count:
        done += len(claimed)
        claimed = store.settle(claimant, [succeeded(one) for one in claimed], min(BATCH, count - done)).claimed
        if not claimed and done < count:
            raise RuntimeError(f"the chord had {done} members left, not {count}")
    return done / (time.perf_counter() - began)


# Large ones


def large(sizes: Sizes) -> list[Figure]:
    """The memory that a program needs above its own to make and send a large canvas; how long a deep one takes."""
    figures = []
    for kind, count, reach in (("group", sizes.sent, None), ("group", sizes.large, 64), ("chain", sizes.large, 160)):
        found = send_elsewhere(kind, count)
        note = f"in {found['seconds']:.2f} s; {found['file']:.0f} MiB of file"
        if found["signatures"] >= 1:
            note += f"; {found['signatures']:.0f} MiB of it are signatures"
        name = f"memory to send a {kind} of {count:,}"
        figures.append(Figure(name=name, unit="MiB", ours=found["peak"], reach=reach, at_least=False, note=note))
    return [*figures, deep(sizes)]


def send_elsewhere(kind: str, count: int) -> dict[str, float]:
    """What `large.py` says of a canvas."""
    command = [sys.executable, "-m", "tests.benchmarks.large", kind, str(count)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout
    return json.loads(said)  # type: ignore[no-any-return]


def deep(sizes: Sizes) -> Figure:
    """Chords in chains in chords, sent and run."""
    with fresh(NORMAL) as queue, queue.held_worker(2) as open_gate:
        open_gate()
        step, total = queue.task("increment"), queue.task("total")

        def run_nested(depth: int) -> Any:
            return 2 * (nested(depth, step, total).delay().get(timeout=PATIENCE) - 1)

        taken = statistics.median(seconds(run_nested, sizes.depth) for _ in range(sizes.rounds))
    return Figure(name=f"canvas {sizes.depth} deep, send and get, {NORMAL}", unit="s", ours=taken)
