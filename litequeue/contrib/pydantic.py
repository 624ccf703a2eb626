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
    from litequeue.app.base import LiteQueue


def wrap(
    app: LiteQueue, fun: Callable[..., Any], name: str, bound: bool, options: Mapping[str, Any]
) -> tuple[Callable[..., Any], Callable[[Any, Any], tuple[Any, Any]]]:
    """`fun` with its arguments validated and its result dumped, and what dumps models at the call.

    ImproperlyConfigured: pydantic is not installed.
    """
    try:
        base = importlib.import_module("pydantic").BaseModel
    except ModuleNotFoundError as exc:
        raise ImproperlyConfigured(
            f"task {name} is declared with pydantic=True, and pydantic is not installed; install 'litequeue[pydantic]'"
        ) from exc
    context = {**(options["pydantic_context"] or {}), "celery_app": app, "celery_task_name": name}
    models = _Models(
        fun,
        base,
        bound=bound,
        validating={"strict": bool(options["pydantic_strict"]), "context": context},
        dumping={"mode": "json", **(options["pydantic_dump_kwargs"] or {})},
    )

    if inspect.iscoroutinefunction(fun):

        @functools.wraps(fun)
        async def run(*args: Any, **kwargs: Any) -> Any:
            call = models.validated(args, kwargs)
            return models.dumped_result(await fun(*call.args, **call.kwargs))

    else:

        @functools.wraps(fun)
        def run(*args: Any, **kwargs: Any) -> Any:
            call = models.validated(args, kwargs)
            return models.dumped_result(fun(*call.args, **call.kwargs))

    return run, models.dumped_arguments


class _Models:
    """Which parameters of a function are declared as models, and what it returns."""

    def __init__(
        self, fun: Callable[..., Any], base: Any, bound: bool, validating: dict[str, Any], dumping: dict[str, Any]
    ) -> None:
        self.base = base
        self.validating = validating
        self.dumping = dumping
        self.signature = inspect.signature(fun)
        self.hints = _hints(fun)
        parameters = list(self.signature.parameters.values())
        named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.positional = named[1:] if bound else named
        self.keywords = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

    # In the worker

    def validated(self, args: Any, kwargs: Any) -> inspect.BoundArguments:
        """The arguments of a call, with models where models are declared."""
        call = self.signature.bind(*args, **kwargs)
        for name, value in call.arguments.items():
            model = self._declared(name, value)
            if model is not None:
                call.arguments[name] = model.model_validate(value, **self.validating)
        return call

    def dumped_result(self, value: Any) -> Any:
        """What the function returned; dumped, if it is the model that it says it returns."""
        returned = self._model(self.hints.get("return"))
        return value.model_dump(**self.dumping) if returned is not None and isinstance(value, returned) else value

    # At the call

    def dumped_arguments(self, args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with every model dumped that the task gets back as an equal model."""
        names = self.positional
        return (
            [self._dumped(names[i] if i < len(names) else None, value) for i, value in enumerate(args or ())],
            {key: self._dumped(key if key in self.keywords else None, value) for key, value in (kwargs or {}).items()},
        )

    def _dumped(self, name: str | None, value: Any) -> Any:
        model = self._declared(name, value) if name is not None and isinstance(value, self.base) else None
        if model is None:
            return value
        try:
            plain = value.model_dump(**self.dumping)
            return plain if model.model_validate(plain, **self.validating) == value else value
        except Exception:  # a validator of the model may only work in the worker; then the serializer decides
            return value

    # Annotations

    def _declared(self, name: str, value: Any) -> Any:
        """The model that `value` is to become as the argument `name`; None: it stays as it is."""
        hint = self.hints.get(name)
        return None if value is None and _is_union(hint) else self._model(hint)

    def _model(self, hint: Any) -> Any:
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
