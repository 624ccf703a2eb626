"""`litequeue control`: have running workers do something."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from litequeue.cli import completing
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import COMMA_SEPARATED, SECONDS, Option, SectionedHelp, joined
from litequeue.exceptions import LiteQueueCommandException

if TYPE_CHECKING:
    from litequeue.worker.control import CommandInfo

EXIT_UNAVAILABLE: Final = 69
"""There was nobody to do it (EX_UNAVAILABLE, as in Celery)."""
KIND: Final = "control"
_CALLED: Final = "litequeue.control.called"

EXAMPLES: Final = {
    "add_consumer": "add_consumer mail",
    "autoscale": "autoscale 10 2",
    "cancel_consumer": "cancel_consumer mail",
    "disable_events": "disable_events",
    "enable_events": "enable_events",
    "heartbeat": "heartbeat",
    "pool_grow": "pool_grow 2 -d celery@halcyon",
    "pool_restart": "pool_restart",
    "pool_shrink": "pool_shrink 2",
    "rate_limit": "rate_limit proj.tasks.mail 100/m",
    "revoke": "revoke 01980d1c-5f1e-7c3a-9a55-2f1a3b0f7c11",
    "revoke_by_stamped_headers": "revoke_by_stamped_headers customer=42",
    "shutdown": "shutdown -d celery@halcyon",
    "terminate": "terminate SIGTERM 01980d1c-5f1e-7c3a-9a55-2f1a3b0f7c11",
    "time_limit": "time_limit proj.tasks.mail 30 60",
}
"""A command line for each command."""


class ControlHelp(SectionedHelp):
    """The help of a command whose first argument is a remote command: it lists these, or shows one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Notes which remote command is called, for the help: that is printed before arguments are read."""
        ctx.meta[_CALLED] = [text for text in args if not text.startswith("-")]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help of the remote command that is called, or of all."""
        with suppress(Exception):  # the help is there without an app
            _load(ctx.ensure_object(Invocation))
        from litequeue.worker.control import Panel

        name = next((text for text in ctx.meta.get(_CALLED, ()) if _is_offered(Panel.info(text))), None)
        if name is None:
            super().format_help(ctx, formatter)
            return
        info = Panel.meta[Panel.aliases.get(name, name)]
        formatter.write_usage(ctx.command_path, f"{name} {info.signature or ''} [OPTIONS]")
        formatter.write_paragraph()
        formatter.indent()
        formatter.write_text(info.help)
        formatter.dedent()
        self.format_options(ctx, formatter)
        if name in EXAMPLES:
            formatter.write_paragraph()
            formatter.write_text(f"Example: litequeue -A proj control {EXAMPLES[name]}")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, those of the app among them where it can be imported."""
        for title, rows in _listing().items():
            with formatter.section(title):
                formatter.write_dl(rows)
        formatter.write_paragraph()
        formatter.write_text("litequeue control COMMAND --help has an example of each.")
        formatter.write_paragraph()
        formatter.write_text("Example: litequeue -A proj control pool_grow 2 -d celery@halcyon")


def _list_commands(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        call = ctx.ensure_object(Invocation)
        _load(call)
        listing = _listing()
        if call.as_json:
            call.print_json([{"usage": usage, "help": text} for rows in listing.values() for usage, text in rows])
            ctx.exit()
        formatter = ctx.make_formatter()
        for title, rows in listing.items():
            with formatter.section(title):
                formatter.write_dl(rows)
        click.echo(formatter.getvalue().rstrip())
        ctx.exit()


destination_option: Final = click.option(
    "-d",
    "--destination",
    type=COMMA_SEPARATED,
    multiple=True,
    callback=joined,
    cls=Option,
    metavar="NODE,...",
    shell_complete=completing.nodes,
    help="Only these workers.",
)
"""`-d`, of commands to which workers answer."""


@click.command(cls=ControlHelp)
@click.argument("command")
@click.argument("arguments", nargs=-1)
@destination_option
@click.option("-p", "--pattern", cls=Option, metavar="GLOB", help="Only workers whose names match, as in 'mail@*'.")
@click.option(
    "-t", "--timeout", type=SECONDS, cls=Option, metavar="SECONDS", help="How long to wait for answers. Default: 1."
)
@json_option
@click.option(
    "--list",
    is_flag=True,
    is_eager=False,
    expose_value=False,
    callback=_list_commands,
    cls=Option,
    help="List the commands.",
)
@click.pass_obj
def control(
    call: Invocation,
    command: str,
    arguments: tuple[str, ...],
    destination: tuple[str, ...],
    pattern: str | None,
    timeout: float | None,
) -> int:
    """Have running workers carry out COMMAND, and show what they answer.

    Revokes and limits are written to the queue's file, so they need no running worker.
    """
    from litequeue.worker.control import Panel

    app = _load(call)
    info = Panel.info(command)
    if info is None or info.type != KIND:
        raise click.UsageError(_unknown(command))
    nodes = ",".join(destination) or pattern
    try:
        answers = app.control.broadcast(
            command,
            arguments=compile_arguments(command, arguments),
            destination=list(destination) or None,
            pattern=pattern,
            reply=True,
            timeout=info.default_timeout if timeout is None else timeout,
        )
    except ValueError as error:  # an argument of a command that needs no worker
        raise click.UsageError(str(error)) from error
    if not answers and not info.in_file:
        raise LiteQueueCommandException(nobody(app, nodes), exit_code=EXIT_UNAVAILABLE)
    if call.as_json:
        call.print_json(answers, indent=None)
    elif not answers:
        call.echo("Done. No worker is running that could say so." if nodes is None else f"Done. {nobody(app, nodes)}")
    for answer in [] if call.as_json else answers:
        call.print_text(show(answer))
    return 1 if any(is_error(value) for answer in answers for value in answer.values()) else 0


def _load(call: Invocation) -> Any:
    """The app, with the modules imported whose commands a worker of it has."""
    app = call.load_app()
    from litequeue.app.loading import import_default_modules

    import_default_modules(app)
    return app


def nobody(app: Any, nodes: str | None) -> str:
    """The sentence that no worker answered, of those that `nodes` means (None: of all)."""
    running = sorted({record.worker for record in app.store.processes() if record.role == "worker"})
    there = f"there are: {', '.join(running)}" if running else "none is registered"
    if nodes is None:
        return f"No worker answered; {there}."
    return f"No running worker matches {nodes}; {there}."


# Commands


def _is_offered(info: CommandInfo | None) -> bool:
    """Whether there is a remote command, and this command line lists it."""
    return info is not None and info.type == KIND and info.visible


def _listing() -> dict[str, list[tuple[str, str]]]:
    """The commands with their help, by heading."""
    from litequeue.worker.control import Panel

    found: dict[str, list[tuple[str, str]]] = {}
    for name, info in sorted(Panel.meta.items()):
        if _is_offered(info):
            usage = f"{name} {info.signature}" if info.signature else name
            title = f"{info.group} commands" if info.group else "Commands"
            found.setdefault(title, []).append((usage, info.help))
    return dict(sorted(found.items()))


def _unknown(command: str) -> str:
    import difflib

    from litequeue.worker.control import Panel

    names = [name for name, info in Panel.meta.items() if _is_offered(info)]
    near = difflib.get_close_matches(command, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(names))}."
    info = Panel.info(command)
    if info is not None and info.type != KIND:
        return f"{command!r} asks workers, and changes nothing: it is a command of `litequeue inspect`"
    return f"no command {command!r} for workers; {hint}"


def compile_arguments(command: str, given: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a remote command as its declaration names and types them. UsageError: they do not fit."""
    from litequeue.worker.control import Panel

    info = Panel.info(command)
    assert info is not None, "it was looked up before"
    declared = list(info.args or ())
    usage = f"{command} {info.signature}" if info.signature else command
    if len(given) > len(declared) and not info.variadic:
        raise click.UsageError(f"{command} takes fewer arguments: {usage}")
    arguments: dict[str, Any] = {}
    for (name, convert), text in zip(declared, given, strict=False):
        arguments[name] = _converted(name, convert, text, usage)
    if info.variadic:
        arguments[info.variadic] = list(given[len(declared) :])
        if not arguments[info.variadic] and not (info.signature or "").startswith("["):
            raise click.UsageError(f"{command} needs more arguments: {usage}")
    required = (info.signature or "").partition("[")[0].count("<")
    if len(given) < required or (info.variadic in ("task_id", "headers") and not arguments[info.variadic]):
        raise click.UsageError(f"{command} needs more arguments: {usage}")
    return arguments


def _converted(name: str, convert: Callable[[str], Any] | None, text: str, usage: str) -> Any:
    if convert is None:
        return text
    if convert is bool:
        return text.lower() in ("1", "true", "yes", "on")
    try:
        return convert(text)
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"{name} cannot be {text!r}: {usage}") from error


# Answers


def is_error(answer: Any) -> bool:
    """Whether a worker answered that it could not be done."""
    return isinstance(answer, Mapping) and "error" in answer


def show(answer: Mapping[str, Any]) -> str:
    """What one worker said, in a line and what it said below."""
    ((node, said),) = answer.items()
    if isinstance(said, Mapping) and said.keys() in ({"ok"}, {"error"}):
        ((status, text),) = said.items()
    else:
        status, text = "ok", said
    lines = f"->  {node}: {status.upper()}"
    if text is None:
        return lines
    body = text if isinstance(text, str) else json.dumps(text, indent=2, default=str)
    return "\n".join([lines, *(f"        {line}" for line in body.splitlines())])
