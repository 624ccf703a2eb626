"""What keeps a ready task from being started: what was paused or limited, and who is there to run it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from litequeue.core import clock
from litequeue.core.state import READY
from litequeue.inspect.facts import Facts, Reason, ago, ahead
from litequeue.inspect.views import ALIVE, DEAD, HUNG
from litequeue.utils.words import counted, span

if TYPE_CHECKING:
    from litequeue.core.records import ProcessRecord, TaskRecord

_SHOWN: Final = 5
_PLACES: Final = 1000


def of_ready(facts: Facts, task: TaskRecord) -> list[Reason]:
    """Why a ready task has not started."""
    found = [*standing(facts, task), *_key(facts, task), *_rate(facts, task)]
    able = _able(facts, task)
    if able and not any(reason.kind in ("queue_paused", "name_paused") for reason in found):
        found += _busy(facts, task, able, held_up=bool(found))
    return found + list(_expiry(facts, task))


def standing(facts: Facts, task: TaskRecord) -> list[Reason]:
    """What would keep a task from starting whenever it becomes ready."""
    found = [*_paused(facts, task), *_nobody(facts, task)]
    return found if task.state == READY else [*found, *_expiry(facts, task)]


def _paused(facts: Facts, task: TaskRecord) -> Iterator[Reason]:
    for kind, name, shown, command in (
        ("queue", task.queue, f"its queue {task.queue}", f"litequeue resume {task.queue}"),
        ("task", task.name, f"its task {task.name}", f"litequeue resume --task {task.name}"),
    ):
        since = facts.pauses.get((kind, name))
        if since is not None:
            yield Reason(
                kind="queue_paused" if kind == "queue" else "name_paused",
                text=f"{shown} has been paused for {span(facts.now - since)}",
                remedy=f"{command} ends the pause",
            )


# Who is there


def _serving(facts: Facts, task: TaskRecord) -> list[ProcessRecord]:
    """The workers of the task's queue, the dead too."""
    return [worker for worker in facts.workers if task.queue in worker.queues]


def _knows(worker: ProcessRecord, task: TaskRecord) -> bool:
    return task.name in worker.info.get("tasks", ())


def _able(facts: Facts, task: TaskRecord) -> list[ProcessRecord]:
    """The workers that could run the task now."""
    return [worker for worker in _serving(facts, task) if _knows(worker, task) and facts.liveness(worker) == ALIVE]


def _nobody(facts: Facts, task: TaskRecord) -> Iterator[Reason]:
    """Nobody takes tasks from its queue, or those who do are not well, or do not know it."""
    serving = _serving(facts, task)
    lives = {worker.id: facts.liveness(worker) for worker in serving}
    present = [worker for worker in serving if lives[worker.id] != DEAD]
    if not present:
        yield _no_worker(facts, task, [worker for worker in serving if lives[worker.id] == DEAD])
        return
    hung = [worker for worker in present if lives[worker.id] == HUNG]
    if len(hung) == len(present):
        yield Reason(
            kind="hung",
            text=f"every worker of queue {task.queue} hangs: {_silent(facts, hung)}",
            remedy=f"look at these processes; kill -9 {' '.join(_pids(hung))} ends them",
        )
    if not any(_knows(worker, task) for worker in present):
        yield _unknown(facts, task, present)


def _no_worker(facts: Facts, task: TaskRecord, dead: Sequence[ProcessRecord]) -> Reason:
    others = [worker for worker in facts.workers if worker not in dead and facts.liveness(worker) != DEAD]
    if dead:
        text = f"no worker takes tasks from queue {task.queue}: {_nodes(dead)} died"
    elif others:
        served = sorted({queue for worker in others for queue in worker.queues})
        text = (
            f"no worker takes tasks from queue {task.queue}; those that run ({_nodes(others)}) take them "
            f"from {', '.join(served) or 'no queue'}"
        )
    else:
        text = f"no worker takes tasks from queue {task.queue}: none is running"
    remedy = f"litequeue -A proj worker -Q {task.queue} starts one"
    if others:
        remedy += f"; litequeue control add_consumer {task.queue} has the running ones take from it too"
    return Reason(kind="no_worker", text=text, remedy=remedy)


def _unknown(facts: Facts, task: TaskRecord, present: Sequence[ProcessRecord]) -> Reason:
    """No worker of its queue has registered a task of its name."""
    elsewhere = [worker for worker in facts.workers if _knows(worker, task) and facts.liveness(worker) != DEAD]
    who, verb = ("the only worker", "does") if len(present) == 1 else (f"all {len(present)} workers", "do")
    text = f"{who} of queue {task.queue} ({_nodes(present)}) {verb} not know the task {task.name}"
    if elsewhere:
        queues = sorted({queue for worker in elsewhere for queue in worker.queues})
        text += f"; {_nodes(elsewhere)} on {', '.join(queues)} would"
        remedy = f"litequeue control add_consumer {task.queue} -d {elsewhere[0].worker} has that one take it"
    else:
        remedy = "import the module that defines it in the worker's app (include, imports), and start the worker anew"
    return Reason(kind="unknown_name", text=text, remedy=remedy)


