"""As many slots as the backlog asks for, within bounds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import group
from litequeue.exceptions import ImproperlyConfigured
from tests.worker import supervisor_tasks
from tests.worker.supervisor_tasks import program, quick, starts, wait_for, wait_until

POOLS = ("prefork", "threads", "asyncio")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    supervisor_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    monkeypatch.setitem(supervisor_tasks.app.conf, "worker_autoscale_keepalive", 0.4)
    yield supervisor_tasks.app
    supervisor_tasks.app.close()


@pytest.mark.parametrize("pool", POOLS)
def test_it_grows_by_what_waits_and_shrinks_when_idle(app: Any, tmp_path: Path, pool: str) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool=pool, autoscale=(4, 1), beat=False) as embedded:
        worker = embedded.worker
        assert worker.concurrency == 1
        try:
            results = [wait_for.delay(str(gate), str(log)) for _ in range(3)]
            began = time.monotonic()
            wait_until(lambda: len(starts(log)) == 3)
            assert time.monotonic() - began < 3
            assert worker.concurrency == 3, "as many as there was work for"
            results += [wait_for.delay(str(gate), str(log)) for _ in range(10)]
            wait_until(lambda: len(starts(log)) == 4)
            time.sleep(0.3)
            assert (worker.concurrency, len(starts(log))) == (4, 4)
        finally:
            gate.touch()  # the stop is a warm one
        assert [each.get(timeout=20) for each in results] == [1] * 13
        began = time.monotonic()
        sizes = {4}
        while worker.concurrency > 1:
            sizes.add(worker.concurrency)
            assert time.monotonic() - began < 20
            time.sleep(0.01)
        assert time.monotonic() - began >= 2 * 0.4, "one at a time, each after its keepalive"
        assert sizes | {1} == {4, 3, 2, 1}
        assert quick.delay().get(timeout=20) == 0


def test_a_slot_that_has_come_up_and_not_claimed_yet_counts_as_one(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with program(tmp_path, "--autoscale", "4,1", env={"SLOW_START": "0.5"}) as worker:
        group(wait_for.si(str(gate), str(log)) for _ in range(3)).delay()  # in one transaction
        wait_until(lambda: len(starts(log)) == 3)
        assert len(worker.child_pids()) == 3
        assert "Scaling from 1 to 3 slots" in worker.text()
        assert worker.text().count("Scaling") == 1
        gate.touch()


def test_from_no_slots(app: Any) -> None:
    with app.start_worker(pool="prefork", autoscale="2,0", beat=False) as embedded:
        assert embedded.worker.concurrency == 0
        assert quick.delay().get(timeout=20) == 0
        wait_until(lambda: embedded.worker.concurrency == 0)
        assert quick.apply_async(countdown=0.1).get(timeout=20) == 0, "also for what falls due"


def test_what_is_not_its_own_does_not_count(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with app.start_worker(pool="prefork", autoscale=(4, 1), beat=False) as embedded:
        running = wait_for.delay(str(gate), str(log))
        wait_until(lambda: starts(log))
        for _ in range(5):
            quick.apply_async(queue="elsewhere")
            quick.apply_async(countdown=100)
        app.store.pause("queue", ["celery"])
        for _ in range(5):
            quick.delay()
        time.sleep(0.5)
        assert embedded.worker.concurrency == 1
        app.store.resume("queue", ["celery"])
        wait_until(lambda: embedded.worker.concurrency > 1)
        gate.touch()
        assert running.get(timeout=20) == 1


def test_bounds_may_be_changed(app: Any, tmp_path: Path) -> None:
    with app.start_worker(pool="threads", concurrency=1, beat=False) as embedded:
        assert embedded.worker.autoscale is None
        embedded.worker.set_autoscale(6, 3)
        wait_until(lambda: embedded.worker.concurrency == 3)
        embedded.worker.set_autoscale(2, 1)
        wait_until(lambda: embedded.worker.concurrency == 2)
        for wrong in ((1, 2), (0, 0), (2, -1)):
            with pytest.raises(ValueError, match="autoscale"):
                embedded.worker.set_autoscale(*wrong)
        assert embedded.worker.autoscale == (2, 1)


def test_what_cannot_be(app: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="solo"):
        app.start_worker(pool="solo", autoscale=(2, 1))
    for wrong in ("a,b", (1, 2, 3), (0, 0), ("x",), 7, (2, -1)):
        with pytest.raises(ImproperlyConfigured, match="autoscale"):
            app.start_worker(pool="threads", autoscale=wrong)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_command_line(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    env = {"AUTOSCALE_KEEPALIVE": "0.3"}
    with program(tmp_path, "--autoscale", "3,1", env=env) as worker:
        group(wait_for.si(str(gate), str(log)) for _ in range(6)).delay()  # in one transaction
        wait_until(lambda: len(starts(log)) == 3)
        assert len(worker.child_pids()) == 3
        gate.touch()
        wait_until(lambda: len(worker.child_pids()) == 1)
        assert "Scaling from 1 to 3 slots" in worker.text()
        assert "processes" in worker.text()
