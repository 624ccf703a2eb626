"""`litequeue schedule`: the entries of the schedule, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import click

from litequeue.cli.completing import queues
from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import POSITIVE, AnyParamType, Option, SectionedHelp, SuggestingGroup
from litequeue.exceptions import LiteQueueCommandException

_Function = TypeVar("_Function", bound=Callable[..., Any])
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(AnyParamType):
    """Seconds, or a number with a unit: 90, 30s, 5m, 1.5h, 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        text = str(value).strip().lower()
        unit = _UNITS.get(text[-1:])
        try:
            seconds = float(text) if unit is None else float(text[:-1]) * unit
            timedelta(seconds=seconds)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no duration; write seconds, or 30s, 5m, 2h, 1d", param, ctx)
        return seconds


class Moment(AnyParamType):
    """A time in ISO 8601."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The datetime, naive where the text has no distance to UTC."""
        try:
            return datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is no time; write '2030-01-31 09:00', or with +01:00 behind it", param, ctx)


class Json(AnyParamType):
    """A JSON value of one type."""

    name = "json"

    def __init__(self, kind: type, example: str) -> None:
        self._kind = kind
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value."""
        try:
            found = json.loads(value)
        except (TypeError, ValueError):
            found = None
        if not isinstance(found, self._kind):
            self.fail(f"{value!r} is not such JSON; write it as {self._example}", param, ctx)
        return found


DURATION = Duration()
MOMENT = Moment()


def _options(*declared: tuple[tuple[str, ...], dict[str, Any]]) -> Callable[[_Function], _Function]:
    """These options, in this order."""

    def add(function: _Function) -> _Function:
        for flags, attrs in reversed(declared):
            function = click.option(*flags, cls=Option, **attrs)(function)
        return function

    return add


when_options = _options(
    (
        ("--cron",),
        {"section": "When", "metavar": "EXPRESSION", "help": "'0 4 * * mon-fri'; six fields with seconds; @daily."},
    ),
    (
        ("--every",),
        {"section": "When", "type": DURATION, "metavar": "DURATION", "help": "Again and again: 30s, 5m, 1d."},
    ),
    (("--at",), {"section": "When", "type": MOMENT, "metavar": "TIME", "help": "Once: '2030-01-31 09:00'."}),
    (("--timezone",), {"section": "When", "metavar": "ZONE", "help": "Europe/Oslo; default: the app's."}),
)

entry_options = _options(
    (("--relative/--not-relative",), {"section": "When", "default": None, "help": "Round --every to the unit."}),
    (("--start",), {"section": "When", "type": MOMENT, "metavar": "TIME", "help": "Not before this time."}),
    (("--end",), {"section": "When", "type": MOMENT, "metavar": "TIME", "help": "Not after this time."}),
    (("--max-runs",), {"section": "When", "type": POSITIVE, "metavar": "N", "help": "End after so many runs."}),
    (
        ("--catchup",),
        {"section": "How", "metavar": "RULE", "help": "What was missed: none, last (the default) or all of it."},
    ),
    (
        ("--catchup-window",),
        {"section": "How", "type": DURATION, "metavar": "DURATION", "help": "What is later than that stays missed."},
    ),
    (
        ("--overlap",),
        {"section": "How", "metavar": "RULE", "help": "While a run goes on: allow (the default), skip or queue."},
    ),
    (
        ("--jitter",),
        {"section": "How", "type": DURATION, "metavar": "DURATION", "help": "Put each run off by up to that."},
    ),
    (
        ("--args",),
        {"section": "The call", "type": Json(list, "'[1, 2]'"), "metavar": "JSON", "help": "Arguments: '[1, 2]'."},
    ),
    (
        ("--kwargs",),
        {"section": "The call", "type": Json(dict, "'{\"x\": 1}'"), "metavar": "JSON", "help": "Keyword arguments."},
    ),
    (
        ("-Q", "--queue"),
        {"section": "The call", "metavar": "NAME", "shell_complete": queues, "help": "The queue."},
    ),
    (
        ("--priority",),
        {"section": "The call", "type": click.IntRange(0, 255), "metavar": "N", "help": "0 to 255, higher first."},
    ),
    (
        ("--expires",),
        {"section": "The call", "type": DURATION, "metavar": "DURATION", "help": "Revoke a run that waits longer."},
    ),
    (
        ("--countdown",),
        {"section": "The call", "type": DURATION, "metavar": "DURATION", "help": "Start a run so much later."},
    ),
)


@click.group(cls=SuggestingGroup, no_args_is_help=False, invoke_without_command=True)
@click.pass_context
def schedule(ctx: click.Context) -> None:
    """Show and change the entries of the schedule.

    Entries of the app's code (beat_schedule, add_periodic_task) can be disabled and run here, and are changed there.

    Example: litequeue -A proj schedule list
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"no command; there are: {', '.join(schedule.commands)}.", ctx)


