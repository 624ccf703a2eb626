"""The disk fails at the n-th call of every operation: a typed error, nothing half-written, and the store goes on (P8).

Each operation runs over a VFS that fails its first write, then on a fresh copy its second, and so on until no failure
is left; the same for reads, syncs, opens, locks, truncations and deletions.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from litequeue.core.ids import new_id
from litequeue.core.records import FULL, Encoded
from litequeue.exceptions import OperationalError, StoreBusy, StoreFull, StoreMissing
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite.store import SQLiteStore

from . import canvases
from .invariants import violations
from .story import (
    Said,
    checkpoint_often,
    claimant,
    failure,
    image_folder,
    log_lines,
    new_task,
    open_store,
    register,
    retry,
    success,
    tickets,
)
from .test_power_cut import schema_of, use_next_version
from .vfs import Fault, RecordingVFS, sweep

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FAULTS = [
    ("read", "ioerr"),
    ("write", "ioerr"),
    ("write", "full"),
    ("write", "short"),
    ("sync", "ioerr"),
    ("truncate", "ioerr"),
    ("delete", "ioerr"),
    ("open", "cantopen"),
    ("lock", "busy"),
]
TYPES = {"full": StoreFull, "busy": StoreBusy, "cantopen": StoreMissing}


CANVAS_FAULTS = [("read", "ioerr"), ("write", "full"), ("sync", "ioerr"), ("lock", "busy")]
"""What is tried with canvases: the others meet the same statements of the same engine."""


class Queue(NamedTuple):
    """A queue with work in every state, and a worker that holds some of it."""

    ready: list[str]
    holder: int
    supervisor: int
    held: tuple[Any, ...]
    of_canvases: tuple[Any, ...]
    fresh: list[Any]
    """Tasks to enqueue, with ids that stay the same."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Queue]:
    """A queue to copy."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    store = open_store(path)
    tasks = [new_task(payload=f'[["{"x" * 200}"], {{}}]') for _ in range(12)]
    store.enqueue(tasks)
    supervisor = register(store)
    holder = register(store, role="child", parent=supervisor)
    held = store.claim(claimant(holder), 5).claimed
    store.settle(claimant(holder), [success(held[0])])
    of_canvases = canvases.prepare(store, holder)
    store.close()
    fresh = [new_task()._replace(id=new_id()) for _ in range(5)]
    return path, Queue([task.id for task in tasks[5:]], holder, supervisor, held[1:], of_canvases, fresh)


def settle(store: SQLiteStore, queue: Queue) -> None:
    """A success, a failure and a retry, and the next claim."""
    first, second, third, _ = queue.held
    store.settle(claimant(queue.holder), [success(first), failure(second), retry(third, 60.0)], 2)


OPERATIONS: dict[str, Callable[[SQLiteStore, Queue], Any]] = {
    "enqueue one": lambda store, queue: store.enqueue(queue.fresh[:1]),
    "enqueue many": lambda store, queue: store.enqueue(queue.fresh),
    "revoke": lambda store, queue: store.revoke(queue.ready[:2]),
    "forget": lambda store, queue: store.forget([queue.ready[0], queue.held[0].id]),
    "purge": lambda store, queue: store.purge(["celery"]),
    "update_state": lambda store, queue: store.update_state(queue.ready[0], "PROGRESS", Encoded("{}", "json")),
    "claim": lambda store, queue: store.claim(claimant(queue.holder), 3),
    "settle": settle,
    "release": lambda store, queue: store.release(queue.holder, tickets(*queue.held)),
    "bury": lambda store, queue: store.bury(queue.holder, "killed", 3),
    "deregister": lambda store, queue: store.deregister(queue.holder),
    "register": lambda store, queue: register(store),
    "prune": lambda store, queue: store.prune(100),
    "rescue": lambda store, queue: store.rescue(0.0, 3),
    "publish": lambda store, queue: store.publish([("my-event", {"n": 1}), ("my-event", {"n": 2})], "celery@test"),
    "set_events": lambda store, queue: store.set_events(queue.supervisor, True),
    "set_slots": lambda store, queue: store.set_slots(queue.supervisor, 5),
    "keep_log": lambda store, queue: store.keep_log(*tickets(queue.held[0]), log_lines(6), 4),
}


def settle_and_tell(store: SQLiteStore, queue: Queue) -> None:
    """As `settle`, with what was logged; the events of it are written, and so are the counts."""
    first, second, third, _ = queue.held
    outcomes = [success(first, log=Said(log_lines(6))), failure(second), retry(third, 60.0)]
    store.settle(claimant(queue.holder), outcomes, 2)


EVENTFUL: dict[str, Callable[[SQLiteStore, Queue], Any]] = {
    "settle": settle_and_tell,
    **{
        name: OPERATIONS[name] for name in ("enqueue many", "revoke", "claim", "release", "bury", "deregister", "prune")
    },
}
"""What is tried with events on too."""
CANVASES: dict[str, Callable[[SQLiteStore, Queue], Any]] = {
    "settle canvases": lambda store, queue: canvases.settle_all(store, queue.holder, queue.of_canvases),
    **{name: lambda store, queue, verb=verb: verb(store) for name, verb in canvases.VERBS.items()},
}
ALL = OPERATIONS | CANVASES
ONE_TRANSACTION = set(ALL) - {"rescue"}


def summary(path: str) -> list[Any]:
    """What an operation changes, without the times at which it did."""
    db = apsw.Connection(path)
    try:
        broken = violations(db)
        assert not broken, broken
        return [
            db.execute(
                "SELECT iif(edge = 'error', name || ' of ' || after, id), lane, state, custom_state, attempt, deaths,"
                " retries, holder, ignore_result, result IS NULL, after, edge, ties, group_index,"
                " json_array_length(errbacks) FROM litequeue_tasks ORDER BY seq"
            ).fetchall(),
            db.execute(
                "SELECT iif(g.parent_id IS NULL, g.id, 'errors of ' || g.parent_id) AS name, size, remaining, failed_id"
                " FROM litequeue_groups g ORDER BY name"
            ).fetchall(),
            db.execute("SELECT header, value, seq FROM litequeue_stamps ORDER BY 3, 1, 2").fetchall(),
            db.execute("SELECT header, value FROM litequeue_revoked_stamps ORDER BY 1, 2").fetchall(),
            db.execute("SELECT seq, attempt, outcome FROM litequeue_attempts ORDER BY 1, 2").fetchall(),
            db.execute(
                "SELECT id, role, idle, events, json_extract(info, '$.concurrency') FROM litequeue_processes ORDER BY 1"
            ).fetchall(),
            db.execute("SELECT number, size, worker FROM litequeue_events ORDER BY number").fetchall(),
            db.execute("SELECT seq, number, attempt, message FROM litequeue_logs ORDER BY 1, 2").fetchall(),
        ]
    finally:
        db.close()


def copy(template: Path, folder: Path, number: int) -> Path:
    """A copy of a closed queue under a name of its own."""
    path = folder / f"{number}.db"
    shutil.copyfile(template, path)
    return path


def patient(path: Path, vfs: RecordingVFS) -> SQLiteStore:
    """A store over `vfs` that waits a twentieth of a second for a lock."""
    store = SQLiteStore(str(path), StoreOptions(durability=FULL, busy_budget=0.05))
    store._database.vfs = vfs.name
    return store


def raised_by(act: Callable[[], Any], fault: Fault) -> OperationalError | None:
    """The error that the fault led to, which must be one of ours of the right kind; None when it was borne."""
    try:
        act()
    except OperationalError as error:
        assert fault.fired
        expected = TYPES.get(fault.error, OperationalError)
        assert isinstance(error, expected), f"{fault}: {error!r}"
        return error
    return None


@pytest.mark.parametrize(
    ("name", "operation", "error", "warm"),
    [
        *((name, *fault, warm) for name in OPERATIONS for fault in FAULTS for warm in (False, True)),
        *((name, *fault, True) for name in CANVASES for fault in CANVAS_FAULTS),
    ],
)
def test_a_fault_at_the_nth_call_leaves_all_or_nothing(vfs, template, monkeypatch, name, operation, error, warm):
    """An error means that nothing was written, no error means that all of it was; then the same store does it.

    Every commit is followed by a checkpoint, which the fault may hit: that is no failure of the commit.
    """
    source, queue = template
    sweep_over(vfs, monkeypatch, source, queue, name, ALL[name], (operation, error), warm)


@pytest.mark.parametrize(("operation", "error"), CANVAS_FAULTS)
@pytest.mark.parametrize("name", EVENTFUL)
def test_a_fault_while_events_are_written_leaves_all_or_nothing(
    vfs, template, tmp_path, monkeypatch, name, operation, error
):
    """The move and what is told of it are one: events, log lines, counts."""
    source, queue = template
    eventful = copy(source, tmp_path, 0)
    store = open_store(eventful)
    assert store.set_events(queue.supervisor, True)
    store.close()
    sweep_over(vfs, monkeypatch, eventful, queue, name, EVENTFUL[name], (operation, error), True)


def sweep_over(vfs, monkeypatch, source, queue, name, act, kind, warm) -> None:
    """Do it on copies of `source`, with a fault at each call in turn."""
    checkpoint_often(monkeypatch, 1)
    operation, error = kind
    numbers = itertools.count()
    vfs.recording = False
    with image_folder() as folder:
        reference = copy(source, folder, next(numbers))
        before = summary(str(reference))
        store = open_store(reference)
        act(store, queue)
        store.close()
        after = summary(str(reference))
        assert before != after or name == "prune"

        def run(fault: Fault) -> None:
            path = copy(source, folder, next(numbers))
            store = patient(path, vfs)
            try:
                if warm:
                    store.processes()
                with vfs.failing(fault):
                    failed = raised_by(lambda: act(store, queue), fault)
                if failed is not None:
                    assert str(path) in str(failed)
                if failed is None:
                    assert summary(str(path)) == after, f"{fault}: no error, but not everything was written"
                elif name in ONE_TRANSACTION:
                    assert summary(str(path)) == before, f"{fault}: {failed!r}, but something was written"
                if failed is not None:
                    act(store, queue)
                    assert summary(str(path)) == after, f"{fault}: the store did not recover"
            finally:
                store.close()
                path.unlink()

        sweep(run, operation, error=error)


@pytest.mark.parametrize(("operation", "error"), FAULTS)
def test_a_fault_while_a_file_is_made_leaves_a_file_that_can_be_made(vfs, tmp_path, operation, error):
    numbers = itertools.count()

    def run(fault: Fault) -> None:
        path = tmp_path / f"{next(numbers)}.db"
        store = patient(path, vfs)
        with vfs.failing(fault):
            raised_by(store.processes, fault)
        store.enqueue([new_task()])
        assert store.counts() == {"celery": {"ready": 1}}
        with store._database.read() as connection:
            assert connection.execute("PRAGMA journal_mode").get == "wal"
            assert connection.execute("PRAGMA auto_vacuum").get == 2
        store.close()
        other = open_store(path)
        assert other.counts() == {"celery": {"ready": 1}}
        other.close()

    sweep(run, operation, error=error)


@pytest.mark.parametrize(("operation", "error"), FAULTS)
def test_a_fault_while_a_file_is_migrated_leaves_the_old_or_the_new(
    vfs, template, tmp_path, monkeypatch, operation, error
):
    source, _ = template
    old, _, rows = schema_of(str(source))
    new = use_next_version(monkeypatch)
    numbers = itertools.count()

    def run(fault: Fault) -> None:
        path = copy(source, tmp_path, next(numbers))
        store = patient(path, vfs)
        with vfs.failing(fault):
            failed = raised_by(store.processes, fault)
        assert schema_of(str(path)) in ([(old, False, rows), (new, True, rows)] if failed else [(new, True, rows)])
        store.processes()
        assert schema_of(str(path)) == (new, True, rows)
        store.close()

    sweep(run, operation, error=error)


@pytest.mark.parametrize(("operation", "error"), [("write", "full"), ("write", "ioerr"), ("sync", "ioerr")])
def test_the_store_goes_on_when_the_disk_is_well_again(vfs, template, tmp_path, operation, error):
    """A disk that stays full fails every write with the same typed error, reads go on, and then everything works."""
    source, queue = template
    path = copy(source, tmp_path, 0)
    store = patient(path, vfs)
    before = store.counts()
    with vfs.failing(Fault(operation, 1, error, lasting=True)) as fault:
        for _ in range(3):
            assert raised_by(lambda: store.enqueue(queue.fresh), fault) is not None
            assert store.counts() == before
    store.enqueue(queue.fresh)
    assert store.counts()["celery"]["ready"] == before["celery"]["ready"] + len(queue.fresh)
    store.close()
    assert summary(str(path))


def test_a_file_at_its_page_limit_is_full(template, tmp_path):
    """`max_page_count` is how a quota shows itself; the error says what to do, and reading goes on."""
    source, _ = template
    path = copy(source, tmp_path, 0)
    store = open_store(path)
    with store._database.write(FULL) as connection:
        pages = connection.execute("PRAGMA page_count").get
        connection.execute(f"PRAGMA max_page_count={pages + 1}")
    large = new_task(payload=f'[["{"x" * 100_000}"], {{}}]')
    with pytest.raises(StoreFull, match=r"(?s)Free space"):
        store.enqueue([large])
    assert store.task(large.id) is None
    with store._database.write(FULL) as connection:
        connection.execute("PRAGMA max_page_count=1000000")
    store.enqueue([large])
    assert store.task(large.id) is not None
    store.close()


def test_a_stranger_that_holds_the_file_is_named_as_busy(template, tmp_path):
    """Another program's open transaction, which does not go through our door: StoreBusy after the budget."""
    source, queue = template
    path = copy(source, tmp_path, 0)
    stranger = apsw.Connection(str(path))
    stranger.execute("BEGIN IMMEDIATE")
    store = SQLiteStore(str(path), StoreOptions(durability=FULL, busy_budget=0.1))
    for act in OPERATIONS.values():  # each waits for its budget
        with pytest.raises(StoreBusy, match=str(path)):
            act(store, queue)
    stranger.execute("ROLLBACK")
    store.enqueue(queue.fresh)
    assert store.task(queue.fresh[0].id) is not None
    store.close()
    stranger.close()
