"""`litequeue result`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading

import pytest

from tests.cli.conftest import Project, WorkerProcess, wait_until

TASKS = '''

@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True)
def steps(self, name):
    """Show three steps of ten; go on when there is `name`.release."""
    self.progress(3, 10, "reading")
    Path(name + ".started").write_text(str(os.getpid()))
    while not Path(name + ".release").exists():
        time.sleep(0.005)
    return {"read": 10}


class Shouting(app.Task):
    def AsyncResult(self, task_id):
        result = super().AsyncResult(task_id)
        Path("shouted").touch()
        return result


@app.task(base=Shouting)
def shout():
    return "a"
'''


@pytest.fixture
def project(project: Project) -> Project:
    """The project, with tasks that fail and that show how far they are."""
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write(TASKS)
    return project


def burst(project: Project) -> None:
    """Run whatever there is."""
    done = project.run("-A", "proj", "worker", "--burst", "-P", "solo", "-l", "CRITICAL")
    assert done.returncode == 0, done.stderr


def test_the_result_alone_goes_to_stdout(project: Project) -> None:
    task_id = project.send("add", "a", "b").id
    burst(project)
    done = project.run("-A", "proj", "result", task_id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ab\n", "")
    done = project.run("-b", str(project.file), "result", task_id, "--json")
    assert json.loads(done.stdout) == {
        "task_id": task_id,
        "name": "proj.add",
        "state": "SUCCESS",
        "result": "ab",
        "error": None,
        "traceback": None,
    }


def test_a_failure_is_a_line_and_code_1(project: Project) -> None:
    task_id = project.send("fail", "no\nway").id
    burst(project)
    done = project.run("-A", "proj", "result", task_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"litequeue: task {task_id} failed: ValueError: no way\n"
    done = project.run("-A", "proj", "result", task_id, "--traceback")
    assert done.returncode == 0
    assert done.stdout.startswith("Traceback (most recent call last)")
    assert done.stdout.endswith("ValueError: no\nway\n")
    answer = json.loads(project.run("-A", "proj", "result", task_id, "--json").stdout)
    assert (answer["state"], answer["error"], answer["result"]) == ("FAILURE", "ValueError: no way", None)


def test_a_traceback_that_is_not_there(project: Project) -> None:
    task_id = project.send("add", 1, 1).id
    burst(project)
    done = project.run("-A", "proj", "result", task_id, "--traceback")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"litequeue: task {task_id} has no traceback: it is SUCCESS\n"


def test_a_revoked_task(project: Project) -> None:
    result = project.send("add", 1, 1)
    result.revoke()
    done = project.run("-A", "proj", "result", result.id)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"task {result.id} was revoked" in done.stderr


def test_an_id_that_the_file_does_not_know(project: Project) -> None:
    project.send("add", 1, 1)
    for options in ([], ["--wait"], ["--follow"], ["--traceback"], ["--json"]):
        done = project.run("-A", "proj", "result", "nobody", *options)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "has no task nobody" in done.stderr


def test_an_id_of_a_group(project: Project) -> None:
    from litequeue import group

    made = group(project.app.signature("proj.add", (n, n)) for n in range(2)).apply_async()
    done = project.run("-A", "proj", "result", made.id)
    assert done.returncode == 1
    assert f"{made.id} is a group; `litequeue graph task {made.id} --ids` shows its tasks" in done.stderr


def test_a_file_that_is_not_there_is_not_made(project: Project) -> None:
    done = project.run("-b", "slip.db", "result", "x")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "there is no such file" in done.stderr
    assert not (project.folder / "slip.db").exists()


def test_it_does_not_wait_unless_it_is_told(project: Project) -> None:
    task_id = project.send("add", 1, 1).id
    done = project.run("-A", "proj", "result", task_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"task {task_id} has not ended; it is PENDING: no worker has started it yet" in done.stderr
    done = project.run("-A", "proj", "result", task_id, "--json")
    assert json.loads(done.stdout)["state"] == "PENDING"
    assert done.returncode == 1
    done = project.run("-A", "proj", "result", task_id, "--timeout", "0.1")
    assert "did not end within 0.1 s" in done.stderr
    assert done.returncode == 1


def test_the_class_of_the_task_may_read_the_result(project: Project) -> None:
    task_id = project.send("shout").id
    burst(project)
    assert project.run("-A", "proj", "result", task_id).stdout == "a\n"
    assert not (project.folder / "shouted").exists()
    assert project.run("-A", "proj", "result", task_id, "-t", "proj.shout").stdout == "a\n"
    assert (project.folder / "shouted").exists()
    done = project.run("-A", "proj", "result", task_id, "-t", "proj.shoot")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "proj.shoot" in done.stderr


@pytest.fixture
def worker(project: Project) -> WorkerProcess:
    """A worker of the project."""
    return project.worker("-P", "solo").ready()


def test_follow_shows_each_change_on_a_line(project: Project, worker: WorkerProcess) -> None:
    result = project.send("steps", str(project.folder / "a"))
    project.started("a")
    process = subprocess.Popen(
        project.command("-A", "proj", "result", result.id, "--follow"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    assert process.stderr.readline() == "3/10  30%  reading\n"
    project.release("a")
    assert process.wait(30) == 0
    assert process.stdout.read() == "{'read': 10}\n"
    process.stderr.close()
    process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_follow_draws_a_bar_on_a_terminal_and_takes_it_away(project: Project, worker: WorkerProcess) -> None:
    import pty

    result = project.send("steps", str(project.folder / "a"))
    project.started("a")
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        project.command("-A", "proj", "result", result.id, "--follow"),
        cwd=project.folder,
        env=project.environment | {"PYTHONUTF8": "1", "COLUMNS": "80", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=other,
        text=True,
    )
    os.close(other)
    shown = bytearray()

    def read() -> None:
        try:
            while part := os.read(terminal, 1024):
                shown.extend(part)
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    bar = "━" * 9 + " " * 21 + "  3/10  30%  reading"
    wait_until(lambda: bar in shown.decode(errors="replace"), "the bar")
    project.release("a")
    out, _ = process.communicate(timeout=30)
    reader.join(30)
    os.close(terminal)
    assert (process.returncode, out) == (0, "{'read': 10}\n")
    assert shown.decode().endswith("\r"), "the line is blank again"
    assert "\n" not in shown.decode()


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send")
def test_ctrl_c_is_code_130_without_a_traceback(project: Project) -> None:
    result = project.send("add", 1, 1)
    process = subprocess.Popen(
        project.command("-A", "proj", "result", result.id, "--follow"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "PENDING\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "")


def test_bars() -> None:
    from litequeue.cli.following import bar

    assert bar(0, 10, 4) == "    "
    assert bar(5, 10, 4) == "━━  "
    assert bar(6, 10, 4) == "━━╸ "
    assert bar(99, 10, 4) == "━━━━"
    assert bar(5, 10, 4, plain=True) == "[##..]"
    assert bar(5, None, 4) == bar(5, 0, 4) == ""


def test_figures() -> None:
    from types import SimpleNamespace

    from litequeue.cli.following import counted

    assert counted(SimpleNamespace(done=42, total=100, message="resizing")) == "42/100  42%  resizing"
    assert counted(SimpleNamespace(done=0.5, total=2, message=None)) == "0.5/2  25%"
    assert counted(SimpleNamespace(done=42, total=None, message="")) == "42"
