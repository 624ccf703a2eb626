"""The part of `app.control` that Celery does not have: pauses, and what limits there are."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from litequeue.core import clock
from litequeue.core.routing import declared_queues, queue_name
from litequeue.exceptions import NotRegistered, QueueNotFound

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.steering import Limits

QUEUE: Final = "queue"
TASK: Final = "task"


class Pausing:
    """Queues and tasks that are not to be started for a while; kept in the file."""

    app: LiteQueue

    def pause(self, queues: Any = (), tasks: Any = ()) -> list[str]:
        """Start nothing more from these queues, and no more tasks of these names; what runs is finished.

        One name or several; `tasks` also as tasks. Calls are enqueued as ever, and wait. It holds for all workers, and
        until `resume`, whoever is started anew. Returns the names that were not paused before. QueueNotFound,
        NotRegistered: nobody knows one of them; nothing is paused then.
        """
        chosen = self._names_to_pause("pause", queues, tasks)
        return [name for kind, names in chosen if names for name in self.app.store.pause(kind, names)]

    def resume(self, queues: Any = (), tasks: Any = ()) -> list[str]:
        """Start them again. Returns the names that were paused. QueueNotFound, NotRegistered: as in `pause`."""
        chosen = self._names_to_pause("resume", queues, tasks)
        return [name for kind, names in chosen if names for name in self.app.store.resume(kind, names)]

    def paused(self) -> dict[str, dict[str, datetime]]:
        """What is paused, and since when: `{"queues": {name: datetime}, "tasks": {name: datetime}}`."""
        found: dict[str, dict[str, datetime]] = {"queues": {}, "tasks": {}}
        for pause in self.app.store.paused():
            found["queues" if pause.kind == QUEUE else "tasks"][pause.name] = clock.to_datetime(pause.paused_at)
        return found

    def limits(self) -> dict[str, Limits]:
        """The limits of task names, as they were set at run time or are declared by workers' code."""
        return {limits.name: limits for limits in self.app.store.limits()}

    def rates(self) -> dict[str, str]:
        """The rate limits that count: `{"proj.add": "10/m"}`."""
        found = {name: limits.effective_rate for name, limits in self.limits().items()}
        return {name: rate for name, rate in found.items() if rate is not None}

    def _names_to_pause(self, verb: str, queues: Any, tasks: Any) -> list[tuple[str, list[str]]]:
        """The names that were given, by kind; an exception for one that nobody knows."""
        names = [queue_name(queue) for queue in _listed(queues)]
        task_names = [str(getattr(task, "name", task)) for task in _listed(tasks)]
        if not names and not task_names:
            raise TypeError(f"{verb}() needs the name of a queue, or tasks=")
        check_queues(self.app, names)
        _check(task_names, self._known_tasks, _no_task)
        return [(QUEUE, names), (TASK, task_names)]

    def _known_tasks(self) -> set[str]:
        paused = (pause.name for pause in self.app.store.paused() if pause.kind == TASK)
        return {*self.app.tasks, *self.app.store.known_names(), *paused}


def check_queues(app: LiteQueue, names: Collection[str]) -> None:
    """QueueNotFound: the app does not declare one of these queues, and no task or worker has used it."""
    _check(names, lambda: _known_queues(app), _no_queue)


def _known_queues(app: LiteQueue) -> set[str]:
    known = {*declared_queues(app.conf.task_queues), app.conf.task_default_queue, *app.store.known_queues()}
    known.update(pause.name for pause in app.store.paused() if pause.kind == QUEUE)
    for name, task in app.tasks.items():
        known.add(app.router.route({"queue": task.queue, "routing_key": task.routing_key}, name)["queue"])
    return known


def _listed(names: Any) -> list[Any]:
    if names is None:
        return []
    one = isinstance(names, str) or hasattr(names, "name") or not isinstance(names, Iterable)
    return [names] if one else list(dict.fromkeys(names))


def _check(names: Collection[str], known: Callable[[], set[str]], error: Callable[[str, list[str]], Exception]) -> None:
    there = known() if names else set()
    for name in names:
        if name not in there:
            raise error(name, difflib.get_close_matches(name, there, n=1))


def _no_queue(name: str, near: list[str]) -> QueueNotFound:
    hint = f"did you mean {near[0]!r}?" if near else "no app declares it, and no task or worker has used it."
    return QueueNotFound(f"there is no queue {name!r}; {hint}")


def _no_task(name: str, near: list[str]) -> NotRegistered:
    return NotRegistered(name, *(f"did you mean {one!r}?" for one in near))
