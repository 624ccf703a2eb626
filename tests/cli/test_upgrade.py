"""`litequeue upgrade`."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from litequeue.core import process
from litequeue.store import look
from litequeue.store.sqlite.migrations import VERSION
from tests.cli.conftest import Project

SCHEMA_1 = Path(__file__).parents[1] / "store" / "schema_1.sql"


@pytest.fixture
def old(project: Project) -> Project:
    """A project whose file is of version 1."""
    connection = apsw.Connection(str(project.file))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(SCHEMA_1.read_text(encoding="utf-8"))
    connection.execute("INSERT INTO litequeue_meta VALUES ('schema_version', 1)")
    connection.close()
    return project


def test_an_older_file_is_brought_up_to_date(old: Project) -> None:
    done = old.run("-A", "proj", "upgrade")
    assert (done.returncode, done.stdout) == (0, f"Upgraded {old.file} from schema version 1 to {VERSION}.\n")
    assert look(str(old.file))[0] == VERSION
    assert old.send("add", 1, 2).state == "PENDING"


def test_check_says_what_would_be_done_and_does_nothing(old: Project) -> None:
    before = old.file.read_bytes()
    done = old.run("-A", "proj", "upgrade", "--check")
    assert done.returncode == 1
    assert done.stdout == f"{old.file} has schema version 1; `litequeue upgrade` would bring it to {VERSION}.\n"
    assert old.file.read_bytes() == before
    found = json.loads(old.run("-A", "proj", "upgrade", "--check", "--json").stdout)
    assert found == {"file": str(old.file), "version": 1, "newest": VERSION, "needed": True, "upgraded": False}


def test_a_file_of_this_version_needs_nothing(project: Project) -> None:
    project.send("add", 1, 2)
    for options in ([], ["--check"], ["--backup", "copy.db"]):
        done = project.run("-A", "proj", "upgrade", *options)
        assert done.returncode == 0
        assert done.stdout == f"{project.file} has schema version {VERSION}, the newest. There is nothing to do.\n"
    assert not (project.folder / "copy.db").exists()


def test_a_copy_of_the_older_file_is_made_first(old: Project) -> None:
    done = old.run("-A", "proj", "upgrade", "--backup", "before.db", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["upgraded"] is True
    assert look(str(old.folder / "before.db"))[0] == 1
    assert look(str(old.file))[0] == VERSION


def test_without_the_copy_nothing_is_changed(old: Project) -> None:
    (old.folder / "before.db").write_text("precious")
    done = old.run("-A", "proj", "upgrade", "--backup", "before.db")
    assert done.returncode == 1
    assert "was not overwritten" in done.stderr
    assert look(str(old.file))[0] == 1


def test_a_newer_file_is_refused(project: Project) -> None:
    project.send("add", 1, 2)
    project.app.close()
    connection = apsw.Connection(str(project.file))
    connection.execute("UPDATE litequeue_meta SET value = 99 WHERE key = 'schema_version'")
    connection.close()
    for options in ([], ["--check"]):
        done = project.run("-A", "proj", "upgrade", *options)
        assert done.returncode == 1
        assert f"has schema version 99, this litequeue knows {VERSION}. Upgrade litequeue" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_file_that_workers_use_is_left_alone_unless_forced(old: Project) -> None:
    """The workers here are this process: it runs, as the older version's would."""
    me = process.current()
    connection = apsw.Connection(str(old.file))
    connection.execute(
        "INSERT INTO litequeue_processes (worker, role, host, boot, namespace, pid, started, queues, started_at,"
        " heartbeat_at, info) VALUES ('celery@old', 'worker', ?, ?, ?, ?, ?, '[]', 1.0, 1.0, '{}')",
        (me.host, me.boot, me.namespace, me.pid, me.started),
    )
    connection.close()
    done = old.run("-A", "proj", "upgrade")
    assert done.returncode == 1
    assert f"celery@old (pid {me.pid}) of the older version" in done.stderr
    assert look(str(old.file))[0] == 1
    assert old.run("-A", "proj", "upgrade", "--force").returncode == 0


def test_a_queue_in_memory_has_nothing_to_upgrade(project: Project) -> None:
    done = project.run("-A", "proj", "-b", ":memory:", "upgrade")
    assert done.returncode == 1
    assert "in memory" in done.stderr


def test_a_folder_is_no_queue(project: Project) -> None:
    done = project.run("-b", ".", "upgrade", "--check")
    assert done.returncode == 1
    assert done.stderr == f"litequeue: {project.folder} is a folder. Give broker= the path of a file.\n"
