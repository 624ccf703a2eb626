"""The suite that every engine must pass: each test gets a store of each kind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from litequeue.core import clock, process, state
from litequeue.core.ids import new_id
from litequeue.core.records import Claimed, Encoded, NewProcess, NewTask, Outcome, Rerun, Ticket
from litequeue.store import open_store
from litequeue.store.contract import Channel, Claimant, Pick, Store, StoreOptions

ERROR = Encoded('{"type": "ValueError", "module": "builtins", "args": ["no"]}', "error")


@dataclass
class Takes:
    """A picker that takes whatever it knows."""

    names: set[str] = field(default_factory=lambda: {"add"})
    once: set[str] = field(default_factory=set)

    def pick(self, name: str, deaths: int) -> Pick:
        return Pick.TAKE if name in self.names else Pick.ASIDE

    def at_most_once(self, name: str) -> bool:
        return name in self.once


@dataclass
class Driver:
    """A store with short words for what tests do with it."""

    store: Store
    channel: Channel | None = None

    def new(self, name: str = "add", **changes: object) -> NewTask:
        task = NewTask(new_id(), name, "celery", 0, "[[1, 2], {}]", "json")
        return task._replace(**changes)  # type: ignore[arg-type]

    def enqueue(self, *tasks: NewTask) -> tuple[str, ...]:
        self.store.enqueue(tasks)
        return tuple(task.id for task in tasks)

    def process(self, worker: str = "celery@here", queues: tuple[str, ...] = ("celery",)) -> int:
        return self.store.register(
            NewProcess(worker=worker, role="worker", parent=None, identity=process.current(), queues=queues),
            self.channel,
        )

    def open_channel(self) -> Channel:
        """Processes registered from now on are woken by it."""
        self.channel = self.store.open_channel()
        return self.channel

    def claimant(
        self, holder: int | None = None, queues: tuple[str, ...] = ("celery",), picker: Takes | None = None
    ) -> Claimant:
        if holder is None:
            holder = self.process(queues=queues)
        return Claimant(holder=holder, worker="celery@here", pid=os.getpid(), queues=queues, picker=picker or Takes())

    def state(self, task_id: str) -> str | None:
        record = self.store.task(task_id)
        return None if record is None else record.state


def succeed(claimed: Claimed, value: str = "3", prune_at: float | None = None) -> Outcome:
    return Outcome(claimed, state.SUCCEEDED, clock.now(), Encoded(value, "json"), prune_at=prune_at)


def tickets(claims: tuple[Claimed, ...]) -> list[Ticket]:
    return [Ticket(claimed.seq, claimed.attempt) for claimed in claims]


def fail(claimed: Claimed) -> Outcome:
    return Outcome(claimed, state.FAILED, clock.now(), ERROR, "Traceback: …")


def retry(claimed: Claimed, **changes: object) -> Outcome:
    rerun = Rerun(**{"retries": claimed.retries + 1, **changes})  # type: ignore[arg-type]
    later = rerun.run_at is not None and rerun.run_at > clock.now()
    return Outcome(claimed, state.SCHEDULED if later else state.READY, clock.now(), ERROR, "Traceback: …", rerun=rerun)


@pytest.fixture
def open_driver(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Open a store with the options given; the same path again opens the same file."""
    opened: list[Store] = []
    numbers = itertools.count()

    def open_(path: str | None = None, **options: object) -> Driver:
        store = open_store(path or str(tmp_path / f"{next(numbers)}.db"), StoreOptions(**options))  # type: ignore[arg-type]
        opened.append(store)
        return Driver(store)

    yield open_
    for store in opened:
        store.close()


@pytest.fixture(params=["full", "normal", "memory"])
def driver(request: pytest.FixtureRequest, open_driver: Callable[..., Driver]) -> Driver:
    if request.param == "memory":
        return open_driver(":memory:")
    return open_driver(durability=request.param)
