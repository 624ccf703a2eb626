"""The list of tasks as it grows: found step by step, so that a rare one among millions holds nobody up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from litequeue.core import clock
from litequeue.inspect.filters import Filter
from litequeue.inspect.reading import task_view

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord
    from litequeue.inspect.views import TaskView

TOP: Final = 100
"""How many of the newest tasks a refresh finds anew; what is older is looked up by id."""


class Listing(NamedTuple):
    """Tasks that a filter finds, the newest first."""

    which: Filter
    tasks: Sequence[TaskView]
    complete: bool
    """Whether that is all there is."""
    searching: bool
    """Whether more are being looked for."""


class Search:
    """Finds the newest tasks of a filter, and keeps them up to date."""

    def __init__(self, app: LiteQueue) -> None:
        self._app = app
        self._which: Filter | None = None
        self._limit = 0
        self._found: list[tuple[int, TaskView]] = []
        """(seq, task), the newest first."""
        self._before: int | None = None
        """Where the search goes on."""
        self._begun = False
        self.pause = 0.0
        """Seconds to wait before the next step, so that a search takes half of a core at most."""

    def asks(self, which: Filter, limit: int) -> bool:
        """Look for up to `limit` tasks of `which`; whether that is more than was looked for before."""
        if which != self._which:
            self._which, self._limit, self._found, self._before, self._begun = which, limit, [], None, False
            return True
        if limit > self._limit:
            self._limit = limit
            return self.goes_on
        return False

    @property
    def goes_on(self) -> bool:
        """Whether a further step would find more."""
        if self._which is None:
            return False
        return not self._begun or (self._before is not None and len(self._found) < self._limit)

    def step(self) -> Listing:
        """Look at some more rows, those that are older than all that were looked at."""
        if self.goes_on:
            began = clock.monotonic()
            found, self._before = self._find(self._limit - len(self._found), self._before)
            self._found += found
            self._begun = True
            self.pause = clock.monotonic() - began
        return self._listing()

    def refresh(self) -> Listing:
        """Find the newest again; older ones are read again by id, and left out if their state is another."""
        found, before = self._find(min(self._limit, TOP), None)
        if before is None:
            self._before = None
        else:
            there = {task.id for _, task in found}
            found += self._again([task.id for _, task in self._found if task.id not in there], before)
        if len(found) > self._limit:
            del found[self._limit :]
            self._before = found[-1][0]
        self._found = found
        return self._listing()

    def _find(self, limit: int, before: int | None) -> tuple[list[tuple[int, TaskView]], int | None]:
        assert self._which is not None
        part = self._app.store.find(self._which.tasks, limit, before)
        return self._views(part.tasks), part.before

    def _again(self, ids: Sequence[str], before: int) -> list[tuple[int, TaskView]]:
        records = [record for record in self._app.store.tasks(ids) if record.seq < before]
        return self._views(sorted(records, key=lambda record: -record.seq))

    def _views(self, records: Sequence[TaskRecord]) -> list[tuple[int, TaskView]]:
        assert self._which is not None
        views = ((record.seq, task_view(self._app, record)) for record in records)
        return [(seq, view) for seq, view in views if self._which.accepts(view)]

    def _listing(self) -> Listing:
        assert self._which is not None
        complete = self._begun and self._before is None
        return Listing(self._which, tuple(task for _, task in self._found), complete, self.goes_on)
