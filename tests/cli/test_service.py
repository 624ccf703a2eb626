"""`litequeue service`: texts that the service managers can read, and that say what was given."""

from __future__ import annotations

import configparser
import json
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from litequeue.cli.main import run
from litequeue.cli.service import KINDS, default_kind

TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
KEYS = ("kind", "scope", "name", "command", "path", "install", "text")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def text_of(*argv: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `litequeue -A proj service ...` prints."""
    assert run(["-A", "proj", "service", *argv]) == 0
    return capsys.readouterr().out


def described(*argv: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The same as JSON."""
    answer: dict[str, Any] = json.loads(text_of(*argv, "--json", capsys=capsys))
    return answer


def unit(text: str) -> configparser.ConfigParser:
    """A unit file, read."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


AWKWARD = ("-n", "w 1@%h", "-f", "/var/log/$x/ä%n.log", "-Q", "a,b", "-Q", "c", "-c4", "--no-beat", "x_y=1")


@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_a_unit_of_systemd(scope: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parser = unit(text_of("systemd", scope, *AWKWARD[:-1], capsys=capsys))
    service = parser["Service"]
    assert service["WorkingDirectory"] == str(tmp_path)
    command = service["ExecStart"].replace("%%", "%").replace("$$", "$")
    assert shlex.split(command) == [
        sys.executable, "-m", "litequeue", "-A", "proj", "worker", "--hostname=w 1@%h", "--logfile=/var/log/$x/ä%n.log",
        "--concurrency=4", "--no-beat", "--queues=a,b", "--queues=c",
    ]  # fmt: skip
    assert (service["KillSignal"], service["KillMode"], service["TimeoutStopSec"]) == ("SIGTERM", "mixed", "300")
    assert service["Restart"] == "on-failure"
    assert ("User" in service) is (scope == "--system")
    wanted = "default.target" if scope == "--user" else "multi-user.target"
    assert parser["Install"]["WantedBy"] == wanted


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_systemd_accepts_it(scope: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "proj-worker.service"
    file.write_text(
        text_of("systemd", scope, "--run-as=root" if scope == "--system" else "-E", *AWKWARD, capsys=capsys)
    )
    done = subprocess.run(
        ["systemd-analyze", scope, "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(done.stderr)
    assert "proj-worker" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_a_property_list_of_launchd(scope: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = text_of("launchd", scope, *AWKWARD, "--stop-timeout=20", capsys=capsys)
    content = plistlib.loads(text.encode())
    assert content["ProgramArguments"][:6] == [sys.executable, "-m", "litequeue", "-A", "proj", "worker"]
    assert content["ProgramArguments"][6] == "--hostname=w 1@%h"
    assert content["ProgramArguments"][-1] == "x_y=1"
    assert content["WorkingDirectory"] == str(tmp_path)
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert content["ExitTimeOut"] == 20
    assert ("UserName" in content) is (scope == "--system")
    assert "launchctl bootstrap" in text.partition("<plist")[0]


@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_a_task_of_windows(scope: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = text_of("windows", scope, *AWKWARD, "--name=a--b & c", capsys=capsys)
    assert text.isascii()
    root = ElementTree.fromstring(text)
    action = root.find(f"{TASK}Actions/{TASK}Exec")
    assert action is not None
    assert action.findtext(f"{TASK}Command") == sys.executable
    arguments = action.findtext(f"{TASK}Arguments")
    assert arguments is not None
    assert arguments.startswith('-m litequeue -A proj worker "--hostname=w 1@%h" --logfile=/var/log/$x/ä%n.log')
    assert action.findtext(f"{TASK}WorkingDirectory") == str(tmp_path)
    trigger = "LogonTrigger" if scope == "--user" else "BootTrigger"
    assert root.find(f"{TASK}Triggers/{TASK}{trigger}") is not None
    assert root.findtext(f"{TASK}Settings/{TASK}ExecutionTimeLimit") == "PT0S"


@pytest.mark.parametrize(("platform", "kind"), [("linux", "systemd"), ("darwin", "launchd"), ("win32", "windows")])
def test_each_system_has_its_kind(platform: str, kind: str) -> None:
    assert default_kind(platform) == kind


def test_without_a_word_it_is_for_this_system(capsys: pytest.CaptureFixture[str]) -> None:
    assert described(capsys=capsys)["kind"] == default_kind()
    assert described("x_y=1", capsys=capsys)["command"][-1] == "x_y=1"


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_as_json(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = described(kind, "--system", "--run-as", "www", "-E", capsys=capsys)
    assert tuple(answer) == KEYS
    assert (answer["kind"], answer["scope"], answer["name"]) == (kind, "system", "proj-worker")
    assert answer["command"] == [sys.executable, "-m", "litequeue", "-A", "proj", "worker", "--task-events"]
    assert "www" in answer["text"]
    assert all(line in answer["text"] for line in answer["install"])
    assert answer["path"] in answer["text"]


def test_file_and_folder_become_absolute(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = described("-b", "queue.db", "--workdir", "sub", "--config=conf", capsys=capsys)
    assert answer["command"][3:8] == ["-A", "proj", "-b", str(tmp_path / "sub" / "queue.db"), "--config=conf"]
    answer = described("-b", "sqlite:///queue.db", capsys=capsys)
    assert answer["command"][5:7] == ["-b", "sqlite:///queue.db"]


def test_the_worker_of_a_unit_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The command line is one that the worker takes."""
    (tmp_path / "proj.py").write_text("from litequeue import LiteQueue\napp = LiteQueue('proj', broker='queue.db')\n")
    given = ("--burst", "-P", "solo", "-Q", "a", "-Q", "b", "-l", "info", "--no-beat", "worker_lease=40")
    command = described(*given, capsys=capsys)["command"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "queues   a (0 waiting), b (0 waiting)" in done.stdout


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["service"], "no app given"),
        (["-A", "proj", "service", "upstart"], "no kind of service 'upstart'; there are: systemd, launchd, windows"),
        (["-A", "proj", "service", "-c", "x"], "'x' is not a number of slots"),
        (["-A", "proj", "service", "--detach"], "no option '--detach'"),
        (["-A", "proj", "service", "--nosuch"], "no option '--nosuch'"),
        (["-A", "proj", "service", "--run-as", "www"], "--run-as belongs to --system"),
        (["-A", "proj", "service", "--stop-timeout", "0"], "--stop-timeout"),
    ],
)
def test_what_cannot_be_meant(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example: litequeue -A proj service systemd" in out
    assert "--stop-timeout" in out
