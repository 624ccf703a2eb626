"""What crosses between the rooms: plain, frozen records.

The two that are made once for every task, `NewTask` and `Claimed`, are named tuples whose fields stand in the order of
the columns, so that a record is bound to its INSERT, and a row becomes its record, without a copy. Times are Unix
seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

FULL: Final = "full"
"""Durability: a commit survives power loss when the call returns."""
NORMAL: Final = "normal"
"""Durability: a commit survives the death of every process, not power loss."""

DURABILITIES: Final = (FULL, NORMAL)

ERROR: Final = "error"
"""The serializer name of an error record (`core.failure`)."""
UPSTREAM: Final = "upstream"
"""The serializer name of a result that is the id of the task whose failure ended this one before it began."""

Stored = str | bytes
"""An encoded value: text where the serializer gives text and nothing compressed it, else bytes."""


class Encoded(NamedTuple):
    """An encoded value with what is needed to read it."""

    data: Stored
    serializer: str
    compression: str | None = None


class Keys(NamedTuple):
    """What a task shares with others: the field order is that of the columns (`core.keys` has the rules)."""

    concurrency_key: str | None = None
    """Of all tasks with this key at most `concurrency_limit` run at once, over all workers."""
    concurrency_limit: int | None = None
    unique_key: str | None = None
    """At most one task holds this key."""
    unique_hold: int = 0
    """The states in which it holds its unique key, and what becomes of another that wants it: bits of `core.keys`."""
    unique_window: float | None = None
    """Seconds from its enqueue for which it holds the key at most; None: as long as its state says."""


class NewTask(NamedTuple):
    """A task to be enqueued, as the client decided it; the field order is the column order of the INSERT."""

    id: str
    name: str
    queue: str
    priority: int
    payload: Stored
    """The encoded pair `[args, kwargs]`."""
    serializer: str
    compression: str | None = None
    run_at: float | None = None
    """Not before this time; None: now."""
    expires_at: float | None = None
    """Not started by this time: revoked."""
    ignore_result: int = 0
    retries: int = 0
    time_limit: float | None = None
    soft_time_limit: float | None = None
    root_id: str | None = None
    """The id of the task that started it all; None: this one."""
    parent_id: str | None = None
    """The id of the task that made this call."""
    group_id: str | None = None
    group_index: int | None = None
    origin: str | None = None
    """The node that enqueued it (`gen<pid>@<host>`)."""
    reply_port: int | None = None
    """The UDP port of the client on this host that may be waiting for the result."""
    headers: str | None = None
    """The caller's own headers, a JSON object."""
    options: str | None = None
    """What no query needs, a JSON object: shadow, argsrepr, kwargsrepr, properties, …"""
    after: str | None = None
    """The task or group that it waits for."""
    edge: str | None = None
    """How it hangs on that (`core.ties`): `then`, `link`, `body`, `error`."""
    takes_input: int = 0
    """1: the value of `after` is put before its arguments."""
    countdown: float | None = None
    """Seconds from its release to its start, for a row that waits."""
    lifetime: float | None = None
    """Seconds from its release to its expiry, for a row that waits."""
    ties: int = 0
    """What its end has to do for others: bits of `core.ties`."""
    errbacks: str | None = None
    """Its error callbacks, as `core.ties.write_errbacks` writes them."""
    stamps: str | None = None
    """Its stamps, a JSON object `{header: value or list of values}`."""
    keys: Keys | None = None
    """The last field, and no column: few tasks have keys, and their columns are written after the row."""


ROW_FIELDS: Final = NewTask._fields[:-1]
"""The fields of a new task that are columns of its row, in the order of the columns: `task[:-1]`."""


class NewGroup(NamedTuple):
    """A group to be enqueued with its members: it counts those that have not ended."""

    id: str
    size: int
    """How many members it has; each carries its `group_id` and a `group_index`."""
    group_id: str | None = None
    """The outer group that this group is one part of."""
    group_index: int | None = None
    after: str | None = None
    """The node that its members wait for: where that fails, what waits for the group ends with the members."""
    tolerant: int = 0
    """1: what waits for it runs also when members failed, with their exceptions in place of values."""
    root_id: str | None = None
    parent_id: str | None = None


