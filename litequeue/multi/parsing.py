"""The command line of `litequeue multi`: names, options for all nodes, and options for some of them.

    foo bar -c 3 -c:foo 10 --loglevel:1-2=DEBUG -- worker_heartbeat_interval=5

An option is for the nodes that are written after its colon: names, numbers counted from 1, ranges of numbers, with
commas between them. What follows `--` is handed on as it is.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

FLAGS: Final = frozenset("BCDEjq")
"""Options of one letter that take no value, so that a name may follow them."""

VALUES: Final = frozenset(
    {
        "app", "append", "autoscale", "broker", "cmd", "concurrency", "config", "exclude-queues", "executable", "gid",
        "heartbeat-interval", "hostname", "include", "loader", "logfile", "loglevel", "max-memory-per-child",
        "max-tasks-per-child", "optimization", "pidfile", "pool", "pool-start-method", "prefetch-multiplier", "prefix",
        "queues", "range-prefix", "result-backend", "schedule", "schedule-filename", "scheduler", "soft-time-limit",
        "statedb", "suffix", "time-limit", "uid", "umask", "workdir",
    }
)  # fmt: skip
"""Long options that take a value: `--queues mail` is understood as `--queues=mail`."""

_SIGNAL: Final = re.compile(r"-(\d+|(?:SIG)?[A-Z][A-Z0-9]+)")

Options = dict[str, str | None]
"""Flag, with its dashes, -> value; None where it has none."""


@dataclass(slots=True)
class Given:
    """What a command line holds."""

    names: list[str] = field(default_factory=list)
    options: Options = field(default_factory=dict)
    """For every node."""
    special: dict[str, Options] = field(default_factory=dict)
    """What stood after the colon -> the options for these nodes."""
    rest: tuple[str, ...] = ()
    """From `--` on."""


def parse(arguments: Iterable[str]) -> Given:
    """Names and options of `arguments`. An option that is given twice counts as given last."""
    given = Given()
    waiting = [argument for argument in arguments if argument]
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            given.rest = (argument, *waiting)
            break
        if argument.startswith("--"):
            _long(given, argument[2:], waiting)
        elif argument.startswith("-") and argument != "-":
            _short(given, argument[1:], waiting)
        else:
            given.names.append(argument)
    return given


def _long(given: Given, text: str, waiting: list[str]) -> None:
    written, equals, value = text.partition("=")
    name, _, selector = written.partition(":")
    if equals:
        _add(given, f"--{name}", selector, value)
    else:
        _add(given, f"--{name}", selector, _value(waiting) if name in VALUES else None)


def _short(given: Given, text: str, waiting: list[str]) -> None:
    name, _, selector = text.partition(":")
    if name[0] in FLAGS:
        _add(given, f"-{name}", selector, None)
    elif len(name) > 1:  # -c4, -Aproj:app
        _add(given, f"-{name[0]}", "", text[1:])
    else:
        _add(given, f"-{name}", selector, _value(waiting))


def _value(waiting: list[str]) -> str | None:
    """The next argument, where that is no option."""
    return waiting.pop(0) if waiting and not waiting[0].startswith("-") else None


def _add(given: Given, flag: str, selector: str, value: str | None) -> None:
    target = given.special.setdefault(selector, {}) if selector else given.options
    target[flag] = value


def take_signal(arguments: list[str], default: signal.Signals) -> tuple[signal.Signals, list[str]]:
    """The signal that `arguments` name, as in -9, -QUIT or -SIGQUIT, and the arguments without it."""
    found, left = default, []
    limit = arguments.index("--") if "--" in arguments else len(arguments)
    for position, argument in enumerate(arguments):
        match = _SIGNAL.fullmatch(argument) if position < limit else None
        asked = _signal(match[1]) if match else None
        if asked is None:
            left.append(argument)
        else:
            found = asked
    return found, left


def _signal(text: str) -> signal.Signals | None:
    try:
        if text.isdecimal():
            return signal.Signals(int(text))
        return signal.Signals[text if text.startswith("SIG") else f"SIG{text}"]
    except (ValueError, KeyError):
        return None
