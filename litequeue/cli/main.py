"""The entry of the command line: global options, and commands that are imported when they are called.

A new command is a file beside this one and a line in COMMANDS.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import click

from litequeue.cli.invocation import Invocation, describe, global_options
from litequeue.cli.options import SectionedHelp
from litequeue.exceptions import LiteQueueCommandException, LiteQueueError

EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


class Lazy(NamedTuple):
    """A command by address, with the line that the list of commands shows."""

    target: str
    """`module:attribute` of a click command."""
    help: str


COMMANDS: Final[dict[str, Lazy]] = {
    "worker": Lazy("litequeue.cli.worker:worker", "Run tasks."),
    "beat": Lazy("litequeue.cli.beat:beat", "Fire the entries of the schedule, without running tasks."),
    "schedule": Lazy("litequeue.cli.schedule:schedule", "Show and change the entries of the schedule."),
    "control": Lazy("litequeue.cli.control:control", "Have running workers do something; change limits; revoke."),
    "pause": Lazy("litequeue.cli.pause:pause", "Start nothing more from a queue, or of a task, for a while."),
    "resume": Lazy("litequeue.cli.pause:resume", "End a pause."),
    "dead": Lazy("litequeue.cli.dead:dead", "List the tasks that failed, and show their history."),
    "retry": Lazy("litequeue.cli.dead:retry", "Run tasks again that failed, or were revoked."),
    "discard": Lazy("litequeue.cli.dead:discard", "Delete tasks that failed, or were revoked."),
    "purge": Lazy("litequeue.cli.purge:purge", "Delete the tasks that have not started."),
    "help": Lazy("litequeue.cli.help:help", "Show the help of a command."),
}


class LazyGroup(SectionedHelp, click.Group):
    """Imports a command when it is called, and gives each the global options too, so that both orders work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name`, imported."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _add_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` call; an unknown one is an error that suggests the nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(COMMANDS)}."
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options by section, then the commands, without importing them."""
        SectionedHelp.format_options(self, ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])


def _add_global_options(command: click.Command) -> None:
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _add_global_options(inner)
    taken = {flag for param in command.params for flag in param.opts}
    command.params.extend(option for option in global_options(hidden=True) if not taken.intersection(option.opts))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from litequeue import __version__

        click.echo(__version__)
        ctx.exit()


@click.group(
    cls=LazyGroup,
    params=[
        *global_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            allow_from_autoenv=False,
            callback=_print_version,
            help="Print the version.",
        ),
    ],
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "LITEQUEUE", "help_option_names": ["-h", "--help"]},
)
@click.pass_context
def litequeue(ctx: click.Context) -> None:
    """A task queue on one SQLite file.

    Global options may stand before or after the command.
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"no command; there are: {', '.join(COMMANDS)}.", ctx)


def run(argv: Sequence[str] | None = None, *, app: Any = None) -> int:
    """Carry out the command line `argv` (without the program's name; None: that of this process); its exit code.

    With `app`, `-A` is not needed. An error is one line on stderr, never a traceback.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if args and args[0] == sys.argv[0]:
        args = args[1:]
    try:
        code = litequeue.main(
            args=args or ["--help"], prog_name="litequeue", standalone_mode=False, obj=Invocation(app=app, argv=args)
        )
        return code if isinstance(code, int) else 0
    except (click.Abort, KeyboardInterrupt) as exc:
        # click takes every EOFError for Ctrl-D at a question; its own questions raise Abort without a cause.
        if isinstance(exc.__cause__, EOFError):
            raise exc.__cause__ from None
        return EXIT_INTERRUPTED
    except click.NoSuchOption as exc:
        return _report(_no_such_option(exc), exc, EXIT_USAGE)
    except click.ClickException as exc:
        return _report(exc.format_message(), exc, EXIT_USAGE if isinstance(exc, click.UsageError) else EXIT_ERROR)
    except LiteQueueCommandException as exc:
        return _report(str(exc), exc, exc.exit_code)
    except LiteQueueError as exc:
        return _report(describe(exc), exc, EXIT_ERROR)
    except OSError as exc:
        if exc.errno != errno.EPIPE:
            raise
        # Whoever read our output has gone (`litequeue ... | head`): stop without a word, also at the flush on exit.
        sys.stdout = sys.stderr = None
        return EXIT_ERROR


def _no_such_option(exc: click.NoSuchOption) -> str:
    near = difflib.get_close_matches(exc.option_name, exc.possibilities or (), n=1)
    return f"no option {exc.option_name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _report(message: str, exc: BaseException, code: int) -> int:
    ctx = getattr(exc, "ctx", None)
    where = ctx.command_path if ctx is not None else "litequeue"
    click.echo(f"{where}: {' '.join(message.split())}", err=True)
    return code
