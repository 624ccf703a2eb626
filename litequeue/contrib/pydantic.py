"""Tasks declared with `pydantic=True`: dicts come in, models are what the function sees, and a dict goes out.

Needs the package pydantic (`pip install "litequeue[pydantic]"`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from litequeue.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from litequeue.app import LiteQueue

Dump = Callable[[Any, Any], tuple[Any, Any]]
"""Called with args and kwargs; returns them with every model that the task gets back as an equal model dumped."""


def wrap(
    app: LiteQueue, fun: Callable[..., Any], name: str, bound: bool, options: Mapping[str, Any]
) -> tuple[Callable[..., Any], Dump]:
    """`fun` with its arguments validated and its result dumped, and what dumps models at the call.

    ImproperlyConfigured: pydantic is not installed.
    """
    try:
        base_model: Any = importlib.import_module("pydantic").BaseModel
    except ModuleNotFoundError as exc:
        raise ImproperlyConfigured(
            f"task {name} is declared with pydantic=True, and pydantic is not installed; install 'litequeue[pydantic]'"
        ) from exc
    models = _Models(fun, bound, base_model)
    context = {**(options["pydantic_context"] or {}), "celery_app": app, "celery_task_name": name}
    strict = bool(options["pydantic_strict"])
    dumping = {"mode": "json", **(options["pydantic_dump_kwargs"] or {})}

    def validate(model: Any, value: Any) -> Any:
        return model.model_validate(value, strict=strict, context=context)

    def enter(args: Any, kwargs: Any) -> inspect.BoundArguments:
        call = models.signature.bind(*args, **kwargs)
        for key, value in call.arguments.items():
            model = models.of(key, value)
            if model is not None:
                call.arguments[key] = validate(model, value)
        return call

    def leave(value: Any) -> Any:
        expected = models.returned
        if expected is not None and isinstance(value, expected):
            return value.model_dump(**dumping)
        return value

    def dump(key: str | None, value: Any) -> Any:
        model = models.of(key, value) if key is not None and isinstance(value, base_model) else None
        if model is None:
            return value
        try:
            dumped = value.model_dump(**dumping)
            return dumped if validate(model, dumped) == value else value
        except Exception:  # a validator of the model may only work in the worker; then the serializer decides
            return value

    def dump_arguments(args: Any, kwargs: Any) -> tuple[Any, Any]:
        names = models.positional
        dumped = [dump(names[i] if i < len(names) else None, value) for i, value in enumerate(args or ())]
        return dumped, {
            key: dump(key if key in models.keywords else None, value) for key, value in (kwargs or {}).items()
        }

    if inspect.iscoroutinefunction(fun):

        @functools.wraps(fun)
        async def run(*args: Any, **kwargs: Any) -> Any:
            call = enter(args, kwargs)
            return leave(await fun(*call.args, **call.kwargs))

    else:

        @functools.wraps(fun)
        def run(*args: Any, **kwargs: Any) -> Any:
            call = enter(args, kwargs)
            return leave(fun(*call.args, **call.kwargs))

    return run, dump_arguments


class _Models:
    """Which parameters of a function are declared as models, and what it returns."""

    def __init__(self, fun: Callable[..., Any], bound: bool, base: type) -> None:
        self.base = base
        self.signature = inspect.signature(fun)
        self.hints = _hints(fun)
        parameters = list(self.signature.parameters.values())
        named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.positional = [p.name for p in named][bool(bound) :]
        self.keywords = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        self.returned = self._model(self.hints.get("return"))

    def of(self, parameter: str, value: Any) -> type | None:
        """The model that `value` is to become as the argument `parameter`; None: it stays as it is."""
        hint = self.hints.get(parameter)
        return None if value is None and _is_union(hint) else self._model(hint)

    def _model(self, hint: Any) -> type | None:
        """The model that a hint names, by itself or as `Model | None`."""
        if _is_union(hint):
            options = [arg for arg in typing.get_args(hint) if arg is not type(None)]
            hint = options[0] if len(options) == 1 else None
        return hint if isinstance(hint, type) and issubclass(hint, self.base) else None


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _hints(fun: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of `fun`, with strings read where they can be."""
    try:
        return typing.get_type_hints(fun)
    except (NameError, AttributeError, TypeError):
        return dict(getattr(fun, "__annotations__", {}))
