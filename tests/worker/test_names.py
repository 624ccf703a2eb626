"""Two workers under one name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from litequeue.core import process
from litequeue.core.records import NewProcess
from litequeue.exceptions import DuplicateNodenameWarning
from tests.worker.exercise import add


def test_a_name_that_another_process_uses_is_warned_of(app: Any, run_worker: Callable[..., Any]) -> None:
    parent = os.getppid()  # some process that lives
    started = process._started(parent)
    assert started is not None
    identity = replace(process.current(), pid=parent, started=started)
    app.store.register(
        NewProcess(worker="same@here", role="worker", parent=None, identity=identity, queues=("celery",))
    )
    warned = pytest.warns(DuplicateNodenameWarning, match=rf"same@here \(pid {parent}\)")
    with warned, run_worker(pool="threads", concurrency=1, hostname="same@here"):
        assert add.delay(1, 1).get(timeout=20) == 2
