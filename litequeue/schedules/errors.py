"""What is wrong with a schedule, told where it is made."""

from __future__ import annotations

from litequeue.exceptions import ImproperlyConfigured


class ScheduleError(ImproperlyConfigured, ValueError):
    """A schedule that cannot be: the message names the field and the value."""


class ParseException(ScheduleError):
    """A cron expression, or one field of it, that cannot be read."""
