"""`litequeue control`, `pause` and `resume` where no worker is running."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from litequeue.cli.control import EXAMPLES, EXIT_UNAVAILABLE, compile_arguments
from litequeue.cli.main import run
from litequeue.worker.control import Panel
from tests.control import steered
from tests.control.conftest import NODE

ADD = "tests.control.steered.add"


@pytest.fixture
def line(app: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Carry out a command line: (exit code, stdout, stderr)."""

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(argv, app=app)
        out, err = capsys.readouterr()
        return code, out, err

    return call


Line = Callable[..., tuple[int, str, str]]


def test_nobody_is_there(line: Line) -> None:
    code, out, err = line("control", "shutdown")
    assert (code, out, err) == (EXIT_UNAVAILABLE, "", "litequeue: No worker answered; none is registered.\n")


def test_nobody_matches(line: Line, worker: Any) -> None:
    code, _, err = line("control", "pool_grow", "2", "-d", "nobody@here")
    assert code == EXIT_UNAVAILABLE == 69
    assert err == f"litequeue: No running worker matches nobody@here; there are: {NODE}.\n"
    assert line("control", "pool_grow", "2", "-p", "nobody*")[0] == EXIT_UNAVAILABLE
    assert worker.concurrency == 2


def test_answers(line: Line, worker: Any) -> None:
    assert line("control", "-d", NODE, "pool_grow") == (0, f"->  {NODE}: OK\n        pool will grow\n", "")
    assert line("control", "pool_grow", "1", "-p", "w1@*", "-t", "20")[0] == 0
    assert worker.concurrency == 4
    code, out, _ = line("control", "-j", "say", "hi", "2")
    assert (code, json.loads(out)) == (0, [{NODE: {"ok": "hi hi"}}])
    code, out, _ = line("control", "heartbeat")
    assert (code, out) == (0, f"->  {NODE}: OK\n")


def test_an_error_is_an_exit_code(line: Line, worker: Any) -> None:
    code, out, _ = line("control", "pool_shrink", "7")
    assert code == 1
    assert "ERROR" in out


def test_what_needs_no_worker(app: Any, line: Line) -> None:
    result = steered.add.delay(1, 2)
    assert line("control", "rate_limit", ADD, "10/m") == (0, "Done. No worker is running that could say so.\n", "")
    assert app.control.rates() == {ADD: "10/m"}
    assert line("control", "time_limit", ADD, "5", "10")[0] == 0
    assert app.control.limits()[ADD].time_limit == 10
    assert line("control", "revoke", result.id)[0] == 0
    assert result.state == "REVOKED"
    assert line("control", "terminate", "KILL", "some-id")[0] == 0
    assert line("control", "revoke_by_stamped_headers", "customer=42")[0] == 0
    assert steered.add.s(1, 1).stamp(customer="42").apply_async().state == "REVOKED"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("pol_grow",), "did you mean 'pool_grow'?"),
        (("zzzzzz",), "there are: add_consumer"),
        (("ping",), "litequeue inspect"),
        (("pool_grow", "x"), "n cannot be 'x'"),
        (("pool_grow", "1", "2"), "takes fewer arguments"),
        (("rate_limit",), "needs more arguments"),
        (("rate_limit", ADD), "needs more arguments"),
        (("revoke",), "needs more arguments"),
        (("terminate", "KILL"), "needs more arguments"),
        (("pool_grow", "--destnation", "x"), "did you mean '--destination'?"),
        ((), "COMMAND"),
    ],
)
def test_what_cannot_be_understood(line: Line, argv: tuple[str, ...], said: str) -> None:
    code, out, err = line("control", *argv)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("rate_limit", ADD, "1/y"), "1/y"),
        (("terminate", "NOPE", "id"), "this system has no signal 'NOPE'"),
        (("time_limit", ADD, "20", "10"), "above the hard one"),
        (("revoke_by_stamped_headers", "customer"), "header=value"),
    ],
)
def test_an_argument_that_cannot_be(line: Line, argv: tuple[str, ...], said: str) -> None:
    code, out, err = line("control", *argv)
    assert (code, out) == (2, "")
    assert said in err


def test_a_task_that_nobody_knows(line: Line) -> None:
    code, out, err = line("control", "rate_limit", "tests.control.steered.ad", "1/s")
    assert (code, out) == (1, "")
    assert f"did you mean '{ADD}'?" in err


def test_help(line: Line) -> None:
    code, out, _ = line("control", "--help")
    assert code == 0
    for name, info in Panel.meta.items():
        assert (f"  {name}" in out) == (info.type == "control" and info.visible), name
    assert "say <word> [times]" in out
    assert "Example: litequeue -A proj control" in out
    assert line("control", "--list")[1].count("add_consumer <queue>") == 1


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_each_command_has_an_example(line: Line, name: str) -> None:
    example = EXAMPLES[name]
    code, out, _ = line("control", name, "--help")
    assert code == 0
    assert f"Example: litequeue -A proj control {example}" in " ".join(out.split())
    words = example.partition(" -d")[0].split()
    assert words[0] == name
    assert compile_arguments(name, tuple(words[1:])) is not None


def test_every_visible_command_has_one() -> None:
    mine = {"say"}
    assert {name for name, info in Panel.meta.items() if info.type == "control" and info.visible} - mine == {*EXAMPLES}


# pause and resume


def test_pause_and_resume(app: Any, line: Line) -> None:
    assert line("pause") == (0, "Nothing is paused.\n", "")
    assert line("pause", "celery", "--task", ADD) == (0, f"Paused: celery, {ADD}.\n", "")
    assert line("pause", "celery") == (0, "celery was paused before.\n", "")
    out = line("pause")[1]
    assert [row.split()[:3] for row in out.splitlines()] == [["queue", "celery", "since"], ["task", ADD, "since"]]
    assert line("pause", "--list")[1] == line("resume", "--list")[1] == line("resume")[1] == out
    assert json.loads(line("pause", "-j")[1])["queues"].keys() == {"celery"}
    assert line("resume", "celery", "--task", ADD) == (0, f"Resumed: celery, {ADD}.\n", "")
    assert line("resume", "celery") == (0, "celery was not paused.\n", "")
    assert app.control.paused() == {"queues": {}, "tasks": {}}
    assert json.loads(line("pause", "celery", "--json")[1])["queues"].keys() == {"celery"}


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_nobody_knows(line: Line, verb: str) -> None:
    code, _, err = line(verb, "celry")
    assert (code, err) == (1, "litequeue: there is no queue 'celry'; did you mean 'celery'?\n")
    code, _, err = line(verb, "--task", "nope")
    assert (code, err) == (1, "litequeue: 'nope': no task of that name is registered\n")
    assert "Example: litequeue -A proj" in line(verb, "--help")[1]
