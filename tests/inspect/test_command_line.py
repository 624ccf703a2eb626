"""`litequeue inspect` as it is typed."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.cli.main import run
from tests.inspect.conftest import NAME, NODE, OTHER, wait_until
from tests.inspect.looked_at import add, boom, flaky

CELERY: tuple[str, ...] = (
    "active",
    "scheduled",
    "reserved",
    "revoked",
    "registered",
    "stats",
    "active_queues",
    "conf",
    "report",
)
CELERY += ("ping", "memsample", "clock")
READING = ("tasks", "failures", "slow", "file", "queues", "workers", "schedules")


class Done:
    """What a command line came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def failed(self, code: int, text: str) -> None:
        assert (self.code, self.out) == (code, ""), self.out
        assert text in self.err
        assert self.err.count("\n") == 1, self.err


@pytest.fixture
def inspect(app: Any, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Run `litequeue inspect` on that app's file."""
    looking = LiteQueue("looking", broker=app.conf.broker_url, set_as_current=False)

    def call(*argv: str) -> Done:
        capsys.readouterr()
        code = run(["inspect", *argv], app=looking)
        return Done(code, *capsys.readouterr())

    yield call
    looking.close()


@pytest.fixture
def there(app: Any) -> None:
    """The file is there."""
    app.store.counts()


def test_a_snapshot(inspect: Any, app: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held()
    app.schedules.add("nightly", NAME + "add", "0 4 * * *", args=[1, 2])
    text = inspect()
    assert (text.code, text.err) == (0, "")
    for part in ("Workers\n", NODE, "Queues\n", "celery", "Newest tasks\n", result.id, "Schedule\n", "nightly"):
        assert part in text.out
    assert "\x1b" not in text.out
    assert inspect("--once").out.startswith(app.store.path)
    assert inspect("--json").json.keys() == {"at", "workers", "queues", "tasks", "schedules", "file"}
    assert inspect("--once", "--json").json["tasks"][0]["id"] == result.id


@pytest.mark.parametrize("command", READING)
def test_an_empty_queue(inspect: Any, there: None, command: str) -> None:
    text = inspect(command)
    assert (text.code, text.err) == (0, "")
    assert text.out.strip()
    assert inspect(command, "--json").json is not None


def test_tasks(inspect: Any, ended: Any) -> None:
    results = [add.delay(1, 2), boom.delay("cake"), flaky.delay()]
    ended(*results)
    assert [task["id"] for task in inspect("tasks", "--json").json] == [result.id for result in reversed(results)]
    failed = inspect("tasks", "--state", "FAILURE,IGNORED", "--name", "*boom", "--text", "cake")
    assert results[1].id in failed.out
    assert results[0].id not in failed.out
    limited = inspect("tasks", "--limit", "1", "--since", "1h", "--before", "2999-01-01", "-Q", "cel*")
    assert len(limited.out.splitlines()) == 2
    assert limited.err == "litequeue: these are the newest 1; --limit 10 shows more\n"
    assert inspect("tasks", "--worker", NODE, "--state", "succeeded", "--json").json[0]["id"] == results[0].id
    assert inspect("tasks", "--root", results[0].id, "--json").json[0]["id"] == results[0].id
    assert inspect("tasks", "--state", "PROGRESS").out == "No tasks.\n"


def test_one_task(inspect: Any, ended: Any) -> None:
    result = boom.apply_async(("cake",), task_id="aaaaaaaa-bbbb")
    ended(result)
    text = inspect("task", result.id)
    assert "ValueError: no cake" in text.out
    assert inspect("task", "aaaaaaaa").out == text.out
    assert inspect("task", "aaaaaaaa-b", "--json").json["task"]["id"] == result.id
    inspect("task", "bbbbbbbb").failed(1, "has no task bbbbbbbb")
    inspect("task", "aaa").failed(1, "at least 8 characters")


def test_explain(inspect: Any, there: None) -> None:
    result = add.apply_async((1, 2), task_id="aaaaaaaa-bbbb")
    text = inspect("explain", "aaaaaaaa")
    assert (text.code, text.err) == (0, "")
    assert "no worker takes tasks from queue celery" in text.out
    assert inspect("explain", result.id, "--json").json["reasons"][0]["kind"] == "no_worker"
    unknown = inspect("explain", "nobody")
    assert unknown.code == 1
    assert "The file has no task of this id." in unknown.out
    add.apply_async((1, 2), task_id="aaaaaaaa-cccc")
    inspect("explain", "aaaaaaaa").failed(1, "several ids")


def test_failures_slow_and_file(inspect: Any, ended: Any) -> None:
    ended(boom.delay("cake"))
    assert "ValueError  inspect/looked_at.py:" in inspect("failures", "--since", "1h").out
    assert inspect("failures", "--json").json["groups"][0]["count"] == 1
    assert f"{NAME}boom" in inspect("slow", "--limit", "3").out
    assert inspect("slow", "--json").json["count"] == 1
    assert "integrity     sound" in inspect("file", "--check").out
    assert inspect("file", "--json").json["rows"] == {"failed": 1}


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("tasks", "--state", "FAILUR"), 2, "did you mean FAILURE"),
        (("tasks", "--since", "yesterday"), 2, "is no time; write"),
        (("tasks", "--since", "1h", "--before", "2h"), 2, "no task can be meant"),
        (("tasks", "--limit", "0"), 2, "--limit"),
        (("failures", "--since", "soon"), 2, "is no time"),
        (("slow", "--since", "soon"), 2, "is no time"),
        (("task",), 2, "Missing argument"),
        (("pong",), 2, "did you mean 'ping'"),
        (("shutdown",), 2, "no command 'shutdown'"),
        (("tasks", "--stat", "x"), 2, "did you mean '--state'"),
        (("-t", "soon", "ping"), 2, "soon"),
    ],
)
def test_bad_input(inspect: Any, there: None, argv: tuple[str, ...], code: int, text: str) -> None:
    inspect(*argv).failed(code, text)


