"""`litequeue doctor`: each check on what it is for; the command's words and exit codes."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from litequeue import LiteQueue
from litequeue.core import clock, process
from litequeue.core.records import Identity, NewProcess
from litequeue.doctor import CHECKS, ERROR, OK, WARNING, Finding, examine
from litequeue.doctor import place as places
from litequeue.doctor.findings import Case, listed
from litequeue.utils.words import size, span
from tests.cli.conftest import Project

Examine = Callable[..., Finding]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQueue]:
    """An app with one task on a fresh queue."""
    app = LiteQueue("proj", broker=str(tmp_path / "queue.db"))
    app.task(name="proj.add")(lambda x, y: x + y)
    app.finalize()
    app.store.connection_info()
    yield app
    app.close()


@pytest.fixture
def look(app: LiteQueue) -> Examine:
    """`look("wal")`: what that check finds."""

    def look(check: str, **options: Any) -> Finding:
        found = {finding.check: finding for finding in examine(app, knows_tasks=True, **options)}
        return found[check]

    return look


def register(app: LiteQueue, worker: str = "celery@here", identity: Identity | None = None, **changes: Any) -> int:
    """A worker that runs: this process; idle where `idle` slots are given."""
    idle, info = changes.pop("idle", 0), {"tasks": sorted(app.tasks), "concurrency": 2}
    fields = {"role": "worker", "parent": None, "queues": ("celery",), "info": info} | changes
    holder = app.store.register(NewProcess(worker=worker, identity=identity or process.current(), **fields))
    if idle:
        change(app, "UPDATE litequeue_processes SET idle = ? WHERE id = ?", idle, holder)
    return holder


def dead() -> Identity:
    """A process of this host that is gone."""
    return dataclasses.replace(process.current(), started="0")


def change(app: LiteQueue, statement: str, *bindings: Any) -> None:
    """Write into the file what time, or somebody else, would."""
    connection = apsw.Connection(app.store.path)
    connection.execute(statement, bindings)
    connection.close()


def levels(app: LiteQueue, **options: Any) -> dict[str, str]:
    """The level of each check."""
    return {finding.check: finding.level for finding in examine(app, **options)}


# All at once


def test_a_queue_with_a_worker_has_nothing_wrong_with_it(app: LiteQueue) -> None:
    register(app)
    app.send_task("proj.add", (1, 2))
    found = levels(app, knows_tasks=True, full=True)
    assert set(found) <= set(CHECKS)
    assert {check for check, level in found.items() if level != OK} <= {"file system", "open files"}
    assert {"settings", "tasks", "file", "integrity", "workers", "backlog", "stuck"} <= set(found)


def test_only_what_is_wrong_has_advice(app: LiteQueue) -> None:
    app.send_task("proj.add", (1, 2))
    for finding in examine(app):
        assert (finding.advice is None) == (finding.level == OK)
        assert finding.text.strip().endswith(".")
        assert finding.check in CHECKS


# Settings and tasks


def test_settings_without_effect_are_a_warning(app: LiteQueue, look: Examine) -> None:
    with pytest.warns(UserWarning, match="broker_heartbeat"):
        app.conf.broker_heartbeat = 10
    assert look("settings").level == WARNING
    assert "broker_heartbeat" in look("settings").text


def test_older_spellings_are_a_warning_with_the_new_name(app: LiteQueue, look: Examine) -> None:
    app.conf.update({"CELERYD_CONCURRENCY": 2})
    assert look("settings").level == WARNING
    assert "CELERYD_CONCURRENCY (now worker_concurrency)" in look("settings").text


def test_settings_that_cannot_be_are_an_error(app: LiteQueue) -> None:
    app.conf.result_backend = "redis://somewhere"
    assert levels(app)["settings"] == ERROR


def test_no_broker_is_an_error() -> None:
    [finding] = examine(LiteQueue("nowhere"))
    assert (finding.check, finding.level) == ("settings", ERROR)
    assert "no queue is configured" in finding.text


def test_an_app_without_tasks_is_a_warning(project: Project) -> None:
    (project.folder / "empty.py").write_text(
        "from litequeue import LiteQueue\napp = LiteQueue('empty', broker='queue.db')\n", encoding="utf-8"
    )
    project.send("add", 1, 2)
    found = json.loads(project.run("-A", "empty", "doctor", "--json").stdout)["findings"]
    assert next(each for each in found if each["check"] == "tasks")["level"] == WARNING
    assert "tasks" not in levels(project.app)


def test_names_that_two_tasks_claim_are_an_error(look: Examine) -> None:
    assert look("tasks", clashes=["proj.add is taken."]).level == ERROR


def test_a_task_of_the_program_itself_is_a_warning(app: LiteQueue, look: Examine) -> None:
    app.task(name="__main__.run")(lambda: None)
    assert look("tasks").level == WARNING


# The place


def test_a_file_that_is_not_there_is_an_error_and_stays_away(tmp_path: Path) -> None:
    app = LiteQueue("proj", broker=str(tmp_path / "queue.db"))
    found = levels(app)
    assert found["file"] == ERROR
    assert "workers" not in found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    found = levels(LiteQueue("proj", broker=str(tmp_path / "nowhere" / "queue.db")))
    assert (found["folder"], found["file"]) == (ERROR, ERROR)


def test_a_queue_in_memory_is_a_warning() -> None:
    with LiteQueue("proj", broker=":memory:") as app:
        app.store.connection_info()
        assert levels(app)["folder"] == WARNING


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
@pytest.mark.parametrize(
    ("mode", "codecs", "level"),
    [(0o600, ["json"], OK), (0o644, ["json"], OK), (0o666, ["json"], WARNING), (0o666, ["json", "pickle"], ERROR)],
)
def test_a_file_that_everybody_may_write(
    app: LiteQueue, look: Examine, mode: int, codecs: list[str], level: str
) -> None:
    app.conf.accept_content = codecs
    app.close()  # with pickle, such a file is refused when it is opened
    os.chmod(app.store.path, mode)
    assert look("permissions").level == level


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(app: LiteQueue, look: Examine) -> None:
    app.close()
    os.chmod(os.path.dirname(app.store.path), 0o500)
    try:
        assert look("folder").level == ERROR
    finally:
        os.chmod(os.path.dirname(app.store.path), 0o700)


@pytest.mark.parametrize("name", ["Dropbox", "OneDrive - Acme", "Google Drive", "Nextcloud"])
def test_a_folder_that_is_synchronised_is_a_warning(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with LiteQueue("proj", broker=str(tmp_path / name / "queue.db")) as app:
        app.store.connection_info()
        finding = {finding.check: finding for finding in examine(app)}["file system"]
        assert finding.level == WARNING
        assert name in finding.text


def test_the_folder_for_temporary_files_is_a_warning(
    app: LiteQueue, look: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert "temporary files" in look("file system").text
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    assert "temporary files" not in look("file system").text


def test_the_limits_of_space_and_files_are_compared(app: LiteQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(app, app.store.path, full=False, knows_tasks=False)
    assert places.space(case) is not None
    monkeypatch.setattr(places, "_LITTLE_SPACE", 1 << 60)
    assert places.space(case)[0] == WARNING  # type: ignore[index]
    monkeypatch.setattr(places, "_LEAST_SPACE", 1 << 60)
    assert places.space(case)[0] == ERROR  # type: ignore[index]
    app.conf.worker_concurrency = 1_000_000_000
    assert places.open_files(case)[0] == WARNING  # type: ignore[index]
    app.conf.worker_concurrency = 1


# The file


def test_a_file_of_another_version_is_an_error_that_names_the_remedy(app: LiteQueue, look: Examine) -> None:
    change(app, "UPDATE litequeue_meta SET value = value - 1 WHERE key = 'schema_version'")
    other = LiteQueue("other", broker=app.store.path)
    finding = {finding.check: finding for finding in examine(other)}["file"]
    assert (finding.level, finding.advice) == (ERROR, "Run `litequeue upgrade`.")
    change(app, "UPDATE litequeue_meta SET value = 99 WHERE key = 'schema_version'")
    assert levels(LiteQueue("other", broker=app.store.path))["file"] == ERROR


def test_a_large_wal_is_a_warning(app: LiteQueue, look: Examine) -> None:
    """A reader that stays keeps it from beginning anew."""
    reader = apsw.Connection(app.store.path)
    reader.execute("BEGIN; SELECT count(*) FROM litequeue_tasks")
    app.conf.durability = "normal"
    app.conf.max_payload_bytes = None
    for _ in range(18):
        app.send_task("proj.add", ("x" * (4 << 20),), durability="normal")
    assert look("wal").level == WARNING
    reader.close()


def test_much_free_room_is_a_warning(app: LiteQueue, look: Examine) -> None:
    app.conf.max_payload_bytes = None
    for _ in range(18):
        app.send_task("proj.add", ("x" * (4 << 20),), durability="normal")
    app.store.purge()
    assert look("room").level == WARNING
    assert look("workers").level == WARNING


def test_events_that_nobody_deletes_are_a_warning(app: LiteQueue, look: Examine) -> None:
    assert look("journal").text == "There are no events in the journal."
    app.store.publish([("task-custom", {"number": number}) for number in range(1500)])
    assert look("journal").text == "The journal has 1,500 events."
    change(app, "UPDATE litequeue_events SET at = at - 7200")
    assert look("journal").level == WARNING


def test_the_whole_file_is_read_only_when_asked(app: LiteQueue, look: Examine) -> None:
    app.send_task("proj.add", (1, 2))
    assert look("integrity", full=True).level == OK
    change(app, "UPDATE litequeue_tasks SET holder = 9")
    assert "integrity" not in levels(app)
    assert look("integrity", full=True).level == ERROR


# Workers


def test_no_worker_is_a_warning_and_with_tasks_an_error(app: LiteQueue, look: Examine) -> None:
    assert (look("workers").level, look("backlog").level) == (WARNING, OK)
    app.send_task("proj.add", (1, 2), countdown=60)
    assert look("backlog").level == WARNING
    app.send_task("proj.add", (1, 2))
    assert look("backlog").level == ERROR
    app.control.pause("celery")
    assert look("backlog").level == OK


def test_a_hung_worker_is_an_error(app: LiteQueue, look: Examine) -> None:
    register(app)
    change(app, "UPDATE litequeue_processes SET heartbeat_at = heartbeat_at - 3600")
    finding = look("workers")
    assert finding.level == ERROR
    assert f"celery@here (pid {os.getpid()})" in finding.text


def test_a_dead_worker_is_an_error_where_nobody_takes_its_tasks_back(app: LiteQueue, look: Examine) -> None:
    register(app, "celery@gone", dead())
    assert look("workers").level == ERROR
    register(app)
    assert look("workers").level == WARNING


def test_namesakes_are_a_warning(app: LiteQueue, look: Examine) -> None:
    register(app)
    register(app, "celery@other")
    assert look("namesakes").level == OK
    register(app)
    assert look("namesakes").level == WARNING


def test_workers_in_two_containers_are_a_warning(app: LiteQueue, look: Examine) -> None:
    register(app)
    assert look("hosts").level == OK
    register(app, "celery@there", dataclasses.replace(process.current(), host="there"))
    assert look("hosts").level == WARNING


def test_a_clock_that_was_set_back_is_an_error(app: LiteQueue, look: Examine) -> None:
    register(app)
    assert look("clock").level == OK
    change(app, "UPDATE litequeue_processes SET heartbeat_at = heartbeat_at + 3600")
    assert look("clock").level == ERROR


# Queues


def test_names_that_no_worker_knows_are_an_error(app: LiteQueue, look: Examine) -> None:
    register(app)
    app.send_task("proj.add", (1, 2))
    assert look("names").level == OK
    app.send_task("proj.unheard_of")
    finding = look("names")
    assert finding.level == ERROR
    assert "proj.unheard_of" in finding.text


def test_tasks_that_workers_do_not_have_yet_are_a_warning(app: LiteQueue, look: Examine) -> None:
    register(app)
    assert look("code").level == OK
    app.task(name="proj.new")(lambda: None)
    assert look("code").level == WARNING
    app.send_task("proj.new")
    assert look("names").advice == "Restart the workers: the app has these tasks."


def test_a_task_that_is_ready_beside_an_idle_worker_is_an_error(app: LiteQueue, look: Examine) -> None:
    register(app, idle=1)
    result = app.send_task("proj.add", (1, 2))
    assert look("stuck").level == OK
    change(app, "UPDATE litequeue_tasks SET enqueued_at = enqueued_at - 60")
    finding = look("stuck")
    assert finding.level == ERROR
    assert result.id in finding.text
    app.control.pause(tasks="proj.add")
    assert look("stuck").level == OK


def test_a_task_that_waits_for_busy_workers_is_not_stuck(app: LiteQueue, look: Examine) -> None:
    register(app)
    app.send_task("proj.add", (1, 2))
    change(app, "UPDATE litequeue_tasks SET enqueued_at = enqueued_at - 60")
    assert look("stuck").level == OK


def test_what_is_paused_is_a_warning(app: LiteQueue, look: Examine) -> None:
    app.send_task("proj.add", (1, 2), queue="mail")
    app.control.pause("mail", "proj.add")
    finding = look("paused")
    assert finding.level == WARNING
    assert "queue mail for 0" in finding.text


def test_dead_letters_are_counted(app: LiteQueue, look: Examine) -> None:
    assert look("dead letters").text == "No task has failed."
    app.send_task("proj.add", (1, 2))
    change(app, "UPDATE litequeue_tasks SET state = 'failed', finished_at = 7")
    assert look("dead letters").text == "1 task failed: celery (1)."


# Schedules


def schedule(app: LiteQueue, task: str = "proj.add", name: str = "tidy") -> None:
    app.schedules.add(name, task, timedelta(hours=1), args=(1, 2), options={"queue": "celery"})


def test_a_schedule_that_nobody_fires_is_an_error(app: LiteQueue, look: Examine) -> None:
    assert "scheduler" not in levels(app)
    schedule(app)
    assert look("scheduler").level == ERROR
    register(app, "celerybeat@here", role="beat", queues=(), info={})
    assert look("scheduler").level == OK
    change(app, "UPDATE litequeue_schedules SET next_at = next_at - 7200")
    assert look("scheduler").level == ERROR


def test_an_entry_whose_task_nobody_has_is_an_error(app: LiteQueue, look: Examine) -> None:
    schedule(app)
    assert look("schedules").level == OK
    schedule(app, "proj.gone", "lost")
    assert look("schedules").level == ERROR
    assert "lost (proj.gone)" in look("schedules").text
    app.schedules.disable("lost")
    assert look("schedules").level == OK


def test_an_entry_that_cannot_be_fired_is_an_error(app: LiteQueue, look: Examine) -> None:
    schedule(app)
    change(app, "UPDATE litequeue_schedules SET error = 'no such zone'")
    assert look("schedules").level == ERROR
    assert "tidy (no such zone)" in look("schedules").text


# The command


def test_the_command_is_for_scripts(project: Project) -> None:
    result = project.send("add", 1, 2)
    done = project.run("-A", "proj", "doctor")
    assert done.returncode == 1
    assert "error    backlog" in done.stdout
    assert done.stderr == ""
    worker = project.worker("-c", "1").ready()
    assert result.get(timeout=30) == 3
    done = project.run("-A", "proj", "doctor", "--full")
    assert done.returncode == 0, done.stdout
    assert "ok       integrity" in done.stdout
    found = json.loads(project.run("-A", "proj", "doctor", "--json").stdout)
    assert set(found) == {"counts", "findings"}
    assert found["counts"]["error"] == 0
    assert sum(found["counts"].values()) == len(found["findings"])
    assert set(found["findings"][0]) == {"check", "level", "text", "advice"}
    project.app.control.pause("celery")
    assert project.run("-A", "proj", "doctor").returncode == 0
    assert project.run("-A", "proj", "doctor", "--strict").returncode == 1
    assert worker.stop() == 0


def test_the_command_changes_nothing(project: Project) -> None:
    project.send("add", 1, 2)
    project.app.close()
    before = project.file.read_bytes()
    project.run("-A", "proj", "doctor", "--full")
    assert project.file.read_bytes() == before


def test_quiet_says_only_what_is_wrong(project: Project) -> None:
    project.send("add", 1, 2)
    done = project.run("-A", "proj", "doctor", "-q")
    assert "ok " not in done.stdout
    assert "error    backlog" in done.stdout


def test_without_an_app_the_file_is_looked_at(project: Project) -> None:
    project.send("add", 1, 2)
    done = project.run("-b", "queue.db", "doctor")
    assert "error    backlog" in done.stdout
    assert "tasks  " not in done.stdout
    assert project.run("doctor").returncode == 2


def test_an_app_that_cannot_be_imported_is_an_error(project: Project) -> None:
    done = project.run("-A", "nowhere", "doctor")
    assert done.returncode == 1
    assert done.stdout.startswith("error    app  -A nowhere: there is no module 'nowhere'")
    assert done.stderr == ""
    assert json.loads(project.run("-A", "nowhere", "doctor", "--json").stdout)["counts"]["error"] == 1


def test_settings_that_are_unknown_are_an_error(project: Project) -> None:
    (project.folder / "wrong.py").write_text("worker_concurency = 2\n", encoding="utf-8")
    done = project.run("-A", "proj", "--config", "wrong", "doctor")
    assert done.returncode == 1
    assert "did you mean 'worker_concurrency'?" in done.stdout


def test_two_tasks_of_one_name_are_an_error(project: Project) -> None:
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write("\n@app.task(name='proj.add')\ndef other():\n    pass\n")
    project.send("add", 1, 2)
    done = project.run("-A", "proj", "doctor")
    assert "error    tasks" in done.stdout
    assert "proj.add" in done.stdout


# Words


def test_words() -> None:
    assert listed("cab") == "a, b, c"
    assert listed(map(str, range(7))) == "0, 1, 2, 3, 4 and 2 more"
    assert (size(999), size(2_048_000), size(3e12)) == ("999 B", "2.0 MB", "3.0 TB")
    assert (span(5), span(600), span(7200), span(259_200)) == ("5 s", "10 min", "2 h", "3 d")
    assert clock.now() > 0
