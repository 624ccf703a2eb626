"""Time limits: kept where tasks run in processes, refused where they cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litequeue import states
from litequeue.exceptions import ImproperlyConfigured, SoftTimeLimitExceeded, TimeLimitExceeded
from tests.worker.exercise import add, enqueue_until_late, overtime, who


def test_the_hard_limit_kills_that_child_alone(run_worker: Callable[..., Any], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool="prefork", concurrency=2):
        pids = {who.delay().get(timeout=20)["pid"] for _ in range(10)}
        started = time.monotonic()
        late = overtime.apply_async((str(gate),), time_limit=0.3)
        neighbour = overtime.delay(str(gate))
        with pytest.raises(TimeLimitExceeded, match=r"0\.3"):
            late.get(timeout=20)
        assert 0.3 <= time.monotonic() - started < 2.0
        assert late.state == states.FAILURE
        assert late.history[-1].outcome == "failed", "the task is not run again"
        gate.touch()
        assert neighbour.get(timeout=20) == "in time"
        assert add.delay(1, 1).get(timeout=20) == 2, "the child was replaced"
    assert pids


@pytest.mark.parametrize("catch", [False, True])
def test_the_soft_limit_is_raised_inside_the_task(run_worker: Callable[..., Any], tmp_path: Path, catch: bool) -> None:
    with run_worker(pool="prefork", concurrency=1):
        before = who.delay().get(timeout=20)["pid"]
        result = overtime.apply_async((str(tmp_path / "gate"), catch), soft_time_limit=0.2, time_limit=20)
        if catch:
            assert result.get(timeout=20) == "caught"
        else:
            with pytest.raises(SoftTimeLimitExceeded):
                result.get(timeout=20)
        assert who.delay().get(timeout=20)["pid"] == before


def test_the_limits_of_the_worker(run_worker: Callable[..., Any], tmp_path: Path) -> None:
    with run_worker(pool="prefork", concurrency=1, time_limit=0.3, soft_time_limit=0.1):
        assert add.delay(1, 1).get(timeout=20) == 2
        with pytest.raises(SoftTimeLimitExceeded):
            overtime.delay(str(tmp_path / "gate")).get(timeout=20)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_that_cannot_says_so(app: Any, pool: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ImproperlyConfigured, match="prefork"):
        app.start_worker(pool=pool, time_limit=1)
    with app.start_worker(pool=pool, concurrency=1):
        (tmp_path / "gate").touch()
        assert overtime.apply_async((str(tmp_path / "gate"),), time_limit=5).get(timeout=20) == "in time"
    assert "time limits of tests.worker.exercise.overtime are not kept" in caplog.text


def test_a_soft_limit_never_leaves_a_transaction_half_way(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork", concurrency=1):
        for _ in range(5):
            made = enqueue_until_late.apply_async(soft_time_limit=0.1, time_limit=20).get(timeout=20)
            assert made > 0
            assert add.delay(1, 1).get(timeout=20) == 2
            assert app.store.purge(["elsewhere"]) in (made, made + 1), "the last one may be written and not counted"
