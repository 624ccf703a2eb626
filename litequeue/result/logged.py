"""What is kept of what a task logged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from litequeue.core import clock

if TYPE_CHECKING:
    from datetime import datetime

    from litequeue.core.records import LogLine


class LoggedLine(NamedTuple):
    """A line that a task logged, or printed."""

    attempt: int
    """The attempt that logged it, counted from 1."""
    at: datetime
    """When (UTC)."""
    level: str
    """The name of its level: `INFO`."""
    logger: str
    """The name of the logger."""
    message: str
    """The message, with the traceback where one was logged."""


def logged_line(line: LogLine) -> LoggedLine:
    """The line as people read it."""
    level = logging.getLevelName(line.level)
    return LoggedLine(line.attempt, clock.to_datetime(line.at), level, line.logger, line.message)
