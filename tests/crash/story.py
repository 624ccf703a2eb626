"""A life of a queue, told transaction by transaction over a recording VFS, and its images after a power cut.

A `Story` runs the store's own verbs one after the other and marks in the log when each one begins and when it is
acknowledged, and keeps what the file contains after each. An image is right when

* it contains exactly what the file contained after some transaction k (nothing is half there, nothing is out of order);
* k is not before the last acknowledged transaction that promised to survive a power cut;
* k is not after the last transaction that had begun.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from litequeue.core import clock
from litequeue.core.ids import new_id
from litequeue.core.records import (
    FULL,
    Claimed,
    Encoded,
    Identity,
    LogLine,
    NewProcess,
    NewTask,
    Outcome,
    Rerun,
    Ticket,
)
from litequeue.store.contract import Claimant, Pick, StoreOptions
from litequeue.store.sqlite import connection as sqlite_connection
from litequeue.store.sqlite.store import SQLiteStore

from .invariants import dump, violations
from .power_loss import IMAGES, SEED, Image, images
from .vfs import RecordingVFS

ERROR = Encoded('{"type": "ValueError", "module": "builtins", "args": ["no"], "text": "no"}', "error")
_LONG_AGO = Identity(host=os.uname().nodename, boot="before the power cut", namespace="", pid=1, started="1")


@dataclass
class TakeAll:
    """A picker that takes what it is given, as far as it knows the name."""

    names: Sequence[str] = ("add", "once")
    once: Sequence[str] = ("once",)

    def pick(self, name: str, deaths: int) -> Pick:
        """Take it, alone if it may only run once."""
        if name not in self.names:
            return Pick.ASIDE
        return Pick.LAST if name in self.once else Pick.TAKE

    def at_most_once(self, name: str) -> bool:
        """Whether it may run only once."""
        return name in self.once


@dataclass
class Said:
    """What an attempt has logged, of which the newest `limit` lines are kept."""

    lines: Sequence[LogLine]
    limit: int = 4

    def rest(self) -> Sequence[LogLine]:
        """What is not kept yet."""
        return self.lines


def log_lines(count: int, attempt: int = 1) -> list[LogLine]:
    """So many lines of a log."""
    return [LogLine(attempt, 1000.0 + number, 20, "proj", f"line {number}") for number in range(count)]


def new_task(name: str = "add", queue: str = "celery", payload: str = "[[1, 2], {}]", **fields: Any) -> NewTask:
    """A task as a client makes it."""
    return NewTask(id=new_id(), name=name, queue=queue, priority=0, payload=payload, serializer="json", **fields)


def success(claimed: Claimed, value: str = "3", log: Said | None = None) -> Outcome:
    """The outcome of an attempt that returned."""
    return Outcome(claimed, "succeeded", clock.now(), Encoded(value, "json"), prune_at=clock.now() + 86400, log=log)


def failure(claimed: Claimed) -> Outcome:
    """The outcome of an attempt that raised."""
    return Outcome(claimed, "failed", clock.now(), ERROR, "Traceback …", prune_at=clock.now() + 86400)


def retry(claimed: Claimed, delay: float = 0.0) -> Outcome:
    """The outcome of an attempt that is to be tried again after `delay` seconds."""
    now = clock.now()
    rerun = Rerun(run_at=now + delay if delay else None, retries=claimed.retries + 1)
    return Outcome(claimed, "scheduled" if delay else "ready", now, ERROR, "Traceback …", rerun=rerun)


def tickets(*claims: Claimed) -> list[Ticket]:
    """What names these claims when they are given back."""
    return [Ticket(claimed.seq, claimed.attempt) for claimed in claims]


def register(
    store: SQLiteStore,
    identity: Identity = _LONG_AGO,
    role: str = "worker",
    parent: int | None = None,
    events: bool = False,
) -> int:
    """Register a process; the default is one that no longer lives."""
    return store.register(
        NewProcess(worker="celery@test", role=role, parent=parent, identity=identity, queues=("celery",), events=events)
    )


def claimant(holder: int, picker: TakeAll | None = None, queues: tuple[str, ...] = ("celery",)) -> Claimant:
    """The claims of the process `holder`."""
    return Claimant(holder=holder, worker="celery@test", pid=1, queues=queues, picker=picker or TakeAll())


@dataclass
class Story:
    """Runs verbs over `vfs` and remembers what the file was after each."""

    vfs: RecordingVFS
    path: Path
    durability: str = FULL
    after: list[str] = field(default_factory=list)
    """The contents after each transaction; the first: of the fresh file."""
    told: list[str] = field(default_factory=list)
    durable: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = open_store(self.path, self.durability, self.vfs)
        with self.telling("open", durable=True):
            self.store.processes()
        with self.store._database.read() as connection:
            self._look = apsw.Connection(connection.filename)
        self._keep()

    @contextmanager
    def telling(self, what: str, durable: bool) -> Iterator[None]:
        """Mark the beginning and the acknowledgement of transaction number `len(self.told)`."""
        number = len(self.told)
        self.told.append(what)
        self.durable.append(durable)
        self.vfs.mark(("begin", number))
        yield
        self.vfs.mark(("acknowledged", number))

    def _keep(self) -> None:
        self.after.append(dump(self._look))

    def do(self, what: str, verb: Callable[[], Any], *, durable: bool | None = None) -> Any:
        """Run one verb that is one transaction; `durable`: what it promises (None: what the store does)."""
        with self.telling(what, self.durability == FULL if durable is None else durable):
            answer = verb()
        self._keep()
        return answer

    def close(self) -> None:
        """Close the store for a moment: the last connection checkpoints, and deletes the WAL."""
        self._look.close()
        self.store.close()
        with self.store._database.read() as connection:
            self._look = apsw.Connection(connection.filename)

    def end(self) -> None:
        """Close the store for good."""
        self._look.close()
        self.store.close()

    # After the power cut

    def expected(self, image: Image) -> tuple[int, int]:
        """(the first, the last) transaction after which the file may be as it is in `image`."""
        early, late = image.marks(self.vfs.log)
        begun = max((number for kind, number in early if kind == "begin"), default=0)
        kept = max((n for kind, n in late if kind == "acknowledged" and self.durable[n]), default=0)
        return kept, max(begun, kept)

    def check(self, image: Image, path: str) -> SQLiteStore:
        """Open the image with litequeue and check it; returns the open store."""
        first, last = self.expected(image)
        store = open_store(Path(path), self.durability)
        where = f"image {image.kind} at {image.first}..{image.last} of seed {SEED}"
        store.processes()
        db = apsw.Connection(path)
        try:
            broken = violations(db)
            found = dump(db)
        finally:
            db.close()
        assert not broken, f"{where}: {broken}"
        legal = self.after[first : last + 1]
        if found not in legal:
            at = [k for k, contents in enumerate(self.after) if contents == found]
            raise AssertionError(
                f"{where}: the file must be as after one of {self.told[first : last + 1]} (number {first} to {last}), "
                + (f"but is as after number {at}: {self.told[at[0]]}" if at else "but was never as it is")
            )
        return store

    def check_images(
        self, limit: int = IMAGES, then: Callable[[SQLiteStore], None] | None = None, since: int = 0
    ) -> int:
        """Check up to `limit` images of cuts after the first `since` events of the log, and carry on with every tenth
        by `then`. Returns how many were checked."""
        count = 0
        name = self.path.name
        with image_folder() as folder:
            for image in images(self.vfs.log, limit=limit):
                if image.last < since:
                    continue
                image.write(folder)
                store = self.check(image, str(folder / name))
                try:
                    if then is not None and count % 10 == 0:
                        then(store)
                finally:
                    store.close()
                count += 1
        return count


def checkpoint_often(monkeypatch: Any, pages: int = 2) -> None:
    """Make the writers of this process checkpoint after so many pages, and begin the WAL anew after twice as many."""
    monkeypatch.setattr(sqlite_connection, "_CHECKPOINT_PAGES", pages)
    monkeypatch.setattr(sqlite_connection, "_RESTART_PAGES", 2 * pages)


def open_store(path: Path, durability: str = FULL, vfs: RecordingVFS | None = None) -> SQLiteStore:
    """A store on `path`, over `vfs` or on the system's own."""
    store = SQLiteStore(str(path), StoreOptions(durability=durability, busy_budget=5.0))
    if vfs is not None:
        store._database.vfs = vfs.name
    return store


