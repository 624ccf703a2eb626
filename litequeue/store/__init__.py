"""Where tasks are kept. `contract` says what an engine can do; `open_store` opens the engine that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from litequeue.core.records import Identity
    from litequeue.store.contract import Store, StoreOptions

__all__ = ["copy_file", "damages_of", "file_system_of", "library_versions", "look", "open_store"]


def open_store(path: str, options: StoreOptions) -> Store:
    """Open the queue in the SQLite file `path` (`:memory:` for one that lives and dies with this process)."""
    from litequeue.store.sqlite.store import SQLiteStore

    return SQLiteStore(path, options)


def look(path: str) -> tuple[int, int, list[tuple[str, Identity]]]:
    """The schema version of the queue in the file `path`, that of a new one, and the workers registered in it.

    The file is only read, whatever its version. StoreMissing, StoreForeign, StoreTooNew.
    """
    from litequeue.store.sqlite import copying

    return copying.look(path)


def copy_file(
    path: str, target: str, progress: Callable[[int, int], object] | None = None, overwrite: bool = False
) -> None:
    """`Store.backup` of the queue in the file `path`, which may be of an older version."""
    from litequeue.store.sqlite import copying

    copying.copy_file(path, target, progress, overwrite)


def damages_of(path: str, limit: int = 100) -> list[str]:
    """`Store.damages` of the queue in the file `path`, which is only read. StoreTooOld too."""
    from litequeue.store.sqlite import maintenance

    return maintenance.damages_of_file(path, limit)


def file_system_of(folder: str) -> tuple[str, bool]:
    """The type of the file system that `folder` is on (empty: not known), and whether other hosts may share it."""
    from litequeue.store.sqlite import filesystem

    return filesystem.file_system_of(folder)


def library_versions() -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """The version of SQLite that is used, the least that is, and that of the library which brings it."""
    from litequeue.store.sqlite.connection import library_versions

    return library_versions()
