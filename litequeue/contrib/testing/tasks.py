"""A task with which a test finds out that a worker works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litequeue import shared_task
from litequeue.app.declaring import task_from_function

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.task import Task


def _ping() -> str:
    """Return 'pong'."""
    return "pong"


ping: Any = shared_task(name="celery.ping")(_ping)


def ping_of(app: LiteQueue) -> Task:
    """The task `celery.ping` of `app`, which also its child processes will have."""
    if __name__ not in app.conf.include:
        app.conf.include = (*app.conf.include, __name__)
    return task_from_function(app, _ping, {"name": "celery.ping"}, warn=False)
