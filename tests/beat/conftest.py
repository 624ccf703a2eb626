"""An app on a file, schedulers on it that are turned by hand, and a clock that stands still until it is moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest

from litequeue import LiteQueue
from litequeue.app import current as local
from litequeue.beat.ticking import Ticking
from litequeue.core import clock

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()
"""A Monday."""
HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts without a queue in the environment, and leaves the current app as it was."""
    monkeypatch.delenv("LITEQUEUE_BROKER_URL", raising=False)
    apps, shared = local.saved_apps(), local.finalize_callbacks()
    yield
    local.restore_apps(apps)
    local.restore_finalize_callbacks(shared)


class Clock:
    """The wall clock of this process, which only the test moves."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def __call__(self) -> float:
        return self.moment

    def forward(self, seconds: float) -> float:
        """Let time pass, or go back; returns the time."""
        self.moment += seconds
        return self.moment


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock, at noon."""
    made = Clock(NOON)
    monkeypatch.setattr(clock, "now", made)
    return made


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., LiteQueue]]:
    """Makes apps on `tmp_path/queue.db`, closed at the end."""
    apps: list[LiteQueue] = []

    def make(main: str | None = "proj", **options: Any) -> LiteQueue:
        options.setdefault("broker", tmp_path / "queue.db")
        options.setdefault("durability", "normal")
        apps.append(LiteQueue(main, **options))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make_app: Callable[..., LiteQueue]) -> LiteQueue:
    """An app with one task, `proj.add`."""
    made = make_app()

    @made.task(name="proj.add", shared=False)
    def add(x: int = 0, y: int = 0) -> int:
        return x + y

    return made


@pytest.fixture
def scheduler(app: LiteQueue) -> Iterator[Callable[..., Ticking]]:
    """Starts schedulers, which do nothing between the calls of `tick`."""
    running: list[Ticking] = []

    def start(**options: Any) -> Ticking:
        made = Ticking(app.store, f"beat{len(running)}@test", **options)
        running.append(made)
        made.start()
        return made

    yield start
    for made in running:
        made.close()


class Run:
    """A task that an entry has enqueued."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.due, self.id, self.state, self.after, self.run_at, self.expires_at, headers, self.queue = row
        self.headers: dict[str, Any] = json.loads(headers)


@pytest.fixture
def runs(app: LiteQueue) -> Callable[[str], list[Run]]:
    """The tasks that an entry has enqueued, in the order of their instants."""

    def read(name: str) -> list[Run]:
        connection = apsw.Connection(app.store.path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            rows = connection.execute(
                "SELECT due_at, id, state, after, run_at, expires_at, headers, queue FROM litequeue_tasks"
                " WHERE schedule = ? ORDER BY due_at",
                (name,),
            ).fetchall()
        finally:
            connection.close()
        return [Run(row) for row in rows]

    return read


@pytest.fixture
def instants(runs: Callable[[str], list[Run]]) -> Callable[[str], list[float]]:
    """The instants that an entry has fired, in seconds after noon."""
    return lambda name: [round(run.due - NOON, 6) for run in runs(name)]


@pytest.fixture
def write(app: LiteQueue) -> Callable[..., None]:
    """Change the file behind everybody's back."""

    def execute(statement: str, *bindings: Any) -> None:
        connection = apsw.Connection(app.store.path)
        try:
            connection.execute(statement, bindings)
        finally:
            connection.close()

    return execute
