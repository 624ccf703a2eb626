"""What the end of one task costs does not depend on how many hang together with it: counted in SQLite's own steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from litequeue.core.ids import new_id
from litequeue.core.records import NewCanvas, NewGroup, NewTask
from litequeue.core.ties import BODY, FEEDS, LEADS, MEMBER, THEN
from litequeue.store import open_store
from litequeue.store.contract import StoreOptions
from tests.store.conftest import Driver, fail, succeed

SMALL, LARGE = 300, 6_000
BATCHES, BATCH = 5, 16


def new_task(**where: Any) -> NewTask:
    return NewTask(new_id(), "add", "celery", 0, "[[], {}]", "json")._replace(**where)


def chord_of(size: int, **group: Any) -> NewCanvas:
    header = NewGroup(new_id(), size, **group)
    members = [new_task(group_id=header.id, group_index=slot, ties=MEMBER | FEEDS) for slot in range(size)]
    return NewCanvas([*members, new_task(after=header.id, edge=BODY, takes_input=1)], [header])


def chain_of(size: int) -> NewCanvas:
    steps = [new_task(ties=LEADS | FEEDS)]
    while len(steps) < size:
        ties = LEADS | FEEDS if len(steps) < size - 1 else 0
        steps.append(new_task(after=steps[-1].id, edge=THEN, takes_input=1, ties=ties))
    return NewCanvas(steps)


@contextmanager
def counted() -> Iterator[list[int]]:
    """The steps of SQLite's machine, and how many of them went from row to row of a whole table."""
    found = [0, 0]

    def add(event: dict[str, Any]) -> None:
        status = event["stmt_status"]
        found[0] += status["SQLITE_STMTSTATUS_VM_STEP"]
        found[1] += status["SQLITE_STMTSTATUS_FULLSCAN_STEP"]

    def hook(connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, add)

    apsw.connection_hooks.append(hook)
    try:
        yield found
    finally:
        apsw.connection_hooks.remove(hook)


def cost(folder: Path, canvas: NewCanvas, end: Any = succeed) -> tuple[int, int]:
    """What it takes to settle and claim some batches of `canvas`."""
    with counted() as found:
        driver = Driver(open_store(str(folder / f"{new_id()}.db"), StoreOptions()))
        driver.store.enqueue_canvas(canvas)
        claimant = driver.claimant()
        claimed = driver.store.claim(claimant, BATCH).claimed
        before = list(found)
        for _ in range(BATCHES):
            for task in claimed:
                driver.store.inputs(task)
            claimed = driver.store.settle(claimant, [end(task) for task in claimed], BATCH).claimed
            assert claimed
        after = list(found)
        driver.store.close()
    return after[0] - before[0], after[1] - before[1]


@pytest.mark.parametrize(
    ("make", "end"),
    [
        pytest.param(chord_of, succeed, id="members of a chord"),
        pytest.param(chord_of, fail, id="members of a chord that fail"),
        pytest.param(lambda size: chord_of(size, tolerant=1), fail, id="members of a tolerant chord that fail"),
        pytest.param(chain_of, succeed, id="steps of a chain"),
    ],
)
def test_a_settle_costs_the_same_in_a_large_canvas(tmp_path: Path, make: Any, end: Any) -> None:
    small, large = cost(tmp_path, make(SMALL), end), cost(tmp_path, make(LARGE), end)
    assert large[0] < 1.05 * small[0] > 100
    assert large[1] <= small[1]  # rows passed over
