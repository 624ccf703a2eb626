"""What a task's row says, in the terms of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from litequeue import states
from litequeue.core import clock
from litequeue.core.records import ERROR
from litequeue.core.state import IGNORED, REVOKED, RUNNING, SCHEDULED, TERMINAL, celery_state
from litequeue.exceptions import TaskRevokedError

if TYPE_CHECKING:
    from datetime import datetime

    from litequeue.app.base import LiteQueue
    from litequeue.core.records import AttemptRecord, TaskRecord


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
    if record.result_serializer == ERROR:
        from litequeue.core.failure import decode_exception

        return decode_exception(record.result)
    return app.result_codec.decode(record.result, record.result_serializer or "json", record.result_compression)


def call_of(app: LiteQueue, record: TaskRecord) -> tuple[list[Any], dict[str, Any]]:
    """The arguments the task was called with."""
    return app.codec.decode_call(record.payload, record.serializer, record.compression)


def has_no_result(record: TaskRecord) -> bool:
    """Whether nothing is kept for a caller to wait for (an error may be, with `store_errors_even_if_ignored`)."""
    return record.ignore_result and (record.state not in TERMINAL or record.result_serializer != ERROR)


def standing_of(record: TaskRecord) -> str:
    """Where a task stands that has not ended, as half a sentence."""
    if record.state == RUNNING:
        return f"it is {state_of(record)} on {record.worker} and goes on"
    if record.state == SCHEDULED and record.run_at is not None:
        return f"it is {state_of(record)}, due at {clock.to_datetime(record.run_at).isoformat(timespec='seconds')}"
    if record.aside:
        return f"it is {state_of(record)}: the workers that met it do not know the task {record.name!r}"
    return f"it is {state_of(record)}: no worker has started it yet"


class Attempt(NamedTuple):
    """One attempt of a task that did not succeed."""

    attempt: int
    outcome: str
    """`failed`, `retry`, `requeued`, or `lost` when its process died."""
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
    """Everything at once, in the shape of Celery's result backends."""
    if record is None:
        return {"task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": []}
    args, kwargs = call_of(app, record)
    finished = record.finished_at
    return {
        "task_id": task_id,
        "status": state_of(record),
        "result": value_of(app, record),
        "traceback": record.traceback,
        "children": [app.AsyncResult(child) for child in app.store.children(task_id)],
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