@pytest.mark.parametrize(
    ("option", "word", "says"),
    [
        ("--state", "bogus", "no task shows the state 'bogus'; there are PENDING"),
        ("-Q", "nowhere", "there is no queue 'nowhere'"),
        ("--worker", "w9@nowhere", "no worker 'w9@nowhere' is registered"),
        ("--root", "nobody", "has no task nobody"),
    ],
)
def test_a_word_that_nobody_knows_is_told_where_nothing_is_found(
    inspect: Any, there: None, option: str, word: str, says: str
) -> None:
    done = inspect("tasks", option, word)
    assert done.out == "No tasks.\n"
    assert says in done.err


@pytest.mark.parametrize("command", ["--once", "tasks", "task", "explain", "ping", "file", "stats"])
def test_no_file_is_made(inspect: Any, app: Any, command: str) -> None:
    argv = (command, "aaaaaaaa") if command in ("task", "explain") else (command,)
    inspect(*argv).failed(1, str(app.conf.broker_url))
    assert not Path(app.conf.broker_url).exists()


@pytest.mark.parametrize("content", ["sqlite", "text", "empty", "folder"])
def test_a_file_that_is_not_ours(inspect: Any, app: Any, content: str) -> None:
    path = Path(app.conf.broker_url)
    if content == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE customers (name TEXT)")
        connection.close()
    elif content == "folder":
        path.mkdir()
    else:
        path.write_text("" if content == "empty" else "no database at all, but long enough to be read as one" * 20)
    before = path.read_bytes() if path.is_file() else None
    done = inspect("--once")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert before is None or path.read_bytes() == before


# Asking workers


@pytest.mark.parametrize("command", CELERY)
def test_nobody_answers(inspect: Any, there: None, command: str) -> None:
    inspect(command).failed(69, "No worker answered; none is registered.")
    inspect(command, "--json").failed(69, "No worker answered")


