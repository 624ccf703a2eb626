"""`--detach`: a worker or beat in the background, and what is said when it cannot start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from litequeue.multi.cluster import has_ended
from litequeue.multi.pidfile import holder
from litequeue.utils.nodenames import gethostname
from tests.cli.conftest import Project, wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="looks at sessions and signals")

HOST = gethostname()
SOLO = ("-A", "proj", "worker", "-P", "solo", "--detach")


@pytest.fixture(autouse=True)
def _nothing_left(project: Project) -> Iterator[None]:
    """What is in the background when a test ends is killed."""
    yield
    for file in project.folder.rglob("*.pid"):
        process = holder(file)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            wait_until(lambda process=process: has_ended(process), "its end")


def in_background(project: Project, name: str = "w") -> psutil.Process:
    """The process that holds the pid file."""
    process = holder(project.folder / f"{name}.pid")
    assert process is not None
    return process


def stop(process: psutil.Process) -> None:
    """End it warm."""
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: has_ended(process), "its end")


def add(project: Project, text: str) -> None:
    """Add to the project's module."""
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write(f"\n\n{text}\n")


def test_it_is_up_when_the_command_returns(project: Project) -> None:
    done = project.run(
        *SOLO, "-n", "w@%h", "-l", "INFO", "-f", "%n%I.log", "--pidfile", "%n.pid", TMPDIR=_scratch(project)
    )
    process = in_background(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"w@{HOST} is up: process {process.pid}\n"
    assert f"w@{HOST} ready." in (project.folder / "w.log").read_text()
    assert project.send("add", 2, 3).get(timeout=30) == 5
    assert os.getsid(process.pid) == process.pid, "a session of its own: no terminal can reach it"
    assert not list(Path(_scratch(project)).iterdir()), "nothing is left of the start"
    stop(process)
    assert not (project.folder / "w.pid").exists()


def _scratch(project: Project) -> str:
    folder = project.folder / "scratch"
    folder.mkdir(exist_ok=True)
    return str(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("pool", ["solo", "prefork"])
@pytest.mark.parametrize("logfile", [None, "w.log"])
def test_its_streams_end_nowhere_or_in_the_log(project: Project, pool: str, logfile: str | None) -> None:
    add(
        project, "@app.task\ndef streams():\n    return [os.readlink(f'/proc/self/fd/{number}') for number in range(3)]"
    )
    given = () if logfile is None else ("-f", logfile)
    done = project.run("-A", "proj", "worker", "-D", "-P", pool, "-c", "1", "--pidfile=w.pid", *given)
    assert done.returncode == 0, done.stderr
    errors = os.devnull if logfile is None else str(project.folder / logfile)
    for number, target in enumerate((os.devnull, os.devnull, errors)):
        assert os.readlink(f"/proc/{in_background(project).pid}/fd/{number}") == target
    assert project.send("streams").get(timeout=30)[1:] == [os.devnull, errors]


def test_a_task_is_not_told_that_its_worker_is_in_the_background(project: Project) -> None:
    add(project, "@app.task\ndef environment():\n    return sorted(os.environ)")
    assert project.run(*SOLO, "--pidfile=w.pid").returncode == 0
    assert "LITEQUEUE_DETACHED" not in project.send("environment").get(timeout=30)


def test_quiet_and_json(project: Project) -> None:
    assert project.run(*SOLO, "--pidfile=a.pid", "-n", "a@%h", "-q").stdout == ""
    done = project.run(*SOLO, "--pidfile=b.pid", "-n", "b@%h", "--json")
    pid = in_background(project, "b").pid
    assert json.loads(done.stdout) == {"node": f"b@{HOST}", "pid": pid, "up": True}


def test_by_the_environment(project: Project) -> None:
    done = project.run("-A", "proj", "worker", "-P", "solo", "--pidfile=w.pid", LITEQUEUE_WORKER_DETACH="1")
    assert done.stdout.endswith(f"is up: process {in_background(project).pid}\n")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("-A", "nosuch", "worker", "-D"), 1, "litequeue: -A nosuch: there is no module 'nosuch'"),
        (("worker", "-D"), 2, "litequeue: no app given"),
        (("-A", "proj", "worker", "-D", "-c", "x"), 2, "'x' is not a number of slots"),
        (("-A", "proj", "worker", "-D", "nosuch=1"), 2, "nosuch"),
        (("-A", "proj", "worker", "-D", "--pidfile=no/w.pid"), 1, "No such file or directory"),
        (("-A", "proj", "worker", "-D", "-f", "no/w.log"), 1, "no/w.log"),
        (("-A", "proj", "-b", "proj.py", "worker", "-D"), 1, "proj.py"),
        (("-A", "proj", "worker", "-D", "--executable=/no/python"), 1, "/no/python"),
        (("-A", "proj", "worker", "-D", "--umask=9"), 2, "write octal digits"),
        (("-A", "proj", "worker", "-D", "--uid=nosuch"), 2, "nosuch"),
        (("-A", "nosuch", "beat", "-D"), 1, "litequeue: -A nosuch: there is no module 'nosuch'"),
    ],
)
def test_what_cannot_start_says_why(project: Project, argv: tuple[str, ...], code: int, said: str) -> None:
    done = project.run(*argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_second_one_is_told_who_holds_the_pid_file(project: Project) -> None:
    assert project.run(*SOLO, "--pidfile=w.pid").returncode == 0
    pid = in_background(project).pid
    done = project.run(*SOLO, "--pidfile=w.pid")
    assert done.returncode == 1
    assert f"process {pid} holds it and is running" in done.stderr
    assert in_background(project).pid == pid


def test_children_that_cannot_start_are_told(project: Project) -> None:
    """This comes up after the output has been let go."""
    add(project, "from litequeue import signals\n\n@signals.worker_process_init.connect\ndef end(**_): os._exit(9)")
    done = project.run("-A", "proj", "worker", "-D", "-c", "1", "-n", "w@%h", "--pidfile=w.pid")
    assert done.returncode == 1
    assert f"litequeue: w@{HOST} did not start: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (project.folder / "w.pid").exists()


def test_a_process_that_ends_without_a_word(project: Project) -> None:
    program = project.folder / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    done = project.run(*SOLO, "-n", "w@%h", f"--executable={program}")
    assert (done.returncode, done.stderr) == (1, f"litequeue: w@{HOST} did not start: it ended by signal 9\n")


def test_notes_of_the_start_are_handed_on(project: Project) -> None:
    done = project.run(*SOLO, "--pidfile=w.pid", "-O", "fair")
    assert done.returncode == 0
    assert done.stderr.count("-O/--optimization is ignored") == 1, done.stderr


def test_a_burst_that_has_nothing_to_do(project: Project) -> None:
    done = project.run(*SOLO, "--burst")
    assert done.returncode == 0
    assert "is up: process" in done.stdout or "has ended already" in done.stdout


def test_the_mask_of_what_it_makes(project: Project) -> None:
    project.run(*SOLO, "--pidfile=w.pid", "-f", "w.log", "--umask", "027")
    assert stat.S_IMODE((project.folder / "w.log").stat().st_mode) == 0o640
    assert stat.S_IMODE((project.folder / "w.pid").stat().st_mode) == 0o640


@pytest.mark.parametrize("option", [("--uid", "nobody"), ("--gid", "1"), ("--umask", "022")])
@pytest.mark.parametrize("command", ["worker", "beat"])
def test_without_detach_it_belongs_to_the_service(project: Project, command: str, option: tuple[str, str]) -> None:
    done = project.run("-A", "proj", command, *option)
    assert done.returncode == 2
    assert f"{option[0]}: belongs to --detach" in done.stderr


def test_another_user_and_group(project: Project) -> None:
    if os.geteuid() != 0:
        done = project.run(*SOLO, "--uid", "0")
        assert (done.returncode, done.stdout) == (1, "")
        assert "not permitted" in done.stderr
        return
    assert project.run(*SOLO, "--pidfile=w.pid", "--uid", "root", "--gid", "1").returncode == 0
    assert in_background(project).gids().real == 1
    assert (project.folder / "queue.db").stat().st_gid == 1


def test_another_user_who_may_not_read_the_project(project: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory() as name:
        program = Path(name) / "python"
        program.write_text("#!/bin/sh\necho I am $(id -un) >&2\nexit 3\n")
        for path in (Path(name), program):
            path.chmod(0o755)
        done = project.run(*SOLO, f"--executable={program}", "--uid", "nobody")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "I am nobody")


def test_a_program_that_calls_the_app_is_refused(project: Project) -> None:
    program = "import sys; from proj import app; sys.exit(app.start(['worker', '--detach']))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=project.folder, env=project.environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--detach: it starts the command line again" in done.stderr


def test_a_worker_with_a_watchdog(project: Project) -> None:
    done = project.run(*SOLO, "--watchdog", "--pidfile=w.pid", "-l", "INFO", "-f", "w.log")
    assert done.returncode == 0, done.stderr
    watchdog = in_background(project)
    (worker,) = watchdog.children()
    assert done.stdout.endswith(f"is up: process {worker.pid}\n")
    first = project.send("pid").get(timeout=30)
    assert first == worker.pid
    stop(watchdog)
    assert has_ended(worker)


def test_beat(project: Project) -> None:
    done = project.run("-A", "proj", "beat", "-D", "-l", "INFO", "-f", "beat.log", "--pidfile=w.pid")
    process = in_background(project)
    assert done.stdout == f"celerybeat@{HOST} is up: process {process.pid}\n"
    wait_until(lambda: any(row.identity.pid == process.pid for row in project.app.store.processes()), "its row")
    stop(process)
    assert "beat: Starting..." in (project.folder / "beat.log").read_text()
