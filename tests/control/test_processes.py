"""Workers as processes of their own: hung, killed, and steered from a command line."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest

from tests.control.conftest import Project, wait_until

PONG = {"ok": "pong"}

COMMAND = '''

from litequeue.worker.control import control_command


@control_command(args=[("word", str)], signature="<word>", group="Own")
def say(state, word):
    """Say a word."""
    return {"ok": word}
'''


@pytest.fixture
def steered(project: Project) -> Project:
    """The project with a command of its own."""
    with (project.folder / "proj.py").open("a", encoding="utf-8") as file:
        file.write(COMMAND)
    return project


def nodes(project: Project) -> list[str]:
    """Who answers a ping."""
    return sorted(node for answer in project.app.control.ping() for node in answer)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_a_hung_worker_does_not_answer(project: Project) -> None:
    """The others do; and when it goes on, it is as it was, and carries out what was not a question."""
    one, two = project.worker("-n", "one@here", "-c", "1").ready(), project.worker("-n", "two@here", "-c", "1").ready()
    assert nodes(project) == ["one@here", "two@here"]
    os.kill(one.pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(one.pid).status() == psutil.STATUS_STOPPED)
    try:
        assert nodes(project) == ["two@here"]
        assert project.app.control.pool_grow(1, reply=True, timeout=0.3) == [{"two@here": {"ok": "pool will grow"}}]
    finally:
        os.kill(one.pid, signal.SIGCONT)
    wait_until(lambda: nodes(project) == ["one@here", "two@here"])
    wait_until(lambda: slots(project) == {"one@here": 2, "two@here": 2})
    assert two.stop() == 0


def slots(project: Project) -> dict[str, int]:
    """How many slots each worker has."""
    stats = project.app.control.inspect().stats()
    return {node: told["pool"]["max-concurrency"] for node, told in stats.items()}


def test_a_killed_worker_is_not_waited_for(project: Project) -> None:
    worker = project.worker("-c", "1").ready()
    assert len(nodes(project)) == 1
    worker.signal(signal.SIGKILL).ended()
    began = time.monotonic()
    assert project.app.control.ping(timeout=20) == []
    assert project.app.control.inspect().active() is None
    assert time.monotonic() - began < 5


def test_answered_while_every_slot_is_busy(project: Project) -> None:
    project.worker("-c", "2").ready()
    project.hold("a"), project.hold("b")
    project.started("a"), project.started("b")
    taken = []
    for _ in range(20):
        began = time.monotonic()
        assert len(project.app.control.ping()) == 1
        taken.append(time.monotonic() - began)
    assert sorted(taken)[10] < 0.05
    project.release("a")
    project.release("b")


def test_shutdown_from_the_command_line(steered: Project) -> None:
    worker = steered.worker("-n", "one@here", "-c", "1").ready()
    done = steered.run("-A", "proj", "control", "shutdown", "-d", "one@here")
    assert (done.returncode, done.stdout) == (0, "->  one@here: OK\n        shutting down\n"), done.stderr
    assert worker.ended() == 0


def test_own_command_from_the_command_line(steered: Project) -> None:
    steered.worker("-n", "one@here", "-c", "1").ready()
    done = steered.run("-A", "proj", "control", "say", "hello", "--json")
    assert json.loads(done.stdout) == [{"one@here": {"ok": "hello"}}], done.stderr
    assert "say <word>" in steered.run("-A", "proj", "control", "--list").stdout
    assert "Own commands:" in steered.run("-A", "proj", "control", "--help").stdout


def test_an_error_is_an_exit_code(steered: Project) -> None:
    steered.worker("-n", "one@here", "-c", "1").ready()
    done = steered.run("-A", "proj", "control", "pool_shrink", "1")
    assert done.returncode == 1
    assert "->  one@here: ERROR" in done.stdout
    assert "one must be left" in done.stdout
