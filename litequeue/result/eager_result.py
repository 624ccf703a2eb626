"""The result of a task that was run in place: `Task.apply()`, `task_always_eager`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from litequeue import states
from litequeue.exceptions import ChordError, TaskRevokedError
from litequeue.result.async_result import AsyncResult
from litequeue.result.joining import assert_will_not_block
from litequeue.result.result_set import ResultSet

if TYPE_CHECKING:
    from litequeue.core.records import TaskRecord
    from litequeue.result.logged import LoggedLine
    from litequeue.result.tree import ResultBase


class EagerResult(AsyncResult):
    """The result of a task that was run in place (`apply()`, `task_always_eager`).

    `parent` is that of what ran before it in its canvas, `children` are those of what ran after it.
    """

    in_file = False

    def __init__(
        self,
        id: str,
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
        parent: ResultBase | None = None,
        children: list[Any] | None = None,
    ) -> None:
        if parent is not None:
            self.parent = parent
        self.id = id
        self._returned = ret_value
        self._eager_state = state
        self._eager_traceback = traceback
        self._eager_name = name
        self._eager_children = children

    @property
    def state(self) -> str:
        """How the task ended."""
        return self._eager_state

    status = state

    @property
    def engine_state(self) -> None:
        """None: the file has no row of it."""
        return

    @property
    def result(self) -> Any:
        """What the task returned, or its exception."""
        return self._returned

    info = result

    @property
    def traceback(self) -> str | None:
        """The formatted traceback of a failed task."""
        return self._eager_traceback

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._eager_name

    @property
    def children(self) -> list[Any] | None:
        """The results of what ran after it in its canvas; None: it stood alone. What it called was run inside it."""
        return self._eager_children

    @children.setter
    def children(self, children: list[Any] | None) -> None:
        self._eager_children = children

    @property
    def logs(self) -> list[LoggedLine]:
        """Empty: of a task that is run in place nothing is kept."""
        return []

    def _field(self, name: str) -> Any:
        return None

    def _record(self) -> TaskRecord | None:
        return None

    def exists(self) -> bool:
        """True: it is here."""
        return True

    def ready(self) -> bool:
        """True: it has ended."""
        return True

    def successful(self) -> bool:
        """Whether the task ended well."""
        return self._eager_state == states.SUCCESS

    def failed(self) -> bool:
        """Whether the task failed."""
        return self._eager_state == states.FAILURE

    def get(  # type: ignore[override]  # the rest of the options only mean something to one who waits
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        **_options: Any,
    ) -> Any:
        """The result, or its exception raised (`propagate=False`: returned); of a body that did not run, that of the
        member of the header that failed."""
        if disable_sync_subtasks:
            assert_will_not_block()
        if propagate and follow_parents and isinstance(self._returned, ChordError):
            for parent in self._parents():
                if isinstance(parent, ResultSet):
                    parent.ended_as_header()
        if propagate:
            self.maybe_throw()
        if callback is not None:
            callback(self.id, self._returned)
        return self._returned if self.successful() or self._eager_state in states.PROPAGATE_STATES else None

    wait = get  # type: ignore[assignment]

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any:
        """The result at once."""
        return self.get(propagate=propagate, disable_sync_subtasks=False)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise the exception of a task that failed."""
        if propagate and self._eager_state in states.PROPAGATE_STATES:
            exc = self._returned
            raise exc if isinstance(exc, BaseException) else RuntimeError(exc)
        if callback is not None:
            callback(self.id, self._returned)
        return self._returned

    maybe_reraise = maybe_throw

    def then(
        self,
        callback: Callable[[AsyncResult], Any],
        on_error: Callable[[BaseException], Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult:
        """Call `callback(result)`, or `on_error(exception)` where that is given and the task failed, now."""
        if on_error is not None and not self.successful():
            on_error(self._returned)
        else:
            callback(self)
        return self

    def forget(self) -> None:
        """Nothing is kept."""

    def _forget_ids(self) -> list[str]:
        return []

    def revoke_by_stamped_headers(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the task has run already."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Show the result as revoked; the task has run already."""
        self._eager_state = states.REVOKED
        self._returned = TaskRevokedError("revoked")
        self._eager_traceback = None

    def _get_task_meta(self) -> dict[str, Any]:
        return {
            "task_id": self.id,
            "status": self._eager_state,
            "result": self._returned,
            "traceback": self._eager_traceback,
            "name": self._eager_name,
            "children": self._eager_children,
        }

    def _pickled(self) -> Any:
        return self

    def __reduce__(self) -> Any:
        fields = (self.id, self._returned, self._eager_state, self._eager_traceback, self._eager_name)
        return EagerResult, (*fields, self.parent, self._eager_children)

    def __copy__(self) -> EagerResult:
        return EagerResult(*self.__reduce__()[1])