@pytest.mark.parametrize("command", CELERY)
def test_workers_answer(inspect: Any, run_worker: Any, command: str) -> None:
    with run_worker(), run_worker(hostname=OTHER):
        said = inspect(command, "-t", "20")
        assert said.code == 0, said.err
        assert f"->  {NODE}: OK\n    " in said.out
        assert said.out.endswith("\n2 nodes online.\n")
        assert inspect(command, "-j", "-t", "20").json.keys() == {NODE, OTHER}
        assert inspect("-d", OTHER, command, "-j", "-t", "20").json.keys() == {OTHER}
        assert inspect(command, "-d", OTHER, "-j", "-t", "20").json.keys() == {OTHER}
        assert inspect("-p", "w1*", command, "-j", "-t", "20").json.keys() == {NODE}
        inspect(command, "-d", "nobody@here").failed(69, f"No running worker matches nobody@here; there are: {NODE}")


def test_arguments(inspect: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held()
    assert inspect("query_task", result.id, "-j").json[NODE][result.id][0] == "active"
    assert f"* {NAME}limited [rate_limit=1/h]" in inspect("registered", "rate_limit", "-t", "20").out
    assert inspect("echo", "hello", "-t", "20", "-j").json == {NODE: {"ok": "hello"}}
    assert inspect("-t", "20", "hello", "celery@other", "-j").json[NODE].keys() == {"revoked", "clock"}
    inspect("echo").failed(2, "echo needs more arguments: echo <word>")
    inspect("ping", "now").failed(2, "ping takes fewer arguments")


def test_empty_answers_are_shown_as_celery_does(inspect: Any, worker: Any) -> None:
    assert inspect("active").out == f"->  {NODE}: OK\n    - empty -\n\n1 node online.\n"
    assert inspect("ping", "-t", "20").out == f"->  {NODE}: OK\n    pong\n\n1 node online.\n"


def test_help(inspect: Any, there: None) -> None:
    text = inspect("--help").out
    for part in ("What is in the file", "What workers say", "explain", "ping", "echo", "Example: litequeue"):
        assert part in text
    assert "Example: litequeue -A proj inspect ping" in inspect("ping", "--help").out
    assert "Say a word back." in inspect("echo", "--help").out
    assert "Example: litequeue -A proj inspect tasks" in inspect("tasks", "--help").out


# On a terminal


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal(app: Any, there: None, tmp_path: Path) -> None:
    """Coloured, and as wide as the terminal; without the extra, a sentence says how to get the live view."""
    add.delay(1, "x" * 300)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.modules['textual'] = None\n")
    plain = _on_terminal(app, "--once", "-C", width=90)
    assert max(map(len, plain.splitlines())) <= 90
    assert "\x1b[" not in plain
    assert "\x1b[1m" in _on_terminal(app, "--once", width=90)
    without = _on_terminal(app, width=90, folder=str(hidden))
    assert "pip install 'litequeue[viewer]' gives the live view" in without
    assert "Newest tasks" in without


def _on_terminal(app: Any, *argv: str, width: int, folder: str = "") -> str:
    """What `litequeue inspect` writes to a terminal."""
    import fcntl
    import pty
    import struct
    import termios

    pid, terminal = pty.fork()
    if not pid:  # pragma: no cover
        os.environ |= {"PYTHONPATH": os.pathsep.join(filter(None, (folder, *sys.path))), "TERM": "xterm"}
        os.environ.pop("NO_COLOR", None)
        os.execv(sys.executable, [sys.executable, "-m", "litequeue", "-b", app.conf.broker_url, "inspect", *argv])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so that the other side has closed it
            break
        if not part:
            break
        written += part
    assert os.waitpid(pid, 0)[1] == 0, written
    os.close(terminal)
    return written.decode().replace("\r\n", "\n")


def test_while_tasks_run(inspect: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held()
    wait_until(lambda: result.id in inspect("workers").out)
    shown = inspect("workers", "--json").json[0]
    assert shown["liveness"] == "alive"
    assert shown["cpu"] is not None
    assert result.id in inspect("queues").out or inspect("queues", "--json").json[0]["running"] == 1
