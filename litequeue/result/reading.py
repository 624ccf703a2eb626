"""What a task's row says, in the terms of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from litequeue import states
from litequeue.core import clock
from litequeue.core.records import ERROR, UPSTREAM
from litequeue.core.state import IGNORED, REVOKED, RUNNING, SCHEDULED, TERMINAL, WAITING, celery_state
from litequeue.exceptions import TaskError, TaskRevokedError

if TYPE_CHECKING:
    from datetime import datetime

    from litequeue.app.base import LiteQueue
    from litequeue.core.records import AttemptRecord, TaskRecord

_HOPS = 100
"""How far a time-out looks for what a waiting task waits for in the end."""


def state_of(record: TaskRecord | None) -> str:
    """The state as Celery names it; PENDING for a task that the file does not have."""
    if record is None:
        return states.PENDING
    if record.state == IGNORED and record.custom_state is not None:
        return record.custom_state  # what the task set before it raised Ignore
    return celery_state(record.state, record.retries, record.custom_state)


def value_of(app: LiteQueue, record: TaskRecord) -> Any:
    """The result: a value, an exception, the meta of a custom state, or which process runs the task, as in Celery."""
    if record.state == RUNNING and record.custom_state is None:
        return {"pid": record.pid, "hostname": record.worker}
    if record.result is None:
        return TaskRevokedError("revoked") if record.state == REVOKED else None
    if record.result_serializer == UPSTREAM:
        return ending_of(app, record)[0]
    if record.result_serializer == ERROR:
        from litequeue.core.failure import decode_exception

        return decode_exception(record.result)
    return app.result_codec.decode(record.result, record.result_serializer or "json", record.result_compression)


def ending_of(app: LiteQueue, record: TaskRecord) -> tuple[Any, str | None]:
    """(result, traceback) of a task; of one that ended because another failed, that other's."""
    if record.result_serializer != UPSTREAM or record.result is None:
        return value_of(app, record), record.traceback
    cause_id = record.result.decode() if isinstance(record.result, bytes) else record.result
    cause = app.store.task(cause_id)
    if cause is None or cause.result_serializer == UPSTREAM:
        gone = f"task {record.id} did not run, because task {cause_id} before it failed; its error is not in the file"
        return TaskError(gone), None
    return value_of(app, cause), cause.traceback


def call_of(app: LiteQueue, record: TaskRecord) -> tuple[list[Any], dict[str, Any]]:
    """The arguments the task was called with."""
    return app.codec.decode_call(record.payload, record.serializer, record.compression)


def has_no_result(record: TaskRecord) -> bool:
    """Whether nothing is kept for a caller to wait for (an error may be, with `store_errors_even_if_ignored`)."""
    return record.ignore_result and (record.state not in TERMINAL or record.result_serializer != ERROR)


def standing_of(app: LiteQueue, record: TaskRecord) -> str:
    """Where a task stands that has not ended, as half a sentence."""
    if record.state == WAITING and record.after is not None:
        return f"it is {state_of(record)}: it waits for {_awaited(app, record.after)}"
    if record.state == RUNNING:
        return f"it is {state_of(record)} on {record.worker} and goes on"
    if record.state == SCHEDULED and record.run_at is not None:
        return f"it is {state_of(record)}, due at {clock.to_datetime(record.run_at).isoformat(timespec='seconds')}"
    if record.aside:
        return f"it is {state_of(record)}: the workers that met it do not know the task {record.name!r}"
    return f"it is {state_of(record)}: no worker has started it yet"


def _awaited(app: LiteQueue, node_id: str) -> str:
    """What a waiting row waits for in the end: the first node before it that does not wait itself."""
    node = app.store.task(node_id)
    for _ in range(_HOPS):
        if node is None or node.state != WAITING or node.after is None:
            break
        node_id, node = node.after, app.store.task(node.after)
    if node is not None:
        where = f" on {node.worker}" if node.state == RUNNING else ""
        return f"task {node.id} ({node.name}), which is {state_of(node)}{where}"
    group = app.store.group(node_id)
    if group is not None:
        return f"group {group.id}, of which {group.remaining} of {group.size} have not ended"
    return f"{node_id}, which the file does not have"


class Attempt(NamedTuple):
    """One attempt of a task that did not succeed."""

    attempt: int
    outcome: str
    """`failed`, `retry`, `requeued`, `lost` when its process died, or `revoked`, of a task that was retried after."""
    exception: BaseException
    traceback: str | None
    worker: str | None
    started_at: datetime | None
    finished_at: datetime


def attempt_of(record: AttemptRecord) -> Attempt:
    """The attempt as people read it."""
    from litequeue.core.failure import decode_exception

    return Attempt(
        record.attempt,
        record.outcome,
        decode_exception(record.error),
        record.traceback,
        record.worker,
        None if record.started_at is None else clock.to_datetime(record.started_at),
        clock.to_datetime(record.finished_at),
    )


def meta_of(app: LiteQueue, task_id: str, record: TaskRecord | None) -> dict[str, Any]:
    """Everything that a row says, in the shape of Celery's result backends."""
    if record is None:
        return {"task_id": task_id, "status": states.PENDING, "result": None, "traceback": None}
    args, kwargs = call_of(app, record)
    value, traceback = ending_of(app, record)
    finished = record.finished_at
    return {
        "task_id": task_id,
        "status": state_of(record),
        "result": value,
        "traceback": traceback,
        "name": record.name,
        "args": args,
        "kwargs": kwargs,
        "worker": record.worker,
        "retries": record.retries,
        "queue": record.queue,
        "date_done": None if finished is None else clock.to_datetime(finished).isoformat(),
        "group_id": record.group_id,
        "parent_id": record.parent_id,
        "root_id": record.root_id or record.id,
    }


def with_traceback(exc: Any, traceback: str | None) -> BaseException:
    """The exception with the worker's traceback as a note, once, ready to be raised here."""
    if not isinstance(exc, BaseException):
        return RuntimeError(exc)
    exc.__traceback__ = None
    note = f"Traceback in the worker:\n{traceback.rstrip()}" if traceback else None
    if note is not None and note not in getattr(exc, "__notes__", ()):
        exc.add_note(note)
    return exc
