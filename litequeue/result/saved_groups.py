"""Groups that were put together by hand, and saved: `GroupResult.save`, `restore`, `delete`.

A group that was enqueued has its own row and needs nothing of this. One that was not is kept as the result of a row
that looks like a task which has ended.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from litequeue.core import clock
from litequeue.core.records import Claimed, Encoded, NewTask, Outcome
from litequeue.core.state import SUCCEEDED
from litequeue.result.tree import result_from_tuple

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.group_result import GroupResult

NAME = "litequeue.saved_group"


def save_group(group: GroupResult) -> None:
    """Write a group that the file does not have as it is; over what an earlier save wrote."""
    if group._row() is not None:
        return
    app = group.app
    delete_group(group)
    new = NewTask(str(group.id), NAME, app.conf.task_default_queue, 0, "[[],{}]", "json")
    now = clock.now()
    retention, _ = app.conf.retention()
    app.store.record(
        new,
        Outcome(
            Claimed(0, *new[:-1], now, 1, 0),
            SUCCEEDED,
            now,
            Encoded(json.dumps(group.as_tuple()), "json"),
            prune_at=None if retention is None else now + retention,
        ),
    )


def delete_group(group: GroupResult) -> None:
    """Delete what was saved."""
    group.app.store.forget([str(group.id)])


def restore_group(app: LiteQueue, group_id: str) -> GroupResult | None:
    """The group as it was saved, else as it was enqueued; None: the file has neither."""
    store = app.store
    saved = store.task(group_id)
    if saved is not None and saved.name == NAME and saved.result is not None:
        restored: GroupResult = result_from_tuple(json.loads(saved.result), app)
        return restored
    group = app.GroupResult(group_id)
    return group if len(group) else None  # the tasks of a group may be forgotten, and its row still be there
