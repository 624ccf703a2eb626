"""A program that forks while it uses the queue loses no commit, and is refused where SQLite could not bear it.

SQLite believes that a forked child holds its parent's locks. A child that opens a connection of its own beside one it
inherited takes no lock at all; when the parent closes, the parent thinks it is the last and deletes the -wal with the
child's commits. So no connection of ours is open across a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from litequeue.exceptions import StoreForked
from litequeue.store.contract import Pick
from litequeue.store.sqlite import connection as sqlite_connection
from litequeue.store.sqlite.store import SQLiteStore

from .invariants import violations
from .project import Project
from .story import TakeAll, claimant, new_task, open_store, register

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store that is in use."""
    opened = open_store(tmp_path / "queue.db")
    opened.enqueue([new_task()])
    opened.counts()
    yield opened
    opened.close()


def in_child(act: Callable[[], None]) -> Callable[[], None]:
    """Fork a child that runs `act`; call the answer to wait for its end, which must be a good one."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)

    def wait() -> None:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the child failed"

    return wait


def rows(store: SQLiteStore) -> int:
    """How many rows a fresh connection finds, after every other is closed."""
    store.close()
    db = apsw.Connection(store.path)
    try:
        assert not violations(db)
        count: int = db.execute("SELECT count(*) FROM litequeue_tasks").get
        return count
    finally:
        db.close()


def test_parent_and_child_both_enqueue_and_no_commit_is_lost(store):
    """The parent closes between the child's commits: that is what lost them."""
    child_began, parent_closed = multiprocessing.Event(), multiprocessing.Event()

    def child() -> None:
        for _ in range(25):
            store.enqueue([new_task()])
        child_began.set()
        assert parent_closed.wait(30)
        for _ in range(25):
            store.enqueue([new_task()])

    wait = in_child(child)
    for _ in range(25):
        store.enqueue([new_task()])
    assert child_began.wait(30)
    store.close()
    parent_closed.set()
    wait()
    assert rows(store) == 1 + 25 + 25 + 25


