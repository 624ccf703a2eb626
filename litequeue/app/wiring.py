"""What follows from an app's settings: codecs, router, time zone, and the open file.

Both classes are made when they are first needed. `Derived` is made anew after a setting changed; the file stays open
unless its path or its options changed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from litequeue.app.broker import broker_path, results_disabled
from litequeue.calling.options import OPTIONS
from litequeue.config.settings import as_seconds
from litequeue.core.payload import Codec
from litequeue.core.routing import Router, declared_queues, prepare_routes
from litequeue.core.zones import zone
from litequeue.store import open_store
from litequeue.store.contract import StoreOptions

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.calling.eager import EagerExecutor
    from litequeue.config.settings import Settings
    from litequeue.store.contract import Store


class Derived:
    """What is computed from the settings once, and used at each call."""

    def __init__(self, app: LiteQueue) -> None:
        conf = app.conf.finalize()
        self.revision = conf.revision
        self.codec = Codec(
            accept=conf.accept_content,
            serializer=conf.task_serializer,
            compression=conf.task_compression,
            max_bytes=conf.max_payload_bytes,
        )
        self.result_codec = Codec(
            accept=conf.accept_content if conf.result_accept_content is None else conf.result_accept_content,
            serializer=conf.result_serializer,
            compression=conf.result_compression,
            max_bytes=conf.max_payload_bytes,
        )
        self.router = Router(
            prepare_routes(conf.task_routes, app.resolve, OPTIONS),
            declared_queues(conf.task_queues),
            conf.task_default_queue,
            conf.task_create_missing_queues,
        )
        self.timezone = zone(conf.timezone, conf.enable_utc)
        self.eager_executor: EagerExecutor | None = None
        """Made by `app.eager_executor`."""
        self.results_disabled = results_disabled(conf.result_backend, conf.broker_url)


class OpenFile:
    """The store of an app, opened when first needed and again when the settings lead to another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._located: tuple[str | None, str] = ("", "")
        self._opened_as: tuple[str, StoreOptions] | None = None
        self._revision = -1
        self._store: Store | None = None
        self._existing = False

    def expect(self) -> None:
        """Open only a queue that is there already, as it is; a file that is open stays open as it was opened."""
        self._existing = self._existing or self._store is None

    def store(self, app: LiteQueue) -> Store:
        """The store that the settings of `app` name."""
        if self._store is not None and self._revision == app.conf.revision:
            return self._store
        # Asked before the lock is taken: what is asked may take the app's own lock, or read the configuration.
        derived = app.derived
        url, options = app.conf.broker_url, _options(app.conf, derived, self._existing)
        with self._lock:
            wanted = (self._path(url), options)
            if self._store is None or self._opened_as != wanted:
                self.close()
                self._store, self._opened_as = open_store(*wanted), wanted
            self._revision = derived.revision
            return self._store

    def _path(self, url: str | None) -> str:
        """The file of `url`; a relative path keeps the folder in which it was first used."""
        if not url or self._located[0] != url:
            self._located = (url, broker_path(url))
        return self._located[1]

    def close(self) -> None:
        """Close the store, if it was opened; the next use opens it again."""
        if self._store is not None:
            self._store.close()


def existing_store(app: LiteQueue) -> Store:
    """The store of `app`, for who only looks: a file that is there and holds a queue of this version, as it is.

    Holds for `app.store` from then on, unless the file was open before. StoreMissing, StoreForeign, StoreTooOld,
    StoreTooNew.
    """
    file = app._open_file()
    file.expect()
    store = file.store(app)
    store.changes()
    return store


def _options(conf: Settings, derived: Derived, existing: bool) -> StoreOptions:
    return StoreOptions(
        durability=conf.durability,
        busy_budget=conf.busy_timeout,
        private="pickle" in derived.codec.accept or "pickle" in derived.result_codec.accept,
        failure_retention=conf.retention()[1],
        sent_events=bool(conf.task_send_sent_event),
        event_retention=as_seconds(conf.event_retention),
        event_limit=conf.event_limit,
        allow_network=conf.allow_network_file_system,
        existing=existing,
    )
