"""What an app offers to monitors: `events`, and what stands for Celery's connections."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from litequeue.exceptions import OperationalError

if TYPE_CHECKING:
    from litequeue.events.shortcuts import Events


class Connection:
    """Stands where Celery has a connection to a broker: the queue's file, opened when it is entered."""

    connection_errors = (OperationalError,)
    channel_errors: tuple[type[BaseException], ...] = ()
    recoverable_connection_errors = connection_errors
    recoverable_channel_errors = channel_errors

    def __init__(self, app: Any) -> None:
        self._app = app

    def connect(self) -> Connection:
        """Open the file. OperationalError: it cannot be used."""
        self._app.store.changes()
        return self

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Connection:
        """`connect`."""
        return self.connect()

    def clone(self, **kwargs: Any) -> Connection:
        """Another one."""
        return Connection(self._app)

    def channel(self) -> Connection:
        """Itself."""
        return self

    @property
    def default_channel(self) -> Connection:
        """Itself."""
        return self

    @property
    def connected(self) -> bool:
        """True: there is nothing that could be cut."""
        return True

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        """The file as a URL."""
        return f"sqlite:///{self._app.store.path}"

    def release(self) -> None:
        """Nothing: the file is the app's."""

    close = release

    def __enter__(self) -> Connection:
        return self.connect()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


class Monitored:
    """The part of `LiteQueue` that is about events."""

    @functools.cached_property
    def events(self) -> Events:
        """What workers, clients and tasks tell: `app.events.Receiver`, `.State`, `.Dispatcher`."""
        from litequeue.events.shortcuts import Events

        return Events(self)  # type: ignore[arg-type]

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """What Celery's monitors ask for and hand to a receiver; it stands for the queue's file."""
        return Connection(self)

    connection_for_read = connection_for_write = broker_connection = connection
