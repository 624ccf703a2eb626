"""Names of worker nodes: `name@host`."""

from __future__ import annotations

import functools
import os
import re
import socket
from collections.abc import Callable
from typing import Any

SEPARATOR = "@"
NODENAME_DEFAULT = "celery"
_PLACEHOLDER = re.compile(r"%(\w|%)")


@functools.cache
def gethostname() -> str:
    """The name of this machine."""
    return socket.gethostname()


def nodename(name: str, hostname: str) -> str:
    """`name@hostname`."""
    return f"{name}{SEPARATOR}{hostname}"


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """The name of this process where it is not a worker of its own: `gen<pid>@<host>`."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> tuple[str | None, str]:
    """Name and host of `name@host`; a text without `@` is a host."""
    first, separator, rest = name.partition(SEPARATOR)
    return (first, rest) if separator else (None, first)


def default_nodename(hostname: str | None = None, default_name: str = NODENAME_DEFAULT) -> str:
    """The full name of a worker that was given `hostname` (`name@host`, `name@`, a host, or nothing)."""
    name, host = nodesplit(hostname or "")
    return nodename(name or default_name, host or gethostname())


def node_format(text: str, name: str, **extra: str | Callable[[], str]) -> str:
    """`text` with its placeholders filled for the node `name`: those of `host_format`, and `%p` the whole name."""
    short, host = nodesplit(name)
    return host_format(text, host, short or NODENAME_DEFAULT, p=name, **extra)


def host_format(text: str, host: str | None = None, name: str | None = None, **extra: str | Callable[[], str]) -> str:
    """`text` with its placeholders filled.

    `%h` the host with its domain, `%n` the node's name, `%d` the domain, `%i` the number of the child process (0 in the
    parent), `%I` the same with a dash before it (nothing in the parent), `%%` a per cent sign. ValueError: another one.
    """
    host = host or gethostname()
    first, _, domain = host.partition(".")
    values: dict[str, str | Callable[[], str]] = {
        "h": host,
        "n": name or first,
        "d": domain,
        "i": _process_number,
        "I": _process_suffix,
        "%": "%",
        **extra,
    }

    def fill(match: re.Match[str]) -> str:
        value: Any = values.get(match[1])
        if value is None:
            known = " ".join(f"%{key}" for key in values)
            raise ValueError(f"{text!r} has an unknown placeholder {match[0]!r}; there are {known}")
        return str(value()) if callable(value) else str(value)

    return _PLACEHOLDER.sub(fill, text)


_number: int | None = None


def set_process_number(number: int | None) -> None:
    """Say which child of its worker this process is, counted from 1; None: the parent."""
    global _number
    _number = number


def _process_number() -> str:
    return str(_number or 0)


def _process_suffix() -> str:
    return f"-{_number}" if _number else ""
