"""Groups: tasks side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from litequeue.canvas.composed import Composed, first_name, members
from litequeue.canvas.lazy import LazyList, is_lazy
from litequeue.canvas.signature import Signature
from litequeue.canvas.tree import as_member, without_repeats

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue


@Signature.register_type()
class group(Composed):
    """Tasks that run side by side; its result is the list of theirs, in their order.

    `group(a, b, c)`, or one argument that is iterable. A generator is kept: as long as nobody looks at `tasks`, it is
    consumed once, when the group is sent, and the group never becomes a list.
    """

    KIND = "group"
    TASK_NAME = "litequeue.group"
    PARTS = ("tasks",)

    def __init__(self, *tasks: Any, app: LiteQueue | None = None, **options: Any) -> None:
        given: Any = tasks
        if len(tasks) == 1:
            given = tasks[0]
            if isinstance(given, group):
                given = given.tasks
            elif isinstance(given, Signature):
                given = [given.clone()]
            elif isinstance(given, dict) or hasattr(given, "apply_async"):
                given = [given]
        super().__init__(self.TASK_NAME, (), {"tasks": members(given, app)}, subtask_type=self.KIND, app=app, **options)

    @property
    def tasks(self) -> list[Any]:
        """Its members."""
        return self["kwargs"]["tasks"]  # type: ignore[no-any-return]

    @tasks.setter
    def tasks(self, tasks: Iterable[Any]) -> None:
        self["kwargs"]["tasks"] = members(tasks)

    def iter_tasks(self) -> Iterator[Any]:
        """Its members, one by one, for sending: those of a generator are not kept. RuntimeError: that is used up."""
        tasks = self.tasks
        return tasks.drain() if isinstance(tasks, LazyList) else iter(tasks)

    def __len__(self) -> int:
        """The number of its members."""
        return len(self.tasks)

    def __bool__(self) -> bool:
        """Whether it has members; a generator is asked for one."""
        return bool(self.tasks)

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        """Enqueue it with these arguments before those of every member."""
        return self.apply_async(partial_args, **options)

    def apply_async(  # type: ignore[override]  # as in Celery, where the third argument is not the route
        self,
        args: Any = None,
        kwargs: Any = None,
        add_to_parent: bool = True,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Enqueue every member in one transaction, with these arguments before its own; returns a GroupResult."""
        for name, given in (("link", link), ("link_error", link_error)):
            if given is not None:
                raise TypeError(f"a group takes no {name} when it is sent: use a chord, or {name} on its members")
        if not add_to_parent:
            options["add_to_parent"] = False
        return super().apply_async(args, kwargs, **options)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Start the members one after the other: the first after `start` seconds, each next `step` seconds later.

        From `stop` seconds on all start at the same time. Returns the group itself.
        """
        delay = float(start)

        def delayed(task: Any) -> Any:
            nonlocal delay
            task = as_member(task).set(countdown=delay)
            if not stop or delay + step <= stop:
                delay += step
            return task

        self._each(delayed)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Take no further arguments, or take them again: every member."""

        def changed(task: Any) -> Any:
            task = as_member(task)
            task.set_immutable(immutable)
            return task

        self._each(changed)

    def link(self, callback: Any) -> Any:
        """Run `callback` once, without arguments, when the first member has succeeded.

        For what shall wait for every member there is the chord: `group | callback`.
        """
        if not self.tasks:
            raise ValueError("an empty group has no member to link a callback to")
        first = as_member(self.tasks[0])
        if first is not self.tasks[0]:
            self.tasks[0] = first
        return first.link(as_member(callback).clone().set(immutable=True))

    def link_error(self, errback: Any) -> Any:
        """Run `errback` for each member that fails; returns what was linked, one for each member."""
        tasks = self.tasks = [as_member(task) for task in self.tasks]
        return tuple(task.link_error(as_member(errback).clone()) for task in tasks)

    def _each(self, change: Callable[[Any], Any]) -> None:
        tasks = self.tasks
        if isinstance(tasks, LazyList):
            tasks.change_each(change)
        else:
            tasks[:] = map(change, tasks)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp every member."""
        from litequeue.canvas.stamping import stamp_group

        stamp_group(self, visitor, append_stamps, headers)

    def _text(self, show: Callable[[Any], str]) -> str:
        tasks = self.tasks
        if not is_lazy(tasks) and not tasks:
            return "group(<empty>)"
        text = f"group({show(tasks)})"
        return text if is_lazy(tasks) else without_repeats(first_name(tasks), text)


def is_empty_group(sig: Any) -> bool:
    """Whether `sig` is a group without members; a generator is asked for one."""
    return isinstance(sig, group) and not sig.tasks


def the_only_one(sig: Any) -> Any:
    """The member of a group of one; None: it is no such group. A generator is asked for two."""
    if not isinstance(sig, group):
        return None
    tasks = sig.tasks
    if isinstance(tasks, LazyList) and not tasks.complete:
        several = tasks.take(2)
    else:
        several = len(tasks) > 1
    return as_member(tasks[0]) if tasks and not several else None
