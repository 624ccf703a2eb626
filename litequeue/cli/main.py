"""The entry of the command line: global options, and commands that are imported when they are called.

A new command is a file beside this one and a line in COMMANDS: its address, a line of help, and the section of
`litequeue --help` in which it stands.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import click

from litequeue.cli.invocation import Invocation, describe, global_options
from litequeue.cli.options import SuggestingGroup, nearest
from litequeue.exceptions import LiteQueueCommandException, LiteQueueError

EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


RUNNING: Final = "Running"
CALLING: Final = "Calling"
LOOKING: Final = "Looking"
STEERING: Final = "Steering"
FILE: Final = "The file"
OTHER: Final = "Other"
SECTIONS: Final = (RUNNING, CALLING, LOOKING, STEERING, FILE, OTHER)
"""The sections of the list of commands, in their order."""


class Lazy(NamedTuple):
    """A command by address, with the line that the list of commands shows, and the section it stands in."""

    target: str
    """`module:attribute` of a click command."""
    help: str
    section: str


COMMANDS: Final[dict[str, Lazy]] = {
    "worker": Lazy("litequeue.cli.worker:worker", "Run tasks.", RUNNING),
    "beat": Lazy("litequeue.cli.beat:beat", "Fire the entries of the schedule, without running tasks.", RUNNING),
    "multi": Lazy("litequeue.cli.multi:multi", "Start, stop and show several workers by one command.", RUNNING),
    "service": Lazy("litequeue.cli.service:service", "Print what makes a service of a worker.", RUNNING),
    "call": Lazy("litequeue.cli.call:call", "Enqueue a task by its name.", CALLING),
    "result": Lazy("litequeue.cli.result:result", "Show what a task returned; wait for it; follow it.", CALLING),
    "shell": Lazy("litequeue.cli.shell:shell", "A Python shell with the app and its tasks.", CALLING),
    "inspect": Lazy("litequeue.cli.inspect:inspect", "Show what is in the queue, and what workers say.", LOOKING),
    "status": Lazy("litequeue.cli.status:status", "Show which workers answer.", LOOKING),
    "list": Lazy("litequeue.cli.list:list_", "List queues, bindings, or the app's tasks.", LOOKING),
    "graph": Lazy("litequeue.cli.graph:graph", "Draw a workflow, the workers, or the queues.", LOOKING),
    "events": Lazy("litequeue.cli.events:events", "Show what workers do, as it happens, or feed a camera.", LOOKING),
    "dead": Lazy("litequeue.cli.dead:dead", "List the tasks that failed, and show their history.", LOOKING),
    "doctor": Lazy("litequeue.cli.doctor:doctor", "Look whether anything is wrong, and say what to do.", LOOKING),
    "report": Lazy("litequeue.cli.report:report", "Show what somebody who is to help must know.", LOOKING),
    "control": Lazy(
        "litequeue.cli.control:control", "Have running workers do something; change limits; revoke.", STEERING
    ),
    "pause": Lazy("litequeue.cli.pause:pause", "Start nothing more from a queue, or of a task, for a while.", STEERING),
    "resume": Lazy("litequeue.cli.pause:resume", "End a pause.", STEERING),
    "schedule": Lazy("litequeue.cli.schedule:schedule", "Show and change the entries of the schedule.", STEERING),
    "retry": Lazy("litequeue.cli.dead:retry", "Run tasks again that failed, or were revoked.", STEERING),
    "discard": Lazy("litequeue.cli.dead:discard", "Delete tasks that failed, or were revoked.", STEERING),
    "purge": Lazy("litequeue.cli.purge:purge", "Delete the tasks that have not started.", STEERING),
    "backup": Lazy("litequeue.cli.backup:backup", "Copy the queue while it is used.", FILE),
    "vacuum": Lazy("litequeue.cli.vacuum:vacuum", "Delete what is past its retention; make the file smaller.", FILE),
    "upgrade": Lazy("litequeue.cli.upgrade:upgrade", "Bring the file of an older version up to date.", FILE),
    "completion": Lazy(
        "litequeue.cli.completion:completion", "Print what completes command lines in your shell.", OTHER
    ),
    "help": Lazy("litequeue.cli.help:help", "Show the help of a command.", OTHER),
}


class LazyGroup(SuggestingGroup):
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
        _finish(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without importing them."""
        width = max(map(len, COMMANDS))
        for title in SECTIONS:
            rows = [(name.ljust(width), lazy.help) for name, lazy in COMMANDS.items() if lazy.section == title]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _finish(command: click.Command) -> None:
    """Give a command, and those in it, the global options, and put the example at the end of its help."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _finish(inner)
    taken = {flag for param in command.params for flag in param.opts}
    command.params.extend(option for option in global_options(hidden=True) if not taken.intersection(option.opts))
    text, mark, example = inspect.cleandoc(command.help or "").rpartition("\n\nExample: ")
    if mark:
        command.help = text
        # \b: a command line is not broken, so that it can be copied.
        command.epilog = f"{_ELSEWHERE}\n\n\b\nExample: {' '.join(example.split())}"


_ELSEWHERE: Final = "Global options (-A, -b, -q, --json and others) may stand here too."


@click.group(
    cls=LazyGroup,
    params=[*global_options()],
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "LITEQUEUE", "help_option_names": ["-h", "--help"]},
)
@click.pass_context
def litequeue(ctx: click.Context) -> None:
    """A task queue on one SQLite file.

    Global options may stand before or after the command. `litequeue COMMAND --help` has the others, and an example.

    Example: litequeue -A proj worker -l INFO
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
    if any("\0" in arg for arg in args):
        return _report("an argument has a NUL character, which no name or path has", None, EXIT_USAGE)
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
    except UnicodeEncodeError as exc:
        broken = [arg for arg in args if not _is_text(arg)]
        if not broken:
            raise
        return _report(f"{broken[0]!a}: it is not text in UTF-8, which names and paths are here", exc, EXIT_USAGE)
    except OSError as exc:
        if exc.errno != errno.EPIPE:
            raise
        # Whoever read our output has gone (`litequeue ... | head`): stop without a word, also at the flush on exit.
        sys.stdout = sys.stderr = None
        return EXIT_ERROR


def _is_text(arg: str) -> bool:
    """Whether the shell gave us UTF-8; other bytes come as lone surrogates."""
    try:
        arg.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_such_option(exc: click.NoSuchOption) -> str:
    near = nearest(exc.option_name, exc.possibilities or ())
    return f"no option {exc.option_name!r}" + (f"; did you mean {near!r}?" if near else "")


def _report(message: str, exc: BaseException | None, code: int) -> int:
    ctx = getattr(exc, "ctx", None)
    where = ctx.command_path if ctx is not None else "litequeue"
    from litequeue.inspect.text import sayable

    click.echo(sayable(f"{where}: {' '.join(message.split())}", getattr(sys.stderr, "encoding", None)), err=True)
    return code
