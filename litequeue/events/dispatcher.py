"""Writes events of one's own into the journal."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from litequeue.core import json_codec
from litequeue.events.event import Event, group_from
from litequeue.exceptions import OperationalError

if TYPE_CHECKING:
    from types import TracebackType

    from litequeue.app.base import LiteQueue

__all__ = ("EventDispatcher",)


class EventDispatcher:
    """Sends events: `with app.events.Dispatcher() as dispatcher: dispatcher.send("order-paid", amount=3)`.

    `hostname` is who says so, by default this process. Events whose group, the first word of their type, is not among
    `groups` are dropped (None: none are). Those of `buffer_group` are kept until there are `buffer_limit` of them, or
    `flush()`, and written in one transaction. With `buffer_while_offline` what cannot be written, because the file is
    busy, is kept for the next `flush()`; without it, that raises. Not `enabled`, it does nothing. Celery's other
    options are accepted and change nothing.
    """

    app: ClassVar[Any] = None

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: LiteQueue | None = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], Any] | None = None,
    ) -> None:
        from litequeue.app.current import app_or_default
        from litequeue.utils.nodenames import anon_nodename

        self.app: Any = app_or_default(app or self.app)  # type: ignore[misc]
        self.connection = connection
        self.channel = channel
        self.hostname = hostname or anon_nodename()
        self.enabled = enabled
        self.groups = set(groups or ())
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.on_enabled: set[Callable[[], Any]] = set()
        self.on_disabled: set[Callable[[], Any]] = set()
        self.pid = os.getpid()
        self.mutex = threading.Lock()
        self._unsent: list[tuple[str, dict[str, Any]]] = []
        self._closed = False

    def send(
        self,
        type: str,
        blind: bool = False,
        utcoffset: Any = None,
        retry: bool = False,
        retry_policy: Any = None,
        Event: Callable[..., dict[str, Any]] = Event,
        **fields: Any,
    ) -> None:
        """Write an event of `type` with these fields, and what a value says of them.

        EncodeError: JSON cannot say a field (dates, UUIDs, Decimals and the like come back as they were).
        OperationalError: the file cannot be written, and nothing is kept for later.
        """
        if not self.enabled or self._closed or (self.groups and group_from(type) not in self.groups):
            return
        prepared = self._prepared(type, Event(type, pid=self.pid, **fields))
        if group_from(type) in self.buffer_group:
            with self.mutex:
                self._unsent.append(prepared)
                full = len(self._unsent) >= self.buffer_limit
            if full:
                self.flush()
            elif self.on_send_buffered:
                self.on_send_buffered()
            return
        self._write([prepared])

    def publish(self, type: str, fields: dict[str, Any], producer: Any = None, **kwargs: Any) -> None:
        """Write an event whatever the groups are, at once."""
        self._write([self._prepared(type, Event(type, pid=self.pid, **fields))])

    def _prepared(self, type: str, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The event as the journal keeps it."""
        fields = {name: value for name, value in event.items() if name not in ("type", "hostname")}
        found: dict[str, Any] = json.loads(json_codec.dumps(fields, f"event {type}"))
        return type, found

    def _write(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        """Write what could not be written before, and these."""
        with self.mutex:
            waiting, self._unsent = ([], self._unsent) if self.buffer_group else (self._unsent, [])
            try:
                self.app.store.publish([*waiting, *events], worker=self.hostname)
            except OperationalError:
                self._unsent = [*waiting, *self._unsent]
                if not self.buffer_while_offline:
                    raise
                self._unsent += events

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Write what has been kept, in one transaction."""
        with self.mutex:
            if not self._unsent or self._closed:
                return
            self.app.store.publish(self._unsent, worker=self.hostname)
            self._unsent = []

    def extend_buffer(self, other: EventDispatcher) -> None:
        """Keep also what `other` has kept."""
        with self.mutex:
            self._unsent += other._unsent

    def enable(self) -> None:
        """Send from now on."""
        self.enabled, self._closed = True, False
        for callback in list(self.on_enabled):
            callback()

    def disable(self) -> None:
        """Send nothing more, until `enable`."""
        if self.enabled:
            self.enabled = False
            self.close()
            for callback in list(self.on_disabled):
                callback()

    def close(self) -> None:
        """Write what has been kept, and end."""
        if not self._closed:
            try:
                self.flush()
            except OperationalError:
                if not self.buffer_while_offline:
                    raise
            self._closed = True

    def __enter__(self) -> EventDispatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
