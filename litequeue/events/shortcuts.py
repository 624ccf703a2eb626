"""`app.events`: the classes of this package, bound to an app."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.events.dispatcher import EventDispatcher
    from litequeue.events.receiver import EventReceiver
    from litequeue.events.state import State

__all__ = ("Events",)


class Events:
    """Receiver, Dispatcher and State of an app's events."""

    receiver_cls = "litequeue.events.receiver:EventReceiver"
    dispatcher_cls = "litequeue.events.dispatcher:EventDispatcher"
    state_cls = "litequeue.events.state:State"
    """Where the classes are found; a subclass, or an assignment, may name others."""

    def __init__(self, app: LiteQueue) -> None:
        self.app = app

    @functools.cached_property
    def Receiver(self) -> type[EventReceiver]:
        """The class of what hands on events, for this app."""
        found: type[EventReceiver] = self._bound("Receiver", self.receiver_cls)
        return found

    @functools.cached_property
    def Dispatcher(self) -> type[EventDispatcher]:
        """The class of what writes events, for this app."""
        found: type[EventDispatcher] = self._bound("Dispatcher", self.dispatcher_cls)
        return found

    @functools.cached_property
    def State(self) -> type[State]:
        """The class of what keeps in memory how things stand, told by events."""
        found: type[State] = self.app.resolve(self.state_cls)
        return found

    def _bound(self, name: str, address: str) -> Any:
        base = self.app.resolve(address)
        return type(name, (base,), {"app": self.app, "__module__": base.__module__, "__doc__": base.__doc__})

    @contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[EventDispatcher]:
        """A dispatcher for the length of a `with` block."""
        with self.Dispatcher(
            hostname=hostname, enabled=enabled, buffer_while_offline=buffer_while_offline
        ) as dispatcher:
            yield dispatcher