@schedule.command("list")
@json_option
@click.pass_obj
def list_entries(call: Invocation) -> int:
    """Show every entry, a line each.

    Example: litequeue -b queue.db schedule list --json
    """
    from litequeue.cli.schedule_text import table

    app = existing_app(call)
    entries = app.schedules.list()
    if not entries and app.conf.beat_schedule:
        call.note("what the app's code declares will be there once a worker, or beat, has run")
    if call.as_json:
        call.print_json([entry.as_dict() for entry in entries])
    else:
        call.print_text(table(entries) if entries else "The schedule has no entries.")
    return 0


@schedule.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(call: Invocation, name: str) -> int:
    """Show everything about the entry NAME.

    Example: litequeue -A proj schedule show nightly
    """
    _print(call, existing_app(call).schedules.get(name))
    return 0


@schedule.command(cls=SectionedHelp)
@click.argument("name")
@click.argument("task")
@when_options
@entry_options
@click.option("--disabled", is_flag=True, help="Add it, and do not fire it before it is enabled.")
@json_option
@click.pass_obj
def add(call: Invocation, /, name: str, task: str, disabled: bool, **given: Any) -> int:
    """Add the entry NAME, which enqueues TASK.

    With -A the task must be one of the app's, unless --queue says where it is known; without -A any name will do.

    Example: litequeue -A proj schedule add nightly proj.report --cron '0 4 * * *' --timezone Europe/Oslo
    """
    app = _loaded(call)
    rule = _rule(given, needed=True)
    options = _call_options(given)
    with _told():
        entry = app.schedules.add(name, task, rule, options=options, enabled=not disabled, **_given(given))
    _print(call, entry)
    return 0


@schedule.command(cls=SectionedHelp)
@click.argument("name")
@click.option("--task", help="Another task.")
@when_options
@entry_options
@json_option
@click.pass_obj
def update(call: Invocation, /, name: str, task: str | None, **given: Any) -> int:
    """Change the entry NAME; what is not given stays.

    A new --task, or any option of the call but --args and --kwargs, makes the call anew.

    Example: litequeue -A proj schedule update nightly --cron '0 5 * * *'
    """
    app = _loaded(call)
    changes: dict[str, Any] = {"task": task, "schedule": _rule(given, needed=False)}
    changes["options"] = _call_options(given) or None
    changes = {field: value for field, value in changes.items() if value is not None} | _given(given)
    if not changes:
        raise LiteQueueCommandException("nothing to change; give at least one option", exit_code=2)
    with _told():
        entry = app.schedules.update(name, **changes)
    _print(call, entry)
    return 0


@schedule.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--force", is_flag=True, help="Also what code declares: for entries of an app that is gone.")
@json_option
@click.pass_obj
def remove(call: Invocation, names: tuple[str, ...], force: bool) -> int:
    """Delete entries; the tasks that they have enqueued stay.

    Example: litequeue -A proj schedule remove nightly
    """
    schedules = call.load_app().schedules
    for name in names:
        schedules.remove(name, force=force)
    if call.as_json:
        call.print_json({"removed": list(names)})
    else:
        call.echo(f"Removed {', '.join(names)}.")
    return 0


@schedule.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
@click.pass_obj
def enable(call: Invocation, names: tuple[str, ...]) -> int:
    """Let entries be fired, from the next instant on.

    Example: litequeue -A proj schedule enable nightly
    """
    schedules = call.load_app().schedules
    return _switched(call, [schedules.enable(name) for name in names])


