"""Hands the events of the journal to handlers, in order and without gaps."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from litequeue.core import clock
from litequeue.events.joining import join
from litequeue.exceptions import LostEvents, OperationalError

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.viewing import EventRecord

__all__ = ("EventReceiver",)

_BATCH: Final = 1000
"""Events read at a time."""
_LOOK: Final = 0.5
"""Seconds after which `should_stop` is looked at where nothing changes."""

Event = dict[str, Any]
Handler = Callable[[Event], Any]


class EventReceiver:
    """Calls handlers with the events of a queue: `app.events.Receiver(handlers={"task-failed": f, "*": g}).capture()`.

    A handler gets the event, a dict; that of `"*"` those of every type that has none of its own. `after` is the number
    of the last event that has been handled before: it goes on behind that; 0 begins with the oldest that is kept.
    Without it, only what comes from now on is handed over. `routing_key` chooses types, as in `task.#` or
    `*.heartbeat`. Without handlers, events are there for `itercapture` and `read`. A connection, and Celery's options
    of queues, are accepted and change nothing.
    """

    app: ClassVar[Any] = None
    should_stop = False
    """Set it, in a handler or another thread, and `capture` ends within half a second."""

    def __init__(
        self,
        channel: Any = None,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: LiteQueue | None = None,
        queue_prefix: str | None = None,
        accept: Any = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
        *,
        after: int | None = None,
    ) -> None:
        from litequeue.app.current import app_or_default

        self.app: Any = app_or_default(app or self.app)  # type: ignore[misc]
        self.channel = channel
        self.handlers: Mapping[str, Handler] = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id
        self._matches = _pattern(routing_key)
        self.number: int = self.app.store.event_range().last if after is None else _checked(after)
        """That of the last event that was handled, or passed over; hand it to `after` to go on behind it."""

    @property
    def connection(self) -> Any:
        """What was given in place of a connection."""
        return self.channel

    def process(self, type: str, event: Event) -> None:
        """Call the handler for an event."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def capture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True, *, after: int | None = None
    ) -> None:
        """Handle events until `limit` of them have been handled, or `should_stop` is set.

        TimeoutError: none was written for `timeout` seconds. `wakeup` has the workers say at once that they are there.
        `after` as for the class. What a handler raises ends it; the event counts as not handled, and comes again in
        the next `capture`. LostEvents is warned of where events that it was to see are no longer kept; it goes on with
        the oldest that is. ValueError: `after` is a number that the file has not given yet.
        """
        for _ in self.itercapture(limit, timeout, wakeup, after=after):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True, *, after: int | None = None
    ) -> Iterator[Event]:
        """`capture`, event by event: each is yielded after its handler was called."""
        store = self.app.store
        if after is not None:
            self.number = _checked(after)
        last = store.event_range().last
        if self.number > last:
            raise ValueError(
                f"after={self.number}: the newest event of {store.path} has number {last}; is it a number of this file?"
            )
        if wakeup:
            self.wakeup_workers()
        handled, heard = 0, clock.monotonic()
        while not self.should_stop:
            seen = store.changes()
            records = store.events(self.number, _BATCH)
            if not records:
                left = _LOOK if timeout is None else min(_LOOK, heard + timeout - clock.monotonic())
                if left <= 0:
                    raise TimeoutError(f"no event was written for {timeout:g} seconds")
                store.wait_for_change(seen, left)
                continue
            for event in self._handle(records):
                handled += 1
                yield event
                if handled == limit or self.should_stop:
                    return
            heard = clock.monotonic()

    def read(self, limit: int | None = None) -> Iterator[Event]:
        """Handle what is there now, `limit` events at most, and yield each; does not wait for more."""
        store, handled = self.app.store, 0
        last = store.event_range().last
        while self.number < last and not self.should_stop:
            records = [record for record in store.events(self.number, _BATCH) if record.number <= last]
            if not records:
                return
            for event in self._handle(records):
                handled += 1
                yield event
                if handled == limit or self.should_stop:
                    return

    def _handle(self, records: list[EventRecord]) -> Iterator[Event]:
        """Call the handlers; an event of which nobody wants to know costs only its place in the journal."""
        events = {
            event["number"]: event for event in join(self.app, [each for each in records if self.wants(each.kind)])
        }
        for record in records:
            if record.number > self.number + 1 and self.number:
                _warn_lost(self.number + 1, record.number - 1)
            event = events.get(record.number)
            if event is not None:
                self.process(record.kind, event)
            self.number = record.number
            if event is not None:
                yield event

    def wants(self, type: str) -> bool:
        """Whether an event of `type` is handed over; the others cost no look at their tasks."""
        handlers = self.handlers
        return bool(self._matches(type)) and (not handlers or type in handlers or "*" in handlers)

    def wakeup_workers(self, channel: Any = None) -> None:
        """Have every worker that writes events say that it is there."""
        nodes = {each.worker for each in self.app.store.processes() if each.events and each.role == "worker"}
        if nodes:
            with suppress(OperationalError):  # they say so of themselves, a little later
                self.app.control.broadcast("heartbeat", destination=sorted(nodes))


def _checked(after: int) -> int:
    if isinstance(after, bool) or not isinstance(after, int):
        raise TypeError(f"after={after!r}: give the number of an event, or 0 for all that are kept")
    if after < 0:
        raise ValueError(f"after={after}: give the number of an event, or 0 for all that are kept")
    return after


def _warn_lost(first: int, last: int) -> None:
    which = f"event {first} is" if first == last else f"events {first} to {last} are"
    warnings.warn(
        f"{which} no longer kept; make event_retention or event_limit larger, or read more often",
        LostEvents,
        stacklevel=4,
    )


def _pattern(routing_key: str) -> Callable[[str], Any]:
    """Whether a type is one that the routing key, with `*` for a word and `#` for any number of them, means."""
    if routing_key == "#":
        return lambda _type: True
    words = [{"#": r"(?:[^.]+(?:\.|$))*", "*": r"[^.]+(?:\.|$)"}.get(word) for word in routing_key.split(".")]
    parts = [
        word if word is not None else re.escape(plain) + r"(?:\.|$)"
        for word, plain in zip(words, routing_key.split("."), strict=True)
    ]
    match = re.compile("".join(parts)).fullmatch
    return lambda type: match(type.replace("-", "."))
