"""The part of `app.control` that is about dead letters: tasks that failed, or were revoked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from litequeue import states
from litequeue.core import clock
from litequeue.core.records import ERROR, UPSTREAM
from litequeue.core.routing import queue_name
from litequeue.core.state import FAILED, REVOKED, celery_state
from litequeue.core.steering import DeadFilter
from litequeue.result.async_result import AsyncResult

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord
    from litequeue.core.steering import Revived
    from litequeue.result.reading import Attempt

_LINE: Final = 200  # characters of an error in one line
_STATES: Final = {FAILED: FAILED, REVOKED: REVOKED, states.FAILURE: FAILED, states.REVOKED: REVOKED}
_NO_ERROR: Final = ("", "its error was not kept")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that failed, or was revoked."""

    id: str
    name: str
    queue: str
    state: str
    """`FAILURE` or `REVOKED`."""
    error_type: str
    """The class of its exception, without the module; empty where its error was not kept."""
    error: str
    """Its exception in one line."""
    traceback: str | None
    worker: str | None
    """The node that ran it last."""
    retries: int
    attempts: int
    """How many times it was started."""
    deaths: int
    """How many processes died while they ran it."""
    enqueued_at: datetime
    date_done: datetime | None
    result: AsyncResult = field(compare=False, repr=False)

    @property
    def args(self) -> Any:
        """Its arguments, as they were given."""
        return self.result.args

    @property
    def kwargs(self) -> Any:
        """Its keyword arguments, as they were given."""
        return self.result.kwargs

    @property
    def history(self) -> list[Attempt]:
        """Its attempts, oldest first, each with its exception and traceback."""
        return self.result.history

    def as_dict(self) -> dict[str, Any]:
        """What JSON can say of it."""
        return {
            "id": self.id,
            "name": self.name,
            "queue": self.queue,
            "state": self.state,
            "error_type": self.error_type,
            "error": self.error,
            "worker": self.worker,
            "retries": self.retries,
            "attempts": self.attempts,
            "deaths": self.deaths,
            "enqueued_at": self.enqueued_at.isoformat(),
            "date_done": None if self.date_done is None else self.date_done.isoformat(),
        }


_CRITERIA: Final = frozenset({"name", "queue", "since", "before", "error", "states", "limit"})


