"""How far a task says that it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litequeue.core.state import RUNNING

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import TaskRecord

PROGRESS: Final = "PROGRESS"
"""The state of a task that has reported."""


class Progress(NamedTuple):
    """What a running task reported last with `self.progress(done, total, message)`."""

    done: int | float
    total: int | float | None = None
    """None: it did not say."""
    message: str | None = None

    @property
    def fraction(self) -> float | None:
        """How much of it is done, from 0 to 1; None where there is no total."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else 1.0


def progress_of(app: LiteQueue, record: TaskRecord | None) -> Progress | None:
    """What the task of this row reported last; None: it does not run, or has reported nothing."""
    if record is None or record.state != RUNNING or record.custom_state != PROGRESS or record.result is None:
        return None
    try:
        meta = app.result_codec.decode(record.result, record.result_serializer or "json", record.result_compression)
    except Exception:  # somebody wrote something else there, or by a serializer that is not accepted here
        return None
    return progress_in(meta)


def progress_in(meta: Any) -> Progress | None:
    """The progress that the meta of the state PROGRESS says; None: it says none.

    `current` stands for `done`, as in the example of Celery's manual that much code has followed.
    """
    if not isinstance(meta, Mapping):
        return None
    done, total = _number(meta.get("done", meta.get("current"))), _number(meta.get("total"))
    if done is None:
        return None
    message = meta.get("message")
    return Progress(done, total, None if message is None else str(message))


def _number(value: Any) -> int | float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return value if usable else None
