"""Options of Celery's worker that litequeue takes without needing them: each says in one line what happens instead.

They are left out of `--help`; docs/workers.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from litequeue.cli.invocation import Invocation
from litequeue.cli.options import Option
from litequeue.exceptions import LiteQueueCommandException

_NO_PREFETCH = "a process claims no more than it can start at once; there is no prefetch to set"
_SCHEDULE_FILE = "the schedule is in the queue's file"
_SERVICE = "run litequeue under systemd or another supervisor and set it there"

IGNORED: Final[dict[tuple[str, ...], str]] = {
    ("-O", "--optimization"): "tasks always go to whichever process is free, as with -O fair",
    ("--prefetch-multiplier",): _NO_PREFETCH,
    ("--disable-prefetch",): _NO_PREFETCH,
    ("-S", "--statedb"): "revoked tasks are kept in the queue's file",
    ("--without-gossip",): "workers do not gossip; each reads the queue's file",
    ("--without-mingle",): "workers have nothing to tell each other at start; all of it is in the queue's file",
    ("--without-heartbeat",): "the heartbeat stays on; it is one small write to the queue's file",
    ("-s", "--schedule", "--schedule-filename"): _SCHEDULE_FILE,
    ("--executable",): "child processes run the same Python as the worker",
}
"""Flags -> what litequeue does instead."""

REFUSED: Final[dict[tuple[str, ...], str]] = {
    ("-D", "--detach"): "litequeue stays in the foreground; run it under systemd or another supervisor",
    ("--uid",): _SERVICE,
    ("--gid",): _SERVICE,
    ("--umask",): _SERVICE,
}
"""Flags that a worker must not pass over in silence -> what to do instead."""

_WITHOUT_VALUE: Final = frozenset(
    {"--disable-prefetch", "--without-gossip", "--without-mingle", "--without-heartbeat", "--detach"}
)


def celery_options() -> list[click.Option]:
    """Hidden options for everything in IGNORED and REFUSED."""
    return [
        *(_option(flags, instead, refused=False) for flags, instead in IGNORED.items()),
        *refused(),
    ]


def refused() -> list[click.Option]:
    """Hidden options for everything in REFUSED."""
    return [_option(flags, instead, refused=True) for flags, instead in REFUSED.items()]


def _option(flags: tuple[str, ...], instead: str, *, refused: bool) -> click.Option:
    spelled = "/".join(flags)

    def say(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if not value or ctx.resilient_parsing:
            return
        if refused:
            raise LiteQueueCommandException(f"{spelled}: {instead}", exit_code=2)
        ctx.ensure_object(Invocation).note(f"{spelled} is ignored: {instead}")

    attrs: Mapping[str, Any] = {"is_flag": True} if _WITHOUT_VALUE.intersection(flags) else {"type": str}
    return Option(flags, hidden=True, expose_value=False, allow_from_autoenv=False, callback=say, help=instead, **attrs)
