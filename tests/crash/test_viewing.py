"""Whatever stands in the rows of a file, looking at it gives an answer: no traceback, no hang, the good rows are shown.

`LITEQUEUE_LOOKS=5000` tries more of what somebody may have done to a file, `LITEQUEUE_CRASH_SEED=2` other things.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import pytest

from . import looks
from .looks import Answer, Harm, app, command
from .power_loss import SEED

COUNT = int(os.environ.get("LITEQUEUE_LOOKS", "60"))
"""How many files are harmed."""
SHARE = 5
"""Of so many files, each command that looks is tried on one."""


@pytest.fixture
def queue(whole: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, which the app has open."""
    path = tmp_path / "queue.db"
    fresh(whole, path)
    yield path
    app.close()


def fresh(whole: Path, path: Path) -> None:
    """Put the whole queue at `path` again."""
    app.close()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(whole, path)
    app.conf.broker_url = str(path)


def wrong(answer: Answer, as_json: bool) -> list[str]:
    return [f"{' '.join(answer.argv)[:200]}: {problem}" for problem in looks.problems(answer, as_json)]


def look(chance: random.Random, path: Path, rows: Sequence[tuple[str, str]], share: int) -> list[str]:
    """Try one in `share` of the ways to look at the file; everything that was wrong."""
    found: list[str] = []
    ids = [task_id for task_id, _ in rows]
    commands = [words for words in looks.LOOKS if share == 1 or chance.random() < 1 / share]
    for task_id in chance.sample(ids, min(len(ids), 2)):
        commands += [(*words, "--", task_id) for words in looks.OF_A_TASK if share == 1 or chance.random() < 2 / share]
    for words in commands:
        as_json = chance.random() < 0.5
        found += tried(
            lambda words=words, as_json=as_json: wrong(command(*(["--json"] * as_json), *words), as_json), words
        )
    for what, call in looks.calls(chance, ids):
        if share == 1 or chance.random() < 1 / share:
            found += tried(lambda call=call: call() and None, (what,))
    found += tried(lambda: unshown(rows), ("inspect", "tasks"))
    return found


def tried(act, words) -> list[str]:
    """What it finds; what it raises is a finding too."""
    try:
        with looks.quick(" ".join(words)):
            return act() or []
    except Exception as error:
        if os.environ.get("LITEQUEUE_LOOKS_RAISE"):
            raise
        return [f"{' '.join(words)[:200]}: {type(error).__name__}: {str(error)[:300]}"]


def unshown(rows: Sequence[tuple[str, str]]) -> list[str]:
    """The tasks of the file that a list does not show, or in another order."""
    answer = command("inspect", "tasks", "--json", "--limit", "1000")
    assert answer.code == 0, answer
    shown = [(each["id"], each["name"]) for each in answer.json()]
    return [] if shown == list(rows) else [f"inspect tasks shows {len(shown)} of {len(rows)} tasks, or others"]


def test_a_whole_file_is_shown(queue):
    rows = looks.harm(queue, [])
    assert {state for states in app.store.counts().values() for state in states} == {
        *("waiting", "scheduled", "ready", "running", "succeeded", "failed", "revoked")
    }
    assert look(random.Random(SEED), queue, rows, 1) == []
    with app.store._database.read() as connection:
        empty = [
            table
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'lite*'"
            )
            if not connection.execute(f"SELECT count(*) FROM {table}").get
        ]
    assert empty == [], "a table in which nothing can be harmed"


FAR = float("inf")
TOLD: dict[str, tuple[str, object]] = {
    "times of no calendar": ("UPDATE litequeue_tasks SET enqueued_at = ?, run_at = 1e18, prune_at = 1e12", -1e300),
    "spans without an end": ("UPDATE litequeue_tasks SET started_at = 0, finished_at = ?", FAR),
    "arguments that are a number": ("UPDATE litequeue_tasks SET payload = ?", -1.5),
    "a serializer of nobody": ("UPDATE litequeue_tasks SET serializer = ?1, result_serializer = ?1", "morse"),
    "texts that steer a terminal": (
        "UPDATE litequeue_tasks SET name = ?1, worker = ?1, queue = ?1",
        "\x1b[2J\x07\u202ex",
    ),
    "options nested too deep": ("UPDATE litequeue_tasks SET options = ?1, headers = ?1, stamps = ?1", looks.DEEP),
    "schedules nested too deep": ("UPDATE litequeue_schedules SET schedule = ?1, call = ?1", looks.DEEP),
    "bounds of no calendar": ("UPDATE litequeue_schedules SET start_at = ?1, end_at = ?1, last_run_at = -1e18", FAR),
    "a worker with too many slots": ("UPDATE litequeue_processes SET info = ?", '{"concurrency": 1000000000000}'),
    "a worker that says odd things": (
        "UPDATE litequeue_processes SET info = ?",
        '{"tasks": 7, "pool": [], "concurrency": {}}',
    ),
    "queues that are no text": ("UPDATE litequeue_processes SET queues = ?", '["\\ud800", {}, "celery"]'),
    "events that are none": ("UPDATE litequeue_events SET moves = ?", '{"done": 1, "message": ""}'),
    "events of odd times": (
        "UPDATE litequeue_events SET at = 1e18, moves = ?",
        '[["", "my-event", {"timestamp": "x"}]]',
    ),
    "events with the last number": ("UPDATE OR IGNORE litequeue_events SET number = ?", 2**63 - 1),
    "several workers of a name": ("UPDATE litequeue_processes SET host = ?", "elsewhere"),
}


@pytest.mark.parametrize("what", TOLD)
def test_what_was_once_a_traceback_is_shown(queue, what):
    rows = looks.harm(queue, [Harm(TOLD[what][0], (TOLD[what][1],))])
    assert look(random.Random(SEED), queue, rows, 1) == []


def test_text_that_is_not_utf_8_is_told_of_in_a_line(queue):
    db = apsw.Connection(str(queue))
    db.execute("UPDATE litequeue_tasks SET name = CAST(x'61ff' AS TEXT) WHERE state = 'ready'")
    db.close()
    for words in (*looks.LOOKS, *looks.OF_A_TASK):
        answer = command(*words, *(["x"] if words in looks.OF_A_TASK else []))
        assert list(looks.problems(answer, False)) == []
    answer = command("inspect", "tasks")
    assert answer.code == 1
    assert "not UTF-8 (b'a\\xff')" in answer.err


def test_json_has_no_infinity(queue):
    looks.harm(
        queue, [Harm("UPDATE litequeue_tasks SET started_at = 0, finished_at = ? WHERE state = 'succeeded'", (FAR,))]
    )
    (one, *_) = command("inspect", "tasks", "--state", "SUCCESS", "--json").json()
    assert one["runtime"] is None
    assert one["finished_at"] == "9999-12-30T00:00:00.000+00:00"


def test_whatever_stands_in_a_row_looking_gives_an_answer(whole, tmp_path):
    path = tmp_path / "queue.db"
    found: list[str] = []
    for number in range(COUNT):
        chance = random.Random(f"{SEED}-{number}")
        fresh(whole, path)
        db = apsw.Connection(str(path))
        harms = [looks.any_harm(chance, looks.columns(db)) for _ in range(chance.choice((1, 1, 1, 2, 4)))]
        db.close()
        rows = looks.harm(path, harms)
        problems = look(chance, path, rows, SHARE)
        found += [f"number {number}, after {'; '.join(map(str, harms))}: {problem}" for problem in problems]
    app.close()
    assert not found, "\n".join(found)
