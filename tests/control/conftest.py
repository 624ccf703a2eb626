"""Workers that are steered, each in the process of the test or in one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Project
from tests.cli.conftest import project as project
from tests.control import steered
from tests.worker.conftest import wait_until

NODE = "w1@here"
OTHER = "w2@here"

__all__ = ("NODE", "OTHER", "Project", "on_fresh_file", "wait_until")


@contextmanager
def on_fresh_file(app: Any, folder: Path) -> Iterator[Any]:
    """The app of a test module on a file of its own; its settings are put back at the end."""
    before = dict(app.conf.changes)
    app.conf.broker_url = str(folder / "queue.db")
    yield app
    app.close()
    for name in app.conf.changes.keys() - before.keys():
        app.conf.pop(name)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    """The app on a fresh file."""
    with on_fresh_file(steered.app, tmp_path) as app:
        yield app


@pytest.fixture
def run_worker(app: Any, tmp_path: Path) -> Callable[..., Any]:
    """Start a worker: `with run_worker(hostname=OTHER) as worker`. At its end, `held` tasks end too."""

    @contextmanager
    def run(**options: Any) -> Iterator[Any]:
        options = {"pool": "threads", "concurrency": 2, "hostname": NODE, "beat": False, **options}
        with app.start_worker(**options) as worker:
            try:
                yield worker.worker
            finally:
                (tmp_path / "gate").touch()

    return run


@pytest.fixture
def worker(run_worker: Callable[..., Any]) -> Iterator[Any]:
    """A worker with two threads."""
    with run_worker() as running:
        yield running


@pytest.fixture
def held(app: Any, tmp_path: Path) -> Callable[..., Any]:
    """Start a task that runs until its worker is stopped: `held()` returns its result when it runs."""
    gate = tmp_path / "gate"

    def hold(**options: Any) -> Any:
        result = steered.hold.apply_async((str(gate),), **options)
        wait_until(Path(f"{gate}.{result.id}").exists)
        return result

    return hold
