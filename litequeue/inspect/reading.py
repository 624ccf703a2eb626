"""Rows as people read them: a task in a line, its arguments as text."""

from __future__ import annotations

import json
from contextlib import suppress
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litequeue.core import clock
from litequeue.core.records import ERROR, UPSTREAM
from litequeue.core.state import FAILED, REVOKED, RUNNING, TERMINAL
from litequeue.core.ties import BODY
from litequeue.inspect.views import TaskView
from litequeue.result.progress import progress_of
from litequeue.result.reading import state_of

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord
    from litequeue.store.contract import Store

LENGTH: Final = 120
"""Characters of arguments in a list."""
_LARGE: Final = 100_000
"""Characters, or bytes, of arguments from which on they are not decoded for a list."""
_MOST: Final = 20
"""Items of a container that are shown."""


class Call(NamedTuple):
    """A call as text."""

    args: str
    kwargs: str
    call: str
    """As in a program: `proj.add(2, y=3)`."""


def task_view(app: LiteQueue, record: TaskRecord) -> TaskView:
    """The task, in a line of a list."""
    call = call_of(app, record)
    return TaskView(
        id=record.id,
        name=record.name,
        state=state_of(record),
        engine_state=record.state,
        queue=record.queue,
        priority=record.priority,
        worker=record.worker,
        pid=record.pid,
        args=call.args,
        kwargs=call.kwargs,
        call=call.call,
        enqueued_at=record.enqueued_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        run_at=record.run_at,
        expires_at=record.expires_at,
        retries=record.retries,
        runtime=runtime_of(record),
        error=error_of_task(record),
        progress=progress_of(app, record),
        parent_id=record.parent_id,
        root_id=record.root_id or record.id,
        group_id=record.group_id,
    )


def runtime_of(record: TaskRecord) -> float | None:
    """Seconds that the task has run, or ran the last time."""
    if record.started_at is None:
        return None
    if record.state == RUNNING:
        return max(clock.now() - record.started_at, 0.0)
    return None if record.finished_at is None else max(record.finished_at - record.started_at, 0.0)


def error_of_task(record: TaskRecord) -> str | None:
    """How the task failed, or why it was revoked, in one line; None: it did not."""
    from litequeue.dead_letters import error_of

    if record.state in (FAILED, REVOKED):
        return printable(error_of(record.result_serializer, record.result)[1])
    if record.state not in TERMINAL and record.result_serializer == ERROR and record.result is not None:
        return printable(error_of(ERROR, record.result)[1])
    return None


def did_not_run(record: TaskRecord) -> bool:
    """Whether the task has ended because of another: what it came after, or a member of the header of its chord."""
    by_its_header = record.state == FAILED and record.edge == BODY and record.started_at is None
    return record.result_serializer == UPSTREAM or (by_its_header and record.result_serializer == ERROR)


def cause_of(store: Store, record: TaskRecord) -> str | None:
    """The id of the task because of which this one did not run; None: there is none, or the file forgot it."""
    if not did_not_run(record):
        return None
    if record.result_serializer == UPSTREAM:
        return record.result.decode() if isinstance(record.result, bytes) else record.result
    header = None if record.after is None else store.group(record.after)
    return None if header is None else header.failed_id


def call_of(app: LiteQueue, record: TaskRecord, length: int = LENGTH) -> Call:
    """The call as text; the caller's own texts for people come first (`argsrepr`)."""
    said = _said(record)
    own_args, own_kwargs = said.get("argsrepr"), said.get("kwargsrepr")
    args: Any = None
    kwargs: Any = None
    if _size(record.payload) <= _LARGE and (own_args is None or own_kwargs is None):
        with suppress(Exception):  # another serializer, or a class that is not here
            args, kwargs = app.codec.decode_call(record.payload, record.serializer, record.compression)
    shown_args = own_args or ("?" if args is None else _short(tuple(args), length))
    shown_kwargs = own_kwargs or ("?" if kwargs is None else _short(kwargs, length))
    if own_args is None and own_kwargs is None and args is not None:
        inner = [_short(value, length) for value in args[:_MOST]]
        inner += [f"{name}={_short(value, length)}" for name, value in list(kwargs.items())[:_MOST]]
        inner += ["…"] * (len(args) > _MOST or len(kwargs) > _MOST)
    else:
        inner = [_without(str(shown_args), "()").rstrip(","), _without(str(shown_kwargs), "{}")]
    return Call(
        printable(str(shown_args), length),
        printable(str(shown_kwargs), length),
        printable(f"{record.name}({', '.join(filter(None, inner))})", len(record.name) + length),
    )


def _said(record: TaskRecord) -> dict[str, Any]:
    """The options of the row that no query needs."""
    try:
        said = json.loads(record.options or "{}")
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _size(stored: object) -> int:
    """Of text or bytes; a number that somebody has written into their place has none."""
    return len(stored) if isinstance(stored, (str, bytes)) else 0


def _without(text: str, brackets: str) -> str:
    return text[1:-1] if text[:1] == brackets[0] and text[-1:] == brackets[1] else text


def text_of(value: Any, length: int = LENGTH) -> str:
    """A value as text on one line, cut to `length` characters without writing all of a large one."""
    return printable(_short(value, length), length)


def _short(value: Any, length: int) -> str:
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = length
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = short.maxdeque = _MOST
    try:
        return short.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def printable(text: str, length: int = 200) -> str:
    """`text` on one line, without characters that steer a terminal, and not longer than `length`."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: length + 1])
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
