"""What a check finds, and what checks look at."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litequeue.core import clock

if TYPE_CHECKING:
    from litequeue.core.records import ProcessRecord
    from litequeue.core.steering import Pause
    from litequeue.core.viewing import FileRecord, QueueRecord
    from litequeue.store.contract import Store

OK: Final = "ok"
WARNING: Final = "warning"
"""It works, but somebody should look."""
ERROR: Final = "error"
"""Tasks do not run, or may be lost."""

_SHOWN: Final = 5


class Finding(NamedTuple):
    """What a check found."""

    check: str
    """The name of the check."""
    level: str
    """`ok`, `warning` or `error`."""
    text: str
    """What there is, in a sentence."""
    advice: str | None
    """What to do; None where it is ok."""

    def as_dict(self) -> dict[str, Any]:
        """The finding in JSON's own types."""
        return self._asdict()


class Verdict(NamedTuple):
    """What a check says; its name is known to who asks."""

    level: str
    text: str
    advice: str | None = None


def ok(text: str) -> Verdict:
    """Nothing is wrong."""
    return Verdict(OK, text)


def warning(text: str, advice: str) -> Verdict:
    """It works, but somebody should look."""
    return Verdict(WARNING, text, advice)


def error(text: str, advice: str) -> Verdict:
    """Tasks do not run, or may be lost."""
    return Verdict(ERROR, text, advice)


@dataclass(frozen=True)
class Case:
    """What the checks look at; what several need is read once."""

    app: Any
    path: str
    full: bool
    """Whether to read the whole file."""
    knows_tasks: bool
    """Whether the app's tasks were imported."""
    clashes: tuple[str, ...] = ()
    """What was said of names that two tasks claim, while they were imported."""

    @functools.cached_property
    def folder(self) -> str:
        """Where the file is."""
        return os.path.dirname(self.path)

    @functools.cached_property
    def store(self) -> Store:
        """The queue, opened only if it is there; OperationalError says why not."""
        from litequeue.app.wiring import existing_store

        return existing_store(self.app)

    @functools.cached_property
    def file(self) -> FileRecord:
        """The file itself."""
        return self.store.file()

    @functools.cached_property
    def now(self) -> float:
        """When the examination was made."""
        return clock.now()

    @functools.cached_property
    def processes(self) -> list[ProcessRecord]:
        """Every process that is registered."""
        return self.store.processes()

    @functools.cached_property
    def liveness(self) -> Mapping[int, str]:
        """`alive`, `hung`, `dead` or `orphan`, by the number of the process."""
        from litequeue.inspect.snapshot import standing

        lease = self.app.conf.worker_lease
        return {record.id: standing(record, self.processes, lease, self.now) for record in self.processes}

    def of_role(self, role: str, *standing: str) -> list[ProcessRecord]:
        """The processes of a role that are `alive`, `hung`, `dead` or `orphan`, as `standing` says."""
        return [each for each in self.processes if each.role == role and self.liveness[each.id] in standing]

    @functools.cached_property
    def workers(self) -> list[ProcessRecord]:
        """The workers that live."""
        from litequeue.inspect.views import ALIVE

        return self.of_role("worker", ALIVE)

    @functools.cached_property
    def idle(self) -> Mapping[int, int]:
        """How many slots of each worker wait for work."""
        return {
            worker.id: sum(each.idle for each in self.processes if worker.id in (each.id, each.parent))
            for worker in self.workers
        }

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The names of the tasks that some worker knows."""
        return frozenset(str(name) for worker in self.workers for name in worker.info.get("tasks", ()))

    @functools.cached_property
    def queues(self) -> list[QueueRecord]:
        """The queues."""
        assert self.processes is not None, "read first: an idle worker found before a task that waits is no accident"
        return self.store.queues()

    @functools.cached_property
    def paused(self) -> list[Pause]:
        """What is paused."""
        return self.store.paused()

    def paused_names(self, kind: str) -> frozenset[str]:
        """The names of that kind, `queue` or `task`, that are paused."""
        return frozenset(pause.name for pause in self.paused if pause.kind == kind)


def listed(names: Iterable[str]) -> str:
    """The first few of `names`, in one line."""
    every = sorted(set(names))
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
