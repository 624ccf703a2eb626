"""Tasks and a command line for what the supervisor does: stops, deaths, sizes, revokes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from litequeue import LiteQueue, signals
from litequeue.exceptions import SoftTimeLimitExceeded
from tests.worker.exercise import note

app = LiteQueue("supervised", set_as_current=False)
ROOT = Path(__file__).parents[2]


@signals.worker_process_init.connect
def start_slowly(**_: Any) -> None:
    """A child is registered, and waits so many seconds before its first claim."""
    time.sleep(float(os.environ.get("SLOW_START", "0")))


@app.task(bind=True)
def wait_for(self: Any, gate: str, log: str) -> int:
    """Run until the file `gate` is there; says in `log` when it starts and ends, and where."""
    note(log, f"start {self.request.id} {os.getpid()} {time.time()}")
    while not os.path.exists(gate):
        time.sleep(0.002)
    note(log, f"end {self.request.id} {os.getpid()} {time.time()}")
    return int(self.request.attempt)


@app.task(bind=True, acks_late=False)
def wait_for_once(self: Any, gate: str, log: str) -> int:
    wait_for.run(gate, log)
    return int(self.request.attempt)


@app.task(bind=True, reject_on_worker_lost=False)
def wait_for_unless_lost(self: Any, gate: str, log: str) -> int:
    wait_for.run(gate, log)
    return int(self.request.attempt)


@app.task(bind=True, reject_on_worker_lost=False, retry_on_worker_lost=True)
def wait_for_all_the_same(self: Any, gate: str, log: str) -> int:
    wait_for.run(gate, log)
    return int(self.request.attempt)


@app.task(bind=True, max_worker_deaths=1)
def wait_for_once_or_die(self: Any, gate: str, log: str) -> int:
    wait_for.run(gate, log)
    return int(self.request.attempt)


@app.task(bind=True, acks_on_timeout=False, max_worker_deaths=2)
def overtime_twice(self: Any, log: str) -> None:
    overtime_again.run(log)


@app.task(bind=True, acks_on_timeout=False)
def overtime_again(self: Any, log: str, times: int = 99) -> int:
    """Too slow for its limit, so many times."""
    note(log, f"start {self.request.id} {os.getpid()} {time.time()}")
    if self.request.attempt <= times:
        time.sleep(30)
    return int(self.request.attempt)


@app.task
def overtime(log: str) -> None:
    note(log, f"start - {os.getpid()} {time.time()}")
    time.sleep(30)


@app.task
def quick(log: str = "", number: int = 0) -> int:
    if log:
        note(log, f"quick {number} {os.getpid()} {time.time()}")
    return number


@app.task
def doze(log: str, number: int) -> None:
    time.sleep(0.003)
    note(log, f"dozed {number}")


@app.task(acks_late=False)
def quick_once(log: str, number: int) -> int:
    note(log, f"quick {number} {os.getpid()} {time.time()}")
    return number


@app.task
def quick_or_wait(gate: str, log: str, number: int, slow: int) -> int:
    """Quick, so that many are claimed at once, but for one number."""
    if number == slow:
        wait_for.run(gate, log)
    return number


@app.task
def catch_soft(log: str) -> str:
    note(log, f"start - {os.getpid()} {time.time()}")
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "interrupted"
    return "slept"


@app.task
def pid() -> int:
    return os.getpid()


@app.task
def hog(size: int, log: str) -> int:
    """Keep the interpreter's lock, inside one call of C code."""
    note(log, f"start - {os.getpid()} {time.time()}")
    return sum(range(size))


@app.task
def wait_in_a_thread(gate: str, log: str) -> None:
    thread = threading.Thread(target=wait_for.run, args=(gate, log), name="a-thread-of-the-task")
    thread.start()
    thread.join()


class Told(app.Task):  # type: ignore[name-defined,misc]
    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(args[0], f"on_failure {task_id} {type(exc).__name__} {self.request.id}")

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(args[0], f"after_return {task_id} {status}")


@app.task(base=Told)
def told_of_its_end(log: str) -> None:
    note(log, f"start - {os.getpid()} {time.time()}")
    time.sleep(30)


def lines(path: Path) -> list[list[str]]:
    """What tasks wrote, in words."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def starts(path: Path) -> list[list[str]]:
    return [line for line in lines(path) if line[0] == "start"]


def wait_until(fact: Callable[[], Any], timeout: float = 20.0) -> Any:
    """What `fact` returns as soon as it is true; fails when it is not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := fact()):
        assert time.monotonic() < deadline, "the fact did not come true in time"
        time.sleep(0.001)
    return value


class Program:
    """`litequeue worker` as a process of its own, and everything that it starts."""

    def __init__(self, queue: Path, log: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "litequeue", "-A", "tests.worker.supervisor_tasks", "worker"),
                    *("-l", "INFO", "--no-beat", *options),
                ],
                cwd=ROOT,
                env={**os.environ, "LITEQUEUE_BROKER_URL": str(queue), "PYTHONPATH": str(ROOT), **(env or {})},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self._seen: dict[int, psutil.Process] = {}

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        try:
            wait_until(lambda: "ready." in self.text() or self.process.poll() is not None, 30)
            assert self.process.poll() is None
        except AssertionError:
            raise AssertionError(self.text()) from None

    def tree(self) -> list[psutil.Process]:
        """The worker and all that it has started; who was seen once is known for good."""
        try:
            for each in [me := psutil.Process(self.pid), *me.children(recursive=True)]:
                self._seen[each.pid] = each
        except psutil.NoSuchProcess:
            pass
        return [each for each in self._seen.values() if _lives(each)]

    def child_pids(self) -> list[int]:
        """Those that run tasks, as the file knows them."""
        return [
            record.identity.pid
            for record in app.store.processes()
            if record.role == "child" and any(each.pid == record.identity.pid for each in self.tree())
        ]

    def kill(self) -> None:
        """kill -9, of the supervisor alone."""
        self.tree()
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(10)

    def wait(self, timeout: float = 20.0) -> int:
        self.tree()
        return self.process.wait(timeout)

    def wait_until_gone(self, timeout: float = 5.0) -> None:
        """Until no process of the tree is left."""
        self.process.poll()
        deadline = time.monotonic() + timeout
        while left := [each for each in self.tree() if each.pid != self.pid]:
            assert time.monotonic() < deadline, [(each.pid, each.cmdline()) for each in left]
            time.sleep(0.01)

    def end(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        for each in self.tree():
            try:
                each.kill()
            except psutil.NoSuchProcess:
                pass
        self.process.wait(10)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def program(tmp_path: Path, *options: str, env: dict[str, str] | None = None, ready: bool = True) -> Iterator[Program]:
    """A worker on the queue of the app, ready when the block begins."""
    started = Program(tmp_path / "queue.db", tmp_path / f"worker{time.monotonic_ns()}.log", *options, env=env)
    try:
        if ready:
            started.wait_until_ready()
        yield started
    finally:
        started.end()
