"""Kinds of option values, and help that is laid out in sections."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    AnyParamType = click.ParamType[Any]
else:
    AnyParamType = click.ParamType  # no generic class before click 8.2

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")

_KILOBYTES = {"": 1, "K": 1, "M": 1024, "G": 1024 * 1024}
_MEMORY = re.compile(r"(\d+)\s*([KMG]?)(?:i?B)?", re.IGNORECASE)


class LogLevel(AnyParamType):
    """A level by name, in any case, or by number; its value is the number."""

    name = "level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of the level."""
        if isinstance(value, int):
            return value
        text = str(value).strip().upper()
        if text.isdecimal():
            return int(text)
        if text not in LOG_LEVELS:
            self.fail(f"{value!r} is not a log level; write one of {', '.join(LOG_LEVELS)}", param, ctx)
        level: int = getattr(logging, text)
        return level


class CommaSeparated(AnyParamType):
    """Names between commas; the option may be repeated."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, without the blanks around them."""
        if isinstance(value, tuple):
            return value
        return tuple(name for name in (part.strip() for part in str(value).split(",")) if name)


class Concurrency(AnyParamType):
    """A number of slots; 0 stands for `auto`."""

    name = "n|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, 0 for `auto`."""
        text = str(value).strip().lower()
        if text == "auto":
            return 0
        if not text.isdecimal():
            self.fail(f"{value!r} is not a number of slots; write a whole number, or auto", param, ctx)
        return int(text)


class Memory(AnyParamType):
    """An amount of memory in kilobytes, or with a unit: 200M, 1G."""

    name = "kb"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Kilobytes."""
        match = _MEMORY.fullmatch(str(value).strip())
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is not an amount of memory; write kilobytes, or 200M, or 1G", param, ctx)
        return int(match[1]) * _KILOBYTES[match[2].upper()]


LOG_LEVEL = LogLevel()
COMMA_SEPARATED = CommaSeparated()
CONCURRENCY = Concurrency()
MEMORY = Memory()
SECONDS = click.FloatRange(min=0, min_open=True)
POSITIVE = click.IntRange(1, 1_000_000_000)


def joined(_ctx: click.Context, _param: click.Parameter, values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """The names of a repeated comma-separated option, each once, in the order given."""
    return tuple(dict.fromkeys(name for names in values for name in names))


def log_options(settings: Mapping[str, Any], color: bool | None, as_json: bool | None) -> dict[str, Any]:
    """What the settings say of the log (`utils.log.log_options`), and the command line before them."""
    given = {"colorize": color, "as_json": as_json}
    return {**settings, **{name: value for name, value in given.items() if value is not None}}


class Option(click.Option):
    """An option that stands in the section `section` of the help."""

    def __init__(self, *args: Any, section: str = "Options", **attrs: Any) -> None:
        self.section = section
        super().__init__(*args, **attrs)


class SectionedHelp(click.Command):
    """A command whose options are listed by section, in the order in which they are declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one block for each section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` may have been meant to be."""
    import difflib

    near = difflib.get_close_matches(name, list(names), n=1)
    return near[0] if near else None


class SuggestingGroup(SectionedHelp, click.Group):
    """A command of commands: an unknown one is an error that suggests the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` call."""
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-") and not ctx.resilient_parsing:
            near = nearest(name, names)
            hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(names)}."
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options by section, then the commands."""
        SectionedHelp.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)
