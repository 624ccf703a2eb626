"""Which queues a command is about: `-Q` and `-X`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litequeue.core.routing import declared_queues
from litequeue.exceptions import LiteQueueCommandException


def selected_queues(conf: Any, chosen: Sequence[str] = (), excluded: Sequence[str] = ()) -> tuple[str, ...]:
    """`chosen`, or else every declared queue, without `excluded`.

    LiteQueueCommandException: a queue is not declared and may not be created, or none is left.
    """
    declared = tuple(declared_queues(conf.task_queues)) or (conf.task_default_queue,)
    unknown = [name for name in chosen if name not in declared]
    if unknown and not conf.task_create_missing_queues:
        raise LiteQueueCommandException(
            f"-Q: queue {unknown[0]!r} is not in task_queues (there are: {', '.join(declared)}); "
            "add it, or set task_create_missing_queues to True",
            exit_code=2,
        )
    left = tuple(name for name in dict.fromkeys(chosen or declared) if name not in excluded)
    if not left:
        raise LiteQueueCommandException("-X: no queue is left to work on; exclude fewer", exit_code=2)
    return left
