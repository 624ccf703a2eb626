"""`litequeue worker`: run tasks until told to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import click

from litequeue.cli.celery_options import celery_options
from litequeue.cli.completing import queues
from litequeue.cli.detach import Background, daemon_options
from litequeue.cli.invocation import Invocation
from litequeue.cli.options import (
    COMMA_SEPARATED,
    CONCURRENCY,
    LOG_LEVEL,
    MEMORY,
    POSITIVE,
    SECONDS,
    AnyParamType,
    Option,
    SectionedHelp,
    joined,
    log_options,
)
from litequeue.exceptions import ImproperlyConfigured, LiteQueueCommandException

if TYPE_CHECKING:
    from litequeue.worker.runtime import Loader, Runtime, WorkerOptions

POOLS: Final = {
    "prefork": "prefork",
    "processes": "prefork",
    "threads": "threads",
    "asyncio": "asyncio",
    "solo": "solo",
}
"""Every name of a pool, with the one that the worker knows."""

_GREEN: Final = {"eventlet": "threads", "gevent": "threads", "custom": "prefork, threads, asyncio or solo"}
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Pool(AnyParamType):
    """A pool by name."""

    name = "pool"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name that the worker knows."""
        name = str(value).strip().lower()
        if name in _GREEN:
            self.fail(f"litequeue has no {name} pool; write -P {_GREEN[name]}", param, ctx)
        if name not in POOLS:
            self.fail(f"{value!r} is not a pool; write one of prefork, threads, asyncio, solo", param, ctx)
        return POOLS[name]


class Autoscale(AnyParamType):
    """The most and the fewest slots: `max,min`, in either order as with Celery; one number alone is the most."""

    name = "max,min"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(max, min)."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        numbers = sorted((int(part) for part in parts if part.isdecimal()), reverse=True)
        if len(numbers) != len(parts) or not 1 <= len(numbers) <= 2 or numbers[0] < 1:
            self.fail(f"{value!r} is not max,min; write two whole numbers, the larger above 0", param, ctx)
        return numbers[0], numbers[1] if len(numbers) > 1 else 0


def _options(section: str, *declared: tuple[tuple[str, ...], dict[str, Any]]) -> Callable[[_Function], _Function]:
    """The options of one section of the help, in this order."""

    def add(function: _Function) -> _Function:
        for flags, attrs in reversed(declared):
            function = click.option(*flags, cls=Option, section=section, **attrs)(function)
        return function

    return add


def _names(**attrs: Any) -> dict[str, Any]:
    return {"type": COMMA_SEPARATED, "multiple": True, "callback": joined, "metavar": "A,B", **attrs}