@contextmanager
def image_folder() -> Iterator[Path]:
    """A folder for images: in memory where the system has one, since they need not survive anything."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def carry_on(store: SQLiteStore) -> None:
    """What the next worker does: rescue what the dead held, then run everything to its end."""
    before = {row[0]: row[1] for row in _rows(store)}
    store.rescue(lease=0.0, max_deaths=3)
    assert not [row for row in _rows(store) if row[1] == "running"], "a running row was not rescued"
    holder = register(store)
    me = claimant(holder, TakeAll(names=("add", "once", "unknown")), queues=("celery", "other", "late"))
    with store._database.write(FULL) as connection:
        connection.execute("UPDATE litequeue_tasks SET run_at = 0 WHERE state = 'scheduled'")
    ran: list[str] = []
    settled = store.claim(me, 50)
    while settled.claimed or settled.revoked:
        ran += [claimed.id for claimed in settled.claimed]
        settled = store.settle(me, [success(claimed) for claimed in settled.claimed], 50)
        assert not settled.lost
    ended = {task_id for task_id, state in before.items() if state in {"succeeded", "failed", "revoked", "ignored"}}
    assert not ended & set(ran), "a task that had ended was started again"
    assert len(ran) == len(set(ran))
    after = {row[0]: row for row in _rows(store)}
    assert not [row for row in after.values() if row[1] in {"ready", "running", "scheduled", "waiting"}]
    assert before.keys() <= after.keys(), "a task is gone"
    fired = {task_id for task_id, (_, _, edge) in after.items() if edge == "error"}
    assert after.keys() - fired <= before.keys(), "a task came out of nothing"
    with store._database.read() as connection:
        assert not violations(connection)


def _rows(store: SQLiteStore) -> list[tuple[str, str, str | None]]:
    with store._database.read() as connection:
        return connection.execute("SELECT id, state, edge FROM litequeue_tasks").fetchall()
