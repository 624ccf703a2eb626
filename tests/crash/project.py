"""A project on disk as a user would have it, real `litequeue worker` processes on it, and the side log of its tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from litequeue import LiteQueue
from litequeue.core import process
from litequeue.core.records import ProcessRecord

ROOT = Path(__file__).resolve().parents[2]

MODULE = '''
import json
import os
import time

from litequeue import LiteQueue, chord

app = LiteQueue("proj", broker=os.environ["PROJ_QUEUE"], **eval(os.environ.get("PROJ_SETTINGS", "{}")))
LOG = os.open(os.environ["PROJ_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def note(*words):
    """One line, by one write of a file opened for appending: never torn, never lost with the process."""
    os.write(LOG, (" ".join(map(str, words)) + "\\n").encode())


@app.task(bind=True)
def work(self, seconds=0.0):
    note("run", self.request.id, os.getpid(), self.request.attempt)
    if seconds:
        time.sleep(seconds)
    return self.request.id


@app.task(bind=True, acks_late=False)
def once(self, seconds=0.0):
    note("run", self.request.id, os.getpid(), self.request.attempt)
    if seconds:
        time.sleep(seconds)
    return self.request.id


@app.task(bind=True, max_retries=1, default_retry_delay=0.0)
def again(self):
    note("run", self.request.id, os.getpid(), self.request.attempt)
    if not self.request.retries:
        raise self.retry(countdown=0)
    return self.request.id


@app.task
def raises(text="no"):
    raise ValueError(text)


@app.task
def returns(value):
    return value


def send(count, seconds):
    """What an enqueuing program does: one task after the other, noting each when `delay` has returned."""
    kinds = (work, work, work, work, once, again)
    for number in range(count):
        task = kinds[number % len(kinds)]
        result = task.delay() if task is again else task.delay(seconds)
        note("sent", result.id, task.name)


@app.task(bind=True)
def part(self, number, seconds=0.0):
    note("run", self.request.id, os.getpid(), self.request.attempt)
    if seconds:
        time.sleep(seconds)
    return number


@app.task(bind=True)
def plus_one(self, number):
    note("run", self.request.id, os.getpid(), self.request.attempt)
    return number + 1


@app.task(bind=True, max_retries=1)
def part_again(self, number):
    note("run", self.request.id, os.getpid(), self.request.attempt)
    if not self.request.retries:
        raise self.retry(countdown=0)
    return number


@app.task(bind=True)
def collect(self, values, number):
    note("run", self.request.id, os.getpid(), self.request.attempt)
    note("body", number, self.request.id, self.request.attempt, json.dumps(values, separators=(",", ":")))
    return [number, values]


def send_chords(first, count, seconds):
    """Send chords of five parts, one of which is a chain and one of which is tried twice; note the body of each."""
    for number in range(first, first + count):
        header = [part.s(0, seconds), part.s(1, seconds), part.s(1) | plus_one.s(), part_again.s(3), part.s(4, seconds)]
        result = chord(header, collect.s(number)).delay()
        note("chord", number, result.id)


if __name__ == "__main__":
    import sys

    if sys.argv[1] == "chords":
        send_chords(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        send(int(sys.argv[1]), float(sys.argv[2]))
'''


class Run(NamedTuple):
    """One start of a task, as the task itself noted it."""

    id: str
    pid: int
    attempt: int


class Project:
    """A folder with `proj.py`, a queue and a side log."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.queue = folder / "queue.db"
        self.log = folder / "runs.log"
        (folder / "proj.py").write_text(MODULE)
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder), os.environ.get("PYTHONPATH", "")]),
            "PROJ_QUEUE": str(self.queue),
            "PROJ_LOG": str(self.log),
            "PROJ_SETTINGS": repr(settings),
            "PYTHONWARNINGS": "default",
        }
        self.app = LiteQueue("test", broker=str(self.queue), set_as_current=False)
        self.output: list[Path] = []

    def worker(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start `litequeue worker` as a process of its own."""
        return self._start("-m", "litequeue", "-A", "proj", "worker", "-n", f"{name}@test", *options)

    def sender(self, count: int, seconds: float = 0.0) -> subprocess.Popen[bytes]:
        """Start a program that sends `count` tasks, each of which takes `seconds`."""
        return self._start("proj.py", str(count), str(seconds))

    def chord_sender(self, first: int, count: int, seconds: float) -> subprocess.Popen[bytes]:
        """Start a program that sends `count` chords, of which a part takes `seconds`, numbered from `first` on."""
        return self._start("proj.py", "chords", str(first), str(count), str(seconds))

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        output = self.folder / f"output{len(self.output)}.txt"
        self.output.append(output)
        with output.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env=self.env,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @contextmanager
    def running(self, name: str, *options: str, slots: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        """A worker that is up with `slots` children, stopped warm at the end and killed if it does not end."""
        worker = self.worker(name, "-c", str(slots), *options)
        try:
            self.wait_for(lambda: len(self.processes(f"{name}@test", "child")) >= slots or worker.poll() is not None)
            assert worker.poll() is None, self.outputs()
            yield worker
        finally:
            end(worker)

    def processes(self, worker: str | None = None, role: str | None = None) -> list[ProcessRecord]:
        """The registered processes that live."""
        return [
            record
            for record in self.app.store.processes()
            if worker in (None, record.worker) and role in (None, record.role) and process.is_alive(record.identity)
        ]

    def lines(self, kind: str) -> list[list[str]]:
        """What was noted as `kind`; a line that a dying process did not end does not count."""
        if not self.log.exists():
            return []
        text = self.log.read_text()
        return [words[1:] for line in text[: text.rfind("\n") + 1].splitlines() if (words := line.split())[0] == kind]

    def runs(self) -> list[Run]:
        """Every start of a task, in order."""
        return [Run(task_id, int(pid), int(attempt)) for task_id, pid, attempt in self.lines("run")]

    def sent(self) -> dict[str, str]:
        """Every acknowledged enqueue: {id: task name}."""
        return {task_id: name for task_id, name in self.lines("sent")}

    def wait_for(self, fact: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until `fact()` is true."""
        deadline = time.monotonic() + seconds
        while not fact():
            assert time.monotonic() < deadline, f"not within {seconds:g} s\n{self.app.store.counts()}\n{self.outputs()}"
            time.sleep(0.01)

    def ended(self, *ids: str) -> bool:
        """Whether all of `ids` have ended."""
        states = self.app.store.states(ids)
        return all(states.get(task_id) in {"succeeded", "failed", "revoked", "ignored"} for task_id in ids)

    def outputs(self) -> str:
        """What the processes printed, the last of it."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in self.output[-6:])


def end(worker: subprocess.Popen[bytes], timeout: float = 20.0) -> int:
    """Stop a worker warm; kill its whole group if that takes too long. Returns the exit code."""
    if worker.poll() is None:
        worker.send_signal(signal.SIGTERM)
    try:
        return worker.wait(timeout)
    except subprocess.TimeoutExpired:
        return kill_group(worker)


def kill_group(worker: subprocess.Popen[bytes]) -> int:
    """SIGKILL for a process and everything that it started."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return worker.wait()
