"""A queue that is looked at, and workers around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Project
from tests.cli.conftest import project as project
from tests.inspect import looked_at
from tests.worker.conftest import wait_until

NODE = "w1@here"
OTHER = "w2@here"
NAME = "tests.inspect.looked_at."

__all__ = ("NAME", "NODE", "OTHER", "Project", "wait_until")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    """The app on a fresh file."""
    before = dict(looked_at.app.conf.changes)
    looked_at.app.conf.broker_url = str(tmp_path / "queue.db")
    yield looked_at.app
    looked_at.app.close()
    for name in looked_at.app.conf.changes.keys() - before.keys():
        looked_at.app.conf.pop(name)


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

    def hold(task: Any = looked_at.hold, **options: Any) -> Any:
        result = task.apply_async((str(gate),), **options)
        wait_until(Path(f"{gate}.{result.id}").exists)
        return result

    return hold


@pytest.fixture
def ended(run_worker: Callable[..., Any]) -> Callable[..., None]:
    """Run these results' tasks to their end, or to where they wait again, in a worker of its own."""

    def end(*results: Any) -> None:
        with run_worker():
            for result in results:
                wait_until(lambda: result.state in ("SUCCESS", "FAILURE", "RETRY", "IGNORED", "REVOKED"))  # noqa: B023

    return end
