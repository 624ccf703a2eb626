"""Log lines as JSON objects, for programs that collect logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from litequeue.core.context import current_tasks

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every record has; all else was given by whoever logged."""


class JSONFormatter(logging.Formatter):
    """Makes one line of a record: a JSON object, in ASCII."""

    def __init__(self, node: str | None = None) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = self._fields(record)
        given = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        for name, value in given.items():
            if name not in ("task_name", "task_id"):
                fields[f"extra_{name}" if name in fields else str(name)] = value
        return f"{{{', '.join(f'{json.dumps(name)}: {_dumped(value)}' for name, value in fields.items())}}}"

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = {
            "time": _instant(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "process": record.process,
            "thread": record.threadName,
            "node": self._node,
            **_task_of(record),
        }
        if record.exc_info or record.exc_text:
            fields["exception"] = record.exc_text or (record.exc_info and self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return fields


def _instant(created: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        return f"<Unrepresentable {_shown(record.msg)}: {error!r}>"


def _task_of(record: logging.LogRecord) -> dict[str, str]:
    """Name and id of the task that the record says it is from, or that runs in this context."""
    name, task_id = record.__dict__.get("task_name"), record.__dict__.get("task_id")
    if name is None or task_id is None:
        running = current_tasks.get()
        if not running:
            return {}
        name, task_id = running[-1].name, running[-1].request.id
    known = {"task_name": name, "task_id": task_id}
    return {field: value for field, value in known.items() if value is not None and value != "???"}


def _dumped(value: Any) -> str:
    """The value as JSON; what JSON has no word for is written as its repr()."""
    try:
        return json.dumps(value, default=_shown, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, NaN, what contains itself
        return json.dumps(_shown(value))


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: repr() raised {type(error).__name__}>"
