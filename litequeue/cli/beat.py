"""`litequeue beat`: a scheduler by itself."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from litequeue.cli.detach import Background, daemon_options
from litequeue.cli.invocation import Invocation
from litequeue.cli.options import LOG_LEVEL, SECONDS, Option, SectionedHelp, log_options
from litequeue.exceptions import LiteQueueCommandException

if TYPE_CHECKING:
    from litequeue.beat.service import Service

_WARM = ("SIGTERM", "SIGINT", "SIGBREAK")


@click.command(cls=SectionedHelp)
@click.option(
    "-n", "--hostname", cls=Option, metavar="NODE", help="Its node name, as in beat1@%h; default: celerybeat@%h."
)
@click.option(
    "-l",
    "--loglevel",
    cls=Option,
    type=LOG_LEVEL,
    default="WARNING",
    metavar="LEVEL",
    show_default=True,
    help="DEBUG, INFO, WARNING, ERROR, CRITICAL or a number.",
)
@click.option("-f", "--logfile", cls=Option, metavar="FILE", help="Log there instead of to stderr.")
@click.option(
    "--log-json/--no-log-json",
    "log_json",
    cls=Option,
    default=None,
    help="Make each line of the log a JSON object (the setting log_json).",
)
@click.option("--pidfile", cls=Option, metavar="FILE", help="Write the pid there; refuse if a live process holds it.")
@click.option(
    "-S", "--scheduler", cls=Option, metavar="CLASS", help="The scheduler class, instead of that of beat_scheduler."
)
@click.option(
    "--max-interval", cls=Option, type=SECONDS, metavar="SECONDS", help="The longest sleep between looks at the file."
)
@click.option(
    "-s",
    "--schedule",
    "--schedule-filename",
    "filename",
    cls=Option,
    metavar="FILE",
    help="Accepted from Celery: the schedule is in the queue's file.",
)
@daemon_options
@click.pass_obj
def beat(call: Invocation, /, **given: Any) -> int:
    """Fire the entries of the schedule until told to stop; it runs no tasks.

    Every worker does the same unless it was started with --no-beat, and any number may run: an instant is fired once.

    Example: litequeue -A proj beat -l INFO
    """
    from litequeue import signals
    from litequeue.cli import detach

    node = _node(given["hostname"])
    background = detach.asked_for(call, given, node)
    if isinstance(background, int):
        return background
    with background.telling(signals.beat_init):
        return _run(call, given, node, background)


def _run(call: Invocation, given: dict[str, Any], node: str, background: Background) -> int:
    """Carry the command line out in this process; returns the exit code."""
    from litequeue.app.loading import AppLoader
    from litequeue.cli.pidfile import held_pidfile

    app = call.load_app(with_tasks=True)
    with held_pidfile(_filled("--pidfile", given["pidfile"], node)):
        streams = sys.stdout, sys.stderr
        try:
            _set_up_logging(app, call, given, node)
            AppLoader(app).load()
            service = app.Beat(max_interval=given["max_interval"], scheduler=given["scheduler"], hostname=node)
            app.schedules.declared()
            if not call.quiet:
                click.echo(f" litequeue beat  {node}\n\n  file     {app.store.path}\n", file=streams[0])
                streams[0].flush()
            background.let_go(_filled("--logfile", given["logfile"], node))
            return _serve(service)
        finally:
            sys.stdout, sys.stderr = streams
            app.store.close()


def _serve(service: Service) -> int:
    """Run until a signal comes; the exit code."""
    previous = {}
    for name in _WARM:
        number = getattr(signal, name, None)
        if number is not None:
            previous[number] = signal.signal(number, lambda *_: service.stop())
    try:
        service.start()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _set_up_logging(app: Any, call: Invocation, given: dict[str, Any], node: str) -> None:
    from litequeue.utils import log

    options = log_options(log.log_options(app.conf), call.color, given["log_json"])
    log.setup(given["loglevel"], given["logfile"], hostname=node, **options)


def _node(hostname: str | None) -> str:
    from litequeue.utils.nodenames import default_nodename, host_format

    try:
        return host_format(default_nodename(hostname, "celerybeat"))
    except ValueError as exc:
        raise LiteQueueCommandException(f"--hostname: {exc}", exit_code=2) from exc


def _filled(option: str, path: str | None, node: str) -> str | None:
    from litequeue.utils.nodenames import node_format

    try:
        return None if path is None else node_format(path, node)
    except ValueError as exc:
        raise LiteQueueCommandException(f"{option}: {exc}", exit_code=2) from exc
