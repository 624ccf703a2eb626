"""The tasks of random canvases: each does what it is told, and writes down that it ran, and with what."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from litequeue import signature
from litequeue.exceptions import Ignore
from tests.canvas.semantics.evaluator import digest, result_of
from tests.canvas.semantics.tasks import Bad, app, journal, note


@app.task(bind=True, max_retries=None)
def node(self: Any, *args: Any) -> str:
    """Do what the last argument says, and write down what it was given."""
    *inputs, told = args
    uid, fate, times, wish = told
    request = self.request
    note("run", uid, request.retries, digest(inputs), request.id)
    match fate:
        case "fail":
            raise Bad(uid)
        case "broken" if not journal().with_name("mended").exists():
            raise Bad(uid)
        case "ignore":
            raise Ignore()
        case "flaky" if request.retries < times:
            raise self.retry(countdown=0)
        case "replace":
            raise self.replace(signature(wish, app=self.app))
        case "enlarge":
            self.add_to_chord(signature(wish, app=self.app))
    return result_of(uid, inputs)


@app.task
def item(told: Sequence[int]) -> str:
    """One turn of a map."""
    return item2.run(*told)


@app.task
def item2(uid: int, index: int) -> str:
    """One turn of a starmap."""
    note("run", uid, index, "loop", None)
    return f"{uid}.{index}"


@app.task
def old_errback(task_id: str, uid: int) -> None:
    note("errback", uid, "old", task_id)


@app.task
def new_errback(request: Any, exc: Any, traceback: Any, uid: int = 0) -> None:
    note("errback", uid, "new", request.id)


@app.task(bind=True)
def bound_errback(self: Any, task_id: str, uid: int) -> None:
    note("errback", uid, "bound", task_id)


@app.task
def fixed_errback(uid: int) -> None:
    note("errback", uid, "immutable", None)


@app.task
def failing_errback(task_id: str, uid: int) -> None:
    note("errback", uid, "failing", task_id)
    raise Bad(uid)


@app.task
def opened(path: str) -> str:
    """Run until there is a file `path`, a few seconds at most."""
    deadline = time.monotonic() + 10
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.001)
    return "go"
