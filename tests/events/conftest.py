"""Workers that write events, in the process of the test or in one of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Project
from tests.cli.conftest import project as project
from tests.control.conftest import NODE, on_fresh_file
from tests.events import eventful
from tests.worker.conftest import wait_until

__all__ = ("NODE", "Project", "ended", "kept", "types_of", "wait_until")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    """The app on a fresh file."""
    with on_fresh_file(eventful.app, tmp_path) as app:
        yield app


@pytest.fixture
def run_worker(app: Any) -> Callable[..., Any]:
    """Start a worker that writes events: `with run_worker(hostname="w2@here") as worker`."""

    @contextmanager
    def run(**options: Any) -> Iterator[Any]:
        options = {
            **{"pool": "threads", "concurrency": 2, "hostname": NODE, "beat": False, "task_events": True},
            **options,
        }
        with app.start_worker(**options) as worker:
            yield worker.worker

    return run


def kept(app: Any, after: int = 0) -> list[dict[str, Any]]:
    """The events that the journal has."""
    return list(app.events.Receiver(after=after).read())


def types_of(app: Any, task_id: str) -> list[str]:
    """The types of the events of a task, in their order."""
    return [event["type"] for event in kept(app) if event.get("uuid") == task_id]


def ended(*results: Any) -> None:
    """Wait until these have ended, however."""
    for result in results:
        wait_until(result.ready)
