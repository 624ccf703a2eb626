"""Why is this task not running?

`explain(app, task_id)` says where the task stands, and every reason that keeps it there, the most decisive first, each
with what can be done about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from litequeue.core import clock, ties
from litequeue.core.state import FAILED, READY, REVOKED, RUNNING, SCHEDULED, TERMINAL, WAITING
from litequeue.inspect import obstacles
from litequeue.inspect.facts import Explanation, Facts, Reason, ago, ahead
from litequeue.inspect.reading import cause_of, error_of_task
from litequeue.inspect.views import DEAD, HUNG, ORPHAN
from litequeue.result.reading import state_of
from litequeue.utils.words import counted, span

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import Member, TaskRecord

__all__ = ("Explanation", "Reason", "explain")

SHOWN: Final = 5
"""Tasks that one reason goes into, of those that a task waits for."""
LOOKED_AT: Final = 1000
"""Tasks and groups before a task that are looked at, at most."""


def explain(app: LiteQueue, task_id: str) -> Explanation:
    """Where the task stands and why it does not go on; of a group's id, why that has not ended."""
    facts = Facts(app)
    record = app.store.task(task_id)
    if record is not None:
        return _of_task(facts, record, frozenset())
    group = app.store.group(task_id)
    if group is not None:
        return _of_group(facts, task_id)
    return Explanation(
        task_id=task_id,
        name=None,
        state=None,
        verdict="The file has no task of this id.",
        reasons=(
            Reason(
                kind="unknown",
                text=f"{app.store.path} has never seen it, or has deleted it after its retention (result_expires)",
                remedy="look whether the id is right, and whether the caller's app uses this file",
            ),
        ),
    )


def _of_task(facts: Facts, record: TaskRecord, above: frozenset[str]) -> Explanation:
    """What holds a task up; `above` are the tasks whose explanation this is a part of."""
    if record.state in TERMINAL:
        verdict, reasons = _ended(facts, record)
    elif record.state == RUNNING:
        verdict, reasons = _running(facts, record)
    elif record.state == SCHEDULED:
        verdict, reasons = _scheduled(facts, record)
    elif record.state == WAITING:
        verdict, reasons = _waiting(facts, record, above)
    else:
        reasons = obstacles.of_ready(facts, record)
        verdict = "It is ready, and has not started."
    return Explanation(
        task_id=record.id, name=record.name, state=state_of(record), verdict=verdict, reasons=tuple(reasons)
    )


# It has ended


def _ended(facts: Facts, record: TaskRecord) -> tuple[str, list[Reason]]:
    shown = state_of(record)
    when = "" if record.finished_at is None else f" {ago(facts.now - record.finished_at)}"
    if record.state not in (FAILED, REVOKED):
        verdict = f"It ended{when}: {shown}."
        return verdict, [Reason(kind="ended", text=f"it ran {_where(record)}")]
    again = f"litequeue retry {record.id} runs it again"
    cause = cause_of(facts.store, record)
    if cause is not None:
        return f"It ended{when} without having run: {shown}.", [
            Reason(
                kind="upstream",
                text=f"it did not run, because task {cause} before it ended badly",
                remedy=f"litequeue retry {cause} runs that again, and then this one",
                ids=(cause,),
                because=_one(facts, cause, frozenset({record.id})),
            )
        ]
    ran = f"it ran {_where(record)}" if record.attempt else "it never started"
    text = f"{ran}: {error_of_task(record)}"
    return f"It ended{when}: {shown}.", [Reason(kind="ended", text=text, remedy=again)]


def _where(record: TaskRecord) -> str:
    return f"on {record.worker}" if record.worker else "in the caller's process"


def _one(facts: Facts, task_id: str, above: frozenset[str]) -> tuple[Explanation, ...]:
    record = facts.store.task(task_id)
    return () if record is None or task_id in above else (_of_task(facts, record, above | {task_id}),)


# It runs


def _running(facts: Facts, record: TaskRecord) -> tuple[str, list[Reason]]:
    spent = "" if record.started_at is None else f" for {span(facts.now - record.started_at)}"
    where = f"on {record.worker} (pid {record.pid})"
    reasons = list(_holder(facts, record))
    first = facts.before_in_slot(record)
    if first is not None and not reasons:
        reasons.append(
            Reason(
                kind="behind",
                text=f"a slot of {record.worker} (pid {record.pid}) has taken it, and first runs {first.name} "
                f"({first.id})",
                remedy="wait; if that runs on, the slot gives back what it has not started",
                ids=(first.id,),
            )
        )
        return f"It is taken by {record.worker}, and about to start.", reasons
    if record.cancel is not None:
        how = f"it is to be killed with {record.cancel}" if record.cancel else "it was told to stop"
        reasons.append(
            Reason(
                kind="revoked",
                text=f"it was revoked while it ran: {how}, and never runs again",
                remedy=f"litequeue control terminate SIGKILL {record.id} ends it for good",
            )
        )
    if reasons:
        return f"It runs {where}.", reasons
    return "It runs.", [Reason(kind="running", text=f"it has run{spent} {where}, attempt {record.attempt}")]


