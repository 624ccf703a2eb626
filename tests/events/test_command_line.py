"""`litequeue events`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from litequeue.cli.events import live_line
from litequeue.cli.main import run
from tests.events import eventful
from tests.events.conftest import NODE, Project, ended, wait_until

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals, and a terminal of its own")
NOBODY = "no running worker writes events; start one with -E"


@pytest.fixture
def done(app: Any, run_worker: Any) -> tuple[Any, Any]:
    """A success and a failure, with their events."""
    with run_worker():
        results = eventful.add.delay(1), eventful.fail.delay()
        ended(*results)
    return results


def test_what_is_kept_as_lines(app: Any, done: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", "--once"], app=app) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert len(lines) == app.store.event_range().last
    assert lines[0].startswith(f"{NODE} [")
    assert " started: active=0, clock=1, freq=" in lines[0]
    name = eventful.add.name
    success = next(line for line in lines if "task succeeded" in line)
    assert f" task succeeded: {name}({done[0].id}) args=(1,) kwargs={{}} " in success
    assert "result=3" in success
    failure = next(line for line in lines if "task failed" in line)
    assert "exception=ValueError('bad')" in failure
    assert r"\nValueError: bad" in failure
    assert " shutdown: " in lines[-1]
    assert NOBODY in output.err


def test_nobody_is_told_of_workers_that_write_events(
    app: Any, run_worker: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_worker():
        assert run(["events", "--once"], app=app) == 0
    assert capsys.readouterr().err == ""
    assert run(["-q", "events", "--once"], app=app) == 0
    assert capsys.readouterr().err == ""


def test_as_json(app: Any, done: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["events", "--once", "--json"], ["--json", "events", "--once"], ["events", "--once", "-j"]):
        assert run(argv, app=app) == 0
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [event["number"] for event in events] == list(range(1, app.store.event_range().last + 1))
    success = next(event for event in events if event["type"] == "task-succeeded")
    assert success.items() >= {"uuid": done[0].id, "result": "3", "hostname": NODE, "attempt": 1}.items()


@pytest.mark.parametrize(
    ("types", "found"),
    [
        ("task-failed", ["task-failed"]),
        ("task-failed, task-succeeded", ["task-succeeded", "task-failed"]),
        ("worker-*", ["worker-online", "worker-offline"]),
    ],
)
def test_only_some_types(app: Any, done: Any, capsys: pytest.CaptureFixture[str], types: str, found: list[str]) -> None:
    assert run(["events", "--once", "--json", "--type", types], app=app) == 0
    seen = [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(seen) == sorted(found)


def test_a_type_that_is_nearly_one_of_ours(app: Any, done: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", "--once", "--type", "task-fialed"], app=app) == 0
    assert "did you mean 'task-failed'?" in capsys.readouterr().err
    assert run(["events", "--once", "--type", "order-paid"], app=app) == 0
    assert "did you mean" not in capsys.readouterr().err


def test_from_a_number_on_and_no_more_than_so_many(app: Any, done: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", "--after", "3", "--limit", "2", "--json"], app=app) == 0
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == [4, 5]
    assert run(["events", "--once", "--after", "3", "--limit", "2", "--json"], app=app) == 0
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == [4, 5]


def test_events_that_are_no_longer_kept(app: Any, done: Any, capsys: pytest.CaptureFixture[str]) -> None:
    app.conf.event_limit = 2
    app.store.prune(100)
    first = app.store.event_range().first
    assert run(["events", "--once", "--after", "1", "--json"], app=app) == 0
    output = capsys.readouterr()
    assert json.loads(output.out.splitlines()[0])["number"] == first
    assert f"events 2 to {first - 1} are no longer kept" in output.err
    assert run(["events", "--once", "--json"], app=app) == 0
    assert "no longer kept" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--after", "999"], 2, "--after 999: the newest event has number"),
        (["--after", "-1"], 2, "--after"),
        (["--limit", "0"], 2, "--limit"),
        (["--camera", "nowhere:Cam"], 1, "--camera nowhere:Cam: "),
        (["--camera", "tests.events.test_snapshot:Camera", "--once"], 2, "--camera does not go together with --once"),
        (
            ["--camera", "tests.events.test_snapshot:Camera", "--type", "a-b"],
            2,
            "--camera does not go together with --type",
        ),
        (["--camera", "tests.events.test_snapshot:Camera", "-r", "fast"], 2, "--maxrate: "),
        (["--freq", "0"], 2, "--freq"),
        (["--detach"], 2, "--detach is for a camera"),
    ],
)
def test_command_lines_that_cannot_be(
    app: Any, done: Any, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, said: str
) -> None:
    assert run(["events", *argv], app=app) == code
    error = capsys.readouterr().err
    assert said in error
    assert len([line for line in error.splitlines() if NOBODY not in line]) == 1


def test_no_file_and_no_queue(project: Project) -> None:
    missing = project.run("-b", "nothing.db", "events", "--once")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "nothing.db" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1
    assert not (project.folder / "nothing.db").exists()


def test_the_reader_of_a_pipe_may_go(project: Project) -> None:
    with project.app.events.Dispatcher(buffer_group={"a"}, buffer_limit=10_000) as dispatcher:
        for number in range(3000):
            dispatcher.send("a-new", number_of_it=number, text="x" * 100)
    process = subprocess.Popen(
        project.command("-A", "proj", "-q", "events", "--once"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read().strip() == ""
    process.stderr.close()
    assert process.wait(60) == 1


@posix_only
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_following_until_it_is_stopped(project: Project, number: signal.Signals, code: int) -> None:
    project.app.store.changes()
    process = subprocess.Popen(
        project.command("-A", "proj", "events", "--after", "0"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with project.app.events.Dispatcher(hostname="me@here") as dispatcher:
        dispatcher.send("a-new")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("me@here [")
    process.send_signal(number)
    assert process.wait(30) == code
    assert NOBODY in process.stderr.readline()
    assert process.stderr.read().strip() == ""
    process.stdout.close()
    process.stderr.close()


@posix_only
def test_on_a_terminal_it_is_a_coloured_line_for_each(project: Project) -> None:
    import pty

    project.send("add", 1, "x")
    assert project.run("-A", "proj", "worker", "-E", "-q", "--burst", "-c", "1").returncode == 0
    ours, theirs = pty.openpty()
    environment = {name: text for name, text in project.environment.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        project.command("-A", "proj", "events", "--after", "0"),
        cwd=project.folder,
        env=environment | {"TERM": "xterm", "COLUMNS": "100"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    screen = ""

    def shows_the_end() -> bool:
        nonlocal screen
        screen += os.read(ours, 4096).decode()
        return "worker-offline" in screen

    wait_until(shows_the_end)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    os.close(ours)
    assert "\x1b[31mtask-failed\x1b[0m" in screen
    plain = re.sub(r"\x1b\[\d+m", "", screen)
    failed = next(line for line in plain.splitlines() if "task-failed" in line)
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} +\d+ task-failed +proj\.add\[", failed)
    assert all(len(line) <= 100 for line in plain.splitlines() if "litequeue:" not in line)


def test_the_lines_of_the_live_view() -> None:
    base = {"number": 7, "timestamp": 0.0, "uuid": "u1", "name": "a", "hostname": "w@h"}

    def line(**fields: Any) -> str:
        return re.sub(r"\x1b\[\d+m", "", live_line({**base, **fields}, 200)).split(None, 2)[2]

    assert line(type="task-succeeded", result="5", runtime=0.25) == "task-succeeded   a[u1]  5 in 250 ms  w@h"
    assert line(type="task-received", args="(1,)", kwargs="{}") == "task-received    a[u1]  (1,) {}  w@h"
    assert line(type="task-revoked", expired=True, hostname=None) == "task-revoked     a[u1]  expired"
    assert line(type="task-failed", exception="ValueError('a\nb')") == "task-failed      a[u1]  ValueError('a b')  w@h"
    online = line(type="worker-online", uuid=None, name=None, active=1, processed=5)
    assert online == "worker-online    w@h  1 running, 5 started"
    cut = re.sub(r"\x1b\[\d+m", "", live_line({**base, "type": "task-failed", "exception": "x" * 300}, 40))
    assert len(cut) == 40
    assert cut.endswith("...")


CAMERA = """
from litequeue.events.snapshot import Polaroid

