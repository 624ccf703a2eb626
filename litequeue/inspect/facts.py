"""What an explanation goes by, read once; and what it consists of."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from litequeue.core import clock
from litequeue.inspect.snapshot import RUNNING_SHOWN, by_slot, in_order, standing
from litequeue.inspect.views import DEAD, View
from litequeue.utils.words import span

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import ProcessRecord, TaskRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason(View):
    """One thing that keeps a task from running, or says why it has ended."""

    kind: str
    """In one word, for programs; docs/inspect.md lists them."""
    text: str
    """In half a sentence."""
    remedy: str | None = None
    """What to do; None: nothing has to be done, or can be."""
    ids: tuple[str, ...] = ()
    """Tasks or groups that it is about."""
    until: float | None = None
    """Until when it holds, where that is known."""
    because: tuple[Explanation, ...] = ()
    """Why those tasks do not go on."""

    def as_dict(self) -> dict[str, object]:
        """In JSON's own types; `until` in ISO 8601."""
        from litequeue.inspect.views import instant

        return {**View.as_dict(self), "until": instant(self.until)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation(View):
    """Where a task stands, and why."""

    task_id: str
    name: str | None
    """Its task's name; None: the file does not have it."""
    state: str | None
    """As Celery names it."""
    verdict: str
    """In one sentence."""
    reasons: tuple[Reason, ...]
    """The most decisive first."""


class Facts:
    """The workers, pauses and limits of a file, each read when it is first needed."""

    def __init__(self, app: LiteQueue) -> None:
        self.app = app
        self.store = app.store
        self.now = clock.now()

    @functools.cached_property
    def processes(self) -> list[ProcessRecord]:
        """Everything that is registered."""
        return self.store.processes()

    @functools.cached_property
    def workers(self) -> list[ProcessRecord]:
        """The workers."""
        return [record for record in self.processes if record.role == "worker"]

    @functools.cached_property
    def pauses(self) -> dict[tuple[str, str], float]:
        """Since when what is paused, by (kind, name)."""
        return {(pause.kind, pause.name): pause.paused_at for pause in self.store.paused()}

    @functools.cached_property
    def rates(self) -> dict[str, str]:
        """The rate limits that count, by name."""
        return {each.name: each.effective_rate for each in self.store.limits() if each.effective_rate is not None}

    @functools.cached_property
    def running(self) -> list[TaskRecord]:
        """What workers hold."""
        return self.store.running(RUNNING_SHOWN)

    def liveness(self, record: ProcessRecord) -> str:
        """`alive`, `hung`, `dead`, or `orphan`."""
        return standing(record, self.processes, self.app.conf.worker_lease, self.now)

    def holder(self, task: TaskRecord) -> tuple[ProcessRecord | None, str]:
        """The process that runs a task, and whether it lives."""
        for record in self.processes:
            if record.id == task.holder:
                return record, self.liveness(record)
        return None, DEAD

    def slots(self, worker: ProcessRecord) -> int:
        """How many tasks a worker can run at once."""
        children = sum(record.parent == worker.id and record.role == "child" for record in self.processes)
        declared = worker.info.get("concurrency", 1)
        return children or (declared if isinstance(declared, int) else 1)

    def runs_on(self, worker: ProcessRecord) -> list[TaskRecord]:
        """What runs on a worker: of each of its slots, the task that it runs."""
        own = [record for record in self.processes if worker.id in (record.id, record.parent)]
        return in_order(batch[0] for record in own for batch in self._batches(record))

    def before_in_slot(self, task: TaskRecord) -> TaskRecord | None:
        """The task that runs in the slot that has taken `task`; None: that is `task` itself."""
        holder, _ = self.holder(task)
        for batch in [] if holder is None else self._batches(holder):
            if any(each.id == task.id for each in batch):
                return None if batch[0].id == task.id else batch[0]
        return None

    def _batches(self, holder: ProcessRecord) -> list[list[TaskRecord]]:
        return by_slot(holder, (task for task in self.running if task.holder == holder.id))


def ago(seconds: float) -> str:
    """A span that has passed, in words: `3 min 5 s ago`."""
    return f"{span(seconds)} ago"


def ahead(seconds: float) -> str:
    """A span to come in words: `in 3 min 5 s`."""
    return f"in {span(seconds)}"
