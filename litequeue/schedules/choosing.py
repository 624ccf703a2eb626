"""From what users write to a schedule."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from litequeue.schedules.base import BaseSchedule
from litequeue.schedules.errors import ScheduleError


def maybe_schedule(value: Any, relative: bool = False, app: Any = None) -> Any:
    """The schedule of seconds, a timedelta, a cron expression, a datetime, or a schedule itself; None stays None.

    An object that is none of ours and has `is_due` is asked again and again. ScheduleError for anything else.
    """
    from litequeue.schedules.crontabs import cron
    from litequeue.schedules.intervals import schedule
    from litequeue.schedules.polling import Foreign
    from litequeue.schedules.single import at

    if value is None:
        return None
    if isinstance(value, BaseSchedule):
        if app is not None:
            value.app = app
        return value
    if isinstance(value, (int, float, timedelta)) and not isinstance(value, bool):
        return schedule(value, relative, app=app)
    if isinstance(value, str):
        return cron(value, app=app)
    if isinstance(value, datetime):
        return at(value, app=app)
    if callable(getattr(value, "is_due", None)):
        return Foreign(value, app=app)
    raise ScheduleError(
        f"schedule={value!r}: seconds, a timedelta, a crontab or another schedule, a cron expression or a datetime"
    )
