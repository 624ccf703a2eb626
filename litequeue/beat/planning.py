"""What is due of an entry, and when the next is: decided from the entry and the time alone.

Whoever asks finds the same instants, so that any number of schedulers agree without talking to each other.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final, NamedTuple

from litequeue.core import clock
from litequeue.core.ids import new_id
from litequeue.core.records import Entry, Fired, Firing, NewTask
from litequeue.core.ties import ERRBACKS, read_errbacks
from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.bounds import Bounds
from litequeue.schedules.intervals import schedule as interval
from litequeue.schedules.polling import poll
from litequeue.schedules.storing import schedule_from_json
from litequeue.schedules.zonenames import find_zone

NONE: Final = "none"
LAST: Final = "last"
ALL: Final = "all"
CATCHUPS: Final = (NONE, LAST, ALL)
"""What becomes of instants that nobody was there for."""

ALLOW: Final = "allow"
SKIP: Final = "skip"
QUEUE: Final = "queue"
OVERLAPS: Final = (ALLOW, SKIP, QUEUE)
"""What becomes of an instant whose predecessor's task has not ended."""

LATE: Final = 60.0
"""Seconds after which an instant counts as missed for an entry that catches up with nothing: as long as a scheduler may
take to learn of an entry without being woken."""
BURST: Final = 100
"""The most tasks that one entry enqueues in one transaction while it catches up."""
COUNTED: Final = 100
"""How many missed instants are counted one by one; those beyond are only counted for intervals."""
ON_TIME: Final = 1.0
"""Seconds within which what was prepared for an instant is still what is to be done."""
SHORTEST_WAIT: Final = 0.05
"""Seconds between two questions to a schedule of an own kind."""
NAME_HEADER: Final = "periodic_task_name"
DUE_HEADER: Final = "periodic_task_due"


