"""From apsw's exceptions to ours: each names the file and what to do."""

from __future__ import annotations

import apsw

from litequeue import exceptions


def translate(error: apsw.Error, path: str) -> exceptions.OperationalError:
    """The exception of ours for `error`, which happened on the file `path`."""
    kind, advice = _KINDS.get(type(error), (exceptions.OperationalError, None))
    text = f"{path}: {_sentence(error)}"
    return kind(f"{text} {advice}" if advice else text)


def _sentence(error: apsw.Error) -> str:
    text = str(error) or type(error).__name__
    text = text.removeprefix("SQLITE_").strip()
    extended = getattr(error, "extendedresult", None)
    code = f" (SQLite {apsw.mapping_extended_result_codes.get(extended, extended)})" if extended else ""
    return f"{text}{code}."


_KINDS: dict[type[apsw.Error], tuple[type[exceptions.OperationalError], str | None]] = {
    apsw.BusyError: (
        exceptions.StoreBusy,
        "Another program keeps the file locked; end its transaction, or raise busy_timeout.",
    ),
    apsw.LockedError: (exceptions.StoreBusy, "Another program keeps the file locked; end its transaction."),
    apsw.FullError: (
        exceptions.StoreFull,
        "Nothing was written. Free space on the disk (finished tasks are pruned after result_expires), then try again.",
    ),
    apsw.ReadOnlyError: (
        exceptions.StoreReadOnly,
        "The queue writes the file and its folder (SQLite keeps -wal and -shm beside it); see their permissions.",
    ),
    apsw.CantOpenError: (
        exceptions.StoreMissing,
        "Make the folder, and see that this user may write in it.",
    ),
    apsw.NotADBError: (
        exceptions.StoreForeign,
        "It is not an SQLite file; give broker= another path, or move the file away.",
    ),
    apsw.CorruptError: (
        exceptions.StoreCorrupt,
        "This process writes nothing more to it. Keep the file as it is; restore a backup, or try sqlite3's .recover.",
    ),
    apsw.PermissionsError: (exceptions.StoreReadOnly, "See that this user may read and write it."),
    apsw.AuthError: (exceptions.StoreReadOnly, "See that this user may read and write it."),
}
