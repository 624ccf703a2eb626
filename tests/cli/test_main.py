"""The frame of the command line: help, version, errors, the order of global options."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import litequeue
from litequeue.cli import main
from litequeue.cli.main import COMMANDS, SECTIONS, run
from tests.cli.conftest import Project


def python(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A real process of this Python."""
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def one_line(text: str) -> str:
    """`text`, which must be a single line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text.strip()


@pytest.mark.parametrize("argv", [["--version"], ["-q", "--version"], ["worker", "-q", "--help"]])
def test_what_is_asked_for_goes_to_stdout_and_nothing_to_stderr(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == 0
    out, err = capsys.readouterr()
    assert out
    assert not err


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--version"])
    assert capsys.readouterr().out.strip() == litequeue.__version__


@pytest.mark.parametrize("argv", [["--help"], ["-h"], []])
def test_help_lists_every_command_with_its_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 0
    out = capsys.readouterr().out
    for name, lazy in COMMANDS.items():
        assert f"  {name}" in out
        assert lazy.help in out


def test_the_list_of_commands_has_sections(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    lines = capsys.readouterr().out.splitlines()
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Global options", "Options", *SECTIONS]
    assert {lazy.section for lazy in COMMANDS.values()} == set(SECTIONS)


def commands(inside: click.Group = main.litequeue, *names: str) -> Iterator[tuple[str, ...]]:
    """The names of every command, and of those in it."""
    context = click.Context(inside)
    for name in inside.list_commands(context):
        yield (*names, name)
        if inside is main.litequeue and name not in ("schedule", "dead", "list", "graph"):
            continue  # the others have no commands in them, and need not be imported to find the tests
        found = inside.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, *names, name)


@pytest.mark.parametrize("names", list(commands()), ids=" ".join)
def test_every_help_ends_with_an_example_of_the_command(
    names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*names, "--help"]) == 0
    last = capsys.readouterr().out.rstrip().splitlines()[-1].strip()
    assert last.startswith("Example: litequeue "), last
    if names != ("graph", "bootsteps"):
        assert " ".join(names) in last or names == ("help",) or last.split()[-1] in names


@pytest.mark.parametrize("name", ["schedule", "dead", "list", "graph", "multi", "control", "inspect"])
def test_a_command_of_a_command_that_is_not_there_is_one_line(
    name: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "xyzzy"], app=project.app) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "xyzzy" in err


def test_python_m_litequeue_is_litequeue() -> None:
    done = python("-m", "litequeue", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, litequeue.__version__)


def test_help_imports_neither_the_commands_nor_the_app_nor_the_store() -> None:
    script = "import sys; from litequeue.cli.main import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = python("-c", script)
    loaded = set(done.stderr.split())
    heavy = {"apsw", "psutil", "filelock", "multiprocessing", "asyncio", "litequeue.app", "litequeue.cli.worker"}
    assert not heavy & loaded


def test_help_takes_less_than_150_ms_of_processor_time() -> None:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    times = []
    for _ in range(5):
        before = spent()
        python("-m", "litequeue", "--help")
        times.append(spent() - before)
    assert min(times) < 0.150


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["wroker"], "no command 'wroker'; did you mean 'worker'?"),
        (["xyzzy"], f"no command 'xyzzy'; there are: {', '.join(COMMANDS)}."),
        (["--verson"], "no option '--verson'; did you mean '--version'?"),
        (["worker", "--cncurrency", "3"], "no option '--cncurrency'; did you mean '--concurrency'?"),
        (["-q"], "no command; there are"),
        (["worker", "-c", "many"], "'many' is not a number of slots; write a whole number, or auto"),
        (["worker", "-c", "-2"], "'-2' is not a number of slots"),
        (["worker", "-l", "LOUD"], "'LOUD' is not a log level; write one of DEBUG, INFO"),
        (["worker", "-P", "gevent"], "no gevent pool; write -P threads"),
        (["worker", "-P", "bathing"], "'bathing' is not a pool; write one of prefork, threads, asyncio, solo"),
        (["worker", "--time-limit", "0"], "--time-limit"),
        (["worker", "--max-tasks-per-child", "0"], "--max-tasks-per-child"),
        (["worker", "--max-memory-per-child", "lots"], "write kilobytes, or 200M, or 1G"),
        (["worker", "--autoscale", "a,b"], "is not max,min"),
        (["worker"], "no app given; write `litequeue -A proj ...`"),
        (["--workdir", "/no/such/folder", "-A", "x", "worker"], "/no/such/folder: No such file or directory"),
    ],
)
def test_a_command_line_that_is_wrong_is_one_line_and_code_2(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LITEQUEUE_APP", "LITEQUEUE_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    assert run(argv) == 2
    out, err = capsys.readouterr()
    assert not out
    assert says in one_line(err)
    assert err.startswith("litequeue")


def test_a_closed_pipe_ends_the_program_without_a_word() -> None:
    done = subprocess.run(
        f"{sys.executable} -m litequeue worker --help | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["help"], "Running:"),
        (["help", "worker"], "--concurrency"),
        (["help", "schedule", "add"], "--cron"),
        (["help", "help"], "litequeue help"),
    ],
)
def test_help_is_a_command_too(argv: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 0
    assert shown in capsys.readouterr().out


# Global options stand before the command and after it


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["-A", "proj"], "celery"),
        (["--app=proj"], "celery"),
        (["-b", "queue.db"], "celery"),
        (["--broker", "sqlite:///queue.db"], "celery"),
        (["-A", "proj", "--result-backend", "disabled://"], "celery"),
        (["-A", "proj", "--config", "settings"], "mine"),
        (["--workdir", "inner", "-A", "other"], "inner"),
        (["-A", "proj", "-C"], "celery"),
        (["-A", "proj", "--no-color"], "celery"),
        (["-A", "proj", "-q"], "celery"),
        (["-A", "proj", "--quiet"], "celery"),
        (["-A", "proj", "-j"], '"queue": "celery"'),
        (["-A", "proj", "--json"], '"queue": "celery"'),
        (["--version"], litequeue.__version__),
        (["--version", "-A", "nowhere"], litequeue.__version__),
    ],
)
def test_a_global_option_stands_before_the_command_and_after_it(
    project: Project, options: list[str], shown: str
) -> None:
    project.send("add", 1, 1)
    (project.folder / "settings.py").write_text("task_default_queue = 'mine'\n")
    inner = project.folder / "inner"
    inner.mkdir()
    (inner / "other.py").write_text(
        "from litequeue import LiteQueue\napp = LiteQueue('other', broker='q.db', task_default_queue='inner')\n"
    )
    before = project.run(*options, "list", "bindings")
    after = project.run("list", "bindings", *options)
    assert before.returncode == after.returncode == 0, before.stderr + after.stderr
    assert before.stdout == after.stdout
    assert shown in before.stdout


def test_options_come_from_the_environment_too(project: Project) -> None:
    done = project.run("list", "tasks", LITEQUEUE_APP="proj", LITEQUEUE_LIST_TASKS_BUILTINS="1")
    assert "proj.add(x, y)" in done.stdout
    assert "litequeue.chord" in done.stdout
    project.send("add", 1, 1)
    done = project.run("list", "bindings", LITEQUEUE_BROKER_URL=str(project.file))
    assert (done.returncode, done.stderr) == (0, "")
    done = project.run("list", "bindings", LITEQUEUE_APP="inner", LITEQUEUE_WORKDIR=str(project.folder / "gone"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_json_is_all_that_goes_to_stdout(project: Project) -> None:
    project.send("add", 1, 1)
    for argv in (["list", "queues"], ["dead"], ["schedule", "list"], ["pause"], ["purge", "-f"], ["report"]):
        done = project.run("--json", "-A", "proj", *argv)
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)


def test_a_question_under_json_is_asked_on_stderr(project: Project) -> None:
    project.send("add", 1, 1)
    done = project.run("-A", "proj", "purge", "--json", text="y\n")
    assert json.loads(done.stdout) == {"purged": 1, "queues": ["celery"]}
    assert "Go on?" in done.stderr


# Errors


@pytest.mark.parametrize(
    "argv", [["status"], ["result", "nobody"], ["list", "queues"], ["graph", "workers"], ["dead"], ["schedule", "list"]]
)
def test_what_only_looks_makes_no_queue(project: Project, argv: list[str]) -> None:
    file = project.folder / "empty.db"
    file.touch()
    done = project.run("-b", "empty.db", *argv)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not a queue of litequeue" in done.stderr
    assert file.stat().st_size == 0


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["-A", "nowhere", "list", "tasks"], 1, "-A nowhere: there is no module 'nowhere'"),
        (["-A", "broken", "list", "tasks"], 1, "-A broken: ZeroDivisionError: division by zero ("),
        (["-A", "proj", "--config", "gone", "list", "tasks"], 1, "--config gone: "),
        (["-b", "slip.db", "dead"], 1, "there is no such file"),
        (["-b", "notes.txt", "dead"], 1, "not a database"),
        (["-b", "redis://localhost", "dead"], 1, "litequeue needs no redis server"),
        (["dead"], 2, "no app given; write `litequeue -A proj ...`"),
        (["-A", "proj", "dead", "show", "nobody"], 1, "has no task nobody"),
        (["-A", "proj", "status"], 1, "there is no such file"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(project: Project, argv: list[str], code: int, says: str) -> None:
    (project.folder / "broken.py").write_text("1 / 0\n")
    (project.folder / "notes.txt").write_text("no database " * 1000)
    if "nobody" in argv:
        project.send("add", 1, 1)
    done = project.run(*argv)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert says in done.stderr
    assert not (project.folder / "slip.db").exists()


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_output_may_be_cut_off(project: Project, tmp_path: Path) -> None:
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.writelines(f"app.task(name='proj.task{number:04}')(lambda: None)\n" for number in range(2000))
    command = " ".join(project.command("-A", "proj", "list", "tasks", "--json"))
    done = subprocess.run(
        f"{command} | head -n 1",
        shell=True,
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[\n", "")
