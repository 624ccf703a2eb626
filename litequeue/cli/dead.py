"""`litequeue dead`, `litequeue retry` and `litequeue discard`: what failed, or was revoked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from litequeue.cli.completing import dead_ids, queues, task_names
from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import COMMA_SEPARATED, POSITIVE, AnyParamType, SuggestingGroup, joined
from litequeue.cli.schedule import DURATION, MOMENT
from litequeue.exceptions import LiteQueueCommandException
from litequeue.utils.words import counted

if TYPE_CHECKING:
    from litequeue.inspect.text import Look

_Function = TypeVar("_Function", bound=Callable[..., Any])
_SHOWN: Final = 100  # lines of a list where no limit is given
_WHICH: Final = ("names", "queues", "since", "before", "error", "limit")


class Instant(AnyParamType):
    """A time in ISO 8601, or so long ago: 30m, 2h, 1d."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta | None:
        """The datetime, naive where the text has no distance to UTC; the timedelta of a duration."""
        text = str(value).strip()
        try:
            if text[-1:].lower() in ("s", "m", "h", "d"):
                return timedelta(seconds=DURATION.convert(text, param, ctx))
            return MOMENT.convert(text, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no time; write '2030-01-31 09:00', or how long ago: 30m, 2h, 1d", param, ctx)


INSTANT = Instant()
FAILURE, REVOKED, BOTH = "failed", "revoked", "all"

_FILTERS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("--name", "names"),
        {
            "type": COMMA_SEPARATED,
            "multiple": True,
            "callback": joined,
            "metavar": "A,B",
            "shell_complete": task_names,
            "help": "Tasks of these names.",
        },
    ),
    (
        ("-Q", "--queue", "queues"),
        {
            "type": COMMA_SEPARATED,
            "multiple": True,
            "callback": joined,
            "metavar": "A,B",
            "shell_complete": queues,
            "help": "Of these queues.",
        },
    ),
    (("--since",), {"type": INSTANT, "help": "Ended since then: '2030-01-31 09:00', or 2h: two hours ago."}),
    (("--before",), {"type": INSTANT, "help": "Ended before then."}),
    (("--error",), {"metavar": "CLASS", "help": "The class of the exception, with its module or without."}),
    (
        ("--state",),
        {
            "type": click.Choice([FAILURE, REVOKED, BOTH]),
            "help": "Failed (the default where no ids are given), revoked, or all.",
        },
    ),
    (("--limit",), {"type": POSITIVE, "metavar": "N", "help": "The newest so many."}),
)


def _filters(function: _Function) -> _Function:
    for flags, attrs in reversed(_FILTERS):
        function = click.option(*flags, **attrs)(function)
    return function


ids = click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=dead_ids)


@click.group(cls=SuggestingGroup, no_args_is_help=False, invoke_without_command=True)
@_filters
@json_option
@click.pass_context
def dead(ctx: click.Context, /, **given: Any) -> int | None:
    """List the tasks that failed, the newest call first; with a command, more.

    A task that did not run because another failed is not listed: it comes back with that one.

    Example: litequeue -A proj dead --name proj.mail --since 1d
    """
    if ctx.invoked_subcommand is not None:
        return None
    call = ctx.find_object(Invocation)
    assert call is not None, "the program makes one"
    app = existing_app(call)
    limit = given["limit"] or _SHOWN
    with _told():
        letters = app.control.dead(**_which(given, limit=limit + 1))
    if call.as_json:
        call.print_json([letter.as_dict() for letter in letters[:limit]])
    elif letters:
        from litequeue.inspect.text import look_of_stdout

        call.print_text(_table(letters[:limit], look_of_stdout(call.color, app.timezone)))
    else:
        click.echo("No dead letters.")
    if len(letters) > limit:
        call.note(f"these are the newest {limit}; --limit {limit * 10} shows more")
    return 0


@dead.command()
@click.argument("task_id", metavar="ID", shell_complete=dead_ids)
@json_option
@click.pass_obj
def show(call: Invocation, task_id: str) -> int:
    """Show everything about the task ID: its call, and each attempt with its error and traceback.

    Example: litequeue -A proj dead show 01890a5d-ac96-774b-bcce-b302099a8057
    """
    from litequeue.inspect.page import page as read
    from litequeue.inspect.rendering import page as render
    from litequeue.inspect.text import look_of_stdout

    app = existing_app(call)
    found = read(app, task_id)
    if found is None:
        raise LiteQueueCommandException(f"{app.store.path} has no task {task_id}")
    if call.as_json:
        call.print_json(found.as_dict())
    else:
        call.print_text(render(found, look_of_stdout(call.color, app.timezone)))
    return 0


