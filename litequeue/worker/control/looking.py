"""Inspect commands that the file answers: what runs, what comes next, what was revoked.

Tasks that nobody has claimed belong to no worker. So that each is shown once, as in Celery, it is shown with one of the
workers that would take it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from litequeue.core import clock
from litequeue.core import state as states
from litequeue.core.records import ProcessRecord, TaskRecord
from litequeue.worker.control.in_the_file import ids_of
from litequeue.worker.control.panel import Replies, State, inspect_command

MOST: Final = 10_000
"""Tasks that one answer shows at most."""
AHEAD: Final = 4
"""Tasks for each slot that count as reserved: those that start next."""
BUILTIN: Final = ("celery.", "litequeue.")
_TIMER_PRIORITY: Final = 6
"""What Celery shows as the priority of whatever waits for a time."""
_SETTLING: Final = 0.1
"""Seconds in which an idle slot may take up what it has just been woken for, before it is said to wait."""


@inspect_command(alias="dump_active", in_file=True)
def active(state: State, safe: Any = None, **_: Any) -> Replies:
    """List of tasks currently being executed."""
    _let_idle_slots_claim(state)
    return _by_node(state, ((task.worker, _info(state, task)) for task in state.store.running(MOST)))


@inspect_command(alias="dump_schedule", in_file=True)
def scheduled(state: State, **_: Any) -> Replies:
    """List of currently scheduled ETA/countdown tasks."""
    found = []
    for task in state.store.scheduled(MOST):
        node = _taker(state.nodes, task)
        if node is not None:
            entry = {
                "eta": None if task.run_at is None else _iso(task.run_at),
                "priority": _TIMER_PRIORITY,
                "request": _info(state, task, node.worker),
            }
            found.append((node.worker, entry))
    return _by_node(state, found)


@inspect_command(alias="dump_reserved", in_file=True)
def reserved(state: State, **_: Any) -> Replies:
    """List of tasks that start next, not including scheduled/active."""
    _let_idle_slots_claim(state)
    return _by_node(state, ((node.worker, _info(state, task, node.worker)) for node, task in _reserved(state)))


def _reserved(state: State) -> Iterable[tuple[ProcessRecord, TaskRecord]]:
    """The ready tasks that start next, each with a worker that would take it."""
    room = {node.id: AHEAD * int(node.info.get("concurrency", 1)) for node in state.nodes}
    queues = {queue for node in state.nodes for queue in node.queues}
    for task in state.store.next_ready(sorted(queues), sum(room.values())):
        node = _taker([node for node in state.nodes if room[node.id] > 0], task)
        if node is not None:
            room[node.id] -= 1
            yield node, task


@inspect_command(alias="dump_revoked", in_file=True)
def revoked(state: State, **_: Any) -> Replies:
    """List of revoked task-ids."""
    return state.all(state.store.revoked(MOST))


@inspect_command(variadic="ids", signature="[id1 [id2 [... [idN]]]]", in_file=True)
def query_task(state: State, ids: Any, **_: Any) -> Replies:
    """Query for task information by id."""
    _let_idle_slots_claim(state)
    replies: Replies = {node.id: {} for node in state.nodes}
    for task in state.store.tasks(ids_of(ids)):
        if task.state == states.RUNNING:
            owners = [node for node in state.nodes if node.worker == task.worker]
            standing = "active"
        else:
            owner = _taker(state.nodes, task) if task.state in (states.READY, states.SCHEDULED) else None
            owners = [] if owner is None else [owner]
            standing = "scheduled" if task.state == states.SCHEDULED else "reserved"
        for node in owners[:1]:
            replies[node.id][task.id] = [standing, _info(state, task, node.worker)]
    return replies


@inspect_command(in_file=True)
def active_queues(state: State, **_: Any) -> Replies:
    """List the task queues a worker is currently consuming from."""
    return {node.id: [_queue(name) for name in node.queues] for node in state.nodes}


# Which worker, and what is said of a task


def _taker(nodes: Iterable[ProcessRecord], task: TaskRecord) -> ProcessRecord | None:
    """The first of the workers that serve the queue of a task and know its name."""
    for node in nodes:
        if task.queue in node.queues and task.name in node.info.get("tasks", ()):
            return node
    return None


def _by_node(state: State, found: Iterable[tuple[str | None, Any]]) -> Replies:
    """A list for each worker; two workers of one name cannot be told apart, and both say what either does."""
    lists: dict[str | None, list[Any]] = {node.worker: [] for node in state.nodes}
    for worker, info in found:
        if worker in lists:
            lists[worker].append(info)
    return {node.id: lists[node.worker] for node in state.nodes}


def _info(state: State, task: TaskRecord, hostname: str | None = None) -> dict[str, Any]:
    """A task as Celery's inspect shows it."""
    runs = task.state == states.RUNNING
    args, kwargs = _call(state, task)
    return {
        "id": task.id,
        "name": task.name,
        "args": args,
        "kwargs": kwargs,
        "type": task.name,
        "hostname": hostname or task.worker,
        "time_start": task.started_at if runs else None,
        "acknowledged": runs,
        "delivery_info": {
            "exchange": "",
            "routing_key": task.queue,
            "priority": task.priority,
            "redelivered": task.attempt > task.retries + (1 if runs else 0),
        },
        "worker_pid": task.pid if runs else None,
    }


def _call(state: State, task: TaskRecord) -> tuple[Any, Any]:
    """The arguments; of a row that cannot be decoded here, its texts for people."""
    try:
        args, kwargs = state.app.codec.decode_call(task.payload, task.serializer, task.compression)
    except Exception:
        try:
            options = json.loads(task.options or "{}")
            return options.get("argsrepr"), options.get("kwargsrepr")
        except (AttributeError, ValueError, RecursionError):
            return None, None
    return list(args), dict(kwargs)


def _iso(at: float) -> str:
    return clock.to_datetime(at).isoformat(timespec="microseconds")


def _let_idle_slots_claim(state: State) -> None:
    """Wait until no idle slot has work that it can take: it has been woken for it, and is about to.

    So what was enqueued before this look, and can start, is seen as running.
    """
    deadline = clock.monotonic() + _SETTLING
    seen = state.store.changes()
    while (left := deadline - clock.monotonic()) > 0 and _can_be_taken(state):
        seen = state.store.wait_for_change(seen, left)


def _can_be_taken(state: State) -> bool:
    idle = {queue for record in state.store.processes() if record.idle for queue in record.queues}
    if not idle:
        return False
    idle -= {pause.name for pause in state.store.paused()}
    known = {name for node in state.nodes for name in node.info.get("tasks", ())}
    return any(task.name in known for task in state.store.next_ready(sorted(idle), 1))


def _queue(name: str) -> dict[str, Any]:
    """A queue in the shape of Celery's, whose broker has much to say of it."""
    nothing = (
        *("queue_arguments", "binding_arguments", "consumer_arguments", "alias", "no_declare"),
        *("expires", "message_ttl", "max_length", "max_length_bytes", "max_priority"),
    )
    exchange = {
        "name": name,
        "type": "direct",
        "arguments": None,
        "durable": True,
        "passive": False,
        "auto_delete": False,
        "delivery_mode": None,
        "no_declare": False,
    }
    described = {"name": name, "exchange": exchange, "routing_key": name, "durable": True, "bindings": []}
    return {
        **described,
        **dict.fromkeys(("exclusive", "auto_delete", "no_ack"), False),
        **dict.fromkeys(nothing, None),
    }