def _holder(facts: Facts, record: TaskRecord) -> Iterator[Reason]:
    """What is wrong with the process that runs a task."""
    holder, lives = facts.holder(record)
    if lives == DEAD:
        somebody = any(facts.liveness(worker) not in (DEAD, HUNG) for worker in facts.workers)
        yield Reason(
            kind="dead",
            text=f"its process (pid {record.pid} of {record.worker}) is gone; the task is about to be taken back",
            remedy="wait some seconds: a running worker takes it back, and it runs again"
            if somebody
            else "start a worker (litequeue worker): it takes back what the dead held",
        )
    elif lives == ORPHAN:
        yield Reason(
            kind="orphaned",
            text=f"its worker {record.worker} is gone; the process that runs it (pid {record.pid}) lives on, and ends "
            "with it",
            remedy=f"wait for its end; kill -9 {record.pid} ends it now, and a worker takes the task back",
        )
    elif lives == HUNG:
        silent = 0.0 if holder is None else facts.now - holder.heartbeat_at
        yield Reason(
            kind="hung",
            text=f"its worker {record.worker} (pid {record.pid}) hangs: it exists, but gave no sign of life for "
            f"{span(silent)}",
            remedy=f"look at that process; kill -9 {record.pid} ends it, and another worker takes the task back",
        )


# It waits for a time


def _scheduled(facts: Facts, record: TaskRecord) -> tuple[str, list[Reason]]:
    due = record.run_at if record.run_at is not None else facts.now
    again = (
        f"it failed, and is tried again (retry {record.retries})" if record.retries else "it has an eta or a countdown"
    )
    if due > facts.now:
        when = clock.to_datetime(due).astimezone(facts.app.timezone).isoformat(sep=" ", timespec="seconds")
        reason = Reason(
            kind="retry" if record.retries else "scheduled",
            text=f"{again}: it is due {ahead(due - facts.now)}, at {when}",
            remedy="to start it sooner: revoke it, and call it anew without the delay",
            until=due,
        )
        return f"It is due {ahead(due - facts.now)}.", [reason, *obstacles.standing(facts, record)]
    found = obstacles.of_ready(facts, record)
    return f"It has been due for {span(facts.now - due)}, and has not started.", found


# It waits for others


def _waiting(facts: Facts, record: TaskRecord, above: frozenset[str]) -> tuple[str, list[Reason]]:
    reason = _awaited(facts, record, above | {record.id})
    what = "tasks" if len(reason.ids) != 1 else f"task {reason.ids[0]}"
    return f"It waits for {what} to end.", [reason, *obstacles.standing(facts, record)]


def _awaited(facts: Facts, record: TaskRecord, above: frozenset[str]) -> Reason:
    """What a task waits for: not the next one, but the first that are not waiting themselves."""
    node_id = str(record.after)
    how = {ties.QUEUE: "the run before it of its schedule's entry", ties.BODY: "the header of its chord"}
    stuck, missing = _stuck(facts, node_id)
    group = facts.store.group(node_id)
    if missing and not stuck:
        return Reason(
            kind="missing",
            text=f"it waits for {node_id}, which the file does not have any more, so nothing will release it",
            remedy=f"litequeue control revoke {record.id}, and call it anew",
            ids=(node_id,),
        )
    what = f"group {node_id}, of which {group.remaining} of {group.size} have not ended" if group else f"task {node_id}"
    if record.edge in how:
        what = f"{how[record.edge]} ({what})"
    rest = "" if len(stuck) == 1 and stuck[0].id == node_id else f"; next to end: {counted(len(stuck), 'task')}"
    return Reason(
        kind="waits",
        text=f"it waits for {what}{rest}",
        ids=tuple(task.id for task in stuck[:SHOWN]) or (node_id,),
        because=tuple(_of_task(facts, task, above | {task.id}) for task in stuck[:SHOWN] if task.id not in above),
    )


def _stuck(facts: Facts, node_id: str) -> tuple[list[TaskRecord], bool]:
    """The first tasks before a node that have not ended and do not wait; and whether something before it is gone."""
    seen: set[str] = set()
    todo = [node_id]
    found: list[TaskRecord] = []
    missing = False
    while todo and len(seen) < LOOKED_AT and len(found) < LOOKED_AT:
        current = todo.pop(0)
        if current in seen:
            continue
        seen.add(current)
        task = facts.store.task(current)
        if task is not None:
            if task.state == WAITING and task.after is not None:
                todo.append(task.after)
            elif task.state not in TERMINAL:
                found.append(task)
        elif facts.store.group(current) is not None:
            todo += _open_parts(facts, facts.store.members(current))
        else:
            missing = True
    return sorted(found, key=_most_stuck), missing


def _open_parts(facts: Facts, parts: Sequence[Member]) -> Iterable[str]:
    """The parts of a group that have not ended."""
    states = facts.store.states([part.id for part in parts if not part.is_group])
    for part in parts:
        if part.is_group:
            group = facts.store.group(part.id)
            if group is None or group.remaining:
                yield part.id
        elif states.get(part.id) not in TERMINAL and part.id in states:
            yield part.id


def _most_stuck(task: TaskRecord) -> tuple[int, int]:
    """What does not run comes before what runs."""
    return (READY, SCHEDULED, RUNNING).index(task.state) if task.state in (READY, SCHEDULED, RUNNING) else 0, task.seq


def _of_group(facts: Facts, group_id: str) -> Explanation:
    """Why a group has not ended."""
    group = facts.store.group(group_id)
    assert group is not None, "it was looked up before"
    name = f"group of {group.size}"
    if not group.remaining:
        state = "FAILURE" if group.failed_id is not None else "SUCCESS"
        reason = Reason(kind="ended", text=f"all of its {group.size} members have ended")
        return Explanation(
            task_id=group_id, name=name, state=state, verdict="It is a group, and has ended.", reasons=(reason,)
        )
    stuck, _ = _stuck(facts, group_id)
    reason = Reason(
        kind="waits",
        text=f"{group.remaining} of its {group.size} members have not ended",
        ids=tuple(task.id for task in stuck[:SHOWN]),
        because=tuple(_of_task(facts, task, frozenset({task.id})) for task in stuck[:SHOWN]),
    )
    return Explanation(
        task_id=group_id, name=name, state="PENDING", verdict="It is a group, and has not ended.", reasons=(reason,)
    )
