"""What fails, grouped by exception and place; and what is slow, by name."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from litequeue.core.state import FAILED, SUCCEEDED
from litequeue.core.viewing import TaskFilter
from litequeue.inspect.page import waited
from litequeue.inspect.reading import did_not_run, printable, task_view
from litequeue.inspect.views import TaskView, View

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord

MOST: Final = 100_000
"""Failed tasks that are looked at, the newest."""
SCAN: Final = 20_000
"""Ended tasks that are looked at to see what is slow, the newest."""
LONGEST: Final = 10
"""Running tasks that are shown, those that run longest."""
_SLICE: Final = 1000
_FRAME: Final = re.compile(
    r'^ *(?:[|+] *)*File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE
)
_LIBRARIES: Final = tuple(
    {path + "/" for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_paths().get(name))}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureView(View):
    """Failures of one exception at one place."""

    error: str
    """The class of the exception; empty where it was not kept."""
    place: str | None
    """The last line of code of one's own in the traceback, `proj/tasks.py:12 in charge`; None: there is none."""
    count: int
    first_at: float | None
    """When the first of them ended."""
    last_at: float | None
    names: tuple[str, ...]
    """The tasks that failed so, the most frequent first."""
    example_id: str
    """The newest of them."""
    example: str
    """Its error in one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureReport(View):
    """Which failures there are."""

    groups: tuple[FailureView, ...]
    """The most frequent first."""
    count: int
    """How many failed tasks were looked at; what did not run because of another is not counted."""
    complete: bool
    """False: there are more, older ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread(View):
    """How long something took, in seconds."""

    mean: float
    p50: float
    p95: float
    max: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowView(View):
    """How long the tasks of a name took."""

    name: str
    count: int
    """How many ended tasks that goes by."""
    run: Spread
    wait: Spread | None
    """From when they could start to their last start; None: no row says."""
    slowest_id: str
    """The one that ran longest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowReport(View):
    """What takes long."""

    names: tuple[SlowView, ...]
    """The one with the longest p95 first."""
    running: tuple[TaskView, ...]
    """What runs longest now."""
    count: int
    """How many ended tasks were looked at, the newest."""


# Failures


def failures(
    app: LiteQueue, *, since: float | None = None, limit: int | None = None, most: int = MOST
) -> FailureReport:
    """The failed tasks that the file keeps, grouped; those that ended since `since`; at most `limit` groups."""
    from litequeue.dead_letters import error_of

    groups: dict[tuple[str, str | None], _Group] = {}
    count, complete = 0, True
    for record in _failed(app):
        if did_not_run(record) or (since is not None and (record.finished_at or 0.0) < since):
            continue
        if count >= most:
            complete = False
            break
        count += 1
        kind, line = error_of(record.result_serializer, record.result)
        key = (kind, place_of(record.traceback))
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(record, line)
        group.add(record)
    found = [
        FailureView(
            error=kind,
            place=place,
            count=group.count,
            first_at=group.first_at,
            last_at=group.last_at,
            names=tuple(sorted(group.names, key=lambda name: (-group.names[name], name))),
            example_id=group.example.id,
            example=printable(group.line),
        )
        for (kind, place), group in groups.items()
    ]
    found.sort(key=lambda view: (-view.count, -(view.last_at or 0.0)))
    return FailureReport(groups=tuple(found[:limit]), count=count, complete=complete)


class _Group:
    def __init__(self, example: TaskRecord, line: str) -> None:
        self.example, self.line = example, line
        self.count = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.names: dict[str, int] = {}

    def add(self, record: TaskRecord) -> None:
        self.count += 1
        self.names[record.name] = self.names.get(record.name, 0) + 1
        at = record.finished_at
        if at is not None:
            self.first_at = at if self.first_at is None else min(self.first_at, at)
            self.last_at = at if self.last_at is None else max(self.last_at, at)


def _failed(app: LiteQueue) -> Iterator[TaskRecord]:
    before: int | None = None
    while True:
        found = app.store.find(TaskFilter(states=(FAILED,)), _SLICE, before)
        yield from found.tasks
        before = found.before
        if before is None:
            return


def place_of(traceback: str | None) -> str | None:
    """The last line of code of one's own in a traceback: not of Python's library, nor of an installed package."""
    if not traceback:
        return None
    frames = [(found["file"], found["line"], found["function"]) for found in _FRAME.finditer(traceback)]
    own = [frame for frame in frames if not _is_library(frame[0])]
    for file, line, function in reversed(own or frames):
        return f"{_short(file)}:{line} in {function}"
    return None


def _is_library(file: str) -> bool:
    plain = file.replace("\\", "/")
    return plain.startswith(("<frozen", *_LIBRARIES)) or "/site-packages/" in plain or "/dist-packages/" in plain


def _short(file: str) -> str:
    """The last folder and the name of a file."""
    parts = file.replace("\\", "/").split("/")
    return "/".join(part for part in parts[-2:] if part)


# What is slow


def slow(app: LiteQueue, *, since: float | None = None, limit: int | None = None, scan: int = SCAN) -> SlowReport:
    """How long tasks waited and ran, by name, of the newest `scan` that have ended; and what runs longest now."""
    runs: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    slowest: dict[str, tuple[float, str]] = {}
    count = 0
    for record in _ended(app, since, scan):
        if record.started_at is None or record.finished_at is None:
            continue
        count += 1
        run = max(record.finished_at - record.started_at, 0.0)
        runs.setdefault(record.name, []).append(run)
        slowest[record.name] = max(slowest.get(record.name, (-1.0, "")), (run, record.id))
        wait = waited(record)
        if wait is not None and record.attempt == 1:
            waits.setdefault(record.name, []).append(wait)
    found = [
        SlowView(
            name=name,
            count=len(taken),
            run=_spread(taken),
            wait=_spread(waits[name]) if name in waits else None,
            slowest_id=slowest[name][1],
        )
        for name, taken in runs.items()
    ]
    found.sort(key=lambda view: (-view.run.p95, view.name))
    running = sorted(app.store.running(MOST), key=lambda record: record.started_at or 0.0)[:LONGEST]
    return SlowReport(
        names=tuple(found[:limit]), running=tuple(task_view(app, record) for record in running), count=count
    )


def _ended(app: LiteQueue, since: float | None, scan: int) -> Iterable[TaskRecord]:
    which = TaskFilter(states=(SUCCEEDED, FAILED), since=since)
    before: int | None = None
    left = scan
    while left > 0:
        found = app.store.find(which, min(left, _SLICE), before)
        yield from found.tasks
        left -= len(found.tasks)
        before = found.before
        if before is None:
            return


def _spread(taken: Sequence[float]) -> Spread:
    ordered = sorted(taken)
    return Spread(
        mean=sum(ordered) / len(ordered),
        p50=ordered[(len(ordered) - 1) // 2],
        p95=ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)],
        max=ordered[-1],
    )
