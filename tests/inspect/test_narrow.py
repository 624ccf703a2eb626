"""Narrow terminals: ids, times and numbers stay whole, what is less important goes; a pipe has everything."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from litequeue.cli.main import run
from tests.inspect.conftest import NAME, NODE
from tests.inspect.looked_at import boom, flaky

CUT_ID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{0,11})?…")
CUT_TIME = re.compile(r"\b\d{4}-\d\d[-\d :+]*…|\d+[hms]…")
ID = 36
"""Characters of an id."""

Show = Callable[..., list[str]]


class Terminal(io.StringIO):
    """A terminal, as wide as COLUMNS says."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def show(app: Any, monkeypatch: pytest.MonkeyPatch) -> Show:
    """`show(60, "inspect")`: the lines on a terminal of that width; of None, in a pipe."""

    def call(width: int | None, *argv: str) -> list[str]:
        terminal = io.StringIO() if width is None else Terminal()
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(width or 40))
            patch.setattr(sys, "stdout", terminal)
            assert run([*argv, "-C"], app=app) in (0, 1)
        return terminal.getvalue().splitlines()

    return call


@pytest.fixture
def busy(app: Any, worker: Any, held: Callable[..., Any]) -> list[str]:
    """A queue with something of all; the ids of its tasks."""
    failed, again = boom.delay("cake" * 30), flaky.delay()
    with pytest.raises(ValueError, match="no cake"):
        failed.get(timeout=20)
    running = held()
    app.schedules.add("nightly-report-of-all-customers", NAME + "add", "0 4 * * *", args=[1, 2])
    return [failed.id, again.id, running.id]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize(
    "command", ["inspect", "inspect tasks", "inspect slow", "inspect schedules", "inspect failures", "doctor", "dead"]
)
def test_it_fits_and_cuts_no_id_and_no_time(show: Show, busy: list[str], command: str, width: int) -> None:
    lines = show(width, *command.split())
    assert max(map(len, lines)) <= width, lines
    for line in lines:
        assert not CUT_ID.search(line), line
        assert not CUT_TIME.search(line), line


@pytest.mark.parametrize("width", [40, 60, 80])
def test_ids_can_be_copied(show: Show, busy: list[str], width: int) -> None:
    for command in ("inspect", "inspect tasks", "inspect workers", "inspect slow"):
        text = "\n".join(show(width, *command.split()))
        assert busy[2] in text, command
    assert busy[0] in "\n".join(show(width, "dead"))


def test_columns_go_by_their_importance(show: Show, busy: list[str]) -> None:
    def titles(width: int | None, *argv: str) -> list[str]:
        return show(width, *argv)[0].split()

    assert titles(None, "inspect", "tasks") == ["id", "state", "queue", "when", "took", "call", "error"]
    assert titles(80, "inspect", "tasks") == ["id", "state", "when", "call"]
    assert titles(60, "inspect", "tasks") == ["id", "state", "call"]
    assert titles(40, "inspect", "tasks") == ["id"]
    assert titles(None, "dead") == ["id", "name", "queue", "when", "error"]
    assert titles(80, "dead") == ["id", "name", "error"]
    assert titles(80, "inspect", "schedules") == ["name", "when", "task", "next", "last", "runs", "state"]
    assert titles(60, "inspect", "schedules") == ["name", "task", "next", "state"]
    assert titles(80, "inspect", "slow")[0] == "task"
    assert "max" in titles(60, "inspect", "slow")


def test_slow_names_its_tasks(show: Show, busy: list[str]) -> None:
    assert any(line.startswith(f"{NAME}boom"[:22]) for line in show(60, "inspect", "slow"))


def test_a_pipe_has_all_of_it(show: Show, busy: list[str]) -> None:
    for command in ("inspect", "inspect tasks", "dead", "inspect failures"):
        text = "\n".join(show(None, *command.split()))
        assert "…" not in text.replace("folder", ""), command
        assert "cakecake" * 10 in text, command
    assert NODE in "\n".join(show(None, "doctor"))


def test_the_doctor_says_everything_at_every_width(show: Show, busy: list[str]) -> None:
    def said(width: int | None) -> str:
        return re.sub(r"[\d.]+|\s", "", " ".join(show(width, "doctor")))

    assert said(40) == said(80) == said(120) == said(None)
