"""`litequeue pause` and `litequeue resume`: queues and tasks that are not started for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from litequeue.cli.completing import queues as complete_queues
from litequeue.cli.completing import task_names
from litequeue.cli.invocation import Invocation, json_option

_OPTIONS: Final = (
    click.option(
        "--task",
        "tasks",
        multiple=True,
        metavar="NAME",
        shell_complete=task_names,
        help="A task name; may be repeated.",
    ),
    click.option("--list", "only_list", is_flag=True, help="Show what is paused, and change nothing."),
    json_option,
)


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return click.argument("queues", nargs=-1, metavar="[QUEUE]...", shell_complete=complete_queues)(function)


@click.command()
@_with_options
@click.pass_obj
def pause(call: Invocation, queues: tuple[str, ...], tasks: tuple[str, ...], only_list: bool) -> int:
    """Start nothing more from these queues, or of these tasks, until `litequeue resume`.

    What runs is finished, and calls are enqueued as ever. It is kept in the queue's file, holds for all workers, and
    needs none to be running. Without a name: show what is paused.

    Example: litequeue -A proj pause mail --task proj.tasks.report
    """
    return _change(call, "pause", queues, tasks, only_list)


@click.command()
@_with_options
@click.pass_obj
def resume(call: Invocation, queues: tuple[str, ...], tasks: tuple[str, ...], only_list: bool) -> int:
    """Start tasks of these queues, or of these names, again. Without a name: show what is paused.

    Example: litequeue -A proj resume mail
    """
    return _change(call, "resume", queues, tasks, only_list)


def _change(call: Invocation, verb: str, queues: tuple[str, ...], tasks: tuple[str, ...], only_list: bool) -> int:
    if not all((*queues, *tasks)):
        raise click.UsageError("a queue, or a task, has a name that is not empty")
    app = call.load_app()
    if (queues or tasks) and not only_list:
        changed = getattr(app.control, verb)(queues, tasks)
        if not call.as_json:
            call.echo(_told(verb, changed, (*queues, *tasks)))
            return 0
    paused = app.control.paused()
    if call.as_json:
        shown = {kind: {name: at.isoformat() for name, at in found.items()} for kind, found in paused.items()}
        call.print_json(shown, indent=None)
        return 0
    lines = [
        f"{kind[:-1]:5}  {name}  since {at.astimezone(app.timezone):%Y-%m-%d %H:%M:%S}"
        for kind, found in paused.items()
        for name, at in found.items()
    ]
    call.print_text("\n".join(lines) or "Nothing is paused.")
    return 0


def _told(verb: str, changed: list[str], given: tuple[str, ...]) -> str:
    done = {"pause": "Paused", "resume": "Resumed"}[verb]
    already = {"pause": "was paused before", "resume": "was not paused"}[verb]
    rest = [name for name in given if name not in changed]
    lines = [f"{done}: {', '.join(changed)}."] if changed else []
    return "\n".join([*lines, *(f"{name} {already}." for name in rest)])
