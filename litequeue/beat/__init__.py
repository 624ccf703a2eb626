"""The scheduler: fires the entries of the schedule. `litequeue.schedules` says when, `app.schedules` changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litequeue.core.exports import exports

if TYPE_CHECKING:
    from litequeue.beat.errors import EntryExists as EntryExists
    from litequeue.beat.errors import EntryNotFound as EntryNotFound
    from litequeue.beat.errors import SchedulingError as SchedulingError
    from litequeue.beat.in_memory import BeatLazyFunc as BeatLazyFunc
    from litequeue.beat.in_memory import ScheduleEntry as ScheduleEntry
    from litequeue.beat.in_memory import Scheduler as Scheduler
    from litequeue.beat.in_the_file import PersistentScheduler as PersistentScheduler
    from litequeue.beat.service import EmbeddedService as EmbeddedService
    from litequeue.beat.service import Service as Service

_HOMES = {
    "errors": ("EntryExists", "EntryNotFound", "SchedulingError"),
    "in_memory": ("BeatLazyFunc", "ScheduleEntry", "Scheduler"),
    "in_the_file": ("PersistentScheduler",),
    "service": ("EmbeddedService", "Service"),
}
_ADDRESS = {name: home for home, names in _HOMES.items() for name in names}

__all__: tuple[str, ...] = ("BeatLazyFunc", "EmbeddedService", "EntryExists", "EntryNotFound", "PersistentScheduler")
__all__ += ("ScheduleEntry", "Scheduler", "SchedulingError", "Service")

__getattr__, __dir__ = exports(__name__, _ADDRESS, __all__)
