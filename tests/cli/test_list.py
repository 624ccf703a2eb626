"""`litequeue list`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.cli.main import run
from tests.cli.conftest import Project

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQueue]:
    """An app with two declared queues and three tasks."""
    made = LiteQueue("proj", broker=str(tmp_path / "queue.db"), set_as_current=False)
    made.conf.task_queues = {"celery": None, "mail": {"exchange": "post", "routing_key": "post.#"}}

    @made.task(name="proj.add", shared=False)
    def add(x: int, y: int = 1) -> int:
        """Add two numbers.

        There is more to say.
        """
        return x + y

    @made.task(name="proj.mail", shared=False, bind=True, queue="mail", rate_limit="10/m", max_retries=None)
    def mail(self: Any, to: str) -> None:
        raise ValueError(to)

    @made.task(name="proj.plain", shared=False, acks_on_failure_or_timeout=False)
    def plain(*args: Any, **kwargs: Any) -> None:
        pass

    yield made
    made.close()


def listed(app: LiteQueue, capsys: Capture, *argv: str) -> Any:
    """What `litequeue list ... --json` prints."""
    assert run(["list", *argv, "--json"], app=app) == 0
    return json.loads(capsys.readouterr().out)


def lines(app: LiteQueue, capsys: Capture, *argv: str) -> list[str]:
    """What `litequeue list ...` prints."""
    assert run(["list", *argv], app=app) == 0
    return capsys.readouterr().out.splitlines()


def test_bindings(app: LiteQueue, capsys: Capture) -> None:
    assert listed(app, capsys, "bindings") == [
        {"queue": "celery", "exchange": "celery", "routing_key": "celery"},
        {"queue": "mail", "exchange": "post", "routing_key": "post.#"},
    ]
    table = [line.split() for line in lines(app, capsys, "bindings")]
    assert table == [["queue", "exchange", "routing", "key"], ["celery"] * 3, ["mail", "post", "post.#"]]


def test_bindings_of_an_app_that_declares_no_queues(app: LiteQueue, capsys: Capture) -> None:
    app.conf.task_queues = None
    app.conf.task_default_queue = "main"
    assert listed(app, capsys, "bindings") == [{"queue": "main", "exchange": "main", "routing_key": "main"}]


def test_queues(app: LiteQueue, capsys: Capture) -> None:
    app.tasks["proj.add"].delay(1)
    app.tasks["proj.add"].apply_async((1,), countdown=60)
    app.tasks["proj.add"].apply_async((1,), queue="other")
    app.control.pause("mail")
    nothing = dict.fromkeys(("ready", "scheduled", "running", "waiting", "failed"), 0)
    assert listed(app, capsys, "queues") == [
        {"name": "celery", **nothing, "ready": 1, "scheduled": 1, "paused": False, "workers": []},
        {"name": "mail", **nothing, "paused": True, "workers": []},
        {"name": "other", **nothing, "ready": 1, "paused": False, "workers": []},
    ]
    table = [line.split() for line in lines(app, capsys, "queues")]
    assert table[0] == ["queue", "ready", "scheduled", "running", "waiting", "failed", "workers"]
    assert table[1:] == [
        ["celery", "1", "1", "0", "0", "0", "0"],
        ["mail", "0", "0", "0", "0", "0", "0", "paused"],
        ["other", "1", "0", "0", "0", "0", "0"],
    ]


def test_queues_that_workers_serve(app: LiteQueue, capsys: Capture) -> None:
    result = app.tasks["proj.mail"].delay("you")
    with app.start_worker(pool="threads", concurrency=1, hostname="w1@here", queues=["mail", "extra"]):
        result.get(timeout=30, propagate=False)
        found = {queue["name"]: queue for queue in listed(app, capsys, "queues")}
    assert list(found) == ["celery", "mail", "extra"]
    assert found["extra"]["workers"] == found["mail"]["workers"] == ["w1@here"]
    assert found["celery"]["workers"] == []
    assert found["mail"]["failed"] == 1


def test_tasks(app: LiteQueue, capsys: Capture) -> None:
    # Shared tasks of modules that other tests have imported are the app's too.
    found = {task["name"]: task for task in listed(app, capsys, "tasks") if task["name"].startswith("proj.")}
    assert list(found) == ["proj.add", "proj.mail", "proj.plain"]
    assert found["proj.add"] == {
        "name": "proj.add",
        "signature": "(x: 'int', y: 'int' = 1) -> 'int'",
        "options": {},
        "module": __name__,
        "help": "Add two numbers.",
    }
    assert found["proj.mail"]["signature"] == "(to: 'str') -> 'None'"
    assert found["proj.mail"]["options"] == {"max_retries": None, "queue": "mail", "rate_limit": "10/m"}
    assert found["proj.plain"]["options"] == {"acks_on_failure_or_timeout": False}
    table = lines(app, capsys, "tasks")
    assert table[0].split() == ["task", "options"]
    (mail,) = (line for line in table if line.startswith("proj.mail(to: 'str')"))
    assert "rate_limit=10/m" in mail


def test_tasks_that_every_app_has(app: LiteQueue, capsys: Capture) -> None:
    names = {task["name"] for task in listed(app, capsys, "tasks", "--builtins")}
    assert {"proj.add", "litequeue.chord"} <= names


def test_an_app_without_tasks(project: Project) -> None:
    (project.folder / "empty.py").write_text("from litequeue import LiteQueue\napp = LiteQueue(broker='queue.db')\n")
    done = project.run("-A", "empty", "list", "tasks")
    assert (done.returncode, done.stdout) == (0, "The app has no tasks.\n")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "list what? there are: queues, bindings, tasks."),
        (["task"], "no command 'task'; did you mean 'tasks'?"),
        (["tasks", "--bulitins"], "did you mean '--builtins'?"),
    ],
)
def test_what_cannot_be_listed(app: LiteQueue, capsys: Capture, argv: list[str], says: str) -> None:
    assert run(["list", *argv], app=app) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
