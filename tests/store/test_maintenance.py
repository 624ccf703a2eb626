"""The file as a whole: opened only where it is, looked over, made smaller, copied while others use it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from litequeue import exceptions
from litequeue.core import clock, process, state
from litequeue.core.records import NewProcess
from litequeue.core.steering import DeadFilter
from litequeue.store import copy_file, damages_of, look, open_store
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite import migrations
from tests.crash.invariants import dump
from tests.store.conftest import Driver, Takes, new_group

LARGE = f'[["{"x" * 2000}"], {{}}]'
Open = Callable[..., Driver]


def files(folder: Path) -> set[str]:
    """What is in the folder beside lock files."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def content(path: str | Path) -> str:
    """A digest of what the queue's tables hold."""
    connection = apsw.Connection(str(path))
    try:
        return dump(connection)
    finally:
        connection.close()


def change(path: str | Path, statement: str, *bindings: object) -> None:
    """What somebody with an SQLite shell may do to a file."""
    connection = apsw.Connection(str(path))
    connection.execute(statement, bindings)
    connection.close()


def old_file(path: Path) -> None:
    """A file as the first version made it."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute((Path(__file__).parent / "schema_1.sql").read_text(encoding="utf-8"))
    connection.execute("INSERT INTO litequeue_meta (key, value) VALUES ('schema_version', 1)")
    connection.close()


# A file that is only looked at


@pytest.mark.parametrize("bytes_", [None, b"", b"no database at all" * 500])
def test_who_only_looks_makes_no_queue(tmp_path: Path, bytes_: bytes | None) -> None:
    path = tmp_path / "queue.db"
    if bytes_ is not None:
        path.write_bytes(bytes_)
    kind = exceptions.StoreMissing if bytes_ is None else exceptions.StoreForeign
    store = open_store(str(path), StoreOptions(existing=True))
    with pytest.raises(kind, match=r"queue\.db"):
        store.counts()
    with pytest.raises(kind, match=r"queue\.db"):
        look(str(path))
    assert files(tmp_path) == ({"queue.db"} if bytes_ is not None else set())
    assert bytes_ is None or path.read_bytes() == bytes_


def test_who_only_looks_adds_nothing_to_a_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    change(path, "CREATE TABLE users (name TEXT)")
    with pytest.raises(exceptions.StoreForeign, match="none of its tables"):
        open_store(str(path), StoreOptions(existing=True)).counts()
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("users",)]
    connection.close()


def test_who_only_looks_migrates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old_file(path)
    with pytest.raises(exceptions.StoreTooOld, match=r"schema version 1.*litequeue upgrade"):
        open_store(str(path), StoreOptions(existing=True)).counts()
    assert look(str(path))[:2] == (1, migrations.VERSION)
    with pytest.raises(exceptions.StoreTooOld):
        damages_of(str(path))


def test_a_queue_that_is_there_is_opened(tmp_path: Path, open_driver: Open) -> None:
    path = str(tmp_path / "queue.db")
    ids = open_driver(path).enqueue(Driver.new(open_driver(path)))
    looker = open_driver(path, existing=True)
    assert looker.store.states(ids) == {ids[0]: state.READY}


def test_a_newer_file_is_refused(tmp_path: Path, open_driver: Open) -> None:
    path = str(tmp_path / "queue.db")
    open_driver(path).store.connection_info()
    change(path, "UPDATE litequeue_meta SET value = value + 1 WHERE key = 'schema_version'")
    with pytest.raises(exceptions.StoreTooNew):
        look(path)


# What it is


def test_the_file_says_how_large_it_is(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(*(driver.new() for _ in range(100)))
    file = driver.store.file()
    assert file.path == str(tmp_path / "queue.db")
    assert file.size == os.path.getsize(file.path)
    assert file.wal_size == os.path.getsize(f"{file.path}-wal") > 0
    assert (file.page_size, file.free_pages, file.journal_mode) == (2048, 0, "wal")
    assert file.schema_version == migrations.VERSION
    assert file.durability == "full"


def test_a_queue_in_memory_has_a_size_too(open_driver: Open) -> None:
    file = open_driver(":memory:").store.file()
    assert (file.path, file.size, file.wal_size) == (":memory:", file.pages * file.page_size, 0)


# Whether it is sound


def test_a_queue_in_use_is_sound(driver: Driver) -> None:
    hand = driver.hand()
    members, group, body = driver.chord(3)
    driver.write(*members, group, body)
    chain = driver.chain("add", "add", "add")
    driver.write(*chain)
    driver.enqueue(driver.new("later", run_at=clock.now() + 60), driver.new("unknown"))
    hand.succeed(members[0])
    hand.fail(members[1], chain[0])
    assert driver.store.damages() == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE litequeue_tasks SET state = 'lost' WHERE name = 'a'", "'lost', which does not exist"),
        ("UPDATE litequeue_tasks SET state = 'running', holder = 99 WHERE name = 'a'", "no process holds it"),
        ("UPDATE litequeue_tasks SET state = 'scheduled' WHERE name = 'a'", "no time to start at"),
        ("UPDATE litequeue_tasks SET holder = 7 WHERE name = 'a'", "ready, but the process 7 holds it"),
        ("UPDATE litequeue_tasks SET finished_at = 7 WHERE name = 'a'", "does not fit the time of its end"),
        ("UPDATE litequeue_tasks SET lane = 'nowhere' WHERE name = 'a'", "in which no worker looks"),
        ("UPDATE litequeue_groups SET remaining = 3", "counts 3 members that have not ended, but there are 2"),
        ("UPDATE litequeue_groups SET remaining = 0, finished_at = 7", "whose members have all ended"),
        ("UPDATE litequeue_groups SET finished_at = 7", "does not fit the time of its end"),
        ("UPDATE litequeue_tasks SET after = 'gone' WHERE name = 'body'", "waits for gone, which is not there"),
        (
            "UPDATE litequeue_tasks SET state = 'succeeded', finished_at = 7 WHERE name = 'first'",
            "which has ended",
        ),
        (
            "INSERT INTO litequeue_attempts (seq, attempt, outcome, error, finished_at) VALUES (99, 1, 'lost', '', 7)",
            "the task number 99, which is not there",
        ),
        ("INSERT INTO litequeue_stamps VALUES ('header', '1', 99)", "a stamp is kept of the task number 99"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, open_driver: Open, statement: str, said: str) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    group = new_group(2)
    members = [driver.member(group, index) for index in range(2)]
    driver.write(*members, group, driver.then(group, name="body"))
    driver.write(*driver.chain("first", "second"))
    driver.enqueue(driver.new("a"))
    assert driver.store.damages() == []
    change(driver.store.path, statement)
    assert said in "\n".join(driver.store.damages())
    assert driver.store.damages() == damages_of(driver.store.path)


def test_no_more_damages_are_listed_than_were_asked_for(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(*(driver.new() for _ in range(20)))
    change(driver.store.path, "UPDATE litequeue_tasks SET finished_at = 7, holder = 3")
    assert len(driver.store.damages(7)) == 7
    assert len(driver.store.damages()) == 40


def test_damaged_pages_are_listed_and_not_raised(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(*(driver.new(payload=LARGE) for _ in range(200)))
    driver.store.close()
    with open(driver.store.path, "r+b") as file:
        file.seek(100 * 2048)
        file.write(b"\xff" * 50 * 2048)
    assert driver.store.damages()
    assert len(driver.store.damages(3)) == 3


# Smaller


@pytest.mark.parametrize("verb", ["shrink", "compact"])
def test_free_pages_are_given_back_to_the_disk(tmp_path: Path, open_driver: Open, verb: str) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    kept = driver.enqueue(*(driver.new(queue="kept") for _ in range(10)))
    driver.enqueue(*(driver.new(payload=LARGE) for _ in range(1000)))
    driver.store.purge(["celery"])
    driver.store.close()
    large = driver.store.file()
    getattr(driver.store, verb)()
    small = driver.store.file()
    assert (small.free_pages, small.wal_size) == (0, 0)
    assert small.size < large.size / 5
    assert driver.store.states(kept) == dict.fromkeys(kept, state.READY)
    driver.check()
    assert small.journal_mode == "wal"


def test_a_queue_in_memory_is_compacted(open_driver: Open) -> None:
    driver = open_driver(":memory:")
    driver.enqueue(driver.new())
    driver.store.compact()
    driver.store.shrink()
    assert driver.store.counts() == {"celery": {"ready": 1}}


def test_the_file_of_another_program_is_left_alone_unless_asked(tmp_path: Path, open_driver: Open) -> None:
    path = tmp_path / "app.db"
    change(path, "CREATE TABLE users (name TEXT); INSERT INTO users VALUES ('ann')")
    driver = open_driver(str(path))
    driver.enqueue(driver.new())
    with pytest.raises(exceptions.StoreForeign, match="users"):
        driver.store.compact()
    change(path, "DROP TABLE users")
    with pytest.raises(exceptions.StoreForeign, match="made by another program"):
        driver.store.compact()
    driver.store.shrink()
    driver.store.compact(force=True)
    assert driver.store.counts() == {"celery": {"ready": 1}}


def test_compacting_a_file_that_somebody_writes_is_busy(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"), busy_budget=0.1)
    driver.enqueue(driver.new())
    other = apsw.Connection(driver.store.path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(exceptions.StoreBusy, match=r"queue\.db"):
        driver.store.compact()
    other.execute("ROLLBACK")
    other.close()
    driver.store.compact()
    assert driver.store.counts() == {"celery": {"ready": 1}}


# Copied


def test_a_copy_is_a_queue_with_the_same_content(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    members, group, body = driver.chord(3)
    driver.write(*members, group, body)
    driver.enqueue(*(driver.new(payload=LARGE) for _ in range(2000)))
    seen: list[tuple[int, int]] = []
    driver.store.backup(str(tmp_path / "copy.db"), lambda left, pages: seen.append((left, pages)))
    assert content(driver.store.path) == content(tmp_path / "copy.db")
    assert seen[-1][0] == 0
    assert len(seen) > 2
    assert {pages for _, pages in seen} == {driver.store.file().pages}
    assert os.stat(tmp_path / "copy.db").st_mode & 0o777 == 0o600 or sys.platform == "win32"
    copy = open_driver(str(tmp_path / "copy.db"), existing=True)
    assert copy.store.file().journal_mode == "wal"
    assert copy.store.damages() == []
    assert not [name for name in files(tmp_path) if "part" in name]


def test_a_copy_has_what_was_there_when_it_began(tmp_path: Path, open_driver: Open) -> None:
    """Whatever is written meanwhile is not in it, and does not make it begin anew."""
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(*(driver.new(payload=LARGE) for _ in range(2000)))
    steps = 0

    def go_on(_left: int, _pages: int) -> None:
        nonlocal steps
        steps += 1
        driver.enqueue(*(driver.new() for _ in range(20)))

    driver.store.backup(str(tmp_path / "copy.db"), go_on)
    assert open_driver(str(tmp_path / "copy.db")).store.counts() == {"celery": {"ready": 2000}}
    assert driver.store.counts() == {"celery": {"ready": 2000 + 20 * steps}}


def test_the_wal_begins_anew_after_a_copy(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"), durability="normal")
    driver.enqueue(*(driver.new(payload=LARGE) for _ in range(2000)))

    def write(_left: int, _pages: int) -> None:
        for _ in range(40):
            driver.enqueue(*(driver.new(payload=LARGE) for _ in range(100)))

    driver.store.backup(str(tmp_path / "copy.db"), write)
    assert driver.store.file().wal_size > 16 << 20
    for _ in range(30):
        driver.enqueue(*(driver.new(payload=LARGE) for _ in range(100)))
    assert driver.store.file().wal_size <= 20 << 20


def test_what_ran_is_taken_back_in_the_copy_and_only_there(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.open_channel()
    again, once = driver.enqueue(driver.new(), driver.new("once"))
    hand = driver.hand(picker=Takes({"add", "once"}, once={"once"}))
    assert hand.claim() == [again, once]
    driver.store.backup(str(tmp_path / "copy.db"))
    copy = open_driver(str(tmp_path / "copy.db"))
    assert copy.store.damages() == []
    rescued = copy.store.rescue(3600, 3)
    assert (rescued.requeued, rescued.failed) == ((again,), (once,))
    assert copy.store.processes() == []
    assert copy.row(again).deaths == 1
    assert [task.id for task in copy.store.dead(DeadFilter())] == [once]
    assert driver.store.rescue(3600, 3).requeued == ()
    hand.succeed(again, once)


def test_a_queue_in_memory_is_copied_to_a_file(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(":memory:")
    ids = driver.enqueue(driver.new())
    driver.store.backup(str(tmp_path / "copy.db"))
    copy = open_driver(str(tmp_path / "copy.db"), existing=True)
    assert copy.store.states(ids) == {ids[0]: state.READY}
    assert copy.store.file().journal_mode == "wal"
    driver.enqueue(driver.new())


def test_an_older_file_is_copied_as_it_is(tmp_path: Path) -> None:
    old_file(tmp_path / "old.db")
    copy_file(str(tmp_path / "old.db"), str(tmp_path / "copy.db"))
    assert look(str(tmp_path / "copy.db"))[0] == 1
    assert look(str(tmp_path / "old.db"))[0] == 1


def test_a_copy_replaces_nothing_unless_asked(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(driver.new())
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    with pytest.raises(FileExistsError, match=r"copy\.db is there already"):
        driver.store.backup(str(copy))
    assert copy.read_text() == "precious"
    driver.store.backup(str(copy), overwrite=True)
    assert content(copy) == content(driver.store.path)


def test_a_copy_replaces_nothing_that_comes_while_it_is_made(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(driver.new())
    copy = tmp_path / "copy.db"
    with pytest.raises(FileExistsError, match=r"copy\.db is there already"):
        driver.store.backup(str(copy), lambda *_: copy.write_text("precious") and None)
    assert copy.read_text() == "precious"
    assert not [name for name in files(tmp_path) if "part" in name]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
def test_a_copy_never_replaces_the_queue(tmp_path: Path, open_driver: Open, suffix: str) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(driver.new())
    with pytest.raises(FileExistsError, match="the queue itself, or belongs to it"):
        driver.store.backup(driver.store.path + suffix, overwrite=True)
    os.symlink(driver.store.path, tmp_path / "link.db")
    with pytest.raises(FileExistsError, match="the queue itself"):
        driver.store.backup(str(tmp_path / "link.db"), overwrite=True)
    assert driver.store.counts() == {"celery": {"ready": 1}}


def test_a_copy_is_not_put_beside_the_wal_of_another_file(tmp_path: Path, open_driver: Open) -> None:
    """SQLite would read that WAL into it."""
    other = open_driver(str(tmp_path / "copy.db"))
    other.enqueue(other.new())
    driver = open_driver(str(tmp_path / "queue.db"))
    with pytest.raises(FileExistsError, match=r"copy\.db-wal is there"):
        driver.store.backup(str(tmp_path / "copy.db"), overwrite=True)
    assert other.store.counts() == {"celery": {"ready": 1}}


def test_a_copy_needs_a_folder(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        driver.store.backup(str(tmp_path / "nowhere" / "copy.db"))
    with pytest.raises(IsADirectoryError):
        driver.store.backup(str(tmp_path))


def test_a_copy_that_is_given_up_leaves_nothing(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(*(driver.new(payload=LARGE) for _ in range(2000)))

    def interrupt(_left: int, _pages: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        driver.store.backup(str(tmp_path / "copy.db"), interrupt)
    assert {name for name in files(tmp_path) if name.startswith("copy")} == set()
    driver.enqueue(driver.new())
    driver.store.backup(str(tmp_path / "copy.db"))


@pytest.mark.skipif(sys.platform == "win32", reason="kills itself by SIGKILL")
def test_a_killed_copy_leaves_no_file_of_its_name_and_the_next_clears_up(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(*(driver.new(payload=LARGE) for _ in range(2000)))
    copy = str(tmp_path / "copy.db")
    program = f"""
        import os, signal
        from litequeue.store import open_store
        from litequeue.store.contract import StoreOptions
        store = open_store({driver.store.path!r}, StoreOptions())
        store.backup({copy!r}, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -9
    assert not os.path.exists(copy)
    assert [name for name in files(tmp_path) if name.startswith("copy.db.part-")]
    driver.store.backup(copy)
    assert {name for name in files(tmp_path) if name.startswith("copy")} == {"copy.db"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_forked_during_a_copy_may_not_use_the_queue(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    driver.enqueue(driver.new())
    codes: list[int] = []

    def fork(_left: int, _pages: int) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                driver.store.counts()
                os._exit(1)
            except exceptions.StoreForked:
                os._exit(0)
            finally:
                os._exit(2)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    driver.store.backup(str(tmp_path / "copy.db"), fork)
    assert set(codes) == {0}
    driver.enqueue(driver.new())
    assert driver.store.counts() == {"celery": {"ready": 2}}


def test_the_workers_of_a_file_are_seen_without_opening_it_as_a_queue(tmp_path: Path, open_driver: Open) -> None:
    driver = open_driver(str(tmp_path / "queue.db"))
    me = process.current()
    driver.store.register(NewProcess(worker="celery@me", role="worker", parent=None, identity=me, queues=()))
    assert look(driver.store.path) == (migrations.VERSION, migrations.VERSION, [("celery@me", me)])
