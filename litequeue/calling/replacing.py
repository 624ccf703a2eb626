"""`Task.replace` and `Task.add_to_chord`: how a running task changes the canvas around it.

What changes is planned here and written when the attempt ends, in the transaction that ends it, or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litequeue.canvas.places import Spot
from litequeue.canvas.plan import Planner
from litequeue.canvas.tree import as_list, as_member
from litequeue.core.records import Graft, NewCanvas, NewTask
from litequeue.core.ties import FEEDS, MEMBER
from litequeue.exceptions import ImproperlyConfigured, Replaced

if TYPE_CHECKING:
    from litequeue.task import Task

ACCUMULATE = "litequeue.accumulate"
"""The task that a replacement ends with which would end in a group: it returns the list of its values."""


def replacement(task: Task, signature: Any) -> Any:
    """`signature` as it replaces the running request of `task`: with its id, its nesting and its stamps.

    ImproperlyConfigured: an empty chain. RuntimeError: the task is not run by a worker.
    """
    request = task.request
    if request.called_directly:
        raise RuntimeError(f"{task.name} was called as a function: only a task that is run as one can be replaced")
    signature = as_member(signature, task.app)
    if signature.options.get("chord"):
        raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
    if signature["subtask_type"] == "chain" and not signature["kwargs"]["tasks"]:
        raise ImproperlyConfigured("Cannot replace with an empty chain")
    signature = _ending_in_a_task(task, signature.clone())
    _forget_last_id(signature)
    if request.stamps:
        signature.stamp(**request.stamps)
    return signature.set(task_id=request.id, replaced_task_nesting=request.replaced_task_nesting + 1)


def _ending_in_a_task(task: Task, signature: Any) -> Any:
    """`signature` with something after it that makes one value of a group at its end."""
    if not _ends_in_group(signature):
        return signature
    from litequeue.canvas.chains import chain
    from litequeue.canvas.chords import chord

    accumulate = task.app.tasks[ACCUMULATE].s(index=0)
    if signature["subtask_type"] == "group":
        given = {"kwargs": signature["kwargs"].get("kwargs") or {}}
        return chord(signature, accumulate, args=signature["args"], kwargs=given, app=task.app)
    return chain.of([signature, accumulate], task.app)


def _forget_last_id(signature: Any) -> None:
    """Take the id off the last task of `signature`: it will have that of the task it replaces."""
    while True:
        signature["options"].pop("task_id", None)
        kind, parts = signature.get("subtask_type"), signature["kwargs"]
        if kind == "chain" and parts["tasks"]:
            signature = parts["tasks"][-1]
        elif kind == "chord" and parts.get("body") is not None:
            signature = parts["body"]
        else:
            return


def _ends_in_group(signature: Any) -> bool:
    while True:
        kind = signature.get("subtask_type")
        if kind == "chain" and signature["kwargs"]["tasks"]:
            signature = signature["kwargs"]["tasks"][-1]
        elif kind == "chord" and signature["kwargs"].get("body") is not None:
            signature = signature["kwargs"]["body"]
        else:
            return kind in ("group", "chunks")


def replaced(task: Task, signature: Any) -> Replaced:
    """What the running request of `task` raises to become `signature`, as `replacement` made it.

    The row keeps its id and what hangs on it and becomes the last task of the replacement; its error callbacks are
    those of every task of the replacement, as if they had been linked to it.
    """
    request = task.request
    nesting = int(signature.options.pop("replaced_task_nesting", 1))
    kept = tuple(as_list(request.errbacks))
    planner = _Replacing(task, nesting, kept)
    spot = Spot(request.root_id or request.id, request.id, request.priority)
    spot.error_callbacks, spot.task_id, spot.sole = kept, request.id, False
    if planner.plan(signature, spot) is None or planner.become is None:
        raise ImproperlyConfigured("Cannot replace a task with nothing")
    become = planner.become._replace(parent_id=request.parent_id)
    told = Replaced("Replaced by new task", Graft(become, planner.canvas()))
    # The replacement stands even if an `except Exception` of the task catches it.
    request.update(pending=told)
    return told


class _Replacing(Planner):
    """Plans a replacement; the row of its last task is set apart."""

    def __init__(self, task: Task, nesting: int, kept: tuple[Any, ...]) -> None:
        super().__init__(task.app, eager=bool(task.request.is_eager), nesting=nesting)
        self._id = task.request.id
        self._kept = kept
        self.become: NewTask | None = None

    def _add(self, row: NewTask) -> None:
        if row.id == self._id:
            self.become = row
        else:
            self.rows.append(row)

    def _ties(self, spot: Spot, callbacks: Any, error_callbacks: Any) -> tuple[int, str | None]:
        if spot.task_id == self._id:  # the row has them already
            error_callbacks = tuple(errback for errback in error_callbacks if not _among(errback, self._kept))
        return super()._ties(spot, callbacks, error_callbacks)


def _among(item: Any, items: tuple[Any, ...]) -> bool:
    return any(item is other for other in items)


def add_to_chord(task: Task, signature: Any, lazy: bool) -> Any:
    """Make `signature` one more member of the chord that the running request of `task` is a member of.

    ValueError: it is a member of none.
    """
    request = task.request
    if not request.chord or not request.group:
        raise ValueError("Current task is not member of any chord")
    signature = as_member(signature, task.app)
    if lazy:
        return signature.set(group_id=request.group, chord=request.chord, root_id=request.root_id)
    return add(task, signature)


def add(task: Task, signature: Any) -> Any:
    """Plan one more member of the running request's group; the result it will have."""
    request = task.request
    group_id = request.group
    planner = Planner(task.app, eager=bool(request.is_eager))
    spot = Spot(request.root_id or request.id, request.id, request.priority)
    spot.group_id, spot.ties, spot.inner, spot.sole = group_id, MEMBER | FEEDS, True, False
    signature = signature.clone()
    for name in ("group_id", "group_index", "chord"):
        signature.options.pop(name, None)
    tail = planner.plan(signature, spot)
    if tail is None:
        return None
    fields = request.__dict__
    fields.setdefault("additions", []).append(NewCanvas(planner.rows, planner.groups))
    task.add_trail(tail.first)
    return tail.result
