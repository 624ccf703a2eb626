"""Every key of the JSON, every reason, command and option of `inspect` has a row in docs/inspect.md."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import click
import pytest

from litequeue.cli.inspect import inspect
from litequeue.cli.inspect_asking import EXAMPLES, _asking, _info, _names
from litequeue.inspect import explain, facts, failures, obstacles, page, views
from litequeue.result.progress import Progress
from litequeue.worker.control import Panel

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "inspect.md").read_text(encoding="utf-8")
RECORDS = [
    found
    for module in (views, page, facts, failures)
    for found in vars(module).values()
    if isinstance(found, type) and dataclasses.is_dataclass(found) and found.__module__ == module.__name__
]


def rows(heading: str) -> set[str]:
    """The names in the first column of the tables below a heading."""
    _, found, rest = PAGE.partition(f"{heading}\n")
    assert found, f"docs/inspect.md has no heading {heading!r}"
    return set(re.findall(r"^\| `([^`]+)` \|", re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_key_is_explained(record: type) -> None:
    (heading,) = re.findall(rf"^### .*\(`{record.__name__}`\)$", PAGE, re.MULTILINE)
    assert rows(heading) == {field.name for field in dataclasses.fields(record)}


def test_every_key_of_progress_is_explained() -> None:
    assert rows("### Progress (`Progress`)") == set(Progress._fields)


def test_every_reason_is_explained() -> None:
    source = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in (explain, obstacles))
    kinds = set(re.findall(r'kind="(\w+)"', source))
    kinds |= {"retry", "queue_paused", "name_paused"}
    assert rows("## Why is it not running?") == kinds | {"scheduled"}


@pytest.mark.parametrize("name", sorted(inspect.commands))
def test_every_command_of_the_file_is_explained_and_gives_an_example(name: str) -> None:
    assert f"| `litequeue inspect {name}" in PAGE
    assert "Example: litequeue " in (inspect.commands[name].help or "") + (inspect.commands[name].epilog or "")


def test_every_command_for_workers_has_an_example() -> None:
    ours = {name for name in _names() if Panel.data[name].__module__.startswith("litequeue.")}
    assert ours | {"hello"} == set(EXAMPLES)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_command_for_workers_is_mentioned(name: str) -> None:
    info = _info(name)
    assert info is not None
    assert f"`{name}`" in PAGE
    assert "Example: litequeue -A proj inspect" in (_asking(name, info).epilog or "")


@pytest.mark.parametrize(
    "flag",
    sorted(
        {
            flag
            for command in (inspect, *inspect.commands.values())
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden
            for flag in option.opts
        }
    ),
)
def test_every_option_has_a_row(flag: str) -> None:
    assert f"`{flag}" in "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
