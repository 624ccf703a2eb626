"""Sending a canvas, running one in place, and adding to one that is under way.

A call with callbacks is a small canvas: `Task.apply_async(link=...)` comes here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litequeue import signals
from litequeue.app.current import get_current_worker_task
from litequeue.calling.announcing import announce_published
from litequeue.calling.options import arguments, known_durability
from litequeue.canvas.places import Spot, Tail, after, now
from litequeue.canvas.plan import Planner
from litequeue.canvas.tree import as_list
from litequeue.core.context import current_tasks
from litequeue.core.ties import FEEDS, LEADS, LINK
from litequeue.result.joining import allow_join_result

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.calling.in_place import InPlace
    from litequeue.core.records import NewCanvas
    from litequeue.result.async_result import AsyncResult
    from litequeue.task import Task


def send(signature: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
    """Enqueue a canvas, all of it in one transaction or nothing; the result of its last part.

    None: it is an empty chain. ValueError: a chord without a body, or a canvas that contains itself. NotRegistered: a
    task that the app does not know. Else errors as in `Task.apply_async`.
    """
    app: LiteQueue = signature.app
    if app.conf.task_always_eager:
        return apply(signature, args, kwargs, options)
    options = dict(options)
    add_to_parent = options.pop("add_to_parent", True)
    planner = Planner(app)
    planner.durability = known_durability(options.pop("durability", None))
    tail = planner.plan(signature, _start(app, args, kwargs, options))
    if tail is None:
        return None
    _enqueue(planner)
    if add_to_parent:
        _add_trail(tail.first)
    return tail.result


def _start(app: LiteQueue, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Spot:
    spot = now(app, options)
    args, kwargs = arguments(args, kwargs)
    spot.args, spot.kwargs, spot.options = tuple(args), kwargs, options
    return spot


def _enqueue(planner: Planner) -> None:
    if len(planner.rows):
        planner.app.store.enqueue_canvas(planner.canvas(), planner.durability)
        planner.rows.close()
        announce_all(planner)


def announce_all(planner: Planner) -> None:
    """Send after_task_publish for each row that was written, if anybody listens."""
    if signals.after_task_publish.receivers:
        for new, args, kwargs in planner.published:
            announce_published(new, args, kwargs)


def _add_trail(result: Any) -> None:
    if current_tasks.get():
        caller = get_current_worker_task()
        if caller is not None:
            caller.add_trail(result)


# One call, and what follows it


def send_call(
    app: LiteQueue, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Task | None
) -> AsyncResult:
    """Enqueue one call, whose options are complete, with its callbacks and error callbacks."""
    if options.get("chord"):
        return _add_lazily(app, name, args, kwargs, options)
    add_to_parent = options.get("add_to_parent", True)
    planner = Planner(app)
    tail = _plan_call(planner, name, args, kwargs, options, task)
    _enqueue(planner)
    if add_to_parent:
        _add_trail(tail.result)
    return tail.result  # type: ignore[no-any-return]


def _plan_call(
    planner: Planner, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Task | None
) -> Tail:
    spot = now(planner.app, options)
    spot.group_id, spot.group_index = options.get("group_id"), options.get("group_index")
    steps = as_list(options.get("chain"))[::-1]  # as in Celery's messages, the next one is the last
    if steps:
        spot.ties = LEADS | FEEDS
    tail = planner.call(name, args or (), kwargs or {}, dict(options), task, spot, prepared=True)
    if steps:
        spot = spot.copy()
        spot.ties, spot.group_id, spot.group_index = 0, None, None
        spot.follow(tail)
        planner.plan(_chain_of(steps), spot)
    planner.plan_links()
    return tail


def _add_lazily(app: LiteQueue, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> AsyncResult:
    """Add the call to the chord of the running task, as `add_to_chord(signature, lazy=True)` prepared it."""
    from litequeue.calling.replacing import add
    from litequeue.canvas.signature import Signature

    caller = get_current_worker_task() if current_tasks.get() else None
    if caller is None or options.get("group_id") is None or caller.request.group != options["group_id"]:
        raise ValueError(
            "the option chord= is for the tasks of a chord, which is sent as a whole: write chord(header, body); a "
            "running task adds to its own chord with self.add_to_chord(signature)"
        )
    return add(caller, Signature(name, args, kwargs, dict(options), app=app))  # type: ignore[no-any-return]


def _chain_of(steps: list[Any]) -> dict[str, Any]:
    return {
        "task": "litequeue.chain",
        "args": (),
        "kwargs": {"tasks": steps},
        "options": {},
        "subtask_type": "chain",
        "immutable": False,
    }


# In place


def apply(signature: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
    """Run a canvas here and now, all of it, as workers would; returns when everything has ended.

    `throw` raises the exception of the first task that fails; None: as `task_eager_propagates` says.
    """
    from litequeue.calling.in_place import InPlace

    app: LiteQueue = signature.app
    options = dict(options)
    throw = options.pop("throw", None)
    options.pop("add_to_parent", None)
    planner = Planner(app, eager=True)
    tail = planner.plan(signature, _start(app, args, kwargs, options))
    if tail is None:
        return None
    return finish(app, planner.canvas(), tail.result, throw, InPlace(app))


def apply_call(task: Task, args: Any, kwargs: Any, options: Mapping[str, Any], throw: bool | None) -> Any:
    """Run one call here and now, and what follows it."""
    from litequeue.calling.in_place import InPlace

    app = task.app
    if options.get("chord"):
        return _add_lazily(app, task.name, args, kwargs, options)
    planner = Planner(app, eager=True)
    tail = _plan_call(planner, task.name, args, kwargs, options, task)
    return finish(app, planner.canvas(), tail.result, throw, InPlace(app))


def finish(app: LiteQueue, canvas: NewCanvas, result: Any, throw: bool | None, queue: InPlace) -> Any:
    """Run `canvas` in `queue`, which is given up after it; the result that `result` stands for."""
    try:
        with allow_join_result():
            queue.run(canvas)
        if queue.first_error is not None and (app.conf.task_eager_propagates if throw is None else throw):
            raise queue.first_error
        return queue.result(result)
    finally:
        queue.close()


# Under way


def link(app: LiteQueue, task_id: str, callback: Any) -> None:
    """Run `callback` when the task `task_id` has succeeded; at once, if it has.

    LookupError: the file has no such task.
    """
    root_id = _root_of(app, task_id)
    planner = Planner(app)
    planner.plan(callback, after(task_id, LINK, root_id))
    if not app.store.attach(task_id, planner.canvas()):
        raise _not_there(app, task_id)
    announce_all(planner)


def link_error(app: LiteQueue, task_id: str, errback: Any) -> None:
    """Run `errback` when the task `task_id` fails; at once, if it has. LookupError: the file has no such task."""
    planner = Planner(app)
    template = planner.template(errback)
    if not app.store.attach(task_id, planner.canvas(), [template]):
        raise _not_there(app, task_id)


def _root_of(app: LiteQueue, task_id: str) -> str:
    record = app.store.task(task_id)
    if record is None:
        raise _not_there(app, task_id)
    return record.root_id or record.id


def _not_there(app: LiteQueue, task_id: str) -> LookupError:
    return LookupError(f"{app.store.path} has no task {task_id}, so nothing can be linked to it; enqueue it first")