class Cam(Polaroid):
    clear_after = True

    def on_shutter(self, state):
        with open("pictures", "a") as file:
            print(state.event_count, *sorted(task.state for task in state.tasks.values()), file=file)
"""


@posix_only
def test_a_camera_takes_pictures_until_sigterm(project: Project) -> None:
    project.app.store.changes()
    (project.folder / "cams.py").write_text(CAMERA, encoding="utf-8")
    argv = ("-A", "proj", "events", "--camera", "cams:Cam", "-F", "0.05", "--pidfile", "cam.pid", "--after", "0")
    process = subprocess.Popen(
        project.command(*argv), cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "Taking pictures with cams:Cam every 0.05 s.\n"
    assert (project.folder / "cam.pid").read_text().strip() == str(process.pid)
    project.send("add", 1, 2)
    assert project.run("-A", "proj", "worker", "-E", "-q", "--burst", "-c", "1").returncode == 0
    last = project.app.store.event_range().last
    pictures = Path(project.folder / "pictures")

    def seen() -> int:
        return sum(int(line.split()[0]) for line in pictures.read_text().splitlines()) if pictures.exists() else 0

    wait_until(lambda: seen() == last)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()
    assert not (project.folder / "cam.pid").exists()
    assert "SUCCESS" in pictures.read_text()


@posix_only
def test_a_camera_in_the_background(project: Project) -> None:
    project.app.store.changes()
    (project.folder / "cams.py").write_text(CAMERA, encoding="utf-8")
    argv = ("-A", "proj", "events", "-c", "cams:Cam", "-F", "0.05", "--detach", "--pidfile", "cam.pid")
    started = project.run(*argv)
    assert started.returncode == 0, started.stderr
    pid = int((project.folder / "cam.pid").read_text())
    try:
        with project.app.events.Dispatcher() as dispatcher:
            dispatcher.send("worker-heartbeat")
        pictures = Path(project.folder / "pictures")
        wait_until(lambda: pictures.exists() and "1\n" in pictures.read_text().splitlines(keepends=True))
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not (project.folder / "cam.pid").exists())
