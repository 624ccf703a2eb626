"""Everything that is known of one task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from litequeue.core import clock
from litequeue.core.records import ERROR, UPSTREAM
from litequeue.core.state import FAILED, REVOKED, RUNNING, SUCCEEDED
from litequeue.core.ties import read_errbacks
from litequeue.inspect.reading import cause_of, task_view
from litequeue.inspect.snapshot import standing
from litequeue.inspect.views import TaskView, View

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.canvas.graph import Graph
    from litequeue.core.records import AttemptRecord, TaskRecord

CANVAS: Final = 200
"""Tasks of a canvas that a page shows: those nearest."""
_RAW: Final = ("args", "kwargs", "result", "meta", "headers", "options", "stamps")
"""Keys of `TaskPage` whose values are the caller's, and are given as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView(View):
    """An attempt that did not succeed."""

    attempt: int
    outcome: str
    """`failed`, `retry`, `requeued`, `lost`, `revoked`."""
    error: str
    """In one line."""
    traceback: str | None
    worker: str | None
    started_at: float | None
    finished_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LogView(View):
    """A line that the task logged."""

    attempt: int
    at: float
    level: str
    logger: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CanvasNode(View):
    """A task or a group of the canvas around a task."""

    id: str
    kind: str
    """`task` or `group`."""
    name: str
    state: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CanvasEdge(View):
    """One node comes after another."""

    source: str
    target: str
    kind: str
    """`then`, `link`, `body`, `error` or `member`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CanvasView(View):
    """The canvas around a task."""

    nodes: tuple[CanvasNode, ...]
    edges: tuple[CanvasEdge, ...]
    complete: bool
    """False: there is more than is shown."""
    drawing: str
    """For a terminal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPage(View):
    """Everything that is known of a task."""

    task: TaskView
    args: Any
    """Its arguments as they were given; None: they cannot be read here, and `unreadable` says why."""
    kwargs: Any
    unreadable: str | None
    """Why arguments, or the result, cannot be read here."""
    result: Any
    """Its value, where it succeeded and one was kept."""
    has_result: bool
    """Whether it succeeded and its value was kept."""
    meta: Any
    """What it has said by `update_state`, where it shows a state of its own."""
    error: str | None
    """How it failed, in one line."""
    traceback: str | None
    caused_by: str | None
    """The id of the task because of whose failure it did not run."""
    attempts: tuple[AttemptView, ...]
    """Those that did not succeed, oldest first."""
    logs: tuple[LogView, ...]
    """The newest lines that it logged, where they are kept."""
    attempt: int
    """How many times it was started."""
    deaths: int
    """How many processes died while they ran it."""
    waited: float | None
    """Seconds from when it could start to its last start, as far as the row says."""
    prune_at: float | None
    """When it is deleted; None: never, or not before it has ended."""
    holder: int | None
    """The number of the process that runs it."""
    liveness: str | None
    """Whether that process is `alive`, `hung` or `dead`, or an `orphan`, whose worker is gone."""
    cancelled: bool
    """Whether it was told to stop while it runs."""
    origin: str | None
    """Who enqueued it."""
    serializer: str
    compression: str | None
    size: int
    """Bytes of its arguments, as they are stored."""
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool
    headers: Any
    options: Any
    """What else it was called with."""
    stamps: Any
    errbacks: tuple[str, ...]
    """The names of its error callbacks."""
    after: str | None
    """The task or group that it waits for, or waited for."""
    edge: str | None
    """How it hangs on that: `then`, `link`, `body`, `error`, `queue`."""
    group_index: int | None
    concurrency_key: str | None
    concurrency_limit: int | None
    unique_key: str | None
    children: tuple[TaskView, ...]
    """The tasks that it called."""
    canvas: CanvasView | None
    """None: it stands alone."""

    def as_dict(self) -> dict[str, Any]:
        """The page in JSON's own types; what is the caller's stays as it is."""
        return {**View.as_dict(self), **{name: getattr(self, name) for name in _RAW}}


def page(app: LiteQueue, task_id: str) -> TaskPage | None:
    """Everything that the file knows of a task; None: it does not have it."""
    store = app.store
    record = store.task(task_id)
    if record is None:
        return None
    args, kwargs, unreadable = _call(app, record)
    result, meta, problem = _value(app, record)
    caused_by = cause_of(store, record)
    return TaskPage(
        task=task_view(app, record),
        args=args,
        kwargs=kwargs,
        unreadable=unreadable or problem,
        result=result,
        has_result=record.state == SUCCEEDED and record.result is not None and problem is None,
        meta=meta,
        error=_error(record),
        traceback=record.traceback if record.state in (FAILED, REVOKED) else None,
        caused_by=caused_by,
        attempts=tuple(_attempt(each) for each in store.attempts(task_id)),
        logs=_logs(app, task_id),
        attempt=record.attempt,
        deaths=record.deaths,
        waited=waited(record),
        prune_at=record.prune_at,
        holder=record.holder if record.state == RUNNING else None,
        liveness=_liveness(app, record),
        cancelled=record.state == RUNNING and record.cancel is not None,
        **_written(record),
        children=_children(app, task_id),
        canvas=_canvas(app, record),
    )


def _written(record: TaskRecord) -> dict[str, Any]:
    """The fields of a page that stand in the row as they are shown."""
    return {
        "origin": record.origin,
        "serializer": record.serializer,
        "compression": record.compression,
        "size": len(record.payload if isinstance(record.payload, bytes) else str(record.payload).encode()),
        "time_limit": record.time_limit,
        "soft_time_limit": record.soft_time_limit,
        "ignore_result": bool(record.ignore_result),
        "headers": _json(record.headers),
        "options": _json(record.options),
        "stamps": _json(record.stamps),
        "errbacks": _errbacks(record),
        "after": record.after,
        "edge": record.edge,
        "group_index": record.group_index,
        "concurrency_key": record.concurrency_key,
        "concurrency_limit": record.concurrency_limit,
        "unique_key": record.unique_key,
    }


