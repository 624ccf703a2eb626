"""`litequeue backup`: a copy while clients and workers are at work, and a queue again from it."""

from __future__ import annotations

import json
import os
import sys
import threading

import pytest

from litequeue import LiteQueue
from litequeue.store import damages_of
from tests.cli.conftest import Project, wait_until


def test_a_copy_made_beside_busy_workers_has_every_task_that_was_acknowledged(project: Project) -> None:
    """Two workers drain, a client enqueues; the copy is sound, and a worker runs the rest of it."""
    held = project.hold("held")
    workers = [project.worker("-c", "1", "-n", f"{name}@here") for name in "ab"]
    for worker in workers:
        worker.ready()
    project.started("held")
    acknowledged: list[str] = []
    stop = threading.Event()

    def enqueue() -> None:
        while not stop.is_set():
            acknowledged.extend(project.send("add", 1, 2).id for _ in range(20))

    client = threading.Thread(target=enqueue)
    client.start()
    try:
        wait_until(lambda: len(acknowledged) >= 400, "400 calls")
        before = list(acknowledged)
        done = project.run("-A", "proj", "backup", "copy.db", "--json")
    finally:
        stop.set()
        client.join()
    assert done.returncode == 0, done.stderr
    copy = project.folder / "copy.db"
    assert json.loads(done.stdout) == {
        "file": str(project.file),
        "copy": str(copy),
        "size": os.path.getsize(copy),
        "damages": None,
    }
    assert damages_of(str(copy)) == []

    # The original's workers still run, and still hold tasks; the copy's worker takes them back for the copy.
    project.release("held")
    done = project.run("-A", "proj", "-b", str(copy), "worker", "--burst", "-c", "1", "-l", "ERROR")
    assert done.returncode == 0, done.stderr
    restored = LiteQueue("restored", broker=str(copy))
    states = restored.store.states([*before, held.id])
    assert states == dict.fromkeys([*before, held.id], "succeeded")
    assert restored.store.damages() == []
    restored.close()
    assert held.get(timeout=30)
    wait_until(lambda: set(project.app.store.states(acknowledged).values()) == {"succeeded"}, "the rest")


def test_a_copy_says_where_it_is(project: Project) -> None:
    project.send("add", 1, 2)
    done = project.run("-A", "proj", "backup", "copy.db", "--check")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Copied {project.file} to {project.folder / 'copy.db'} (")
    assert done.stdout.endswith("It is sound.\n")
    assert done.stderr == ""
    assert not os.path.exists(project.folder / "copy.db.lock")


def test_a_copy_needs_no_app(project: Project) -> None:
    project.send("add", 1, 2)
    done = project.run("-b", "queue.db", "backup", "copy.db", "-q")
    assert (done.returncode, done.stdout) == (0, "")
    assert damages_of(str(project.folder / "copy.db")) == []


def test_a_file_that_is_there_is_replaced_only_by_force(project: Project) -> None:
    project.send("add", 1, 2)
    copy = project.folder / "copy.db"
    copy.write_text("precious")
    done = project.run("-A", "proj", "backup", "copy.db")
    assert done.returncode == 1
    assert done.stderr == (
        f"litequeue: {copy} is there already, and was not overwritten. Give --force to replace it.\n"
    )
    assert copy.read_text() == "precious"
    assert project.run("-A", "proj", "backup", "copy.db", "--force").returncode == 0
    assert damages_of(str(copy)) == []


@pytest.mark.parametrize("command", [["backup", "copy.db"], ["vacuum"], ["vacuum", "--full"], ["upgrade"], ["doctor"]])
@pytest.mark.parametrize("app", [["-A", "proj"], ["-b", "queue.db"]])
def test_a_file_that_is_not_there_is_not_made(project: Project, app: list[str], command: list[str]) -> None:
    done = project.run(*app, *command)
    assert done.returncode == 1
    assert "queue.db" in done.stderr + done.stdout
    assert len(done.stderr.splitlines()) == (0 if command == ["doctor"] else 1)
    assert [path.name for path in project.folder.iterdir() if ".db" in path.name] == []


@pytest.mark.parametrize("command", [["backup", "copy.db"], ["vacuum"], ["upgrade"], ["doctor"]])
def test_a_file_that_is_no_queue_is_refused_in_one_line(project: Project, command: list[str]) -> None:
    done = project.run("-b", "proj.py", *command)
    assert done.returncode == 1
    assert "proj.py: file is not a database" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (0 if command == ["doctor"] else 1)


@pytest.mark.parametrize("path", ["nowhere/copy.db", ".", "queue.db"])
def test_a_place_where_no_copy_can_be_is_one_line(project: Project, path: str) -> None:
    project.send("add", 1, 2)
    done = project.run("-A", "proj", "backup", path, "-f")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_damaged_copy_is_told(project: Project) -> None:
    import apsw

    project.send("add", 1, 2)
    connection = apsw.Connection(str(project.file))
    connection.execute("UPDATE litequeue_tasks SET holder = 9")
    connection.close()
    done = project.run("-A", "proj", "backup", "copy.db", "--check")
    assert done.returncode == 1
    assert "the process 9 holds it" in done.stderr
    assert json.loads(project.run("-A", "proj", "backup", "b.db", "--check", "--json").stdout)["damages"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_a_bar_shows_how_far_it_is(project: Project) -> None:
    import pty
    import subprocess

    project.send("add", 1, 2)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        project.command("-A", "proj", "backup", "copy.db"),
        cwd=project.folder,
        env=project.environment | {"TERM": "xterm"},
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(30) == 0
    assert b"Copying" in shown
    assert b"100%" in shown
