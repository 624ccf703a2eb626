"""A process dies before and after each SQL statement of each operation: the next process finds all of it, or nothing.

The child really dies (`os._exit`, no clean-up of any kind): its locks, its -wal and its -shm are left as they are.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
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
from .story import carry_on, claimant, failure, image_folder, new_task, open_store, register, retry, success, tickets
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


def make(path: Path) -> None:
    """A queue with work, which a dead worker has begun."""
    store = open_store(path)
    store.enqueue([new_task() for _ in range(10)])
    store.enqueue([new_task("once"), new_task("unknown")])
    register(store)
    store.claim(claimant(1), 2)
    prepare(store, 1)
    store.close()


Prepared = tuple[SQLiteStore, int, tuple[Claimed, ...]]


def be_a_worker(path: Path) -> Prepared:
    """In the child: register this very process and claim three tasks."""
    store = open_store(path)
    me = register(store, process.current())
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


def die_everywhere(source: Path, act: Callable[[Prepared], Any]) -> None:
    """Carry out `act` on copies of a queue, and die before each of its statements in turn."""
    found = []
    with image_folder() as folder:

        def at(number: int) -> int:
            path = folder / f"{number}.db"
            shutil.copyfile(source, path)
            code = run_and_die(number, lambda: be_a_worker(path), act)
            found.append(summary(str(path)))
            store = open_store(path)
            carry_on(store)
            store.close()
            return code

        before = at(1) and found[0]
        for number in itertools.count(2):
            if at(number) == FINISHED:
                break
    after = found[-1]
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
        for number in itertools.count(1):
            path = folder / f"{number}.db"
            shutil.copyfile(source, path)
            code = run_and_die(number, lambda path=path: be_the_worker(path), end)
            store = open_store(path)
            store.rescue(lease=0.0, max_deaths=3)
            with store._database.read() as connection:
                assert violations(connection) == []
            endings.append(finish(store, scene, claimant(register(store))))
            store.close()
            if code == FINISHED:
                break
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
    for number in itertools.count(1):
        path = tmp_path / f"{number}.db"
        code = run_and_die(number, lambda path=path: open_store(path), lambda store: store.enqueue(FRESH))
        store = open_store(path)
        assert store.counts() in ({}, {"celery": {"ready": len(FRESH)}})
        assert store.connection_info()["journal_mode"] == "wal"
        carry_on(store)
        store.close()
        if code == FINISHED:
            break
    assert number > 5


def test_a_death_while_a_file_is_migrated_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    source = tmp_path / "queue.db"
    make(source)
    old, _, rows = schema_of(str(source))
    new = use_next_version(monkeypatch)
    found = []
    for number in itertools.count(1):
        path = tmp_path / f"{number}.db"
        shutil.copyfile(source, path)
        code = run_and_die(number, lambda path=path: open_store(path), lambda store: store.processes())
        found.append(schema_of(str(path)))
        store = open_store(path)
        store.processes()
        store.close()
        assert schema_of(str(path)) == (new, True, rows)
        if code == FINISHED:
            break
    assert set(found) == {(old, False, rows), (new, True, rows)}
    assert found == sorted(found)
