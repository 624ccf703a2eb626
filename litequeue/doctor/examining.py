"""The checks in their order, and what becomes of one that cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from litequeue.doctor import file, place, program, queues, schedules, workers
from litequeue.doctor.findings import ERROR, Case, Finding, Verdict
from litequeue.exceptions import LiteQueueError

Check = Callable[[Case], Verdict | None]
"""None: it does not apply."""

FIRST: Final[tuple[tuple[str, Check], ...]] = (
    ("settings", program.settings),
    ("tasks", program.tasks),
    ("folder", place.folder),
    ("permissions", place.permissions),
    ("file system", place.file_system),
    ("space", place.space),
    ("open files", place.open_files),
    ("library", file.library),
    ("file", file.opens),
)
"""Checks that need no queue that can be opened."""

THEN: Final[tuple[tuple[str, Check], ...]] = (
    ("wal", file.wal),
    ("room", file.room),
    ("journal", file.journal),
    ("integrity", file.integrity),
    ("workers", workers.alive),
    ("orphans", workers.orphans),
    ("namesakes", workers.namesakes),
    ("hosts", workers.hosts),
    ("clock", workers.clocks),
    ("backlog", queues.backlog),
    ("names", queues.names),
    ("code", queues.code),
    ("stuck", queues.stuck),
    ("paused", queues.paused),
    ("dead letters", queues.dead_letters),
    ("schedules", schedules.entries),
    ("scheduler", schedules.scheduler),
)
"""Checks of what is in the file."""

CHECKS: Final = tuple(name for name, _ in (*FIRST, *THEN))
"""The names of the checks."""


def examine(app: Any, *, full: bool = False, knows_tasks: bool = False, clashes: Sequence[str] = ()) -> list[Finding]:
    """Make every check that can be made; with `full`, the whole file is read.

    `knows_tasks`: the modules with the tasks of `app` were imported. `clashes`: what was said while they were.
    """
    return list(_examine(app, full, knows_tasks, tuple(clashes)))


def _examine(app: Any, full: bool, knows_tasks: bool, clashes: tuple[str, ...]) -> Iterator[Finding]:
    from litequeue.app.broker import broker_path

    try:
        path = broker_path(app.conf.broker_url)
    except LiteQueueError as problem:
        yield _unmade("settings", problem)
        return
    case = Case(app, path, full, knows_tasks, clashes)
    levels = {}
    for name, check in FIRST:
        for finding in _made(name, check, case):
            levels[name] = finding.level
            yield finding
    if levels.get("file") == ERROR:
        return
    for name, check in THEN:
        yield from _made(name, check, case)


def _made(name: str, check: Check, case: Case) -> Iterator[Finding]:
    try:
        verdict = check(case)
    except (LiteQueueError, OSError) as problem:
        yield _unmade(name, problem)
        return
    if verdict is not None:
        yield Finding(name, *verdict)


def _unmade(name: str, problem: Exception) -> Finding:
    return Finding(name, ERROR, " ".join(str(problem).split()), "See what the sentence says, then look again.")
