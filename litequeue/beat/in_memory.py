"""Celery's scheduler classes, for programs that keep their schedule somewhere else.

`Scheduler` keeps everything in the memory of one process and sends each task by itself, as Celery's does: two of them
fire everything twice. The scheduler of the file, `PersistentScheduler`, is the one of which any number may run.
"""

from __future__ import annotations

import heapq
import logging
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from litequeue.beat.errors import SchedulingError
from litequeue.core import clock
from litequeue.schedules.base import BaseSchedule, schedstate
from litequeue.schedules.choosing import maybe_schedule

logger = logging.getLogger("litequeue.beat")

_EDITABLE = ("task", "schedule", "args", "kwargs", "options")


class BeatLazyFunc:
    """An argument that is computed when the task is sent: `BeatLazyFunc(function, *args, **kwargs)`."""

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func, self._args, self._kwargs = func, args, kwargs

    def delay(self) -> Any:
        """The value."""
        return self._func(*self._args, **self._kwargs)

    __call__ = delay


def evaluated(value: Any) -> Any:
    """`value`, computed if it is to be."""
    return value() if isinstance(value, BeatLazyFunc) else value


class ScheduleEntry:
    """An entry of a schedule in memory."""

    name: str | None = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: Any = None
    total_run_count = 0

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Any = (),
        kwargs: Any = None,
        options: Any = None,
        relative: bool = False,
        app: Any = None,
    ) -> None:
        self.app = app
        self.name = name
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}
        self.options = options or {}
        self.schedule = maybe_schedule(schedule, relative, app=app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """The time, as the schedule has it."""
        now: datetime = self.schedule.now() if isinstance(self.schedule, BaseSchedule) else self.app.now()
        return now

    def is_due(self) -> schedstate:
        """Whether it is due, and when to ask again."""
        state: schedstate = self.schedule.is_due(self.last_run_at)
        return state

    def __next__(self, last_run_at: datetime | None = None) -> ScheduleEntry:
        """The entry after one more run."""
        return type(self)(
            **dict(self, last_run_at=last_run_at or self.default_now(), total_run_count=self.total_run_count + 1)
        )

    next = _next_instance = __next__

    def update(self, other: ScheduleEntry) -> None:
        """Take over what may be edited: task, schedule, args, kwargs, options."""
        for name in _EDITABLE:
            setattr(self, name, getattr(other, name))

    def editable_fields_equal(self, other: ScheduleEntry) -> bool:
        """Whether what may be edited is the same."""
        return all(getattr(self, name) == getattr(other, name) for name in _EDITABLE)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __eq__(self, other: object) -> bool:
        return self.editable_fields_equal(other) if isinstance(other, ScheduleEntry) else NotImplemented

    __hash__ = object.__hash__

    def __lt__(self, other: object) -> bool:
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __reduce__(self) -> Any:
        values = (self.name, self.task, self.last_run_at, self.total_run_count, self.schedule)
        return type(self), (*values, self.args, self.kwargs, self.options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} {self.task}(*{self.args!r}, **{self.kwargs!r}) {self.schedule!r}>"


class event_t(NamedTuple):
    """An entry in the heap."""

    time: float
    priority: int
    entry: ScheduleEntry


class Scheduler:
    """A schedule in the memory of one process; the base of schedulers that keep theirs elsewhere."""

    Entry: ClassVar[type[ScheduleEntry]] = ScheduleEntry
    max_interval: float = 300.0
    """Seconds: the longest sleep."""
    sync_every: float = 180.0
    """Seconds between calls of `sync`."""
    sync_every_tasks: int | None = None
    """After so many tasks `sync` is called too."""
    logger = logger

    def __init__(
        self,
        app: Any,
        schedule: Any = None,
        max_interval: float | None = None,
        Producer: Any = None,
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.data: MutableMapping[str, Any] = {} if schedule is None else schedule
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.sync_every_tasks = sync_every_tasks
        self.old_schedulers: dict[str, Any] | None = None
        self._heap: list[event_t] | None = None
        self._last_sync: float | None = None
        self._tasks_since_sync = 0
        if not lazy:
            self.setup_schedule()

    # The schedule

    @property
    def schedule(self) -> MutableMapping[str, Any]:
        """The entries by name."""
        return self.get_schedule()

    @schedule.setter
    def schedule(self, schedule: MutableMapping[str, Any]) -> None:
        self.set_schedule(schedule)

    def get_schedule(self) -> MutableMapping[str, Any]:
        """The entries by name."""
        return self.data

    def set_schedule(self, schedule: MutableMapping[str, Any]) -> None:
        """Replace all entries."""
        self.data = schedule

    def setup_schedule(self) -> None:
        """Read the entries when the scheduler starts."""
        self.install_default_entries(self.data)
        self.update_from_dict(self.app.conf.beat_schedule)

    def install_default_entries(self, data: Mapping[str, Any]) -> None:
        """Add the entries that every app has."""
        self.update_from_dict({n: e for n, e in self.app.schedules.defaults().items() if n not in data})

    def add(self, **kwargs: Any) -> ScheduleEntry:
        """Add an entry, given by its fields."""
        entry = self.Entry(app=self.app, **kwargs)
        self.schedule[str(entry.name)] = entry
        return entry

    def _maybe_entry(self, name: str, entry: Any) -> ScheduleEntry:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        return self.Entry(**dict(entry, name=name, app=self.app))

    def update_from_dict(self, entries: Mapping[str, Any]) -> None:
        """Add the entries of a dict like `beat_schedule`."""
        self.schedule.update({name: self._maybe_entry(name, entry) for name, entry in entries.items()})

    def merge_inplace(self, entries: Mapping[str, Any]) -> None:
        """Make the schedule that of a dict like `beat_schedule`; entries that stay keep when they ran last."""
        schedule = self.schedule
        for name in schedule.keys() - entries.keys():
            del schedule[name]
        for name, given in entries.items():
            entry = self._maybe_entry(name, given)
            if name in schedule:
                schedule[name].update(entry)
            else:
                schedule[name] = entry

    def schedules_equal(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> bool:
        """Whether two schedules say the same."""
        return dict(old) == dict(new) if old is not None and new is not None else old is new

    @property
    def info(self) -> str:
        """One line about it."""
        return ""

    # A turn

    def tick(self) -> float:
        """Send at most one due task; returns the seconds until the next turn."""
        if self._heap is None or not self.schedules_equal(self.old_schedulers, self.schedule):
            self.old_schedulers = dict(self.schedule)
            self.populate_heap()
        heap = self._heap
        if not heap:
            return self.max_interval
        at, priority, entry = heap[0]
        now = clock.now()
        if at > now:
            return min(at - now, self.max_interval)
        heapq.heappop(heap)
        due, seconds = self._ask(entry)
        if due:
            following = self.reserve(entry)
            self.apply_entry(entry)
            entry = following
        again = self.max_interval if seconds is None else max(seconds, 0.0 if due else 0.001)
        heapq.heappush(heap, event_t(clock.now() + again, priority, entry))
        return 0.0

    def populate_heap(self) -> None:
        """Find out when each entry is due."""
        now = clock.now()
        events = []
        for entry in self.schedule.values():
            due, seconds = self._ask(entry)
            wait = 0.0 if due else self.max_interval if seconds is None else seconds
            events.append(event_t(now + wait, 5, entry))
        heapq.heapify(events)
        self._heap = events

    def _ask(self, entry: ScheduleEntry) -> tuple[bool, float | None]:
        try:
            due, seconds = self.is_due(entry)
        except Exception:
            self.logger.exception("Entry %s cannot say when it is due; it is asked again later", entry.name)
            return False, self.max_interval
        return due, seconds

    def is_due(self, entry: ScheduleEntry) -> schedstate:
        """Whether the entry is due, and when to ask again."""
        return entry.is_due()

    def reserve(self, entry: ScheduleEntry) -> ScheduleEntry:
        """Count a run of the entry."""
        following = self.schedule[str(entry.name)] = next(entry)
        return following

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send the task of an entry; an error is logged."""
        self.logger.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except Exception:
            self.logger.exception("The task of entry %s could not be sent", entry.name)
        else:
            self.logger.debug("%s sent. id->%s", entry.task, getattr(result, "id", None))

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send the task of an entry. SchedulingError: it could not be sent."""
        if advance:
            self.reserve(entry)
        args = [evaluated(value) for value in entry.args or ()]
        named = {name: evaluated(value) for name, value in (entry.kwargs or {}).items()}
        options = dict(entry.options or {})
        options["headers"] = {**(options.get("headers") or {}), "periodic_task_name": entry.name}
        try:
            task = self.app.tasks.get(entry.task)
            if task is not None:
                return task.apply_async(args, named, **options)
            return self.send_task(entry.task, args, named, **options)
        except Exception as error:
            raise SchedulingError(f"entry {entry.name}: {entry.task} could not be sent: {error}") from error
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Send a task by its name."""
        return self.app.send_task(*args, **kwargs)

    # Keeping

    def should_sync(self) -> bool:
        """Whether `sync` is to be called."""
        late = self._last_sync is None or clock.monotonic() - self._last_sync > self.sync_every
        return late or bool(self.sync_every_tasks and self._tasks_since_sync >= self.sync_every_tasks)

    def _do_sync(self) -> None:
        try:
            self.sync()
        finally:
            self._last_sync = clock.monotonic()
            self._tasks_since_sync = 0

    def sync(self) -> None:
        """Write the schedule down; here there is nothing to do."""

    def close(self) -> None:
        """Called when the scheduler stops."""
        self.sync()

    def wait(self, seconds: float, interrupt: socket.socket | None = None) -> None:
        """Sleep until the next turn, or until `interrupt` can be read."""
        if interrupt is None:
            time.sleep(seconds)
        else:
            select.select([interrupt], [], [], seconds)
