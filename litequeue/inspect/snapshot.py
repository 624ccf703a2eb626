"""Reading a queue as it stands: all of it at once, or single parts, each at its own pace.

`take(app)` reads everything once. Who looks again and again reads the parts (`workers`, `queues`, `tasks`,
`schedules`, `file`) through a `Pace`, which keeps the cost of reading to about 1 % of the time, and hands one `Sampler`
to `workers`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from litequeue.core import clock, process
from litequeue.core.periods import PERIOD
from litequeue.inspect.filters import Filter
from litequeue.inspect.pace import Pace as Pace
from litequeue.inspect.reading import task_view, text_of
from litequeue.inspect.views import (
    ALIVE,
    DEAD,
    HUNG,
    ORPHAN,
    FileView,
    QueueView,
    ScheduleView,
    SlotView,
    Snapshot,
    TaskView,
    WorkerView,
)

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import ProcessRecord, TaskRecord
    from litequeue.core.viewing import Period, QueueRecord

PREFORK, SOLO, THREADS = "prefork", "solo", "threads"
RUNNING_SHOWN: Final = 10_000
"""Running tasks that are read at most."""
RATE_PERIODS: Final = 6
"""Full periods over which rates are taken: a minute."""
HISTORY_PERIODS: Final = 60
"""Full periods of `QueueView.history`: ten minutes."""
TASKS: Final = 20
"""The newest tasks that a snapshot has."""


class Sampler:
    """Measures processes of this host: CPU since the look before, and memory. Keep one between refreshes."""

    def __init__(self) -> None:
        self._processes: dict[tuple[int, str], Any] = {}

    def measure(self, identities: Iterable[Any]) -> tuple[float | None, int | None]:
        """(percent of a core, bytes) of these processes together; None of what is not known."""
        import psutil

        cpu: float | None = None
        memory: int | None = None
        for identity in {(each.pid, each.started): each for each in identities}.values():
            key = (identity.pid, identity.started)
            with suppress(psutil.Error):
                known = self._processes.get(key)
                if known is None:
                    known = self._processes[key] = psutil.Process(identity.pid)
                    known.cpu_percent()  # begins the interval
                else:
                    cpu = (cpu or 0.0) + known.cpu_percent()
                memory = (memory or 0) + known.memory_info().rss
        return cpu, memory

    def forget_others(self, identities: Iterable[Any]) -> None:
        """Drop what is kept of all processes but these."""
        kept = {(each.pid, each.started) for each in identities}
        self._processes = {key: known for key, known in self._processes.items() if key in kept}


def take(app: LiteQueue, *, sampler: Sampler | None = None, tasks: int = TASKS) -> Snapshot:
    """The queue as it stands, read part by part; with the newest `tasks` tasks."""
    at = clock.now()
    shown_queues = queues(app)
    return Snapshot(
        at=at,
        workers=tuple(workers(app, sampler)),
        queues=tuple(shown_queues),
        tasks=tuple(find(app, Filter(), tasks).tasks),
        schedules=tuple(schedules(app)),
        file=file(app, shown_queues),
    )


# Workers


def liveness(record: ProcessRecord, lease: float, now: float | None = None) -> str:
    """`alive`, `hung` or `dead`; of a process of another host or container only its last sign of life counts."""
    silent = (clock.now() if now is None else now) - record.heartbeat_at > lease
    exists = process.is_alive(record.identity)
    if exists is None:
        return DEAD if silent else ALIVE
    if not exists:
        return DEAD
    return HUNG if silent else ALIVE


def standing(record: ProcessRecord, records: Iterable[ProcessRecord], lease: float, now: float | None = None) -> str:
    """`liveness`, or `orphan`: a child that lives while its worker, of all that are registered, does not."""
    lives = liveness(record, lease, now)
    if record.role != "child" or lives == DEAD:
        return lives
    parent = next((each for each in records if each.id == record.parent), None)
    return ORPHAN if parent is None or liveness(parent, lease, now) == DEAD else lives


def workers(app: LiteQueue, sampler: Sampler | None = None) -> list[WorkerView]:
    """The workers that are registered, by name, each with its slots and what runs there.

    A child whose worker is gone, and buried, is listed like one, with the liveness `orphan`.
    """
    now, lease, store = clock.now(), app.conf.worker_lease, app.store
    sampler = Sampler() if sampler is None else sampler
    records = store.processes()
    held: dict[int | None, list[TaskRecord]] = {}
    for task in store.running(RUNNING_SHOWN):
        held.setdefault(task.holder, []).append(task)
    found = []
    ids = {record.id for record in records}
    for record in records:
        if record.role == "child" and record.parent in ids:  # shown with its worker
            continue
        lives = standing(record, records, lease, now)
        if record.role == "worker" or lives == ORPHAN:
            own = [record, *(each for each in records if each.parent == record.id and each.role == "child")]
            here = [each.identity for each in own if process.is_alive(each.identity)]
            cpu, memory = sampler.measure(here)
            found.append(
                WorkerView(
                    id=record.id,
                    node=record.worker,
                    host=record.identity.host,
                    pid=record.identity.pid,
                    pool=record.info.get("pool"),
                    concurrency=_concurrency(own),
                    liveness=lives,
                    started_at=record.started_at,
                    heartbeat_age=max(now - record.heartbeat_at, 0.0),
                    queues=record.queues if record.role == "worker" else (),  # an orphan takes nothing more
                    tasks=tuple(map(str, record.info.get("tasks", ()))),
                    cpu=cpu,
                    memory=memory,
                    events=record.events,
                    slots=tuple(_slots(app, own, held)),
                )
            )
    sampler.forget_others(record.identity for record in records)
    return sorted(found, key=lambda worker: (worker.node, worker.id))


MOMENT: Final = 0.1
"""Seconds over which `measured_workers` takes CPU."""


def measured_workers(app: LiteQueue) -> list[WorkerView]:
    """`workers`, with the CPU that each takes; lasts a tenth of a second, if there are any."""
    sampler = Sampler()
    found = workers(app, sampler)
    if not found:
        return found
    time.sleep(MOMENT)
    return workers(app, sampler)


def _concurrency(own: Sequence[ProcessRecord]) -> int:
    """How many slots a worker has: those that registered themselves, or what it says where it has none that do."""
    if len(own) > 1:
        return len(own) - 1
    declared = own[0].info.get("concurrency", 1)
    return declared if isinstance(declared, int) else 1


def _slots(
    app: LiteQueue, own: Sequence[ProcessRecord], held: Mapping[int | None, Sequence[TaskRecord]]
) -> Iterable[SlotView]:
    worker, *children = own
    if children:
        for child in children:
            yield _slot(app, child.identity.pid, in_order(held.get(child.id, ())))
    elif worker.info.get("pool") != PREFORK:  # whose slots would not be up yet
        taken = by_slot(worker, held.get(worker.id, ()))
        for batch in taken:
            yield _slot(app, worker.identity.pid, batch)
        for _ in range(_concurrency(own) - len(taken)):
            yield _slot(app, worker.identity.pid, ())


def by_slot(holder: ProcessRecord, tasks: Iterable[TaskRecord]) -> list[list[TaskRecord]]:
    """What each slot of a process has taken, in the order in which it runs them.

    A child of a worker is one slot, and so is a worker without a pool (`solo`). A thread takes several at one moment,
    and runs one at a time; of an event loop, all run.
    """
    ordered = in_order(tasks)
    pool = holder.info.get("pool")
    if holder.role == "child" or pool in (PREFORK, SOLO):
        return [ordered] if ordered else []
    if pool == THREADS:
        batches: dict[float | None, list[TaskRecord]] = {}
        for task in ordered:
            batches.setdefault(task.started_at, []).append(task)
        return list(batches.values())
    return [[task] for task in ordered]


def in_order(tasks: Iterable[TaskRecord]) -> list[TaskRecord]:
    """Tasks that were taken, as they are run: of those that were taken at one moment, as in the queue."""
    return sorted(tasks, key=lambda task: (task.started_at or 0.0, -task.priority, task.seq))


def _slot(app: LiteQueue, pid: int, batch: Sequence[TaskRecord]) -> SlotView:
    return SlotView(pid=pid, task=task_view(app, batch[0]) if batch else None, ahead=max(len(batch) - 1, 0))


# Queues


def queues(app: LiteQueue) -> list[QueueView]:
    """The queues that have a task which has not ended, or failed, or a worker, or that are paused, by name."""
    now, store, lease = clock.now(), app.store, app.conf.worker_lease
    records = {record.name: record for record in store.queues()}
    paused = {pause.name: pause.paused_at for pause in store.paused() if pause.kind == "queue"}
    serving: dict[str, set[str]] = {}
    for record in store.processes():
        if record.role == "worker" and liveness(record, lease, now) != DEAD:
            for queue in record.queues:
                serving.setdefault(queue, set()).add(record.worker)
    happened: dict[str, list[Period]] = {}
    for period in store.periods(now - (HISTORY_PERIODS + 1) * PERIOD):
        happened.setdefault(period.queue, []).append(period)
    names = sorted({*records, *paused, *serving})
    return [
        _queue(name, records.get(name), happened.get(name, ()), paused.get(name), serving.get(name, set()), now)
        for name in names
    ]


def _queue(
    name: str,
    record: QueueRecord | None,
    happened: Iterable[Period],
    paused_at: float | None,
    serving: Iterable[str],
    now: float,
) -> QueueView:
    last = int(now) // PERIOD * PERIOD  # the period that goes on now is not a full one
    by_start = {period.at: period for period in happened if period.at < last}
    lately = [by_start[at] for at in range(last - RATE_PERIODS * PERIOD, last, PERIOD) if at in by_start]
    span = RATE_PERIODS * PERIOD
    timed = sum(period.timed for period in lately)
    ready_since = None if record is None else record.ready_since
    return QueueView(
        name=name,
        ready=0 if record is None else record.ready,
        aside=0 if record is None else record.aside,
        parked=0 if record is None else record.parked,
        scheduled=0 if record is None else record.scheduled,
        waiting=0 if record is None else record.waiting,
        running=0 if record is None else record.running,
        failed=0 if record is None else record.failed,
        paused_at=paused_at,
        rate=sum(period.succeeded + period.failed for period in lately) / span,
        failure_rate=sum(period.failed for period in lately) / span,
        latency=None if ready_since is None else max(now - ready_since, 0.0),
        mean_wait=sum(period.waited for period in lately) / timed if timed else None,
        history=tuple(
            by_start[at].succeeded + by_start[at].failed if at in by_start else 0
            for at in range(last - HISTORY_PERIODS * PERIOD, last, PERIOD)
        ),
        workers=tuple(sorted(serving)),
    )


# Tasks


class TaskList:
    """Tasks that a filter finds, the newest first."""

    __slots__ = ("before", "tasks")

    def __init__(self, tasks: list[TaskView], before: int | None) -> None:
        self.tasks = tasks
        self.before = before
        """Where to go on (`find(..., before=)`): what is older was not looked at. None: that is all there is."""


def find(
    app: LiteQueue, which: Filter, limit: int = 100, *, before: int | None = None, budget: float | None = None
) -> TaskList:
    """Up to `limit` tasks that `which` means, the newest first; after `budget` seconds, those found so far."""
    deadline = None if budget is None else clock.monotonic() + budget
    found: list[TaskView] = []
    while True:
        part = app.store.find(which.tasks, limit - len(found), before)
        found += [view for view in (task_view(app, record) for record in part.tasks) if which.accepts(view)]
        before = part.before
        late = deadline is not None and clock.monotonic() >= deadline
        if before is None or len(found) >= limit or late:
            return TaskList(found, before)


def tasks(app: LiteQueue, which: Filter | None = None, limit: int = 100) -> list[TaskView]:
    """The newest `limit` tasks, of those that `which` means."""
    return find(app, Filter() if which is None else which, limit).tasks


def task(app: LiteQueue, task_id: str) -> TaskView | None:
    """One task, as a list shows it; None: the file does not have it."""
    record = app.store.task(task_id)
    return None if record is None else task_view(app, record)


# The schedule


def schedules(app: LiteQueue) -> list[ScheduleView]:
    """Every entry of the schedule, by name."""
    from litequeue.schedules.words import when

    return [
        ScheduleView(
            name=entry.name,
            when=when(entry.schedule),
            task=entry.task,
            args="?" if entry.args is None else text_of(tuple(entry.args)),
            kwargs="?" if entry.kwargs is None else text_of(entry.kwargs),
            timezone=entry.timezone,
            state=entry.state,
            enabled=entry.enabled,
            next_run_at=None if entry.next_run_at is None else entry.next_run_at.timestamp(),
            last_run_at=None if entry.last_run_at is None else entry.last_run_at.timestamp(),
            runs=entry.total_run_count,
            skipped=entry.skipped,
            error=entry.error,
        )
        for entry in app.schedules.list()
    ]


# The file


def file(
    app: LiteQueue, shown: Sequence[QueueView] | None = None, *, count: bool = False, check: bool = False
) -> FileView:
    """The file itself. `count` counts its rows by state and `check` reads it through for damage; both take long.

    `shown` are its queues where they have just been read.
    """
    store = app.store
    record = store.file()
    rows: dict[str, int] | None = None
    if count:
        rows = {}
        for states in store.counts().values():
            for state, number in states.items():
                rows[state] = rows.get(state, 0) + number
    now = clock.now()
    latencies = [queue.latency for queue in (queues(app) if shown is None else shown) if queue.latency is not None]
    return FileView(
        path=record.path,
        size=record.size,
        wal_size=record.wal_size,
        page_size=record.page_size,
        pages=record.pages,
        free_pages=record.free_pages,
        schema_version=record.schema_version,
        durability=record.durability,
        journal_mode=record.journal_mode,
        sqlite=record.sqlite,
        apsw=record.apsw,
        rows=rows,
        oldest_ready_at=now - max(latencies) if latencies else None,
        damages=tuple(store.damages()) if check else None,
    )
