"""What became of a task: waiting for its end, and printing it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from litequeue.cli.invocation import Invocation
from litequeue.exceptions import LiteQueueCommandException

if TYPE_CHECKING:
    from litequeue.result.async_result import AsyncResult

LOOK = 0.5
"""Seconds between looks at a file in which nothing seems to change."""


def wait(answer: AsyncResult, timeout: float | None, look: Callable[[], Any] | None = None) -> bool:
    """Wait until the task has ended, at most `timeout` seconds; whether it has. `look()` is called at each look.

    LiteQueueCommandException: it was deleted meanwhile.
    """
    from litequeue.result.looking import looks

    for _ in looks(answer.app.store, timeout, LOOK):
        if answer.ready():
            return True
        if not answer.exists():
            raise LiteQueueCommandException(f"task {answer.id} was deleted from the file, and its result with it")
        if look is not None:
            look()
    return False


def as_dict(answer: AsyncResult) -> dict[str, Any]:
    """What is known of the end of a task, as JSON says it."""
    bad = answer.state in ("FAILURE", "REVOKED")
    return {
        "task_id": answer.id,
        "name": answer.name,
        "state": answer.state,
        "result": None if bad or not answer.ready() else plain(answer.result),
        "error": error(answer) if bad else None,
        "traceback": answer.traceback,
    }


def show(call: Invocation, answer: AsyncResult, *, traceback: bool = False, timeout: float | None = None) -> int:
    """Print the result, or the traceback; the exit code. What is no result is a line on stderr."""
    if call.as_json:
        call.print_json(as_dict(answer))
    if not answer.ready():
        raise LiteQueueCommandException(_unfinished(answer, timeout))
    if traceback:
        if answer.traceback is None:
            raise LiteQueueCommandException(f"task {answer.id} has no traceback: it is {answer.state}")
        if not call.as_json:
            click.echo(answer.traceback.rstrip())
        return 0
    if not answer.successful() and answer.state != "IGNORED":
        verb = "was revoked" if answer.state == "REVOKED" else "failed"
        raise LiteQueueCommandException(f"task {answer.id} {verb}: {error(answer)}")
    if not call.as_json:
        click.echo(str(answer.result))
    return 0


def _unfinished(answer: AsyncResult, timeout: float | None) -> str:
    from litequeue.result.reading import standing_of

    record = answer.app.store.task(answer.id)
    standing = "it is not in the file any more" if record is None else standing_of(answer.app, record)
    within = "" if timeout is None else f" within {timeout:g} s"
    return f"task {answer.id} {'has not ended' if timeout is None else 'did not end'}{within}; {standing}"


def error(answer: AsyncResult) -> str:
    """The exception in one line."""
    from litequeue.exceptions import RemoteError

    exc = answer.result
    text = " ".join(str(exc).split())
    if isinstance(exc, RemoteError) or not text:
        return text or type(exc).__name__
    return f"{type(exc).__name__}: {text}"


def plain(value: Any) -> Any:
    """`value` if JSON can say it, else its repr."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value
