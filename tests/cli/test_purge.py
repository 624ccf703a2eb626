"""`litequeue purge`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Project


def test_purge_asks_first(project: Project) -> None:
    result = project.send("add", 1, 1)
    done = project.run("-A", "proj", "purge", text="n\n")
    assert done.returncode == 1
    assert str(project.file) in done.stdout
    assert project.engine_state(result) == "ready"
    done = project.run("-A", "proj", "purge", text="y\n")
    assert done.returncode == 0
    assert "Purged 1 task from queue celery." in done.stdout
    assert not result.exists()


def test_purge_by_force_says_what_it_did(project: Project) -> None:
    for _ in range(3):
        project.send("add", 1, 1)
    assert project.run("-A", "proj", "purge", "-f").stdout == "Purged 3 tasks from queue celery.\n"
    assert project.run("-A", "proj", "purge", "-f").stdout == "Nothing to purge in queue celery.\n"


def test_purge_without_an_answer_deletes_nothing(project: Project) -> None:
    result = project.send("add", 1, 1)
    assert project.run("-A", "proj", "purge").returncode == 130
    assert project.engine_state(result) == "ready"


@pytest.mark.parametrize(("argv", "left"), [(["-Q", "a"], "b"), (["-Q", "a,b", "-X", "a"], "a")])
def test_purge_takes_the_chosen_queues_only(project: Project, argv: list[str], left: str) -> None:
    results = {name: project.send("add", 1, 1, queue=name) for name in "ab"}
    project.run("-A", "proj", "purge", "-f", *argv)
    assert [name for name, result in results.items() if result.exists()] == [left]


def test_purge_says_where_there_is_no_such_queue(project: Project) -> None:
    project.send("add", 1, 1, queue="mail")
    done = project.run("-A", "proj", "purge", "-f", "-Q", "mial,nope")
    assert (done.returncode, done.stdout) == (0, "Nothing to purge in queues mial, nope.\n")
    assert done.stderr == (
        "litequeue: there is no queue 'mial'; did you mean 'mail'?\n"
        "litequeue: there is no queue 'nope'; no app declares it, and no task or worker has used it.\n"
    )
    done = project.run("-A", "proj", "purge", "-f", "-Q", "mail,celery")
    assert (done.stdout, done.stderr) == ("Purged 1 task from queues mail, celery.\n", "")


def test_purge_needs_no_app_where_the_file_is_given(project: Project) -> None:
    project.send("add", 1, 1)
    done = project.run("-b", str(project.file), "purge", "-f")
    assert done.stdout == "Purged 1 task from queue celery.\n", done.stderr