@click.command(cls=SectionedHelp, params=celery_options())
@_options(
    "Worker",
    (
        ("-n", "--hostname", "hostname"),
        {"metavar": "NODE", "help": "The node's name, as in w1@%h; %h host, %n name, %d domain."},
    ),
    (
        ("-l", "-L", "--loglevel"),
        {
            "type": LOG_LEVEL,
            "default": "WARNING",
            "metavar": "LEVEL",
            "help": "DEBUG, INFO, WARNING, ERROR, CRITICAL or a number.",
            "show_default": True,
        },
    ),
    (
        ("-f", "--logfile"),
        {"metavar": "FILE", "help": "Log there instead of to stderr; may hold %n, %h, %d, %p, %i, %I."},
    ),
    (
        ("--log-json/--no-log-json", "log_json"),
        {"default": None, "help": "Make each line of the log a JSON object (the setting log_json)."},
    ),
    (("--pidfile",), {"metavar": "FILE", "help": "Write the pid there; refuse if a live worker holds it."}),
    (("--burst", "--drain", "burst"), {"is_flag": True, "help": "Stop when nothing is left to run."}),
    (
        ("-E", "--task-events", "--events", "events"),
        {"is_flag": True, "help": "Write events into the journal, for `litequeue events` and monitors."},
    ),
    (
        ("--heartbeat-interval",),
        {"type": SECONDS, "metavar": "SECONDS", "help": "How often the worker renews its entry in the file."},
    ),
)
@_options(
    "Pool",
    (
        ("-c", "--concurrency"),
        {"type": CONCURRENCY, "metavar": "N|auto", "help": "Tasks run side by side; default: one per core."},
    ),
    (
        ("-P", "--pool"),
        {"type": Pool(), "metavar": "POOL", "help": "prefork (processes, the default), threads, asyncio or solo."},
    ),
    (
        ("--time-limit",),
        {"type": SECONDS, "metavar": "SECONDS", "help": "Kill the process of a task that takes longer."},
    ),
    (
        ("--soft-time-limit",),
        {"type": SECONDS, "metavar": "SECONDS", "help": "Raise SoftTimeLimitExceeded in a task that runs longer."},
    ),
    (
        ("--watchdog",),
        {"is_flag": True, "help": "With solo: run it in a process that is killed at a hard time limit."},
    ),
    (
        ("--max-tasks-per-child",),
        {"type": POSITIVE, "metavar": "N", "help": "Replace a child process after N tasks."},
    ),
    (
        ("--max-memory-per-child",),
        {"type": MEMORY, "metavar": "KB", "help": "Replace a child that has grown larger; also 200M, 1G."},
    ),
    (
        ("--pool-start-method",),
        {
            "type": click.Choice(["forkserver", "spawn", "fork"]),
            "help": "How child processes are made.",
            "metavar": "METHOD",
        },
    ),
    (
        ("--autoscale",),
        {"type": Autoscale(), "metavar": "MAX,MIN", "help": "As many slots as there is work for, within bounds."},
    ),
)
@_options(
    "Schedule",
    (
        ("-B", "--beat/--no-beat", "beat"),
        {"default": None, "help": "Fire the entries of the schedule too (every worker does, unless told not to)."},
    ),
    (
        ("--scheduler",),
        {"metavar": "CLASS", "help": "The scheduler class, instead of that of the setting beat_scheduler."},
    ),
)
@_options(
    "Queues",
    (("-Q", "--queues"), _names(shell_complete=queues, help="Work on these queues only.")),
    (("-X", "--exclude-queues"), _names(shell_complete=queues, help="Work on all declared queues but these.")),
    (("-I", "--include"), _names(help="Import these modules too.", metavar="MODULES")),
    (("--purge", "--discard", "purge"), {"is_flag": True, "help": "First delete what has not started in the queues."}),
)
@daemon_options
@click.argument("assignments", nargs=-1, metavar="[SETTING=VALUE]...")
@click.pass_obj
def worker(call: Invocation, /, **given: Any) -> int:
    """Run the app's tasks until told to stop.

    SETTING=VALUE sets any setting, as in worker_heartbeat_interval=5.

    SIGTERM or Ctrl-C finishes what runs and gives back the rest; a second Ctrl-C, or SIGQUIT, gives back everything at
    once.

    Example: litequeue -A proj worker -l INFO -c 4 -Q mail,default
    """
    from litequeue import signals
    from litequeue.cli import detach

    background = detach.asked_for(call, given, _node(given["hostname"]))
    if isinstance(background, int):
        return background
    with background.telling(signals.worker_ready):
        return _run(call, given, background)


def _run(call: Invocation, given: dict[str, Any], background: Background) -> int:
    """Carry the command line out in this process; returns the exit code."""
    from litequeue.cli import watchdog
    from litequeue.cli.loader import CommandLineLoader
    from litequeue.cli.pidfile import held_pidfile

    watched = watchdog.asked_for(call) if given["watchdog"] else None
    app = call.load_app(with_tasks=True)
    if given["include"]:
        app.conf.include = tuple(dict.fromkeys((*app.conf.include, *given["include"])))
    _assign(app.conf, given["assignments"])
    if given["scheduler"]:
        app.conf.beat_scheduler = given["scheduler"]
    options = worker_options(app, call, given)
    loader = CommandLineLoader(app, call.config)
    if watched is not None:
        options = watchdog.checked(options, watched)
        if options.watchdog is not None:  # what follows is that process's business
            purge = given["purge"] and not options.watchdog.starts
            return _serve(app, call, options, loader, background, purge=purge)
    with held_pidfile(_template("--pidfile", given["pidfile"], options.node)):
        if watched is not None:
            return watchdog.run(watched, options, loader, background)
        return _serve(app, call, options, loader, background, purge=given["purge"])


def _assign(conf: Any, assignments: tuple[str, ...]) -> None:
    """Set what `setting=value` at the end of the command line says."""
    from litequeue.config.settings import parse_assignment

    try:
        conf.update(dict(map(parse_assignment, assignments)))
    except ImproperlyConfigured as exc:
        raise LiteQueueCommandException(str(exc), exit_code=2) from exc


def _serve(
    app: Any, call: Invocation, options: WorkerOptions, loader: Loader, background: Background, *, purge: bool
) -> int:
    """Say what is about to run, and run it; returns the worker's exit code."""
    from litequeue.app.embedded import check_schedule
    from litequeue.worker.supervisor import Worker

    streams = sys.stdout, sys.stderr
    try:
        # From here on what the app's modules and tasks print goes to the log.
        loader.set_up_logging(options)
        runtime = loader.load()
        check_schedule(app, options)
        _warn_of_namesake(runtime, options.node, call, streams[1])
        worker = Worker(runtime, options, loader)  # refuses what cannot be, before anything is purged or announced
        if purge:
            _say(_purge(runtime, options), call, streams[0])
        _say(_banner(app, runtime, options), call, streams[0])
        background.let_go(_template("--logfile", options.logfile, options.node))
        return worker.run()
    finally:
        sys.stdout, sys.stderr = streams


