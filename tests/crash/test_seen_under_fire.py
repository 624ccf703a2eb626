"""Everybody looks while processes are killed: nothing is lost, every event is told once, and each backup is whole.

`LITEQUEUE_SEEN_SECONDS=60` goes on for longer, `LITEQUEUE_CRASH_SEED=2` kills others.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest

from litequeue import LiteQueue
from litequeue.core import clock
from litequeue.core.records import NORMAL
from litequeue.inspect import take, tasks
from litequeue.inspect.explain import explain
from litequeue.inspect.failures import failures, slow
from litequeue.inspect.page import page
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite.store import SQLiteStore

from .checker import check
from .invariants import violations
from .project import Project, end, kill_group

if os.name != "posix":
    pytest.skip("SIGKILL", allow_module_level=True)

from .test_kill import Killer, rows_of

SECONDS = float(os.environ.get("LITEQUEUE_SEEN_SECONDS", "6"))
"""How long tasks are sent, looked at and shot at."""
BACKLOG = 300
"""No more is sent while so many have not ended."""
PATIENCE = 60
WANTED = {"task-sent", "task-received", "task-started", "task-succeeded", "task-rescued", "worker-online"}
"""What must have happened before the fire ends."""


class Chain:
    """Programs that print events, one after the other: each is killed, and the next goes on where it got to."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.seen: list[int] = []
        self.kinds: set[str] = set()
        self.count = 0
        self._start()

    @property
    def last(self) -> int:
        """The number of the last event that was printed."""
        return self.seen[-1] if self.seen else 0

    def _start(self) -> None:
        self.path = self.project.folder / f"events{self.count}.jsonl"
        self.errors = self.project.folder / f"events{self.count}.err"
        self.count += 1
        self.read = 0
        command = [sys.executable, "-m", "litequeue", "-b", str(self.project.queue), "--json", "events"]
        with self.path.open("wb") as out, self.errors.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, "--after", str(self.last)],
                cwd=self.project.folder,
                env=self.project.env,
                stdout=out,
                stderr=err,
            )

    def look(self) -> int:
        """Take over what was printed, and return the number of the last event. A line that was cut off was not."""
        with self.path.open("rb") as file:
            file.seek(self.read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read += len(whole)
        for line in whole.splitlines():
            event = json.loads(line)
            self.seen.append(event["number"])
            self.kinds.add(event["type"])
        return self.last

    def kill(self) -> None:
        """SIGKILL in the middle of it; then the next one."""
        self.process.kill()
        self.process.wait()
        self.look()
        assert "no longer kept" not in self.errors.read_text()
        self._start()

    def stop(self) -> None:
        """No more."""
        self.process.kill()
        self.process.wait()


class Again:
    """Does something again and again in a thread, until it is stopped; keeps what it raised."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.count = 0
        self.error: BaseException | None = None
        self._act = act
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._act()
                self.count += 1
                self._stop.wait(0.02)
        except BaseException as error:
            self.error = error

    def stop(self) -> int:
        """How often it was done; raises what it raised."""
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.count


class Backups:
    """Copies the queue under one name; now and then by a program that is killed."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.path = project.folder / "copies" / "copy.db"
        self.path.parent.mkdir()
        self.app = LiteQueue("backups", broker=str(project.queue), set_as_current=False)
        self.killed = 0

    def __call__(self) -> None:
        self.app.store.backup(str(self.path), overwrite=True)
        self.check()
        command = [sys.executable, "-m", "litequeue", "-b", str(self.project.queue), "backup", "-f", str(self.path)]
        program = subprocess.Popen(command, env=self.project.env, stdout=subprocess.DEVNULL)
        begins = f"{self.path.name}.part-{program.pid}-"
        while program.poll() is None and not any(n.startswith(begins) for n in os.listdir(self.path.parent)):
            time.sleep(0.001)
        program.kill()
        self.killed += program.wait() != 0
        self.check()

    def check(self) -> None:
        """What stands under the name is whole."""
        db = apsw.Connection(f"file:{self.path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            assert violations(db) == []
        finally:
            db.close()


def looker(path: Path) -> Callable[[], None]:
    """Everything that a viewer reads, once."""
    app = LiteQueue("looker", broker=str(path), set_as_current=False)

    def look() -> None:
        json.dumps(take(app).as_dict())
        for verb in (failures, slow):
            json.dumps(verb(app).as_dict())
        for each in tasks(app, limit=3):
            found = page(app, each.id)
            assert found is None or json.dumps(found.as_dict(), default=str)
            json.dumps(explain(app, each.id).as_dict())

    return look


def trimmer(path: Path, chain: Chain) -> Callable[[], None]:
    """Delete from the journal what the chain has seen; what it has not must stay."""

    store = SQLiteStore(str(path), StoreOptions())

    def trim() -> None:
        store._options = StoreOptions()
        store.prune(100)
        with store._database.write(NORMAL) as connection:  # in which nobody else writes events
            last = connection.execute("SELECT max(number + size) - 1 FROM litequeue_events").get or 0
            store._options = StoreOptions(event_limit=max(last - chain.last, 1))
            store._trim_journal(connection, clock.now())

    return trim


def test_everybody_looks_while_processes_are_killed(tmp_path):
    project = Project(tmp_path, worker_send_task_events=True, task_send_sent_event=True, max_worker_deaths=50)
    workers = {name: project.worker(name, "-c", "2", "-E") for name in ("a", "b")}
    killer = Killer(project, workers)
    chain: Chain | None = None
    others: list[Again] = []
    senders: list[subprocess.Popen[bytes]] = []
    try:
        project.wait_for(lambda: len(project.processes(role="child")) == 4)
        run_multi(project, "start")
        chain, backups = Chain(project), Backups(project)
        others += [Again(looker(project.queue)), Again(backups), Again(trimmer(project.queue, chain))]
        until, restarts = time.monotonic() + SECONDS, 0
        while (
            time.monotonic() < until
            or restarts == 0
            or chain.count < 4
            or killer.children < 2
            or not chain.kinds >= WANTED
        ):
            assert all(each.error is None for each in others), [each.error for each in others]
            senders = [sender for sender in senders if sender.poll() is None]
            if not senders and _open(project) < BACKLOG:
                senders.append(project.sender(100, 0.002))
            killer.kill_one()
            chain.look()
            if killer.random.random() < 0.3:
                before = chain.last
                project.wait_for(lambda before=before: chain.look() > before)
                chain.kill()
            if killer.random.random() < 0.05 or not restarts:
                run_multi(project, "restart")
                restarts += 1
            time.sleep(killer.random.uniform(0.05, 0.2))
        assert not any(sender.wait() for sender in senders), project.outputs()
        project.wait_for(lambda: not _open(project))
        done = [each.stop() for each in others]
        run_multi(project, "stopwait")
        for worker in workers.values():
            end(worker)
        project.wait_for(lambda: not project.processes())
        last = project.app.store.event_range().last
        project.wait_for(lambda: chain.look() == last)
    finally:
        for each in others:
            with suppress(BaseException):
                each.stop()
        if chain is not None:
            chain.stop()
        for process in (*senders, *workers.values()):
            kill_group(process)
        _kill_by_pidfile(project.folder / "c.pid")
    verdict = check(
        sent=project.sent(),
        rows=rows_of(project),
        runs=project.runs(),
        killed=killer.killed,
        once=("proj.once",),
        max_deaths=50,
    )
    print(
        f"{verdict.tasks} tasks, {last} events, seen by {chain.count} receivers; killed {killer.children} children,"
        f" {killer.supervisors} supervisors, {backups.killed} backups; {restarts} restarts;"
        f" looks, backups, trims: {done}"
    )
    assert verdict.problems == [], project.outputs()
    assert chain.seen == list(range(1, last + 1)), "an event was not told, or twice"
    assert chain.kinds >= WANTED
    assert killer.children >= 2
    assert all(done)


def _open(project: Project) -> int:
    """How many tasks have not ended."""
    states = project.app.store.counts().get("celery", {})
    return sum(count for state, count in states.items() if state not in ("succeeded", "failed"))


def run_multi(project: Project, verb: str) -> None:
    """`litequeue multi`, of one node."""
    command = [sys.executable, "-m", "litequeue", "-A", "proj", "multi", verb, "c@test", "-c", "1", "--pidfile=%n.pid"]
    done = subprocess.run(
        [*command, "--logfile=%n%I.log"], cwd=project.folder, env=project.env, capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done


def _kill_by_pidfile(path: Path) -> None:
    """What a failed test has left."""
    with suppress(OSError, ValueError, psutil.Error):
        os.killpg(psutil.Process(int(path.read_text())).pid, signal.SIGKILL)
