"""The pid file: one live holder, stale ones replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from litequeue.cli.pidfile import held_pidfile
from litequeue.exceptions import LiteQueueCommandException
from litequeue.multi.pidfile import holder


def test_it_holds_our_pid_and_goes_with_the_block(tmp_path: Path) -> None:
    file = tmp_path / "w.pid"
    with held_pidfile(str(file)):
        assert file.read_text(encoding="ascii") == f"{os.getpid()}\n"
    assert not file.exists()


def test_it_goes_also_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held_pidfile(str(tmp_path / "w.pid")):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "garbage", "4194304999\n", "-1"])
def test_a_file_that_names_no_process_is_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "w.pid"
    file.write_text(content, encoding="ascii")
    with held_pidfile(str(file)):
        assert file.read_text(encoding="ascii") == f"{os.getpid()}\n"


def test_a_pid_that_was_given_again_is_stale(tmp_path: Path) -> None:
    """The process started after the file was written, so it cannot have written it."""
    file = tmp_path / "w.pid"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        file.write_text(str(other.pid), encoding="ascii")
        with pytest.raises(LiteQueueCommandException, match=f"process {other.pid} holds it"), held_pidfile(str(file)):
            pass
        os.utime(file, (1, 1))
        with held_pidfile(str(file)):
            pass
        other.communicate(b"\n")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(LiteQueueCommandException, match="No such file or directory"),
        held_pidfile(str(tmp_path / "no/w.pid")),
    ):
        pass


def test_a_file_that_another_took_over_is_left(tmp_path: Path) -> None:
    file = tmp_path / "w.pid"
    with held_pidfile(str(file)):
        file.write_text("1\n", encoding="ascii")
    assert file.read_text(encoding="ascii") == "1\n"


def test_of_many_that_start_together_one_wins(tmp_path: Path) -> None:
    file = tmp_path / "w.pid"
    script = (
        "import sys; from litequeue.cli.pidfile import held_pidfile\n"
        "input()\n"
        f"with held_pidfile({str(file)!r}):\n    print('held', flush=True); input()\n"
    )
    file.write_text("999999999", encoding="ascii")
    start = [sys.executable, "-c", script]
    processes = [
        subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    first = [process.stdout.readline() for process in processes if process.stdout is not None]
    assert sorted(first) == [b""] * 5 + [b"held\n"]
    for process in processes:
        process.communicate(b"\n")


HOLD = """
import os, subprocess, sys
from litequeue.cli.pidfile import held_pidfile

with held_pidfile(sys.argv[1]):
    child = os.fork() if "fork" in sys.argv else 1
    if child == 0:
        os.read(0, 1)
        os._exit(0)
    print(child, flush=True)
    os.read(0, 1)
    os._exit(0)
"""


def held_by_another(file: Path, *how: str) -> subprocess.Popen[bytes]:
    """A process that holds the file until it is sent a byte, and then ends without removing it."""
    command = [sys.executable, "-c", HOLD, str(file), *how]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.child = int(process.stdout.readline())  # type: ignore[attr-defined]
    return process


def test_the_holder_is_known_for_as_long_as_it_lives(tmp_path: Path) -> None:
    file = tmp_path / "w.pid"
    assert holder(file) is None
    with held_by_another(file) as process:
        found = holder(file)
        assert found is not None
        assert found.pid == process.pid
        os.utime(file, (1, 1))  # no clock has a say in it
        assert holder(file) == found
        with pytest.raises(LiteQueueCommandException, match=f"process {process.pid} holds"), held_pidfile(str(file)):
            pass
        process.communicate(b"\n")
    assert file.exists()
    assert holder(file) is None
    with held_pidfile(str(file)):
        pass


def test_a_process_that_lives_and_does_not_hold_it_is_not_the_holder(tmp_path: Path) -> None:
    file = tmp_path / "w.pid"
    file.write_text(f"{os.getppid()}\n", encoding="ascii")
    assert holder(file) is None


@pytest.mark.skipif(os.name == "nt", reason="there is no fork")
def test_a_forked_child_does_not_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "w.pid"
    with held_by_another(file, "fork") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        os.kill(process.child, 0)  # type: ignore[attr-defined]
        assert holder(file) is None
        assert process.stdin is not None
        process.stdin.write(b"\n")


def test_without_a_path_there_is_nothing_to_do() -> None:
    with held_pidfile(None):
        pass
