"""What can be wrong with a file: each gives an exception of ours that names the file and says what to do (P8, P10)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from litequeue import LiteQueue, exceptions
from litequeue.exceptions import (
    OperationalError,
    StoreCorrupt,
    StoreForeign,
    StoreFull,
    StoreMissing,
    StoreMoved,
    StoreTooNew,
)

NOBODY = 65534


def send(path: Path) -> str:
    """What a program does first: send a task. Returns its id."""
    app = LiteQueue("files", broker=str(path), set_as_current=False)
    try:
        return str(app.send_task("add", (1, 2)).id)
    finally:
        app.close()


def refused(kind: type[OperationalError], path: Path, remedy: str) -> None:
    """Sending to `path` raises `kind`, whose message names the file and says `remedy`."""
    with pytest.raises(kind, match=remedy) as raised:
        send(path)
    assert str(path) in str(raised.value)


def contents(path: Path) -> bytes:
    """The bytes of a file that nobody has open."""
    return path.read_bytes()


def other_program(path: Path, *statements: str) -> None:
    """Another program's database."""
    db = apsw.Connection(str(path))
    for statement in statements:
        db.execute(statement).fetchall()
    db.close()


# What is in the file


@pytest.mark.parametrize(
    "garbage", [b"not a database", b"plain text, and more than a page of it\n" * 200, os.urandom(5000)]
)
def test_a_file_that_is_not_sqlite(tmp_path, garbage):
    path = tmp_path / "notes.txt"
    path.write_bytes(garbage)
    refused(StoreForeign, path, "another path")
    assert contents(path) == garbage
    assert os.listdir(tmp_path) == ["notes.txt"] or not {"notes.txt-wal", "notes.txt-shm"} & set(os.listdir(tmp_path))


@pytest.mark.parametrize("table", ["litequeue_tasks", "litequeue_meta", "litequeue_processes"])
def test_another_programs_database_with_clashing_tables(tmp_path, table):
    path = tmp_path / "theirs.db"
    other_program(path, f"CREATE TABLE {table}(a, b)", f"INSERT INTO {table} VALUES (1, 2)")
    before = contents(path)
    refused(StoreForeign, path, "another path")
    assert contents(path) == before


def test_a_meta_table_without_a_version_is_another_programs(tmp_path):
    path = tmp_path / "theirs.db"
    other_program(
        path, "CREATE TABLE litequeue_meta(key, value)", "INSERT INTO litequeue_meta VALUES ('schema_version', 'x')"
    )
    before = contents(path)
    refused(StoreForeign, path, "another path")
    assert contents(path) == before


def test_another_programs_database_is_shared_and_its_settings_are_left_alone(tmp_path):
    path = tmp_path / "theirs.db"
    other_program(
        path,
        "PRAGMA application_id=77",
        "PRAGMA user_version=5",
        "CREATE TABLE theirs(n)",
        "INSERT INTO theirs VALUES (1)",
    )
    send(path)
    db = apsw.Connection(str(path))
    for pragma, value in [("application_id", 77), ("user_version", 5), ("journal_mode", "delete"), ("auto_vacuum", 0)]:
        assert db.execute(f"PRAGMA {pragma}").get == value
    assert db.execute("SELECT n FROM theirs").get == 1
    assert db.execute("SELECT count(*) FROM litequeue_tasks").get == 1
    db.close()


def test_a_file_of_a_newer_version_is_refused_untouched(tmp_path):
    path = tmp_path / "queue.db"
    send(path)
    other_program(
        path, "UPDATE litequeue_meta SET value = 999 WHERE key = 'schema_version'", "PRAGMA journal_mode=delete"
    )
    before = contents(path)
    refused(StoreTooNew, path, "Upgrade litequeue")
    assert contents(path) == before


def test_damaged_pages_stop_this_process_from_writing(tmp_path):
    path = tmp_path / "queue.db"
    app = LiteQueue("files", broker=str(path), set_as_current=False)
    ids = [app.send_task("add", ("x" * 500,)).id for _ in range(200)]
    app.close()
    data = bytearray(contents(path))
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 600] = b"\xff" * 600
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt, match="backup") as raised:
        for task_id in ids:
            app.store.task(task_id)
    assert str(path) in str(raised.value)
    with pytest.raises(StoreCorrupt):
        app.send_task("add")
    app.close()


# Where the file is


def test_a_missing_folder(tmp_path):
    refused(StoreMissing, tmp_path / "no" / "such" / "queue.db", "Make it")
    assert os.listdir(tmp_path) == []


def test_a_path_that_is_a_folder(tmp_path):
    refused(StoreForeign, tmp_path, "path of a file")


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    refused(StoreMissing, tmp_path / "file" / "queue.db", "Make it|another path")


# Who may write it


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that another user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="litequeue-"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


