"""What is shown of a queue: workers, queues, tasks, entries of the schedule, the file.

Plain, frozen records. Times are Unix seconds, spans seconds, sizes bytes; `as_dict` gives JSON's own types, with times
in ISO 8601.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final

from litequeue.core import clock
from litequeue.result.progress import Progress

ALIVE: Final = "alive"
"""Its process exists, and its entry in the file was renewed lately."""
HUNG: Final = "hung"
"""Its process exists, but has not renewed its entry for longer than `worker_lease`."""
DEAD: Final = "dead"
"""Its process is gone; what it held is taken back by the next worker that looks."""
ORPHAN: Final = "orphan"
"""A child of a worker that is gone: it runs its task to the end, and ends with it."""


def instant(at: float | None) -> str | None:
    """A time as JSON says it: ISO 8601, UTC, to the millisecond."""
    return None if at is None else clock.to_datetime(at).isoformat(timespec="milliseconds")


class View:
    """A record that can be shown as JSON."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The record in JSON's own types, key by key as its fields are named."""
        return {each.name: _plain(each.name, getattr(self, each.name)) for each in fields(self)}  # type: ignore[arg-type]


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, View):
        return value.as_dict()
    if isinstance(value, Progress):
        return {key: _plain("", each) for key, each in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain("", each) for each in value]
    if isinstance(value, dict):
        return {key: _plain("", each) for key, each in value.items()}
    if isinstance(value, float):
        if name == "at" or name.endswith("_at"):
            return instant(value)
        return round(value, 6) if math.isfinite(value) else None
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskView(View):
    """A task, in a line of a list."""

    id: str
    name: str
    state: str
    """As Celery names it."""
    engine_state: str
    """`waiting`, `scheduled`, `ready`, `running`, `succeeded`, `failed`, `revoked`, `ignored`."""
    queue: str
    priority: int
    worker: str | None
    """The node name of the worker that took it last."""
    pid: int | None
    """The process that runs it, or ran it last."""
    args: str
    """Its arguments as text, shortened; `?` where they cannot be read here."""
    kwargs: str
    call: str
    """Name and arguments, as in a program: `proj.add(2, y=3)`."""
    enqueued_at: float
    started_at: float | None
    finished_at: float | None
    run_at: float | None
    """When it is due, or was (eta, countdown, a retry)."""
    expires_at: float | None
    retries: int
    runtime: float | None
    """Seconds that it has run, or ran the last time."""
    error: str | None
    """How it failed, in one line."""
    progress: Progress | None
    """How far it says that it is (`self.progress`)."""
    parent_id: str | None
    root_id: str
    group_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotView(View):
    """A slot of a worker: what runs one task at a time."""

    pid: int
    task: TaskView | None
    """What runs there; None: it waits for work."""
    ahead: int
    """Tasks that it has taken beside that one: they start next, or have ended and are about to be written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerView(View):
    """A worker."""

    id: int
    """The number of its process in the file."""
    node: str
    """Its name, `celery@host`."""
    host: str
    pid: int
    pool: str | None
    concurrency: int
    liveness: str
    """`alive`, `hung` or `dead`; `orphan`: a child of a worker that is gone, and no more of it."""
    started_at: float
    heartbeat_age: float
    """Seconds since it renewed its entry in the file."""
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    """The names of the tasks that it knows."""
    cpu: float | None
    """Percent of one core that it and its children used since the look before; None: not known, or not yet."""
    memory: int | None
    """Bytes of memory of it and its children; pages that they share are counted in each."""
    events: bool
    """Whether it writes what it does into the journal."""
    slots: tuple[SlotView, ...]

    @property
    def busy(self) -> int:
        """How many of its slots run a task."""
        return sum(slot.task is not None for slot in self.slots)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueView(View):
    """A queue."""

    name: str
    ready: int
    """Tasks that may start now, or could if a worker knew them, no pause held, and their key and limit allowed it."""
    aside: int
    """Of these, those of names that a worker met and does not know, or that are paused or limited."""
    parked: int
    """Of these, those that wait for their concurrency key."""
    scheduled: int
    """Tasks that wait for a time."""
    waiting: int
    """Tasks that wait for other tasks."""
    running: int
    failed: int
    paused_at: float | None
    """Since when it is paused; None: it is not."""
    rate: float
    """Tasks that ended in a second, over the last minute."""
    failure_rate: float
    """Tasks that failed in a second, over the last minute."""
    latency: float | None
    """Seconds that the task which starts next has waited since it could have; None: none is ready."""
    mean_wait: float | None
    """Seconds that the tasks which started in the last minute had waited, on average; None: none did."""
    history: tuple[int, ...]
    """How many tasks ended in each of the last full periods of 10 s, oldest first."""
    workers: tuple[str, ...]
    """The node names of the workers that take tasks from it and are not dead."""

    @property
    def paused(self) -> bool:
        """Whether nothing is started from it."""
        return self.paused_at is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleView(View):
    """An entry of the schedule."""

    name: str
    when: str
    """When it is due, in words."""
    task: str | None
    """The name of the task that it enqueues; None: it cannot be read."""
    args: str
    kwargs: str
    timezone: str | None
    state: str
    """`on`, `off`, `ended` or `broken`."""
    enabled: bool
    next_run_at: float | None
    last_run_at: float | None
    runs: int
    skipped: int
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileView(View):
    """The file behind the queue."""

    path: str
    size: int
    wal_size: int
    page_size: int
    pages: int
    free_pages: int
    schema_version: int
    durability: str
    journal_mode: str
    sqlite: str
    apsw: str
    rows: dict[str, int] | None
    """How many tasks there are in each engine state; None: they were not counted, which reads the whole file."""
    oldest_ready_at: float | None
    """Since when the ready task could start that starts next in its queue, of all queues the earliest."""
    damages: tuple[str, ...] | None
    """What is wrong with the file, a line each; None: it was not checked, which reads the whole file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot(View):
    """A queue as it stands."""

    at: float
    """When it was taken."""
    workers: tuple[WorkerView, ...]
    queues: tuple[QueueView, ...]
    tasks: tuple[TaskView, ...]
    """The newest tasks."""
    schedules: tuple[ScheduleView, ...]
    file: FileView
