"""From the journal's records to events with all of Celery's fields.

A record says which task moved, when, and in which attempt; what else Celery tells is in the task's row and in those of
its attempts, and is read from there. So it is what the row says when the event is read: what the row has no more, or
not of that attempt, is None.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from litequeue.core import clock, json_codec
from litequeue.core.records import ERROR
from litequeue.core.state import FAILED, REVOKED, SUCCEEDED
from litequeue.core.type_tags import TYPE_KEY
from litequeue.result.reading import call_of, ending_of, value_of

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import AttemptRecord, TaskRecord
    from litequeue.core.viewing import EventRecord

_SHOWN: Final = 1024
"""The most characters of arguments and results, as in Celery."""
_FAR: Final = 1e15  # Unix seconds
_AT_ONCE: Final = 500  # rows read by one statement

Fields = dict[str, Any]


class _Row:
    """A task's row, asked about one of its attempts."""

    def __init__(self, app: LiteQueue, record: TaskRecord) -> None:
        self.app = app
        self.record = record
        self._attempts: list[AttemptRecord] | None = None
        self._call: tuple[str | None, str | None] | None = None

    def is_at(self, attempt: int | None) -> bool:
        """Whether the row is still, or ended, in that attempt."""
        return attempt is None or attempt == self.record.attempt

    def attempts(self) -> list[AttemptRecord]:
        """Those that did not succeed."""
        if self._attempts is None:
            self._attempts = self.app.store.attempts(self.record.id)
        return self._attempts

    def call(self) -> tuple[str | None, str | None]:
        """Its arguments as text; the caller's `argsrepr` and `kwargsrepr` come first."""
        if self._call is None:
            options = _object(self.record.options)
            args, kwargs = options.get("argsrepr"), options.get("kwargsrepr")
            if args is None or kwargs is None:
                try:
                    given, named = call_of(self.app, self.record)
                    args = _text(tuple(given)) if args is None else args
                    kwargs = _text(named) if kwargs is None else kwargs
                except Exception:  # of a serializer that is not accepted here, say
                    pass
            self._call = args, kwargs
        return self._call

    def retries(self, attempt: int | None) -> int:
        """How often it had been retried when that attempt began."""
        now = self.record.retries
        if not now:
            return 0
        return max(0, now - sum(each.outcome == "retry" and each.attempt >= (attempt or 0) for each in self.attempts()))

    def error(self, attempt: int | None) -> tuple[str | None, str | None]:
        """Exception and traceback that the attempt ended with."""
        record = self.record
        if record.state == FAILED and self.is_at(attempt):
            if record.result is None:
                return None, record.traceback
            try:
                exception, traceback = ending_of(self.app, record)
            except Exception as error:  # of a serializer that is not accepted here, say
                exception, traceback = error, record.traceback
            return _text(exception), traceback
        from litequeue.core.failure import decode_exception

        for each in self.attempts():
            if each.attempt == attempt:
                return _text(decode_exception(each.error)), each.traceback
        return None, None


def join(app: LiteQueue, records: Sequence[EventRecord]) -> list[dict[str, Any]]:
    """The events that the records are, in their order."""
    ids = list({record.task_id for record in records if record.task_id is not None and record.kind in _FIELDS})
    rows = {
        row.id: _Row(app, row)
        for start in range(0, len(ids), _AT_ONCE)
        for row in app.store.tasks(ids[start:][:_AT_ONCE])
    }
    workers = any(record.worker is not None for record in records)
    processes = app.store.processes() if workers else ()
    pids = {process.worker: process.identity.pid for process in processes if process.role == "worker"}
    offset, now = _utcoffset(), clock.now()
    return [_event(record, rows.get(record.task_id or ""), pids, offset, now) for record in records]


def _event(record: EventRecord, row: _Row | None, pids: Mapping[str, int], offset: float, now: float) -> dict[str, Any]:
    event: Fields = {
        "hostname": record.worker,
        "utcoffset": offset,
        "pid": pids.get(record.worker or ""),
        "clock": record.number,
    }
    if record.task_id is not None:
        event["uuid"] = record.task_id
    fields = _FIELDS.get(record.kind)
    if fields is not None:
        event["name"] = None if row is None else row.record.name
        event |= _EMPTY[record.kind] if row is None else fields(row, record.attempt)
        if record.kind == "task-sent":
            event["hostname"] = record.worker or (None if row is None else row.record.origin)
    if record.attempt is not None:
        event["attempt"] = record.attempt
    return {
        **event,
        **_untagged(record.fields),
        **_told(record),
        "type": record.kind,
        "number": record.number,
        "local_received": now,
    }


