"""`litequeue call`: enqueue a task by its name."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from litequeue.cli import outcome
from litequeue.cli.completing import queues, task_names
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import SECONDS, AnyParamType, Option, SectionedHelp, nearest
from litequeue.cli.schedule import DURATION, MOMENT, Json
from litequeue.exceptions import LiteQueueCommandException, LiteQueueError

if TYPE_CHECKING:
    from litequeue.result.async_result import AsyncResult

_CALL: Final = "The call"
_ROUTING: Final = "Routing"
_WAITING: Final = "Waiting"


class Expiry(AnyParamType):
    """A time in ISO 8601, or seconds from now: 90, 5m, 1h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | float:
        """The datetime, or the seconds."""
        text = str(value).strip()
        if text[:4].isdecimal() and text[4:5] in ("-", ""):
            return MOMENT.convert(text, param, ctx) if text[4:5] else DURATION.convert(text, param, ctx)
        return DURATION.convert(text, param, ctx)


_OPTIONS: Final[tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...]] = (
    (
        _CALL,
        ("-a", "--args"),
        {"type": Json(list, "'[1, 2]'"), "metavar": "JSON", "help": "Positional arguments: '[1, 2]'."},
    ),
    (
        _CALL,
        ("-k", "--kwargs"),
        {"type": Json(dict, "'{\"x\": 1}'"), "metavar": "JSON", "help": "Keyword arguments: '{\"x\": 1}'."},
    ),
    (_CALL, ("--eta",), {"type": MOMENT, "metavar": "TIME", "help": "Not before this time: '2030-01-31 09:00'."}),
    (_CALL, ("--countdown",), {"type": DURATION, "metavar": "DURATION", "help": "So long from now: 90, 5m, 1h."}),
    (
        _CALL,
        ("--expires",),
        {"type": Expiry(), "metavar": "TIME|DURATION", "help": "Revoke it if it has not started by then."},
    ),
    (_CALL, ("--priority",), {"type": click.IntRange(0, 255), "metavar": "N", "help": "0 to 255, higher first."}),
    (_CALL, ("--serializer",), {"metavar": "NAME", "help": "How the arguments are written; default: the app's."}),
    (_CALL, ("--task-id",), {"metavar": "ID", "help": "The task's id; default: a new one."}),
    (
        _ROUTING,
        ("-Q", "--queue", "queue"),
        {"metavar": "NAME", "shell_complete": queues, "help": "The queue; default: as the app's routes say."},
    ),
    (_ROUTING, ("--routing-key",), {"metavar": "KEY", "help": "The queue that is bound with this key."}),
    (_ROUTING, ("--exchange",), {"metavar": "NAME", "help": "Accepted from Celery: there is no broker."}),
    (_WAITING, ("--wait",), {"is_flag": True, "help": "Wait for its end, and print the result instead of the id."}),
    (
        _WAITING,
        ("--timeout",),
        {"type": SECONDS, "metavar": "SECONDS", "help": "How long to wait; the task goes on. Implies --wait."},
    ),
)


def _options(function: Any) -> Any:
    for section, flags, attrs in reversed(_OPTIONS):
        function = click.option(*flags, cls=Option, section=section, **attrs)(function)
    return function


@click.command(cls=SectionedHelp)
@click.argument("name", shell_complete=task_names)
@_options
@json_option
@click.pass_obj
def call(call: Invocation, /, name: str, wait: bool, timeout: float | None, **given: Any) -> int:
    """Enqueue the task NAME, and print its id; with --wait, what it returned.

    The name need not be known here. The exit code is 1 when the task is waited for and does not succeed.

    Example: litequeue -A proj call proj.tasks.add -a '[2, 2]' --wait --timeout 10
    """
    app = call.load_tasks(creates=True)
    answer = _send(call, app, name, {option: value for option, value in given.items() if value is not None})
    waits = wait or timeout is not None
    try:
        _note_what_is_odd(call, app, name, answer)
        if waits:
            outcome.wait(answer, timeout)
    except KeyboardInterrupt:
        call.note(f"task {answer.id} goes on; `litequeue result {answer.id} --wait` waits for it again")
        raise
    if waits:
        return outcome.show(call, answer, timeout=timeout)
    if call.as_json:
        call.print_json({"task_id": answer.id})
    else:
        click.echo(answer.id)
    return 0


def _send(call: Invocation, app: Any, name: str, options: dict[str, Any]) -> AsyncResult:
    """Enqueue it. LiteQueueCommandException: it cannot be called so."""
    args, kwargs = options.pop("args", []), options.pop("kwargs", {})
    task = app.tasks.get(name)
    try:
        if task is not None and task.typing and task.__header__ is not None:
            task.__header__(*args, **kwargs)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer: AsyncResult = app.send_task(name, args, kwargs, **options)
    except (TypeError, ValueError) as exc:
        if isinstance(exc, LiteQueueError):
            raise
        raise LiteQueueCommandException(f"{name}: {exc}", exit_code=2) from exc
    for warning in caught:
        call.note(str(warning.message))
    return answer


def _note_what_is_odd(call: Invocation, app: Any, name: str, answer: AsyncResult) -> None:
    """Say that nothing was enqueued; that neither the app nor a worker knows the name: it may be a slip."""
    if answer.existed:
        call.note(f"nothing was enqueued: this is the task that holds the unique key of {name}")
    known = {*app.tasks}
    for record in app.store.processes():
        known.update(record.info.get("tasks", ()))
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean {near!r}?" if near else ""
        call.note(f"neither the app nor a worker that runs knows a task {name!r}; it was sent all the same{hint}")
