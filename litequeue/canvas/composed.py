"""What chains, groups and chords have in common: they are sent as one, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from litequeue.app.current import get_current_app
from litequeue.canvas.lazy import LazyList, is_lazy
from litequeue.canvas.signature import Signature, _given
from litequeue.canvas.tree import as_member, flattened, text_of, unflattened

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue


def members(tasks: Iterable[Any], app: LiteQueue | None = None) -> list[Any]:
    """The tasks as a list of signatures; that of a generator is filled when it is looked at."""
    if isinstance(tasks, LazyList) and is_lazy(tasks):
        return tasks
    if isinstance(tasks, (list, tuple, set, frozenset)):
        return [as_member(task, app) for task in tasks]
    if isinstance(tasks, (str, bytes, Mapping)) or not hasattr(tasks, "__iter__"):
        as_member(tasks)  # says what is wrong with it
    return LazyList(tasks, lambda task: as_member(task, app))


class Composed(Signature):
    """A signature that is made of others."""

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any) -> Any:
        """Enqueue all of it in one transaction; returns the result of its last part.

        Arguments go before those of its first part (of each member, where that is a group), unless it is immutable.
        Nothing is written when anything in it is wrong.
        """
        from litequeue.calling.canvas import send

        return send(self, args or (), kwargs or {}, _given({"route_name": route_name, **options}))

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run all of it here and now."""
        from litequeue.calling.canvas import apply

        return apply(self, args or (), kwargs or {}, _given(options))

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Enqueue it with these arguments."""
        return self.apply_async(partial_args, partial_kwargs)

    @property
    def partial_kwargs(self) -> dict[str, Any]:
        """Keyword arguments for its first part, as `clone(kwargs=...)` leaves them."""
        return self["kwargs"].get("kwargs") or {}

    def _merge(
        self, args: Any = None, kwargs: Any = None, options: Mapping[str, Any] | None = None, force: bool = False
    ) -> tuple[Any, Any, dict[str, Any]]:
        all_args, own, merged = super()._merge(args, None, options, force)
        if kwargs and (force or not self.immutable):
            own = {**own, "kwargs": {**self.partial_kwargs, **kwargs}}
        return all_args, own, merged

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Give every part its id now, and return the result that its last part will have, with its parents.

        `_id` is for the last part; ids that are there already stay. Sending it later uses these ids.
        """
        from litequeue.canvas.freezing import freeze

        return freeze(self, _id, group_id, chord, root_id, parent_id, group_index)

    @property
    def app(self) -> LiteQueue:
        """The app it belongs to, else that of its first part, else the current one."""
        wish: Any = self
        while isinstance(wish, Composed):
            if wish._app is not None:
                return wish._app
            wish = wish._first()
        if wish is None or (wish._app is None and wish._type is None):
            return get_current_app()
        return wish.app  # type: ignore[no-any-return]

    def _first(self) -> Signature | None:
        """Its first part."""
        tasks = self["kwargs"].get("tasks")
        return as_member(tasks[0]) if tasks else None

    def _registered(self) -> None:
        return None

    def __reduce__(self) -> Any:
        return unflattened, (flattened(self),)

    def __repr__(self) -> str:
        return text_of(self)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as text, with these arguments added."""
        all_args, all_kwargs, _ = self._merge(args, kwargs, None, force=True)
        return self._call_text(all_args, all_kwargs, repr)

    def _call_text(self, args: Any, kwargs: Mapping[str, Any], show: Callable[[Any], str]) -> str:
        shown = [show(value) for value in args] + [f"{name}={show(value)}" for name, value in kwargs.items()]
        return f"{self['task']}({', '.join(shown)})"


def first_name(tasks: Any) -> str:
    """The task's name of the first of these signatures."""
    return str(tasks[0]["task"])
