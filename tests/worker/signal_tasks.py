"""An app whose receivers write down what signals say, in whichever process they are sent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from litequeue import LiteQueue, signals
from tests.worker.exercise import note

app = LiteQueue("signalled", set_as_current=False)
HEARD = (
    *("celeryd_init", "celeryd_after_setup", "worker_init", "worker_before_create_process", "worker_process_init"),
    *("worker_process_shutdown", "worker_ready", "worker_shutting_down", "worker_shutdown", "heartbeat_sent"),
    *("task_revoked", "import_modules"),
)


@app.task
def work() -> int:
    return os.getpid()


def _listen(name: str) -> None:
    def hear(signal: Any, sender: Any, **named: Any) -> None:
        if app.conf.broker_url:
            note(f"{app.conf.broker_url}.heard", json.dumps([name, repr(sender), os.getpid(), _plain(named)]))

    getattr(signals, name).connect(hear, weak=False, dispatch_uid=f"{__name__}.{name}")


def _plain(named: dict[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, int | str | None) else repr(value) for key, value in named.items()}


def listen() -> None:
    for name in HEARD:
        _listen(name)


def ignore() -> None:
    for name in HEARD:
        getattr(signals, name).disconnect(dispatch_uid=f"{__name__}.{name}")


def heard(queue: Path) -> list[list[Any]]:
    """(signal, sender, pid, arguments) in the order in which they were sent."""
    path = Path(f"{queue}.heard")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if os.environ.get("SIGNAL_TASKS_LISTEN"):  # a child process, or a worker from the command line
    listen()