@click.command()
@ids
@_filters
@click.option("--all", "everything", is_flag=True, help="All that failed.")
@json_option
@click.pass_obj
def retry(call: Invocation, /, ids: tuple[str, ...], everything: bool, **given: Any) -> int:
    """Run dead letters again: those of the IDs, or those that the options name.

    What did not run because of them waits for them again. The exit code is 1 when one of them cannot be run again.

    Example: litequeue -A proj retry --error ConnectionError --since 1h
    """
    app = call.load_app()
    with _told():
        revived = app.control.retry(ids or None, all=everything, **_which(given))
    if call.as_json:
        call.print_json({"ready": list(revived.ready), "refused": dict(revived.refused)})
    else:
        call.echo(f"Retried {counted(len(revived.ready), 'task')}." if revived.ready else "Nothing was retried.")
        for task_id, reason in revived.refused.items():
            click.echo(f"litequeue: {task_id}: {reason}", err=True)
    return 1 if revived.refused else 0


@click.command()
@ids
@_filters
@click.option("--all", "everything", is_flag=True, help="All that failed.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def discard(call: Invocation, /, ids: tuple[str, ...], everything: bool, force: bool, **given: Any) -> int:
    """Delete dead letters, with their history: those of the IDs, or those that the options name.

    Asks where it is more than one. The exit code is 1 when the answer is no, or one of the IDs is no dead letter.

    Example: litequeue -A proj discard --name proj.mail --before 30d
    """
    app = call.load_app()
    which = _which(given)
    with _told():
        _check(ids, everything, which)
        found = [letter.id for letter in app.control.dead(ids or None, **which)]
        if len(found) > 1 and not force:
            meant = f"{counted(len(found), 'task')} of {app.store.path}"
            question = f"This deletes {meant}, with all that is known of them. Go on?"
            if not click.confirm(question, err=call.as_json):
                return 1
        # Those that were asked about: others may have come since.
        count = app.control.discard(found, states=which.get("states") or ("FAILURE", "REVOKED")) if found else 0
    missing = [task_id for task_id in dict.fromkeys(ids) if task_id not in found]
    if call.as_json:
        call.print_json({"discarded": count, "missing": missing})
    else:
        call.echo(f"Discarded {counted(count, 'task')}." if count else "Nothing was discarded.")
        for task_id in missing:
            click.echo(f"litequeue: {task_id}: no such dead letter", err=True)
    return 1 if missing else 0


def _check(ids: tuple[str, ...], everything: bool, which: dict[str, Any]) -> None:
    if not ids and not everything and not which.keys() - {"states"}:
        raise ValueError("discard() needs ids, or something else that says which")


def _which(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The keywords of `app.control.dead` that options stand for."""
    found = {name: given[name] for name in _WHICH if given[name]}
    for option, keyword in (("names", "name"), ("queues", "queue")):
        if option in found:
            found[keyword] = found.pop(option)
    if given["state"] is not None:
        found["states"] = {FAILURE: ("FAILURE",), REVOKED: ("REVOKED",), BOTH: ("FAILURE", "REVOKED")}[given["state"]]
    return found | more


@contextmanager
def _told() -> Iterator[None]:
    """Say in the words of the command line that nothing says which are meant."""
    try:
        yield
    except ValueError as error:
        if "says which" not in str(error):
            raise
        raise LiteQueueCommandException(
            "which? give ids, or options such as --name and --since, or --all", exit_code=2
        ) from error


def _table(letters: Iterable[Any], look: Look) -> str:
    from litequeue.inspect.text import Column, table

    columns = (
        Column("id"),
        Column("name", give=1, leave=1),
        Column("queue", give=3, leave=4),
        Column("when", leave=3),
        Column("error", give=2, leave=2),
    )
    rows = [
        (
            letter.id,
            letter.name,
            letter.queue,
            look.moment(None if letter.date_done is None else letter.date_done.timestamp()),
            letter.error,
        )
        for letter in letters
    ]
    return table(columns, rows, look)
