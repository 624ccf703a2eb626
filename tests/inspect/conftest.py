"""A queue that is looked at, and workers around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Project
from tests.cli.conftest import project as project
from tests.control.conftest import NODE, OTHER, on_fresh_file
from tests.control.conftest import run_worker as run_worker
from tests.control.conftest import worker as worker
from tests.inspect import looked_at
from tests.worker.conftest import wait_until

NAME = "tests.inspect.looked_at."

__all__ = ("NAME", "NODE", "OTHER", "Project", "wait_until")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    """The app on a fresh file."""
    with on_fresh_file(looked_at.app, tmp_path) as app:
        yield app


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
