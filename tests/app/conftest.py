"""An app on a real file, and a worker for it in threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.app import current as local
from litequeue.core.records import TaskRecord
from litequeue.result import AsyncResult


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts without a queue in the environment, and leaves the current app as it was."""
    monkeypatch.delenv("LITEQUEUE_BROKER_URL", raising=False)
    monkeypatch.delenv("LITEQUEUE_RESULT_BACKEND", raising=False)
    apps, shared = local.saved_apps(), local.finalize_callbacks()
    yield
    local.restore_apps(apps)
    local.restore_finalize_callbacks(shared)


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., LiteQueue]]:
    """Makes apps on `tmp_path/queue.db`, closed at the end."""
    apps: list[LiteQueue] = []

    def make(main: str | None = "proj", **options: Any) -> LiteQueue:
        options.setdefault("broker", tmp_path / "queue.db")
        options.setdefault("durability", "normal")
        app = LiteQueue(main, **options)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make_app: Callable[..., LiteQueue]) -> LiteQueue:
    """An app on a file of its own."""
    return make_app()


@pytest.fixture
def worker(app: LiteQueue) -> Iterator[Any]:
    """A worker for `app`, in two threads; started when the test asks for it, with the tasks declared by then."""
    started: list[Any] = []

    def start(**options: Any) -> Any:
        started.append(app.start_worker(**{"pool": "threads", "concurrency": 2, **options}))
        return started[-1]

    yield start
    for each in started:
        assert each.stop(timeout=20)


def row(result: AsyncResult) -> TaskRecord:
    """The task's row in the file."""
    record = result.app.store.task(result.id)
    assert record is not None
    return record


def carried(result: AsyncResult) -> dict[str, Any]:
    """What the row carries beside its columns."""
    options = row(result).options
    return json.loads(options) if options else {}
