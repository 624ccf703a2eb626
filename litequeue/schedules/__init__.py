"""When next: crontab, intervals, the sun, one moment, and own kinds. Arithmetic only; nothing here fires a task.

from litequeue.schedules import crontab

crontab(hour=7, minute=30, day_of_week="mon-fri", timezone="Europe/Paris").next_after(datetime.now(UTC))

Modules are not named as what they define: a module `crontab` here would hide the class of that name once imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litequeue.core.exports import exports

if TYPE_CHECKING:
    from litequeue.schedules.base import BaseSchedule as BaseSchedule
    from litequeue.schedules.base import schedstate as schedstate
    from litequeue.schedules.bounds import Bounds as Bounds
    from litequeue.schedules.choosing import maybe_schedule as maybe_schedule
    from litequeue.schedules.crontabs import cron as cron
    from litequeue.schedules.crontabs import crontab as crontab
    from litequeue.schedules.errors import ParseException as ParseException
    from litequeue.schedules.errors import ScheduleError as ScheduleError
    from litequeue.schedules.fields import crontab_parser as crontab_parser
    from litequeue.schedules.intervals import schedule as schedule
    from litequeue.schedules.outlook import preview as preview
    from litequeue.schedules.polling import poll as poll
    from litequeue.schedules.single import at as at
    from litequeue.schedules.single import reboot as reboot
    from litequeue.schedules.storing import register_schedule as register_schedule
    from litequeue.schedules.storing import schedule_from_json as schedule_from_json
    from litequeue.schedules.storing import schedule_to_json as schedule_to_json
    from litequeue.schedules.sun import solar as solar
    from litequeue.schedules.zonenames import find_zone as find_zone

_HOMES = {
    "base": ("BaseSchedule", "schedstate"),
    "bounds": ("Bounds",),
    "choosing": ("maybe_schedule",),
    "crontabs": ("cron", "crontab"),
    "errors": ("ParseException", "ScheduleError"),
    "fields": ("crontab_parser",),
    "intervals": ("schedule",),
    "outlook": ("preview",),
    "polling": ("poll",),
    "single": ("at", "reboot"),
    "storing": ("register_schedule", "schedule_from_json", "schedule_to_json"),
    "sun": ("solar",),
    "zonenames": ("find_zone",),
}
_ADDRESS = {name: home for home, names in _HOMES.items() for name in names}

__all__: tuple[str, ...] = ("BaseSchedule", "Bounds", "ParseException", "ScheduleError")
__all__ += ("at", "cron", "crontab", "crontab_parser", "find_zone", "maybe_schedule", "poll", "preview", "reboot")
__all__ += ("register_schedule", "schedstate", "schedule", "schedule_from_json", "schedule_to_json", "solar")

__getattr__, __dir__ = exports(__name__, _ADDRESS, __all__)
