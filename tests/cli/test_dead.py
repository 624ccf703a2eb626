"""`litequeue dead`, `litequeue retry`, `litequeue discard`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from litequeue.cli.main import litequeue
from tests.cli.conftest import Project, wait_until

COMMANDS = ("dead", "retry", "discard")
DOCS = Path(__file__).parents[2] / "docs" / "dead-letters.md"

TASKS = '''

@app.task
def flip(x):
    """Fail as long as there is a file `broken`."""
    if Path("broken").exists():
        raise ValueError(f"no {x}")
    return x
'''


@pytest.fixture
def broken(project: Project) -> Project:
    """A project whose tasks `flip` fail."""
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write(TASKS)
    (project.folder / "broken").touch()
    return project


def fail(project: Project, *results: object) -> list[str]:
    """Run the tasks; their ids."""
    done = project.run("-A", "proj", "worker", "--burst", "-P", "solo", "-l", "ERROR", "-Q", "celery,mail")
    assert done.returncode == 0, done.stderr
    return [result.id for result in results]  # type: ignore[attr-defined]


def test_a_list_has_a_line_for_each(broken: Project) -> None:
    nothing = broken.run("-A", "proj", "dead")
    assert (nothing.returncode, nothing.stdout) == (1, "") and "there is no such file" in nothing.stderr
    broken.send("add", 1, 2)
    assert broken.run("-A", "proj", "dead").stdout == "No dead letters.\n"
    ids = fail(broken, broken.send("flip", 1), broken.send("flip", 2, queue="mail"))
    heading, *lines = broken.run("-A", "proj", "dead").stdout.splitlines()
    assert heading.split() == ["id", "name", "queue", "when", "error"]
    assert [line.split()[0] for line in lines] == ids[::-1]
    assert lines[0].split()[1:3] == ["proj.flip", "mail"]
    assert lines[0].endswith("ValueError: no 2")


def test_a_list_can_be_narrowed_and_given_as_json(broken: Project) -> None:
    first, second = fail(broken, broken.send("flip", 1), broken.send("flip", 2, queue="mail"))

    def listed(*options: str) -> list[str]:
        done = broken.run("-b", str(broken.file), "dead", "--json", *options)
        assert done.returncode == 0, done.stderr
        return [each["id"] for each in json.loads(done.stdout)]

    assert listed() == listed("--name", "proj.flip", "--error", "ValueError", "--since", "1h") == [second, first]
    assert listed("-Q", "mail") == listed("--limit", "1") == [second]
    assert listed("--before", "2000-01-01") == listed("--state", "revoked") == listed("--error", "OSError") == []
    done = broken.run("-A", "proj", "dead", "--limit", "1")
    assert "the newest 1" in done.stderr


def test_show_has_the_whole_history(broken: Project) -> None:
    (task_id,) = fail(broken, broken.send("flip", 7))
    assert broken.run("-A", "proj", "retry", task_id).returncode == 0
    fail(broken)
    text = broken.run("-A", "proj", "dead", "show", task_id).stdout
    for part in ("proj.flip(7)", "FAILURE", "attempt 1: failed", "attempt 2: failed", "Traceback (most recent call"):
        assert part in text, text
    record = json.loads(broken.run("-A", "proj", "dead", "show", task_id, "--json").stdout)
    assert [each["attempt"] for each in record["attempts"]] == [1, 2]
    assert record["error"] == "ValueError: no 7"
    done = broken.run("-A", "proj", "dead", "show", "nobody")
    assert done.returncode == 1
    assert "no task nobody" in done.stderr


def test_retry_runs_them_again(broken: Project) -> None:
    results = [broken.send("flip", number) for number in range(3)]
    fail(broken)
    (broken.folder / "broken").unlink()
    done = broken.run("-A", "proj", "retry", results[0].id)
    assert (done.returncode, done.stdout) == (0, "Retried 1 task.\n")
    done = broken.run("-A", "proj", "retry", "--error", "ValueError", "--json")
    assert json.loads(done.stdout) == {"ready": [result.id for result in results[1:]], "refused": {}}
    worker = broken.worker("-P", "solo")
    wait_until(lambda: all(result.ready() for result in results))
    assert [result.get(timeout=5) for result in results] == [0, 1, 2]
    assert worker.stop() == 0
    assert broken.run("-A", "proj", "retry", "--all").stdout == "Nothing was retried.\n"


def test_retry_says_why_one_cannot_be_run_again(broken: Project) -> None:
    result = broken.send("add", 1, 1)
    (failed,) = fail(broken, broken.send("flip", 1))
    done = broken.run("-A", "proj", "retry", result.id, failed, "nobody")
    assert done.returncode == 1
    assert done.stdout == "Retried 1 task.\n"
    assert f"{result.id}: it is succeeded" in done.stderr
    assert "nobody: " in done.stderr


@pytest.mark.parametrize("command", ["retry", "discard"])
def test_something_must_say_which(project: Project, command: str) -> None:
    for options in ([], ["--state", "revoked"]):
        done = project.run("-A", "proj", command, *options)
        assert done.returncode == 2
        assert "--all" in done.stderr


def test_discard_asks_before_it_deletes_several(broken: Project) -> None:
    ids = fail(broken, *(broken.send("flip", number) for number in range(3)))
    done = broken.run("-A", "proj", "discard", "--all", text="n\n")
    assert done.returncode == 1
    assert "3 tasks" in done.stdout
    assert broken.run("-A", "proj", "discard", ids[0]).stdout == "Discarded 1 task.\n"
    done = broken.run("-A", "proj", "discard", "--all", text="y\n")
    assert done.returncode == 0
    assert done.stdout.endswith("Discarded 2 tasks.\n")
    assert broken.run("-A", "proj", "dead").stdout == "No dead letters.\n"


def test_discard_by_force_and_of_what_is_not_there(broken: Project) -> None:
    fail(broken, *(broken.send("flip", number) for number in range(2)))
    done = broken.run("-A", "proj", "discard", "-f", "--name", "proj.flip", "--json")
    assert json.loads(done.stdout) == {"discarded": 2, "missing": []}
    done = broken.run("-A", "proj", "discard", "nobody")
    assert done.returncode == 1
    assert "nobody: no such dead letter" in done.stderr


def test_revoked_tasks_are_named_by_their_state(project: Project) -> None:
    result = project.send("add", 1, 1)
    result.revoke()
    assert result.id not in project.run("-A", "proj", "dead").stdout
    assert result.id in project.run("-A", "proj", "dead", "--state", "revoked").stdout
    assert project.run("-A", "proj", "retry", "--all", "--state", "all").stdout == "Retried 1 task.\n"


def options() -> list[str]:
    """Every option of the three commands."""
    found = set()
    for name in COMMANDS:
        command = litequeue.get_command(click.Context(litequeue), name)
        assert command is not None
        found |= {
            flag
            for param in command.params
            if isinstance(param, click.Option) and not param.hidden
            for flag in param.opts
        }
    return sorted(found)


@pytest.mark.parametrize("flag", options())
def test_every_option_is_explained(flag: str) -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert any(f"`{flag}" in row for row in rows), flag


@pytest.mark.parametrize("text", ["soon", "abcd", "2030-13-01", "1w"])
def test_a_time_that_is_none(project: Project, text: str) -> None:
    for option in ("--since", "--before"):
        done = project.run("-A", "proj", "dead", option, text)
        assert done.returncode == 2
        assert f"{text!r} is no time; write '2030-01-31 09:00', or how long ago: 30m, 2h, 1d" in done.stderr