@schedule.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
@click.pass_obj
def disable(call: Invocation, names: tuple[str, ...]) -> int:
    """Do not fire entries any more, until they are enabled.

    Example: litequeue -A proj schedule disable nightly
    """
    schedules = call.load_app().schedules
    return _switched(call, [schedules.disable(name) for name in names])


def _switched(call: Invocation, entries: list[Any]) -> int:
    from litequeue.cli.schedule_text import moment

    if call.as_json:
        call.print_json([entry.as_dict() for entry in entries])
        return 0
    for entry in entries:
        call.echo(f"{entry.name}: {entry.state}, next {moment(entry.next_run_at)}")
    return 0


@schedule.command()
@click.argument("name")
@json_option
@click.pass_obj
def run(call: Invocation, name: str) -> int:
    """Enqueue the task of the entry NAME now; its schedule stays as it is.

    Example: litequeue -A proj schedule run nightly
    """
    result = call.load_app().schedules.run_now(name)
    if call.as_json:
        call.print_json({"name": name, "task_id": result.id})
    else:
        call.echo(result.id)
    return 0


@schedule.command(cls=SectionedHelp)
@click.argument("name", required=False)
@when_options
@click.option("-n", "--count", type=POSITIVE, default=10, show_default=True, metavar="N", help="How many instants.")
@click.option("--after", type=MOMENT, metavar="TIME", help="Those after this time; default: now.")
@json_option
@click.pass_obj
def preview(call: Invocation, /, name: str | None, count: int, after: datetime | None, **given: Any) -> int:
    """Show the next instants of the entry NAME, or of an expression, in its time zone.

    An expression needs neither an app nor a file.

    Example: litequeue schedule preview --cron '30 2 * * sun' --timezone Europe/Paris -n 5
    """
    rule = _rule(given, needed=name is None)
    if name is not None and rule is not None:
        raise LiteQueueCommandException("give the name of an entry or an expression, not both", exit_code=2)
    with _told():
        if rule is None:
            instants = call.load_app().schedules.preview(name, count, after=after)
        else:
            instants = _preview(rule, given["timezone"], count, after)
    if call.as_json:
        call.print_json([instant.isoformat() for instant in instants])
    else:
        click.echo("\n".join(f"{instant:%a} {instant.isoformat(sep=' ')}" for instant in instants) or "There is none.")
    return 0


def _preview(rule: Any, timezone: str | None, count: int, after: datetime | None) -> list[datetime]:
    from litequeue.schedules import find_zone
    from litequeue.schedules import preview as look_ahead

    zone = find_zone(timezone or "UTC")
    if after is not None and after.tzinfo is None:
        after = after.replace(tzinfo=zone)
    return look_ahead(rule, count, after, zone)


# What the options say


def _rule(given: dict[str, Any], *, needed: bool) -> Any:
    """The one of --cron, --every and --at that was given."""
    found = [value for value in (given.pop("cron"), given.pop("every"), given.pop("at")) if value is not None]
    if len(found) > 1 or (needed and not found):
        raise LiteQueueCommandException("say when: with one of --cron, --every and --at", exit_code=2)
    return found[0] if found else None


def _call_options(given: dict[str, Any]) -> dict[str, Any]:
    names = ("queue", "priority", "expires", "countdown")
    options = {name: given.pop(name) for name in names}
    return {name: value for name, value in options.items() if value is not None}


def _given(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _loaded(call: Invocation) -> Any:
    """The app, with all its tasks, so that a name can be checked."""
    return call.load_tasks(creates=True)


@contextmanager
def _told() -> Iterator[None]:
    """Make one line of what an entry cannot be."""
    from litequeue.exceptions import LiteQueueError

    try:
        yield
    except (TypeError, ValueError) as exc:
        if isinstance(exc, LiteQueueError):
            raise
        raise LiteQueueCommandException(str(exc)) from exc


def _print(call: Invocation, entry: Any) -> None:
    from litequeue.cli.schedule_text import page

    if call.as_json:
        call.print_json(entry.as_dict())
    else:
        call.print_text(page(entry))
