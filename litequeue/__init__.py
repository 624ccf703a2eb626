"""A task queue with Celery's API and semantics on one SQLite file, without a broker.

from litequeue import LiteQueue

app = LiteQueue("proj", broker="app.db")

@app.task
def add(x, y):
    return x + y

add.delay(2, 2).get()       # with a worker: litequeue -A proj worker
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litequeue import exceptions as exceptions
    from litequeue import states as states
    from litequeue.app.base import LiteQueue as LiteQueue
    from litequeue.app.current import current_app as current_app
    from litequeue.app.current import current_task as current_task
    from litequeue.app.declaring import shared_task as shared_task
    from litequeue.canvas.chains import chain as chain
    from litequeue.canvas.chords import chord as chord
    from litequeue.canvas.groups import group as group
    from litequeue.canvas.maps import chunks as chunks
    from litequeue.canvas.maps import xmap as xmap
    from litequeue.canvas.maps import xstarmap as xstarmap
    from litequeue.canvas.signature import Signature as Signature
    from litequeue.canvas.signature import maybe_signature as maybe_signature
    from litequeue.canvas.signature import signature as signature
    from litequeue.canvas.signature import subtask as subtask
    from litequeue.task import Task as Task

__version__ = "0.1.0"

_ADDRESS = {
    "LiteQueue": "litequeue.app",
    "Signature": "litequeue.canvas.signature",
    "Task": "litequeue.task",
    "chain": "litequeue.canvas.chains",
    "chord": "litequeue.canvas.chords",
    "chunks": "litequeue.canvas.maps",
    "current_app": "litequeue.app.current",
    "current_task": "litequeue.app.current",
    "group": "litequeue.canvas.groups",
    "maybe_signature": "litequeue.canvas.signature",
    "shared_task": "litequeue.app.declaring",
    "signature": "litequeue.canvas.signature",
    "subtask": "litequeue.canvas.signature",
    "xmap": "litequeue.canvas.maps",
    "xstarmap": "litequeue.canvas.maps",
}
_MODULES = ("exceptions", "signals", "states")

__all__: tuple[str, ...] = (
    "LiteQueue",
    "Signature",
    "Task",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "exceptions",
    "group",
    "maybe_signature",
)
__all__ += ("shared_task", "signals", "signature", "states", "subtask", "xmap", "xstarmap")


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: a program that only reads a version, or enqueues, imports only that.
    from importlib import import_module

    if name in _ADDRESS:
        value = getattr(import_module(_ADDRESS[name]), name)
    elif name in _MODULES:
        value = import_module(f"litequeue.{name}")
    else:
        raise AttributeError(f"module 'litequeue' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