def test_many_forks_under_load_lose_nothing(store):
    """Threads enqueue while the process forks again and again, and every child enqueues and forks once more."""
    stop = threading.Event()
    counts = [0, 0]

    def keep_enqueuing(number: int) -> None:
        while not stop.is_set():
            store.enqueue([new_task()])
            counts[number] += 1

    def grandchild() -> None:
        store.enqueue([new_task(), new_task()])

    def child() -> None:
        store.enqueue([new_task()])
        in_child(grandchild)()
        assert store.counts()

    threads = [threading.Thread(target=keep_enqueuing, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    waits = [in_child(child) for _ in range(20)]
    for wait in waits:
        wait()
    stop.set()
    for thread in threads:
        thread.join()
    assert all(counts)
    assert rows(store) == 1 + sum(counts) + 20 * 3


def _enqueue_in_pool(path: str) -> int:
    store = open_store(Path(path))
    for _ in range(10):
        store.enqueue([new_task()])
    return os.getpid()


def test_a_multiprocessing_pool_started_by_fork_loses_nothing(store):
    """Each worker of the pool opens a store of its own, beside the one it inherited."""
    with multiprocessing.get_context("fork").Pool(3) as pool:
        answers = [pool.apply_async(_enqueue_in_pool, (store.path,)) for _ in range(9)]
        for _ in range(30):
            store.enqueue([new_task()])
        pids = {answer.get(60) for answer in answers}
    assert os.getpid() not in pids
    assert rows(store) == 1 + 30 + 90


def test_no_file_of_the_queue_is_open_in_a_forked_child(store):
    """Not the database, not the -wal, not the -shm, not the door."""

    def child() -> None:
        folder = os.path.dirname(store.path)
        for fd in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue
            assert not target.startswith(folder), target

    if os.path.isdir("/proc/self/fd"):
        in_child(child)()


class ForkingPicker(TakeAll):
    """Forks in the middle of the claim's transaction."""

    wait: Callable[[], None]
    act: Callable[[], None]

    def pick(self, name: str, deaths: int) -> Pick:
        """Fork, and take the row."""
        self.wait = in_child(self.act)
        return Pick.LAST


def test_a_fork_inside_a_transaction_is_refused_in_the_child(store):
    """The child gets StoreForked from every verb; the parent's transaction commits as if nothing had been."""

    def child() -> None:
        for act in (
            lambda: store.enqueue([new_task()]),
            store.counts,
            lambda: store.task("x"),
            store.close,
            store.counts,
        ):
            try:
                act()
            except StoreForked as error:
                assert store.path in str(error)
                assert "spawn" in str(error)
            else:
                assert act == store.close, "not refused"

    picker = ForkingPicker()
    picker.act = child
    me = claimant(register(store), picker)
    claimed = store.claim(me, 1).claimed
    picker.wait()
    assert len(claimed) == 1
    assert store.states([claimed[0].id]) == {claimed[0].id: "running"}
    store.enqueue([new_task()])
    assert rows(store) == 2


class SlowPicker(TakeAll):
    """Holds the claim's transaction open until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.go_on = threading.Event(), threading.Event()

    def pick(self, name: str, deaths: int) -> Pick:
        """Wait inside the transaction."""
        self.inside.set()
        assert self.go_on.wait(30)
        return Pick.LAST


def test_a_fork_waits_for_another_threads_transaction(store):
    """A transaction takes milliseconds, so the fork waits for its end and the child may use the queue."""
    picker = SlowPicker()
    thread = threading.Thread(target=store.claim, args=(claimant(register(store), picker), 1))
    thread.start()
    assert picker.inside.wait(30)
    threading.Timer(0.2, picker.go_on.set).start()
    in_child(lambda: store.enqueue([new_task()]))()
    thread.join()
    assert rows(store) == 2


def test_a_fork_beside_a_transaction_that_does_not_end_is_refused_in_the_child(store, monkeypatch):
    """After its patience the fork happens all the same, and the child is refused; the parent goes on."""
    monkeypatch.setattr(sqlite_connection, "_FORK_WAIT", 0.2)
    picker = SlowPicker()
    thread = threading.Thread(target=store.claim, args=(claimant(register(store), picker), 1))
    thread.start()
    assert picker.inside.wait(30)

    def child() -> None:
        with pytest.raises(StoreForked):
            store.enqueue([new_task()])

    in_child(child)()
    picker.go_on.set()
    thread.join()
    store.enqueue([new_task()])
    assert rows(store) == 2
    in_child(lambda: store.enqueue([new_task()]))()
    assert rows(store) == 3


def test_a_queue_in_memory_is_refused_in_a_forked_child():
    """Its rows are the parent's; a copy of them would be run twice."""
    memory = open_store(Path(":memory:"))
    memory.enqueue([new_task()])

    def child() -> None:
        with pytest.raises(StoreForked):
            memory.enqueue([new_task()])

    in_child(child)()
    assert memory.counts() == {"celery": {"ready": 1}}


def test_closing_and_reading_at_the_same_time_never_waits_for_ever(store):
    """A close (a fork closes too) takes the same locks in the same order as a read that opens."""

    def child() -> None:
        sys.setswitchinterval(1e-6)
        threads = [
            threading.Thread(target=lambda act=act: [act() for _ in range(500)], daemon=True)
            for act in (store.close, store.counts, store.counts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive(), "two threads wait for each other"

    in_child(child)()


def test_parent_and_child_both_send_and_get_while_a_thread_waits(tmp_path):
    """The whole app crosses the fork: its store, its codecs, and what waits for results."""
    project = Project(tmp_path)
    app = project.app
    with project.running("a", slots=2):
        assert app.send_task("proj.returns", (1,)).get(timeout=20) == 1
        slow = app.send_task("proj.work", (1.0,))
        thread = threading.Thread(target=slow.get, kwargs={"timeout": 20})
        thread.start()

        def child() -> None:
            results = [app.send_task("proj.returns", (number,)) for number in range(20)]
            assert [result.get(timeout=20) for result in results] == list(range(20))
            assert slow.get(timeout=20) == slow.id

        waits = [in_child(child) for _ in range(3)]
        results = [app.send_task("proj.returns", (number,)) for number in range(20)]
        assert [result.get(timeout=20) for result in results] == list(range(20))
        for wait in waits:
            wait()
        thread.join(20)
        assert not thread.is_alive()
    assert app.store.counts() == {"celery": {"succeeded": 2 + 20 * 4}}
    app.close()
