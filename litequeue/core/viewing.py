"""What crosses between the rooms when somebody looks: filters, counts, periods of statistics, events.

Plain, frozen records, as in `core.records`. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from litequeue.core.records import TaskRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFilter:
    """Which tasks are meant; what is None does not matter. Names and queues may hold `*`, `?` and `[...]`."""

    states: tuple[str, ...] | None = None
    """The engine's states (`core.state`)."""
    custom_states: tuple[str, ...] | None = None
    """States that `update_state` shows; with `states`, one of either is enough."""
    retried: bool | None = None
    """Whether it was retried."""
    names: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    worker: str | None = None
    """The node name of the worker that took it last."""
    root_id: str | None = None
    """The first task of its canvas, or the task itself."""
    since: float | None = None
    """Enqueued at this time or later."""
    before: float | None = None
    """Enqueued before this time."""
    text: str | None = None
    """Part of its id, its name, its arguments, its result or its error; case matters only outside of ASCII."""


class Found(NamedTuple):
    """Tasks that a filter finds, the newest first."""

    tasks: list[TaskRecord]
    before: int | None
    """Where to go on: rows with a smaller `seq` have not been looked at; None: that is all there is."""


class QueueRecord(NamedTuple):
    """How many tasks of a queue stand where, counted in indexes that hold only what has not ended, and what failed."""

    name: str
    ready: int
    """May be claimed now, or could if a worker knew them, their pause were over, or their rate limit allowed it."""
    aside: int
    """Of these, those in a lane apart: a worker has met them that does not know them, or they are paused or limited."""
    parked: int
    """Of these, those that wait for their concurrency key."""
    scheduled: int
    waiting: int
    running: int
    failed: int
    next: TaskRecord | None
    """The ready task that starts next, of those in the queue's own lane."""
    ready_since: float | None
    """When that became ready, as exactly as the file knows."""


class Period(NamedTuple):
    """What happened to the tasks of a queue in the `core.periods.PERIOD` seconds from `at` on."""

    at: int
    queue: str
    started: int
    succeeded: int
    failed: int
    retried: int
    timed: int
    """Of those that started, those of which it is known since when they could have."""
    waited: float
    """The seconds that these had waited, added up."""


class EventRecord(NamedTuple):
    """A move of a task, or something that a worker or a task said, as the journal has it."""

    number: int
    """Counts up by one; who has seen all up to a number has missed nothing before it."""
    at: float
    kind: str
    """The event's type as Celery names it, `task-succeeded`."""
    task_id: str | None
    attempt: int | None
    worker: str | None
    """The node name of who did it."""
    fields: Mapping[str, Any]
    """What else was written down with it."""


class EventRange(NamedTuple):
    """What the journal holds."""

    first: int
    """The number of the oldest event that is kept; one more than `last` where none is."""
    last: int
    """The number of the newest event; 0: there was never one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """The file behind a queue; sizes in bytes."""

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
