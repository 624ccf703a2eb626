"""Nodes: what each is called, and the command line that starts it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from litequeue.multi.parsing import Given, Options
from litequeue.utils.nodenames import gethostname, host_format, node_format, nodesplit

COMMAND: Final = "-m litequeue worker --detach"
PIDFILE: Final = "%n.pid"
LOGFILE: Final = "%n%I.log"
RANGE_PREFIX: Final = "celery"

_GLOBAL: Final = frozenset(
    {
        "-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir",
        "-C", "--no-color", "-q", "--quiet",
    }
)  # fmt: skip
_PATHS: Final = frozenset({"--pidfile", "--logfile", "-f", "--workdir"})
_OWN: Final = ("--cmd", "--append", "--hostname", "-n", "--prefix", "--suffix", "--range-prefix")
_NO_SUFFIX: Final = ('""', "''")


class WrongNodes(ValueError):
    """The nodes, or the options for some of them, cannot be meant so; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A worker by its place in a command line."""

    name: str
    """The whole name, `w1@halcyon`."""
    executable: str
    """The Python that runs it."""
    argv: tuple[str, ...]
    """What follows the executable."""
    globals: tuple[str, ...]
    """The global options among `argv`: its app and its file."""
    pidfile: str
    """The path that the worker will write, seen from here."""
    logfile: str
    """That of its parent process."""

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command line."""
        return (self.executable, *self.argv)

    def expand(self, template: str) -> str:
        """`template` filled in for this node; WrongNodes: it has an unknown placeholder."""
        return _expand(template, self.name)


def _expand(template: str, name: str) -> str:
    short, host = nodesplit(name)
    try:
        # %h is the node and %d its host, as with Celery's multi; %i and %I are left to the worker.
        return node_format(template, name, N=short or "", d=host, h=name, i="%i", I="%I")
    except ValueError as exc:
        raise WrongNodes(str(exc)) from exc


class Nodes:
    """The nodes of a command line."""

    def __init__(self, given: Given, *, executable: str = sys.executable) -> None:
        """WrongNodes: there are none, two have one name, or an option is for a node that is not there."""
        self._given = given
        self._executable = executable
        self._own = {flag: given.options[flag] for flag in _OWN if flag in given.options}
        self._common = {flag: value for flag, value in given.options.items() if flag not in _OWN}
        self._names = self._called()
        self._special: list[Options] = [{} for _ in self._names]
        self.unknown: list[str] = []
        """Names after a colon that no node has."""
        for selector, options in given.special.items():
            for index in self._selected(selector):
                self._special[index] |= options

    def __iter__(self) -> Iterator[Node]:
        return (self._node(*pair) for pair in zip(self._names, self._special, strict=True))

    # Names

    def _called(self) -> list[str]:
        written = self._given.names
        prefix = self._own.get("--prefix") or ""
        if len(written) == 1 and written[0].isdecimal():
            prefix = self._own.get("--range-prefix") or RANGE_PREFIX
            written = [str(number) for number in range(1, int(written[0]) + 1)]
        if not written:
            raise WrongNodes("no node is named; write how many, as in `multi start 3`, or names, as in `start w1 w2`")
        names = [self._full(text, prefix) for text in written]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise WrongNodes(f"{name} is named twice; give each node a name of its own")
        return names

    def _full(self, text: str, prefix: str) -> str:
        host = self._own.get("--hostname") or self._own.get("-n") or gethostname()
        suffix = self._own.get("--suffix") or host
        if suffix in _NO_SUFFIX:
            suffix = ""
        try:
            name = host_format(text if "@" in text else f"{prefix}{text}@{suffix}")
        except ValueError as exc:
            raise WrongNodes(str(exc)) from exc
        return f"{name}{gethostname()}" if name.endswith("@") else name

    # Options for some

    def _selected(self, selector: str) -> Iterator[int]:
        """The places of the nodes that are meant by what stands after a colon."""
        if (whole := self._called_so(selector)) is not None:
            yield whole
            return
        for part in selector.split(","):
            first, dash, last = part.partition("-")
            if (named := self._called_so(part)) is not None:
                yield named
            elif part.isdecimal():
                yield self._place(part)
            elif dash and first.isdecimal() and last.isdecimal():
                yield from range(max(1, int(first)) - 1, min(int(last), len(self._names)))
            else:
                self.unknown.append(part)

    def _called_so(self, text: str) -> int | None:
        numbered = len(self._given.names) == 1 and self._given.names[0].isdecimal()
        for index, name in enumerate(self._names):
            written = self._given.names[0 if numbered else index]
            if text in (name, nodesplit(name)[0]) or (text == written and not numbered):
                return index
        return None

    def _place(self, text: str) -> int:
        index = int(text) - 1
        if not 0 <= index < len(self._names):
            there = "only 1 node" if len(self._names) == 1 else f"{len(self._names)} nodes, counted from 1"
            raise WrongNodes(f"there is no node {text}; there {'is' if len(self._names) == 1 else 'are'} {there}")
        return index

    # One node

    def _node(self, name: str, special: Options) -> Node:
        options = {**self._common, **special}
        if "-p" in options:
            options["--pidfile"] = options.pop("-p")
        options["-n"] = name
        pidfile = _default(options, PIDFILE, "--pidfile")
        logfile = _default(options, LOGFILE, "--logfile", "-f")
        executable = _default(options, self._executable, "--executable")
        for flag, value in options.items():
            if value is not None and flag != "-n":
                filled = _expand(value, name)
                options[flag] = os.path.expanduser(filled) if flag in _PATHS else filled
        shared = [part for flag in reversed(options) if flag in _GLOBAL for part in _written(flag, options[flag])]
        others = [part for flag in options if flag not in _GLOBAL for part in _written(flag, options[flag])]
        workdir = options.get("--workdir") or ""
        return Node(
            name=name,
            executable=_expand(executable, name),
            argv=(*self._command(name, shared), *others, *self._given.rest, *self._appended(name)),
            globals=tuple(shared),
            pidfile=_path(pidfile, name, workdir),
            logfile=_path(logfile, name, workdir),
        )

    def _command(self, name: str, shared: list[str]) -> list[str]:
        """The beginning of the command line, with the global options where they belong."""
        text = self._own.get("--cmd") or COMMAND
        words = [_expand(word, name) for word in _split(text)]
        for program in ("litequeue", "celery"):
            if program in words:
                place = words.index(program) + 1
                return [*words[:place], *shared, *words[place:]]
        raise WrongNodes(f"--cmd {text!r} does not say litequeue; write it as in {COMMAND!r}")

    def _appended(self, name: str) -> list[str]:
        return [_expand(word, name) for word in _split(self._own.get("--append") or "")]


def _default(options: Options, value: str, *flags: str) -> str:
    """The value of the first of `flags` that is given; none is: `value`, from now on given by the first flag."""
    for flag in flags:
        if given := options.get(flag):
            return given
    options[flags[0]] = value
    return value


def _written(flag: str, value: str | None) -> tuple[str, ...]:
    if not value:
        return (flag,)
    return (f"{flag}={value}",) if flag.startswith("--") else (flag, value)


def _split(text: str) -> list[str]:
    return shlex.split(text, posix=os.name != "nt")


def _path(template: str, name: str, workdir: str) -> str:
    """Where the worker finds it: it fills in what is left for it, in its own folder."""
    try:
        filled = node_format(_expand(template, name), name)
    except ValueError as exc:
        raise WrongNodes(str(exc)) from exc
    return os.path.join(workdir, os.path.expanduser(filled))