def _told(record: EventRecord) -> Fields:
    """When it was and who says so: what somebody wrote into his own event counts where it can be read."""
    at, hostname = record.fields.get("timestamp"), record.fields.get("hostname")
    told: Fields = {"timestamp": at if _is_number(at) else record.at}
    if hostname is not None:
        told["hostname"] = str(hostname)
    return told


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _FAR


# What each type has


def _called(row: _Row, attempt: int | None) -> Fields:
    record = row.record
    args, kwargs = row.call()
    retries = row.retries(attempt)
    return {
        "args": args,
        "kwargs": kwargs,
        "root_id": record.root_id or record.id,
        "parent_id": record.parent_id,
        "retries": retries,
        # A retry overwrites when the task was due before.
        "eta": _iso(record.run_at) if retries == record.retries else None,
        "expires": _iso(record.expires_at),
    }


def _sent(row: _Row, attempt: int | None) -> Fields:
    queue = row.record.queue
    return {**_called(row, attempt), "queue": queue, "exchange": "", "routing_key": queue}


def _succeeded(row: _Row, attempt: int | None) -> Fields:
    record = row.record
    if record.state != SUCCEEDED or not row.is_at(attempt):
        return dict(_EMPTY["task-succeeded"])
    kept = record.result is not None or not record.ignore_result
    started, finished = record.started_at, record.finished_at
    return {
        "result": _text(_value(row)) if kept else None,
        "runtime": None if started is None or finished is None else max(0.0, finished - started),
    }


def _ended_badly(row: _Row, attempt: int | None) -> Fields:
    exception, traceback = row.error(attempt)
    return {"exception": exception, "traceback": traceback}


def _rejected(_row: _Row, _attempt: int | None) -> Fields:
    return {"requeue": True}


def _revoked(row: _Row, _attempt: int | None) -> Fields:
    record = row.record
    if record.state != REVOKED:  # it was retried by hand
        return dict(_EMPTY["task-revoked"])
    reason = str(_value(row)) if record.result_serializer == ERROR else ""
    number = getattr(signal, record.cancel or "", None)
    return {
        "terminated": bool(record.cancel) or reason == "terminated",
        "signum": None if number is None else int(number),
        "expired": reason == "expired",
    }


def _nothing(_row: _Row, _attempt: int | None) -> Fields:
    return {}


_CALL: Final = ("args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires")
_FIELDS: Final[dict[str, Callable[[_Row, int | None], Fields]]] = {
    "task-sent": _sent,
    "task-received": _called,
    "task-started": _nothing,
    "task-succeeded": _succeeded,
    "task-failed": _ended_badly,
    "task-retried": _ended_badly,
    "task-rejected": _rejected,
    "task-revoked": _revoked,
    "task-snoozed": _nothing,
    "task-replaced": _nothing,
    "task-released": _nothing,
    "task-rescued": _nothing,
    "task-revived": _nothing,
    "task-ignored": _nothing,
}
_EMPTY: Final[dict[str, Fields]] = {
    **{kind: {} for kind in _FIELDS},
    "task-sent": dict.fromkeys((*_CALL, "queue", "exchange", "routing_key")),
    "task-received": dict.fromkeys(_CALL),
    "task-succeeded": {"result": None, "runtime": None},
    "task-failed": {"exception": None, "traceback": None},
    "task-retried": {"exception": None, "traceback": None},
    "task-rejected": {"requeue": True},
    "task-revoked": {"terminated": None, "signum": None, "expired": None},
}
"""The fields of each type where the row is gone."""
TASK_TYPES: Final = tuple(_FIELDS)
"""The types that the moves of tasks are written under."""
WORKER_TYPES: Final = ("worker-online", "worker-heartbeat", "worker-offline")


# Values as text


def _value(row: _Row) -> Any:
    try:
        return value_of(row.app, row.record)
    except Exception as error:  # of a serializer that is not accepted here, say
        return error


def _text(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _iso(at: float | None) -> str | None:
    return None if at is None else clock.to_datetime(at).isoformat()


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _untagged(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields that somebody wrote, with dates and the like as they were given."""
    if all(value is None or type(value) in (str, int, float, bool) for value in fields.values()):
        return fields
    text = json.dumps(fields)
    if TYPE_KEY not in text:
        return fields
    try:
        found = json_codec.loads(text)
    except Exception:
        return fields
    return found if isinstance(found, dict) else fields


def _utcoffset() -> float:
    """Hours to UTC, counted to the west, as Celery's events have them."""
    return (time.altzone if time.localtime().tm_isdst else time.timezone) / 3600
