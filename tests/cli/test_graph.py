"""`litequeue graph`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from litequeue import LiteQueue, chord, group
from litequeue.cli.main import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQueue]:
    """An app on a fresh file."""
    made = LiteQueue("proj", broker=str(tmp_path / "queue.db"), set_as_current=False)
    made.conf.task_queues = {"mail": {"routing_key": "post"}}
    yield made
    made.close()


def printed(app: LiteQueue, capsys: Capture, *argv: str) -> str:
    """What `litequeue graph ...` prints."""
    assert run(["graph", *argv], app=app) == 0
    return capsys.readouterr().out


@pytest.fixture
def workflow(app: LiteQueue) -> str:
    """The id of the body of a chord."""
    header = [app.signature("proj.add", (number, number)) for number in range(2)]
    body_id: str = chord(group(header, app=app), app.signature("proj.total"), app=app).apply_async().id
    return body_id


def test_a_workflow_as_text(app: LiteQueue, workflow: str, capsys: Capture) -> None:
    text = printed(app, capsys, "task", workflow)
    assert text.splitlines() == app.graph(workflow).to_text().splitlines()
    assert text.count("proj.add") == 2
    assert workflow in printed(app, capsys, "task", workflow, "--ids")
    plain = printed(app, capsys, "task", workflow, "--ascii")
    assert plain.isascii()
    assert not text.isascii()


def test_a_workflow_for_mermaid_and_for_graphviz(app: LiteQueue, workflow: str, capsys: Capture) -> None:
    assert printed(app, capsys, "task", workflow, "--format", "mermaid") == app.graph(workflow).to_mermaid()
    assert printed(app, capsys, "task", workflow, "--format", "dot") == app.graph(workflow).to_dot()


def test_a_workflow_as_json(app: LiteQueue, workflow: str, capsys: Capture) -> None:
    found = json.loads(printed(app, capsys, "task", workflow, "--json"))
    assert (found["id"], found["complete"]) == (workflow, True)
    assert sorted(node["name"] for node in found["nodes"]) == ["group of 2", "proj.add", "proj.add", "proj.total"]
    assert {edge["kind"] for edge in found["edges"]} == {"member", "body"}
    near = json.loads(printed(app, capsys, "task", workflow, "--json", "--limit", "1"))
    assert near["complete"] is False


def test_an_id_that_nobody_knows(app: LiteQueue, capsys: Capture) -> None:
    app.store.processes()
    assert run(["graph", "task", "nobody"], app=app) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"litequeue: {app.store.path} has no task and no group nobody\n")


def test_workers(app: LiteQueue, capsys: Capture) -> None:
    with app.start_worker(pool="threads", concurrency=10, hostname='w"1@here', queues=["mail", "more"]):
        dot = printed(app, capsys, "workers")
        found = json.loads(printed(app, capsys, "workers", "--json"))
        bindings = printed(app, capsys, "bindings")
        bound = json.loads(printed(app, capsys, "bindings", "--json"))
    assert dot.startswith("digraph workers {")
    assert dot.endswith("}\n")
    assert dot.count("{") == dot.count("}")
    assert r'[label="w\"1@here"]' in dot
    assert '"slot 7"' in dot
    assert '"slot 8"' not in dot
    assert '"3 more"' in dot
    worker = {"node": 'w"1@here', "pool": "threads", "concurrency": 10, "queues": ["mail", "more"]}
    assert found == {"file": app.store.path, "workers": [worker]}
    assert bindings.startswith("digraph bindings {")
    assert 'label="post"' in bindings
    assert bound == [
        {"queue": "mail", "exchange": "mail", "routing_key": "post", "workers": ['w"1@here']},
        {"queue": "more", "exchange": "more", "routing_key": "more", "workers": ['w"1@here']},
    ]


def test_no_workers(app: LiteQueue, capsys: Capture) -> None:
    app.store.processes()
    assert json.loads(printed(app, capsys, "workers", "--json"))["workers"] == []
    assert "cylinder" in printed(app, capsys, "workers")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "draw what? there are: task, workers, bindings."),
        (["worker"], "did you mean 'workers'?"),
        (["bootsteps"], "not made of bootsteps; `litequeue graph workers` draws what runs"),
        (["task", "x", "--format", "svg"], "'svg'"),
    ],
)
def test_what_cannot_be_drawn(app: LiteQueue, capsys: Capture, argv: list[str], says: str) -> None:
    assert run(["graph", *argv], app=app) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
