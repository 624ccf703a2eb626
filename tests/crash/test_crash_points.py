"""A process dies before and after each SQL statement of each operation: the next process finds all of it, or nothing.

The child really dies (`os._exit`, no clean-up of any kind): its locks, its -wal and its -shm are left as they are.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from litequeue.core import process
from litequeue.core.records import Claimed
from litequeue.core.steering import DeadFilter
from litequeue.store.sqlite.store import SQLiteStore

from .canvases import SCENES, VERBS, finish, hold, prepare, write
from .invariants import violations
from .story import (
    Said,
    carry_on,
    claimant,
    failure,
    image_folder,
    log_lines,
    new_task,
    open_store,
    register,
    retry,
    success,
    tickets,
)
from .test_faults import summary
from .test_power_cut import schema_of, use_next_version

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="dies in a forked process"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

DIED, FINISHED, BROKE = 17, 0, 18


class Countdown:
    """Kills the process before its statement number `at`, counted from when it is armed."""

    def __init__(self, at: int) -> None:
        self.left: int | None = None
        self.at = at

    def arm(self) -> None:
        """Count from here."""
        self.left = self.at

    def __call__(self, cursor: Any, statement: str, bindings: Any) -> bool:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                os._exit(DIED)
        return True


def run_and_die(at: int, prepare: Callable[[], Any], act: Callable[[Any], Any]) -> int:
    """In a child: `act(prepare())`, dying before its statement number `at`, else right after the last one."""
    pid = os.fork()
    if pid == 0:
        code = BROKE
        try:
            countdown = Countdown(at)
            apsw.connection_hooks.append(lambda connection: setattr(connection, "exec_trace", countdown))
            prepared = prepare()
            countdown.arm()
            act(prepared)
            code = FINISHED
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in {DIED, FINISHED}, "the operation itself failed in the child"
    return code


def deaths(
    folder: Path, prepare: Callable[[Path], Any], act: Callable[[Any], Any], source: Path | None = None
) -> Iterator[Path]:
    """A file, a copy of `source` or a new one, after a death before each statement of `act(prepare(path))` in turn;
    after the last one at its end."""
    for number in itertools.count(1):
        path = folder / f"{number}.db"
        if source is not None:
            shutil.copyfile(source, path)
        code = run_and_die(number, functools.partial(prepare, path), act)
        yield path
        if code == FINISHED:
            return


def make(path: Path, events: bool = False) -> None:
    """A queue with work, which a dead worker has begun."""
    store = open_store(path)
    store.enqueue([new_task() for _ in range(10)])
    store.enqueue([new_task("once"), new_task("unknown")])
    register(store, events=events)
    store.claim(claimant(1), 2)
    prepare(store, 1)
    store.close()


Prepared = tuple[SQLiteStore, int, tuple[Claimed, ...]]


def be_a_worker(path: Path, events: bool = False) -> Prepared:
    """In the child: register this very process and claim three tasks."""
    store = open_store(path)
    me = register(store, process.current(), events=events)
    return store, me, store.claim(claimant(me), 3).claimed


def _settle(prepared: Prepared) -> None:
    store, me, (first, second, third) = prepared
    store.settle(claimant(me), [success(first), failure(second), retry(third, 60.0)], 2)


FRESH = [new_task() for _ in range(4)]
OPERATIONS: dict[str, Callable[[Prepared], Any]] = {
    "enqueue one": lambda p: p[0].enqueue(FRESH[:1]),
    "enqueue many": lambda p: p[0].enqueue(FRESH),
    "revoke": lambda p: p[0].revoke([task_id for task_id, name in p[0].states(_ids(p[0])).items() if name == "ready"]),
    "claim": lambda p: p[0].claim(claimant(p[1]), 3),
    "claim at most once": lambda p: p[0].claim(claimant(p[1]), 50),
    "settle": _settle,
    "release": lambda p: p[0].release(p[1], tickets(*p[2])),
    "bury": lambda p: p[0].bury(1, "killed", 3),
    "deregister": lambda p: p[0].deregister(p[1]),
    "prune": lambda p: p[0].prune(100),
    "publish": lambda p: p[0].publish([("my-event", {"n": 1}), ("my-event", {"n": 2})], "celery@test"),
    "set_events": lambda p: p[0].set_events(p[1], True),
    "set_slots": lambda p: p[0].set_slots(p[1], 5),
    "keep_log": lambda p: p[0].keep_log(*tickets(p[2][0]), log_lines(6), 4),
    **{name: lambda p, verb=verb: verb(p[0]) for name, verb in VERBS.items()},
}


def _ids(store: SQLiteStore) -> list[str]:
    with store._database.read() as connection:
        return [task_id for (task_id,) in connection.execute("SELECT id FROM litequeue_tasks ORDER BY seq")]


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_death_at_each_statement_leaves_all_or_nothing(tmp_path, name):
    source = tmp_path / "queue.db"
    make(source)
    die_everywhere(source, OPERATIONS[name])


EVENTFUL = ("enqueue many", "revoke", "claim", "release", "bury", "deregister", "prune", "forget parts")


@pytest.mark.parametrize("name", ["settle", *EVENTFUL])
def test_a_death_at_each_statement_leaves_all_or_nothing_of_what_is_told(tmp_path, name):
    """With events on, and log lines to keep, and counts to write."""
    source = tmp_path / "queue.db"
    make(source, events=True)
    db = apsw.Connection(str(source))
    before = db.execute("SELECT count(*) FROM litequeue_events").get
    assert before > 0
    db.close()
    die_everywhere(source, settle_and_tell if name == "settle" else OPERATIONS[name], events=True)


def settle_and_tell(prepared: Prepared) -> None:
    """As `_settle`, with what was logged."""
    store, me, (first, second, third) = prepared
    store._counted_at = 0.0  # counts are to be written by this transaction
    outcomes = [success(first, log=Said(log_lines(6))), failure(second), retry(third, 60.0)]
    store.settle(claimant(me), outcomes, 2)


class Steps:
    """Kills the process before its step number `at`: an SQL statement, or something asked of the file system."""

    def __init__(self, at: int) -> None:
        self.left = at

    def count(self, *_: Any) -> bool:
        """One more."""
        self.left -= 1
        if self.left == 0:
            os._exit(DIED)
        return True

    def audit(self, event: str, _arguments: Any) -> None:
        """What Python says before it asks the system for something."""
        if event.startswith("os.") or event == "open":
            self.count()


@pytest.mark.parametrize("replaces", [False, True])
def test_a_death_at_each_step_of_a_backup_leaves_a_whole_copy_or_none_under_its_name(tmp_path, replaces):
    source, target = tmp_path / "queue.db", tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    make(source)
    store = open_store(source)
    store.enqueue([new_task(payload=f'[["{"x" * 3000}"], {{}}]') for _ in range(300)])
    if replaces:
        store.backup(str(target))
    old = _count(target)
    store.enqueue([new_task()])
    whole = store.counts()
    store.close()
    new = _count(source)
    kept = target.read_bytes() if replaces else b""
    found = []
    for number in itertools.count(1):
        if replaces:
            target.write_bytes(kept)
        else:
            target.unlink(missing_ok=True)

        def copy(store: SQLiteStore, number: int = number) -> None:
            steps = Steps(number)
            apsw.connection_hooks.append(lambda connection: setattr(connection, "exec_trace", steps.count))
            sys.addaudithook(steps.audit)
            store.backup(str(target), lambda *_: steps.count() and None, overwrite=replaces)

        code = run_and_die(10**9, lambda: open_store(source), copy)
        found.append(_count(target))
        if code == FINISHED:
            break
        if number % 5 == 0:  # whoever comes next cleans up
            again = open_store(source)
            again.backup(str(target), overwrite=target.exists())
            again.close()
            assert _count(target) == new
            assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert len(found) > 20
    assert set(found) == {old, new}
    assert found == sorted(found, key=lambda count: count == new), "it was there, and then it was not"
    store = open_store(source)
    assert store.counts() == whole
    store.close()


def _count(path: Path) -> int | None:
    """How many tasks a sound queue has; None: there is no file."""
    if not path.exists():
        return None
    # immutable: else a -wal and a -shm beside it would be left by the look.
    db = apsw.Connection(f"file:{path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        assert violations(db) == []
        return db.execute("SELECT count(*) FROM litequeue_tasks").get
    finally:
        db.close()


def test_a_death_while_a_file_is_compacted_changes_nothing_in_it(tmp_path):
    source = tmp_path / "queue.db"
    make(source)
    store = open_store(source)
    store.enqueue([new_task(payload=f'[["{"x" * 3000}"], {{}}]') for _ in range(300)])
    store.purge(["celery"])
    store.close()
    found = []
    with image_folder() as folder:
        for path in deaths(folder, open_store, lambda store: store.compact(), source):
            found.append(summary(str(path)))
            store = open_store(path)
            store.compact()
            carry_on(store)
            store.close()
            assert path.stat().st_size < source.stat().st_size
    assert len(found) > 3
    assert all(contents == found[0] for contents in found)


DEAD = DeadFilter(states=("failed", "revoked"))


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_a_death_at_each_statement_leaves_all_or_nothing_of_dead_letters(tmp_path, verb):
    source = tmp_path / "queue.db"
    make(source)
    store = open_store(source)
    store.revoke(["r", "s1", "c2", "m2"])
    with store._database.read() as connection:  # chains, a chord and its body: there is something to take back
        assert connection.execute("SELECT count(*) FROM litequeue_tasks WHERE result_serializer = 'upstream'").get > 2
    store.close()
    copy = tmp_path / "copy.db"
    shutil.copyfile(source, copy)
    store = open_store(copy)
    assert len(store.retry(DEAD).ready) > 2
    store.close()
    die_everywhere(source, lambda p: getattr(p[0], verb)(DEAD))


def die_everywhere(source: Path, act: Callable[[Prepared], Any], events: bool = False) -> None:
    """Carry out `act` on copies of a queue, and die before each of its statements in turn."""
    found = []
    with image_folder() as folder:
        for path in deaths(folder, lambda path: be_a_worker(path, events), act, source):
            found.append(summary(str(path)))
            store = open_store(path)
            carry_on(store)
            store.close()
    before, after = found[0], found[-1]
    assert all(contents in (before, after) for contents in found), "half of it was written"
    committed = [contents == after for contents in found]
    assert committed == sorted(committed), "it was written, and then it was not"
    assert len(found) > 1


@pytest.mark.parametrize("name", SCENES)
def test_a_death_at_each_statement_of_an_end_changes_nothing_of_the_outcome(tmp_path, name):
    """For each kind of edge: whenever its worker dies, the next one ends the canvas as if nobody had died."""
    scene, source = SCENES[name], tmp_path / "queue.db"
    store = open_store(source)
    write(store, scene, claimant(register(store)))
    store.deregister(1)
    store.close()

    def be_the_worker(path: Path) -> tuple[SQLiteStore, int, Claimed]:
        store = open_store(path)
        me = register(store, process.current())
        return store, me, hold(store, scene, claimant(me))

    def end(prepared: tuple[SQLiteStore, int, Claimed]) -> None:
        store, me, claimed = prepared
        store.settle(claimant(me), [scene.play(claimed)], 1)

    endings = []
    with image_folder() as folder:
        for path in deaths(folder, be_the_worker, end, source):
            store = open_store(path)
            store.rescue(lease=0.0, max_deaths=3)
            with store._database.read() as connection:
                assert violations(connection) == []
            endings.append(finish(store, scene, claimant(register(store))))
            store.close()
    assert len(endings) > 4
    expected = endings[0]  # of a worker that died before its first statement: all of it was done by the second
    assert {state for state, _ in expected["ends"].values()} <= {"succeeded", "failed", "ignored"}
    assert all(count <= 1 for task_id, count in expected["runs"].items() if task_id != scene.key)
    for ending in endings[1:]:
        assert ending["ends"] == expected["ends"]
        assert ending["given"].items() <= expected["given"].items()
        assert ending["runs"].items() <= expected["runs"].items(), "it ran once more"
        assert (ending["groups"], ending["others"]) == (expected["groups"], expected["others"])


def test_a_death_while_a_file_is_made_leaves_a_file_that_can_be_made(tmp_path):
    count = 0
    for path in deaths(tmp_path, open_store, lambda store: store.enqueue(FRESH)):
        count += 1
        store = open_store(path)
        assert store.counts() in ({}, {"celery": {"ready": len(FRESH)}})
        assert store.connection_info()["journal_mode"] == "wal"
        carry_on(store)
        store.close()
    assert count > 5


def test_a_death_while_a_file_is_migrated_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    source = tmp_path / "queue.db"
    make(source)
    old, _, rows = schema_of(str(source))
    new = use_next_version(monkeypatch)
    found = []
    for path in deaths(tmp_path, open_store, lambda store: store.processes(), source):
        found.append(schema_of(str(path)))
        store = open_store(path)
        store.processes()
        store.close()
        assert schema_of(str(path)) == (new, True, rows)
    assert set(found) == {(old, False, rows), (new, True, rows)}
    assert found == sorted(found)
