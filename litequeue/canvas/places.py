"""Where the parts of a canvas stand while it is planned: what each waits for, and what waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from litequeue.app.current import get_current_worker_task
from litequeue.calling.message import Place
from litequeue.core.context import current_tasks
from litequeue.core.records import NewTask
from litequeue.core.ties import BODY, FEEDS, LEADS, THEN

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue


class Spot(Place):
    """Where a part of a canvas stands, and what it gets from what it is a part of.

    It is read while the part is planned and then used for the next: whoever wants to keep it takes a copy.
    """

    __slots__ = ("args", "before", "callbacks", "error_callbacks", "group_callbacks", "kwargs", "options", "task_id")

    def __init__(self, root_id: str | None = None, parent_id: str | None = None, priority: int | None = None) -> None:
        super().__init__(root_id, parent_id, priority)
        self.args: tuple[Any, ...] = ()
        """What is put before the arguments of what starts first."""
        self.kwargs: Mapping[str, Any] = {}
        self.options: Mapping[str, Any] = {}
        """Options of the call, over those of the part."""
        self.callbacks: tuple[Any, ...] = ()
        """What is to follow on the end of the part."""
        self.error_callbacks: tuple[Any, ...] = ()
        """What is to follow on the failure of each task of the part."""
        self.group_callbacks: tuple[Any, ...] = ()
        """Those of `error_callbacks` that the tasks of a group at the end of the part get: where something waits for a
        group, its failures are told to that."""
        self.task_id: str | None = None
        """The id of the part's last task."""
        self.before: Any = None
        """The result of what comes before."""

    def copy(self) -> Spot:
        """Another one that says the same."""
        other = Spot.__new__(Spot)
        for name in _SLOTS:
            setattr(other, name, getattr(self, name))
        return other

    def follow(self, tail: Tail) -> None:
        """Move on to what comes after `tail`."""
        last = tail.last
        assert last is not None
        if tail.group_id is None:
            self.after, self.edge = last.id, THEN
        else:
            self.after, self.edge = tail.group_id, BODY
        self.takes_input = 1
        self.root_id, self.parent_id, self.priority = last.root_id or last.id, last.id, last.priority
        self.args, self.kwargs, self.options = (), {}, {}
        self.before = tail.result

    def end_with(self, end: Spot) -> None:
        """Be the last of the parts of what stands at `end`."""
        self.callbacks, self.task_id, self.ties, self.inner = end.callbacks, end.task_id, end.ties, end.inner
        self.group_id, self.group_index = end.group_id, end.group_index

    def end_inside(self, feeds: bool) -> None:
        """Be followed by another part."""
        self.callbacks, self.task_id, self.group_id, self.group_index = (), None, None, None
        self.ties = LEADS | FEEDS if feeds else LEADS
        self.inner = True


_SLOTS = (*Place.__slots__, *Spot.__slots__)


class Tail(NamedTuple):
    """How a part of a canvas ends: what comes next waits for this."""

    last: NewTask | None
    """Its last task; of a group, that of the last member. None: an empty group."""
    group_id: str | None
    """The group, if it ends in one."""
    result: Any
    first: Any
    """The result that stands for the start of the part."""


def after(task_id: str, edge: str, root_id: str, priority: int | None = None) -> Spot:
    """The spot of what waits for a task, and is called by it."""
    spot = Spot(root_id, task_id, priority)
    spot.after, spot.edge, spot.takes_input, spot.sole = task_id, edge, 1, False
    return spot


def now(app: LiteQueue, options: Mapping[str, Any]) -> Spot:
    """The spot of what is called now: by the task that is running here, if there is one."""
    root_id, parent_id, priority = options.get("root_id"), options.get("parent_id"), None
    if current_tasks.get():
        caller = get_current_worker_task()
        if caller is not None:
            request = caller.request
            root_id, parent_id = root_id or request.root_id or request.id, parent_id or request.id
            if app.conf.task_inherit_parent_priority:
                priority = (request.delivery_info or {}).get("priority")
    return Spot(root_id, parent_id, priority)


def merged(options: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Options with others over them; a call changes no stamps, and what it leaves out (None) stays."""
    fixed = {"group_id", "stamped_headers", *(options.get("stamped_headers") or ())} & options.keys()
    return {**options, **{n: v for n, v in over.items() if v is not None and n not in fixed}}


def united(some: tuple[Any, ...], more: list[Any]) -> tuple[Any, ...]:
    """`some` and `more`; what is there already is not added again."""
    if not some:
        return tuple(more)
    return (*some, *(item for item in more if item not in some))
