"""`litequeue events`: what the journal of events says, as lines, as JSON, or as pictures that a camera takes."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from types import FrameType
from typing import Any, Final

import click

from litequeue.cli.detach import Background, asked_for, daemon_options
from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import LOG_LEVEL, POSITIVE, CommaSeparated, Option, SectionedHelp, nearest
from litequeue.exceptions import LiteQueueCommandException

_COLOURS: Final = {
    "task-succeeded": "green",
    "task-failed": "red",
    "task-retried": "yellow",
    "task-rejected": "yellow",
    "task-rescued": "yellow",
    "task-revoked": "magenta",
    "task-started": "blue",
}
_CAMERA: Final = "Camera"


@click.command(cls=SectionedHelp)
@click.option("-d", "--dump", is_flag=True, cls=Option, help="Lines with every field, as where output is no terminal.")
@click.option("--after", type=click.IntRange(min=0), cls=Option, metavar="N", help="Go on behind event N; 0: all.")
@click.option("--once", is_flag=True, cls=Option, help="Show what is kept, and end.")
@click.option("--limit", type=POSITIVE, cls=Option, metavar="N", help="End after so many events.")
@click.option(
    "--type",
    "types",
    type=CommaSeparated(),
    cls=Option,
    metavar="TYPES",
    help="Only these, as in task-failed,task-retried or 'worker-*'.",
)
@json_option
@click.option("-c", "--camera", cls=Option, section=_CAMERA, metavar="CLASS", help="Take pictures with this class.")
@click.option(
    *("-F", "--frequency", "--freq"),
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    cls=Option,
    section=_CAMERA,
    metavar="SECONDS",
    show_default=True,
    help="How often.",
)
@click.option("-r", "--maxrate", cls=Option, section=_CAMERA, metavar="RATE", help="No more than this, as in 10/m.")
@click.option(
    *("-l", "--loglevel"),
    type=LOG_LEVEL,
    default="WARNING",
    cls=Option,
    section=_CAMERA,
    metavar="LEVEL",
    show_default=True,
    help="DEBUG, INFO, WARNING, ERROR, CRITICAL or a number.",
)
@click.option("-f", "--logfile", cls=Option, section=_CAMERA, metavar="FILE", help="Log there instead of to stderr.")
@click.option("--pidfile", cls=Option, section=_CAMERA, metavar="FILE", help="Write the pid there.")
@daemon_options
@click.pass_obj
def events(call: Invocation, /, **given: Any) -> int:
    """Show what workers and clients write into the journal of events, as it comes, until Ctrl-C.

    Workers write events when they are started with -E, or told to by `litequeue control enable_events`.

    Example: litequeue -A proj events --type task-failed --after 0
    """
    from litequeue.events.snapshot import camera_ready

    _check(given)
    background = asked_for(call, given, "events")
    if isinstance(background, int):
        return background
    with background.telling(camera_ready):
        app = existing_app(call, with_tasks=given["camera"] is not None)
        _check_after(app, given)
        with call.telling_warnings(), _ended_by_sigterm():
            return _film(app, call, given, background) if given["camera"] else _show(app, call, given)


def _check(given: dict[str, Any]) -> None:
    if given["camera"]:
        both = [name for name in ("dump", "once", "types", "limit") if given[name]]
        if both:
            raise click.UsageError(f"--camera does not go together with --{both[0].removesuffix('s')}")
    elif given["detach"]:
        raise click.UsageError("--detach is for a camera: give --camera CLASS too")


def _check_after(app: Any, given: dict[str, Any]) -> None:
    after, last = given["after"], app.store.event_range().last
    if after is not None and after > last:
        raise LiteQueueCommandException(
            f"--after {after}: the newest event has number {last}; is it a number of this file?", exit_code=2
        )


# Lines


def _show(app: Any, call: Invocation, given: dict[str, Any]) -> int:
    types, once, limit = given["types"], given["once"], given["limit"]
    _hint_at_types(call, types)
    after = 0 if once and given["after"] is None else given["after"]
    show = _printer(call, given["dump"])
    chosen = type("Chosen", (app.events.Receiver,), {"wants": lambda _self, kind: _is_among(kind, types)})
    receiver = chosen(handlers={"*": show}, after=after)
    _note_who_writes(app, call)
    for _ in receiver.read(limit) if once else receiver.itercapture(limit):
        pass
    return 0


def _is_among(kind: str, types: list[str] | None) -> bool:
    return not types or any(fnmatchcase(kind, each) for each in types)


def _hint_at_types(call: Invocation, types: list[str] | None) -> None:
    """Any type may be one that a program writes; but one that is nearly one of ours is likely to be a slip."""
    from litequeue.events.joining import TASK_TYPES, WORKER_TYPES

    ours = (*TASK_TYPES, *WORKER_TYPES)
    for each in types or ():
        near = None if each in ours or set("*?[") & set(each) else nearest(each, ours)
        if near is not None:
            call.note(f"--type {each}: litequeue itself writes no event of this type; did you mean {near!r}?")


def _note_who_writes(app: Any, call: Invocation) -> None:
    if not any(each.events and each.role == "worker" for each in app.store.processes()):
        call.note(
            "no running worker writes events; start one with -E, set worker_send_task_events, or use "
            "`litequeue control enable_events`"
        )


def _printer(call: Invocation, dump: bool) -> Callable[[dict[str, Any]], None]:
    """What prints an event, as it was asked for."""
    if call.as_json:
        return lambda event: call.print_json(event, indent=None)
    if dump or not sys.stdout.isatty():
        from litequeue.events.dumper import Dumper

        dumper = Dumper()
        return lambda event: call.print_text(dumper.line(event))
    return lambda event: call.print_text(live_line(event, shutil.get_terminal_size().columns))


def live_line(event: dict[str, Any], width: int) -> str:
    """An event in one line of at most `width` characters: when, what, who, and what came of it."""
    from litequeue.core.clock import to_datetime

    kind, uuid, hostname = event["type"], event.get("uuid"), event.get("hostname") or ""
    at = f"{to_datetime(event['timestamp']).astimezone():%H:%M:%S.%f}"[:-3]
    subject = hostname if uuid is None else f"{event.get('name') or '?'}[{uuid}]"
    parts = [subject, " ".join(_detail(event).splitlines()), "" if uuid is None else hostname]
    line = " ".join(f"{at} {event['number']:>7} {kind:<16} {'  '.join(part for part in parts if part)}".splitlines())
    line = line if len(line) <= width else f"{line[: width - 3]}..."
    start = len(at) + 9
    word = line[start : start + len(kind)]
    colour = _COLOURS.get(kind, "cyan" if kind.startswith("worker-") else None)
    return f"{click.style(line[:start], dim=True)}{click.style(word, fg=colour)}{line[start + len(kind) :]}"


def _detail(event: dict[str, Any]) -> str:
    if event["type"] == "task-succeeded":
        return f"{event.get('result')}{_took(event.get('runtime'))}"
    if event["type"] in ("task-received", "task-sent"):
        return f"{event.get('args')} {event.get('kwargs')}"
    if event["type"] == "task-revoked":
        return "expired" if event.get("expired") else "terminated" if event.get("terminated") else ""
    if event["type"].startswith("worker-"):
        return f"{event.get('active')} running, {event.get('processed')} started"
    return str(event.get("exception") or "")


def _took(runtime: Any) -> str:
    if not isinstance(runtime, (int, float)):
        return ""
    return f" in {runtime:.3g} s" if runtime >= 1 else f" in {runtime * 1000:.3g} ms"


# Pictures


def _film(app: Any, call: Invocation, given: dict[str, Any], background: Background) -> int:
    from litequeue.cli.pidfile import held_pidfile
    from litequeue.core.rates import parse_rate
    from litequeue.events.snapshot import evcam
    from litequeue.utils import log

    try:
        parse_rate(given["maxrate"])
        camera = app.resolve(given["camera"])
    except ValueError as error:
        raise LiteQueueCommandException(f"--maxrate: {error}", exit_code=2) from error
    except (ImportError, AttributeError) as error:
        raise LiteQueueCommandException(f"--camera {given['camera']}: {error}") from error
    options = log.log_options(app.conf)
    if call.color is not None:
        options["colorize"] = call.color
    streams = sys.stdout, sys.stderr
    with held_pidfile(given["pidfile"]):
        try:
            log.setup(given["loglevel"], given["logfile"], **{**options, "redirect_stdouts": False})
            _note_who_writes(app, call)
            call.echo(f"Taking pictures with {given['camera']} every {given['frequency']:g} s.")
            background.let_go(given["logfile"])
            evcam(camera, given["frequency"], given["maxrate"], app=app, after=given["after"])
        finally:
            sys.stdout, sys.stderr = streams
    return 0


# Around both


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends it in order, with exit code 0: a camera takes its last picture."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    try:
        previous = signal.signal(signal.SIGTERM, end)
    except ValueError:  # another thread than the main one
        yield
        return
    try:
        yield
    except SystemExit as exc:
        if exc.code != 0:
            raise
    finally:
        signal.signal(signal.SIGTERM, previous)
