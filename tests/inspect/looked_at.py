"""An app whose tasks end in every way."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from litequeue import LiteQueue
from litequeue.exceptions import Ignore
from litequeue.worker.control import inspect_command

app = LiteQueue("looked_at", set_as_current=False)
logger = logging.getLogger("looked_at")


@app.task(shared=False)
def add(x: int, y: int) -> int:
    return x + y


@app.task(shared=False)
def total(values: list[int]) -> int:
    return sum(values)


def fail(word: str) -> None:
    raise ValueError(f"no {word}")


@app.task(shared=False)
def boom(word: str = "way") -> None:
    fail(word)


@app.task(shared=False)
def wrong() -> None:
    raise KeyError("gone")


@app.task(shared=False, bind=True, max_retries=5)
def flaky(self: Any) -> None:
    try:
        raise ConnectionError("no answer")
    except ConnectionError as error:
        raise self.retry(exc=error, countdown=600) from error


@app.task(shared=False)
def ignored() -> None:
    raise Ignore


@app.task(shared=False, rate_limit="1/h")
def limited() -> int:
    return 1


@app.task(shared=False, bind=True)
def hold(self: Any, path: str) -> str:
    """Run until `path` is there."""
    open(f"{path}.{self.request.id}", "w").close()
    while not os.path.exists(path):
        time.sleep(0.002)
    return "end"


@app.task(shared=False, bind=True, log_lines=10)
def tell(self: Any, path: str) -> None:
    """Log, say how far it is, and run until `path` is there."""
    logger.warning("half of it")
    self.progress(1, 2, "half")
    open(f"{path}.{self.request.id}", "w").close()
    while not os.path.exists(path):
        time.sleep(0.002)


@app.task(shared=False, bind=True, log_lines=10)
def told_twice(self: Any) -> None:
    """Log, and be tried once more."""
    logger.warning("on its way")
    if not self.request.retries:
        raise self.retry(countdown=0)


@inspect_command(args=[("word", str)], signature="<word>")
def echo(state: Any, word: str) -> Any:
    """Say a word back."""
    return {"ok": word}
