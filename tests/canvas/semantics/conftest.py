"""One worker for a whole module of tests, and `run`, which tells everything that a canvas did."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from litequeue.app import current as local
from litequeue.core.state import TERMINAL
from tests.canvas.semantics import tasks

QUEUES = ("celery", "other", "third")


@dataclass
class Run:
    """What became of a canvas."""

    result: Any
    value: Any = None
    error: BaseException | None = None
    journal: list[list[Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[list[Any]]:
        """What the tasks of this kind wrote."""
        return [entry[1:] for entry in self.journal if entry[0] == kind]

    def names(self, kind: str = "step") -> list[Any]:
        """The names that the tasks of this kind wrote, sorted: which of them ran, and how often."""
        return sorted(entry[0] for entry in self.of(kind))

    def who(self) -> dict[str, dict[str, Any]]:
        """The requests by the names of their tasks."""
        return {name: request for name, request in self.of("who")}


def quiet(app: Any, timeout: float = 20.0) -> None:
    """Wait until nothing in the file is to be done any more; fails, with the rows, where something is left."""
    deadline = time.monotonic() + timeout
    seen = app.store.changes()
    while left := {
        (queue, state): count
        for queue, states in app.store.counts().items()
        for state, count in states.items()
        if state not in TERMINAL
    }:
        assert time.monotonic() < deadline, f"still open: {left}"
        seen = app.store.wait_for_change(seen, 0.05)


def read_journal() -> list[list[Any]]:
    path = tasks.journal()
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def end(result: Any) -> Run:
    """Wait for `result` and for everything that hangs on it."""
    run = Run(result)
    if result is not None:
        try:
            run.value = result.get(timeout=10)
        except Exception as error:
            run.error = error
    quiet(tasks.app)
    run.journal = read_journal()
    return run


@pytest.fixture(scope="module", autouse=True)
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The app of `tasks`, on a file of this module's own, current while the module runs."""
    before = local.saved_apps()
    tasks.app.conf.broker_url = str(tmp_path_factory.mktemp("canvas") / "queue.db")
    tasks.app.set_current()
    yield tasks.app
    tasks.app.close()
    local.restore_apps(before)


@pytest.fixture(scope="module")
def worker(app: Any) -> Iterator[Any]:
    with app.start_worker(pool="threads", concurrency=4, queues=QUEUES) as worker:
        yield worker


@pytest.fixture
def run(worker: Any) -> Callable[..., Run]:
    """Send a canvas, wait until nothing is left to do, and tell what happened."""
    tasks.journal().unlink(missing_ok=True)

    def send(canvas: Any, *args: Any, **options: Any) -> Run:
        tasks.journal().unlink(missing_ok=True)
        return end(canvas.apply_async(*args, **options))

    return send