class NewCanvas(NamedTuple):
    """Tasks and groups that hang on each other; they are written together, or not at all."""

    tasks: Iterable[NewTask]
    """In the order in which they are to start. May be gone through more than once, and runs no code of the caller's."""
    groups: Sequence[NewGroup] = ()


class Claimed(NamedTuple):
    """A row that this process now holds; the field order is the column order of the claim's SELECT."""

    seq: int
    id: str
    name: str
    queue: str
    priority: int
    payload: Stored
    serializer: str
    compression: str | None
    run_at: float | None
    expires_at: float | None
    ignore_result: int
    retries: int
    time_limit: float | None
    soft_time_limit: float | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    origin: str | None
    reply_port: int | None
    headers: str | None
    options: str | None
    after: str | None
    edge: str | None
    takes_input: int
    countdown: float | None
    lifetime: float | None
    ties: int
    errbacks: str | None
    stamps: str | None
    enqueued_at: float
    attempt: int
    """1 for the first claim. With the holder it fences every settle: who held an earlier attempt changes nothing."""
    deaths: int
    """How many processes died while they ran it."""


class Ticket(NamedTuple):
    """Names one attempt of a claimed row."""

    seq: int
    attempt: int


class Rerun(NamedTuple):
    """What a retry changes on the row; None leaves a field as it is."""

    run_at: float | None = None
    retries: int | None = None
    payload: Encoded | None = None
    queue: str | None = None
    priority: int | None = None
    expires_at: float | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    headers: str | None = None
    options: str | None = None
    ignore_result: int | None = None
    snooze: bool = False
    """The attempt does not count (`raise Snooze`)."""


Value = Encoded | None | tuple["Value", ...]
"""What a node gave: the value of a task (an error record where it failed), None where it kept none, or those of the
members of a group."""


class Input(NamedTuple):
    """What a claimed row gets from the node that it waited for."""

    value: Value = None
    failed: TaskRecord | None = None
    """The task that failed, for an error callback."""


class Graft(NamedTuple):
    """What a running task changes of the canvas around it; written with its end, or not at all."""

    become: NewTask | None = None
    """The task that its row becomes (`Task.replace`); the row keeps its id, its place and its ties."""
    canvas: NewCanvas = NewCanvas(())
    """New rows. A task or group among them that names the row's own group, without an index, joins that group."""
    stop: tuple[str, ...] = ()
    """What hangs on this task by one of these edges (`core.ties`) is not to run."""


class LogLine(NamedTuple):
    """A line that a task logged."""

    attempt: int
    at: float
    level: int
    """As in `logging`: 20 is INFO."""
    logger: str
    message: str


class Log(Protocol):
    """What an attempt logged, as far as that is to be kept."""

    limit: int
    """How many lines are kept of its task."""

    def rest(self) -> Sequence[LogLine]:
        """The lines that are still to be written when it has ended; the same at each call."""


class Outcome(NamedTuple):
    """How one attempt ended.

    `state` is a terminal state, or `scheduled`/`ready` for a retry or a requeue (`rerun` then says what changes), or
    `waiting`/`scheduled`/`ready` for a row that becomes another task (`graft`).
    `result` is the encoded value of a success, and the error record (`core.failure`) of everything else.
    """

    claimed: Claimed
    state: str
    finished_at: float
    result: Encoded | None = None
    traceback: str | None = None
    prune_at: float | None = None
    """When the finished row may be deleted; None: never."""
    rerun: Rerun | None = None
    graft: Graft | None = None
    log: Log | None = None
    """What it logged; None: that is not kept."""


