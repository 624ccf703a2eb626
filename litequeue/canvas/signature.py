"""A wish: which task to call, with which arguments and options. It is a dict, so that it can itself be an argument.

{"task": name, "args": (), "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from litequeue.app.current import get_current_app
from litequeue.core.ids import new_id

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.async_result import AsyncResult
    from litequeue.result.eager_result import EagerResult
    from litequeue.task import Task

S = TypeVar("S", bound="type[Signature]")


def _item(name: str, doc: str) -> Any:
    def get(self: Signature) -> Any:
        return self.get(name)

    def put(self: Signature, value: Any) -> None:
        self[name] = value

    return property(get, put, doc=doc)


def _option(name: str, doc: str) -> Any:
    def get(self: Signature) -> Any:
        return self.options.get(name)

    def put(self: Signature, value: Any) -> None:
        self.options[name] = value

    return property(get, put, doc=doc)


class Signature(dict[str, Any]):
    """The call of a task, to be made later, elsewhere, or with more arguments.

    `add.s(2).delay(7)` calls `add(7, 2)`: arguments given later come first. An immutable signature (`add.si(2)`) takes
    none.
    """

    TYPES: ClassVar[dict[str, type[Signature]]] = {}
    """The kinds of signature by their `subtask_type`."""

    _IMMUTABLE_OPTIONS: ClassVar = frozenset({"group_id", "stamped_headers"})
    """Options that a later call must not change: the group would wait for ever."""

    _app: LiteQueue | None = None
    _type: Task | None = None

    task = _item("task", "The task's name.")
    args = _item("args", "Positional arguments.")
    kwargs = _item("kwargs", "Keyword arguments.")
    options = _item("options", "Options of `apply_async`.")
    subtask_type = _item("subtask_type", "The kind of signature; None for a plain task.")
    immutable = _item("immutable", "Whether it takes no further arguments.")
    id = _option("task_id", "The id of the task, once it is frozen.")
    parent_id = _option("parent_id", "The id of the task before it.")
    root_id = _option("root_id", "The id of the task that it all began with.")

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[S], S]:
        """Decorate a subclass, so that `from_dict` rebuilds it."""

        def register(subclass: S) -> S:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: LiteQueue | None = None) -> Signature:
        """The signature that the dict `d` describes, of its own kind."""
        kind = d.get("subtask_type")
        if kind:
            try:
                target = cls.TYPES[kind]
            except KeyError:
                raise ValueError(f"no kind of signature is called {kind!r}") from None
            if target is not cls:
                return target.from_dict(d, app=app)
        return Signature(d, app=app)

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Any = None,
        options: Any = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: LiteQueue | None = None,
        **more_options: Any,
    ) -> None:
        if app is not None:
            self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            return
        name = getattr(task, "name", None)
        if name is not None:
            self._type = task
        super().__init__(
            task=task if name is None else name,
            args=tuple(args or ()),
            kwargs=kwargs or {},
            options={**(options or {}), **more_options},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    # Calling

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Call the task as a function, here."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs, None)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> AsyncResult:
        """Enqueue the task, with these arguments before its own."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any
    ) -> AsyncResult:
        """Enqueue the task, with these arguments before its own and these options over its own."""
        merged_args, merged_kwargs, merged = self._merge(args, kwargs, _given(options))
        if route_name is not None:
            merged = {**merged, "route_name": route_name}
        task = self._registered()
        if task is None:
            return self.app.send_task(self["task"], merged_args, merged_kwargs, **merged)
        return task.apply_async(merged_args, merged_kwargs, **merged)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> EagerResult:
        """Run the task in place."""
        merged_args, merged_kwargs, merged = self._merge(args, kwargs, _given(options))
        return self.type.apply(merged_args, merged_kwargs, **merged)

    def __invert__(self) -> Any:
        """`~sig` enqueues the task and waits for its result."""
        return self.apply_async().get()

    # Changing

    def _merge(
        self, args: Any = None, kwargs: Any = None, options: Mapping[str, Any] | None = None, force: bool = False
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Arguments, keywords and options of a call with these added; `force`: also to an immutable one."""
        merged = self.options
        if options:
            fixed = self._fixed_options()
            merged = {**merged, **{name: value for name, value in options.items() if name not in fixed}}
        if self.immutable and not force:
            return self.args, self.kwargs, merged
        return (
            (*args, *self.args) if args else self.args,
            {**self.kwargs, **kwargs} if kwargs else self.kwargs,
            merged,
        )

    def _fixed_options(self) -> set[str]:
        fixed = self._IMMUTABLE_OPTIONS.union(self.options.get("stamped_headers") or ())
        return {name for name in fixed if name in self.options}

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Signature:
        """A copy, with these arguments before and these options over those of the original."""
        merged_args, merged_kwargs, merged = self._merge(args, kwargs, options)
        copy = Signature.from_dict(
            {
                "task": self.task,
                "args": tuple(merged_args),
                "kwargs": dict(merged_kwargs),
                "options": deepcopy(merged),
                "subtask_type": self.subtask_type,
                "immutable": self.immutable,
            },
            app=self._app,
        )
        copy._type = self._type
        return copy

    partial = clone

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Signature:
        """A copy with other arguments, keywords or options; None keeps those of the original."""
        copy = self.clone()
        if args is not None:
            copy.args = args
        if kwargs is not None:
            copy.kwargs = kwargs
        if options is not None:
            copy.options = options
        return copy

    def set(self, immutable: bool | None = None, **options: Any) -> Signature:
        """Set options, and return the signature itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Take no further arguments, or take them again."""
        self.immutable = immutable

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> AsyncResult:
        """Give the call its id now, and return the result it will have."""
        options = self.options
        task_id = options.setdefault("task_id", None) or _id or new_id()
        options["task_id"] = task_id
        given = {"root_id": root_id, "parent_id": parent_id, "chord": chord, "group_index": group_index}
        options.update({name: value for name, value in given.items() if value is not None})
        if group_id is not None:
            options.setdefault("group_id", group_id)
        return self.AsyncResult(task_id)

    # What it stands for

    @property
    def app(self) -> LiteQueue:
        """The app it belongs to, else the current one."""
        if self._app is not None:
            return self._app
        return self._type.app if self._type is not None else get_current_app()

    @property
    def type(self) -> Task:
        """The task itself. NotRegistered: the app does not have it."""
        return self._type if self._type is not None else self.app.tasks[self["task"]]

    def _registered(self) -> Task | None:
        return self._type if self._type is not None else self.app.tasks.get(self["task"])

    @property
    def name(self) -> str:
        """The task's name, as `Task.name`."""
        return self["task"]  # type: ignore[no-any-return]

    @property
    def AsyncResult(self) -> Callable[..., AsyncResult]:
        """Makes the result of an id."""
        task = self._registered()
        return self.app.AsyncResult if task is None else task.AsyncResult

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as text, `add(2, 2)`, with these arguments added."""
        all_args, all_kwargs, _ = self._merge(args, kwargs, None, force=True)
        shown = [repr(value) for value in all_args] + [f"{name}={value!r}" for name, value in all_kwargs.items()]
        return f"{self['task']}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __or__(self, other: Any) -> Any:
        # `|` of a dict would merge the two into one without a word.
        raise TypeError("signatures cannot be joined with |: that needs the canvas, which this version does not have")

    __ior__ = __ror__ = __or__

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        copy = memo[id(self)] = dict(self)
        copy["options"] = deepcopy(self.options, memo)
        return copy

    def __reduce__(self) -> Any:
        return signature, (dict(self),)

    def __json__(self) -> dict[str, Any]:
        return dict(self)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not None: those leave what the signature says."""
    return {name: value for name, value in options.items() if value is not None}


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """A signature of a task or its name, of a dict that describes one, or a copy of a signature."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, dict):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


def maybe_signature(d: Any, app: LiteQueue | None = None, clone: bool = False) -> Any:
    """`d` as a signature where it is one or describes one; anything else as it is."""
    if isinstance(d, Signature):
        if clone:
            d = d.clone()
    elif isinstance(d, dict):
        d = signature(d)
    else:
        return d
    if app is not None:
        d._app = app
    return d
