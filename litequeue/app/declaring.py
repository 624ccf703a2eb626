"""From a function to a task: its name, its class, the check of its arguments, and what `task_annotations` adds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

from litequeue.app import current as local
from litequeue.calling.options import KEYS
from litequeue.core.rates import parse_rate
from litequeue.exceptions import DuplicateTaskNameWarning, ImproperlyConfigured

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.task import Task

_LIMITS = frozenset({"rate_limit", "time_limit", "soft_time_limit", "max_worker_deaths", "log_lines"})
_VARARGS, _VARKEYWORDS = 0x04, 0x08  # flags of a code object, as in inspect.CO_VARARGS


def shared_task(*args: Any, **options: Any) -> Any:
    """Decorate a function, so that it is a task of every app: `@shared_task`, or with the options of `@app.task`.

    What is returned is the task of the current app.
    """

    def declare(fun: Callable[..., Any]) -> Any:
        def join(app: LiteQueue) -> Task:
            return task_from_function(app, fun, options)

        local.connect_on_app_finalize(join)
        for app in local.active_apps():
            if app.finalized:
                join(app)

        def current() -> Task:
            app = local.get_current_app()
            return app.tasks[options.get("name") or app.gen_task_name(_name_of(fun), fun.__module__)]

        return local.Proxy(current)

    if len(args) == 1 and callable(args[0]):
        return declare(args[0])
    if args:
        raise TypeError(f"@shared_task takes options by name, and a function; it was given {args[0]!r}")
    return declare


def task_from_function(app: LiteQueue, fun: Callable[..., Any], options: Mapping[str, Any], warn: bool = True) -> Task:
    """The task of `fun` in `app`; made, unless its name is taken, which is a warning if another function has it."""
    if not app.finalized and not app.autofinalize:
        raise RuntimeError("the app is not finalized, and autofinalize is off; call app.finalize() first")
    app.conf.finalize()
    options = dict(options)
    name = options.pop("name", None) or app.gen_task_name(_name_of(fun), fun.__module__)
    with app.mutex:
        there = app.registry.get(name)
        if there is None:
            base = options.pop("base", None) or app.Task
            return add_task(app, task_class(app, fun, name, base, bool(options.pop("bind", False)), options)())
    known = getattr(there, "_declared", None)
    if warn and known is not None and known is not fun:
        _warn_taken(app, name, known, fun, "is not registered; calls under this name reach the first")
    return there


def register_task(app: LiteQueue, task: Any, options: Mapping[str, Any]) -> Task:
    """Add a task class, or an instance of one, to `app`; it takes the place of a task of its name, with a warning."""
    task = local.maybe_evaluate(task)
    if isinstance(task, type):
        task = task()
    cls = type(task)
    if not task.name:
        cls.name = app.gen_task_name(cls.__name__, cls.__module__)
    for key, value in options.items():
        setattr(task, key, value)
    there = app.tasks.get(task.name)
    if there is not None and there is not task:
        known = getattr(there, "_declared", None) or type(there)
        _warn_taken(app, task.name, known, cls, "takes its place; calls under this name reach it now")
    with app.mutex:
        return add_task(app, task)


def add_task(app: LiteQueue, task: Task) -> Task:
    """Put a task into the registry of `app`, bind it, and wrap its body where `autoretry_for` asks for that."""
    cls = type(task)
    if cls.__header__ is None:
        bound = not any(isinstance(base.__dict__.get("run"), staticmethod) for base in cls.__mro__)
        cls.__header__ = staticmethod(argument_check(cls.run, bound))
    before = app.registry.get(task.name)
    app.registry[task.name] = task
    cls.bind(app)
    try:
        check_attributes(task)
    except (TypeError, ValueError):
        if before is None:
            del app.registry[task.name]
        else:
            app.registry[task.name] = before
        raise
    if task.autoretry_for and "run" not in task.__dict__:
        from litequeue.calling.retrying import autoretrying

        task.run = autoretrying(task, task.run)  # type: ignore[method-assign]
    return task


def check_options(app: LiteQueue, fun: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """TypeError, ValueError: an option of `@app.task` cannot be; what can be seen before the task is made."""
    if not _LIMITS.isdisjoint(options) or not KEYS.isdisjoint(options):
        name = options.get("name") or app.gen_task_name(_name_of(fun), fun.__module__)
        _check_limits(name, options, whole=False)


def check_attributes(task: Task) -> None:
    """TypeError, ValueError: what the task declares cannot be; names the task."""
    _check_limits(task.name, {option: getattr(task, option) for option in (*_LIMITS, *KEYS)}, whole=True)


def _check_limits(name: str, options: Mapping[str, Any], whole: bool) -> None:
    try:
        parse_rate(options.get("rate_limit"))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    deaths = options.get("max_worker_deaths")
    if deaths is not None and (isinstance(deaths, bool) or not isinstance(deaths, int) or deaths < 1):
        raise ValueError(f"{name}: max_worker_deaths={deaths!r}: give a whole number, one or more")
    kept = options.get("log_lines")
    if kept is not None and (isinstance(kept, bool) or not isinstance(kept, int) or kept < 0):
        raise ValueError(f"{name}: log_lines={kept!r}: give a whole number, zero or more")
    if options.get("time_limit") or options.get("soft_time_limit"):
        from litequeue.calling.options import time_limits_of

        try:
            time_limits_of(options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
    if any(options.get(option) is not None for option in KEYS):
        from litequeue.calling.keys import check_declared

        check_declared(name, options, whole)


def as_attribute(option: str, value: Any) -> Any:
    """`value` as the class of a task keeps it, so that a function that makes a key is not taken for a method."""
    return staticmethod(value) if option in KEYS and callable(value) else value


def _warn_taken(app: LiteQueue, name: str, known: Any, new: Any, consequence: str) -> None:
    if name in app.warned_names:
        return
    app.warned_names.add(name)
    from litequeue.config.settings import users_frame

    warnings.warn(
        f"two tasks are named {name!r}: {_qualified(known)}, and {_qualified(new)}, which {consequence}. Give one of "
        "them another name=.",
        DuplicateTaskNameWarning,
        stacklevel=users_frame(),
    )


def _qualified(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', thing)}"


def task_class(
    app: LiteQueue,
    fun: Callable[..., Any],
    name: str,
    base: type[Task],
    bind: bool,
    options: dict[str, Any],
) -> type[Task]:
    """A subclass of `base` that runs `fun`; every one of `options` is an attribute of it."""
    declared = fun
    pydantic = {
        key: options.pop(key, None)
        for key in ("pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs")
    }
    dump_models = None
    if pydantic["pydantic"]:
        from litequeue.contrib.pydantic import wrap

        fun, dump_models = wrap(app, fun, name, bind, pydantic)
    run = fun if bind else staticmethod(fun)
    attributes = {
        "app": app,
        "name": name,
        "run": run,
        "__doc__": declared.__doc__,
        "__module__": getattr(declared, "__module__", None),
        "__header__": staticmethod(argument_check(declared, bound=bind)),
        "__wrapped__": run,
        "_declared": staticmethod(declared),
        "_dump_models": staticmethod(dump_models) if dump_models is not None else None,
        **{option: as_attribute(option, value) for option, value in options.items()},
    }
    made = type(_name_of(declared), (base,), attributes)
    made.__qualname__ = getattr(declared, "__qualname__", made.__qualname__)
    return made


def _name_of(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", None) or type(fun).__name__


# The check of the arguments at the call


def argument_check(fun: Callable[..., Any], bound: bool = False) -> Callable[..., None]:
    """A function with the parameters of `fun` (without the first where `bound`) that does nothing.

    Calling it raises the TypeError that calling `fun` would raise, at the speed of a call: it is compiled once, where
    binding arguments with `inspect` would cost more than the rest of `delay()`.
    """
    parameters = _of_function(fun) if isinstance(fun, FunctionType) else _inspected(fun)
    header, namespace = _render(list(parameters), bound)
    exec(f"def check({header}): pass", namespace)
    check: Callable[..., None] = namespace["check"]
    check.__name__ = check.__qualname__ = _name_of(fun)
    return check


class _Empty:
    """Marks a parameter without a default."""


Parameter = tuple[str, str, Any]
"""Kind (`/`, ``, `*`, `k`, `**`), name and default."""


def _of_function(fun: FunctionType) -> Iterator[Parameter]:
    """The parameters of a Python function, read from its code: importing `inspect` would slow the first call down."""
    code = fun.__code__
    positional, keyword_only = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    defaults = fun.__defaults__ or ()
    without = positional - len(defaults)
    for i, name in enumerate(names[:positional]):
        kind = "/" if i < code.co_posonlyargcount else ""
        yield kind, name, defaults[i - without] if i >= without else _Empty
    at = positional + keyword_only
    if code.co_flags & _VARARGS:
        yield "*", names[at], _Empty
        at += 1
    for name in names[positional : positional + keyword_only]:
        yield "k", name, (fun.__kwdefaults__ or {}).get(name, _Empty)
    if code.co_flags & _VARKEYWORDS:
        yield "**", names[at], _Empty


def _inspected(fun: Callable[..., Any]) -> Iterator[Parameter]:
    """The parameters of any other callable; `(*args, **kwargs)` where Python does not know them."""
    import inspect

    kinds = {
        inspect.Parameter.POSITIONAL_ONLY: "/",
        inspect.Parameter.POSITIONAL_OR_KEYWORD: "",
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.KEYWORD_ONLY: "k",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    try:
        signature = inspect.signature(fun, follow_wrapped=False)
    except (TypeError, ValueError):
        yield from (("*", "args", _Empty), ("**", "kwargs", _Empty))
        return
    for parameter in signature.parameters.values():
        default = _Empty if parameter.default is parameter.empty else parameter.default
        yield kinds[parameter.kind], parameter.name, default


def _render(parameters: list[Parameter], bound: bool) -> tuple[str, dict[str, Any]]:
    """The text of a parameter list, and the defaults it names."""
    if bound and parameters and parameters[0][0] in ("/", ""):
        parameters = parameters[1:]
    namespace: dict[str, Any] = {}
    parts: list[str] = []
    for i, (kind, name, default) in enumerate(parameters):
        if kind == "k" and not any(part.startswith("*") for part in parts):
            parts.append("*")
        if default is not _Empty:
            namespace[f"_default{i}"] = default
        text = name if kind in ("/", "", "k") else kind + name
        parts.append(text if default is _Empty else f"{text}=_default{i}")
        if kind == "/" and (i + 1 == len(parameters) or parameters[i + 1][0] != "/"):
            parts.append("/")
    return ", ".join(parts), namespace


# task_annotations


def annotations_of(
    task_annotations: Any, task: type[Task], resolve: Callable[[str], Any]
) -> Iterator[Mapping[str, Any]]:
    """What `task_annotations` says of `task`: for itself first, then for all (`'*'`): of each the first entry.

    Entries are dicts `{task name: {attribute: value}}`, objects with `annotate(task)` and `annotate_any()`, or the
    dotted name of such a class.
    """
    entries = task_annotations if isinstance(task_annotations, (list, tuple)) else (task_annotations,)
    for ask in (_annotate, _annotate_any):
        for entry in entries:
            if isinstance(entry, str):
                entry = resolve(entry)
                entry = entry() if isinstance(entry, type) else entry
            found = ask(entry, task) if entry else None
            if found:
                yield found
                break


def _annotate(entry: Any, task: type[Task]) -> Mapping[str, Any] | None:
    if isinstance(entry, Mapping):
        return entry.get(task.name)
    if not hasattr(entry, "annotate"):
        raise ImproperlyConfigured(f"task_annotations: {entry!r} is no dict and has no method annotate(task)")
    return entry.annotate(task)  # type: ignore[no-any-return]


def _annotate_any(entry: Any, task: type[Task]) -> Mapping[str, Any] | None:
    if isinstance(entry, Mapping):
        return entry.get("*")
    ask = getattr(entry, "annotate_any", None)
    return ask() if ask is not None else None
