"""`litequeue list`: queues, bindings, and the app's tasks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import SuggestingGroup

BUILTIN: Final = ("celery.", "litequeue.")
_COUNTS: Final = ("ready", "scheduled", "running", "waiting", "failed")


@click.group("list", cls=SuggestingGroup, no_args_is_help=False, invoke_without_command=True)
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List queues, bindings, or the app's tasks.

    Example: litequeue -A proj list queues
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"list what? there are: {', '.join(list_.commands)}.", ctx)


@list_.command()
@json_option
@click.pass_obj
def queues(call: Invocation) -> int:
    """List the queues that are declared, have tasks or are worked on, with how many tasks stand where.

    Example: litequeue -A proj list queues
    """
    found = _queues(existing_app(call))
    if call.as_json:
        call.print_json(found)
        return 0
    rows = [
        (row["name"], *(str(row[count]) for count in _COUNTS), str(len(row["workers"])), "paused" * row["paused"])
        for row in found
    ]
    call.print_text(_columns(("queue", *_COUNTS, "workers", ""), rows, right=len(_COUNTS) + 1))
    return 0


def _queues(app: Any) -> list[dict[str, Any]]:
    """The queues as JSON says them."""
    from litequeue.core.process import is_alive

    store = app.store
    counts = {record.name: record for record in store.queues()}
    paused = {pause.name for pause in store.paused() if pause.kind == "queue"}
    served: dict[str, list[str]] = {}
    for record in store.processes():
        if record.role == "worker" and is_alive(record.identity) is not False:
            for name in record.queues:
                served.setdefault(name, []).append(record.worker)
    names = [*(binding["queue"] for binding in bindings_of(app)), *sorted({*counts, *served, *paused})]
    return [
        {
            "name": name,
            **{count: getattr(counts.get(name), count, 0) for count in _COUNTS},
            "paused": name in paused,
            "workers": sorted(served.get(name, ())),
        }
        for name in dict.fromkeys(names)
    ]


@list_.command()
@json_option
@click.pass_obj
def bindings(call: Invocation) -> int:
    """List the declared queues with the routing keys that lead to them.

    Example: litequeue -A proj list bindings
    """
    found = bindings_of(call.load_app())
    if call.as_json:
        call.print_json(found)
    else:
        call.print_text(_columns(("queue", "exchange", "routing key"), [tuple(row.values()) for row in found]))
    return 0


def bindings_of(app: Any) -> list[dict[str, str]]:
    """The queues that the app declares, or its default one, with exchange and routing key."""
    from litequeue.core.routing import declared_queues

    declared = declared_queues(app.conf.task_queues) or {app.conf.task_default_queue: None}
    return [
        {
            "queue": name,
            "exchange": _setting(settings, "exchange") or name,
            "routing_key": _setting(settings, "routing_key") or name,
        }
        for name, settings in declared.items()
    ]


def _setting(settings: Any, name: str) -> str | None:
    """What a declared queue, a mapping or an object, says of `name`; of an exchange its name."""
    value = settings.get(name) if isinstance(settings, Mapping) else getattr(settings, name, None)
    value = getattr(value, "name", value)
    return value if isinstance(value, str) else None


@list_.command()
@click.option("--builtins", is_flag=True, help="Also those that every app has.")
@json_option
@click.pass_obj
def tasks(call: Invocation, builtins: bool) -> int:
    """List the app's tasks with their parameters, and with the options that differ from the usual ones.

    Example: litequeue -A proj list tasks
    """
    app = call.load_tasks(with_tasks=True)
    found = [described(task) for name, task in sorted(app.tasks.items()) if builtins or not name.startswith(BUILTIN)]
    if call.as_json:
        call.print_json(found)
        return 0
    rows = [
        (f"{task['name']}{task['signature']}", " ".join(f"{key}={value}" for key, value in task["options"].items()))
        for task in found
    ]
    call.print_text(_columns(("task", "options"), rows) if rows else "The app has no tasks.")
    return 0


def described(task: Any) -> dict[str, Any]:
    """A task as JSON says it: name, parameters, options that are not the usual ones, module, first line of its text."""
    from litequeue.calling.declared import FROM_SETTINGS, Declared
    from litequeue.cli.outcome import plain

    settings, options = dict(FROM_SETTINGS), {}
    for name in Declared.__annotations__:
        usual = task.app.conf[settings[name]] if name in settings else getattr(Declared, name)
        if name in ("acks_on_failure", "acks_on_timeout"):  # bound, they say what the older option of both says
            usual = task.acks_on_failure_or_timeout is not False
        value = getattr(task, name)
        if value != usual:
            options[name] = plain(value)
    return {
        "name": task.name,
        "signature": _signature(task.run),
        "options": options,
        "module": type(task).__module__,
        "help": (inspect.getdoc(task.run) or "").partition("\n")[0],
    }


def _signature(function: Any) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(...)"


def _columns(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: int = 0) -> str:
    """A table; the columns 1 to `right` hold numbers."""
    from litequeue.cli.schedule_text import columns

    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    table = [
        [text.rjust(widths[place]) if 1 <= place <= right else text for place, text in enumerate(row)]
        for row in (headings, *rows)
    ]
    return columns(table)
