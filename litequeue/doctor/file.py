"""The file: whether it opens, its WAL, its free pages, its journal, whether it is sound."""

from __future__ import annotations

import os
from typing import Final

from litequeue.app.broker import MEMORY
from litequeue.config.settings import as_seconds
from litequeue.core import clock
from litequeue.doctor.findings import Case, Verdict, error, ok, warning
from litequeue.exceptions import StoreMissing, StoreTooOld
from litequeue.utils.words import counted, size, span

_LARGE_WAL: Final = 64 << 20
_MUCH_FREE: Final = 64 << 20
_FREE_SHARE: Final = 0.5
_OVERDUE: Final = 600.0  # seconds after which events that are past their retention should have been deleted


def library(case: Case) -> Verdict:
    """Which SQLite is used; one that can damage a file is refused when it is opened."""
    from litequeue.store import library_versions

    version, least, wrapper = library_versions()
    if version < least:
        return error(
            f"apsw {wrapper} brings SQLite {_dotted(version)}, which can corrupt a WAL file.",
            f"Install apsw {_dotted(least)} or newer.",
        )
    return ok(f"SQLite {_dotted(version)}, by apsw {wrapper}.")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def opens(case: Case) -> Verdict:
    """Whether the file is a queue of this version."""
    if case.path != MEMORY and not os.path.exists(case.path):
        return error(
            f"{case.path} is not there.",
            "The first call of a task, or a worker, makes it; if there should be one, look at broker= and -b.",
        )
    try:
        file = case.file
    except StoreTooOld as problem:
        return error(str(problem).partition(". ")[0] + ".", "Run `litequeue upgrade`.")
    except StoreMissing as problem:
        return error(str(problem), "Look at broker= and -b.")
    return ok(f"{file.path} has schema version {file.schema_version} and {size(file.size)}.")


def wal(case: Case) -> Verdict:
    """Whether the WAL begins anew now and then."""
    found = case.file.wal_size
    if found > _LARGE_WAL:
        return warning(
            f"The WAL has {size(found)}: some program keeps a read transaction open, so that it cannot begin anew.",
            "Look for an SQLite shell, a backup or a report that has the file open; `litequeue vacuum` cuts it after.",
        )
    return ok(f"The WAL has {size(found)}.")


def room(case: Case) -> Verdict:
    """Whether much of the file is free pages."""
    free = case.file.free_pages * case.file.page_size
    if free > _MUCH_FREE and case.file.free_pages > _FREE_SHARE * case.file.pages:
        return warning(f"{size(free)} of the file are free pages.", "`litequeue vacuum` gives them back to the disk.")
    return ok(f"{size(free)} of the file are free.")


def journal(case: Case) -> Verdict:
    """Whether the journal of events is kept short."""
    first, last = case.store.event_range()
    kept = last - first + 1
    oldest = case.store.events(first - 1, 1)
    if not oldest:
        return ok("There are no events in the journal.")
    retention = as_seconds(case.app.conf.event_retention)
    age = clock.now() - oldest[0].at
    limit = case.app.conf.event_limit
    # The newest transaction's events stay, however old they are.
    if kept > 1.5 * limit or (retention and age > retention + _OVERDUE and kept > 1000):
        return warning(
            f"The journal has {counted(kept, 'event')}, the oldest {span(age)} old.",
            "Workers delete them after event_retention and event_limit; start one, or set these lower.",
        )
    return ok(f"The journal has {counted(kept, 'event')}.")


def integrity(case: Case) -> Verdict | None:
    """Whether every page and every row is as it must be; only when all is to be read."""
    if not case.full:
        return None
    found = case.store.damages()
    if found:
        return error(
            f"{counted(len(found), 'damage')}: {'; '.join(found[:3])}{'; ...' * (len(found) > 3)}.",
            "Stop all programs, keep the file as it is, and restore a backup.",
        )
    return ok("Every page and every row is sound.")
