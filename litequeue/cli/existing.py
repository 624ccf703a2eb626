"""The queue that is there, for commands that look: none of them makes a file, or changes one by opening it."""

from __future__ import annotations

from typing import Any

from litequeue.cli.invocation import Invocation
from litequeue.exceptions import LiteQueueCommandException


def existing_app(call: Invocation, *, with_tasks: bool = False) -> Any:
    """`call.load_app()`, with `app.store` open on a queue that was there before.

    The OperationalError that says why not: there is no file, it is not a queue, or one of another version.
    """
    from litequeue.app.wiring import existing_store

    of_program = call.app is not None
    app = call.load_app(with_tasks=with_tasks)
    if existing_store(app).path == ":memory:" and not of_program:
        raise LiteQueueCommandException(
            "the queue is in the memory of a process (broker ':memory:'), where no other sees it; give it a file"
        )
    return app
