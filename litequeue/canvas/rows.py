"""The rows of a canvas, one task at a time: arguments, options and error callbacks of a signature that is a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litequeue import signals
from litequeue.calling.capturing import captured_call
from litequeue.calling.message import Preset, build, preset_for
from litequeue.calling.options import OF_PRESET
from litequeue.canvas.places import Spot, Tail, after, merged, united
from litequeue.canvas.spool import Spool
from litequeue.canvas.tree import as_list, as_member, check_callback
from litequeue.core.records import NewTask
from litequeue.core.ties import ERRBACKS, FEEDS, LEADS, LINK, write_errbacks
from litequeue.exceptions import NotRegistered

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.task import Task

COMPOSED = frozenset({"chain", "group", "chord", "chunks"})
"""The kinds of signature that are made of others."""

FROM_PLACE = frozenset({"root_id", "parent_id", "group_id", "group_index", "chord", "chain", "add_to_parent"})
"""Options that a frozen signature carries, and that its place in the canvas says."""
_EAGER_IGNORES = ("countdown", "eta", "expires")


class RowMaker:
    """Makes the rows of tasks, and keeps them until they are written.

    `eager`: they are run in place, so that the file is not opened, and nothing is delayed or announced. `strict`: a
    task that the app does not know is an error. `nesting` is how many times the task was replaced that these rows are a
    replacement of.
    """

    def __init__(self, app: LiteQueue, *, eager: bool = False, strict: bool = True, nesting: int = 0) -> None:
        self.app = app
        self.rows = Spool()
        self.published: list[tuple[NewTask, Any, Any]] = []
        """What after_task_publish is to tell of, if anybody listens."""
        self.durability: str | None = None
        self._registry = app.tasks
        self._eager = eager
        self._quick = not (eager or signals.before_task_publish.receivers or signals.after_task_publish.receivers)
        self._inherits_priority = bool(app.conf.task_inherit_parent_priority)
        self._nesting = nesting
        self._carried = f'{{"replaced_task_nesting":{nesting}}}' if nesting else None
        self._presets: dict[Any, Preset | None] = {}
        self._links: list[tuple[Any, Spot, Any]] = []
        """Callbacks that are still to be planned, each with those that lead to it."""
        self._callers: Any = None
        self._errbacks: dict[tuple[int, ...], tuple[Any, str]] = {}
        self._strict = strict

    def _member(self, given: Any) -> Any:
        """A part of a canvas as a signature: given as one, as its dict, or as a task."""
        if isinstance(given, dict) and "subtask_type" in given and "immutable" in given:
            return given
        return as_member(given, self.app)

    def _task(self, signature: Any, spot: Spot) -> Tail:
        """The row of a task."""
        name, args, kwargs = signature["task"], signature["args"], signature["kwargs"]
        takes_input = spot.takes_input
        if signature["immutable"]:
            takes_input = 0
        else:
            if spot.args:
                args = (*spot.args, *args)
            if spot.kwargs:
                kwargs = {**kwargs, **spot.kwargs}
        options = signature["options"]
        if signature["subtask_type"] is not None:
            name, kwargs, options = self._mapped(signature, kwargs)
        task = self._registry.get(name)
        if spot.options:
            options = merged(options, spot.options) if options else spot.options
        if self._quick and not spot.callbacks and spot.task_id is None and task is not None:
            preset = self._preset(task, options) if options else task.preset()
            if preset is not None:
                return self._quickly(preset, args, kwargs, spot, takes_input)
        if task is None:
            self._check_known(name, options)
        return self.call(name, args, kwargs, dict(options), task, spot, takes_input)

    def _preset(self, task: Task, options: Mapping[str, Any]) -> Preset | None:
        """What a call with these options is; None where it is not the same for all calls."""
        if not OF_PRESET.issuperset(options):
            return None
        key = (task.name, *options.items())
        try:
            return self._presets[key]
        except KeyError:
            preset = self._presets[key] = preset_for(self.app, task, options)
            return preset
        except TypeError:  # a value that has no hash
            return None

    def _quickly(self, preset: Preset, args: Any, kwargs: Any, spot: Spot, takes_input: int) -> Tail:
        """The row of a task of which only the arguments are new: the way of nearly all members of a large group."""
        if preset.check is not None:
            preset.check(*(None,) * takes_input, *args, **kwargs)
        ties, errbacks = spot.ties, None
        if spot.error_callbacks:
            ties, errbacks = ties | ERRBACKS, self._templates(spot.error_callbacks)
        new = preset.build_at(spot, args, kwargs, takes_input, ties, errbacks, self._carried)
        self._add(new)
        result: Any = new.id
        if preset.ignored or spot.group_id is None or spot.before is not None:
            result = self.app.AsyncResult(new.id, parent=spot.before)
            if preset.ignored:
                result.ignored = True
        return Tail(new, None, result, result)

    def call(
        self,
        name: str,
        args: Any,
        kwargs: Any,
        options: dict[str, Any],
        task: Task | None,
        spot: Spot,
        takes_input: int = 0,
        prepared: bool = False,
    ) -> Tail:
        """The row of a call with options; its callbacks are planned later. `prepared`: by `Task.prepare_call`."""
        if task is not None and not prepared and task.overrides_apply_async:
            args, kwargs, options = captured_call(task, args, kwargs, options)
        here = spot.copy()
        callbacks = (*spot.callbacks, *as_list(options.pop("link", None)))
        error_callbacks = united(spot.error_callbacks, as_list(options.pop("link_error", None)))
        here.root_id = spot.root_id or options.get("root_id")
        here.parent_id = spot.parent_id or options.get("parent_id")
        options = self._cleared(options, spot)
        if task is not None and not prepared:
            args, kwargs, options = task.prepare_call(args, kwargs, takes_input=takes_input, **options)
        here.takes_input = takes_input
        here.ties, here.errbacks = self._ties(spot, callbacks, error_callbacks)
        here.keyed = not self._eager
        if not self._inherits_priority:
            here.priority = None
        built = build(self.app, name, args, kwargs, options, task, eager=self._eager, place=here)
        new = built.new
        self.durability = built.durability or self.durability
        self._add(new)
        if signals.after_task_publish.receivers:
            self.published.append((new, args, kwargs))
        for callback in callbacks:
            linked = after(new.id, LINK, new.root_id or new.id, new.priority)
            self._links.append((callback, linked, self._callers))
        result = self.app.AsyncResult(new.id) if task is None else task.AsyncResult(new.id)
        if spot.before is not None:
            result.parent = spot.before
        if built.ignored:
            result.ignored = True
        return Tail(new, None, result, result)

    def _cleared(self, options: Mapping[str, Any], spot: Spot) -> dict[str, Any]:
        """The options without those that the place of the call decides."""
        options = {name: value for name, value in options.items() if name not in FROM_PLACE}
        if spot.task_id is not None:
            options["task_id"] = spot.task_id
        if self._nesting:
            options["replaced_task_nesting"] = self._nesting
        if self._eager:
            for name in _EAGER_IGNORES:
                options.pop(name, None)
        return options

    def _add(self, row: NewTask) -> None:
        self.rows.append(row)

    def _ties(self, spot: Spot, callbacks: Any, error_callbacks: Any) -> tuple[int, str | None]:
        """The ties of a task, those of its place and its own, and its error callbacks."""
        ties = spot.ties
        if callbacks:
            ties |= LEADS
            if not all(map(takes_nothing, callbacks)):
                ties |= FEEDS
        if not error_callbacks:
            return ties, None
        return ties | ERRBACKS, self._templates(error_callbacks)

    def _mapped(self, signature: Any, kwargs: Any) -> tuple[str, Any, Any]:
        """Name, keywords and options of `xmap` and `xstarmap`; of other kinds, as they are."""
        name, options = signature["task"], signature["options"]
        if signature["subtask_type"] not in ("xmap", "xstarmap"):
            return name, kwargs, options
        name = "litequeue.map" if signature["subtask_type"] == "xmap" else "litequeue.starmap"
        mapped = self._member(kwargs["task"])
        self._check_known(mapped["task"], mapped["options"])
        return name, {"task": dict(mapped), "it": list(kwargs["it"])}, {"route_name": mapped["task"], **options}

    def _check_known(self, name: str, options: Mapping[str, Any]) -> None:
        """NotRegistered: the app has tasks, but not this one, and the call does not say in which queue it is known."""
        if name in self._registry or (options.get("queue") and not self._eager):
            return
        if self._eager or (self._strict and self.app.has_own_tasks):
            error = NotRegistered(name)
            error.add_note(
                "A canvas names only tasks that the app knows, so that it cannot stop half-way: import the module that "
                "declares the task, or set queue= on its signature to send it by its name alone."
            )
            raise error

    # Error callbacks

    def _templates(self, error_callbacks: tuple[Any, ...]) -> str:
        """The error callbacks as a row keeps them; made once for all tasks that share them."""
        key = tuple(map(id, error_callbacks))
        known = self._errbacks.get(key)
        if known is None:
            # The callbacks are kept with the text: while they live, nothing else has their ids.
            known = error_callbacks, write_errbacks([self.template(callback) for callback in error_callbacks])
            self._errbacks[key] = known
        return known[1]

    def template(self, callback: Any) -> NewTask:
        """The row of an error callback, to be completed when it fires."""
        check_callback(callback)
        callback = self._member(callback)
        if self._leads_on(callback):
            callback = started_by(callback)
        task = self._registry.get(callback["task"])
        spot = Spot()
        spot.after, spot.inner = "?", True  # it waits: seconds count from when it fires
        spot.sole = False
        spot.takes_input = 3 if task is not None and task.takes_error else 1
        new = RowMaker(self.app, eager=self._eager)._task(callback, spot).last
        assert new is not None
        return new

    def _leads_on(self, callback: Any) -> bool:
        """Whether an error callback is more than a task with error callbacks: a row's text cannot hold that."""
        options = callback["options"]
        if callback.get("subtask_type") in COMPOSED or options.get("link"):
            return True
        inner = [self._member(each)["options"] for each in as_list(options.get("link_error"))]
        return any(each.get("link") or each.get("link_error") for each in inner)


def started_by(signature: Any) -> dict[str, Any]:
    """The call of a task that starts a composed signature, where only a task can stand."""
    return {
        "task": "litequeue.start",
        "args": (),
        "kwargs": {"signature": signature},
        "options": {},
        "subtask_type": None,
        "immutable": signature["immutable"],
    }


def takes_nothing(signature: Any) -> bool:
    """Whether it certainly takes no value of what comes before: the first step decides for a chain."""
    while isinstance(signature, dict) and signature.get("subtask_type") == "chain" and not signature.get("immutable"):
        steps = signature["kwargs"]["tasks"]
        signature = steps[0] if steps else None
    if not isinstance(signature, dict) or not signature.get("immutable"):
        return False
    return signature.get("subtask_type") not in COMPOSED - {"chain"}
