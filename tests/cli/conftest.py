"""A project in a folder of its own, and workers as real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds after which a fact that does not come is a failure."""

PROJECT = '''
import os
import signal
import sys
import time
from pathlib import Path

from litequeue import LiteQueue

app = LiteQueue("proj", broker="queue.db")


@app.task
def add(x, y):
    return x + y


@app.task
def pid():
    return os.getpid()


@app.task
def hold(name):
    """Write our pid to `name`.started, end when `name`.release is there."""
    started = Path(name + ".started")
    scratch = Path(f"{name}.{os.getpid()}")
    scratch.write_text(str(os.getpid()))
    scratch.replace(started)
    while not Path(name + ".release").exists():
        time.sleep(0.005)
    return os.getpid()


@app.task
def say(text):
    print(text)
    print(text + " aside", file=sys.stderr)


@app.task
def grow(megabytes):
    app.kept = b"x" * (megabytes << 20)
    return os.getpid()
'''


def wait_until(fact: Callable[[], Any], what: str = "it") -> Any:
    """The first true answer of `fact`."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {PATIENCE:g} seconds")
        time.sleep(0.01)
    return answer


class WorkerProcess:
    """A `litequeue worker` that runs."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, number: int) -> None:
        self.process = process
        self.pid = process.pid
        self._out = folder / f"worker{number}.out"
        self._err = folder / f"worker{number}.err"

    @property
    def out(self) -> str:
        """What it wrote to stdout."""
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it wrote to stderr, the log."""
        return self._err.read_text(encoding="utf-8")

    def said(self, text: str) -> WorkerProcess:
        """Wait for `text` in the log."""

        def there() -> bool:
            if text in self.err:
                return True
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}:\n{self.err}"
            return False

        try:
            wait_until(there, f"{text!r}")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.err}") from None
        return self

    def ready(self) -> WorkerProcess:
        """Wait until every slot can claim."""
        return self.said("ready.")

    def signal(self, number: signal.Signals) -> WorkerProcess:
        """Send a signal to the worker alone."""
        self.process.send_signal(number)
        return self

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end:\n{self.err}") from None

    def stop(self) -> int:
        """Stop it warm; the exit code."""
        return self.signal(signal.SIGTERM).ended()

    def children(self) -> list[int]:
        """The pids of the processes it has that run tasks."""
        record = {row.worker: row for row in self.app.store.processes() if row.identity.pid == self.pid}
        ids = {row.id for row in record.values()}
        return [row.identity.pid for row in self.app.store.processes() if row.parent in ids]

    app: Any = None


class Project:
    """A folder with `proj.py`, its queue, and the command line run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "queue.db"
        (folder / "proj.py").write_text(PROJECT, encoding="utf-8")
        self.app = LiteQueue("client", broker=str(self.file))
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith("LITEQUEUE_")}
        self.environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._workers: list[WorkerProcess] = []

    def command(self, *argv: str) -> list[str]:
        """The command line of a litequeue process."""
        return [sys.executable, "-m", "litequeue", *argv]

    def run(self, *argv: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `litequeue` to its end."""
        return subprocess.run(
            self.command(*argv),
            cwd=self.folder,
            env=self.environment | environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def worker(self, *options: str, **environment: str) -> WorkerProcess:
        """Start `litequeue -A proj worker -l INFO`, by itself in a process group."""
        number = len(self._workers)
        with (
            open(self.folder / f"worker{number}.out", "w", encoding="utf-8") as out,
            open(self.folder / f"worker{number}.err", "w", encoding="utf-8") as err,
        ):
            process = subprocess.Popen(
                self.command("-A", "proj", "worker", "-l", "INFO", *options),
                cwd=self.folder,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        started = WorkerProcess(process, self.folder, number)
        started.app = self.app
        self._workers.append(started)
        return started

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        """Enqueue the task `proj.name`."""
        return self.app.send_task(f"proj.{name}", args, **options)

    def hold(self, name: str, **options: Any) -> Any:
        """Enqueue a task that runs until `release(name)`."""
        return self.send("hold", str(self.folder / name), **options)

    def started(self, name: str, *, not_by: int | None = None) -> int:
        """Wait until the task `hold(name)` runs; the pid that runs it."""
        file = self.folder / f"{name}.started"

        def runner() -> int | None:
            text = file.read_text(encoding="ascii") if file.exists() else ""
            return int(text) if text and int(text) != not_by else None

        pid: int = wait_until(runner, f"hold({name!r})")
        return pid

    def release(self, name: str) -> None:
        """Let `hold(name)` end."""
        (self.folder / f"{name}.release").touch()

    def engine_state(self, result: Any) -> str:
        """The engine's state of the row."""
        state: str = self.app.store.states([result.id])[result.id]
        return state

    def close(self) -> None:
        """End every worker that is left, with its children."""
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.process.wait()
        self.app.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A fresh project; whatever it started is gone afterwards."""
    made = Project(tmp_path)
    yield made
    made.close()
