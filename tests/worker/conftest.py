"""A running worker around the exercise tasks, in each pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.worker import exercise

POOLS = ("prefork", "threads", "solo", "asyncio")


def wait_until(fact: Callable[[], Any], timeout: float = 20.0) -> Any:
    """What `fact` returns as soon as it is true; fails when it is not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := fact()):
        assert time.monotonic() < deadline, "the fact did not come true in time"
        time.sleep(0.002)
    return value


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    """The exercise app on a fresh file."""
    exercise.app.conf.broker_url = str(tmp_path / "queue.db")
    yield exercise.app
    exercise.app.close()


@pytest.fixture
def run_worker(app: Any) -> Callable[..., Any]:
    """Start a worker: `with run_worker(pool="prefork", concurrency=2) as worker`."""

    @contextmanager
    def run(**options: Any) -> Iterator[Any]:
        options.setdefault("concurrency", 2)
        with app.start_worker(**options) as worker:
            yield worker

    return run


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def lines(path: Path) -> list[str]:
    """The lines that tasks wrote."""
    return path.read_text().splitlines() if path.exists() else []
