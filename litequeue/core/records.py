"""What crosses between the rooms: plain, frozen records.

The two that are made once for every task, `NewTask` and `Claimed`, are named tuples whose fields stand in the order of
the columns, so that a record is bound to its INSERT, and a row becomes its record, without a copy. Times are Unix
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

FULL: Final = "full"
"""Durability: a commit survives power loss when the call returns."""
NORMAL: Final = "normal"
"""Durability: a commit survives the death of every process, not power loss."""

DURABILITIES: Final = (FULL, NORMAL)

ERROR: Final = "error"
"""The serializer name of an error record (`core.failure`)."""

Stored = str | bytes
"""An encoded value: text where the serializer gives text and nothing compressed it, else bytes."""


class Encoded(NamedTuple):
    """An encoded value with what is needed to read it."""

    data: Stored
    serializer: str
    compression: str | None = None


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
    """What no query needs, a JSON object: shadow, argsrepr, kwargsrepr, properties, stamps, …"""


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


class Outcome(NamedTuple):
    """How one attempt ended.

    `state` is a terminal state, or `scheduled`/`ready` for a retry or a requeue (`rerun` then says what changes).
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


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """Everything the file knows of one task."""

    seq: int
    id: str
    name: str
    queue: str
    aside: bool
    """Whether a worker has met it that does not know its task."""
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
    enqueued_at: float
    attempt: int
    deaths: int
    worker: str | None
    """The node name of the worker that claimed it last."""
    pid: int | None
    started_at: float | None
    finished_at: float | None
    prune_at: float | None
    result: Stored | None
    result_serializer: str | None
    result_compression: str | None
    traceback: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """One attempt of a task that did not succeed."""

    attempt: int
    outcome: str
    """`failed`, `retry`, `requeued`, `lost`."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescued:
    """What was taken back from processes that died."""

    requeued: tuple[str, ...] = ()
    """Ids that may be claimed again."""
    failed: tuple[str, ...] = ()
    """Ids that are FAILURE with WorkerLostError: at-most-once tasks and poison tasks."""
