"""An entry of the file as programs and people see it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

from litequeue.beat.planning import read_schedule
from litequeue.core import clock
from litequeue.core.records import Entry, NewTask
from litequeue.core.ties import read_errbacks
from litequeue.core.zones import utc
from litequeue.exceptions import SerializationError
from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.zonenames import find_zone

if TYPE_CHECKING:
    from litequeue.core.payload import Codec

ON: Final = "on"
OFF: Final = "off"
ENDED: Final = "ended"
BROKEN: Final = "broken"
STATES: Final = {
    ON: "It is fired when it is due.",
    OFF: "It was disabled, and is not fired until it is enabled.",
    ENDED: "It has had its last run: there is no further instant, or `max_runs` is reached.",
    BROKEN: "It cannot be read or fired; `error` says why. It is tried again when it is changed.",
}
"""What `ScheduledEntry.state` says."""

_OPTIONS: Final = ("queue", "priority", "time_limit", "soft_time_limit", "serializer", "compression")


@dataclass(frozen=True, kw_only=True)
class ScheduledEntry:
    """An entry of the schedule as the file has it. Datetimes are aware, in the entry's time zone."""

    name: str
    task: str | None
    """The name of the task that it enqueues; None: it cannot be read."""
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    options: dict[str, Any]
    """Options of the call: queue, priority, countdown, expires, …"""
    schedule: BaseSchedule | None
    """When it is due; None: it cannot be read."""
    timezone: str | None
    state: str
    """One of `STATES`."""
    enabled: bool
    owner: str | None
    """The app whose code declares it; None: it was added at run time."""
    catchup: str
    catchup_window: float | None
    overlap: str
    jitter: float
    start: datetime | None
    end: datetime | None
    max_runs: int | None
    last_run_at: datetime | None
    """The instant that was fired last."""
    next_run_at: datetime | None
    """When it is fired next, jitter included; None: not by the clock, or never again."""
    total_run_count: int
    skipped: int
    """How many instants were passed over: missed, or because the run before them had not ended."""
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """The entry in JSON's own types."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["schedule"] = describe(self.schedule)
        for name in ("start", "end", "last_run_at", "next_run_at"):
            moment = values[name]
            values[name] = None if moment is None else moment.isoformat()
        return values


def describe(schedule: BaseSchedule | None) -> Any:
    """A schedule as it stands in the file, or its text where that cannot be."""
    if schedule is None:
        return None
    from litequeue.schedules.storing import schedule_to_json

    try:
        return schedule_to_json(schedule)
    except ValueError:
        return repr(schedule)


def show(entry: Entry, codec: Codec) -> ScheduledEntry:
    """The entry as it is shown; what cannot be read is None, and `error` says why."""
    error = entry.error
    rule: BaseSchedule | None = None
    task: NewTask | None = None
    zone: tzinfo = utc
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    try:
        zone = find_zone(entry.timezone or "UTC")
        rule = read_schedule(entry.schedule)
        [task] = read_errbacks(entry.call)
        with suppress(SerializationError):  # this process may not be allowed to read them
            args, kwargs = codec.decode_call(task.payload, task.serializer, task.compression)
    except Exception as problem:
        error = error or f"{type(problem).__name__}: {problem}"

    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else clock.to_datetime(seconds).astimezone(zone)

    return ScheduledEntry(
        name=entry.name,
        task=None if task is None else task.name,
        args=args,
        kwargs=kwargs,
        options={} if task is None else _options(task),
        schedule=rule,
        timezone=entry.timezone,
        state=_state(entry, rule, error),
        enabled=bool(entry.enabled),
        owner=entry.owner,
        catchup=entry.catchup,
        catchup_window=entry.catchup_window,
        overlap=entry.overlap,
        jitter=entry.jitter,
        start=moment(entry.start_at),
        end=moment(entry.end_at),
        max_runs=entry.max_runs,
        last_run_at=moment(entry.last_run_at),
        next_run_at=moment(entry.next_at) if entry.enabled else None,
        total_run_count=entry.total_run_count,
        skipped=entry.skipped,
        error=error,
    )


def _state(entry: Entry, rule: BaseSchedule | None, error: str | None) -> str:
    if not entry.enabled:
        return OFF
    if error is not None:
        return BROKEN
    runs_left = entry.max_runs is None or entry.total_run_count < entry.max_runs
    waits = entry.next_at is not None or (rule is not None and rule.on_start)
    return ON if waits and runs_left else ENDED


def _options(task: NewTask) -> dict[str, Any]:
    options = {name: getattr(task, name) for name in _OPTIONS if getattr(task, name) is not None}
    options["countdown"] = task.countdown
    options["expires"] = task.lifetime if task.expires_at is None else clock.to_datetime(task.expires_at).isoformat()
    options["ignore_result"] = bool(task.ignore_result)
    return {name: value for name, value in options.items() if value is not None}
