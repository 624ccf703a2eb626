"""`litequeue call`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Project, WorkerProcess

TASKS = """

@app.task
def fail(text):
    raise ValueError(text)


@app.task(unique=True)
def once():
    pass


@app.task(ignore_result=True)
def mute():
    pass
"""


@pytest.fixture
def project(project: Project) -> Project:
    """The project, with a task that fails and one that runs once at a time."""
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write(TASKS)
    return project


@pytest.fixture
def worker(project: Project) -> WorkerProcess:
    """A worker of it."""
    return project.worker("-P", "solo").ready()


def test_it_prints_the_id_alone(project: Project) -> None:
    done = project.run("-A", "proj", "call", "proj.add", "-a", "[2]", "-k", '{"y": 3}')
    assert (done.returncode, done.stderr) == (0, "")
    result = project.app.AsyncResult(done.stdout.strip())
    assert (result.name, result.args, result.kwargs, result.queue) == ("proj.add", [2], {"y": 3}, "celery")
    done = project.run("call", "proj.add", "-a", "[2, 2]", "--json", "-A", "proj")
    assert json.loads(done.stdout).keys() == {"task_id"}


def test_every_option_reaches_the_task(project: Project) -> None:
    options = "--queue mail --priority 7 --task-id mine --countdown 1h --expires 2h --exchange x --serializer json"
    done = project.run("-A", "proj", "call", "proj.add", "-a", "[1, 1]", *options.split())
    assert done.stdout == "mine\n"
    record = project.app.store.task("mine")
    assert record is not None
    assert (record.queue, record.priority, record.state, record.serializer) == ("mail", 7, "scheduled", "json")
    assert record.run_at is not None
    assert record.expires_at is not None
    assert 3500 < record.expires_at - record.run_at < 3700


@pytest.mark.parametrize("option", ["--eta", "--expires"])
def test_times_may_be_iso_8601(project: Project, option: str) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    done = project.run("-A", "proj", "call", "proj.add", "-a", "[1, 1]", option, at.isoformat())
    record = project.app.store.task(done.stdout.strip())
    assert record is not None
    assert at.timestamp() in (record.run_at, record.expires_at)


def test_seconds_until_it_expires_may_be_any_number(project: Project) -> None:
    for text, seconds in (("90", 90), ("2030", 2030), ("1.5", 1.5), ("1d", 86_400)):
        done = project.run("-A", "proj", "call", "proj.add", "-a", "[1, 1]", "--expires", text)
        record = project.app.store.task(done.stdout.strip())
        assert record is not None
        assert record.expires_at is not None
        assert record.expires_at - record.enqueued_at == pytest.approx(seconds, abs=1)


def test_a_routing_key_leads_to_its_queue(project: Project) -> None:
    done = project.run("-A", "proj", "call", "proj.add", "-a", "[1, 1]", "--routing-key", "post")
    assert project.app.AsyncResult(done.stdout.strip()).queue == "post"


def test_a_name_that_nobody_knows_is_sent_with_a_note(project: Project) -> None:
    done = project.run("-A", "proj", "call", "proj.ad", "-a", "[1]")
    assert done.returncode == 0
    assert project.app.AsyncResult(done.stdout.strip()).name == "proj.ad"
    assert done.stderr == (
        "litequeue: neither the app nor a worker that runs knows a task 'proj.ad'; it was sent all the same; "
        "did you mean 'proj.add'?\n"
    )
    assert project.run("-A", "proj", "-q", "call", "proj.ad").stderr == ""


def test_a_file_is_enough_and_may_be_new(project: Project) -> None:
    done = project.run("-b", "other.db", "call", "any.task")
    assert done.returncode == 0
    assert "it was sent all the same" in done.stderr
    assert (project.folder / "other.db").exists()


def test_a_name_that_a_worker_knows_is_no_slip(project: Project, worker: WorkerProcess) -> None:
    done = project.run("-b", str(project.file), "call", "proj.add", "-a", "[1, 1]", "--wait", "--timeout", "30")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-a", "[1"], "'[1' is not such JSON; write it as '[1, 2]'"),
        (["-a", '{"x": 1}'], "is not such JSON; write it as '[1, 2]'"),
        (["-k", "[1]"], "is not such JSON; write it as '{\"x\": 1}'"),
        (["-a", "[1]"], "proj.add: add() missing 1 required positional argument: 'y'"),
        (["-a", "[1, 1]", "--eta", "soon"], "'soon' is no time"),
        (["-a", "[1, 1]", "--expires", "soon"], "'soon' is no duration"),
        (["-a", "[1, 1]", "--countdown", "x"], "'x' is no duration"),
        (["-a", "[1, 1]", "--countdown", "1", "--eta", "2030-01-01"], "countdown and eta both say"),
        (["-a", "[1, 1]", "--priority", "256"], "256"),
        (["-a", "[1, 1]", "--timeout", "0"], "--timeout"),
    ],
)
def test_what_cannot_be_called_is_one_line_and_enqueues_nothing(
    project: Project, options: list[str], says: str
) -> None:
    done = project.run("-A", "proj", "call", "proj.add", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert project.app.store.counts() == {}


@pytest.mark.parametrize("options", [["--serializer", "nope"], ["--task-id", "taken"]])
def test_what_the_queue_refuses_is_one_line_and_code_1(project: Project, options: list[str]) -> None:
    project.send("add", 1, 1, task_id="taken")
    done = project.run("-A", "proj", "call", "proj.add", "-a", "[1, 1]", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_it_waits_for_the_result(project: Project, worker: WorkerProcess) -> None:
    done = project.run("-A", "proj", "call", "proj.add", "-a", '["a", "b"]', "--wait", "--timeout", "30")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ab\n", "")
    done = project.run("-A", "proj", "call", "proj.mute", "--wait", "--timeout", "30")
    assert (done.returncode, done.stdout) == (0, "None\n")
    done = project.run("-A", "proj", "call", "proj.fail", "-a", '["no"]', "--wait", "--timeout", "30")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(" failed: ValueError: no\n")
    done = project.run("-A", "proj", "call", "proj.fail", "-a", '["no"]', "--timeout", "30", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert (answer["state"], answer["result"], answer["error"]) == ("FAILURE", None, "ValueError: no")
    assert "Traceback" in answer["traceback"]


def test_it_waits_no_longer_than_it_is_told(project: Project) -> None:
    done = project.run("-A", "proj", "call", "proj.add", "-a", "[1, 1]", "--timeout", "0.2")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did not end within 0.2 s; it is PENDING: no worker has started it yet" in done.stderr


def test_a_unique_task_that_is_there_is_the_one_that_is_called(project: Project) -> None:
    first = project.run("-A", "proj", "call", "proj.once")
    second = project.run("-A", "proj", "call", "proj.once")
    assert first.stdout == second.stdout
    assert "nothing was enqueued" in second.stderr


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send")
def test_ctrl_c_leaves_the_task_and_says_how_to_go_on(project: Project) -> None:
    process = subprocess.Popen(
        project.command("-A", "proj", "call", "nobody.knows", "--task-id", "mine", "--wait"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "it was sent all the same" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "task mine goes on; `litequeue result mine --wait` waits for it again" in err
    assert "Traceback" not in err
    assert not project.app.AsyncResult("mine").ready()
