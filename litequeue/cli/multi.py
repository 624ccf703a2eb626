"""`litequeue multi`: several workers by one command."""

from __future__ import annotations

import copy
import shlex
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from litequeue.cli.invocation import Invocation
from litequeue.cli.options import Option, SectionedHelp
from litequeue.cli.worker import worker

if TYPE_CHECKING:
    from litequeue.multi.cluster import Outcome, Running
    from litequeue.multi.nodes import Node

_TOP: Final = "litequeue multi"
_HANDED_ON: Final = (
    ("app_spec", "-A"), ("broker", "-b"), ("result_backend", "--result-backend"), ("config", "--config"),
    ("workdir", "--workdir"),
)  # fmt: skip
"""Global options that mean the nodes, where they stand before `multi`."""

_OWN_FLAGS: Final = {
    "--quiet": "quiet", "-q": "quiet", "--verbose": "verbose", "-v": "verbose", "--no-color": "plain",
    "--nosplash": "nosplash", "--json": "json", "-j": "json",
}  # fmt: skip

_ACTIONS: Final = (
    ("start", "Start the nodes in the background; says of each whether it runs."),
    ("stop", "Send them SIGTERM (or the signal that is given, as in -QUIT), and do not wait."),
    ("stopwait", "The same, and wait until they have ended; also called stop_verify."),
    ("restart", "Stop each, wait, start it again with the options given now."),
    ("kill", "Send them SIGKILL."),
    ("show", "Print the command lines that would start them."),
    ("names", "Print their names."),
    ("get NODE", "Print the options of one of them."),
    ("expand TEMPLATE", "Print TEMPLATE filled in for each: %n, %h, %p, %d."),
    ("help", "Print this."),
)

_WORKERS: Final = (
    ("-c 3, --queues=mail", "Any of them, for every node."),
    ("-c:1-3 10, -c:w1,w2 10", "The same for some: by number, range or name."),
)


def _declared() -> list[click.Parameter]:
    """The options by name, for the help and for whoever lists them; `parsing` reads them."""
    own: tuple[tuple[tuple[str, ...], str | None, str], ...] = (
        (("--pidfile",), "FILE", "Default: %n.pid, in the current folder."),
        (("--logfile",), "FILE", "Default: %n%I.log, in the current folder."),
        (("-n", "--hostname"), "HOST", "The host in the nodes' names."),
        (("--range-prefix",), "NAME", "What numbered nodes are called; default: celery."),
        (("--prefix",), "NAME", "What stands before the names of the others."),
        (("--suffix",), "HOST", "The host in the nodes' names, before --hostname."),
        (("--executable",), "PYTHON", "The Python that runs them."),
        (("--cmd",), "COMMAND", "Instead of '-m litequeue worker --detach'."),
        (("--append",), "TEXT", "More for the end of each command line."),
        (("-v", "--verbose"), None, "Print the command lines too."),
        (("--nosplash",), None, "Accepted from Celery."),
    )
    found: list[click.Parameter] = [
        Option(flags, metavar=metavar, is_flag=metavar is None, help=text, section="Options of multi")
        for flags, metavar, text in own
    ]
    taken = {flag for param in found for flag in param.opts}
    for param in worker.params:
        if isinstance(param, click.Option) and not taken.intersection(param.opts):
            handed_on = copy.copy(param)
            handed_on.hidden = True
            found.append(handed_on)
    return found


class MultiCommand(SectionedHelp):
    """Leaves its arguments as they are: they are the nodes' options, and some are only for some nodes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments; `--help` is answered here."""
        limit = args.index("--") if "--" in args else len(args)
        if not ctx.resilient_parsing and {"--help", "-h"}.intersection(args[:limit]):
            click.echo(ctx.get_help())
            ctx.exit()
        ctx.args = list(args)
        return ctx.args

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The arguments by name."""
        return ["ACTION", "N|NAME...", "[WORKER OPTIONS]"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Actions, and options by section."""
        with formatter.section("Actions"):
            formatter.write_dl(_ACTIONS)
        with formatter.section("Options of worker"):
            formatter.write_dl(_WORKERS)
        super().format_options(ctx, formatter)