def _warn_of_namesake(runtime: Runtime, node: str, call: Invocation, stderr: TextIO) -> None:
    """Two workers of one name get each other's remote commands, and nobody can tell them apart."""
    from litequeue.core.process import is_alive

    for other in runtime.store.processes():
        if other.role == "worker" and other.worker == node and is_alive(other.identity) is not False:
            text = f"process {other.identity.pid} is a worker named {node} too; give each its own name with -n"
            call.note(text, file=stderr)


def _say(text: str, call: Invocation, stdout: TextIO) -> None:
    if not call.quiet:
        click.echo(text, file=stdout, color=call.color)
        stdout.flush()


def _banner(app: Any, runtime: Runtime, options: WorkerOptions) -> str:
    from litequeue.cli.banner import banner

    return banner(app, runtime, options)


def _purge(runtime: Runtime, options: WorkerOptions) -> str:
    from litequeue.cli.purge import purged

    return purged(runtime.store.purge(options.queues), options.queues)


def worker_options(app: Any, call: Invocation, given: dict[str, Any]) -> WorkerOptions:
    """What the command line says, filled up from the settings.

    LiteQueueCommandException: two things that do not go together.
    """
    from litequeue.app import embedded
    from litequeue.cli.queues import selected_queues

    conf, node = app.conf, _node(given["hostname"])
    embedded.announce(app, node, given)
    pool = given["pool"] or _pool_of(conf)
    _note_options_of_children(call, given, pool)
    options = embedded.worker_options(
        app,
        pool=pool,
        concurrency=_slots(conf, call, given, pool),
        autoscale=given["autoscale"],
        hostname=node,
        queues=selected_queues(conf, given["queues"], given["exclude_queues"]),
        burst=given["burst"],
        beat=given["beat"],
        loglevel=given["loglevel"],
        logfile=given["logfile"],
        max_tasks_per_child=given["max_tasks_per_child"],
        max_memory_per_child=given["max_memory_per_child"],
        time_limit=given["time_limit"],
        soft_time_limit=given["soft_time_limit"],
        pool_start_method=_start_method(given["pool_start_method"], call),
        task_events=given["events"] or None,
    )
    _template("--logfile", options.logfile, options.node)
    return replace(
        options,
        heartbeat_interval=_heartbeat(given["heartbeat_interval"] or conf.worker_heartbeat_interval, conf.worker_lease),
        log=log_options(options.log, call.color, given["log_json"]),
    )


def _node(hostname: str | None) -> str:
    from litequeue.utils.nodenames import default_nodename, host_format

    try:
        return host_format(default_nodename(hostname))
    except ValueError as exc:
        raise LiteQueueCommandException(f"--hostname: {exc}", exit_code=2) from exc


def _pool_of(conf: Any) -> str:
    if conf.worker_pool not in POOLS:
        raise LiteQueueCommandException(
            f"worker_pool: {conf.worker_pool!r} is not a pool; write one of prefork, threads, asyncio, solo"
        )
    return POOLS[conf.worker_pool]


def _slots(conf: Any, call: Invocation, given: dict[str, Any], pool: str) -> int | str | None:
    """How many tasks run side by side; None and `auto`: as many as there are cores."""
    asked = given["concurrency"]
    if given["autoscale"] is not None and asked is not None:
        call.note(f"-c {asked or 'auto'} is ignored: --autoscale says how many slots there are")
    if asked == 0:
        return "auto"
    if pool == "solo" and asked not in (None, 1):
        call.note(f"-c {asked} is ignored: the solo pool runs one task at a time")
    return asked  # type: ignore[no-any-return]


def _note_options_of_children(call: Invocation, given: dict[str, Any], pool: str) -> None:
    """Say that a pool without child processes replaces none."""
    for option in ("max_tasks_per_child", "max_memory_per_child"):
        if pool != "prefork" and given[option] is not None:
            call.note(f"--{option.replace('_', '-')} is ignored: the {pool} pool has no child processes")


def _start_method(method: str | None, call: Invocation) -> str | None:
    if method != "fork":
        return method
    call.note("--pool-start-method fork is ignored: an open SQLite file must not cross a fork; forkserver is used")
    return "forkserver"


def _heartbeat(interval: float, lease: float) -> float:
    if interval * 2 > lease:
        raise LiteQueueCommandException(
            f"--heartbeat-interval {interval:g}: must be at most half of worker_lease ({lease:g} s), "
            "or one late heartbeat looks like a dead worker",
            exit_code=2,
        )
    return interval


def _template(option: str, path: str | None, node: str) -> str | None:
    """The path with the parts of the node's name filled in."""
    from litequeue.utils.nodenames import node_format

    if path is None:
        return None
    try:
        return node_format(path, node)
    except ValueError as exc:
        raise LiteQueueCommandException(f"{option}: {exc}", exit_code=2) from exc
