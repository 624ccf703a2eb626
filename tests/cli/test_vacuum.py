"""`litequeue vacuum`."""

from __future__ import annotations

import json
import os

import apsw
import pytest

from tests.cli.conftest import Project


def fill(project: Project) -> None:
    """Three tasks past their retention, many deleted ones, and one that stays."""
    store = project.app.store
    results = [project.send("add", "x" * 2000, "y") for _ in range(600)]
    ended = project.send("add", 1, 2, queue="ended")
    project.send("add", 1, 2, queue="kept")
    store.revoke([ended.id])
    store.purge(["celery"])
    project.app.close()
    assert len(results) == 600
    connection = apsw.Connection(str(project.file))
    connection.execute("UPDATE litequeue_tasks SET prune_at = 1 WHERE queue = 'ended'")
    connection.close()


@pytest.mark.parametrize("options", [[], ["--full"]])
def test_what_is_over_is_deleted_and_the_file_becomes_smaller(project: Project, options: list[str]) -> None:
    fill(project)
    before = os.path.getsize(project.file)
    done = project.run("-A", "proj", "vacuum", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Pruned 1 task past the retention or the expiry.\n")
    assert f"{project.file}: " in done.stdout
    assert " before, " in done.stdout
    assert os.path.getsize(project.file) < before / 5
    assert project.app.store.counts() == {"kept": {"ready": 1}}


def test_json_has_the_sizes(project: Project) -> None:
    fill(project)
    found = json.loads(project.run("-A", "proj", "vacuum", "--json").stdout)
    assert (found["file"], found["pruned"]) == (str(project.file), 1)
    assert found["before"]["free"] > found["after"]["free"] == 0
    assert found["after"] == {"size": os.path.getsize(project.file), "wal_size": 0, "free": 0}


def test_a_file_that_another_program_uses_is_written_anew_only_by_force(project: Project) -> None:
    connection = apsw.Connection(str(project.file))
    connection.execute("CREATE TABLE users (name TEXT)")
    connection.close()
    project.send("add", 1, 2)
    project.app.close()
    done = project.run("-A", "proj", "vacuum", "--full")
    assert done.returncode == 1
    assert "users" in done.stderr
    assert "`litequeue vacuum --full --force` does it." in done.stderr
    assert project.run("-A", "proj", "vacuum", "--full", "--force").returncode == 0
    assert project.run("-A", "proj", "vacuum").returncode == 0


def test_force_alone_is_refused(project: Project) -> None:
    project.send("add", 1, 2)
    assert project.run("-A", "proj", "vacuum", "--force").returncode == 2


def test_a_file_that_is_held_is_one_line(project: Project) -> None:
    project.send("add", 1, 2)
    (project.folder / "hasty.py").write_text("busy_timeout = 0.1\n", encoding="utf-8")
    holder = apsw.Connection(str(project.file))
    holder.execute("BEGIN IMMEDIATE")
    done = project.run("-A", "proj", "--config", "hasty", "vacuum", "--full")
    holder.execute("ROLLBACK")
    holder.close()
    assert done.returncode == 1
    assert "Another program keeps the file locked" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_workers_go_on(project: Project) -> None:
    held = project.hold("held")
    worker = project.worker("-c", "2")
    project.started("held")
    for options in ([], ["--full"]):
        assert project.run("-A", "proj", "vacuum", *options).returncode == 0
        assert project.send("add", 1, 2).get(timeout=30) == 3
    project.release("held")
    assert held.get(timeout=30)
    assert worker.stop() == 0
