"""What an engine must do, in the verbs of the field, by who calls them.

Records in, records out: no SQL, no cursor, no engine's type crosses this line, ids are made by the client, and each
verb is one transaction. Every method may raise an `OperationalError` that names the file and the remedy. The suite in
`tests/store` runs for every engine.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from litequeue.core.records import (
    FULL,
    AttemptRecord,
    Canvas,
    Claimed,
    Encoded,
    Entry,
    Fired,
    Firing,
    GroupRecord,
    Input,
    LogLine,
    Member,
    NewCanvas,
    NewEntry,
    NewProcess,
    NewTask,
    Outcome,
    ProcessRecord,
    Rescued,
    Settled,
    Synchronised,
    TaskRecord,
    Ticket,
)
from litequeue.core.steering import Command, DeadFilter, Limits, NewCommand, Pause, Reply, Revived, Termination

if TYPE_CHECKING:  # whoever looks imports it; in a process that only calls, it would cost its first call 3 ms
    from litequeue.core.viewing import EventRange, EventRecord, FileRecord, Found, Period, QueueRecord, TaskFilter


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreOptions:
    """How a file is opened."""

    durability: str = FULL
    """What a commit survives where the call does not say: `full` (power loss) or `normal` (death of processes)."""
    busy_budget: float = 30.0
    """Seconds to wait for the file before StoreBusy."""
    private: bool = False
    """Refuse a file, or a folder, that every user of the machine may write (pickle is accepted)."""
    failure_retention: float | None = 86400.0
    """Seconds to keep a task that the store itself ends (revoked, expired, lost with its worker); None: for ever."""
    sent_events: bool = False
    """Write an event into the journal for each task that is enqueued."""
    event_retention: float | None = 3600.0
    """Seconds for which events are kept in the journal; None: as long as `event_limit` allows."""
    event_limit: int = 1_000_000
    """How many events the journal keeps, about."""
    allow_network: bool = False
    """Open a file on a network file system all the same; its locks must work, and one host alone may use it."""
    existing: bool = False
    """Open only a queue that is there, with the schema of this version: make no file and no tables, migrate nothing."""


class Pick(enum.Enum):
    """What a claimer says of the next ready row."""

    TAKE = 1
    """Claim it and look at the next."""
    LAST = 2
    """Claim it and stop."""
    STOP = 3
    """Leave it and stop."""
    ASIDE = 4
    """Leave it for a worker that knows its name, and look at the next."""


class Picker(Protocol):
    """The claimer's policy: how much it takes, and what it can run. Called inside a transaction, so it only decides."""

    names: Collection[str]
    """The task names that this process has registered."""

    def pick(self, name: str, deaths: int) -> Pick:
        """Decide on a ready row of the task `name` that `deaths` processes died of."""

    def at_most_once(self, name: str) -> int:
        """How much running the task `name` twice matters: 0, not at all; ONCE (`acks_late=False`), never, and its start
        must be durable before it runs; ONCE_STARTED (`reject_on_worker_lost=False`), not after a worker died of it."""


ONCE = 1
ONCE_STARTED = 2

