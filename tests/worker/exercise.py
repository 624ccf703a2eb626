"""The tasks that do as they are told: their arguments choose their fate."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

from litequeue import LiteQueue
from litequeue.exceptions import Ignore, Reject, SoftTimeLimitExceeded, WorkerShutdown

app = LiteQueue("exercise", set_as_current=False)


def note(path: str, text: str) -> None:
    """One line in a file that every process may write to: what really ran."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (text + "\n").encode())
    os.close(fd)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(bind=True)
def who(self: Any) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "main": threading.current_thread() is threading.main_thread(),
        "hostname": self.request.hostname,
        "attempt": self.request.attempt,
    }


@app.task(bind=True)
def wait_for(self: Any, path: str, log: str = "") -> int:
    """Run until the file `path` is there."""
    if log:
        note(log, f"start {self.request.id} {os.getpid()} {self.request.attempt}")
    while not os.path.exists(path):
        time.sleep(0.002)
    if log:
        note(log, f"end {self.request.id} {os.getpid()} {self.request.attempt}")
    return self.request.attempt


@app.task(bind=True, acks_late=False)
def wait_for_once(self: Any, path: str, log: str) -> int:
    """`wait_for`, at most once."""
    return wait_for.run(path, log)


@app.task
def quick(log: str = "", number: int = 0) -> int:
    if log:
        note(log, f"quick {number} {time.time()}")
    return number


@app.task
def slow_at_times(gate: str, number: int) -> int:
    """Almost always quick, so that workers claim many at once; with a gate it runs until the file is there."""
    while gate and not os.path.exists(gate):
        time.sleep(0.002)
    return number


@app.task
def hog(size: int) -> int:
    """Keep the interpreter's lock for a while, inside one call of C code."""
    return sum(range(size))


@app.task(bind=True)
def die(self: Any, signum: int = signal.SIGKILL, times: int = 99) -> int:
    if self.request.attempt <= times:
        os.kill(os.getpid(), signum)
        time.sleep(30)
    return self.request.attempt


@app.task
def exit_process(code: int) -> None:
    os._exit(code)


@app.task
def fail(text: str) -> None:
    raise ValueError(text)


@app.task
def leave(code: int) -> None:
    raise SystemExit(code)


@app.task
def interrupt(kind: str) -> None:
    raise {"keyboard": KeyboardInterrupt, "shutdown": WorkerShutdown, "generator": GeneratorExit}[kind]


@app.task
def ignore() -> None:
    raise Ignore


@app.task(bind=True)
def reject(self: Any, requeue: bool) -> int:
    if requeue and self.request.delivery_info["redelivered"]:
        return self.request.attempt
    raise Reject("no", requeue=requeue)


@app.task(bind=True, max_retries=3)
def retry(self: Any, times: int, countdown: float = 0) -> int:
    if self.request.retries < times:
        raise self.retry(countdown=countdown)
    return self.request.retries


@app.task
async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


@app.task
async def loop_id() -> int:
    return id(asyncio.get_running_loop())


@app.task
def grow(megabytes: int) -> int:
    held.append(bytearray(megabytes * 1024 * 1024))
    return os.getpid()


held: list[bytearray] = []


@app.task
def unencodable() -> object:
    return {"a": [object()]}


@app.task(bind=True)
def progress(self: Any, path: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 3})
    while not os.path.exists(path):
        time.sleep(0.002)
    return "end"


@app.task(bind=True)
def overtime(self: Any, path: str, catch: bool = False) -> str:
    try:
        while not os.path.exists(path):
            time.sleep(0.002)
    except SoftTimeLimitExceeded:
        if not catch:
            raise
        return "caught"
    return "in time"


@app.task(bind=True)
def enqueue_until_late(self: Any) -> int:
    """Be inside a transaction nearly all the time."""
    made = 0
    try:
        while True:
            quick.apply_async(queue="elsewhere")
            made += 1
    except SoftTimeLimitExceeded:
        return made
