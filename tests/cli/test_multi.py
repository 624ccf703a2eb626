"""`litequeue multi`: nodes and options as Celery has them, and real workers started and ended by it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from litequeue.cli.main import run
from litequeue.cli.worker import worker
from litequeue.multi import cluster, parsing
from litequeue.multi.cluster import has_ended
from litequeue.multi.nodes import Node, Nodes
from litequeue.multi.pidfile import holder
from litequeue.utils.nodenames import gethostname
from tests.cli.conftest import Project, wait_until

HOST = gethostname()

Multi = Callable[..., "subprocess.CompletedProcess[str]"]


def printed(*argv: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of `litequeue multi ...` on stdout, with the host called halcyon and Python called python."""
    assert run(["multi", *argv]) == 0
    out = capsys.readouterr().out.replace(sys.executable, "python")
    return [line.replace(f"@{HOST}", "@halcyon") for line in out.splitlines()]


# What Celery prints

WRITTEN = (Path(__file__).parent / "celery_multi.txt").read_text(encoding="utf-8")
CELERY = [(block.splitlines()[0], block.splitlines()[1:]) for block in WRITTEN.split("$ celery multi ")[1:]]


def as_ours(line: str) -> str:
    """A line that Celery has printed, with our names; pid and log files are in the current folder here."""
    for theirs, ours in (
        ("-m celery ", "-m litequeue "),
        ("=/var/run/celery/", "="),
        ("=/var/log/celery/", "="),
    ):
        line = line.replace(theirs, ours)
    return line


@pytest.mark.parametrize(("command", "expected"), CELERY, ids=[command for command, _ in CELERY])
def test_as_celery_prints_it(command: str, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["multi", *shlex.split(command.replace("halcyon", HOST))]) == 0
    found = capsys.readouterr().out.replace(sys.executable, "python").splitlines()
    assert found == [as_ours(line).replace("halcyon", HOST) for line in expected]


# What Celery does not, or does without a word to something else

DEFAULTS = "--pidfile={0}.pid --logfile={0}%I.log --executable=python"


