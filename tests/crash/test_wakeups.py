"""Every wake-up is lost on purpose: polling finds the work all the same. A datagram is a hint, never the truth."""

from __future__ import annotations

import os
import signal
import socket
import time

import apsw
import pytest

from .project import Project

pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts workers in process groups")


def dead_port() -> int:
    """A port of the loopback at which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def change(project: Project, statement: str, *bindings: object) -> None:
    """Write to the file behind everybody's back."""
    db = apsw.Connection(str(project.queue))
    db.set_busy_timeout(5000)
    db.execute(statement, bindings)
    db.close()


def idle(project: Project, slots: int) -> bool:
    """Whether all slots of the workers wait."""
    return sum(record.idle for record in project.processes()) == slots


def test_work_is_found_when_the_workers_port_in_the_file_is_dead(tmp_path):
    """The clients' datagrams go nowhere, and the worker does not know its own slots: they look by themselves."""
    project = Project(tmp_path)
    with project.running("a", slots=2):
        project.wait_for(lambda: idle(project, 2))
        change(project, "UPDATE litequeue_processes SET port = ?", dead_port())
        sent = project.app.send_task("proj.work")
        project.wait_for(lambda: project.ended(sent.id), 10)


def test_work_is_found_when_no_worker_says_that_it_waits(tmp_path):
    """The count of idle slots is wrong (too low), so no datagram is sent at all."""
    project = Project(tmp_path)
    with project.running("a", slots=2):
        project.wait_for(lambda: idle(project, 2))
        change(project, "UPDATE litequeue_processes SET idle = 0")
        sent = [project.app.send_task("proj.work").id for _ in range(5)]
        project.wait_for(lambda: project.ended(*sent), 10)


def test_work_is_found_when_another_program_writes_the_row(tmp_path):
    """A row that comes in by SQL, with no client of ours behind it."""
    project = Project(tmp_path)
    sent = project.app.send_task("proj.work")
    columns = [
        name
        for (name,) in apsw.Connection(str(project.queue)).execute(
            "SELECT name FROM pragma_table_info('litequeue_tasks')"
        )
    ]
    copied = ", ".join(name for name in columns if name not in {"seq", "id"})
    with project.running("a", slots=1):
        project.wait_for(lambda: project.ended(sent.id))
        project.wait_for(lambda: idle(project, 1))
        change(
            project,
            f"INSERT INTO litequeue_tasks (id, {copied}) SELECT 'by-hand', {copied} FROM litequeue_tasks WHERE id = ?",
            sent.id,
        )
        change(project, "UPDATE litequeue_tasks SET state='ready', finished_at=NULL, holder=NULL WHERE id = 'by-hand'")
        project.wait_for(lambda: project.ended("by-hand"), 10)


def test_a_task_for_later_is_run_in_time_though_nobody_says_so(tmp_path):
    project = Project(tmp_path)
    with project.running("a", slots=1):
        project.wait_for(lambda: idle(project, 1))
        began = time.time()
        sent = project.app.send_task("proj.work", countdown=1.0)
        change(project, "UPDATE litequeue_processes SET port = ?", dead_port())
        project.wait_for(lambda: project.ended(sent.id), 10)
        assert 1.0 <= project.app.store.task(sent.id).started_at - began < 4.0


def test_get_returns_when_the_settling_workers_datagram_is_lost(tmp_path):
    project = Project(tmp_path)
    sent = project.app.send_task("proj.work", (0.3,))
    change(project, "UPDATE litequeue_tasks SET reply_port = ?", dead_port())
    with project.running("a", slots=1):
        assert sent.get(timeout=20) == sent.id


def test_garbage_on_the_workers_port_wakes_it_for_nothing(tmp_path):
    """Anybody on the host can send datagrams there, short or long, few or many."""
    project = Project(tmp_path)
    with project.running("a", slots=2):
        project.wait_for(lambda: idle(project, 2))
        port = next(record.port for record in project.processes() if record.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(3000):
                sender.sendto(b"" if number % 3 else b"x" * 2000, ("127.0.0.1", port))
        sent = [project.app.send_task("proj.work").id for _ in range(20)]
        project.wait_for(lambda: project.ended(*sent), 10)
        assert len(project.processes(role="child")) == 2


def test_a_stopped_worker_keeps_nobody_waiting(tmp_path):
    """A worker that is stopped (SIGSTOP) while its slots are registered as waiting swallows hints of others' work."""
    project = Project(tmp_path)
    with project.running("stopped", slots=2) as stopped, project.running("runs", slots=1):
        project.wait_for(lambda: idle(project, 3))
        os.killpg(stopped.pid, signal.SIGSTOP)
        try:
            for _ in range(5):
                began = time.monotonic()
                sent = project.app.send_task("proj.work")
                project.wait_for(lambda sent=sent: project.ended(sent.id), 10)
                assert time.monotonic() - began < 3.0
        finally:
            os.killpg(stopped.pid, signal.SIGCONT)