class Settled(NamedTuple):
    """What one settle-and-claim transaction did."""

    lost: tuple[Claimed, ...]
    """Outcomes that changed nothing, because this process no longer held the row."""
    claimed: tuple[Claimed, ...]
    revoked: tuple[Claimed, ...]
    """Rows that were met after their expiry and are REVOKED now."""
    aside: tuple[Claimed, ...]
    """Rows of tasks that this process does not know; they wait, in a lane of their own, for one that does."""
    next_at: float | None
    """When the next scheduled row is due; None: none is scheduled. Only told when nothing was claimed."""


class TaskRecord(NamedTuple):
    """Everything the file knows of one task; the field order is that of the SELECT, which gives flags as 0 and 1."""

    seq: int
    id: str
    name: str
    queue: str
    lane: str
    """Where claimers look for it: its queue, or apart: unknown, paused, limited, or waiting for its concurrency key."""
    priority: int
    state: str
    """The engine's state (`core.state`)."""
    custom_state: str | None
    payload: Stored
    serializer: str
    compression: str | None
    run_at: float | None
    expires_at: float | None
    ignore_result: bool
    retries: int
    time_limit: float | None
    soft_time_limit: float | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    origin: str | None
    headers: str | None
    options: str | None
    after: str | None
    """The task or group that it waits for, or waited for."""
    edge: str | None
    """How it hangs on that (`core.ties`)."""
    takes_input: bool
    countdown: float | None
    lifetime: float | None
    ties: int
    errbacks: str | None
    stamps: str | None
    concurrency_key: str | None
    concurrency_limit: int | None
    unique_key: str | None
    """The key that it holds, or held last."""
    cancel: str | None
    """A revoke that came while it ran: the signal that it is to be killed with, or empty; None: there was none."""
    enqueued_at: float
    attempt: int
    deaths: int
    worker: str | None
    """The node name of the worker that claimed it last."""
    holder: int | None
    """The number of the process that holds it, or held it last."""
    pid: int | None
    started_at: float | None
    finished_at: float | None
    prune_at: float | None
    result: Stored | None
    result_serializer: str | None
    result_compression: str | None
    traceback: str | None

    @property
    def parked(self) -> bool:
        """Whether it waits for its concurrency key."""
        return self.lane.startswith("\x1f")  # core.keys.PARKED

    @property
    def aside(self) -> bool:
        """Whether a worker has met it whose task is unknown to that worker, paused, or limited."""
        return self.lane != self.queue and not self.parked


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRecord:
    """Everything the file knows of one group."""

    id: str
    size: int
    remaining: int
    """How many of its members have not ended."""
    failed_id: str | None
    """The task whose failure was the first among its members'."""
    tolerant: bool
    group_id: str | None
    """The outer group that it is one part of."""
    group_index: int | None
    root_id: str | None
    parent_id: str | None
    created_at: float
    finished_at: float | None
    """When the last of its members ended."""


class Node(NamedTuple):
    """A task as a node of its canvas: what a drawing needs."""

    id: str
    name: str
    state: str
    custom_state: str | None
    retries: int
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    after: str | None
    edge: str | None


class NewEntry(NamedTuple):
    """An entry of the schedule, as it is written by who knows the app; the field order is that of the columns."""

    name: str
    """Unique in the file."""
    schedule: str
    """When: JSON, as `litequeue.schedules.schedule_to_json` gives it."""
    call: str
    """What: a task without an id, as `core.ties.write_errbacks` writes one."""
    owner: str | None = None
    """The app whose code declares it; None: it was added at run time."""
    enabled: int = 1
    timezone: str | None = None
    catchup: str = "last"
    """What becomes of instants that nobody was there for: `none`, `last`, `all`."""
    catchup_window: float | None = None
    """Seconds: instants older than that are not caught up with."""
    overlap: str = "allow"
    """What becomes of an instant whose predecessor's task has not ended: `allow`, `skip`, `queue`."""
    jitter: float = 0.0
    """Seconds: the most by which a start is put off."""
    start_at: float | None = None
    end_at: float | None = None
    max_runs: int | None = None
    anchor: float = 0.0
    """From when an interval counts."""
    next_instant: float | None = None
    """The instant that is due next; None: never again."""
    next_at: float | None = None
    """When that is to be fired, jitter included."""