@click.command(cls=MultiCommand, add_help_option=False, params=_declared())
@click.pass_context
def multi(ctx: click.Context) -> int:
    """Start, stop and show several workers by one command.

    A number is that many nodes, celery1 and so on; a name is one node. To stop nodes, name them as when they were
    started, with the same --pidfile and --workdir where these were given.

    Example: litequeue multi start 10 -A proj -l info -Q:1-3 images,video -Q:4,5 data -Q default
    """
    from litequeue.multi.nodes import WrongNodes

    call = ctx.ensure_object(Invocation)
    flags, arguments = _own_flags(ctx.args)
    call.as_json |= "json" in flags
    call.quiet |= "quiet" in flags
    call.no_color |= "plain" in flags
    action, *arguments = arguments or [""]
    carry_out = _CARRIED_OUT.get(action)
    if carry_out is None:
        raise click.UsageError(_unknown(action), ctx)
    try:
        return carry_out(Screen(call, verbose="verbose" in flags), ctx, arguments)
    except WrongNodes as exc:
        raise click.UsageError(str(exc), ctx) from exc


def _own_flags(arguments: list[str]) -> tuple[set[str], list[str]]:
    """What concerns multi and not the nodes, and the arguments without it."""
    limit = arguments.index("--") if "--" in arguments else len(arguments)
    before = arguments[:limit]
    found = {_OWN_FLAGS[argument] for argument in before if argument in _OWN_FLAGS}
    return found, [*(argument for argument in before if argument not in _OWN_FLAGS), *arguments[limit:]]


def _unknown(action: str) -> str:
    from litequeue.cli.options import nearest

    if not action or action.startswith("-"):
        return "no action; write it first, as in `litequeue multi start w1 -A proj`: " + ", ".join(_CARRIED_OUT)
    near = nearest(action, _CARRIED_OUT)
    return f"no action {action!r}; " + (f"did you mean {near!r}?" if near else f"there are: {', '.join(_CARRIED_OUT)}.")


class Screen:
    """What is said on the way, and the answer under --json."""

    def __init__(self, call: Invocation, *, verbose: bool) -> None:
        self.call = call
        self._verbose = verbose
        self._talks = not call.quiet and not call.as_json

    def head(self, text: str) -> None:
        """What is about to be done."""
        from litequeue import __version__

        self.say(self._styled(f"{_TOP} {__version__}", "cyan"))
        self.say(text)

    def say(self, text: str = "", *, nl: bool = True) -> None:
        """Text on stdout, unless --quiet or --json."""
        if self._talks:
            click.echo(text, nl=nl, color=self.call.color)

    def detail(self, node: Node) -> None:
        """The command line, with --verbose."""
        if self._verbose:
            self.say(f"  {shlex.join(node.command)}")

    def outcome(self, start: str, outcome: Outcome) -> None:
        """One line for what became of a node."""
        text = {"ok": ("OK", "green"), "failed": ("FAILED", "red"), "down": ("DOWN", "magenta")}
        word = self._styled(*text.get(outcome.result, ("TOLD", "green")))
        self.say(f"{start}> {outcome.node}: {word}" + (f" ({outcome.error})" if outcome.error else ""))

    def _styled(self, text: str, color: str) -> str:
        return click.style(text, fg=color)

    def finish(self, outcomes: Iterable[Outcome]) -> int:
        """The exit code: 1 where one has failed. Under --json all of them are printed."""
        found = list(outcomes)
        if self.call.as_json:
            self.call.print_json({"nodes": [outcome.as_dict() for outcome in found]})
        elif self.call.quiet:
            for outcome in found:
                if outcome.result == "failed":
                    click.echo(f"litequeue: {outcome.node}: {outcome.error}", err=True)
        return int(any(outcome.result == "failed" for outcome in found))


def _nodes(screen: Screen, ctx: click.Context, arguments: list[str]) -> list[Node]:
    """The nodes of the command line."""
    from litequeue.multi.nodes import Nodes
    from litequeue.multi.parsing import parse

    given = parse(arguments)
    outer = ctx.parent
    for field, flag in _HANDED_ON:
        written = outer is not None and outer.get_parameter_source(field) == click.core.ParameterSource.COMMANDLINE
        if written and (value := getattr(screen.call, field)) is not None:
            given.options.setdefault(flag, value)
    nodes = Nodes(given)
    for name in nodes.unknown:
        screen.call.note(f"no node is called {name!r}; the options for it are ignored")
    return list(nodes)


# Actions


