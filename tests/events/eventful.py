"""An app whose tasks end in every way that there is an event for."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from litequeue import LiteQueue
from litequeue.exceptions import Ignore, Reject, Snooze

app = LiteQueue("eventful", set_as_current=False)


@app.task
def add(x: int, y: int = 2) -> int:
    return x + y


@app.task
def fail(text: str = "bad") -> None:
    raise ValueError(text)


@app.task(bind=True, max_retries=1)
def try_twice(self: Any, succeed: bool = True) -> str:
    if self.request.retries and succeed:
        return "at last"
    raise self.retry(exc=KeyError("once"), countdown=0)


@app.task
def ignore() -> None:
    raise Ignore


@app.task(bind=True)
def reject_once(self: Any) -> str:
    if self.request.delivery_info["redelivered"]:
        return "taken"
    raise Reject("not me", requeue=True)


@app.task(bind=True)
def refuse(self: Any) -> None:
    raise Reject("no", requeue=False)


@app.task(bind=True)
def snooze_once(self: Any, mark: str) -> str:
    if os.path.exists(mark):
        return "awake"
    open(mark, "w").close()
    raise Snooze(0)


@app.task(bind=True)
def become_add(self: Any) -> None:
    raise self.replace(add.s(1, 1))


@app.task(bind=True)
def tell(self: Any) -> str:
    self.send_event("task-progress", done=3, when=datetime(2030, 1, 1, tzinfo=UTC))
    self.send_event("order-paid", amount=5)
    return "told"


@app.task
def quiet() -> str:
    return "nothing kept"


@app.task(bind=True)
def hold(self: Any, path: str) -> str:
    """Run until `path` is there."""
    open(f"{path}.{self.request.id}", "w").close()
    while not os.path.exists(path):
        time.sleep(0.002)
    return "end"


@app.task(bind=True)
def call_add(self: Any) -> str:
    return str(add.delay(1, 1).id)


@app.task(bind=True)
def hold_and_retry(self: Any, path: str) -> str:
    """Run until `path` is there, and be retried."""
    open(f"{path}.{self.request.id}", "w").close()
    while not os.path.exists(path):
        time.sleep(0.002)
    raise self.retry(countdown=0)
