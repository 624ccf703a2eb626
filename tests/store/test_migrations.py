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
from tests.store.conftest import ERROR, Driver, canvas

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
        'SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk'
        " FROM sqlite_schema t, pragma_table_info(t.name) c ORDER BY 1, 2"
    ).fetchall()
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
    ).fetchall()
    connection.close()
    return [tuple(" ".join(str(value).split()) for value in row) for row in (*rows, *columns, *indexes)]


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
            text.replace("unique_until       REAL ", "unique_until REAL, colour TEXT ")
            + "CREATE INDEX litequeue_tasks_colour ON litequeue_tasks (colour);"
        ),
    )
    _file_with_tasks(new)
    open_store(str(old), StoreOptions()).connection_info()
    assert _shape(old) == _shape(new)


# Version 1, the first that was released


def _file_of_version_1(path: Path) -> dict[str, str]:
    """A file as version 1 made and used it, with tasks in every state of then: {id: state}."""
    connection = apsw.Connection(str(path))
    for pragma in ("page_size=2048", "auto_vacuum=INCREMENTAL", f"application_id={migrations.APPLICATION_ID}"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute((Path(__file__).parent / "schema_1.sql").read_text(encoding="utf-8"))
    connection.execute("INSERT INTO litequeue_meta VALUES ('schema_version', 1)")
    ended = ("succeeded", "failed", "revoked", "ignored")
    rows = {f"{name}-{number}": name for name in ("ready", "scheduled", "running", *ended) for number in range(2)}
    for task_id, name in rows.items():
        connection.execute(
            """
            INSERT INTO litequeue_tasks
                (id, name, queue, lane, priority, state, payload, serializer, ignore_result, retries, enqueued_at,
                 run_at, expires_at, attempt, holder, worker, pid, started_at, finished_at, prune_at, result,
                 result_serializer, group_id, group_index, parent_id, options)
            VALUES (?1, 'add', 'celery', 'celery', 0, ?2, '[[1, 2], {}]', 'json', 0, 0, 1.0, ?3, ?4, ?5, ?6, 'w', 9,
                    1.0, ?7, ?8, ?9, ?10, 'some group', 3, 'father', '{"shadow": "x"}')
            """,
            (
                task_id,
                name,
                4e9 if name == "scheduled" else None,
                5e9 if name in ("ready", "scheduled") else None,
                0 if name in ("ready", "scheduled") else 1,
                1 if name == "running" else None,
                2.0 if name in ended else None,
                6e9 if name in ended else None,
                {"succeeded": "3", "failed": ERROR.data, "revoked": ERROR.data}.get(name),
                {"succeeded": "json", "failed": "error", "revoked": "error"}.get(name),
            ),
        )
    connection.execute(
        "INSERT INTO litequeue_attempts SELECT seq, 1, 'failed', result, 'Traceback', 'w', 1.0, 2.0"
        " FROM litequeue_tasks WHERE state = 'failed'"
    )
    connection.execute(
        "INSERT INTO litequeue_processes (worker, role, host, boot, namespace, pid, started, queues, started_at,"
        " heartbeat_at, info) VALUES ('w', 'worker', 'here', 'an earlier boot', '', 9, '1', '[]', 1.0, 1.0, '{}')"
    )
    connection.close()
    return rows


def test_a_file_of_version_1_has_the_shape_of_a_new_one_afterwards(tmp_path: Path) -> None:
    _file_of_version_1(tmp_path / "old.db")
    for name in ("old.db", "new.db"):
        store = open_store(str(tmp_path / name), StoreOptions())
        assert store.connection_info()["schema_version"] == migrations.VERSION
        store.close()
    assert _shape(tmp_path / "old.db") == _shape(tmp_path / "new.db")


def test_the_tasks_of_version_1_are_as_they_were_and_go_on(tmp_path: Path) -> None:
    rows = _file_of_version_1(tmp_path / "old.db")
    driver = Driver(open_store(str(tmp_path / "old.db"), StoreOptions()))
    assert driver.store.states(list(rows)) == rows
    record = driver.row("succeeded-0")
    assert (record.result, record.group_id, record.group_index, record.options) == (
        "3",
        "some group",
        3,
        '{"shadow": "x"}',
    )
    assert (record.ties, record.after, record.takes_input, record.errbacks) == (0, None, False, None)
    assert [attempt.outcome for attempt in driver.store.attempts("failed-0")] == ["failed"]
    driver.check()
    assert set(driver.store.rescue(0.0, 3).requeued) == {"running-0", "running-1"}
    link = driver.then(driver.new(id="ready-0"), edge="link")
    assert driver.store.attach("ready-0", canvas(link), [driver.new("eb")])
    late = driver.then(driver.new(id="succeeded-1"), edge="link")
    assert driver.store.attach("succeeded-1", canvas(late))
    hand = driver.hand()
    assert set(hand.run_all()) == {"ready-0", "ready-1", "running-0", "running-1", link.id, late.id}
    assert driver.store.revoke(["scheduled-0", "some group"]) == ("scheduled-0",), "it was a name then, not a group"
    driver.store.prune(100)
    assert driver.store.forget(["failed-1"]) == 1
    driver.check()
    driver.store.close()


@pytest.mark.parametrize("version", [step.version for step in migrations.STEPS])
def test_every_step_of_today_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    path = tmp_path / "old.db"
    rows = _file_of_version_1(path)
    before = _shape(path)
    with monkeypatch.context() as patch:

        def half(step: migrations.Step) -> migrations.Step:
            def run(connection: apsw.Connection) -> None:
                step.run(connection)
                connection.execute("SELECT * FROM no_such_table")

            return step._replace(run=run) if step.version == version else step

        patch.setattr(migrations, "STEPS", tuple(map(half, migrations.STEPS)))
        with pytest.raises(exceptions.OperationalError, match="no_such_table"):
            open_store(str(path), StoreOptions()).states(["x"])
    assert _shape(path) == before
    assert open_store(str(path), StoreOptions()).states(list(rows)) == rows


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
