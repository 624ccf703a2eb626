"""The commands of `litequeue inspect` that ask workers: Celery's, and those of the app (`@inspect_command`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from litequeue.cli import completing
from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, global_options, json_option
from litequeue.cli.options import COMMA_SEPARATED, SECONDS, Option, SectionedHelp, SuggestingGroup, joined
from litequeue.exceptions import LiteQueueCommandException
from litequeue.utils.words import counted

if TYPE_CHECKING:
    from litequeue.worker.control import CommandInfo

_Function = TypeVar("_Function", bound=Callable[..., Any])
KIND: Final = "inspect"
_GIVEN: Final = "litequeue.inspect."
_MARGIN: Final = "    "

EXAMPLES: Final = {
    "active": "active",
    "active_queues": "active_queues",
    "clock": "clock",
    "conf": "conf",
    "hello": "hello celery@halcyon",
    "memsample": "memsample",
    "ping": "ping -d celery@halcyon -t 5",
    "query_task": "query_task 01980d1c-5f1e-7c3a-9a55-2f1a3b0f7c11",
    "registered": "registered rate_limit",
    "report": "report",
    "reserved": "reserved",
    "revoked": "revoked",
    "scheduled": "scheduled --json",
    "stats": "stats -d celery@halcyon",
}
"""A command line for each command."""


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Note an option that stands before or after the command; the later one counts."""
    if value:
        ctx.meta[f"{_GIVEN}{param.name}"] = value


def _keep_names(ctx: click.Context, param: click.Parameter, values: tuple[tuple[str, ...], ...]) -> None:
    _keep(ctx, param, joined(ctx, param, values))


_DESTINATION: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("-d", "--destination"),
        {
            "type": COMMA_SEPARATED,
            "multiple": True,
            "callback": _keep_names,
            "metavar": "NODE,...",
            "shell_complete": completing.nodes,
            "help": "Ask only these workers.",
        },
    ),
    (
        ("-p", "--pattern"),
        {"callback": _keep, "metavar": "GLOB", "help": "Ask only workers whose names match, as in 'mail@*'."},
    ),
    (
        ("-t", "--timeout"),
        {
            "type": SECONDS,
            "callback": _keep,
            "metavar": "SECONDS",
            "help": "How long to wait for the workers' answers. Default: 1.",
        },
    ),
)


def destination_options(function: _Function) -> _Function:
    """`-d`, `-p` and `-t`: which workers are asked, and how long their answers are waited for."""
    for flags, attrs in reversed(_DESTINATION):
        function = click.option(*flags, cls=Option, expose_value=False, **attrs)(function)
    return function


class Asking(SuggestingGroup):
    """A group whose commands are those that it declares, and every inspect command that workers know."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Its own commands, then those that ask workers."""
        return [*self.commands, *_names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of its own, or one that asks workers; the app is imported where it may be one of its own."""
        own = self.commands.get(cmd_name)
        if own is not None:
            return own
        info = _info(cmd_name)
        if info is None:
            _import_commands(ctx)
            info = _info(cmd_name)
        return None if info is None else _asking(cmd_name, info)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` call; also one that is not listed, or by its other name."""
        command = self.get_command(ctx, args[0])
        return super().resolve_command(ctx, args) if command is None else (args[0], command, args[1:])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both kinds of commands."""
        _import_commands(ctx)
        own = [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        with formatter.section("What is in the file"):
            formatter.write_dl(own)
        asking = [(name, info.help) for name in _names() if (info := _info(name)) is not None]
        with formatter.section("What workers say"):
            formatter.write_dl(asking)


def _info(name: str) -> CommandInfo | None:
    from litequeue.worker.control import Panel

    info = Panel.info(name)
    return info if info is not None and info.type == KIND else None


def _names() -> list[str]:
    from litequeue.worker.control import Panel

    return sorted(name for name, info in Panel.meta.items() if info.type == KIND and info.visible)


def _import_commands(ctx: click.Context) -> None:
    """Import the app's modules, for the commands that they declare."""
    with suppress(Exception):
        ctx.ensure_object(Invocation).load_tasks()


def _asking(name: str, info: CommandInfo) -> click.Command:
    """The command that asks workers for `name`."""

    @click.pass_context
    def ask(ctx: click.Context, arguments: tuple[str, ...]) -> int:
        call = ctx.find_object(Invocation)
        assert call is not None, "the program makes one"
        return _ask(call, name, info, arguments, _given(ctx))

    for decorate in (json_option, destination_options):
        ask = decorate(ask)
    command = click.command(
        name, cls=SectionedHelp, options_metavar=f"{info.signature or ''} [OPTIONS]".strip(), help=info.help
    )(click.argument("arguments", nargs=-1, metavar="")(ask))
    example = EXAMPLES.get(name)
    if example is not None:
        command.epilog = f"\b\nExample: litequeue -A proj inspect {example}"
    taken = {flag for param in command.params for flag in param.opts}
    command.params.extend(option for option in global_options(hidden=True) if not taken.intersection(option.opts))
    return command


def _given(ctx: click.Context) -> dict[str, Any]:
    return {name: ctx.meta.get(_GIVEN + name) for name in ("destination", "pattern", "timeout")}


def _ask(call: Invocation, name: str, info: CommandInfo, arguments: tuple[str, ...], given: Mapping[str, Any]) -> int:
    from litequeue.cli.control import EXIT_UNAVAILABLE, compile_arguments, is_error, nobody

    app = existing_app(call)
    compiled = compile_arguments(name, arguments)
    asker = app.control.inspect(
        destination=None if given["destination"] is None else list(given["destination"]),
        pattern=given["pattern"],
        timeout=info.default_timeout if given["timeout"] is None else given["timeout"],
    )
    with call.telling_warnings():
        answers = (_pong(asker) if name == "ping" else asker._request(name, **compiled)) or {}
    answered = [node for node, said in answers.items() if not is_error(said)]
    if call.as_json and answers:
        call.print_json(answers, indent=None)
    for node, said in {} if call.as_json else answers.items():
        call.print_text(_said(node, said))
    if not answers or (name == "ping" and not answered):
        raise LiteQueueCommandException(
            nobody(app, ",".join(given["destination"] or ()) or given["pattern"]), exit_code=EXIT_UNAVAILABLE
        )
    if not call.as_json:
        call.echo(f"\n{counted(len(answered), 'node')} online.")
    return 0 if len(answered) == len(answers) else 1


def _pong(asker: Any) -> dict[str, Any]:
    """Who answers, and of those who do not, whether they hang or are dead."""
    return {node: {"ok": "pong"} if lives == "alive" else {"error": lives} for node, lives in asker.liveness().items()}


def _said(node: str, said: Any) -> str:
    """What one worker said, as Celery's command line shows it."""
    status, body = "OK", said
    if isinstance(said, Mapping) and said.keys() in ({"ok"}, {"error"}):
        ((kind, body),) = said.items()
        status = kind.upper()
    lines = _lines(body)
    return "\n".join([f"->  {node}: {status}", *(_MARGIN + line for line in lines)])


def _lines(body: Any) -> list[str]:
    if isinstance(body, list):
        return [f"* {item if isinstance(item, str) else json.dumps(item, default=str)}" for item in body] or [
            "- empty -"
        ]
    text = body if isinstance(body, str) else json.dumps(body, indent=4, sort_keys=True, default=str)
    return text.splitlines()
