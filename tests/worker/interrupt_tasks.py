"""Tasks to be interrupted, each at something else."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from litequeue import LiteQueue
from litequeue.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded
from tests.worker.exercise import note

app = LiteQueue("interrupt_tasks", set_as_current=False)
logger = logging.getLogger("tests.interrupt_tasks")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def tick() -> None:
    """What others enqueue."""


def _until_late(step: Callable[[], Any], seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        step()
    return "in time"


@app.task
def compute(seconds: float = 30) -> str:
    return _until_late(lambda: sum(range(50)), seconds)


@app.task
def enqueue(seconds: float = 30) -> str:
    return _until_late(lambda: tick.apply_async(queue="elsewhere"), seconds)


@app.task(bind=True)
def read(self: Any, seconds: float = 30) -> str:
    result = app.AsyncResult(self.request.id)
    return _until_late(lambda: result.state, seconds)


@app.task(bind=True)
def tell(self: Any, seconds: float = 30) -> str:
    return _until_late(lambda: self.update_state(state="PROGRESS", meta={"n": 1}), seconds)


@app.task
def log(seconds: float = 30) -> str:
    return _until_late(lambda: logger.warning("still here"), seconds)


@app.task
def nap(seconds: float = 30) -> str:
    return _until_late(lambda: time.sleep(0.0005), seconds)


@app.task
def block(seconds: float = 30) -> str:
    """One call of the system."""
    time.sleep(seconds)
    return "in time"


@app.task
async def wait(seconds: float = 30) -> str:
    await asyncio.sleep(seconds)
    return "in time"


@app.task
async def wait_and_catch(seconds: float = 30) -> str:
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "caught"
    return "in time"


@app.task
async def compute_on_loop(seconds: float = 30) -> str:
    return _until_late(lambda: sum(range(50)), seconds)


STEADY = (compute, enqueue, read, tell, log, nap, compute_on_loop, wait)
"""Tasks that run until they are interrupted, or for as long as they are told."""


@app.task
def catch(then: float = 0.0) -> str:
    """Clean up at the soft limit."""
    try:
        while True:
            time.sleep(0.001)
    except SoftTimeLimitExceeded:
        time.sleep(then)
        return "caught"


@app.task
def shrug() -> str:
    """Take no notice of the soft limit; end at the next one, with a value."""
    try:
        while True:
            try:
                while True:
                    time.sleep(0.001)
            except SoftTimeLimitExceeded:
                pass
    except (TimeLimitExceeded, Terminated):
        return "caught"


@app.task(bind=True, max_retries=5)
def retry_when_interrupted(self: Any) -> None:
    try:
        while True:
            time.sleep(0.001)
    except Terminated as error:
        raise self.retry(exc=error, countdown=0) from error


@app.task(bind=True)
def clean_up(self: Any, path: str) -> None:
    """Say when it runs, and what ended it."""
    note(path, "start")
    try:
        while True:
            time.sleep(0.001)
    except BaseException as error:
        note(path, f"{type(error).__name__} {error.args}")
        raise
    finally:
        note(path, "end")


@app.task
def then_hold(path: str, gate: str) -> str:
    """Run until the file `gate` is there."""
    note(path, str(os.getpid()))
    while not os.path.exists(gate):
        time.sleep(0.001)
    return "in time"


class WithHandlers(app.Task):  # type: ignore[name-defined,misc]
    """Its handlers take long: nothing may be raised in them."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        time.sleep(0.15)
        note(args[0], f"handled {type(exc).__name__}")


@app.task(base=WithHandlers)
def fail_slowly(path: str) -> None:
    time.sleep(0.02)
    raise ValueError("no")