def options(line: str) -> str:
    """The options of one node, without those that every node has."""
    words = line.split(" --detach")[1].split()
    return " ".join(word for word in words if not word.startswith(("--pidfile", "--logfile", "--executable")))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("3 -c:celery1 10", ["-c 10 -n celery1@halcyon", "-n celery2@halcyon", "-n celery3@halcyon"]),
        ("2 --range-prefix=w -c:w2 10", ["-n w1@halcyon", "-c 10 -n w2@halcyon"]),
        ("a b c -c:1-2 10", ["-c 10 -n a@halcyon", "-c 10 -n b@halcyon", "-n c@halcyon"]),
        ("a b c -c:2-9 10", ["-n a@halcyon", "-c 10 -n b@halcyon", "-c 10 -n c@halcyon"]),
        ("a b c -c:a,2-3 1", ["-c 1 -n a@halcyon", "-c 1 -n b@halcyon", "-c 1 -n c@halcyon"]),
        ("x-1 2-3 -c:2-3 10", ["-n x-1@halcyon", "-c 10 -n 2-3@halcyon"]),
        ("-E w1", ["-E -n w1@halcyon"]),
        ("-B:1 w1 w2", ["-B -n w1@halcyon", "-n w2@halcyon"]),
        ("w1 --queues mail --loglevel:1 debug", ["--queues=mail --loglevel=debug -n w1@halcyon"]),
        ("kramer@ -c 1", ["-c 1 -n kramer@halcyon"]),
        ("w1 -c4 -linfo", ["-c 4 -l info -n w1@halcyon"]),
        ("w1 -Q 'a b'", ["-Q 'a b' -n w1@halcyon"]),
        ("w1 --append='a=1 b=2'", ["-n w1@halcyon a=1 b=2"]),
    ],
)
def test_better_than_celery(command: str, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("show", *shlex.split(command), capsys=capsys)
    assert [options(line) for line in lines] == expected


def test_p_is_the_pid_file(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed("show", "w1", "-p", "x.pid", capsys=capsys)
    assert line.endswith("--detach --pidfile=x.pid -n w1@halcyon --logfile=w1%I.log --executable=python")


def test_app_and_file_may_stand_before_multi(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-A", "proj", "-b", "queue.db", "multi", "show", "w1", "w2", "-A:w2", "other"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert " -m litequeue -b queue.db -A proj worker " in first
    assert " -m litequeue -b queue.db -A other worker " in second


def test_a_command_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed("show", "b1", "-A", "proj", "--cmd=-X dev -m litequeue beat --detach", capsys=capsys)
    assert line.startswith("python -X dev -m litequeue -A proj beat --detach -n b1@halcyon")


def test_expand_and_get_by_the_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("expand", "/run/%n-%p.pid", "a", "b@x.org", capsys=capsys) == [
        "/run/a-a@halcyon.pid",
        "/run/b-b@x.org.pid",
    ]
    (line,) = printed("get", "a", "a", "b", "-c", "3", capsys=capsys)
    assert line == "-m litequeue worker --detach -c 3 -n a@halcyon " + DEFAULTS.format("a")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ([], 2, "no action"),
        (["sart", "w1"], 2, "did you mean 'start'?"),
        (["start"], 2, "no node is named"),
        (["names", "0"], 2, "no node is named"),
        (["names", "a", "a"], 2, "named twice"),
        (["show", "3", "-c:9", "10"], 2, "there is no node 9; there are 3 nodes"),
        (["show", "a", "-c:0", "10"], 2, "there is no node 0; there is only 1 node"),
        (["show", "a", "--logfile=%z"], 2, "unknown placeholder '%z'"),
        (["show", "a", "--cmd=python worker"], 2, "does not say litequeue"),
        (["get", "nobody", "a"], 1, "no node 'nobody'; there are a@"),
        (["show", "a", "-c:b", "10"], 0, "no node is called 'b'"),
    ],
)
def test_what_cannot_be_meant(argv: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["multi", *argv]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [["multi", "help"], ["multi", "--help"], ["help", "multi"], ["multi", "start", "-h"]])
def test_help_names_every_action(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 0
    out = capsys.readouterr().out
    for action in ("start", "stop", "stopwait", "restart", "kill", "show", "names", "get", "expand", "Example:"):
        assert action in out


def test_answers_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(*argv: str) -> Any:
        assert run(["multi", *argv, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert answer("names", "2") == [f"celery1@{HOST}", f"celery2@{HOST}"]
    assert answer("expand", "%n", "a") == ["a"]
    (node,) = answer("show", "a", "--workdir=/srv", "--logfile=/log/%n%I.log")
    assert node["node"] == f"a@{HOST}"
    assert node["command"][:4] == [sys.executable, "-m", "litequeue", "--workdir=/srv"]
    assert node["pidfile"] == os.path.join("/srv", "a.pid")
    assert node["logfile"] == "/log/a.log"
    assert answer("get", "a", "a")["node"] == f"a@{HOST}"


def test_the_options_that_take_a_value_are_those_of_the_worker() -> None:
    """So that `--queues mail` is an option and a value, and `--purge w1` is an option and a node."""
    taken, flags, short = set(), set(), set()
    for param in worker.params:
        flag = bool(getattr(param, "is_flag", False))
        for name in param.opts:
            if name.startswith("--"):
                (flags if flag else taken).add(name[2:])
            elif flag:
                short.add(name[1:])
    assert taken - parsing.VALUES == set()
    assert flags & parsing.VALUES == set()
    assert {"B", "D", "E"} <= short <= parsing.FLAGS


@pytest.mark.parametrize(
    ("arguments", "number", "left"),
    [
        ("w1 -9", signal.SIGKILL, "w1"),
        ("w1 -QUIT -A proj", signal.SIGQUIT, "w1 -A proj"),
        ("w1 -SIGINT -E", signal.SIGINT, "w1 -E"),
        ("w1 -A proj -c:1 9 -- -9", signal.SIGTERM, "w1 -A proj -c:1 9 -- -9"),
        ("w1 -NOSUCH -999", signal.SIGTERM, "w1 -NOSUCH -999"),
    ],
)
def test_the_signal_of_a_stop(arguments: str, number: signal.Signals, left: str) -> None:
    assert parsing.take_signal(arguments.split(), signal.SIGTERM) == (number, left.split())


# Real workers


@pytest.fixture
def multi(project: Project) -> Iterator[Multi]:
    """Run `litequeue multi` in the project's folder; what it has left running is killed."""

    def call(*argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = project.run("multi", *argv)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    yield call
    for file in project.folder.rglob("*.pid"):
        process = holder(file)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            wait_until(lambda process=process: has_ended(process), "its end")


def runs(project: Project, name: str) -> psutil.Process:
    """The process of the node `name`."""
    process = holder(project.folder / f"{name}.pid")
    assert process is not None, f"{name} does not run"
    return process


def workers(project: Project) -> set[str]:
    """The workers in the file."""
    return {record.worker.partition("@")[0] for record in project.app.store.processes() if record.role == "worker"}


def node_of(project: Project, *argv: str) -> Node:
    (node,) = Nodes(parsing.parse([*argv, f"--workdir={project.folder}"]))
    return node


def test_nodes_start_run_tasks_and_stop(project: Project, multi: Multi) -> None:
    done = multi("start", "w1", "w2", "-A", "proj", "-l", "info", "-P", "solo")
    assert f"> Starting nodes...\n\t> w1@{HOST}: OK\n\t> w2@{HOST}: OK\n" in done.stdout
    assert workers(project) == {"w1", "w2"}
    assert project.send("add", 2, 3).get(timeout=30) == 5
    assert f"w1@{HOST} ready." in (project.folder / "w1.log").read_text()
    first, second = runs(project, "w1"), runs(project, "w2")

    done = multi("stopwait", "w1", "w2")
    assert f"\t> w1@{HOST}: TERM -> {first.pid}\n\t> w2@{HOST}: TERM -> {second.pid}\n" in done.stdout
    assert f"> Waiting for 2 nodes -> {first.pid}, {second.pid}..." in done.stdout
    assert f"\t> w1@{HOST}: OK" in done.stdout
    assert has_ended(first) and has_ended(second)
    assert workers(project) == set()
    assert not list(project.folder.glob("*.pid"))

    done = multi("stop_verify", "w1", "--json")
    assert json.loads(done.stdout) == {"nodes": [{"node": f"w1@{HOST}", "result": "down", "pid": None, "error": None}]}


def test_the_ten_workers_of_the_notes(project: Project, multi: Multi) -> None:
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write("\n\n@app.task\ndef murmur():\n    get_task_logger(__name__).debug('murmured')\n")
        file.write("\n\nfrom litequeue.utils.log import get_task_logger\n")
    command = "10 -A proj -l info -Q:1-3 images,video -Q:4,5 data -Q default -L:4,5 debug"
    done = multi("start", *command.split(), "-P", "solo")
    assert done.stdout.count(": OK\n") == 10
    answers = project.app.control.inspect(timeout=30, limit=10).active_queues()
    queues = {node.partition("@")[0]: [queue["name"] for queue in named] for node, named in answers.items()}
    assert queues == {
        **{f"celery{number}": ["images", "video"] for number in (1, 2, 3)},
        **{f"celery{number}": ["data"] for number in (4, 5)},
        **{f"celery{number}": ["default"] for number in (6, 7, 8, 9, 10)},
    }
    for queue in ("data", "default"):
        project.send("murmur", queue=queue).get(timeout=30)
    logs = {number: (project.folder / f"celery{number}.log").read_text() for number in range(1, 11)}
    assert all("ready." in log for log in logs.values())
    (loud,) = [number for number, log in logs.items() if "murmured" in log]
    assert loud in (4, 5)
    assert multi("kill", *command.split(), "--json").stdout.count('"ok"') == 10


def test_a_node_that_cannot_start_says_why(project: Project, multi: Multi) -> None:
    done = multi("start", "w1", "-A", "nosuch", code=1)
    assert f"\t> w1@{HOST}: FAILED (-A nosuch: there is no module 'nosuch'" in done.stdout
    (outcome,) = json.loads(multi("start", "w1", "-A", "proj", "-P", "nope", "--json", code=1).stdout)["nodes"]
    assert outcome["result"] == "failed"
    assert "'nope' is not a pool" in outcome["error"]
    done = multi("start", "w1", "--executable=/no/python", "-q", code=1)
    assert done.stdout == ""
    assert "No such file or directory: '/no/python'" in done.stderr
    assert not list(project.folder.glob("*.pid"))


def test_a_node_that_runs_is_not_started_twice(project: Project, multi: Multi) -> None:
    multi("start", "w1", "-A", "proj", "-P", "solo")
    pid = runs(project, "w1").pid
    done = multi("start", "w1", "w2", "-A", "proj", "-P", "solo", code=1)
    assert f"w1@{HOST}: FAILED (--pidfile {project.folder / 'w1.pid'}: process {pid} holds it" in done.stdout
    assert f"w2@{HOST}: OK" in done.stdout
    assert runs(project, "w1").pid == pid


def test_restart_waits_for_the_end_and_starts_what_was_down(project: Project, multi: Multi) -> None:
    multi("start", "w1", "-A", "proj", "-P", "solo")
    before = runs(project, "w1")
    done = multi("restart", "w1", "w2", "-A", "proj", "-P", "solo", "-v")
    assert f"> w1@{HOST}: TERM -> {before.pid}\n" in done.stdout
    assert f"> w2@{HOST}: DOWN" in done.stdout
    assert f"> Restarting node w1@{HOST}:\n  {sys.executable} -m litequeue -A proj worker --detach" in done.stdout
    assert done.stdout.count(": OK\n") == 2
    assert has_ended(before)
    assert runs(project, "w1").pid != before.pid
    assert workers(project) == {"w1", "w2"}


def test_a_warm_stop_lets_the_task_end(project: Project, multi: Multi) -> None:
    multi("start", "w1", "-A", "proj", "-P", "threads", "-c", "1")
    held = project.hold("work")
    project.started("work")
    process = runs(project, "w1")
    done = multi("stop", "w1", "--json")
    assert json.loads(done.stdout)["nodes"] == [
        {"node": f"w1@{HOST}", "result": "signalled", "pid": process.pid, "error": None}
    ]
    assert not has_ended(process)
    project.release("work")
    wait_until(lambda: has_ended(process), "its end")
    assert held.get(timeout=5) == process.pid


def test_a_signal_of_ones_own_and_a_kill(project: Project, multi: Multi) -> None:
    multi("start", "w1", "w2", "-A", "proj", "-P", "threads", "-c", "1")
    project.hold("a")
    project.hold("b")
    project.started("a")
    project.started("b")
    first, second = runs(project, "w1"), runs(project, "w2")
    assert f"w1@{HOST}: QUIT -> {first.pid}" in multi("stopwait", "w1", "-QUIT").stdout
    assert f"w2@{HOST}: KILL -> {second.pid}" in multi("kill", "w2").stdout
    assert has_ended(first) and has_ended(second)
    # What a killed worker leaves behind is told from one that runs, and does not keep the next from starting.
    done = multi("stop", "w2")
    assert f"w2@{HOST}: DOWN ({project.folder / 'w2.pid'}" not in done.stdout
    assert "w2.pid is left over from a process that has ended" in done.stdout
    multi("start", "w2", "-A", "proj", "-P", "solo")


def test_a_pid_that_was_given_again_is_never_signalled(project: Project, multi: Multi) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        (project.folder / "w1.pid").write_text(f"{bystander.pid}\n", encoding="ascii")
        for action in ("stop", "stopwait", "kill"):
            done = multi(action, "w1")
            assert f"w1@{HOST}: DOWN (w1.pid is left over from a process that has ended)" in done.stdout
        assert bystander.poll() is None
        bystander.communicate(b"\n")
        assert bystander.returncode == 0


def test_a_start_that_is_interrupted_leaves_nothing(project: Project, multi: Multi) -> None:
    with open(project.folder / "proj.py", "a", encoding="utf-8") as file:
        file.write("\nPath('begun.part').write_text(str(os.getpid()))\nos.rename('begun.part', 'begun')\n")
        file.write("while True: time.sleep(1)\n")
    command = project.command("multi", "start", "w1", "-A", "proj")
    with subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL) as started:
        begun = project.folder / "begun"
        process = psutil.Process(int(wait_until(lambda: begun.exists() and begun.read_text(), "the import")))
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 130
    wait_until(lambda: has_ended(process), "its end")
    assert not (project.folder / "w1.pid").exists()


def test_one_that_nobody_reaps_has_ended(project: Project, multi: Multi) -> None:
    """A container without an init process reaps nobody; here it is a parent that does not look."""
    started = project.worker("-P", "solo", "-n", "w1@%h", "--pidfile=w1.pid").ready()
    assert f"> w1@{HOST}: OK" in multi("stopwait", "w1").stdout
    assert psutil.Process(started.pid).status() == psutil.STATUS_ZOMBIE
    assert "DOWN" in multi("kill", "w1").stdout


def test_the_nodes_folder_is_that_of_workdir(project: Project, multi: Multi, tmp_path: Path) -> None:
    given = ["w1", f"--workdir={project.folder}", "--pidfile=run/%n.pid", "--logfile=log/%n%I.log"]
    done = subprocess.run(
        project.command("multi", "start", *given, "-A", "proj", "-P", "solo"),
        cwd=os.sep,
        env=project.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    process = runs(project, "run/w1")
    assert (project.folder / "log" / "w1.log").exists()
    done = subprocess.run(
        project.command("multi", "stopwait", *given),
        cwd=os.sep,
        env=project.environment,
        capture_output=True,
        text=True,
    )
    assert f"> w1@{HOST}: OK" in done.stdout
    assert has_ended(process)


def test_where_no_signal_can_stop_a_worker_the_file_does(
    project: Project, multi: Multi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", project.environment["PYTHONPATH"])
    multi("start", "w1", "-A", "proj", "-P", "solo")
    process = runs(project, "w1")
    running = cluster.Running([node_of(project, "w1", "-A", "proj")])
    (outcome,) = running.signal(signal.SIGTERM, by_file=True)
    assert (outcome.result, outcome.pid) == ("signalled", process.pid)
    (together,) = running.ended()
    assert [told.result for _, told in together] == ["ok"]
    assert has_ended(process)


def test_a_beat_by_multi(project: Project, multi: Multi) -> None:
    command = ("b1", "-A", "proj", "--cmd=-m litequeue beat --detach")
    multi("start", *command)
    process = runs(project, "b1")
    wait_until(lambda: any(record.role == "beat" for record in project.app.store.processes()), "the beat's row")
    multi("stopwait", *command)
    assert has_ended(process)
