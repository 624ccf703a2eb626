"""`litequeue worker -P solo --watchdog`: a solo worker that is killed at a hard time limit, and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from litequeue.exceptions import TimeLimitExceeded
from tests.cli.conftest import Project, WorkerProcess, wait_until

TASKS = '''
import signal

class Told(app.Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        Path("told").write_text(type(exc).__name__)


@app.task
def hang(name):
    """Hear nothing, as a call of C code that never returns."""
    Path(name + ".hangs").touch()
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


@app.task
def hold_and_hear(name):
    """`hold`; writes `name`.heard when a signal to stop has come to the worker."""
    for number in (signal.SIGTERM, signal.SIGINT):

        def heard(number, frame, answer=signal.getsignal(number)):
            answer(number, frame)
            Path(name + ".heard").touch()

        signal.signal(number, heard)
    return hold.run(name)


@app.task(base=Told, time_limit=1)
def hang_as_declared(name):
    hang.run(name)


@app.task(bind=True, time_limit=0.5, acks_on_timeout=False)
def hang_once(self):
    if self.request.attempt == 1:
        time.sleep(60)
    return self.request.attempt
'''


@pytest.fixture
def project(project: Project) -> Iterator[Project]:
    """The project with tasks that hang; the workers, in groups of their own, are gone afterwards."""
    file = project.folder / "proj.py"
    file.write_text(file.read_text(encoding="utf-8") + TASKS, encoding="utf-8")
    yield project
    for record in project.app.store.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.identity.pid, signal.SIGKILL)


def watched(project: Project, *options: str) -> WorkerProcess:
    return project.worker("-P", "solo", "--watchdog", *options)


def worker_pid(project: Project) -> int:
    """The pid of the process that runs the tasks."""
    pids = [record.identity.pid for record in project.app.store.processes() if record.role == "worker"]
    return pids[0] if len(pids) == 1 else 0


def hangs(project: Project, name: str) -> None:
    wait_until((project.folder / f"{name}.hangs").exists, "the task")


def test_it_runs_tasks_in_a_process_of_its_own_and_stops_with_its_code(project: Project) -> None:
    worker = watched(project).ready()
    pid = project.send("pid").get(timeout=20)
    assert pid != worker.pid
    assert psutil.Process(pid).ppid() == worker.pid
    assert worker.stop() == 0
    assert not psutil.pid_exists(pid)
    assert project.app.store.processes() == []


def test_a_task_that_hangs_is_killed_at_its_limit_and_the_next_one_runs(project: Project) -> None:
    worker = watched(project).ready()
    first = worker_pid(project)
    started = time.monotonic()
    late = project.send("hang", "a", time_limit=1)
    following = project.send("pid")
    with pytest.raises(TimeLimitExceeded, match="1"):
        late.get(timeout=20)
    assert time.monotonic() - started < 10
    second = following.get(timeout=20)
    assert second != first
    assert not psutil.pid_exists(first)
    assert project.app.store.task(following.id).deaths == 0
    assert project.app.store.task(late.id).attempt == 1, "it does not run again"
    assert {record.identity.pid for record in project.app.store.processes()} == {second}
    worker.said("Hard time limit (1.0s) exceeded for proj.hang")
    assert worker.stop() == 0


def test_the_limits_of_the_worker_and_of_the_task_are_kept(project: Project) -> None:
    worker = watched(project, "--time-limit", "0.5").ready()
    with pytest.raises(TimeLimitExceeded, match=r"0\.5"):
        project.send("hang", "a").get(timeout=20)
    with pytest.raises(TimeLimitExceeded, match="1"):
        project.send("hang_as_declared", "b", time_limit=1).get(timeout=20)
    assert wait_until(lambda: (project.folder / "told").exists(), "on_failure")
    assert project.send("add", 1, 2).get(timeout=20) == 3
    assert worker.stop() == 0


def test_with_acks_on_timeout_off_the_task_runs_again(project: Project) -> None:
    watched(project).ready()
    assert project.send("hang_once", time_limit=0.5).get(timeout=20) == 2


def test_a_soft_limit_comes_first(project: Project) -> None:
    worker = watched(project).ready()
    pid = worker_pid(project)
    late = project.hold("a", soft_time_limit=0.2, time_limit=20)
    assert type(late.get(timeout=20, propagate=False)).__name__ == "SoftTimeLimitExceeded"
    assert project.send("pid").get(timeout=20) == pid
    assert worker.stop() == 0


def test_a_stop_while_a_task_hangs_ends_at_its_limit(project: Project) -> None:
    worker = watched(project).ready()
    late = project.send("hang", "a", time_limit=1.5)
    hangs(project, "a")
    assert worker.stop() == 0
    with pytest.raises(TimeLimitExceeded):
        late.get(timeout=1)
    assert project.app.store.processes() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(project: Project, number: signal.Signals) -> None:
    running, waiting = project.send("hold_and_hear", str(project.folder / "a")), project.send("add", 1, 1)
    worker = watched(project).ready()
    project.started("a")
    worker.signal(number)
    wait_until((project.folder / "a.heard").exists, "the signal")
    project.release("a")
    assert worker.ended() == 0
    assert running.get(timeout=1)
    assert project.engine_state(waiting) == "ready"


def test_a_cold_stop_is_one_and_has_its_code(project: Project) -> None:
    running = project.hold("a")
    worker = watched(project).ready()
    project.started("a")
    worker.signal(signal.SIGQUIT)
    assert worker.ended() == 1
    assert project.engine_state(running) == "ready"


def test_ctrl_c_in_a_terminal_is_one_warm_stop(project: Project) -> None:
    running = project.hold("a")
    worker = watched(project).ready()
    project.started("a")
    os.killpg(worker.pid, signal.SIGINT)
    project.release("a")
    assert worker.ended() == 0
    assert running.get(timeout=1)


def test_a_worker_that_ends_by_itself_ends_it(project: Project) -> None:
    project.send("add", 1, 1)
    assert watched(project, "--burst").ended() == 0
    worker = watched(project).ready()
    os.kill(worker_pid(project), signal.SIGKILL)
    assert worker.ended() == 128 + signal.SIGKILL


def test_a_worker_whose_watchdog_is_gone_stops(project: Project) -> None:
    worker = watched(project).ready()
    pid = worker_pid(project)
    worker.signal(signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid), "the end of the worker")
    assert project.app.store.processes() == []


def test_what_stands_beside_it_on_the_command_line(project: Project) -> None:
    """--purge deletes once and not with each start; the pid file names the watchdog."""
    old = project.send("add", 1, 1)
    worker = watched(project, "--purge", "--pidfile", "pid").ready()
    assert int((project.folder / "pid").read_text()) == worker.pid
    assert project.app.store.task(old.id) is None
    late, following = project.send("hang", "a", time_limit=0.5), project.send("add", 1, 2)
    with pytest.raises(TimeLimitExceeded):
        late.get(timeout=20)
    assert following.get(timeout=20) == 3
    assert worker.stop() == 0
    assert not (project.folder / "pid").exists()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_it_belongs_to_solo(project: Project, pool: str) -> None:
    done = project.run("-A", "proj", "worker", "-P", pool, "--watchdog")
    assert done.returncode == 2
    assert "--watchdog belongs to -P solo" in done.stderr


def test_a_program_that_calls_the_app_cannot_be_started_again(project: Project) -> None:
    from litequeue import LiteQueue
    from litequeue.cli.main import run

    app: Any = LiteQueue("own", broker=str(project.file), set_as_current=False)
    assert run(["worker", "-P", "solo", "--watchdog"], app=app) == 2


def test_without_it_a_hard_limit_is_refused(project: Project) -> None:
    done = project.run("-A", "proj", "worker", "-P", "solo", "--time-limit", "1")
    assert done.returncode == 1
    assert "--watchdog" in done.stderr
