"""Whatever the command line offers has a line in docs/."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from litequeue.cli.celery_options import IGNORED, REFUSED
from litequeue.cli.invocation import global_options
from litequeue.cli.main import COMMANDS, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, litequeue

DOCS = Path(__file__).parents[2] / "docs"
WORKERS = (DOCS / "workers.md").read_text(encoding="utf-8")
COMMAND_LINE = (DOCS / "command-line.md").read_text(encoding="utf-8")


def command(name: str) -> click.Command:
    """The command `name`, imported."""
    found = litequeue.get_command(click.Context(litequeue), name)
    assert found is not None
    return found


def flags(found: click.Command, *, hidden: bool = False) -> list[str]:
    """Every spelling of the command's options."""
    options = [param for param in found.params if isinstance(param, click.Option) and param.hidden is hidden]
    return [flag for option in options for flag in option.opts]


def rows(text: str) -> str:
    """The lines of tables, where an option is explained and not only mentioned."""
    return "\n".join(line for line in text.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("flag", flags(command("worker")))
def test_every_option_of_worker_has_a_row(flag: str) -> None:
    assert f"`{flag}" in rows(WORKERS), flag


@pytest.mark.parametrize("flag", [flag for group in (*IGNORED, *REFUSED) for flag in group])
def test_every_option_taken_from_celery_is_mentioned(flag: str) -> None:
    assert f"`{flag}`" in WORKERS


@pytest.mark.parametrize("flag", flags(litequeue) + [flag for option in global_options() for flag in option.opts])
def test_every_global_option_is_mentioned(flag: str) -> None:
    assert f"`{flag}" in COMMAND_LINE


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_heading_and_a_help_line(name: str) -> None:
    assert f"### `litequeue {name}`" in COMMAND_LINE
    assert COMMANDS[name].help
    assert command(name).help


@pytest.mark.parametrize("flag", flags(command("purge")))
def test_every_option_of_purge_is_mentioned(flag: str) -> None:
    assert f"`{flag}" in COMMAND_LINE


@pytest.mark.parametrize("code", [0, EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED])
def test_every_exit_code_has_a_row(code: int) -> None:
    assert f"| {code} |" in COMMAND_LINE
