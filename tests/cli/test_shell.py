"""`litequeue shell`."""

from __future__ import annotations

import pytest

from litequeue.cli.shell import APP_NAMES, NAMES
from tests.cli.conftest import Project

TASKS = '''

@app.task(name="proj.other.add")
def another():
    pass


@app.task
def group():
    """Has the name of something of the canvas."""
'''


@pytest.mark.parametrize("options", [[], ["--python"], ["-P"]])
def test_what_is_bound(project: Project, options: list[str]) -> None:
    lines = [*(f"print({name!r}, {name})" for name in (*APP_NAMES, *NAMES)), "print(app.main, add.name)"]
    done = project.run("-A", "proj", "shell", *options, text="\n".join(lines) + "\n")
    assert done.returncode == 0
    for name in (*APP_NAMES, *NAMES):
        assert f"{name} <" in done.stdout
    assert "proj proj.add" in done.stdout
    assert "Tasks: add, grow, hold, pid, say" in done.stderr


def test_a_task_can_be_called_there(project: Project) -> None:
    done = project.run("-A", "proj", "shell", "-P", text="print('id', add.delay(1, 2).id)\nchain(add.s(1, 1))()\n")
    task_id = done.stdout.partition("id ")[2].split()[0]
    assert project.app.AsyncResult(task_id).args == [1, 2]


def test_without_tasks(project: Project) -> None:
    done = project.run("-A", "proj", "shell", "-P", "--without-tasks", text="add\n")
    assert "NameError" in done.stderr
    assert "Tasks: none" in done.stderr


def test_a_task_hides_nothing(project: Project) -> None:
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write(TASKS)
    done = project.run("-A", "proj", "-q", "shell", "-P", text="print(group.__module__, add.name)\n")
    assert "litequeue.canvas.groups proj.add" in done.stdout
    assert "Tasks:" not in done.stderr


def test_the_exit_code_is_that_of_the_session(project: Project) -> None:
    assert project.run("-A", "proj", "shell", "-P", text="raise SystemExit(3)\n").returncode == 3


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--eventlet"], 2, "litequeue has no eventlet; leave --eventlet out"),
        (["--gevent"], 2, "litequeue has no gevent; leave --gevent out"),
        (["-I"], 1, "ipython is not installed here; install it, or leave --ipython out"),
        (["--bpython"], 1, "bpython is not installed here"),
    ],
)
def test_what_there_is_not(project: Project, options: list[str], code: int, says: str) -> None:
    hidden = project.folder / "hidden"
    hidden.mkdir()
    for name in ("IPython", "bpython"):
        (hidden / f"{name}.py").write_text("raise ImportError\n")
    path = f"{project.environment['PYTHONPATH']}"
    done = project.run("-A", "proj", "shell", *options, PYTHONPATH=f"{hidden}:{path}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert says in done.stderr


@pytest.mark.parametrize(("option", "module"), [("-I", "IPython"), ("-B", "bpython")])
def test_a_shell_that_is_installed_is_used(project: Project, option: str, module: str) -> None:
    (project.folder / f"{module}.py").write_text(
        "def start_ipython(argv, user_ns):\n    print('ours', user_ns['add'].name)\n\n\n"
        "def embed(names, args, banner):\n    print('ours', names['add'].name)\n"
    )
    for options in ([option], []):
        assert "ours proj.add" in project.run("-A", "proj", "shell", *options).stdout
    assert "ours" not in project.run("-A", "proj", "shell", "-P").stdout
