"""Workers inside a program."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue, current_app, shared_task
from litequeue.app.embedded import EmbeddedWorker, worker_options
from litequeue.contrib.testing import worker as testing
from litequeue.contrib.testing.app import TestApp, setup_default_app
from litequeue.exceptions import ImproperlyConfigured, QueueNotFound
from litequeue.utils.nodenames import anon_nodename, gethostname

MakeApp = Callable[..., LiteQueue]

module_app = LiteQueue("tests.embedded", broker="unused.db", durability="normal", set_as_current=False)


@module_app.task(shared=False)
def pid() -> int:
    return os.getpid()


@pytest.fixture
def importable(tmp_path: Path) -> Iterator[LiteQueue]:
    """An app that a child process can import."""
    module_app.conf.broker_url = str(tmp_path / "queue.db")
    yield module_app
    module_app.close()


class TestStartWorker:
    """`app.start_worker()`."""

    @pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
    def test_in_this_process(self, app: LiteQueue, pool: str) -> None:
        task = app.task(lambda: [os.getpid(), threading.current_thread() is threading.main_thread()], name="t")
        with app.start_worker(pool=pool) as worker:
            assert isinstance(worker, EmbeddedWorker)
            assert task.delay().get(timeout=10) == [os.getpid(), False]
        assert app.store.processes() == []

    def test_in_child_processes(self, importable: LiteQueue) -> None:
        with importable.start_worker(pool="prefork", concurrency=2) as worker:
            assert pid.delay().get(timeout=30) != os.getpid()
            assert {process.role for process in importable.store.processes()} == {"worker", "beat", "child", "control"}
            assert "EmbeddedWorker" in repr(worker)
        assert importable.store.processes() == []

    def test_two_apps_on_one_file(self, app: LiteQueue, make_app: MakeApp) -> None:
        add = app.task(lambda x, y: x + y, name="add")
        sender = make_app("sender")
        app.finalize()
        with app.start_worker():
            assert sender.send_task("add", (1, 2)).get(timeout=10) == 3
        assert add.name in sender.tasks

    def test_stopping_finishes_what_runs(self, app: LiteQueue) -> None:
        started, go = threading.Event(), threading.Event()

        def wait() -> str:
            started.set()
            assert go.wait(10)
            return "finished"

        result = app.task(wait).delay()
        worker = app.start_worker(concurrency=1)
        assert started.wait(10)
        assert worker.stop(timeout=0) is False
        go.set()
        assert worker.stop(timeout=10) is True
        assert result.get(timeout=1) == "finished"

    def test_burst(self, app: LiteQueue) -> None:
        task = app.task(lambda x: x, name="t")
        results = [task.delay(i) for i in range(20)]
        worker = app.start_worker(burst=True)
        assert worker.worker.stopped.wait(10)
        assert [result.get(timeout=0) for result in results] == list(range(20))

    def test_its_queues(self, app: LiteQueue) -> None:
        task = app.task(lambda x: x, name="t")
        left = task.apply_async((1,), queue="other")
        with app.start_worker(queues="fast, faster"):
            assert task.apply_async((2,), queue="faster").get(timeout=10) == 2
        assert left.state == "PENDING"

    def test_a_queue_of_its_own(self, make_app: MakeApp) -> None:
        app = make_app(worker_direct=True)
        task = app.task(lambda x: x, name="t")
        with app.start_worker(hostname="w1@here"), app.start_worker(hostname="w2@here"):
            result = task.apply_async((1,), queue="w2@here.dq")
            assert result.get(timeout=10) == 1
            assert app.AsyncResult(result.id).worker == "w2@here"
            assert task.delay(2).get(timeout=10) == 2

    def test_what_the_options_mean(self, make_app: MakeApp) -> None:
        app = make_app(task_queues=["a", "b", "c"], task_create_missing_queues=False, worker_concurrency=3)
        options = worker_options(app)
        assert (options.pool, options.concurrency, options.queues) == ("threads", 3, ("a", "b", "c"))
        assert options.node == anon_nodename()
        options = worker_options(
            app, pool="solo", queues=["a"], hostname="w1@%h", loglevel="INFO", without_heartbeat=True
        )
        assert (options.concurrency, options.queues, options.node) == (1, ("a",), f"w1@{gethostname()}")
        assert options.loglevel == 20
        assert worker_options(app, exclude_queues="b").queues == ("a", "c")
        assert worker_options(app, pool="processes", concurrency=2).pool == "prefork"
        with pytest.raises(QueueNotFound):
            worker_options(app, queues="d")
        with pytest.raises(TypeError, match="'concurency'"):
            worker_options(app, concurency=2)
        with pytest.raises(ImproperlyConfigured, match="eventlet"):
            app.start_worker(pool="eventlet")

    def test_a_worker_that_is_started_by_hand(self, app: LiteQueue) -> None:
        task = app.task(lambda: "x", name="t")
        app.finalize()
        for made in (app.Worker(concurrency=1), app.WorkController(concurrency=1)):
            made.start()
            assert made.ready.wait(10)
            assert task.delay().get(timeout=10) == "x"
            assert made.stop(timeout=10)


class TestTesting:
    """`litequeue.contrib.testing`."""

    def test_an_app_in_memory(self) -> None:
        with TestApp(config={"task_default_queue": "tests"}) as app:
            task = app.task(lambda x: 2 * x, name="double")
            assert app.conf.task_default_queue == "tests"
            assert app.conf.timezone == "UTC"
            with testing.start_worker(app) as worker:
                assert worker.options.node == anon_nodename()
                assert task.delay(4).get(timeout=10) == 8

    def test_an_app_on_a_file(self, tmp_path: Path) -> None:
        with TestApp("mine", broker=tmp_path / "t.db") as app:
            assert app.store.path == str(tmp_path / "t.db")

    def test_start_worker_makes_the_app_current_and_pings(self, app: LiteQueue) -> None:
        told: list[str] = []

        @testing.test_worker_starting.connect
        def starting(sender: Any, **kw: Any) -> None:
            told.append("starting")

        @testing.test_worker_started.connect
        def started(sender: Any, worker: Any, **kw: Any) -> None:
            told.append("started")

        @testing.test_worker_stopped.connect
        def stopped(sender: Any, worker: Any, **kw: Any) -> None:
            told.append("stopped")

        with testing.start_worker(app, pool="threads", concurrency=2):
            assert current_app == app
            assert "celery.ping" in app.tasks
            assert app.store.counts()["celery"] == {"succeeded": 1}
        assert told == ["starting", "started", "stopped"]

    def test_without_the_ping(self, app: LiteQueue) -> None:
        with testing.start_worker(app, perform_ping_check=False):
            assert app.store.counts() == {}

    def test_a_worker_that_does_not_stop_in_time(self, app: LiteQueue) -> None:
        go = threading.Event()
        task = app.task(lambda: go.wait(10), name="t")
        with pytest.raises(RuntimeError, match="did not stop within"), testing.start_worker(app, shutdown_timeout=0.05):
            result = task.delay()
            seen = app.store.changes()
            while result.state != "STARTED":
                seen = app.store.wait_for_change(seen, 5)
        go.set()
        result.get(timeout=10)

    def test_in_child_processes(self, importable: LiteQueue) -> None:
        importable.conf.include = ("litequeue.contrib.testing.tasks",)
        with testing.start_worker(importable, pool="prefork", ping_task_timeout=30):
            assert pid.delay().get(timeout=30) != os.getpid()

    def test_setup_default_app_restores(self, app: LiteQueue, make_app: MakeApp) -> None:
        inner = make_app("inner", set_as_current=False)
        with setup_default_app(inner):
            inner.set_current()
            inner.set_default()
            shared_task(lambda: 1, name="only inside")
            assert current_app == inner
        assert current_app == app
        assert "only inside" not in make_app("later").tasks

    def test_a_trap(self, app: LiteQueue, make_app: MakeApp) -> None:
        with setup_default_app(make_app("inner", set_as_current=False), use_trap=True):
            with pytest.raises(RuntimeError, match="depends on current_app"):
                _ = current_app.conf
            assert current_app._is_coroutine is None
        assert current_app == app