class Entry(NamedTuple):
    """An entry of the schedule as the file has it; the field order is that of the columns."""

    name: str
    schedule: str
    call: str
    owner: str | None
    enabled: int
    timezone: str | None
    catchup: str
    catchup_window: float | None
    overlap: str
    jitter: float
    start_at: float | None
    end_at: float | None
    max_runs: int | None
    anchor: float
    next_instant: float | None
    next_at: float | None
    revision: int
    """Grows with every change of what the entry is; who fires an older one changes nothing."""
    last_run_at: float | None
    """The instant that was fired last."""
    total_run_count: int
    skipped: int
    """How many instants were not fired: overlap, or caught up with by a later one."""
    error: str | None
    """Why the entry cannot be fired; None: it can."""


class Firing(NamedTuple):
    """What a scheduler makes of an entry that is due."""

    name: str
    revision: int
    instant: float | None
    """The `next_instant` that the scheduler saw: if it is another by now, somebody else has fired it."""
    tasks: Sequence[tuple[float, NewTask]]
    """The tasks to enqueue, each with the instant that it stands for; none: the instants are skipped."""
    next_instant: float | None
    next_at: float | None
    skipped: int = 0
    error: str | None = None


class Fired(NamedTuple):
    """What became of a firing."""

    name: str
    ids: tuple[str, ...]
    """The tasks that were enqueued."""
    skipped: int
    """How many instants were skipped because the task of an earlier one has not ended."""


class Synchronised(NamedTuple):
    """What the entries of an app's code changed in the file: names."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class Canvas(NamedTuple):
    """Everything that hangs on one another, as it stands; tasks in the order they were enqueued."""

    tasks: tuple[Node, ...]
    groups: tuple[GroupRecord, ...]
    complete: bool
    """Whether that is all of it; False: there was more than the caller asked for."""


class Member(NamedTuple):
    """One part of a group, or one thing that a task called."""

    id: str
    is_group: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """One attempt of a task that did not succeed."""

    attempt: int
    outcome: str
    """`failed`, `retry`, `requeued`, `lost`; of a task that was run again after it had been: `revoked`."""
    error: str
    traceback: str | None
    worker: str | None
    started_at: float | None
    finished_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A process, so exactly that its death can be known: the same four never name two processes."""

    host: str
    """The host name."""
    boot: str
    """This boot of the host."""
    namespace: str
    """The pid namespace; two containers on one host differ here."""
    pid: int
    started: str
    """When the process started, in the unit of the system (ticks since boot on Linux)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewProcess:
    """A process of a worker that registers itself with the file."""

    worker: str
    """The node name, `celery@host`."""
    role: str
    """`worker` for the one that supervises, `child` for one that it started."""
    parent: int | None
    """The process id number (in the file) of the supervisor, for a child."""
    identity: Identity
    queues: tuple[str, ...]
    info: Mapping[str, Any] = field(default_factory=dict)
    """What inspect shows: pool, concurrency, registered task names, version, …"""
    events: bool = False
    """Whether what it does is written into the journal; of a child, its supervisor's entry says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessRecord:
    """A registered process, as the file knows it."""

    id: int
    worker: str
    role: str
    parent: int | None
    identity: Identity
    port: int | None
    queues: tuple[str, ...]
    idle: int
    """How many of its slots wait for work."""
    started_at: float
    heartbeat_at: float
    info: Mapping[str, Any]
    events: bool
    """Whether what it does is written into the journal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescued:
    """What was taken back from processes that died."""

    requeued: tuple[str, ...] = ()
    """Ids that may be claimed again."""
    failed: tuple[str, ...] = ()
    """Ids that are FAILURE with WorkerLostError: at-most-once tasks and poison tasks."""
    revoked: tuple[str, ...] = ()
    """Ids that are REVOKED: tasks that were revoked while they ran."""
