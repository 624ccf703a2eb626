"""How workers and tasks stand, kept in memory by what events tell: `app.events.State`."""

from __future__ import annotations

import threading
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakSet

from litequeue import states
from litequeue.core import clock

__all__ = ("State", "Task", "Worker", "heartbeat_expires")

HEARTBEAT_EXPIRE_WINDOW: Final = 200
"""Per cent of a worker's heartbeat interval after which it counts as gone."""

TASK_EVENT_TO_STATE: Final[Mapping[str, str]] = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
    "snoozed": states.PENDING,
    "replaced": states.PENDING,
    "released": states.PENDING,
    "rescued": states.PENDING,
    "revived": states.PENDING,
    "ignored": states.IGNORED,
}
"""The state after an event; any other `task-x` shows the state X."""

_GIVEN_BACK: Final = frozenset({"snoozed", "released", "rescued"})
_OWN: Final = frozenset({"worker", "children", "cluster_state"})
"""Attributes that no field of an event overwrites."""
_OF_THE_CALL: Final = ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires")

Event = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")


def heartbeat_expires(timestamp: float, freq: float = 60, expire_window: float = HEARTBEAT_EXPIRE_WINDOW) -> float:
    """When a worker that was heard of at `timestamp`, and is every `freq` seconds, counts as gone."""
    return float(timestamp) + float(freq) * expire_window / 100


class Worker:
    """A worker, as its events tell."""

    heartbeat_max = 4
    """How many heartbeats are kept."""
    expire_window = HEARTBEAT_EXPIRE_WINDOW

    def __init__(
        self,
        hostname: str | None = None,
        pid: int | None = None,
        freq: float = 60,
        heartbeats: list[float] | None = None,
        clock: int = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: Any = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self.heartbeats = [] if heartbeats is None else heartbeats
        """When it was heard of, oldest first."""
        self.clock = clock or 0
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in an event: `type_` is what stands behind `worker-`; None: it did something else."""
        self.update(fields or {})
        if type_ == "offline":
            self.heartbeats.clear()
        elif timestamp and local_received:
            # The earlier of the two: an event that is read an hour late tells of an hour ago.
            insort(self.heartbeats, min(timestamp, local_received))
            del self.heartbeats[: -self.heartbeat_max]

    def update(self, f: Mapping[str, Any], **kw: Any) -> None:
        """Set attributes."""
        self.__dict__.update(f, **kw)

    @property
    def heartbeat_expires(self) -> float:
        """When it counts as gone if nothing more is heard."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self) -> bool:
        """Whether it was heard of lately, and did not say that it goes."""
        return bool(self.heartbeats) and clock.now() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """`ONLINE` or `OFFLINE`."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        """Node name and process id."""
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, Worker) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"


class Task:
    """A task, as its events tell. The time of each kind of event that it had is in the attribute of that name."""

    name: str | None = None
    received: float | None = None
    sent: float | None = None
    started: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    args: str | None = None
    kwargs: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: int | None = None
    worker: Worker | None = None
    """The one that had it last."""
    client: str | None = None
    """Who sent it."""
    result: str | None = None
    exception: str | None = None
    traceback: str | None = None
    timestamp: float | None = None
    """Of the event that brought it into its state."""
    runtime: float | None = None
    exchange: str | None = None
    routing_key: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    state: str = states.PENDING
    clock: int = 0
    number: int = 0
    """Of the newest event."""

    _fields = (
        *("uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried"),
        *("revoked", "args", "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp"),
        *("runtime", "traceback", "exchange", "routing_key", "clock", "client", "root", "root_id", "parent"),
        *("parent_id", "children"),
    )
    _info_fields = (
        *("args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange"),
        *("routing_key", "root_id", "parent_id"),
    )
    merge_rules: Mapping[str, tuple[str, ...]] = {states.RECEIVED: _OF_THE_CALL}
    """Fields that an event of this state still gives when it comes late."""

    def __init__(
        self, uuid: str | None = None, cluster_state: State | None = None, children: Iterable[str] = (), **kwargs: Any
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        known = {} if cluster_state is None else cluster_state.tasks
        self.children: WeakSet[Task] = WeakSet(known[each] for each in children or () if each in known)
        """The tasks that it called."""
        self.__dict__.update(kwargs)

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in an event: `type_` is what stands behind `task-`."""
        given = dict(fields or {})
        state = TASK_EVENT_TO_STATE.get(type_, type_.upper())
        if type_ in _GIVEN_BACK and self.retries:
            state = states.RETRY  # as the file shows a task that waits, and has been retried
        if type_ in TASK_EVENT_TO_STATE:
            setattr(self, type_, timestamp)
        if self._is_late(state, given.get("number")):
            keep = self.merge_rules.get(state)
            if keep is not None:
                given = {name: value for name, value in given.items() if name in keep}
        else:
            given.update(state=state, timestamp=timestamp)
        if type_ == "revived":
            given["retries"] = 0
        # What an event leaves open does not take away what an earlier one said.
        self.__dict__.update((name, value) for name, value in given.items() if value is not None and name not in _OWN)

    def _is_late(self, state: str, number: int | None) -> bool:
        """Whether something is known that happened since. Numbers tell, or what has to come first."""
        if number is not None:
            return number < self.number
        if states.RETRY in (state, self.state):
            return False
        return states.precedence(state) > states.precedence(self.state)

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] = ()) -> dict[str, Any]:
        """What is worth showing: those of `fields` (None: the usual ones) and `extra` that are known."""
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        found = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """All of it; other tasks by their ids."""
        found = {name: getattr(self, name) for name in self._fields if name not in ("children", "root", "parent")}
        return {
            **found,
            "children": [child.id for child in self.children],
            "root": self.root_id,
            "parent": self.parent_id,
        }

    @property
    def id(self) -> str | None:
        """Its id, `uuid`."""
        return self.uuid

    @property
    def origin(self) -> str | None:
        """Who told of it: the worker that has it, else the client."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    @property
    def parent(self) -> Task | None:
        """The task that called it, if that is known."""
        return None if self.cluster_state is None else self.cluster_state.tasks.get(self.parent_id)

    @property
    def root(self) -> Task | None:
        """The task that everything began with, if that is known."""
        return None if self.cluster_state is None else self.cluster_state.tasks.get(self.root_id)

    def __eq__(self, other: object) -> bool:
        return self.uuid == other.uuid if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "children": list(self.children)}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        children = kept.pop("children")
        self.__dict__.update(kept)
        self.children = WeakSet(child for child in children if "uuid" in child.__dict__)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"


class _Newest(dict[K, V]):
    """A dict that keeps so many items, those that were set last."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    @property
    def data(self) -> _Newest[K, V]:
        """Itself."""
        return self

    def __setitem__(self, key: K, value: V) -> None:
        self.pop(key, None)
        super().__setitem__(key, value)
        while self.limit and len(self) > self.limit:
            del self[next(iter(self))]

    def __reduce__(self) -> Any:
        return _newest, (self.limit, dict(self))