def _start(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    from litequeue.multi import cluster

    nodes = _nodes(screen, ctx, arguments)
    screen.head("> Starting nodes...")
    for node in nodes:
        screen.detail(node)
    outcomes = []
    for outcome in cluster.start(nodes):
        screen.outcome("\t", outcome)
        outcomes.append(outcome)
    return screen.finish(outcomes)


def _signal(screen: Screen, ctx: click.Context, arguments: list[str]) -> tuple[list[Node], Running, list[Outcome]]:
    """Tell the nodes to stop: all of them, those that are waited for, and what became of the others and of these."""
    from litequeue.multi import cluster, parsing

    number, arguments = parsing.take_signal(arguments, signal.SIGTERM)
    nodes = _nodes(screen, ctx, arguments)
    screen.head("> Stopping nodes...")
    return nodes, *_told(screen, cluster.Running(nodes), number)


def _told(screen: Screen, running: Running, number: signal.Signals, **how: bool) -> tuple[Running, list[Outcome]]:
    name = number.name.removeprefix("SIG")
    outcomes = list(running.down)
    for outcome in outcomes:
        screen.outcome("\t", outcome)
    for outcome in running.signal(number, lambda node, pid: screen.say(f"\t> {node.name}: {name} -> {pid}"), **how):
        if outcome.result != "signalled":
            screen.outcome("\t", outcome)
        outcomes.append(outcome)
    return running, outcomes


def _wait(screen: Screen, running: Running, ended: Callable[[Node, Outcome], None]) -> None:
    def waiting() -> None:
        left = list(running)
        if left:
            pids = ", ".join(str(pid) for _, pid in left)
            screen.say(f"> Waiting for {len(left)} {'node' if len(left) == 1 else 'nodes'} -> {pids}...", nl=False)

    waiting()
    for together in running.ended(lambda: screen.say(".", nl=False)):
        screen.say()
        for node, outcome in together:
            ended(node, outcome)
        waiting()


def _stop(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    _, _, outcomes = _signal(screen, ctx, arguments)
    return screen.finish(outcomes)


def _stopwait(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    _, running, outcomes = _signal(screen, ctx, arguments)

    def ended(_node: Node, outcome: Outcome) -> None:
        screen.outcome("\t", outcome)
        outcomes.append(outcome)

    _wait(screen, running, ended)
    return screen.finish(_last(outcomes))


def _restart(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    from litequeue.multi import cluster

    nodes, running, outcomes = _signal(screen, ctx, arguments)

    def again(node: Node) -> None:
        screen.say(f"> Restarting node {node.name}:")
        screen.detail(node)
        outcomes.append(cluster.start_one(node))
        screen.outcome("\t", outcomes[-1])

    by_name = {node.name: node for node in nodes}
    for outcome in list(outcomes):
        if outcome.result == "down":
            again(by_name[outcome.node])
    _wait(screen, running, lambda node, _outcome: again(node))
    return screen.finish(_last(outcomes))


def _kill(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    from litequeue.multi import cluster

    nodes = _nodes(screen, ctx, arguments)
    screen.head("> Killing nodes...")
    number = getattr(signal, "SIGKILL", signal.SIGTERM)
    running, outcomes = _told(screen, cluster.Running(nodes), number, by_file=False)
    for together in running.ended():
        outcomes += [outcome for _, outcome in together]
    return screen.finish(_last(outcomes))


def _last(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """What became of each node in the end."""
    return list({outcome.node: outcome for outcome in outcomes}.values())


def _show(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    nodes = _nodes(screen, ctx, arguments)
    if screen.call.as_json:
        screen.call.print_json([_as_dict(node) for node in nodes])
    else:
        click.echo("\n".join(shlex.join(node.command) for node in nodes))
    return 0


def _as_dict(node: Node) -> dict[str, Any]:
    return {"node": node.name, "command": node.command, "pidfile": node.pidfile, "logfile": node.logfile}


def _names(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    names = [node.name for node in _nodes(screen, ctx, arguments)]
    if screen.call.as_json:
        screen.call.print_json(names)
    else:
        click.echo("\n".join(names))
    return 0


def _get(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    wanted, *arguments = arguments or [""]
    nodes = _nodes(screen, ctx, arguments)
    for node in nodes:
        if wanted in (node.name, node.expand("%n")):
            if screen.call.as_json:
                screen.call.print_json(_as_dict(node))
            else:
                click.echo(shlex.join(node.argv))
            return 0
    click.echo(f"{_TOP}: no node {wanted!r}; there are {', '.join(node.name for node in nodes)}", err=True)
    return 1


def _expand(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    template, *arguments = arguments or [""]
    texts = [node.expand(template) for node in _nodes(screen, ctx, arguments)]
    if screen.call.as_json:
        screen.call.print_json(texts)
    else:
        click.echo("\n".join(texts))
    return 0


def _help(screen: Screen, ctx: click.Context, arguments: list[str]) -> int:
    click.echo(ctx.get_help())
    return 0


_CARRIED_OUT: Final[dict[str, Callable[[Screen, click.Context, list[str]], int]]] = {
    "start": _start,
    "stop": _stop,
    "stopwait": _stopwait,
    "stop_verify": _stopwait,
    "restart": _restart,
    "kill": _kill,
    "show": _show,
    "names": _names,
    "get": _get,
    "expand": _expand,
    "help": _help,
}
