"""An app on a file of its own, a few tasks, and a worker in threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.app import current as local
from litequeue.exceptions import Ignore


class Gates:
    """Where tasks are held until the test lets them go on."""

    def __init__(self) -> None:
        self.reached: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.opened: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def await_task(self, name: str) -> None:
        """Wait until the task that is held at `name` has started."""
        assert self.reached[name].wait(20)

    def open(self, *names: str) -> None:
        """Let the tasks that are held there go on, now or when they come."""
        for name in names:
            self.opened[name].set()

    def open_all(self) -> None:
        """Let every task that is held go on."""
        self.open(*self.reached)


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQueue]:
    """An app on `tmp_path/queue.db`, current while the test runs."""
    before = local.saved_apps()
    app = LiteQueue("proj", broker=tmp_path / "queue.db", durability="normal")
    yield app
    app.close()
    local.restore_apps(before)


@pytest.fixture
def tasks(app: LiteQueue, gates: Gates) -> SimpleNamespace:
    """`give(…, value)`, `add(…)`, `fail(…)`, `ignore()`, and `hold(…, gate)`, which waits there."""

    @app.task(name="give")
    def give(*args: Any) -> Any:
        return args[-1]

    @app.task(name="add")
    def add(*args: Any) -> Any:
        return sum(sum(arg) if isinstance(arg, list) else arg for arg in args)

    @app.task(name="fail")
    def fail(*args: Any) -> None:
        raise ValueError(args[-1])

    @app.task(name="ignore")
    def ignore(*args: Any) -> None:
        raise Ignore

    @app.task(name="hold")
    def hold(*args: Any) -> Any:
        gate = args[-1]
        gates.reached[gate].set()
        assert gates.opened[gate].wait(20)
        return gate

    return SimpleNamespace(give=give, add=add, fail=fail, ignore=ignore, hold=hold)


@pytest.fixture
def worker(app: LiteQueue, tasks: SimpleNamespace, gates: Gates) -> Iterator[Callable[..., Any]]:
    """Starts a worker in four threads when the test asks for it."""
    started: list[Any] = []

    def start(**options: Any) -> Any:
        started.append(app.start_worker(**{"pool": "threads", "concurrency": 4, **options}))
        return started[-1]

    yield start
    gates.open_all()
    for each in started:
        assert each.stop(timeout=20)