def jitter_of(name: str, instant: float, jitter: float) -> float:
    """Seconds, from 0 to `jitter`, by which the start at `instant` is put off: the same whoever asks."""
    if jitter <= 0:
        return 0.0
    digest = hashlib.blake2b(f"{name}\0{instant!r}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * jitter


class Due(NamedTuple):
    """What is to be done about an entry now."""

    instants: tuple[float, ...]
    """The instants to enqueue a task for, oldest first."""
    skipped: int
    """How many instants are passed over."""
    next_instant: float | None


class Plan:
    """An entry that was read from the file, ready to be fired. ValueError and ScheduleError: it cannot be read."""

    __slots__ = ("_headers", "_template", "at", "bounds", "entry", "prepared", "rule", "zone")

    def __init__(self, entry: Entry) -> None:
        self.rule = read_schedule(entry.schedule)
        self.zone = find_zone(entry.timezone or "UTC")
        self.bounds = Bounds(start=entry.start_at, end=entry.end_at)
        self._template, self._headers = _read_call(entry)
        self.prepared: Firing | None = None
        if self.rule.polled and self.rule.timezone is None:
            self.rule.timezone = self.zone
        self.entry = entry
        self.at: float | None = None
        """When to look at it next."""
        self.move_to(entry)

    @property
    def task(self) -> str:
        """The name of its task."""
        return self._template.name

    def move_to(self, entry: Entry) -> None:
        """Take over what the file says of the same revision."""
        self.entry = entry
        self.at = entry.next_at if entry.enabled else None
        self.prepared = None

    # When

    def following(self, instant: float) -> float | None:
        """The first instant after `instant`; None: there is none any more."""
        if self.rule.on_start:
            return None
        return self.bounds.next_instant(self.rule, instant, self.zone, self.entry.anchor)

    def fires_at(self, instant: float | None) -> float | None:
        """When `instant` is fired, jitter included."""
        if instant is None:
            return None
        return instant + jitter_of(self.entry.name, instant, self.entry.jitter)

    def due(self, now: float) -> Due:
        """What is to be done about `next_instant`, and those after it that have come too."""
        first = self.entry.next_instant
        assert first is not None, "an entry that is due has an instant"
        following = self.following(first)
        if not self._has_come(following, now):
            if self._is_too_late(first, now):
                return Due((), 1, following)
            return self._within_runs(Due((first,), 0, following))
        if self.entry.catchup == ALL:
            return self._within_runs(self._all_due(first, now))
        return self._within_runs(self._last_due(first, now))

    def _has_come(self, instant: float | None, now: float) -> bool:
        at = self.fires_at(instant)
        return at is not None and at <= now

    def _is_too_late(self, instant: float, now: float) -> bool:
        at = self.fires_at(instant)
        assert at is not None
        return now - at > self._window()

    def _window(self) -> float:
        """Seconds by which an instant may be late."""
        window = self.entry.catchup_window
        if window is not None:
            return window
        return LATE if self.entry.catchup == NONE else math.inf

    def _all_due(self, first: float, now: float) -> Due:
        """Every instant that has come and is not too late, as many as one transaction takes."""
        skipped = 0
        current: float | None = first
        if self._is_too_late(first, now):
            oldest = now - self._window() - self.entry.jitter
            later, skipped = self._jump(first, oldest)
            current = later
            while current is not None and self._has_come(current, now) and self._is_too_late(current, now):
                skipped += 1
                current = self.following(current)
        instants: list[float] = []
        while current is not None and self._has_come(current, now) and len(instants) < BURST:
            instants.append(current)
            current = self.following(current)
        return Due(tuple(instants), skipped, current)

    def _last_due(self, first: float, now: float) -> Due:
        """The last instant that has come, unless it is too late."""
        current, skipped = self._jump(first, now - self.entry.jitter)
        following = self.following(current)
        while following is not None and self._has_come(following, now):
            skipped += 1
            current, following = following, self.following(following)
        if self._is_too_late(current, now):
            return Due((), skipped + 1, following)
        return Due((current,), skipped, following)

    def _jump(self, first: float, until: float) -> tuple[float, int]:
        """The last instant from `first` on that is not after `until` (`first`, where none is), and how many it passes.

        Beyond some, only those of an interval are counted.
        """
        current, passed = first, 0
        while passed < COUNTED:
            following = self.following(current)
            if following is None or following > until:
                return current, passed
            current, passed = following, passed + 1
        end = until if self.bounds.end is None else min(until, self.bounds.end)
        last = self.rule.latest(current, end, self.zone, self.entry.anchor)
        if last is None or last <= current:
            return current, passed
        if type(self.rule) is interval and not self.rule.relative:
            passed += round((last - current) / self.rule.seconds) - 1
        return last, passed + 1

    def _within_runs(self, due: Due) -> Due:
        """`due`, cut to the runs that are left; there is no next instant after the last of them."""
        if self.entry.max_runs is None:
            return due
        left = max(self.entry.max_runs - self.entry.total_run_count, 0)
        instants = due.instants[:left]
        # An instant that is skipped because of overlap was no run: whether that was the last is known afterwards.
        ended = left == 0 or (len(instants) == left and self.entry.overlap != SKIP)
        return Due(instants, due.skipped, None if ended else due.next_instant)

    # What

    def prepare(self) -> None:
        """Make ready what is to be written at `at`, so that then nothing is left to compute."""
        if self.prepared is None and self.at is not None and not self.rule.polled:
            self.prepared = self._firing(self.due(self.at), self.at)

    def firing(self, now: float) -> Firing | None:
        """What is to be written about the entry, whose time has come; None: nothing, and `at` says when to ask again.

        ScheduleError, or whatever a schedule of an own kind raises.
        """
        if self.rule.polled:
            return self._ask(now)
        ready, self.prepared = self.prepared, None
        if ready is not None and self.at is not None and now - self.at < ON_TIME and not _is_due(ready.next_at, now):
            return ready
        return self._firing(self.due(now), now)

    def _firing(self, due: Due, now: float) -> Firing:
        entry = self.entry
        tasks = [(instant, self.run(instant, now)) for instant in due.instants]
        next_at = self.fires_at(due.next_instant)
        return Firing(entry.name, entry.revision, entry.next_instant, tasks, due.next_instant, next_at, due.skipped)

    def start(self, now: float) -> Firing | None:
        """What is to be written about an entry that is due at the start of a scheduler; None: nothing."""
        entry = self.entry
        runs_left = entry.max_runs is None or entry.total_run_count < entry.max_runs
        in_bounds = (self.bounds.start or now) <= now <= (self.bounds.end or now)
        if not (entry.enabled and self.rule.on_start and runs_left and in_bounds):
            return None
        # next_instant tells two starts apart; without next_at the clock never makes it due.
        return Firing(entry.name, entry.revision, entry.next_instant, [(now, self.run(now, now))], now, None)

    def end(self) -> Firing:
        """What is to be written when the entry has had its last run."""
        return Firing(self.entry.name, self.entry.revision, self.entry.next_instant, (), None, None)

    def run(self, instant: float, now: float) -> NewTask:
        """The task of `instant`, enqueued at `now`."""
        task = self._template
        due = clock.to_datetime(instant).isoformat()
        return task._replace(
            id=new_id(),
            run_at=task.run_at if task.countdown is None else now + task.countdown,
            expires_at=task.expires_at if task.lifetime is None else now + task.lifetime,
            countdown=None,
            lifetime=None,
            headers=f'{self._headers}"{due}"}}',
        )

    def _ask(self, now: float) -> Firing | None:
        """Ask a schedule of an own kind whether it is due."""
        entry = self.entry
        if self.bounds.end is not None and now > self.bounds.end:
            return self.end()
        last_run_at = entry.anchor if entry.last_run_at is None else entry.last_run_at
        due, seconds = poll(self.rule, clock.to_datetime(last_run_at).astimezone(self.zone))
        again = None if seconds is None else now + max(seconds, SHORTEST_WAIT)
        if not due:
            self.at = again
            return self._well() if entry.error is not None else None
        found = self._within_runs(Due((now,), 0, again))
        return self._firing(found, now)

    def _well(self) -> Firing:
        """What is to be written about an entry that has answered again."""
        entry = self.entry
        return Firing(entry.name, entry.revision, entry.next_instant, (), entry.next_instant, entry.next_at)

    def moved(self, firing: Firing, fired: Fired) -> bool:
        """Take over what was written; returns whether that was the last run and the file is still to be told."""
        entry = self.entry
        ran = len(fired.ids)
        self.move_to(
            entry._replace(
                next_instant=firing.next_instant,
                next_at=firing.next_at,
                last_run_at=firing.tasks[-1][0] if firing.tasks else entry.last_run_at,
                total_run_count=entry.total_run_count + ran,
                skipped=entry.skipped + firing.skipped + fired.skipped,
                error=firing.error,
            )
        )
        entry = self.entry
        done = entry.max_runs is not None and entry.total_run_count >= entry.max_runs
        return done and entry.next_at is not None


def _is_due(at: float | None, now: float) -> bool:
    return at is not None and at <= now


def read_schedule(text: str) -> BaseSchedule:
    """The schedule that stands in a row. ScheduleError, ValueError: it cannot be read."""
    try:
        return schedule_from_json(json.loads(text))
    except RecursionError:
        raise ValueError("the schedule in the row is nested too deep") from None


def _read_call(entry: Entry) -> tuple[NewTask, str]:
    """The task that a run begins with, and the head of its headers: what follows is the instant."""
    calls = read_errbacks(entry.call)
    if len(calls) != 1:
        raise ValueError(f"the entry's call is {len(calls)} tasks; it must be one")
    task = calls[0]
    given: Any = json.loads(task.headers) if task.headers else {}
    if not isinstance(given, dict):
        raise ValueError("the headers of the entry's call are no JSON object")
    headers = json.dumps({**given, NAME_HEADER: entry.name}, separators=(",", ":"))
    return task._replace(ties=task.ties | (ERRBACKS if task.errbacks else 0)), f'{headers[:-1]},"{DUE_HEADER}":'