def _newest(limit: int, items: dict[Any, Any]) -> _Newest[Any, Any]:
    found: _Newest[Any, Any] = _Newest(limit)
    found.update(items)
    return found


class _Index(defaultdict[str, "WeakSet[Task]"]):
    """Tasks by something: `index[key]` is a set, `index(key, limit, reverse)` gives (uuid, task) by time."""

    def __init__(self, find: Callable[..., Iterator[tuple[str, Task]]]) -> None:
        super().__init__(WeakSet)
        self._find = find

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Task]]:
        return self._find(*args, **kwargs)


# By other names, since `State` has attributes of these.
_Worker: TypeAlias = Worker
_Task: TypeAlias = Task


class State:
    """How workers and tasks stand: hand its `event` to a receiver, `Receiver(handlers={"*": state.event})`.

    `workers` by node name and `tasks` by id, the newest so many of each. `callback(state, event)` is called with each
    event, `on_node_join(worker)` and `on_node_leave(worker)` when a worker comes and goes.
    """

    Worker = Worker
    Task = Task
    event_count = 0
    """How many events it has seen."""
    task_count = 0
    """How many tasks workers have received."""
    heap_multiplier = 4

    def __init__(
        self,
        callback: Callable[[State, Event], Any] | None = None,
        workers: Mapping[str, _Worker] | None = None,
        tasks: Mapping[str, _Task] | None = None,
        taskheap: Any = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[_Worker], Any] | None = None,
        on_node_leave: Callable[[_Worker], Any] | None = None,
        tasks_by_type: Mapping[str, Iterable[str]] | None = None,
        tasks_by_worker: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.event_callback = callback
        self.workers: _Newest[Any, _Worker] = _newest(max_workers_in_memory, dict(workers or {}))
        self.tasks: _Newest[Any, _Task] = _newest(max_tasks_in_memory, dict(tasks or {}))
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.handlers: dict[str, Callable[[str, Event], Any]] = {}
        """What takes in the events of a group of one's own, by the first word of their type."""
        self._seen_types: set[str] = set()
        self._orphans: dict[str, WeakSet[_Task]] = {}
        self._mutex = threading.Lock()
        self._index()

    def _index(self) -> None:
        self.tasks_by_type = _Index(self._tasks_by_type)
        self.tasks_by_worker = _Index(self._tasks_by_worker)
        for task in self.tasks.values():
            task.cluster_state = self
            self._file(task)

    # Events

    def event(self, event: Event) -> Any:
        """Take in an event. Returns ((worker or task, whether it is new), what stands behind the group in its type)."""
        with self._mutex:
            return self._event(event)

    def _event(self, event: Event) -> Any:
        self.event_count += 1
        if self.event_callback:
            self.event_callback(self, event)
        group, _, subject = event["type"].partition("-")
        if group in self.handlers:
            return self.handlers[group](subject, event), subject
        if group == "worker" and event.get("hostname"):
            return self._worker_event(subject, event), subject
        if group == "task" and event.get("uuid"):
            return self._task_event(subject, event), subject
        return None

    def worker_event(self, type_: str, fields: Event) -> Any:
        """`event`, of a worker."""
        return self.event({**fields, "type": f"worker-{type_}"})[0]

    def task_event(self, type_: str, fields: Event) -> Any:
        """`event`, of a task."""
        return self.event({**fields, "type": f"task-{type_}"})[0]

    def _worker_event(self, subject: str, event: Event) -> tuple[_Worker, bool]:
        hostname = event["hostname"]
        worker, created = self.get_or_create_worker(hostname)
        worker.event(subject, event.get("timestamp"), event.get("local_received"), event)
        if self.on_node_join and (created or subject == "online") and subject != "offline":
            self.on_node_join(worker)
        if subject == "offline":
            created = False
            if self.on_node_leave:
                self.on_node_leave(worker)
                self.workers.pop(hostname, None)
        return worker, created

    def _task_event(self, subject: str, event: Event) -> tuple[_Task, bool]:
        uuid, hostname = event["uuid"], event.get("hostname")
        timestamp, received = event.get("timestamp"), event.get("local_received")
        task, created = self.get_or_create_task(uuid)
        if subject == "sent":
            task.client = hostname
        elif hostname is not None:
            task.worker = self.get_or_create_worker(hostname)[0]
            task.worker.event(None, timestamp, received)
        self.tasks[uuid] = task  # the last one now
        if subject == "received":
            self.task_count += 1
        task.event(subject, timestamp, received, event)
        self._file(task)
        self._adopt(task)
        return task, created

    def _file(self, task: _Task) -> None:
        if task.name is not None:
            self._seen_types.add(task.name)
            self.tasks_by_type[task.name].add(task)
        if task.worker is not None and task.worker.hostname is not None:
            self.tasks_by_worker[task.worker.hostname].add(task)

    def _adopt(self, task: _Task) -> None:
        """Connect callers and called, whichever of them comes first."""
        if task.parent_id:
            parent = self.tasks.get(task.parent_id)
            waiting = self._orphans.setdefault(task.parent_id, WeakSet()) if parent is None else parent.children
            waiting.add(task)
            while len(self._orphans) > self.max_tasks_in_memory:
                del self._orphans[next(iter(self._orphans))]
        task.children.update(self._orphans.pop(task.uuid or "", ()))

    # Workers and tasks

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[_Worker, bool]:
        """The worker of a node name, with these attributes, and whether it is new."""
        worker = self.workers.get(hostname)
        if worker is not None:
            worker.update(kwargs)
            return worker, False
        worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[_Task, bool]:
        """The task of an id, and whether it is new."""
        task = self.tasks.get(uuid)
        if task is not None:
            return task, False
        task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        return task, True

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, _Task]]:
        """(uuid, task), those that were heard of last at the end."""
        return islice(list(self.tasks.items()), limit or None)

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, _Task]]:
        """(uuid, task) by their newest events, the newest first."""
        found = sorted(self.tasks.items(), key=lambda item: (item[1].clock, item[1].timestamp or 0.0), reverse=reverse)
        return islice(found, limit)

    tasks_by_timestamp = tasks_by_time

    def _tasks_by_type(self, name: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, _Task]]:
        return islice((item for item in self.tasks_by_time(reverse=reverse) if item[1].name == name), limit)

    def _tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, _Task]]:
        of_it = (
            item
            for item in self.tasks_by_time(reverse=reverse)
            if item[1].worker is not None and item[1].worker.hostname == hostname
        )
        return islice(of_it, limit)

    def task_types(self) -> list[str]:
        """The names of tasks that it has heard of."""
        return sorted(self._seen_types)

    def alive_workers(self) -> Iterator[_Worker]:
        """The workers that were heard of lately."""
        return (worker for worker in list(self.workers.values()) if worker.alive)

    def rebuild_taskheap(self) -> None:
        """Bring what is known of tasks in order, after `tasks` was changed from outside."""
        with self._mutex:
            self._index()

    # All of it

    def freeze_while(self, fun: Callable[..., V], *args: Any, clear_after: bool = False, **kwargs: Any) -> V:
        """Call `fun` while no event is taken in; with `clear_after`, forget then what has ended, and the workers."""
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self._clear()

    def clear(self, ready: bool = True) -> None:
        """Forget workers, counts and tasks; with `ready`, of the tasks those that have ended."""
        with self._mutex:
            self._clear(ready)

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget tasks; with `ready`, those that have ended."""
        with self._mutex:
            self._clear_tasks(ready)

    def _clear(self, ready: bool = True) -> None:
        self.workers.clear()
        self._clear_tasks(ready)
        self.event_count = self.task_count = 0

    def _clear_tasks(self, ready: bool) -> None:
        for uuid in [uuid for uuid, task in self.tasks.items() if not ready or task.ready]:
            del self.tasks[uuid]

    def __getstate__(self) -> dict[str, Any]:
        with self._mutex:
            left_out = ("_mutex", "_orphans", "tasks_by_type", "tasks_by_worker")
            return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self._mutex = threading.Lock()
        self._orphans = {}
        self._index()

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"
