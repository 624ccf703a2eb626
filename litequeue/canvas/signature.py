"""A wish: which task to call, with which arguments and options. It is a dict, so that it can itself be an argument.

{"task": name, "args": (), "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}

Chains, groups, chords and the maps are signatures too (`chains`, `groups`, `chords`, `maps`): their parts stand in
`kwargs`, under the names that `PARTS` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from litequeue.app.current import get_current_app
from litequeue.canvas.lazy import is_lazy
from litequeue.canvas.tree import LINKS, Path, as_list, as_member, copy_tree
from litequeue.core.ids import new_id

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.async_result import AsyncResult
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
    """The kinds of signature by their `subtask_type`; `kind_of` knows those that are not loaded yet."""

    KIND: ClassVar[str | None] = None
    """The `subtask_type` of this kind."""

    TASK_NAME: ClassVar[str | None] = None
    """What stands for the task's name in a signature of this kind."""

    PARTS: ClassVar[tuple[str, ...]] = ()
    """The names under which a composed signature keeps its parts in `kwargs`."""

    COPIES_ITSELF: ClassVar[bool] = False
    REBUILDS_ITSELF: ClassVar[bool] = False
    """A kind from elsewhere that has its own `clone`, or its own `from_dict`: it sees to its parts."""

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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.COPIES_ITSELF = cls.clone is not Signature.clone
        cls.REBUILDS_ITSELF = vars(cls).get("from_dict") is not None or cls.REBUILDS_ITSELF

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[S], S]:
        """Decorate a subclass, so that `from_dict` rebuilds it."""

        def register(subclass: S) -> S:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: LiteQueue | None = None) -> Signature:
        """The signature that the dict `d` describes, of its own kind, with all its parts; `d` stays as it is.

        Also reads what Celery wrote. ValueError: there is no such kind.
        """
        if cls is not Signature and not d.get("subtask_type"):
            d = {**d, "task": cls.TASK_NAME or d.get("task"), "subtask_type": cls.KIND}
        return copy_tree(d, app)

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

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Enqueue the task, with these arguments before its own."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any) -> Any:
        """Enqueue the task, with these arguments before its own and these options over its own."""
        if args.__class__ is not tuple and (args or kwargs):
            from litequeue.calling.options import arguments

            args, kwargs = arguments(args, kwargs)
        merged_args, merged_kwargs, merged = self._merge(args, kwargs, _given(options))
        if route_name is not None:
            merged = {**merged, "route_name": route_name}
        task = self._registered()
        if task is None:
            return self.app.send_task(self["task"], merged_args, merged_kwargs, **merged)
        return task.apply_async(merged_args, merged_kwargs, **merged)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
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

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """A copy, with copies of its parts and links; with these arguments before and these options over its own."""
        copy = copy_tree(self)
        if args or kwargs or options:
            merged_args, merged_kwargs, copy["options"] = copy._merge(args, kwargs, options)
            copy["args"], copy["kwargs"] = tuple(merged_args), merged_kwargs
        return copy

    partial = clone

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Signature:
        """A copy with other arguments, keywords or options; None keeps those of the original."""
        copy: Signature = self.clone()
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

    def link(self, callback: Any) -> Any:
        """Run `callback` with the result when the task has succeeded; returns the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Run `errback` when the task has failed; returns the errback.

        A task that is not bound and has three positional parameters or more (or `*args`) is called with
        `(request, exc, traceback)`, any other with the id of the task that failed.
        """
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Signature:
        """`link_error` that returns the signature itself: `add.s(2, 2).on_error(report.s()).delay()`."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add `value` to the list that the option `key` is, unless it is in it; returns the value."""
        items = self._list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add `value`, or each of a list, to the list that the option `key` is."""
        self._list_option(key).extend(as_list(value))

    def _list_option(self, key: str) -> list[Any]:
        items = self.options.get(key)
        if not isinstance(items, list):
            items = self.options[key] = as_list(items)
        return items

    def flatten_links(self) -> list[Any]:
        """The signature, what is linked to it, what is linked to that, and so on.

        ValueError: it is linked to itself.
        """
        found: list[Any] = []
        path = Path()
        todo: list[tuple[Any, bool]] = [(self, True)]
        while todo:
            sig, entering = todo.pop()
            if not entering:
                path.leave(sig)
                continue
            path.enter(sig)
            found.append(as_member(sig))
            todo.append((sig, False))
            todo.extend((link, True) for link in reversed(as_list(found[-1].options.get("link"))))
        return found

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        """Stamp the signature and what is linked to it with these headers, and with what the visitor says.

        A stamp that is there already stays, unless `append_stamps` makes a list of both. Returns the signature itself.
        """
        from litequeue.canvas.stamping import stamps_of

        self.stamp_links(visitor, append_stamps, **headers)
        said = None if visitor is None else visitor.on_signature(self, **headers) or {}
        return self.set(**stamps_of(self, said, append_stamps, headers))

    def stamp_links(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp what is linked to the signature: callbacks and error callbacks."""
        from litequeue.canvas.stamping import stamp_links

        stamp_links(self, visitor, append_stamps, headers)

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> AsyncResult:
        """Give the call its id now, and return the result it will have.

        An id that it has already stays. Sending it later uses these ids.
        """
        options = self.options
        task_id = options["task_id"] = options.get("task_id") or _id or new_id()
        given = {"root_id": root_id, "parent_id": parent_id, "chord": chord, "group_index": group_index}
        options.update({name: value for name, value in given.items() if value is not None})
        if group_id is not None:
            options.setdefault("group_id", group_id)
        return self.AsyncResult(task_id)

    # Its parts

    def parts(self, links: bool = False) -> list[Any]:
        """The signatures it is made of, as far as they are there; `links`: and those linked to it."""
        found: list[Any] = []
        if self.PARTS:
            for name in self.PARTS:
                value = self["kwargs"].get(name)
                if isinstance(value, dict):
                    found.append(value)
                elif isinstance(value, (list, tuple)):
                    found.extend(list.__iter__(value) if isinstance(value, list) and is_lazy(value) else value)
        if links:
            for name in LINKS:
                found.extend(as_list(self["options"].get(name)))
        return found

    def has_parts(self, links: bool = False) -> bool:
        """Whether it can have any."""
        if self.PARTS:
            return True
        options = self.get("options")
        return links and bool(options) and any(options.get(name) for name in LINKS)  # type: ignore[union-attr]

    def change_parts(self, change: Callable[[Any], Any], links: bool = False) -> None:
        """Put `change(part)` in the place of each part; `links`: and of each linked signature.

        Parts that a generator has not given yet stay as they will be.
        """
        kwargs, options = self["kwargs"], self["options"]
        for name in self.PARTS:
            value = kwargs.get(name)
            if isinstance(value, dict):
                kwargs[name] = change(value)
            elif value is not None and not is_lazy(value):
                kwargs[name] = [change(part) for part in value]
        if links and options:
            for name in LINKS:
                if options.get(name):
                    options[name] = [change(part) for part in as_list(options[name])]

    def complete(self) -> None:
        """Fill in what the dict it was made of did not say. ValueError: it does not name a task."""
        if not self.get("task") and self.TASK_NAME is None:
            found = ", ".join(map(repr, self)) or "nothing"
            raise ValueError(f"the dict of a signature names its task; this one has {found}")
        for name, value in (("args", ()), ("kwargs", {}), ("options", {}), ("subtask_type", None)):
            if self.get(name) is None:
                self[name] = value
        self.setdefault("immutable", False)
        if self.TASK_NAME is not None:
            self["task"] = self.TASK_NAME

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

    def _text(self, show: Callable[[Any], str]) -> str:
        """Its text, in which `show` gives that of a value."""
        return repr(self)

    def __or__(self, other: Any) -> Any:
        """`a | b`: `b` is called with the result of `a`."""
        from litequeue.canvas.chains import joined

        if isinstance(other, Signature):
            return joined(self, other)
        return _no_signature(other)

    __ior__ = __or__

    def __ror__(self, other: Any) -> Any:
        return _no_signature(other)

    def __copy__(self) -> Signature:
        return self.clone()  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature:
        copy: Signature = self.clone()
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> Any:
        return signature, (dict(self),)

    __class_getitem__ = classmethod(GenericAlias)  # type: ignore[var-annotated]

    def __json__(self) -> dict[str, Any]:
        return dict(self)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not None: those leave what the signature says."""
    return {name: value for name, value in options.items() if value is not None}


def _no_signature(other: Any) -> Any:
    # `|` of a dict would merge the two into one without a word.
    if isinstance(other, dict):
        raise TypeError("| joins signatures, and a dict is none; make it one with signature(dict)")
    return NotImplemented


_MODULES = {"chain": "chains", "group": "groups", "chord": "chords"}
_MAPS = {"map": "xmap", "starmap": "xstarmap", "chunks": "chunks"}


def kind_of(d: Mapping[str, Any]) -> type[Signature]:
    """The class of what the dict `d` describes. ValueError: there is no such kind."""
    kind = d.get("subtask_type")
    if kind is None:
        package, _, name = str(d.get("task")).partition(".")
        if name not in _MAPS or package not in ("litequeue", "celery"):
            return Signature
        kind = _MAPS[name]
    if kind not in Signature.TYPES and (kind in _MODULES or kind in _MAPS.values()):
        from importlib import import_module

        import_module(f"litequeue.canvas.{_MODULES.get(kind, 'maps')}")
    try:
        return Signature.TYPES[kind]
    except KeyError:
        raise ValueError(f"no kind of signature is called {kind!r}") from None


def call_of(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any], immutable: bool = False) -> Signature:
    """`task.s(*args, **kwargs)`: the signature of a call without options, a third of the cost of the general way.

    A group of 100,000 tasks begins with as many of these.
    """
    new = Signature.__new__(Signature)
    new["task"] = task.name
    new["args"] = args
    new["kwargs"] = kwargs
    new["options"] = {}
    new["subtask_type"] = None
    new["immutable"] = immutable
    new._type = task
    return new


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """A signature of a task or its name, of a dict that describes one, or a copy of a signature."""
    if isinstance(varies, Signature):
        return varies.clone()  # type: ignore[no-any-return]
    if isinstance(varies, dict):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: LiteQueue | None = None, clone: bool = False) -> Any:
    """`d` as a signature where it is one or describes one; anything else as it is."""
    if isinstance(d, Signature):
        if clone:
            d = d.clone()
    elif isinstance(d, dict):
        d = Signature.from_dict(d, app=app)
    else:
        return d
    if app is not None:
        d._app = app
    return d
