"""What can be wrong with an entry of the schedule, beside its schedule."""

from __future__ import annotations

from litequeue.exceptions import LiteQueueError


class EntryNotFound(LiteQueueError, LookupError):
    """The file has no entry of that name."""


class EntryExists(LiteQueueError, ValueError):
    """The file has an entry of that name already."""


class SchedulingError(LiteQueueError):
    """An entry could not be fired."""