def as_nobody(act: Callable[[], object]) -> tuple[str, str]:
    """Run `act` in a child without privileges; (name of the exception that it raised, its message)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = ("", "")
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            act()
        except Exception as error:
            answer = (type(error).__name__, str(error))
        finally:
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        name, text = json.load(pipe)
    os.waitpid(pid, 0)
    return name, text


pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
unix_users = pytest.mark.skipif(not hasattr(os, "setuid"), reason="no users like those of Unix")


def give_away(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)


@unix_users
def test_a_read_only_file(public):
    path = public / "queue.db"
    send(path)
    for name in os.listdir(public):
        give_away(public / name)
    path.chmod(0o444)
    name, text = as_nobody(lambda: send(path))
    assert name == "StoreReadOnly", text
    assert str(path) in text
    assert "permissions" in text


@unix_users
@pytest.mark.parametrize("exists", [False, True], ids=["new file", "queue"])
def test_a_read_only_folder(public, exists):
    path = public / "queue.db"
    if exists:
        send(path)
        for name in os.listdir(public):
            give_away(public / name)
            if name != "queue.db":
                (public / name).unlink()
    public.chmod(0o555)
    name, text = as_nobody(lambda: send(path))
    assert name == "StoreReadOnly", text
    assert str(path) in text
    assert "folder" in text or str(public) in text


@unix_users
def test_a_file_of_another_user(public):
    path = public / "queue.db"
    send(path)
    path.chmod(0o600)
    if os.getuid() != 0:
        path.chmod(0o000)
    name, text = as_nobody(lambda: send(path))
    path.chmod(0o600)
    assert issubclass(getattr(exceptions, name), OperationalError), text
    assert str(path) in text
    assert "this user" in text


def test_a_new_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "queue.db"
    app = LiteQueue("files", broker=str(path), set_as_current=False)
    app.send_task("add")
    for name in os.listdir(tmp_path):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
    app.close()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can mount a small disk")
def test_a_real_disk_that_is_full(tmp_path):
    """A tmpfs of half a megabyte: StoreFull, reading goes on, and with space the same app goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        path = disk / "queue.db"
        app = LiteQueue("files", broker=str(path), set_as_current=False)
        sent = []
        with pytest.raises(StoreFull, match="Free space") as raised:
            for _ in range(1000):
                sent.append(app.send_task("add", ("x" * 3000,)).id)
        assert str(path) in str(raised.value)
        assert len(app.store.states(sent)) == len(sent)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        sent.append(app.send_task("add", ("x" * 3000,)).id)
        assert len(app.store.states(sent)) == len(sent)
        app.close()
    finally:
        subprocess.run(["umount", str(disk)], check=False)


# What happens to the file while it is open


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQueue]:
    """An app that has its file open."""
    opened = LiteQueue("files", broker=str(tmp_path / "queue.db"), set_as_current=False)
    opened.send_task("add")
    opened.store.counts()
    yield opened
    opened.close()


def every_use_is_refused(app: LiteQueue, remedy: str) -> None:
    """Writing and reading raise StoreMoved; nothing is acknowledged into nothing."""
    for act in (
        lambda: app.send_task("add"),
        lambda: app.store.counts(),
        lambda: app.store.revoke(["x"]),
    ):
        with pytest.raises(StoreMoved, match=remedy) as raised:
            act()
        assert app.store.path in str(raised.value)


def test_a_file_that_is_moved_while_it_is_open(app, tmp_path):
    os.rename(app.store.path, tmp_path / "moved.db")
    every_use_is_refused(app, "Put it back")
    os.rename(tmp_path / "moved.db", app.store.path)
    app.send_task("add")
    assert app.store.counts() == {"celery": {"ready": 2}}


def test_a_file_that_is_deleted_while_it_is_open(app):
    os.unlink(app.store.path)
    every_use_is_refused(app, "restart")


def test_a_file_that_is_replaced_while_it_is_open(app, tmp_path):
    other = tmp_path / "other.db"
    send(other)
    os.replace(other, app.store.path)
    every_use_is_refused(app, "Restart")
    assert contents(Path(app.store.path))[:6] == b"SQLite"


def test_a_folder_that_is_moved_while_it_is_open(tmp_path):
    (tmp_path / "a").mkdir()
    app = LiteQueue("files", broker=str(tmp_path / "a" / "queue.db"), set_as_current=False)
    app.send_task("add")
    os.rename(tmp_path / "a", tmp_path / "b")
    with pytest.raises(StoreMoved, match="Put it back"):
        app.send_task("add")
    app.close()


def test_a_refusal_is_no_end(tmp_path):
    """The same app works once the reason is gone."""
    path = tmp_path / "later" / "queue.db"
    app = LiteQueue("files", broker=str(path), set_as_current=False)
    with pytest.raises(StoreMissing):
        app.send_task("add")
    path.parent.mkdir()
    app.send_task("add")
    assert app.store.counts() == {"celery": {"ready": 1}}
    app.close()
