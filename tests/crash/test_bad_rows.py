"""A row that no client of ours wrote is set aside with its reason, and the worker goes on (P8)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from litequeue import Signature, chain, chord, group
from litequeue.exceptions import ContentDisallowed, DecodeError, InvalidTaskError

from .project import Project, end

pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts workers in process groups")

NOT_UTF_8 = object()
"""Text that no Python can read; SQLite keeps it."""
DEEP = "[" * 200_000 + "]" * 200_000  # deeper than any Python reads

# What is wrong with the row, as column values, and a word of the reason that the row must end with.
UNREADABLE: dict[str, tuple[dict[str, object], str]] = {
    "payload is not JSON": ({"payload": "{not json"}, "DecodeError"),
    "payload is empty": ({"payload": ""}, "DecodeError"),
    "payload is binary garbage": ({"payload": b"\x00\xff\xfe garbage"}, "DecodeError"),
    "payload is a number": ({"payload": 5}, "DecodeError"),
    "payload is a float": ({"payload": 5.5}, "DecodeError"),
    "payload is not a pair": ({"payload": "[1, 2, 3]"}, "DecodeError"),
    "payload is a pair of the wrong things": ({"payload": "[1, 2]"}, "DecodeError"),
    "payload is nested too deep": ({"payload": f"[[{DEEP}], {{}}]"}, "Error"),
    "payload has a number that is too long": ({"payload": f"[[{'9' * 6000}], {{}}]"}, "Error"),
    "payload has lone surrogates": ({"payload": '[["\\ud800"], {"x\\udfff": 1}]'}, ""),
    "payload is text that is not UTF-8": ({"payload": NOT_UTF_8}, "DecodeError"),
    "headers are text that is not UTF-8": ({"headers": NOT_UTF_8}, ""),
    "options are text that is not UTF-8": ({"options": NOT_UTF_8}, ""),
    "keywords that are no names": ({"payload": '[[], {"1 2": 3}]'}, "TypeError"),
    "too many arguments": ({"payload": "[[1, 2, 3, 4, 5, 6], {}]"}, "TypeError"),
    "unknown serializer": ({"serializer": "morse"}, "ContentDisallowed"),
    "serializer that is not accepted": ({"serializer": "pickle", "payload": b"\x80\x04N."}, "ContentDisallowed"),
    "serializer without a name": ({"serializer": ""}, "ContentDisallowed"),
    "unknown compression": ({"compression": "squeeze"}, "DecodeError"),
    "not compressed at all": ({"compression": "gzip"}, "DecodeError"),
    "compressed garbage": ({"compression": "zlib", "payload": b"\x78\x9c garbage"}, "DecodeError"),
    "headers are garbage": ({"headers": "{"}, ""),
    "headers are a list": ({"headers": "[1]"}, "InvalidTaskError"),
    "options are garbage": ({"options": "}{"}, ""),
    "options are a number": ({"options": "7"}, "InvalidTaskError"),
    "options are nested too deep": ({"options": DEEP}, ""),
}

# Odd, but nothing that keeps a task from running: it must succeed, or fail with a reason.
ODD: dict[str, dict[str, object]] = {
    "a reply port that is none": {"reply_port": 99_999_999},
    "a negative reply port": {"reply_port": -1},
    "options that shadow the request": {"options": '{"id": "x", "args": 5, "children": 7, "pending": 1, "task": []}'},
    "a time beyond every calendar": {"expires_at": 1e300},
    "a time for later before time began": {"run_at": -1e300},
    "an infinite time limit": {"time_limit": 1e300, "soft_time_limit": 1e300},
    "a priority that is none": {"priority": -7_000_000_000},
    "retries that are none": {"retries": -3},
    "many deaths": {"deaths": 10**12},
    "an attempt that is none": {"attempt": 2**53},
    "a group that is none": {"group_id": "x" * 10_000, "group_index": -1},
    "an origin in no encoding": {"origin": "\x00\x01\x02"},
    "ignore_result that is none": {"ignore_result": 77},
    "an id in no form": {"id": "'; DROP TABLE litequeue_tasks; --"},
    "an id that is empty": {"id": ""},
    "an id of a megabyte": {"id": "i" * 1_000_000},
    "a custom state in no form": {"custom_state": "\n\x00"},
    "an input of nothing": {"takes_input": 1},
    "an input of a row that is not there": {"takes_input": 1, "after": "nobody", "edge": "then"},
    "an input by an edge that is none": {"takes_input": 1, "after": "x", "edge": "\x00"},
    "an error callback of nobody": {"takes_input": 1, "after": "nobody", "edge": "error"},
    "every tie": {"ties": -1},
    "a tie to everything": {"ties": 2**62 - 1, "after": "", "edge": "", "group_id": "", "errbacks": ""},
    "a member of a group that is not there": {"ties": 4, "group_id": "nobody", "group_index": 2**62},
    "error callbacks that are garbage": {"errbacks": "{", "ties": 8, "name": "proj.raises"},
    "error callbacks without a name": {"errbacks": '[{"payload": ""}]', "ties": 8, "name": "proj.raises"},
    "error callbacks of odd kinds": {
        "errbacks": '[{"name": [], "queue": {}, "priority": "p", "payload": 7, "serializer": null, "countdown": "c"}]',
        "ties": 8,
        "name": "proj.raises",
    },
    "error callbacks that are nested too deep": {"errbacks": DEEP, "ties": 8, "name": "proj.raises"},
    "stamps that are garbage": {"stamps": "{"},
    "stamps that are a number": {"stamps": "7", "options": "{}"},
    "stamps that are nested too deep": {"stamps": DEEP, "options": "{}"},
    "a countdown beyond every calendar": {"countdown": 1e308, "lifetime": -1e308},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, list[subprocess.Popen[bytes]]]]:
    """A project, and its workers, of which the last runs."""
    project = Project(tmp_path_factory.mktemp("bad_rows"))
    workers: list[subprocess.Popen[bytes]] = []
    yield project, workers
    for worker in workers:
        end(worker)


@pytest.fixture
def project(made: tuple[Project, list[subprocess.Popen[bytes]]]) -> Project:
    """A project with a worker of one child, through which every bad row goes."""
    project, workers = made
    if not workers or workers[-1].poll() is not None:
        workers.append(project.worker("a", "-c", "1"))
    project.wait_for(lambda: project.processes(role="child"))
    return project


def write_row(path: Path, **columns: object) -> str:
    """Put a row into the file by SQL: a good one, but for `columns`. Returns its id."""
    row: dict[str, object] = {
        "id": f"bad-{write_row.count}",
        "name": "proj.returns",
        "queue": "celery",
        "lane": "celery",
        "priority": 0,
        "state": "ready",
        "payload": "[[1], {}]",
        "serializer": "json",
        "ignore_result": 0,
        "retries": 0,
        "enqueued_at": 0.0,
    }
    write_row.count += 1
    row.update(columns)
    values = ", ".join("CAST(x'61ff' AS TEXT)" if value is NOT_UTF_8 else "?" for value in row.values())
    db = apsw.Connection(str(path))
    db.set_busy_timeout(5000)
    db.execute(
        f"INSERT INTO litequeue_tasks ({', '.join(row)}) VALUES ({values})",
        tuple(value for value in row.values() if value is not NOT_UTF_8),
    )
    db.close()
    return str(row["id"])


write_row.count = 0


def child_pids(project: Project) -> list[int]:
    """The children, after one more task went through: whatever the last one did to them has been done."""
    project.app.send_task("proj.returns", (0,)).get(timeout=20)
    return [record.identity.pid for record in project.processes(role="child")]


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_row_is_failure_with_its_reason(project, what):
    """The same child goes on: it did not die of the row."""
    columns, reason = UNREADABLE[what]
    children = child_pids(project)
    bad = write_row(project.queue, **columns)
    good = project.app.send_task("proj.returns", (what,))
    assert good.get(timeout=20) == what
    project.wait_for(lambda: project.ended(bad), 10)
    record = project.app.store.task(bad)
    assert child_pids(project) == children
    assert record.deaths == 0
    if what == "payload has lone surrogates":
        return  # readable, and a task may be given such text; what counts is that the child lives
    assert record.state == "failed"
    error = json.loads(record.result)
    assert reason in error["type"]
    assert error["text"]


@pytest.mark.parametrize("what", ODD)
def test_an_odd_row_ends_and_harms_nobody(project, what):
    children = child_pids(project)
    bad = write_row(project.queue, **ODD[what])
    good = project.app.send_task("proj.returns", (what,))
    assert good.get(timeout=20) == what
    project.wait_for(lambda: project.ended(bad) or project.app.store.task(bad) is None, 10)
    assert child_pids(project) == children
    record = project.app.store.task(bad)
    assert record is None or record.state in {"succeeded", "failed", "revoked"}


BAD_CANVASES: dict[str, str] = {
    "slots that are none": "UPDATE litequeue_tasks SET group_index = NULL WHERE group_id = :group",
    "slots that are twice": "UPDATE litequeue_tasks SET group_index = 0 WHERE group_id = :group",
    "a group inside itself": "UPDATE litequeue_groups SET group_id = id, group_index = 0 WHERE id = :group",
    "a value that is garbage": "UPDATE litequeue_tasks SET result = '{' WHERE group_id = :group",
    "a value in an unknown serializer": "UPDATE litequeue_tasks SET result_serializer = 'x' WHERE group_id = :group",
    "an error that is garbage": """
        UPDATE litequeue_tasks SET result = '{', result_serializer = 'error' WHERE group_id = :group""",
    "a value of a task that is not there": """
        UPDATE litequeue_tasks SET result = 'nobody', result_serializer = 'upstream' WHERE group_id = :group""",
    "a group that is gone": "DELETE FROM litequeue_groups WHERE id = :group",
    "members that are gone": "DELETE FROM litequeue_tasks WHERE group_id = :group",
}
"""What somebody does to a chord whose header has run, before its body is claimed."""


@pytest.mark.parametrize("what", BAD_CANVASES)
def test_a_body_over_bad_rows_ends_and_harms_nobody(project, what):
    children = child_pids(project)
    app = project.app

    def one(queue: str = "celery", *args: int) -> Signature:
        return app.signature("proj.returns", args, queue=queue, immutable=bool(args))

    nested = chain(one("celery", 1), group([one("celery", 2), one("celery", 3)], app=app), app=app)
    result = chord([one("celery", 4), one("celery", 5), nested], one("nowhere"), app=app).delay()
    header = result.parent.id
    project.wait_for(lambda: app.store.group(header).remaining == 0, 20)
    db = apsw.Connection(str(project.queue))
    db.set_busy_timeout(5000)
    db.execute(BAD_CANVASES[what], {"group": header})
    db.execute("UPDATE litequeue_tasks SET queue = 'celery', lane = 'celery' WHERE id = ?", (result.id,))
    db.close()
    assert app.send_task("proj.returns", (what,)).get(timeout=20) == what
    project.wait_for(lambda: project.ended(result.id), 10)
    assert child_pids(project) == children
    assert app.store.canvas(result.id).tasks
    assert app.store.members(header) is not None


@pytest.mark.parametrize("name", ["proj.nobody_has_this", "", "x" * 100_000, "a\tb", "proj.returns "])
def test_an_unknown_name_waits_and_is_seen(project, name):
    """It is not discarded: it waits for a worker that knows it, and holds nobody up."""
    children = child_pids(project)
    bad = write_row(project.queue, name=name)
    good = project.app.send_task("proj.returns", (1,))
    assert good.get(timeout=20) == 1
    assert project.app.store.task(bad).state == "ready"
    assert project.app.AsyncResult(bad).engine_state == "unregistered"
    assert child_pids(project) == children
    assert project.app.store.revoke([bad]) == (bad,)


@pytest.mark.parametrize("value", ["\udcff", "\x00", "x" * 2_000_000, "\ud83d"])
def test_an_exception_with_odd_text_is_failure_and_not_a_dead_child(project, value):
    """File names come as lone surrogates, and end up in messages and tracebacks."""
    children = child_pids(project)
    bad = write_row(project.queue, name="proj.raises", payload=json.dumps([[value], {}]))
    project.wait_for(lambda: project.ended(bad), 20)
    record = project.app.store.task(bad)
    assert record.state == "failed"
    assert json.loads(record.result)["type"] == "ValueError"
    assert child_pids(project) == children


@pytest.mark.parametrize("value", ["\udcff", "\x00", {"a\udcff": 1}])
def test_a_result_with_odd_text_is_kept_or_is_failure_and_not_a_dead_child(project, value):
    children = child_pids(project)
    bad = write_row(project.queue, payload=json.dumps([[value], {}]))
    project.wait_for(lambda: project.ended(bad), 20)
    record = project.app.store.task(bad)
    assert record.state in {"succeeded", "failed"}
    if record.state == "succeeded":
        assert project.app.AsyncResult(bad).get(timeout=5) == value
    assert child_pids(project) == children


PROCESS_ROW = {
    "worker": "x@y",
    "role": "child",
    "parent": 1,
    "host": "another",
    "boot": "b",
    "namespace": "n",
    "pid": 1,
    "started": "1",
    "port": None,
    "queues": '["celery"]',
    "idle": 1,
    "started_at": 0.0,
    "heartbeat_at": 4e9,
    "info": "{}",
}


@pytest.mark.parametrize(
    "columns",
    [
        {"queues": "not json", "port": 5},
        {"queues": "7", "port": 5},
        {"port": 99_999_999},
        {"port": -1},
        {"idle": 10**15, "port": 9},
        {"info": "not json"},
        {"info": "[]"},
        {"heartbeat_at": 1e300},
        {"pid": -1, "host": os.uname().nodename},
    ],
    ids=str,
)
def test_a_bad_row_of_processes_stops_nobody(project, columns):
    """Sending, running and looking go on."""
    row = {**PROCESS_ROW, **columns}
    db = apsw.Connection(str(project.queue))
    db.set_busy_timeout(5000)
    db.execute(
        f"INSERT INTO litequeue_processes ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
    )
    number = db.last_insert_rowid()
    try:
        assert project.app.send_task("proj.returns", (1,)).get(timeout=20) == 1
        assert project.app.store.processes()
    finally:
        db.execute("DELETE FROM litequeue_processes WHERE id = ?", (number,))
        db.close()


def test_every_reason_is_an_exception_of_ours(project):
    """What a client sees with `get()` names the trouble."""
    for columns, kind in [
        ({"payload": "{"}, DecodeError),
        ({"serializer": "morse"}, ContentDisallowed),
        ({"headers": "[1]"}, InvalidTaskError),
    ]:
        with pytest.raises(kind):
            project.app.AsyncResult(write_row(project.queue, **columns)).get(timeout=20)
