"""One task over many arguments: in one row (`xmap`, `xstarmap`), or in rows of `n` calls each (`chunks`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from litequeue.canvas.groups import group
from litequeue.canvas.lazy import LazyList
from litequeue.canvas.signature import Signature
from litequeue.canvas.tree import as_member

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue


def _items(it: Iterable[Any]) -> Any:
    if not isinstance(it, Iterable):
        raise TypeError(f"the items to call the task over must be a list or another iterable, not {it!r}")
    return it if isinstance(it, (list, tuple, LazyList)) else LazyList(it)


class _OverItems(Signature):
    """A signature whose keyword arguments are a task and what it is called over."""

    _STARS: ClassVar[str] = ""

    def complete(self) -> None:
        """Fill in what the dict did not say; the task becomes a signature."""
        super().complete()
        self["subtask_type"] = self.KIND
        self["kwargs"] = {**self["kwargs"], "task": as_member(self["kwargs"]["task"], self._app)}

    @property
    def app(self) -> LiteQueue:
        """The app it belongs to, else that of its task, else the current one."""
        return self._app if self._app is not None else as_member(self["kwargs"]["task"]).app


class _Map(_OverItems):
    def __init__(self, task: Any, it: Iterable[Any], **options: Any) -> None:
        options.setdefault("immutable", True)
        parts = {"task": as_member(task), "it": _items(it)}
        super().__init__(self.TASK_NAME, (), parts, subtask_type=self.KIND, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any) -> Any:
        """Enqueue the one row that makes all the calls, one after the other; its result is the list of theirs.

        NotRegistered: the app does not know the task that is to be called.
        """
        from litequeue.calling.canvas import send

        if isinstance(self["kwargs"]["it"], LazyList):
            self["kwargs"]["it"] = list(self["kwargs"]["it"])
        given = {"route_name": route_name, **options}
        return send(self, (), {}, {name: value for name, value in given.items() if value is not None})

    def __repr__(self) -> str:
        items = repr(self["kwargs"]["it"])
        if len(items) >= 100:
            items = items[:100].rsplit(" ", 1)[0] + "..."
        return f"[{self['kwargs']['task']['task']}({self._STARS}x) for x in {items}]"


@Signature.register_type()
class xmap(_Map):
    """`[task(x) for x in it]` as one task."""

    KIND = "xmap"
    TASK_NAME = "litequeue.map"


@Signature.register_type()
class xstarmap(_Map):
    """`[task(*x) for x in it]` as one task."""

    KIND = "xstarmap"
    TASK_NAME = "litequeue.starmap"
    _STARS = "*"


@Signature.register_type()
class chunks(_OverItems):
    """`[task(*x) for x in it]` as a group of tasks that make `n` of the calls each."""

    KIND = "chunks"
    TASK_NAME = "litequeue.chunks"

    def __init__(self, task: Any, it: Iterable[Any], n: int, **options: Any) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"the size of a chunk is a whole number from 1 on, not {n!r}")
        options.setdefault("immutable", True)
        parts = {"task": as_member(task), "it": _items(it), "n": n}
        super().__init__(self.TASK_NAME, (), parts, subtask_type=self.KIND, **options)

    def group(self) -> group:
        """The group of `xstarmap`s that it stands for; what it goes over is taken as the group is sent."""
        own = self["kwargs"]
        app: LiteQueue | None = self._app
        make: Callable[[Any], Any] = lambda part: xstarmap(own["task"], part, app=app)  # noqa: E731
        return group(map(make, _sliced(own["it"], own["n"])), app=app)

    def freeze(self, _id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Give the group its id now, and return its result."""
        super().freeze(_id, *args, **kwargs)
        return self.app.GroupResult(self.id)

    def __call__(self, **options: Any) -> Any:
        """Enqueue the group."""
        return self.apply_async(**options)

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any) -> Any:
        """Enqueue the group; returns its GroupResult, whose value is a list of lists."""
        return self.group().apply_async(args, kwargs, **{**self.options, **options})

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run the group here and now."""
        return self.group().apply(args, kwargs, **{**self.options, **options})

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: LiteQueue | None = None) -> Any:
        """Make the chunks and enqueue them."""
        return cls(task, it, n, app=app)()


def _sliced(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
