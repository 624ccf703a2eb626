"""What is current: the current app, the current task, and the proxies that stand for them.

A `Proxy` looks its object up at each use; a `PromiseProxy` makes its object at the first use and keeps it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from litequeue.core.context import current_tasks

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

_UNSET: Any = object()


class _Forwarded:
    """An attribute that a class has as well, so that it must be forwarded by hand."""

    def __init__(self, name: str, of_class: Any) -> None:
        self.name = name
        self.of_class = of_class

    def __get__(self, proxy: Proxy | None, owner: type) -> Any:
        return self.of_class if proxy is None else getattr(proxy._get_current_object(), self.name)


def _method(name: str) -> Any:
    def call(self: Proxy, *args: Any) -> Any:
        return getattr(self._get_current_object(), name)(*args)

    call.__name__ = name
    return call


def _operator(name: str) -> Any:
    """A method of two operands: Python asks the other one, and says what is wrong, where the object has none."""

    def call(self: Proxy, other: Any) -> Any:
        method = getattr(self._get_current_object(), name, None)
        return NotImplemented if method is None else method(other)

    call.__name__ = name
    return call


class Proxy:
    """Stands for the object that `resolve()` returns at the moment of each use."""

    __slots__ = ("__weakref__", "_resolve")
    _resolve: Callable[[], Any]

    __doc__ = _Forwarded("__doc__", __doc__)
    __module__ = _Forwarded("__module__", __name__)
    __dict__ = _Forwarded("__dict__", {})
    __name__ = _Forwarded("__name__", "Proxy")
    __qualname__ = "Proxy"
    __wrapped__ = _Forwarded("__wrapped__", None)

    def __init__(self, resolve: Callable[[], Any]) -> None:
        object.__setattr__(self, "_resolve", resolve)

    def _get_current_object(self) -> Any:
        """The object itself."""
        return self._resolve()

    @property  # type: ignore[misc]  # `isinstance` asks for it; nobody sets it
    def __class__(self) -> Any:
        return type(self._get_current_object())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __dir__(self) -> list[str]:
        return dir(self._get_current_object())

    def __repr__(self) -> str:
        return repr(self._get_current_object())

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        return bool(self._get_current_object() == other)

    def __ne__(self, other: object) -> bool:
        return bool(self._get_current_object() != other)

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._get_current_object().__reduce_ex__(protocol)

    def __copy__(self) -> Any:
        return self._get_current_object()

    def __deepcopy__(self, memo: Any) -> Any:
        return self._get_current_object()

    for _name in [
        "__len__",
        "__getitem__",
        "__setitem__",
        "__delitem__",
        "__iter__",
        "__contains__",
        "__enter__",
        "__exit__",
        "__invert__",
        "__await__",
    ]:
        locals()[_name] = _method(_name)
    for _name in ["__lt__", "__le__", "__gt__", "__ge__", "__or__", "__ror__"]:
        locals()[_name] = _operator(_name)
    del _name


class PromiseProxy(Proxy):
    """Stands for the object that `make()` returns at the first use."""

    __slots__ = ("_made",)
    _made: Any

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__(make)
        object.__setattr__(self, "_made", _UNSET)

    def _get_current_object(self) -> Any:
        made = self._made
        if made is _UNSET:
            made = self._resolve()
            object.__setattr__(self, "_made", made)
        return made

    def __evaluated__(self) -> bool:
        """Whether it has been made; Celery's name."""
        return self._made is not _UNSET

    def __getattr__(self, name: str) -> Any:
        made = self._made  # a slot: found without coming here
        return getattr(self._get_current_object() if made is _UNSET else made, name)


def maybe_evaluate(value: Any) -> Any:
    """The object behind a proxy, and anything else as it is."""
    return value._get_current_object() if issubclass(type(value), Proxy) else value


# The current app

_this_thread = threading.local()
_default_app: LiteQueue | None = None
_latest: weakref.ref[LiteQueue] | None = None
_fallback: LiteQueue | None = None
_apps: weakref.WeakSet[LiteQueue] = weakref.WeakSet()
_on_finalize: list[Callable[[LiteQueue], Any]] = []


def set_default_app(app: LiteQueue | None) -> None:
    """Make `app` the current app of every thread that has none of its own."""
    global _default_app
    _default_app = app


def set_current_app(app: LiteQueue | None) -> None:
    """Make `app` the current app of this thread, and of threads that have none where no default app is set."""
    global _latest
    _this_thread.app = app
    if app is not None:
        _latest = weakref.ref(app)


def get_current_app() -> LiteQueue:
    """The app that was made current in this thread, else the default app, else the app that was made current last.

    Where a program has none at all, an app named `default` is made.
    """
    global _fallback
    app: LiteQueue | None = getattr(_this_thread, "app", None) or _default_app
    if app is None and _latest is not None:
        app = _latest()
    if app is not None:
        return app
    if _fallback is None:
        from litequeue.app.base import LiteQueue

        _fallback = LiteQueue("default", set_as_current=False)
    return _fallback


def app_or_default(app: LiteQueue | None = None) -> LiteQueue:
    """`app`, or the current app."""
    return get_current_app() if app is None else app


def active_apps() -> list[LiteQueue]:
    """The apps that exist and were not closed for good."""
    return list(_apps)


def register_app(app: LiteQueue) -> None:
    """Count `app` among the apps that shared tasks belong to."""
    _apps.add(app)


def deregister_app(app: LiteQueue) -> None:
    """Take `app` out again."""
    _apps.discard(app)


def connect_on_app_finalize(callback: Callable[[LiteQueue], Any]) -> Callable[[LiteQueue], Any]:
    """Call `callback(app)` whenever an app is finalised."""
    _on_finalize.append(callback)
    return callback


def finalize_callbacks() -> list[Callable[[LiteQueue], Any]]:
    """What is called when an app is finalised."""
    return list(_on_finalize)


def restore_finalize_callbacks(callbacks: list[Callable[[LiteQueue], Any]]) -> None:
    """Go back to what `finalize_callbacks` returned."""
    _on_finalize[:] = callbacks


def saved_apps() -> tuple[LiteQueue | None, LiteQueue | None]:
    """The current app of this thread and the default app, for `restore_apps`."""
    return getattr(_this_thread, "app", None), _default_app


def restore_apps(saved: tuple[LiteQueue | None, LiteQueue | None]) -> None:
    """Go back to what `saved_apps` returned."""
    _this_thread.app = saved[0]
    set_default_app(saved[1])


# The current task


def get_current_task() -> Any:
    """The task that runs in this context; None outside of one."""
    tasks = current_tasks.get()
    return tasks[-1] if tasks else None


def get_current_worker_task() -> Any:
    """The task that a worker (or `apply()`) runs in this context, looking past tasks that it called as functions."""
    for task in reversed(current_tasks.get()):
        if not task.request.called_directly:
            return task
    return None


current_app: Any = Proxy(get_current_app)
current_task: Any = Proxy(get_current_task)
