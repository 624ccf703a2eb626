"""The suite that every engine must pass: each test gets a store of each kind."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from litequeue.core import clock, process, state
from litequeue.core.ids import new_id
from litequeue.core.records import (
    Claimed,
    Encoded,
    Graft,
    NewCanvas,
    NewGroup,
    NewProcess,
    NewTask,
    Outcome,
    Rerun,
    Settled,
    TaskRecord,
    Ticket,
)
from litequeue.core.ties import BODY, ERRBACKS, FEEDS, LEADS, MEMBER, THEN, write_errbacks
from litequeue.store import open_store
from litequeue.store.contract import Channel, Claimant, Pick, Store, StoreOptions
from tests.crash.invariants import violations

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

    def row(self, task_id: str) -> TaskRecord:
        """The task, which must be there."""
        record = self.store.task(task_id)
        assert record is not None
        return record

    # Canvases

    def write(self, *nodes: NewTask | NewGroup) -> None:
        """Enqueue a canvas of these tasks and groups."""
        self.store.enqueue_canvas(canvas(*nodes))

    def then(self, node: NewTask | NewGroup, **changes: object) -> NewTask:
        """A task that waits for `node` and takes its value."""
        edge = THEN if isinstance(node, NewTask) else BODY
        return self.new(**{"after": node.id, "edge": edge, "takes_input": 1, **changes})

    def member(self, group: NewGroup, index: int, **changes: object) -> NewTask:
        """A task that is the part `index` of `group`."""
        ties = MEMBER | FEEDS | int(str(changes.pop("ties", 0)))
        return self.new(group_id=group.id, group_index=index, ties=ties, **changes)

    def chain(self, *names: str, **changes: object) -> list[NewTask]:
        """Tasks each of which waits for the one before."""
        tasks: list[NewTask] = []
        for number, name in enumerate(names):
            last = number == len(names) - 1
            place = {"after": tasks[-1].id, "edge": THEN, "takes_input": 1} if tasks else {}
            tasks.append(self.new(name, ties=0 if last else FEEDS | LEADS, **place, **changes))
        return tasks

    def chord(self, size: int, tolerant: int = 0, **changes: object) -> tuple[list[NewTask], NewGroup, NewTask]:
        """The members of a group, the group, and a task that waits for it; `changes` are the members'."""
        group = new_group(size, tolerant=tolerant)
        members = [self.member(group, index, **changes) for index in range(size)]
        return members, group, self.then(group)

    def remaining(self, group: NewGroup) -> int:
        """How many members of the group have not ended."""
        record = self.store.group(group.id)
        assert record is not None
        return record.remaining

    def check(self) -> None:
        """Every rule that holds for a file at any instant holds for this one."""
        with self.store._database.read() as connection:  # type: ignore[attr-defined]
            assert violations(connection) == []

    def hand(self, **options: object) -> Hand:
        """A process that claims, and ends what it is told to."""
        return Hand(self, self.claimant(**options))  # type: ignore[arg-type]


@dataclass
class Hand:
    """A process with short words for what it does; it claims everything that is ready whenever it is asked."""

    driver: Driver
    claimant: Claimant
    held: dict[str, Claimed] = field(default_factory=dict)

    def claim(self) -> list[str]:
        """Claim all that is ready; returns the ids."""
        claimed = self.driver.store.claim(self.claimant, 100_000).claimed
        self.held.update((each.id, each) for each in claimed)
        return [each.id for each in claimed]

    def take(self, task: NewTask | str) -> Claimed:
        """The claim of `task`, no longer held here."""
        task_id = task if isinstance(task, str) else task.id
        if task_id not in self.held:
            self.claim()
        return self.held.pop(task_id)

    def settle(self, *outcomes: Outcome) -> Settled:
        """End these attempts; every rule must hold after it."""
        settled = self.driver.store.settle(self.claimant, outcomes)
        self.driver.check()
        return settled

    def succeed(self, *tasks: NewTask | str, value: str = "3") -> None:
        """End these tasks well, in one transaction."""
        assert self.settle(*[succeed(self.take(task), value) for task in tasks]).lost == ()

    def fail(self, *tasks: NewTask | str) -> None:
        """End these tasks with an error, in one transaction."""
        assert self.settle(*[fail(self.take(task)) for task in tasks]).lost == ()

    def ignore(self, *tasks: NewTask | str) -> None:
        """End these tasks as `raise Ignore` does."""
        assert self.settle(*[Outcome(self.take(task), state.IGNORED, clock.now()) for task in tasks]).lost == ()

    def retry(self, task: NewTask | str) -> None:
        """Have the task tried again."""
        assert self.settle(retry(self.take(task))).lost == ()

    def become(self, task: NewTask | str, new: NewTask, *nodes: NewTask | NewGroup) -> None:
        """Replace the task by `new`, which may wait for one of `nodes`."""
        assert self.settle(become(self.take(task), new, *nodes)).lost == ()

    def run_all(self) -> list[str]:
        """Run everything until nothing is ready; returns the ids in the order in which they ended."""
        ran: list[str] = []
        self.claim()
        while self.held:
            ids = list(self.held)
            self.succeed(*ids)
            ran += ids
            self.claim()
        return ran

    def inputs(self, task: NewTask | str) -> Any:
        """What the task, claimed here, gets: plain values."""
        task_id = task if isinstance(task, str) else task.id
        if task_id not in self.held:
            self.claim()
        return plain(self.driver.store.inputs(self.held[task_id]).value)


def plain(value: Any) -> Any:
    """A stored value as a test writes it: the name of the exception in place of an error record."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Encoded):
        record = json.loads(value.data)
        return record["type"] if value.serializer == "error" else record
    return [plain(each) for each in value]


def new_group(size: int, **changes: object) -> NewGroup:
    return NewGroup(new_id(), size)._replace(**changes)  # type: ignore[arg-type]


def canvas(*nodes: NewTask | NewGroup, waiting: NewTask | None = None) -> NewCanvas:
    """A canvas of these tasks and groups, each task tied to what waits for it, of which `waiting` is not in it."""
    tasks = [node for node in nodes if isinstance(node, NewTask)]
    rows = [task for task in (*tasks, waiting) if task is not None and task.edge != "error"]
    led, fed = {row.after for row in rows}, {row.after for row in rows if row.takes_input}
    tied = [t._replace(ties=t.ties | LEADS * (t.id in led) | FEEDS * (t.id in fed)) for t in tasks]
    return NewCanvas(tied, [node for node in nodes if isinstance(node, NewGroup)])


def with_errbacks(task: NewTask, *errbacks: NewTask) -> NewTask:
    return task._replace(ties=task.ties | ERRBACKS, errbacks=write_errbacks(errbacks))


def become(claimed: Claimed, new: NewTask, *nodes: NewTask | NewGroup) -> Outcome:
    later = new.run_at is not None and new.run_at > clock.now()
    state_next = state.WAITING if new.after is not None else state.SCHEDULED if later else state.READY
    return Outcome(claimed, state_next, clock.now(), graft=Graft(new, canvas(*nodes, waiting=new)))


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
