"""The results of a group, which the file knows under an id of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from litequeue.app.current import app_or_default
from litequeue.result.looking import looks
from litequeue.result.result_set import ResultSet
from litequeue.result.saved_groups import delete_group, restore_group, save_group
from litequeue.result.tree import ResultBase

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import GroupRecord
    from litequeue.result.before import Before


class GroupResult(ResultSet):
    """The results of a group: of its members, in the order of their signatures.

    `results` are results or ids of tasks; None: they are read from the file when they are needed. The group has a row
    of its own, which counts the members that have not ended, so that waiting for 100,000 tasks reads one row.
    """

    _changed: bool = False
    """Whether the members are not those that the file has for this group any more."""

    def __init__(
        self,
        id: str | None = None,
        results: Iterable[Any] | None = None,
        parent: ResultBase | None = None,
        app: LiteQueue | None = None,
        ready_barrier: Any = None,
    ) -> None:
        self.id = id
        super().__init__(() if id is None and results is None else results, app, ready_barrier, parent)

    # The group's own row

    def _row(self) -> GroupRecord | None:
        """The group's row; None where the file has none, or it does not tell of these members."""
        if self.id is None or self._changed or (self._members is not None and not self._any_in_file()):
            return None
        return self.app.store.group(self.id)

    @property
    def enqueued(self) -> bool:
        """Whether it is a group that the file has a row of, with these members."""
        return self._row() is not None

    def _any_in_file(self) -> bool:
        return any(isinstance(member, str) or member.in_file for member in self._loaded())

    @property
    def in_file(self) -> bool:  # type: ignore[override]
        """Whether its members are tasks of the file, and not run in place."""
        return self._members is None or self._any_in_file()

    def _read_members(self) -> list[Any]:
        members = self.app.store.members(str(self.id))
        group_result = self.app.GroupResult
        return [group_result(member.id) if member.is_group else member.id for member in members]

    def ready(self) -> bool:
        """Whether all have ended."""
        row = self._row()
        return super().ready() if row is None else row.remaining == 0

    def throw_first(self) -> None:
        """Raise what the first member that failed, or was revoked, ended with; nothing where none has."""
        row = self._row()
        if row is None:
            super().throw_first()
        elif row.failed_id is not None:
            self._raise_of(row.failed_id)

    def ended_as_header(self) -> bool:
        """Whether all have ended; raises what the first that failed ended with, if a body does not run then."""
        row = self._row()
        if row is None:
            return super().ended_as_header()
        if row.failed_id is not None and not row.tolerant:
            self._raise_of(row.failed_id)
        return row.remaining == 0

    def _raise_of(self, failed_id: str) -> None:
        record = self.app.store.task(failed_id)
        if record is None:
            super().throw_first()  # pruned; the members tell what they know
        else:
            self._value_of(record, propagate=True)

    def _wait(
        self,
        timeout: float | None,
        interval: float,
        on_interval: Callable[[], Any] | None,
        propagate: bool,
        before: Before | None = None,
    ) -> None:
        row = self._row()
        if row is None:
            super()._wait(timeout, interval, on_interval, propagate)
            return
        for _ in looks(self.app.store, timeout, interval, on_interval):
            row = self._row()
            if row is None:  # deleted meanwhile; its tasks may be there
                super()._wait(timeout, interval, on_interval, propagate)
                return
            if before is not None and (row.remaining or row.failed_id is not None):
                before.check_headers()
            if propagate and row.failed_id is not None:
                self._raise_of(row.failed_id)
            if row.remaining == 0:
                return
        raise self._timed_out(timeout)

    def _values(self, propagate: bool) -> Any:
        members = self._loaded()
        if len(members) == 1 and isinstance(members[0], GroupResult):
            return members[0]._values(propagate)  # as Celery: group(a | group(b, c)) gives [b, c]
        return super()._values(propagate)

    @property
    def _called(self) -> str:  # type: ignore[override]
        return f"group {self.id}"

    # Changing the members

    def add(self, result: Any) -> None:
        """Add a result, if it is not there already."""
        super().add(result)
        self._changed = True

    def remove(self, result: Any) -> None:
        """Take a result, or the task of an id, out. KeyError: it is not there."""
        super().remove(result)
        self._changed = True

    def clear(self) -> None:
        """Take all results out."""
        super().clear()
        self._changed = True

    # Acting

    def _revoke_ids(self) -> list[str]:
        return super()._revoke_ids() if self.id is None or self._row() is None else [self.id]

    def save(self, backend: Any = None) -> None:
        """Make sure that `restore` finds this group. It does without, where the group was enqueued: it is kept as
        long as its tasks. A group that was put together by hand is written into the file."""
        save_group(self)

    def delete(self, backend: Any = None) -> None:
        """Delete what `save` wrote; a group that was enqueued goes with its tasks."""
        delete_group(self)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: LiteQueue | None = None) -> GroupResult | None:
        """The group of that id as the file has it; None when it has none."""
        return restore_group(app_or_default(app or cls.app or getattr(backend, "app", None)), id)

    # As a value

    def _pickled(self) -> Any:
        members = [
            member if isinstance(member, (str, GroupResult)) or not member.in_file else member.as_tuple()
            for member in self._loaded()
        ]
        return self.id, members

    __reduce__ = ResultBase.__reduce__

    def __bool__(self) -> bool:
        return bool(self.id or self._loaded())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            same = self.id == other.id and self.parent == other.parent
            return same and self._loaded() == other._loaded()
        if isinstance(other, str):
            return self.id == other
        return NotImplemented

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(map(str, self._loaded()))}]>"

    def __copy__(self) -> GroupResult:
        members = None if self._members is None else list(self._members)
        return type(self)(self.id, members, self.parent, self.app)