def _pids(workers: Sequence[ProcessRecord]) -> list[str]:
    return [str(worker.identity.pid) for worker in workers]


def _nodes(workers: Sequence[ProcessRecord]) -> str:
    names = sorted({worker.worker for worker in workers})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _silent(facts: Facts, workers: Sequence[ProcessRecord]) -> str:
    return ", ".join(
        f"{worker.worker} (pid {worker.identity.pid}, silent for {span(facts.now - worker.heartbeat_at)})"
        for worker in workers[:_SHOWN]
    )


# What it shares with others


def _key(facts: Facts, task: TaskRecord) -> Iterator[Reason]:
    if task.concurrency_key is None:
        return
    limit = 1 if task.concurrency_limit is None else task.concurrency_limit
    running = facts.store.running_with(task.concurrency_key)
    if len(running) < limit:
        return
    yield Reason(
        kind="key",
        text=f"of the concurrency key {task.concurrency_key!r} {limit} may run at once, and {len(running)} "
        f"do{'es' if len(running) == 1 else ''}: {', '.join(running[:_SHOWN])}",
        remedy="wait for one of these to end, or revoke it",
        ids=tuple(running[:_SHOWN]),
    )


def _rate(facts: Facts, task: TaskRecord) -> Iterator[Reason]:
    rate = facts.rates.get(task.name)
    if rate is None:
        return
    opens = facts.store.opens_at(task.name)
    before = facts.store.place(task, _PLACES)
    if opens <= facts.now and not before:
        return
    when = f"the next may start {ahead(opens - facts.now)}" if opens > facts.now else "one may start now"
    place = f"; {_count(before, 'task of its name')} before it" if before else ""
    yield Reason(
        kind="rate_limit",
        text=f"the rate limit of {task.name} is {rate}: {when}{place}",
        remedy=f"litequeue control rate_limit {task.name} 0 lifts the limit",
        until=opens if opens > facts.now and not before else None,
    )


def _busy(facts: Facts, task: TaskRecord, able: Sequence[ProcessRecord], held_up: bool) -> Iterator[Reason]:
    """All slots that could run it are taken, or one is free and will take it."""
    slots = sum(facts.slots(worker) for worker in able)
    running = [each for worker in able for each in facts.runs_on(worker)]
    before = facts.store.place(task, _PLACES)
    if len(running) < slots:
        if not held_up:
            place = f"{_count(before, 'task')} before it in {task.queue}; " if before else ""
            free = f"{slots - len(running)} of {counted(slots, 'slot')} that could run it"
            yield Reason(kind="free", text=f"{place}free: {free}; it starts at once", remedy="look again")
        return
    longest = sorted(running, key=lambda each: each.started_at or 0.0)[:_SHOWN]
    shown = ", ".join(f"{each.name} ({each.id}, {_runs(facts, each)})" for each in longest)
    place = f"{_count(before, 'task')} before it in {task.queue}" if before else f"it is the next of {task.queue}"
    yield Reason(
        kind="busy",
        text=f"{_all_slots(slots)}; {place}. There runs: {shown}",
        remedy=f"wait; or more slots: litequeue control pool_grow, or another worker -Q {task.queue}",
        ids=tuple(each.id for each in longest),
    )


def _runs(facts: Facts, task: TaskRecord) -> str:
    return "just started" if task.started_at is None else f"runs for {span(facts.now - task.started_at)}"


def _all_slots(slots: int) -> str:
    return f"all {slots} slots that could run it are taken" if slots != 1 else "the one slot that could run it is taken"


def _count(before: int, noun: str) -> str:
    if before >= _PLACES:
        return f"{_PLACES} {noun.replace('task', 'tasks')} or more are"
    return f"{before} {noun.replace('task', 'tasks', before != 1)} {'is' if before == 1 else 'are'}"


def _expiry(facts: Facts, task: TaskRecord) -> Iterator[Reason]:
    if task.expires_at is None:
        return
    left = task.expires_at - facts.now
    when = clock.to_datetime(task.expires_at).astimezone(facts.app.timezone).isoformat(sep=" ", timespec="seconds")
    text = (
        f"it expires {ahead(left)}, at {when}" if left > 0 else f"it expired {ago(-left)}, and is about to be revoked"
    )
    yield Reason(
        kind="expires",
        text=text,
        remedy="have it start before, or call it anew with a later expires",
        until=task.expires_at,
    )
