"""Which tasks are meant, as people say it: states of Celery and of the engine, names, queues, times, text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from litequeue import states as celery
from litequeue.core import clock, state
from litequeue.core.viewing import TaskFilter
from litequeue.result.progress import PROGRESS

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.inspect.views import TaskView

_UNSTARTED: Final = (state.WAITING, state.SCHEDULED, state.READY)
CELERY: Final[dict[str, tuple[str, ...]]] = {
    celery.PENDING: _UNSTARTED,
    celery.RETRY: _UNSTARTED,
    celery.STARTED: (state.RUNNING,),
    celery.SUCCESS: (state.SUCCEEDED,),
    celery.FAILURE: (state.FAILED,),
    celery.REVOKED: (state.REVOKED,),
    celery.IGNORED: (state.IGNORED,),
}
"""Celery's states, with the engine's that they may be."""
STATES: Final = (*CELERY, PROGRESS, *state.ALL)
"""The states that a filter takes, beside others that `update_state` has set."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_GLOB: Final = re.compile(r"[*?\[]")
_CUSTOM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks are meant: what the file looks for, and what is left to look at in each that it finds."""

    tasks: TaskFilter = field(default_factory=TaskFilter)
    shown: frozenset[str] | None = None
    """The states, as they are shown, of which a task must have one; those of the engine among them."""

    def accepts(self, view: TaskView) -> bool:
        """Whether a task that the file found is meant."""
        return self.shown is None or view.state in self.shown or view.engine_state in self.shown

    @property
    def is_empty(self) -> bool:
        """Whether it means every task."""
        return self.shown is None and self.tasks == TaskFilter()


def make_filter(
    *,
    states: Iterable[str] = (),
    names: Iterable[str] = (),
    queues: Iterable[str] = (),
    worker: str | None = None,
    root_id: str | None = None,
    since: float | datetime | timedelta | str | None = None,
    before: float | datetime | timedelta | str | None = None,
    text: str | None = None,
    zone: tzinfo | None = None,
) -> Filter:
    """The filter that means tasks of one of `states`, one of `names` and one of `queues`, and so on; empty: any.

    `states` are Celery's (in any case), the engine's, or such as `update_state` sets. Names and queues may hold `*`,
    `?` and `[...]`. `since` and `before` are about when a task was enqueued: Unix seconds, a datetime (naive: in
    `zone`), a timedelta for so long ago, or a text, `2h` or `2030-01-31 09:00`. ValueError: one of these cannot be.
    """
    wanted = [_state(name) for name in states]
    engine, custom, retried = _what_to_read(wanted)
    start, end = moment("since", since, zone), moment("before", before, zone)
    if start is not None and end is not None and start >= end:
        raise ValueError("since is not before `before`: no task can be meant")
    return Filter(
        TaskFilter(
            states=engine,
            custom_states=custom,
            retried=retried,
            names=tuple(names) or None,
            queues=tuple(queues) or None,
            worker=worker,
            root_id=root_id,
            since=start,
            before=end,
            text=text or None,
        ),
        frozenset(wanted) if wanted else None,
    )


def _what_to_read(wanted: Sequence[str]) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, bool | None]:
    """(engine states, custom states, retried) that find at least what is wanted."""
    if not wanted:
        return None, None, None
    engine = dict.fromkeys(each for name in wanted for each in CELERY.get(name, (name,)) if each in state.ALL)
    custom = tuple(name for name in wanted if name not in CELERY and name not in state.ALL)
    retried = {celery.RETRY: True, celery.PENDING: False}.get(wanted[0]) if len(set(wanted)) == 1 else None
    return tuple(engine) or None, custom or None, retried


def _state(name: str) -> str:
    """The state that `name` says. ValueError: there is none, and it looks like a slip."""
    if name.lower() in state.ALL and (name.lower() == name or name.upper() not in CELERY):
        return name.lower()
    if name.upper() in STATES:
        return name.upper()
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in STATES], n=1, cutoff=0.75)
    if near or not _CUSTOM.fullmatch(name):
        hint = f"did you mean {near[0].upper() if near[0].upper() in STATES else near[0]}?" if near else ""
        hint = hint or f"there are {', '.join(STATES)}, and those that tasks set"
        raise ValueError(f"there is no state {name!r}; {hint}")
    return name


def unknown_words(app: LiteQueue, which: Filter) -> Iterator[str]:
    """A sentence for each word of a filter that neither the app nor its file knows: it may be a slip.

    What may be anything (`*`), and names of tasks, which need not be known anywhere, are left out.
    """
    from litequeue.exceptions import QueueNotFound
    from litequeue.pausing import check_queues

    for name in which.tasks.custom_states or ():
        if name not in STATES:
            yield f"no task shows the state {name!r}; there are {', '.join(STATES)}, and others that tasks set"
    for name in which.tasks.queues or ():
        try:
            check_queues(app, [] if _GLOB.search(name) else [name])
        except QueueNotFound as error:
            yield str(error)
    node, root = which.tasks.worker, which.tasks.root_id
    nodes = sorted({record.worker for record in app.store.processes() if record.role == "worker"})
    if node is not None and node not in nodes:
        yield f"no worker {node!r} is registered; there are: {', '.join(nodes) or 'none'}"
    if root is not None and app.store.task(root) is None:
        yield f"{app.store.path} has no task {root}"


def moment(what: str, value: float | datetime | timedelta | str | None, zone: tzinfo | None = None) -> float | None:
    """Unix seconds of a time that is given in one of many ways. ValueError names `what`."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    if isinstance(value, timedelta):
        return clock.now() - value.total_seconds()
    if isinstance(value, str):
        value = _read(what, value.strip())
        if isinstance(value, float):
            return value
    if not isinstance(value, datetime):
        raise ValueError(f"{what}={value!r}: give a time, or a span for so long ago")
    return (value if value.tzinfo is not None else value.replace(tzinfo=zone)).timestamp()


def _read(what: str, text: str) -> datetime | float:
    span = _SPAN.fullmatch(text)
    if span is not None:
        return clock.now() - float(span[1]) * _UNITS[span[2].lower()]
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{what}: {text!r} is no time; write '2030-01-31 09:00', or 30m, 2h, 1d for so long ago"
        ) from None
