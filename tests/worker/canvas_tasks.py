"""Tasks to make canvases of, for tests of what workers do with them."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from litequeue import LiteQueue
from litequeue.exceptions import Ignore
from tests.worker.exercise import note

app = LiteQueue("canvas_tasks", set_as_current=False)


@app.task
def same(value: Any, log: str = "") -> Any:
    if log:
        note(log, f"same {json.dumps(value)}")
    return value


@app.task
def total(values: list[int], log: str = "") -> int:
    if log:
        note(log, f"total {json.dumps(values)}")
    return sum(values)


@app.task
def grow(value: int) -> int:
    return value + 1


@app.task
def fail(*_: Any) -> None:
    raise ValueError("no")


@app.task(ignore_result=True)
def silent(value: Any) -> Any:
    return value


@app.task
def leave(*_: Any) -> None:
    raise Ignore


@app.task(bind=True)
def die(self: Any, value: Any = None, times: int = 1, log: str = "") -> Any:
    """Take the process along at the first `times` attempts."""
    if log:
        note(log, f"die {self.request.attempt} {json.dumps(value)}")
    if self.request.attempt <= times:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(30)
    return value


@app.task(bind=True, acks_late=False)
def die_once(self: Any, value: Any = None) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


@app.task(bind=True)
def wait_for(self: Any, path: str, value: Any = None, log: str = "") -> Any:
    """Run until the file `path` is there."""
    if log:
        note(log, f"wait {self.request.id}")
    while not os.path.exists(path):
        time.sleep(0.002)
    return value


@app.task
def errback(task_id: str, log: str) -> None:
    note(log, f"old {task_id}")


@app.task
def told(request: Any, exc: BaseException, traceback: str | None, log: str) -> None:
    note(log, f"new {request.id} {request.args} {type(exc).__name__} {bool(traceback)}")


@app.task
def bad_errback(task_id: str, log: str) -> None:
    note(log, f"bad {task_id}")
    raise KeyError(task_id)


@app.task(bind=True)
def becomes_taken(self: Any, task_id: str) -> Any:
    """Be replaced by a chain, one task of which has an id that the file has already."""
    return self.replace(same.si(1).set(task_id=task_id) | same.si(2))


@app.task(bind=True)
def adds_taken(self: Any, task_id: str) -> int:
    self.add_to_chord(same.si(1).set(task_id=task_id))
    return 1


@app.task(bind=True)
def becomes_dying(self: Any, log: str) -> Any:
    """Be replaced by a chord whose members take their processes along."""
    from litequeue import chord

    return self.replace(chord([die.s(1, log=log), die.s(2, log=log)], total.s(log=log)))
