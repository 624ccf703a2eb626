"""`litequeue beat`, and the scheduler of `litequeue worker`, as real processes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE, Project, wait_until

SCHEDULE = """

app.conf.beat_schedule = {"quick": {"task": "proj.add", "schedule": 0.1, "args": (1, 2)}}
"""


@pytest.fixture
def scheduled(project: Project) -> Project:
    """A project whose code declares an entry."""
    file = project.folder / "proj.py"
    file.write_text(file.read_text(encoding="utf-8") + SCHEDULE, encoding="utf-8")
    return project


@contextmanager
def beat(project: Project, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`litequeue -A proj beat -l INFO`."""
    with open(project.folder / "beat.out", "w") as out, open(project.folder / "beat.err", "w") as err:
        process = subprocess.Popen(
            project.command("-A", "proj", "beat", "-l", "INFO", *options),
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def log(project: Project) -> str:
    """What the scheduler wrote to its log."""
    return (project.folder / "beat.err").read_text(encoding="utf-8")


def fired(project: Project) -> int:
    """How often the entry was fired."""
    return sum(entry.total_run_count for entry in project.app.store.schedules() if entry.name == "quick")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_fires_entries_and_runs_no_tasks_until_it_is_told_to_stop(scheduled: Project, how: signal.Signals) -> None:
    with beat(scheduled) as process:
        wait_until(lambda: fired(scheduled) >= 3, "three firings")
        [record] = scheduled.app.store.processes()
        assert record.role == "beat"
        assert record.worker.startswith("celerybeat@")
        process.send_signal(how)
        assert process.wait(PATIENCE) == 0
    assert scheduled.app.store.processes() == []
    states = scheduled.app.store.counts()["celery"]
    assert set(states) == {"ready"}
    assert "Entries of the code added: litequeue.backend_cleanup, quick" in log(scheduled)
    assert "Scheduler: Sending due task quick (proj.add)" in log(scheduled)
    out = (scheduled.folder / "beat.out").read_text()
    assert "litequeue beat" in out
    assert str(scheduled.file) in out


def test_an_entry_of_another_process_is_fired_within_a_second(scheduled: Project) -> None:
    with beat(scheduled):
        wait_until(lambda: scheduled.app.store.processes(), "its registration")
        scheduled.app.schedules.add("new", "proj.add", 0.2, options={"queue": "celery"})
        wait_until(lambda: scheduled.app.schedules.get("new").total_run_count, "a firing")


def test_its_options(scheduled: Project) -> None:
    pidfile, logfile = scheduled.folder / "beat.pid", scheduled.folder / "beat.log"
    options = ["--pidfile", str(pidfile), "-f", str(logfile), "-n", "b1@%h", "--max-interval", "5", "-s", "old.db"]
    with beat(scheduled, *options) as process:
        wait_until(lambda: fired(scheduled), "a firing")
        assert pidfile.read_text() == f"{process.pid}\n"
        assert "Sending due task" in logfile.read_text()
        [record] = scheduled.app.store.processes()
        assert record.worker.startswith("b1@")
        second = scheduled.run("-A", "proj", "beat", "--pidfile", str(pidfile))
        assert second.returncode == 1
        assert f"process {process.pid} holds it" in second.stderr
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert not pidfile.exists()


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["beat"], 2, "no app given"),
        (["-A", "proj", "beat", "-S", "nowhere.at:all"], 1, "cannot be imported"),
        (["-A", "proj", "beat", "--uid", "0"], 2, "belongs to --detach"),
        (["-A", "proj", "beat", "-l", "LOUD"], 2, "is not a log level"),
        (["-A", "proj", "beat", "--max-interval", "0"], 2, "--max-interval"),
    ],
)
def test_what_cannot_be_is_one_line(argv: list[str], code: int, says: str, project: Project) -> None:
    done = project.run(*argv)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.parametrize("command", ["beat", "worker"])
def test_an_entry_that_cannot_be_stops_it_at_its_start(command: str, scheduled: Project) -> None:
    file = scheduled.folder / "proj.py"
    file.write_text(file.read_text().replace('"proj.add", "sch', '"proj.gone", "sch'))
    done = scheduled.run("-A", "proj", command, "-l", "ERROR")
    assert done.returncode == 1
    assert "beat_schedule['quick']: 'proj.gone': no task of that name is registered" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_class_of_the_programs_own(scheduled: Project) -> None:
    (scheduled.folder / "own.py").write_text(
        "from pathlib import Path\nfrom litequeue.beat import Scheduler\n"
        "class Mine(Scheduler):\n    def tick(self):\n        Path('ticked').touch()\n        return 60.0\n"
    )
    with beat(scheduled, "-S", "own.Mine") as process:
        wait_until(Path(scheduled.folder / "ticked").exists, "a turn")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert fired(scheduled) == 0


def test_a_worker_fires_entries_and_runs_their_tasks(scheduled: Project) -> None:
    worker = scheduled.worker("-c", "1").ready()
    wait_until(lambda: fired(scheduled) >= 3, "three firings")
    wait_until(lambda: scheduled.app.store.counts()["celery"].get("succeeded", 0) >= 3, "three results")
    assert worker.stop() == 0
    assert scheduled.app.store.processes() == []


def test_a_worker_that_is_told_not_to_fires_none(scheduled: Project) -> None:
    scheduled.worker("-c", "1", "--no-beat").ready()
    assert sorted(record.role for record in scheduled.app.store.processes()) == ["child", "control", "worker"]
    assert scheduled.app.schedules.list() == []


def test_b_is_what_a_worker_does_anyway(scheduled: Project) -> None:
    worker = scheduled.worker("-c", "1", "-B", "-s", "celerybeat-schedule").ready()
    wait_until(lambda: fired(scheduled), "a firing")
    assert "-s/--schedule/--schedule-filename is ignored: the schedule is in the queue's file" in worker.err


def test_a_worker_with_a_scheduler_of_the_programs_own_leaves_the_schedule_alone(scheduled: Project) -> None:
    (scheduled.folder / "own.py").write_text("from litequeue.beat import Scheduler\nclass Mine(Scheduler): pass\n")
    scheduled.worker("-c", "1", "--scheduler", "own:Mine").ready()
    assert sorted(record.role for record in scheduled.app.store.processes()) == ["child", "control", "worker"]