def waited(record: TaskRecord) -> float | None:
    """Seconds from when the task could start to its start; None: it did not, or the row does not say since when."""
    since = max(record.enqueued_at, record.run_at or 0.0)
    if record.started_at is None or record.after is not None or since > record.started_at:
        return None
    return record.started_at - since


def _call(app: LiteQueue, record: TaskRecord) -> tuple[Any, Any, str | None]:
    try:
        args, kwargs = app.codec.decode_call(record.payload, record.serializer, record.compression)
    except Exception as error:
        return None, None, f"its arguments cannot be read here: {type(error).__name__}: {error}"
    return args, kwargs, None


def _value(app: LiteQueue, record: TaskRecord) -> tuple[Any, Any, str | None]:
    """(result, meta of a state of its own, why it cannot be read)."""
    kept = record.result is not None and record.result_serializer not in (ERROR, UPSTREAM)
    if not kept or record.result is None or (record.state != SUCCEEDED and record.custom_state is None):
        return None, None, None
    try:
        value = app.result_codec.decode(record.result, record.result_serializer or "json", record.result_compression)
    except Exception as error:
        return None, None, f"its result cannot be read here: {type(error).__name__}: {error}"
    return (value, None, None) if record.state == SUCCEEDED else (None, value, None)


def _error(record: TaskRecord) -> str | None:
    from litequeue.dead_letters import error_of

    if record.state not in (FAILED, REVOKED):
        return None
    return error_of(record.result_serializer, record.result)[1]


def _attempt(record: AttemptRecord) -> AttemptView:
    from litequeue.dead_letters import error_of

    return AttemptView(
        attempt=record.attempt,
        outcome=record.outcome,
        error=error_of(ERROR, record.error)[1],
        traceback=record.traceback,
        worker=record.worker,
        started_at=record.started_at,
        finished_at=record.finished_at,
    )


def _logs(app: LiteQueue, task_id: str) -> tuple[LogView, ...]:
    import logging

    return tuple(
        LogView(
            attempt=line.attempt,
            at=line.at,
            level=logging.getLevelName(line.level),
            logger=line.logger,
            message=line.message,
        )
        for line in app.store.logs(task_id)
    )


def _liveness(app: LiteQueue, record: TaskRecord) -> str | None:
    if record.state != RUNNING:
        return None
    processes = app.store.processes()
    for process in processes:
        if process.id == record.holder:
            return standing(process, processes, app.conf.worker_lease, clock.now())
    return "dead"


def _json(text: str | None) -> Any:
    """What is kept as JSON; its text, where somebody has written something else there."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(stored: Any) -> str | None:
    return stored.decode(errors="replace") if isinstance(stored, bytes) else stored


def _errbacks(record: TaskRecord) -> tuple[str, ...]:
    try:
        return tuple(errback.name for errback in read_errbacks(record.errbacks)) if record.errbacks else ()
    except (ValueError, TypeError, KeyError):
        return ()


def _children(app: LiteQueue, task_id: str) -> tuple[TaskView, ...]:
    """The tasks that it called; of a group, its members, and of a canvas around it the rest is in the drawing."""
    ids: list[str] = []
    for member in app.store.children(task_id)[:CANVAS]:
        ids += (
            [each.id for each in app.store.members(member.id) if not each.is_group] if member.is_group else [member.id]
        )
    views = {record.id: task_view(app, record) for record in app.store.tasks(ids[:CANVAS])}
    return tuple(views[each] for each in dict.fromkeys(ids) if each in views)


def _canvas(app: LiteQueue, record: TaskRecord) -> CanvasView | None:
    """What hangs on the task; where a group of Celery's kind is all there is, that too."""
    drawn: Graph = app.graph(record.id, limit=CANVAS)
    if len(drawn.nodes) < 2:
        return None
    return CanvasView(
        nodes=tuple(CanvasNode(id=node.id, kind=node.kind, name=node.name, state=node.state) for node in drawn.nodes),
        edges=tuple(CanvasEdge(source=edge.source, target=edge.target, kind=edge.kind) for edge in drawn.edges),
        complete=drawn.complete,
        drawing=drawn.to_text(),
    )


PREFIX: Final = 8
"""Characters of an id that are enough, where no other id begins with them."""


def find_id(app: LiteQueue, given: str, unknown: str | None = None) -> str:
    """The id of the one task that `given` is the id of, or the beginning of at least 8 characters.

    LookupError: there is none (`unknown` is returned instead, where it is given), or there are several.
    """
    store = app.store
    if store.task(given) is not None:
        return given
    ids = store.ids(given, _AMBIGUOUS) if len(given) >= PREFIX else []
    if len(ids) > 1:
        shown = ", ".join(ids[: _AMBIGUOUS - 1]) + (", …" if len(ids) == _AMBIGUOUS else "")
        raise LookupError(f"{given} is the beginning of several ids: {shown}; give more of it")
    if ids:
        return ids[0]
    if unknown is not None:
        return unknown
    group = store.group(given)
    if group is not None:
        raise LookupError(f"{given} is a group of {group.size}: give the id of a task")
    hint = "" if len(given) >= PREFIX else f"; of an id, give at least {PREFIX} characters"
    raise LookupError(f"{store.path} has no task {given}{hint}")


_AMBIGUOUS: Final = 6