class DeadLetters:
    """What ended badly: listed, run again, deleted. Needs no worker; kept in the file.

    All three take the same description of what is meant. `ids`: one or several tasks, by id or as results (a group's
    means its members); without ids all, as far as the others say: `name` and `queue`, one or several; `since` and
    `before`, when they ended: a datetime (naive: in the app's time zone), Unix seconds, or a timedelta for so long ago;
    `error`, the class of the exception, or its name, with its module or without; `states`: `"FAILURE"` (the default
    where no ids are given), `"REVOKED"`, or both; `limit`: the newest so many. ValueError, TypeError: one of these
    cannot be.
    """

    app: LiteQueue

    def dead(self, ids: Any = None, **which: Any) -> list[DeadLetter]:
        """The tasks that ended badly, the newest call first.

        A task that did not run because another failed is not one of them, unless its id is given.
        """
        return [self._letter(record) for record in self.app.store.dead(self._filter(ids, **which))]

    def retry(self, ids: Any = None, *, all: bool = False, **which: Any) -> Revived:
        """Run them again, with the arguments that they had, and no retries and deaths counted; their history stays.

        What did not run because of them waits for them again: next steps, callbacks, bodies of chords. Returns
        `Revived(ready, refused)`: the ids of those that run again, and why each of the others cannot. ValueError:
        nothing says which, and `all` is not set.
        """
        return self.app.store.retry(self._which("retry", ids, all, which))

    def discard(self, ids: Any = None, *, all: bool = False, **which: Any) -> int:
        """Delete them, with their history; how many. What did not run because of them stays as it ended.

        One whose error is still to be given to a task is deleted when that has ended. ValueError: as in `retry`.
        """
        return self.app.store.discard(self._which("discard", ids, all, which))

    def _which(self, verb: str, ids: Any, everything: bool, which: dict[str, Any]) -> DeadFilter:
        if ids is None and not everything and all(which.get(name) is None for name in which if name != "states"):
            raise ValueError(
                f"{verb}() needs ids, or something else that says which; {verb}(all=True) means all of them"
            )
        return self._filter(ids, **which)

    def _filter(self, ids: Any, **which: Any) -> DeadFilter:
        unknown = which.keys() - _CRITERIA
        if unknown:
            raise TypeError(
                f"dead letters are not chosen by {min(unknown)!r}; there are {', '.join(sorted(_CRITERIA))}"
            )
        return self._chosen(ids, **which)

    def _chosen(
        self,
        ids: Any,
        *,
        name: Any = None,
        queue: Any = None,
        since: datetime | timedelta | float | None = None,
        before: datetime | timedelta | float | None = None,
        error: str | type[BaseException] | None = None,
        states: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> DeadFilter:
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit!r}: give 1 or more, or None for all")
        if states is None:
            chosen: tuple[str, ...] = (FAILED,) if ids is None else (FAILED, REVOKED)
        else:
            chosen = tuple(dict.fromkeys(map(_state, [states] if isinstance(states, str) else states)))
        return DeadFilter(
            ids=None if ids is None else tuple(dict.fromkeys(map(_id, _listed(ids)))),
            names=None if name is None else tuple(str(getattr(each, "name", each)) for each in _listed(name)),
            queues=None if queue is None else tuple(queue_name(each) for each in _listed(queue)),
            states=chosen,
            since=self._instant("since", since),
            before=self._instant("before", before),
            error=error if error is None or isinstance(error, str) else f"{error.__module__}.{error.__qualname__}",
            limit=limit,
        )

    def _instant(self, option: str, value: Any) -> float | None:
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        if isinstance(value, timedelta):
            return clock.now() - value.total_seconds()
        if isinstance(value, datetime):
            return (value if value.tzinfo is not None else value.replace(tzinfo=self.app.timezone)).timestamp()
        raise TypeError(f"{option}={value!r}: give a datetime, Unix seconds, or a timedelta for so long ago")

    def _letter(self, record: TaskRecord) -> DeadLetter:
        kind, error = error_of(record.result_serializer, record.result)
        return DeadLetter(
            id=record.id,
            name=record.name,
            queue=record.queue,
            state=celery_state(record.state),
            error_type=kind,
            error=error,
            traceback=record.traceback,
            worker=record.worker,
            retries=record.retries,
            attempts=record.attempt,
            deaths=record.deaths,
            enqueued_at=clock.to_datetime(record.enqueued_at),
            date_done=None if record.finished_at is None else clock.to_datetime(record.finished_at),
            result=self.app.AsyncResult(record.id),
        )


def error_of(serializer: str | None, record: Any) -> tuple[str, str]:
    """The class of the exception that a row keeps, and the exception in one line. Its class need not be here."""
    text = record.decode(errors="replace") if isinstance(record, bytes) else record
    if serializer == UPSTREAM:
        return "", f"it did not run, because of {text}"
    if serializer != ERROR or not isinstance(text, str):
        return _NO_ERROR
    try:
        tree = json.loads(text)
        kind, message = str(tree["type"]), " ".join(str(tree.get("text", "")).split())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "", "its error cannot be read"
    line = f"{kind}: {message}" if message else kind
    return kind, line if len(line) <= _LINE else line[: _LINE - 3] + "..."


def _listed(given: Any) -> Iterable[Any]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return (given,)
    return given


def _id(given: Any) -> str:
    task_id = getattr(given, "id", given)
    if not isinstance(task_id, str) or hasattr(given, "results"):
        raise TypeError(f"{given!r} is no task: give ids, or the results of single tasks")
    return task_id


def _state(given: str) -> str:
    if given not in _STATES:
        raise ValueError(f"states={given!r}: a dead letter is {states.FAILURE} or {states.REVOKED}")
    return _STATES[given]
