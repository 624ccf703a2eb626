"""Where tasks are kept. `contract` says what an engine can do; `open_store` opens the engine that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litequeue.store.contract import Store, StoreOptions

__all__ = ["open_store"]


def open_store(path: str, options: StoreOptions) -> Store:
    """Open the queue in the SQLite file `path` (`:memory:` for one that lives and dies with this process)."""
    from litequeue.store.sqlite.store import SQLiteStore

    return SQLiteStore(path, options)
