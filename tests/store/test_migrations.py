"""An older file is led to this schema in one transaction or not at all; a newer one is refused untouched."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import apsw
import pytest

from litequeue import exceptions
from litequeue.core import state
from litequeue.store import open_store
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite import migrations
from tests.store.conftest import Driver

# A version of the schema that is to come, as the steps to it and as the text of a new file would write it.
STEP = migrations.Step(
    migrations.VERSION + 1,
    lambda connection: connection.execute(
        "ALTER TABLE litequeue_tasks ADD COLUMN colour TEXT;"
        "CREATE INDEX litequeue_tasks_colour ON litequeue_tasks (colour);"
        "UPDATE litequeue_tasks SET colour = 'blue'"
    ),
)


def _file_with_tasks(path: Path, count: int = 3) -> tuple[str, ...]:
    driver = Driver(open_store(str(path), StoreOptions()))
    ids = driver.enqueue(*(driver.new() for _ in range(count)))
    driver.store.close()
    return ids


def _next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "VERSION", migrations.VERSION + 1)
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, STEP))


def _shape(path: Path) -> list[tuple[str, ...]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute("SELECT type, name FROM sqlite_schema ORDER BY 1, 2").fetchall()
    columns = connection.execute(
        'SELECT t.name, c.name, c.type, c."notnull" FROM sqlite_schema t, pragma_table_info(t.name) c ORDER BY 1, 2'
    ).fetchall()
    connection.close()
    return [tuple(map(str, row)) for row in (*rows, *columns)]


def test_an_older_file_is_migrated_with_its_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    ids = _file_with_tasks(path)
    _next_version(monkeypatch)
    store = open_store(str(path), StoreOptions())
    assert store.states(ids) == dict.fromkeys(ids, state.READY)
    assert store.connection_info()["schema_version"] == migrations.VERSION
    store.close()
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT DISTINCT colour FROM litequeue_tasks").fetchall() == [("blue",)]
    connection.close()


def test_steps_and_schema_lead_to_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    _file_with_tasks(old)
    text = migrations.schema()
    _next_version(monkeypatch)
    monkeypatch.setattr(
        migrations,
        "schema",
        lambda: (
            text.replace("due_at             REAL ", "due_at REAL, colour TEXT ")
            + "CREATE INDEX litequeue_tasks_colour ON litequeue_tasks (colour);"
        ),
    )
    _file_with_tasks(new)
    open_store(str(old), StoreOptions()).connection_info()
    assert _shape(old) == _shape(new)


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    ids = _file_with_tasks(path)
    before = _shape(path)
    with monkeypatch.context() as patch:
        _next_version(patch)

        def half(connection: apsw.Connection) -> None:
            STEP.run(connection)
            connection.execute("SELECT * FROM no_such_table")

        patch.setattr(migrations, "STEPS", (migrations.Step(migrations.VERSION, half),))
        with pytest.raises(exceptions.OperationalError, match="no_such_table"):
            open_store(str(path), StoreOptions()).states(ids)
    assert _shape(path) == before
    assert set(open_store(str(path), StoreOptions()).states(ids)) == set(ids)


@pytest.mark.parametrize("moment", ["before", "inside", "after the step"])
def test_a_process_that_dies_while_it_migrates_leaves_the_file_as_it_was(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "old.db"
    ids = _file_with_tasks(path, 50)
    before = _shape(path)
    program = f"""
        import os, sys
        from litequeue.store import open_store
        from litequeue.store.contract import StoreOptions
        from litequeue.store.sqlite import migrations

        def step(connection):
            if {moment!r} == "before": os._exit(9)
            connection.execute("ALTER TABLE litequeue_tasks ADD COLUMN colour TEXT")
            if {moment!r} == "inside": os._exit(9)
            connection.execute("UPDATE litequeue_tasks SET colour = 'blue'")
            os._exit(9)

        migrations.VERSION += 1
        migrations.STEPS = (migrations.Step(migrations.VERSION, step),)
        open_store({str(path)!r}, StoreOptions()).connection_info()
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=60, check=False)
    assert ended.returncode == 9
    assert set(open_store(str(path), StoreOptions()).states(ids)) == set(ids)
    assert _shape(path) == before


def test_a_newer_file_is_refused_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new.db"
    with monkeypatch.context() as patch:
        _next_version(patch)
        _file_with_tasks(path)
    before = path.read_bytes()
    with pytest.raises(exceptions.StoreTooNew, match=r"new\.db has schema version"):
        open_store(str(path), StoreOptions()).counts()
    assert path.read_bytes() == before


def test_the_file_of_another_program_keeps_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.execute(
        "PRAGMA user_version=7; PRAGMA application_id=5; CREATE TABLE notes (text); INSERT INTO notes VALUES (1)"
    )
    connection.close()
    ids = _file_with_tasks(path)
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA journal_mode").get == "delete"
    assert connection.execute("PRAGMA user_version").get == 7
    assert connection.execute("PRAGMA application_id").get == 5
    assert connection.execute("SELECT count(*) FROM notes").get == 1
    assert connection.execute("SELECT count(*) FROM litequeue_tasks").get == len(ids)
    connection.close()


@pytest.mark.parametrize("columns", ["id", "key, value"])
def test_clashing_tables_are_refused(tmp_path: Path, columns: str) -> None:
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.execute(f"CREATE TABLE litequeue_meta ({columns})")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(exceptions.StoreForeign, match=r"app\.db"):
        open_store(str(path), StoreOptions()).counts()
    assert path.read_bytes() == before
