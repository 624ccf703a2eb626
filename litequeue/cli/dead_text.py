"""A task with its history as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from litequeue.cli.schedule_text import columns, moment
from litequeue.core import clock
from litequeue.core.records import ERROR
from litequeue.core.state import TERMINAL
from litequeue.dead_letters import error_of
from litequeue.result.reading import state_of

if TYPE_CHECKING:
    from litequeue.core.records import AttemptRecord, TaskRecord


def as_dict(app: Any, record: TaskRecord, attempts: Sequence[AttemptRecord]) -> dict[str, Any]:
    """Everything about a task, as JSON says it."""
    ended = record.state in TERMINAL
    return {
        **dict(_fields(app, record)),
        "error": error_of(record.result_serializer, record.result)[1] if _has_error(record) else None,
        "traceback": record.traceback if ended else None,
        "history": [
            {
                "attempt": each.attempt,
                "outcome": each.outcome,
                "error": error_of(ERROR, each.error)[1],
                "traceback": each.traceback,
                "worker": each.worker,
                "started_at": _instant(each.started_at),
                "finished_at": _instant(each.finished_at),
            }
            for each in attempts
        ],
    }


def page(app: Any, record: TaskRecord, attempts: Sequence[AttemptRecord]) -> str:
    """Everything about a task: a line for each field, then its attempts."""
    zone = app.timezone

    def shown(value: Any) -> str:
        return "-" if value is None else str(value)

    rows = [(title.replace("_", " "), shown(value)) for title, value in _fields(app, record) if value is not None]
    if _has_error(record):
        rows.append(("error", error_of(record.result_serializer, record.result)[1]))
    parts = [columns(rows)]
    for each in attempts:
        when = moment(clock.to_datetime(each.finished_at).astimezone(zone))
        where = f" on {each.worker}" if each.worker else ""
        head = f"attempt {each.attempt}: {each.outcome} at {when}{where}\n  {error_of(ERROR, each.error)[1]}"
        parts.append(head + _indented(each.traceback))
    if record.traceback and record.attempt not in {each.attempt for each in attempts}:
        parts.append("traceback" + _indented(record.traceback))
    return "\n\n".join(parts)


def _fields(app: Any, record: TaskRecord) -> Iterator[tuple[str, Any]]:
    yield "id", record.id
    yield "name", record.name
    yield "state", state_of(record)
    yield "queue", record.queue
    yield "call", _call(app, record)
    yield "enqueued_at", _instant(record.enqueued_at)
    yield "started_at", _instant(record.started_at)
    yield "ended_at", _instant(record.finished_at)
    yield "deleted_at", _instant(record.prune_at)
    yield "worker", record.worker
    yield "attempts", record.attempt
    yield "retries", record.retries
    yield "deaths", record.deaths
    yield "root", record.root_id
    yield "parent", record.parent_id
    yield "group", record.group_id
    yield "after", record.after


def _has_error(record: TaskRecord) -> bool:
    return record.state in ("failed", "revoked")


def _call(app: Any, record: TaskRecord) -> str:
    """The task with its arguments, as far as they can be read here."""
    try:
        args, kwargs = app.codec.decode_call(record.payload, record.serializer, record.compression)
    except Exception as error:
        return f"{record.name}(?): {type(error).__name__}: {error}"
    given = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"{record.name}({', '.join(given)})"


def _instant(timestamp: float | None) -> str | None:
    return None if timestamp is None else clock.to_datetime(timestamp).isoformat(sep=" ", timespec="milliseconds")


def _indented(traceback: str | None) -> str:
    return "" if not traceback else "\n" + textwrap.indent(traceback.rstrip(), "    ")
