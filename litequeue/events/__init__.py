"""What workers, clients and tasks tell monitors, in Celery's names; read from the journal in the queue's file.

`app.events` is the usual way in; docs/events.md has every event with its fields.
"""

from __future__ import annotations

from litequeue.events.dispatcher import EventDispatcher
from litequeue.events.event import Event, group_from
from litequeue.events.receiver import EventReceiver
from litequeue.exceptions import LostEvents

__all__ = ("Event", "EventDispatcher", "EventReceiver", "LostEvents", "group_from")
