"""Tasks that say something while they run."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from typing import Any

from litequeue import LiteQueue
from litequeue.utils.log import get_task_logger

app = LiteQueue("logging_tasks", task_log_lines=20, set_as_current=False)

logger = logging.getLogger("tests.logging_tasks")
logger.setLevel(logging.DEBUG)
alone = logging.getLogger("tests.logging_tasks.alone")
alone.propagate = False
alone.addHandler(logging.NullHandler())
task_logger = get_task_logger("tests.logging_tasks.task")
task_logger.setLevel(logging.INFO)


def wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.002)


@app.task(bind=True)
def say(self: Any, *texts: str) -> None:
    for text in texts:
        logger.info("%s by %s", text, self.request.id)


@app.task
def say_everywhere() -> None:
    logger.debug("too low")
    alone.warning("to itself")
    task_logger.info("as a task")
    logging.getLogger("litequeue.worker.x").error("of the engine")


@app.task
def say_and_fail(text: str) -> None:
    logger.info(text)
    try:
        raise LookupError("inner")
    except LookupError:
        logger.exception("caught")
    raise ValueError("the end")


@app.task(bind=True)
def say_and_wait(self: Any, text: str, path: str) -> int:
    logger.info("%s %d", text, self.request.attempt)
    wait_for(path)
    logger.info("went on")
    return int(self.request.attempt)


@app.task(bind=True)
async def say_and_await(self: Any, path: str) -> None:
    logger.info("begins %s", self.request.id)
    while not os.path.exists(path):
        await asyncio.sleep(0.002)
    await asyncio.to_thread(logger.info, "in a thread %s", self.request.id)


@app.task
def inner() -> None:
    logger.info("inner")


@app.task
def outer() -> None:
    logger.info("before")
    inner()
    inner.apply()
    logger.info("after")


@app.task(bind=True, default_retry_delay=0)
def say_and_retry(self: Any) -> None:
    logger.info("attempt %d", self.request.attempt)
    if self.request.retries < 2:
        raise self.retry()


@app.task(log_lines=0)
def say_unheard() -> None:
    logger.info("not kept")


@app.task(log_lines=3)
def say_much(count: int) -> None:
    for number in range(count):
        logger.info("line %d", number)


@app.task
def say_odd_things() -> None:
    alone.info("x" * 10_000)
    alone.info("half a pair \ud800, nul \x00, æ")
    alone.info("%d apples", "no")
    alone.info("%s", Unspeakable())
    alone.handle(logging.makeLogRecord({"name": alone.name, "msg": "odd", "levelno": 10**30, "created": float("nan")}))
    alone.handle(logging.makeLogRecord({"name": alone.name, "msg": "no time", "levelno": 30, "created": "yesterday"}))


class Unspeakable:
    def __str__(self) -> str:
        alone.info("while it was spoken of")
        raise RuntimeError("no words")


@app.task(bind=True, max_retries=0)
def say_and_die(self: Any, path: str) -> int:
    if self.request.attempt == 1:
        logger.info("last words")
        wait_for(path)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(30)
    return int(self.request.attempt)


@app.task
def leave_a_thread_behind(path: str) -> None:
    def late() -> None:
        wait_for(path)
        logger.info("in a thread of its own")

    threading.Thread(target=late).start()


@app.task
def fork_and_say() -> None:
    logger.info("parent")
    pid = os.fork()
    if pid == 0:
        logger.info("child")
        os._exit(0)
    os.waitpid(pid, 0)
