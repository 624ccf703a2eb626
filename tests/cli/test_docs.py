"""Whatever the command line offers has a line in docs/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from litequeue import LiteQueue
from litequeue.cli.celery_options import IGNORED
from litequeue.cli.control import EXIT_UNAVAILABLE
from litequeue.cli.invocation import global_options
from litequeue.cli.main import COMMANDS, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, litequeue, run
from tests.docs.pages import code_words

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


def missing(names: set[str]) -> list[str]:
    """Which of `names` no page writes as code."""
    words = set().union(*map(code_words, DOCS.glob("*.md")))
    return sorted(names - words)


def rows(text: str) -> str:
    """The lines of tables, where an option is explained and not only mentioned."""
    return "\n".join(line for line in text.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("flag", flags(command("worker")))
def test_every_option_of_worker_has_a_row(flag: str) -> None:
    assert f"`{flag}" in rows(WORKERS), flag


@pytest.mark.parametrize("flag", [flag for group in IGNORED for flag in group])
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


OURS = (
    *("call", "result", "shell", "status", "list", "graph", "report", "completion", "help"),
    *("control", "pause", "resume", "purge"),
)
"""The commands whose options the page itself explains; the others have a page of their own, or a row there."""


def inner(found: click.Command) -> list[click.Command]:
    """A command, and those in it."""
    commands = found.commands.values() if isinstance(found, click.Group) else ()
    return [found, *(each for command in commands for each in inner(command))]


@pytest.mark.parametrize(
    ("name", "flag"),
    [(name, flag) for name in OURS for each in inner(command(name)) for flag in flags(each)],
)
def test_every_option_has_a_row(name: str, flag: str) -> None:
    assert f"`{flag}" in rows(COMMAND_LINE), f"litequeue {name} {flag}"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_in_a_command_is_mentioned(name: str) -> None:
    found = command(name)
    for each in found.commands.values() if isinstance(found, click.Group) else ():
        assert each.hidden or missing({str(each.name)}) == [], f"litequeue {name} {each.name}"
        assert each.hidden or (each.help or "").strip(), f"litequeue {name} {each.name}"


@pytest.mark.parametrize("code", [0, EXIT_ERROR, EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_INTERRUPTED])
def test_every_exit_code_has_a_row(code: int) -> None:
    assert f"| {code} |" in COMMAND_LINE


# The keys of what is printed as JSON


JSON = (
    "call proj.add -a [1,1]",
    "call proj.add -a [1,1] --timeout 30",
    "result succeeded",
    "result failed",
    "status -t 30",
    "list queues",
    "list bindings",
    "list tasks",
    "graph task succeeded",
    "graph workers",
    "graph bindings",
    "report",
    "dead",
    "dead show failed",
    "retry failed nobody",
    "discard nobody",
    "pause celery",
    "resume celery",
    "purge -f",
    "control rate_limit proj.add 10/m",
    "schedule add each proj.add --every 1h",
    "schedule list",
    "schedule show each",
    "schedule disable each",
    "schedule run each",
    "schedule remove each",
    "events --once",
    "doctor",
    "backup {folder}/copy.db",
    "vacuum",
    "upgrade --check",
    "multi names w1",
    "multi show w1",
    "multi get w1 w1",
    "multi stop w1 --pidfile={folder}/%n.pid",
    "service systemd -A proj",
)
"""Every command that prints objects, but for those of `inspect`: tests/inspect has them."""
WITHOUT_JSON = {"worker", "beat", "shell", "completion", "help"}
"""Commands that print no objects."""

BY_NAME = {"settings", "versions", "options", "kwargs", "schedule"}
"""Keys below which there are names that are not ours to explain."""
NAMES = {"proj.add", "proj.fail", "w1@here", "celery", "nobody"}


def keys(value: Any) -> set[str]:
    """Every key of the objects in a JSON value, but for names."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if not isinstance(value, dict):
        return set()
    inside = (keys(each) for name, each in value.items() if name not in BY_NAME)
    return set(value).union(*inside) - NAMES


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQueue]:
    """An app with a worker; a task `succeeded` and one `failed`."""
    made = LiteQueue("proj", broker=str(tmp_path / "queue.db"), set_as_current=False)

    @made.task(name="proj.add", shared=False)
    def add(x: int = 0, y: int = 0) -> int:
        return x + y

    @made.task(name="proj.fail", shared=False)
    def fail() -> None:
        raise ValueError("no")

    with made.start_worker(pool="threads", concurrency=1, hostname="w1@here", beat=False, task_events=True):
        add.apply_async((1, 1), task_id="succeeded").get(timeout=30)
        fail.apply_async(task_id="failed").get(timeout=30, propagate=False)
        yield made
    made.close()


def test_every_command_is_among_them() -> None:
    assert set(COMMANDS) - WITHOUT_JSON - {"inspect"} == {line.split()[0] for line in JSON}


def test_every_key_of_what_is_printed_as_json_is_explained(
    app: LiteQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unexplained = {}
    for line in JSON:
        run([*line.format(folder=tmp_path).split(), "--json"], app=app)
        out, err = capsys.readouterr()
        assert out, f"{line}: {err}"
        printed = out.splitlines() if line.startswith("events") else [out]  # there an object a line
        unexplained[line] = missing(set().union(*(keys(json.loads(text)) for text in printed)))
    assert {line: names for line, names in unexplained.items() if names} == {}
