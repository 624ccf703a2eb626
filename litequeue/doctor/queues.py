"""The queues: whether somebody runs what is in them."""

from __future__ import annotations

from typing import Final

from litequeue.core import state
from litequeue.core.viewing import QueueRecord, TaskFilter
from litequeue.doctor.findings import Case, Verdict, error, listed, ok, warning
from litequeue.doctor.program import own_tasks
from litequeue.utils.words import counted, span

_LOOKED_AT: Final = 1000  # ready tasks, the newest, whose names are compared with what workers know
_STUCK: Final = 10.0  # seconds that a task may be ready beside an idle worker; it takes a millisecond
_MANY_DEAD: Final = 1000


def backlog(case: Case) -> Verdict:
    """Whether every queue that has tasks has a worker."""
    served = {queue for worker in case.workers for queue in worker.queues}
    paused = case.paused_names("queue")
    waiting = [each for each in case.queues if each.name not in served and each.name not in paused]
    ready = [f"{each.name} ({each.ready:,})" for each in waiting if each.ready]
    later = [f"{each.name} ({each.scheduled:,})" for each in waiting if each.scheduled and not each.ready]
    if ready:
        return error(
            f"Queues with tasks that are ready, and no worker: {listed(ready)}.",
            "Start a worker of these queues with -Q, or send the tasks to another (task_routes).",
        )
    if later:
        return warning(
            f"Queues with tasks for later, and no worker: {listed(later)}.", "Start a worker of these queues with -Q."
        )
    tasks = sum(each.ready for each in case.queues)
    return ok(
        f"{counted(tasks, 'task')} ready, in queues that have a worker." if tasks else "No task waits for a worker."
    )


def names(case: Case) -> Verdict | None:
    """Whether some worker knows each name that is ready."""
    if not case.workers:
        return None
    paused = case.paused_names("task")
    found = case.store.find(TaskFilter(states=(state.READY,)), _LOOKED_AT).tasks
    served = {queue for worker in case.workers for queue in worker.queues}
    unknown = {task.name for task in found if task.queue in served and task.name not in case.known} - paused
    if unknown:
        here = case.knows_tasks and unknown <= set(case.app.tasks)
        return error(
            f"Tasks that no worker knows are ready: {listed(unknown)}.",
            "Restart the workers: the app has these tasks." if here else "Start a worker whose app has them, or purge.",
        )
    return ok("Workers know the names of all tasks that are ready.")


def code(case: Case) -> Verdict | None:
    """Whether the workers have the tasks that the app has now."""
    if not case.workers or not case.knows_tasks:
        return None
    new = set(own_tasks(case)) - case.known
    if new:
        return warning(
            f"The app has tasks that no worker knows: {listed(new)}.", "Restart the workers: they have older code."
        )
    return ok("The workers know the tasks of the app.")


def stuck(case: Case) -> Verdict | None:
    """Whether a task is ready beside an idle worker that could run it."""
    if not case.workers:
        return None
    limited = {each.name for each in case.store.limits() if each.effective_rate is not None}
    held = limited | case.paused_names("task")
    for queue in case.queues:
        task = queue.next
        if task is None or task.name in held or queue.name in case.paused_names("queue"):
            continue
        waited = case.now - (queue.ready_since or case.now)
        idle = [name for name in _idle_for(case, queue) if waited > _STUCK]
        if idle:
            return error(
                f"{task.name}[{task.id}] has been ready in {queue.name} for {span(waited)}, beside idle workers:"
                f" {listed(idle)}.",
                f"`litequeue inspect explain {task.id}` says why; if not, restart the worker, and report it.",
            )
    return ok("No task waits beside an idle worker.")


def _idle_for(case: Case, queue: QueueRecord) -> list[str]:
    """The workers with free slots that serve the queue and know the task that is next in it."""
    return [
        worker.worker
        for worker in case.workers
        if case.idle[worker.id]
        and queue.name in worker.queues
        and queue.next is not None
        and queue.next.name in worker.info.get("tasks", ())
    ]


def paused(case: Case) -> Verdict:
    """Whether anything is paused, which somebody may have forgotten."""
    if case.paused:
        what = listed(f"{each.kind} {each.name} for {span(max(case.now - each.paused_at, 0))}" for each in case.paused)
        return warning(f"Paused: {what}.", "`litequeue resume` ends a pause.")
    return ok("Nothing is paused.")


def dead_letters(case: Case) -> Verdict:
    """How many tasks have failed."""
    found = sum(each.failed for each in case.queues)
    where = listed(f"{each.name} ({each.failed:,})" for each in case.queues if each.failed)
    if found >= _MANY_DEAD:
        return warning(
            f"{counted(found, 'task')} failed: {where}.", "`litequeue inspect failures` groups them; retry or discard."
        )
    return ok(f"{counted(found, 'task')} failed: {where}." if found else "No task has failed.")
