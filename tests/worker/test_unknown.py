"""A task that no worker knows is neither discarded nor hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from litequeue import signals, states
from litequeue.exceptions import TimeoutError
from tests.worker.conftest import wait_until
from tests.worker.exercise import add


def test_it_waits_where_everybody_can_see_it(
    app: Any, run_worker: Callable[..., Any], pool: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def hear(name: str, **_: Any) -> None:
        heard.append(name)

    signals.task_unknown.connect(hear)
    try:
        with run_worker(pool=pool, concurrency=1):
            first, second = app.send_task("nobody.knows"), app.send_task("nobody.knows")
            assert add.delay(1, 1).get(timeout=20) == 2, "it holds nobody up"
            wait_until(lambda: second.engine_state == "unregistered")
            assert first.state == states.PENDING
            with pytest.raises(TimeoutError, match=r"do not know the task 'nobody\.knows'"):
                first.get(timeout=0.01)
            assert wait_until(lambda: caplog.text.count("nobody.knows") == 1), "once for each name"
        assert heard == ([] if pool == "prefork" else ["nobody.knows"] * 2), "signals stay in their process"
    finally:
        signals.task_unknown.disconnect(hear)


def test_whoever_knows_it_takes_it_up(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="threads", concurrency=1):
        waiting = app.send_task("known.later", (2, 3))
        wait_until(lambda: waiting.engine_state == "unregistered")
    app.task(name="known.later")(lambda x, y: x * y)
    try:
        with run_worker(pool="threads", concurrency=1):
            assert waiting.get(timeout=20) == 6
    finally:
        app.tasks.unregister("known.later")
