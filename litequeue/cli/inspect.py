"""`litequeue inspect`: what stands in the file, and what workers say of themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from litequeue.cli import completing
from litequeue.cli.existing import existing_app
from litequeue.cli.inspect_asking import Asking, destination_options
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import COMMA_SEPARATED, POSITIVE, SECONDS, Option, joined
from litequeue.exceptions import LiteQueueCommandException

if TYPE_CHECKING:
    from litequeue.inspect.text import Look

_Function = TypeVar("_Function", bound=Callable[..., Any])
_TASKS: Final = 100
"""Tasks that a list shows where no limit is given."""
_REFRESH: Final = 1.0
LIVE_VIEW: Final = "pip install 'litequeue[viewer]' gives the live view"


@click.group(cls=Asking, no_args_is_help=False, invoke_without_command=True)
@click.option("--once", is_flag=True, cls=Option, help="Print a snapshot, also on a terminal.")
@click.option(
    "--refresh",
    type=SECONDS,
    default=_REFRESH,
    show_default=True,
    cls=Option,
    metavar="SECONDS",
    help="How often the live view looks again.",
)
@destination_options
@json_option
@click.pass_context
def inspect(ctx: click.Context, once: bool, refresh: float) -> int | None:
    """Show what is in the queue: live on a terminal, else, or with --once, a snapshot as text.

    With a command, more: of the file, which needs no worker, or what the workers say.

    Example: litequeue -A proj inspect tasks --state FAILURE --since 1h
    """
    if ctx.invoked_subcommand is not None:
        return None
    call = ctx.find_object(Invocation)
    assert call is not None, "the program makes one"
    app = existing_app(call)
    if not (once or call.as_json) and sys.stdin.isatty() and sys.stdout.isatty():
        if _has_viewer():
            from litequeue.inspect.viewer import run

            return run(app, refresh=refresh, color=call.color)
        call.note(LIVE_VIEW)
    from litequeue.inspect.rendering import snapshot
    from litequeue.inspect.snapshot import take

    return _print(call, app, take(app), snapshot)


def _has_viewer() -> bool:
    from importlib.util import find_spec

    return find_spec("textual") is not None


def _look(call: Invocation, app: Any) -> Look:
    from litequeue.inspect.text import look_of_stdout

    return look_of_stdout(call.color, app.timezone)


@contextmanager
def _told() -> Iterator[None]:
    """One line of what cannot be: a filter that is not understood, an id that is not there."""
    try:
        yield
    except LookupError as error:
        raise LiteQueueCommandException(str(error.args[0])) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _print(call: Invocation, app: Any, records: Any, render: Callable[[Any, Look], str]) -> int:
    """A record or a list of them, as JSON or as text."""
    if call.as_json:
        call.print_json([each.as_dict() for each in records] if isinstance(records, list) else records.as_dict())
        return 0
    call.print_text(render(records, _look(call, app)))
    return 0


# The file


_FILTERS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("--state", "states"),
        {
            "type": COMMA_SEPARATED,
            "multiple": True,
            "callback": joined,
            "metavar": "A,B",
            "help": "In one of these states: Celery's (FAILURE), the engine's (ready), or such as tasks set.",
        },
    ),
    (
        ("--name", "names"),
        {
            "type": COMMA_SEPARATED,
            "multiple": True,
            "callback": joined,
            "metavar": "A,B",
            "shell_complete": completing.task_names,
            "help": "Of these names; * and ? stand for what may be anything.",
        },
    ),
    (
        ("-Q", "--queue", "queues"),
        {
            "type": COMMA_SEPARATED,
            "multiple": True,
            "callback": joined,
            "metavar": "A,B",
            "shell_complete": completing.queues,
            "help": "Of these queues; as --name.",
        },
    ),
    (
        ("--worker",),
        {"metavar": "NODE", "shell_complete": completing.nodes, "help": "That this worker took last."},
    ),
    (("--root", "root_id"), {"metavar": "ID", "help": "Of the canvas that began with this task."}),
    (("--since",), {"metavar": "TIME", "help": "Called since then: '2030-01-31 09:00', or 2h: two hours ago."}),
    (("--before",), {"metavar": "TIME", "help": "Called before then."}),
    (("--text",), {"metavar": "TEXT", "help": "With this in the id, name, arguments, result or error."}),
)


def _filters(function: _Function) -> _Function:
    for flags, attrs in reversed(_FILTERS):
        function = click.option(*flags, cls=Option, **attrs)(function)
    return function


@inspect.command()
@_filters
@click.option(
    "--limit", type=POSITIVE, default=_TASKS, show_default=True, cls=Option, metavar="N", help="The newest N."
)
@json_option
@click.pass_obj
def tasks(call: Invocation, /, limit: int, **given: Any) -> int:
    """List tasks, the newest first; options say which, and hold together.

    Example: litequeue -A proj inspect tasks --state FAILURE,RETRY --name 'proj.mail.*' --since 2h
    """
    app = existing_app(call)
    from litequeue.inspect.filters import make_filter
    from litequeue.inspect.rendering import tasks as render
    from litequeue.inspect.snapshot import tasks as read

    with _told():
        which = make_filter(**given, zone=app.timezone)
    found = read(app, which, limit + 1)
    _print(call, app, found[:limit], render)
    if len(found) > limit:
        call.note(f"these are the newest {limit}; --limit {limit * 10} shows more")
    if not found:
        from litequeue.inspect.filters import unknown_words

        for sentence in unknown_words(app, which):
            call.note(sentence)
    return 0


@inspect.command()
@click.argument("task_id", metavar="ID", shell_complete=completing.task_ids)
@json_option
@click.pass_obj
def task(call: Invocation, task_id: str) -> int:
    """Show everything about the task ID: call, times, attempts, result, log, and the canvas around it.

    The first characters of an id are enough, 8 at least, where no other begins so.

    Example: litequeue -A proj inspect task 01a1fe1d-3d8c-7000-aa06-043890848f6e
    """
    app = existing_app(call)
    from litequeue.inspect.page import find_id
    from litequeue.inspect.page import page as read
    from litequeue.inspect.rendering import page as render

    with _told():
        found = read(app, find_id(app, task_id))
    if found is None:  # deleted in between
        raise LiteQueueCommandException(f"{app.store.path} has no task {task_id}")
    return _print(call, app, found, render)


@inspect.command()
@click.argument("task_id", metavar="ID", shell_complete=completing.task_ids)
@json_option
@click.pass_obj
def explain(call: Invocation, task_id: str) -> int:
    """Say why the task ID is not running, or how it ended, and what can be done.

    Example: litequeue -A proj inspect explain 01a1fe1d-3d8c-7000-aa06-043890848f6e
    """
    app = existing_app(call)
    from litequeue.inspect.explain import explain as read
    from litequeue.inspect.page import find_id
    from litequeue.inspect.rendering import explanation as render

    with _told():
        found = read(app, task_id if app.store.group(task_id) is not None else find_id(app, task_id, unknown=task_id))
    _print(call, app, found, render)
    return 1 if found.state is None else 0


@inspect.command()
@click.option("--since", metavar="TIME", cls=Option, help="That ended since then: '2030-01-31 09:00', or 2h.")
@click.option("--limit", type=POSITIVE, cls=Option, metavar="N", help="The N most frequent.")
@json_option
@click.pass_obj
def failures(call: Invocation, since: str | None, limit: int | None) -> int:
    """Show what fails: failed tasks by exception and place, the most frequent first.

    Example: litequeue -A proj inspect failures --since 1d
    """
    app = existing_app(call)
    from litequeue.inspect.failures import failures as read
    from litequeue.inspect.filters import moment
    from litequeue.inspect.rendering import failures as render

    with _told():
        start = moment("since", since, app.timezone)
    return _print(call, app, read(app, since=start, limit=limit), render)


@inspect.command()
@click.option("--since", metavar="TIME", cls=Option, help="Of tasks called since then: '2030-01-31 09:00', or 2h.")
@click.option("--limit", type=POSITIVE, cls=Option, metavar="N", help="The N slowest.")
@json_option
@click.pass_obj
def slow(call: Invocation, since: str | None, limit: int | None) -> int:
    """Show how long the tasks of each name wait and run, and what runs longest now.

    Example: litequeue -A proj inspect slow --since 1h
    """
    app = existing_app(call)
    from litequeue.inspect.failures import slow as read
    from litequeue.inspect.filters import moment
    from litequeue.inspect.rendering import slow as render

    with _told():
        start = moment("since", since, app.timezone)
    return _print(call, app, read(app, since=start, limit=limit), render)


@inspect.command()
@click.option("--check", is_flag=True, cls=Option, help="Read the whole file and say whether it is sound.")
@json_option
@click.pass_obj
def file(call: Invocation, check: bool) -> int:
    """Show the file: size, WAL, tasks by state, free pages, schema, durability. With --check, whether it is sound.

    The exit code is 1 when it is not.

    Example: litequeue -A proj inspect file --check
    """
    app = existing_app(call)
    from litequeue.inspect.rendering import file as render
    from litequeue.inspect.snapshot import file as read

    found = read(app, count=True, check=check)
    _print(call, app, found, render)
    return 1 if found.damages else 0


_PARTS: Final = (
    ("queues", "queues", "Show the queues: how many tasks stand where, rates, and latency."),
    (
        "workers",
        "measured_workers",
        "Show the workers: whether they live, what each slot runs, CPU and memory. It measures for a moment.",
    ),
    ("schedules", "schedules", "Show the entries of the schedule: when each is due, and what is wrong with it."),
)
"""Commands that show one part of a snapshot: name, which is the renderer's too, what reads it, help."""


def _part(name: str, reader: str, says: str) -> None:
    @inspect.command(name, help=f"{says}\n\nExample: litequeue -A proj inspect {name}")
    @json_option
    @click.pass_obj
    def show(call: Invocation) -> int:
        app = existing_app(call)
        from litequeue.inspect import rendering, snapshot

        return _print(call, app, getattr(snapshot, reader)(app), getattr(rendering, name))


for _each in _PARTS:
    _part(*_each)
