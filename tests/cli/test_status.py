"""`litequeue status`, `litequeue report` and the workers in `litequeue graph`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from litequeue import LiteQueue
from litequeue.cli.main import run
from tests.cli.conftest import Project


def test_nobody_is_code_69(project: Project) -> None:
    project.send("add", 1, 1)
    done = project.run("-A", "proj", "status")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "litequeue: No worker answered; none is registered.\n"
    done = project.run("-A", "proj", "status", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (69, {})


def test_who_answers_is_listed_and_counted(project: Project) -> None:
    workers = [project.worker("-P", "solo", "-n", f"{name}@here") for name in ("a", "b")]
    for worker in workers:
        worker.ready()
    done = project.run("-A", "proj", "status", "-t", "30")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, blank, last = done.stdout.splitlines()
    assert sorted(lines) == ["->  a@here: OK", "->  b@here: OK"]
    assert (blank, last) == ("", "2 nodes online.")
    done = project.run("status", "-A", "proj", "-t", "30", "-d", "b@here")
    assert done.stdout == "->  b@here: OK\n\n1 node online.\n"
    done = project.run("-A", "proj", "status", "-t", "30", "--json")
    assert json.loads(done.stdout) == {"a@here": {"ok": "pong"}, "b@here": {"ok": "pong"}}
    done = project.run("-A", "proj", "status", "-d", "c@here")
    assert done.returncode == 69
    assert "No running worker matches c@here; there are: a@here, b@here" in done.stderr


def test_the_report_tells_of_versions_file_and_workers(project: Project) -> None:
    project.worker("-P", "solo", "-n", "a@here").ready()
    text = project.run("-A", "proj", "report").stdout
    for part in ("litequeue 0.", "libraries: apsw ", f"path: {project.file}", "worker a@here: pid", "broker_url: "):
        assert part in text, text
    found = json.loads(project.run("-A", "proj", "report", "--json").stdout)
    assert found["file"]["path"] == str(project.file)
    assert [worker["node"] for worker in found["workers"]] == ["a@here"]
    assert found["settings"] == {"broker_url": "queue.db"}


def test_the_report_hides_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = LiteQueue("proj", broker=str(tmp_path / "q.db"), set_as_current=False)
    app.conf.task_queues = {"mail": {"api_token": "hush"}}
    for argv in (["report"], ["report", "--json"]):
        assert run(argv, app=app) == 0
        out = capsys.readouterr().out
        assert "api_token" in out
        assert "hush" not in out
    app.close()


def test_the_report_says_why_the_file_cannot_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 1000)
    app = LiteQueue("proj", broker=str(tmp_path / "notes.txt"), set_as_current=False)
    assert run(["report"], app=app) == 0
    assert "file: cannot be opened: " in capsys.readouterr().out