DeathLimit = int | Callable[[str], int]
"""How many processes may die of one task: a number, or what tells it for a task's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimant:
    """Who claims, from where, by which policy."""

    holder: int
    """The number of the process, as `register` gave it."""
    worker: str
    """The node name that the row shows."""
    pid: int
    queues: tuple[str, ...]
    """Until `set_queues` gives its process others."""
    picker: Picker
    rate_limited: bool = True
    """False: it takes no notice of rate limits (`worker_disable_rate_limits`)."""


class Guard(Protocol):
    """Keeps interrupts from a thread while the store is at work in it. Both may raise one."""

    def enter(self) -> None:
        """From now on nothing may be raised in this thread from outside. What this raises is raised before that."""

    def leave(self) -> None:
        """The counterpart of `enter`."""


class Channel(Protocol):
    """What wakes the idle slots of one worker; picklable, so that its child processes wait on the same one."""

    def close(self) -> None:
        """Give it up."""


class Enqueuer(Protocol):
    """What a client does."""

    def enqueue(self, tasks: Sequence[NewTask], durability: str | None = None) -> Mapping[str, str]:
        """Write all of `tasks`, or none. DuplicateTaskError names the first id that the file has; NotUniqueError the
        first unique key that is held by another task, where the new one is not to stand back or take its place.

        Returns when the rows survive what `durability` (else the store's) promises; then wakes idle workers. The answer
        has those ids of `tasks` that were not written, because of their unique keys, with the ids of the tasks that
        stand for them.
        """

    def enqueue_canvas(self, canvas: NewCanvas, durability: str | None = None) -> None:
        """Write the tasks and groups of `canvas` in one transaction, or none of them; errors as in `enqueue`.

        A task that waits for nothing is ready, or scheduled; the others wait for the node they name. As no other task
        can take a place in a canvas, NotUniqueError is raised also for a key whose holder would stand for the new task.
        """

    def attach(self, task_id: str, canvas: NewCanvas, errbacks: Sequence[NewTask] = ()) -> bool:
        """Write `canvas`, whose rows may wait for the task `task_id` that the file has already, and add `errbacks` to
        that task's. If it has ended, they are released, or end with it, at once. False: the file does not have it."""

    def record(self, task: NewTask, outcome: Outcome) -> None:
        """Write a task that was run in place, ended as `outcome` says. DuplicateTaskError: the id is there already."""

    def revoke(self, ids: Sequence[str], reason: str = "revoked", signal: str | None = None) -> tuple[str, ...]:
        """Make every task of `ids` that has not started REVOKED, with what waits for it; of a group, each member.

        What runs is told (`is_cancelled`), and never runs again: a retry, or the death of its process, revokes it. With
        `signal`, the name of one, it is killed by its worker. Returns the ids of what is REVOKED now.
        """

    def revoke_stamped(
        self, headers: Mapping[str, Sequence[Any]], reason: str = "revoked", signal: str | None = None
    ) -> tuple[str, ...]:
        """Revoke every task that has one of these values under one of these stamped headers, as `revoke` does; and
        every such task that is enqueued from now on. Returns the ids of those that were there and are REVOKED now."""

    def cancel(self, task_id: str, state: str) -> bool:
        """Tell a task that has not ended to stop of its own accord (`is_cancelled`), and show `state` until it ends.

        Unlike `revoke` this leaves one that has not started in its place. False: it has ended, or is not there.
        """

    def is_cancelled(self, task_id: str) -> bool:
        """Whether a task was told to stop."""

    def forget(self, ids: Sequence[str]) -> int:
        """Delete the rows of `ids` that have ended, and drop the result of those that have not when they end."""

    def purge(self, queues: Collection[str] | None = None) -> int:
        """Delete what has not started (of `queues`; None: of all) and return how many."""

    def update_state(
        self, task_id: str, state: str, meta: Encoded | None, fence: tuple[int, int] | None = None
    ) -> bool:
        """Show `state` with `meta` until the task's next move. False when the task has ended, is not known, or, with
        `fence=(holder, attempt)`, is no longer held so."""

    def reply_port(self) -> int | None:
        """The UDP port at which this process learns that a task it enqueued has ended; opened on the first call."""


class Viewer(Protocol):
    """What a reader does; nothing here writes."""

    def task(self, task_id: str) -> TaskRecord | None:
        """The task, or None when the file has never seen the id (or has pruned it)."""

    def states(self, ids: Sequence[str]) -> dict[str, str]:
        """The engine state of each of `ids` that the file has."""

    def tasks(self, ids: Sequence[str]) -> list[TaskRecord]:
        """Those of `ids` that the file has, in no certain order; read in one statement for some hundred."""

    def group(self, group_id: str) -> GroupRecord | None:
        """The group, or None when the file has never seen the id (or has pruned it)."""

    def members(self, group_id: str) -> list[Member]:
        """The parts of a group, in the order of their slots."""

    def followers(self, node_id: str) -> list[TaskRecord]:
        """The tasks that wait for, or waited for, the task or group `node_id`, oldest first."""

    def canvas(self, node_id: str, limit: int = 1000) -> Canvas:
        """What hangs on the task or group `node_id`, directly or not, at most `limit` tasks, nearest first."""

    def children(self, task_id: str) -> list[Member]:
        """What the task `task_id` called, oldest first: tasks, and the groups that tasks of it are members of."""

    def attempts(self, task_id: str) -> list[AttemptRecord]:
        """The attempts of the task that did not succeed, oldest first."""

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows there are: `{queue: {state: count}}`."""

    def processes(self) -> list[ProcessRecord]:
        """The registered processes, oldest first."""

    def running(self, limit: int) -> list[TaskRecord]:
        """Up to `limit` tasks that workers hold."""

    def scheduled(self, limit: int) -> list[TaskRecord]:
        """Up to `limit` tasks that wait for a time, those due next first."""

    def next_ready(self, queues: Iterable[str], limit: int) -> list[TaskRecord]:
        """Up to `limit` ready tasks of `queues`, those that start next first; those put aside are left out."""

    def revoked(self, limit: int) -> list[str]:
        """The ids of up to `limit` tasks that are revoked, or are to be when they stop running; newest first."""

    def started_by(self, worker: str, since: float, limit: int) -> dict[str, int]:
        """How many tasks of each name the node `worker` has started since; counted in the newest `limit` tasks."""

    def find(self, which: TaskFilter, limit: int, before: int | None = None, scan: int = 20_000) -> Found:
        """Up to `limit` tasks that `which` means, the newest first, those with a `seq` below `before`.

        One call looks at some `scan` rows at most, so that it never takes long; the answer says where to go on.
        """

    def ids(self, beginning: str, limit: int) -> list[str]:
        """Up to `limit` ids of tasks that begin so, in their order."""

    def queues(self) -> list[QueueRecord]:
        """The queues that have a task which has not ended, or failed, or that a worker serves, by name."""

    def periods(self, since: float) -> list[Period]:
        """What happened to the tasks of each queue, in periods that ended after `since`; oldest first."""

    def place(self, task: TaskRecord, limit: int = 1000) -> int:
        """How many ready tasks start before the ready one `task`, in its lane; at most `limit`."""

    def running_with(self, key: str) -> list[str]:
        """The ids of the tasks that run with the concurrency key `key`."""

    def opens_at(self, name: str) -> float:
        """When its rate limit lets the next task of `name` start; in the past: now."""

    def logs(self, task_id: str) -> list[LogLine]:
        """What is kept of what the task logged, oldest first."""

    def file(self) -> FileRecord:
        """The file itself."""

    def damages(self, limit: int = 100) -> list[str]:
        """Read the whole file and return what is wrong with it, a line each; none: it is sound."""

    def event_range(self) -> EventRange:
        """What the journal holds."""

    def events(self, after: int, limit: int = 1000) -> list[EventRecord]:
        """The events with numbers above `after`, oldest first; at most `limit`.

        Where the first of them is not `after + 1`, those between are no longer kept.
        """

    def changes(self) -> int:
        """A number to hand to `wait_for_change`; take it before reading."""

    def wait_for_change(self, seen: int, timeout: float) -> int:
        """Block until the file may have changed since `seen`, at most `timeout` seconds; returns the new number.

        Wakes within a millisecond when a task that this process enqueued ends, and within about 50 ms otherwise.
        """


class Claimer(Protocol):
    """What a process that runs tasks does."""

    def claim(self, claimant: Claimant, limit: int, idle: bool = False) -> Settled:
        """Take up to `limit` ready rows, higher priority first, then older first.

        When there is none the slot is marked idle, and whoever makes work ready will wake it; `idle` says that this
        slot is marked so already.
        """

    def settle(self, claimant: Claimant, outcomes: Sequence[Outcome], limit: int = 0, idle: bool = False) -> Settled:
        """End `outcomes` and claim up to `limit` next rows in one transaction; `idle` as in `claim`.
        With a `limit` of 0 an idle slot is not counted as idle any more: it ends.

        Every outcome is fenced by (holder, attempt): one that this process no longer holds changes nothing and comes
        back in `lost`.
        """

    def inputs(self, claimed: Claimed) -> Input:
        """What a claimed row gets from the node that it waited for."""

    def release(self, holder: int, tickets: Iterable[Ticket]) -> int:
        """Give back claims that were not started; they keep their place in the queue and count no attempt."""

    def wait_for_work(self, channel: Channel, timeout: float, interrupt: socket.socket | None = None) -> bool:
        """Block an idle slot until its worker is woken, `interrupt` is readable, or `timeout` seconds pass.

        True when woken. Of the slots that wait, each hint wakes one.
        """


class Supervisor(Protocol):
    """What keeps a worker in order."""

    def open_channel(self) -> Channel:
        """Open what wakes the idle slots of a worker."""

    def register(self, process: NewProcess, channel: Channel | None = None) -> int:
        """Write the process into the file and return its number, which is never given to another."""

    def heartbeat(self, process_ids: Collection[int]) -> None:
        """Say that these processes are alive."""

    def deregister(self, process_id: int) -> Rescued:
        """Take a process out; what it still held is given back, without a death being counted."""

    def held(self, process_id: int) -> list[Claimed]:
        """What the process holds now."""

    def terminations(self, worker: int) -> list[Termination]:
        """The tasks that processes of the worker `worker` run, and that are to be killed."""

    def bury(
        self, process_id: int, reason: str, max_deaths: DeathLimit, guilty: Collection[Ticket] | None = None
    ) -> Rescued:
        """Take back what a dead process held.

        At-least-once tasks are ready again and count one death; at `max_deaths` deaths, and for at-most-once tasks at
        the first, the task is FAILURE with WorkerLostError carrying `reason`. A task that was revoked while it ran is
        REVOKED. The process is taken out. With `guilty`, only these attempts died with it: the others are given back
        as by `deregister`.
        """

    def rescue(self, lease: float, max_deaths: DeathLimit, worker: int = 0, spared: Collection[int] = ()) -> Rescued:
        """Bury every registered process that is dead: known exactly on this host, and after `lease` seconds without a
        heartbeat for a process of another host or pid namespace. Never a live one.

        A child is left to its supervisor, which alone knows why it died, as long as that lives and renews its entry;
        the children of `worker`, who asks, are left alone only where they are among `spared`.
        """

    def prune(self, limit: int) -> int:
        """Delete up to `limit` rows past their retention, revoke up to `limit` that expired unstarted; how many."""

    def vacuum(self) -> bool:
        """Give some free pages of the file back to the disk where they are many; False: there was nothing to give."""

    def shrink(self) -> None:
        """Give every free page of the file back to the disk, some at a time, so that others go on in between.

        A file that another program made is left alone.
        """

    def compact(self, force: bool = False) -> None:
        """Write the file anew without its free pages; nobody else can write meanwhile.

        StoreForeign: another program made the file, or keeps tables in it, and `force` was not given.
        """

    def backup(self, path: str, progress: Callable[[int, int], object] | None = None, overwrite: bool = False) -> None:
        """Copy the queue as it is at one instant to the new file `path`, while others go on.

        `progress` is called with the pages that are left and all of them. The copy takes its name when it is whole and
        on the disk. FileExistsError: there is something at `path`, and `overwrite` was not given. OSError: the file
        cannot be made there.

        In the copy, no process lives that is registered: what ran is taken back as after a crash.
        """

    def set_events(self, worker: int, on: bool) -> bool:
        """Whether what the processes of the worker `worker` do is written into the journal, from their next
        transaction on. False: it was so already."""

    def publish(self, events: Sequence[tuple[str, Mapping[str, Any]]], worker: str | None = None) -> None:
        """Write events of one's own into the journal: (type, fields) each."""

    def keep_log(self, ticket: Ticket, lines: Sequence[LogLine], limit: int) -> None:
        """Keep what a task logged, and of all that it logged the newest `limit` lines."""

    def busy(self, queues: Sequence[str], names: Collection[str]) -> bool:
        """Whether a row of `queues` is running, or ready or due for a worker that knows `names`."""

    def backlog(self, worker: int, queues: Sequence[str], names: Collection[str], limit: int = 1000) -> int:
        """How many rows the worker `worker`, which knows `names`, could start now or could have started already, had it
        free slots: ready ones of its queues (`queues`, until `set_queues`), and those that are due; at most `limit`."""

    def set_slots(self, worker: int, slots: int) -> None:
        """Say that the worker `worker` has so many slots from now on, in place of what it registered with."""

    def wake(self, holder: int, channel: Channel, queues: Sequence[str]) -> bool:
        """Look whether anybody changed the file since the last call, or something has fallen due; if so, and work is
        ready for idle slots of the worker `holder`, wake them. The safety net under lost datagrams."""


class Controller(Protocol):
    """What steers: pauses, limits, commands to workers, dead letters."""

    def pause(self, kind: str, names: Collection[str]) -> tuple[str, ...]:
        """Claim no more of the queues, or tasks, `names` (`kind` is `queue` or `task`); what runs goes on.

        Returns those that were not paused before.
        """

    def resume(self, kind: str, names: Collection[str]) -> tuple[str, ...]:
        """Claim them again. Returns those that were paused."""

    def paused(self) -> list[Pause]:
        """Everything that is paused, by kind and name."""

    def declare_rates(self, rates: Mapping[str, str | None]) -> None:
        """Keep the rate limits that the code of a worker declares for its tasks; writes only what is new."""

    def set_rate(self, name: str, rate: str | None) -> None:
        """Set the rate limit of a task name, before what is declared; `0`: no limit; None: what is declared."""

    def set_time_limits(self, name: str, hard: float | None, soft: float | None) -> None:
        """Set the time limits in seconds of the tasks of a name that start from now on, before their own; 0: no limit;
        None: their own."""

    def limits(self) -> list[Limits]:
        """What is set, or declared, of any name, by name."""

    def set_queues(self, worker: int, queues: Sequence[str]) -> None:
        """Let all processes of the worker `worker` claim from `queues`, from their next claim on."""

    def known_queues(self) -> frozenset[str]:
        """The queues that have a task, or a worker."""

    def known_names(self) -> frozenset[str]:
        """The names that have a task in the file, or that a worker that runs has registered."""

    def send_command(self, command: NewCommand) -> int:
        """Write a command, wake the registered processes of role `control`, and return its number."""

    def commands(self, worker: str, after: int) -> list[Command]:
        """The commands to the node `worker` with numbers above `after` that are still to be carried out."""

    def last_command(self) -> int:
        """The highest number of a command so far."""

    def reply(self, command: Command, process_id: int, worker: str, reply: str) -> None:
        """Write a worker's answer, and wake who asked."""

    def replies(self, command_id: int) -> list[Reply]:
        """The answers so far, oldest first."""

    def dead(self, which: DeadFilter) -> list[TaskRecord]:
        """The tasks that ended badly, newest first."""

    def retry(self, which: DeadFilter) -> Revived:
        """Let them run again, from no retries and no deaths, with their history kept; what failed because of them waits
        for them again, and groups and bodies count them again.

        Each in one transaction with all that hangs on it, and with the others of `which` that do; or not at all, for
        the reason that the answer gives.
        """

    def discard(self, which: DeadFilter) -> int:
        """Delete them with their history; what others still need is deleted when it is not needed any more."""


class Scheduler(Protocol):
    """What fires the entries of the schedule, and those who change them; any number may run at once."""

    def schedules(self) -> list[Entry]:
        """Every entry, by name."""

    def schedule(self, name: str) -> Entry | None:
        """The entry, or None when there is none of that name."""

    def next_schedule_at(self) -> float | None:
        """When the next enabled entry is to be fired; None: never."""

    def put_schedule(self, entry: NewEntry, revision: int | None = None) -> bool:
        """Add an entry, or with `revision` change the one that has it; what it ran so far stays known.

        False: there is one of that name already, or it is not at that revision any more. Wakes the schedulers.
        """

    def enable_schedule(self, name: str, enabled: bool, next_instant: float | None, next_at: float | None) -> bool:
        """Let the entry be fired, next at `next_at`, or not any more. False: there is none. Wakes the schedulers."""

    def remove_schedule(self, name: str) -> bool:
        """Delete the entry; tasks that it has enqueued stay. False: there is none. Wakes the schedulers."""

    def sync_schedules(self, owner: str, entries: Sequence[NewEntry]) -> Synchronised:
        """Make the entries of `owner` those of its code, in one transaction: add, change, remove.

        An entry whose schedule, time zone and bounds are as they were keeps when it is due next; one that was disabled
        at run time stays so.
        """

    def fire(self, firings: Sequence[Firing]) -> list[Fired]:
        """Enqueue the tasks of due entries and say when each is due next, in one transaction.

        An entry that another scheduler has fired, or that was changed, since `firing` was made is left out of the
        answer, and nothing of it is written.
        """

    def tidy(self) -> None:
        """Do now what would otherwise fall to some later commit; called after much was fired, while nothing is due."""


class Store(Enqueuer, Viewer, Claimer, Supervisor, Controller, Scheduler, Protocol):
    """One open queue; safe to use from every thread of the process that opened it."""

    path: str

    def guard(self, guard: Guard | None) -> None:
        """Tell `guard` from now on of each call in this thread that must not be interrupted; None: no more."""

    def close(self) -> None:
        """Close the file; the next call opens it again."""

    def connection_info(self) -> Mapping[str, Any]:
        """Path, durability, schema version, SQLite version: what a banner and a bug report show."""
