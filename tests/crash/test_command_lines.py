"""Whatever is typed, a command gives an answer or says in a line what is wrong, with an exit code that is documented.

`LITEQUEUE_COMMAND_LINES=20000` tries more command lines, `LITEQUEUE_CRASH_SEED=2` others.
"""

from __future__ import annotations

import os
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from litequeue.cli.invocation import Invocation
from litequeue.cli.main import COMMANDS, litequeue
from litequeue.worker.control import Panel

from . import looks
from .looks import EXIT_CODES, app, command
from .power_loss import SEED

COUNT = int(os.environ.get("LITEQUEUE_COMMAND_LINES", "400"))
"""How many command lines are tried."""
INTERRUPTED = 130
"""The exit code where a question has no answer, because there is nobody to give one."""

# What runs until it is told to end, or starts processes that do; their options have tests of their own.
LEFT_OUT = ("worker", "beat", "shell", "multi start", "multi restart", "multi stop", "multi stopwait", "multi kill")
LEFT_OUT_OPTIONS = ("--detach", "--camera", "--logfile", "--pidfile", "--ipython", "--bpython", "--help", "--version")
TEXTS = (
    *(
        "",
        " ",
        "x",
        "-",
        "--",
        "-x",
        "--nothing",
        ",",
        ",,,",
        "a,b",
        "a b",
        "*",
        "[",
        "]",
        "?",
        "%",
        "%n",
        "'",
        '"',
        "\\",
    ),
    *(
        "\x00",
        "\x1b[2J",
        "\n",
        "\ud800",
        "\udcff",
        "é",
        "\U0001f600",
        "x" * 10_000,
        "../x",
        "a/b/c",
        "no/such/folder/x",
    ),
    *("0", "1", "-1", "3", "1e3", "1e400", "nan", "inf", "-inf", "9" * 30, "0x10", "٣", "1.5", "true", "None"),
    *(
        "2h",
        "1d",
        "30s",
        "-2h",
        "9" * 20 + "d",
        "2030-01-31",
        "2030-01-31 09:00",
        "2030-13-45",
        "now",
        "10/m",
        "1/0",
        "x/s",
    ),
    *("{", "[", "[]", "{}", "[1, 2]", '{"x": 1}', "null", '"x"', '{"x": NaN}', "[" * 5000, "7"),
    *(
        "celery",
        "mail",
        "looks.add",
        "looks.*",
        "celery@looks",
        "SUCCESS",
        "FAILURE",
        "failed",
        "json",
        "SIGKILL",
        "UTC",
    ),
    *("each-minute", "mornings", "30 7 * * *", "* * * * * * *", "sunrise", "Mars/Olympus", "k=v", "colour=red", "="),
)
QUICK = ("0.01", "0.02", "0", "-1", "x", "", "nan")
"""How long it waits at most."""


class Known(NamedTuple):
    """A command, and what leads to it."""

    words: tuple[str, ...]
    command: click.Command


def every_command() -> Iterator[Known]:
    """All of them, with those in groups."""
    ctx = click.Context(litequeue, info_name="litequeue", obj=Invocation(app=app))
    with ctx:
        for name in COMMANDS:
            found = litequeue.get_command(ctx, name)
            assert found is not None
            yield from _with_inner((name,), found, ctx)


def _with_inner(words: tuple[str, ...], found: click.Command, ctx: click.Context) -> Iterator[Known]:
    if " ".join(words) in LEFT_OUT:
        return
    yield Known(words, found)
    if words == ("control",):
        yield from (Known((*words, name), found) for name, info in Panel.meta.items() if info.type == "control")
    if isinstance(found, click.Group):
        inner_ctx = click.Context(found, parent=ctx, info_name=words[-1], obj=ctx.obj)
        for name in found.list_commands(inner_ctx):
            inner = found.get_command(inner_ctx, name)
            assert inner is not None
            yield from _with_inner((*words, name), inner, inner_ctx)


def a_line(chance: random.Random, known: Known, ids: list[str]) -> list[str]:
    """A command line of options and arguments that the command has, with values that it may not like."""
    words = list(known.words)
    takes: list[str] = []
    for param in known.command.params:
        if isinstance(param, click.Argument):
            count = chance.choice((0, 1, 1, 1, 2)) if param.nargs == -1 else chance.choice((0, 1, 1, 1, 1, 1, 2))
            takes += [chance.choice(ids if chance.random() < 0.5 else TEXTS) for _ in range(count)]
        elif not set(param.opts) & set(LEFT_OUT_OPTIONS) and chance.random() < (0.08 if _is_global(param) else 0.2):
            words.append(chance.choice(param.opts))
            if not getattr(param, "is_flag", False):
                words += [_value(chance, param, ids) for _ in range(max(param.nargs, 1))]
    if known.words[0] == "events":
        words += ["--once"]
    if any("--timeout" in param.opts for param in known.command.params):
        words += ["--timeout", chance.choice(QUICK[:2])]
    if chance.random() < 0.3:
        words.append("--json")
    return [*words, *(["--"] if chance.random() < 0.5 else []), *takes]


def _is_global(param: click.Parameter) -> bool:
    return bool(getattr(param, "hidden", False))


def _value(chance: random.Random, param: click.Parameter, ids: list[str]) -> str:
    if "--timeout" in param.opts:
        return chance.choice(QUICK)
    if isinstance(param.type, click.Choice) and chance.random() < 0.7:
        return str(chance.choice(list(param.type.choices)))
    return chance.choice(ids) if chance.random() < 0.1 else chance.choice(TEXTS)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, and an environment that is as before in the end."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("LITEQUEUE_"):
            monkeypatch.delenv(name)
    return tmp_path


def test_whatever_is_typed_there_is_an_answer(whole, place):
    every = list(every_command())
    assert len(every) > 70
    path = place / "queue.db"
    ids: list[str] = []
    found: list[str] = []
    environment = dict(os.environ)
    for number in range(COUNT):
        chance = random.Random(f"{SEED}-{number}")
        if number % 20 == 0 or not path.exists():
            app.close()
            for each in place.glob("queue.db*"):
                each.unlink()
            shutil.copyfile(whole, path)
            app.conf.broker_url = str(path)
            ids = [task_id for task_id, _ in looks.harm(path, [])]
        argv = a_line(chance, chance.choice(every), ids)
        with_app = chance.random() < 0.7
        if not with_app:
            argv = ["-b", str(path), *argv]
        elif "--config" in argv:  # the app would keep it
            continue
        try:
            problems = judged(argv, with_app)
        finally:
            os.chdir(place)
            os.environ.clear()
            os.environ.update(environment)
        found += [f"number {number}: {[word[:80] for word in argv]}: {problem}" for problem in problems]
    app.close()
    assert not found, "\n".join(found)


def judged(argv: list[str], with_app: bool) -> list[str]:
    """What is wrong with the answer."""
    changes: dict[str, Any] = dict(app.conf.changes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = command(*argv, of=app if with_app else None)
    except BaseException as error:
        return [f"{type(error).__name__}: {str(error)[:200]}"]
    finally:
        for name in app.conf.changes.keys() - changes.keys():
            app.conf.pop(name)
    problems = []
    if answer.code not in (*EXIT_CODES, INTERRUPTED):
        problems.append(f"exit code {answer.code}")
    if "Traceback (most recent call last)" in answer.err:
        problems.append(f"a traceback: {answer.err[-500:]}")
    if answer.code == 2 and (answer.err.count("\n") < 1 or not answer.err.startswith("litequeue")):
        problems.append(f"wrong use is said as {answer.err[:300]!r}")
    return problems
