"""Options of Celery's worker that litequeue takes without needing them: each says in one line what happens instead.

They are left out of `--help`; docs/workers.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from litequeue.cli.invocation import Invocation
from litequeue.cli.options import Option

_NO_PREFETCH = "a process claims no more than it can start at once; there is no prefetch to set"
_SCHEDULE_FILE = "the schedule is in the queue's file"

IGNORED: Final[dict[tuple[str, ...], str]] = {
    ("-O", "--optimization"): "tasks always go to whichever process is free, as with -O fair",
    ("--prefetch-multiplier",): _NO_PREFETCH,
    ("--disable-prefetch",): _NO_PREFETCH,
    ("-S", "--statedb"): "revoked tasks are kept in the queue's file",
    ("--without-gossip",): "workers do not gossip; each reads the queue's file",
    ("--without-mingle",): "workers have nothing to tell each other at start; all of it is in the queue's file",
    ("--without-heartbeat",): "the heartbeat stays on; it is one small write to the queue's file",
    ("-s", "--schedule", "--schedule-filename"): _SCHEDULE_FILE,
}
"""Flags -> what litequeue does instead."""

_WITHOUT_VALUE: Final = frozenset({"--disable-prefetch", "--without-gossip", "--without-mingle", "--without-heartbeat"})


def celery_options() -> list[click.Option]:
    """Hidden options for everything in IGNORED."""
    return [_option(flags, instead) for flags, instead in IGNORED.items()]


def _option(flags: tuple[str, ...], instead: str) -> click.Option:
    spelled = "/".join(flags)

    def say(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if not value or ctx.resilient_parsing:
            return
        ctx.ensure_object(Invocation).note(f"{spelled} is ignored: {instead}")

    attrs: Mapping[str, Any] = {"is_flag": True} if _WITHOUT_VALUE.intersection(flags) else {"type": str}
    return Option(flags, hidden=True, expose_value=False, allow_from_autoenv=False, callback=say, help=instead, **attrs)
