"""What came before a result: its error is raised first, and as soon as it is known."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from litequeue.core.state import FAILED, REVOKED, SUCCEEDED, TERMINAL
from litequeue.result.tree import ResultBase

if TYPE_CHECKING:
    from litequeue.core.records import TaskRecord


class Before:
    """The parents of a result, while somebody waits for it.

    A row that waits for another in the file ends with it, so a chain's own parents are not looked at, however many
    there are. Only the headers of chords are: a body fails when the last of its header's members has ended, and its
    caller is to learn of the first failure.
    """

    def __init__(self, result: ResultBase) -> None:
        from litequeue.result.result_set import ResultSet

        self._app = result.app
        parents = result._parents()
        self._groups = deque(parent for parent in parents if isinstance(parent, ResultSet))
        self._others = [parent for parent in parents if not isinstance(parent, ResultSet)]

    def check(self, record: TaskRecord | None) -> None:
        """Raise what a parent failed with; `record` is the row of the result itself."""
        if record is not None and record.state == SUCCEEDED:
            return
        if record is None or record.after is None:
            self._check_others()
        self.check_headers()

    def check_headers(self) -> None:
        """Raise what a member of the header of a chord failed with."""
        while self._groups:
            if not self._groups[0].ended_as_header():
                return  # none of those behind it has begun
            self._groups.popleft()

    def _check_others(self) -> None:
        """The file does not tie the result to its parents: ask for each of them."""
        states = self._app.store.states([str(parent.id) for parent in self._others])
        pending: list[ResultBase] = []
        for parent in self._others:
            state = states.get(str(parent.id))
            if state is None or state in (FAILED, REVOKED):
                parent.maybe_throw()
            if state not in TERMINAL:
                pending.append(parent)
        self._others = pending
