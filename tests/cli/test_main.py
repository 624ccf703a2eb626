"""The frame of the command line: help, version, errors, the order of global options."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import litequeue
from litequeue.cli.main import COMMANDS, run


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
        (["worker", "-D"], "stays in the foreground"),
        (["worker", "--uid", "www-data"], "systemd"),
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


@pytest.mark.parametrize(("argv", "shown"), [(["help"], "Commands:"), (["help", "worker"], "--concurrency")])
def test_help_is_a_command_too(argv: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 0
    assert shown in capsys.readouterr().out
