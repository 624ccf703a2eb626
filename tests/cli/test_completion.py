"""`litequeue completion`, in a real bash."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from litequeue.cli.main import COMMANDS, run
from tests.cli.conftest import Project

BASH = shutil.which("bash")
Completed = Callable[[str], list[str]]


@pytest.fixture
def completed(project: Project) -> Completed:
    """What bash offers when Tab is pressed at the end of a command line."""
    if BASH is None:
        pytest.skip("there is no bash")
    home = project.folder / "bin"
    home.mkdir()
    program = home / "litequeue"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m litequeue "$@"\n')
    program.chmod(0o755)
    script = project.folder / "completion.bash"
    script.write_text(project.run("completion", "bash").stdout)

    def press_tab(line: str) -> list[str]:
        words = line.split(" ")
        lines = [
            f"source {shlex.quote(str(script))}",
            "set -- $(complete -p litequeue)",
            'while [ "$1" != -F ]; do shift; done',
            f"COMP_WORDS=({' '.join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}",
            f"COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}",
            f'"$2" litequeue {shlex.quote(words[-1])} {shlex.quote(words[-2])}',
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
        done = subprocess.run(
            [BASH, "--norc", "-c", "\n".join(lines)],
            cwd=project.folder,
            env=project.environment | {"PATH": f"{home}:{project.environment['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return press_tab


def test_commands(completed: Completed) -> None:
    assert completed("litequeue wor") == ["worker"]
    assert completed("litequeue -A proj wor") == ["worker"]
    assert set(completed("litequeue ")) == set(COMMANDS)
    assert completed("litequeue schedule pre") == ["preview"]
    assert completed("litequeue graph ") == ["bindings", "task", "workers"]


def test_options(completed: Completed) -> None:
    assert completed("litequeue call --rou") == ["--routing-key"]
    assert "--json" in completed("litequeue status --")
    assert completed("litequeue graph task x --format m") == ["mermaid"]
    assert completed("litequeue completion ") == ["bash", "zsh", "fish"]


def test_names_of_tasks_and_queues(completed: Completed, project: Project) -> None:
    project.send("add", 1, 1, queue="mail")
    assert completed("litequeue -A proj call proj.a") == ["proj.add"]
    assert completed("litequeue call -A proj proj.p") == ["proj.pid"]
    assert completed("litequeue -A proj purge -Q m") == ["mail"]
    assert completed("litequeue -A proj worker -Q ") == ["celery", "mail"]
    assert completed("litequeue -A proj worker -Q celery,m") == ["celery,mail"]
    assert completed("litequeue -A proj pause m") == ["mail"]
    assert completed("litequeue -b queue.db call proj.") == ["proj.add"]


def test_ids(completed: Completed, project: Project) -> None:
    result = project.send("add", 1, 1)
    assert completed("litequeue -A proj result 0") == [result.id]
    assert completed("litequeue -A proj graph task ") == [result.id]
    assert completed("litequeue -A proj dead show ") == []


def test_nothing_is_offered_where_there_is_nothing(completed: Completed, project: Project) -> None:
    for line in ("call ", "-A nowhere call ", "-b no.db result ", "-A proj result "):
        assert completed(f"litequeue {line}") == []
    assert not list(project.folder.glob("*.db")), "to complete a line makes no file"


def test_what_modules_print_is_not_offered(completed: Completed, project: Project) -> None:
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write("\nprint('plain,proj.noise')\n")
    project.send("add", 1, 1)
    assert "proj.noise" not in completed("litequeue -A proj call proj.")


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef litequeue"), ("fish", "complete ")]
)
def test_there_is_a_script_for_each_shell(shell: str, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert mark in out
    assert f"_LITEQUEUE_COMPLETE={shell}_complete" in out
    assert not err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_one_that_its_shell_reads(shell: str, project: Project, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    script = tmp_path / "script"
    script.write_text(project.run("completion", shell).stdout)
    done = subprocess.run([program, "-n", str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "tcsh"]) == 2
    assert "tcsh" in capsys.readouterr().err
