"""An app with tasks to be steered and commands of its own."""

from __future__ import annotations

import os
import time
from typing import Any

from litequeue import LiteQueue
from litequeue.exceptions import WorkerShutdown
from litequeue.worker.control import control_command, inspect_command

app = LiteQueue("steered", set_as_current=False)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(rate_limit="1000/s")
def limited() -> int:
    return 1


@app.task(bind=True)
def hold(self: Any, path: str) -> str:
    """Run until `path` is there."""
    open(f"{path}.{self.request.id}", "w").close()
    while not os.path.exists(path):
        time.sleep(0.002)
    return "end"


@control_command(args=[("word", str), ("times", int)], signature="<word> [times]", group="Own")
def say(state: Any, word: str, times: int = 1) -> Any:
    """Say a word."""
    return {"ok": " ".join([word] * times)}


@inspect_command
def seen(state: Any) -> Any:
    return {"app": state.app.main, "node": state.hostname, "slots": state.consumer.concurrency}


@inspect_command(visible=False)
def broken(state: Any) -> Any:
    raise RuntimeError("broken as ever")


@inspect_command(visible=False)
def unsayable(state: Any) -> Any:
    return {"ok": object()}


@control_command(visible=False)
def interrupted(state: Any) -> Any:
    raise KeyboardInterrupt


@control_command(visible=False)
def leave(state: Any) -> Any:
    raise WorkerShutdown(0)


@control_command(visible=False)
def take_time(state: Any, path: str) -> Any:
    while not os.path.exists(path):
        time.sleep(0.002)
    return {"ok": "late"}
