"""What an embedded worker's processes log reaches the program's own handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.conftest import wait_until
from tests.worker.exercise import add, fail


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_records_of_tasks_reach_the_root_logger(
    run_worker: Callable[..., Any], caplog: pytest.LogCaptureFixture, pool: str
) -> None:
    caplog.set_level(logging.INFO)
    with run_worker(pool=pool, concurrency=1):
        good = add.apply_async((2, 3), argsrepr="(hidden)")
        assert good.get(timeout=20) == 5
        bad = fail.delay("because")
        bad.get(timeout=20, propagate=False)

        def found(word: str, task_id: str) -> Any:
            return [
                record for record in caplog.records if word in record.getMessage() and task_id in record.getMessage()
            ]

        (succeeded,) = wait_until(lambda: found("succeeded", good.id))
        (failed,) = wait_until(lambda: found("raised unexpected", bad.id))
        (received,) = wait_until(lambda: found("received", good.id))
    assert succeeded.data["id"] == good.id
    assert received.data == succeeded.data == {**succeeded.data, "args": "(hidden)", "kwargs": "{}"}
    assert failed.levelno == logging.ERROR
    assert "because" in failed.getMessage()
