"""`Task.retry`, and the retries that `autoretry_for` makes of exceptions.

A retry is one update of the task's row: `Retry` carries what changes (`records.Rerun`), and the worker writes it when
the attempt ends.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from litequeue.calling.message import build_rerun
from litequeue.core.backoff import exponential_backoff
from litequeue.exceptions import Ignore, Reject, Retry, Snooze

if TYPE_CHECKING:
    from litequeue.core.context import Context
    from litequeue.task import Task


def retry(
    task: Task,
    args: Any,
    kwargs: Any,
    exc: BaseException | None,
    max_retries: int | None,
    options: dict[str, Any],
) -> Retry:
    """The Retry that runs the current request of `task` again.

    Raises `exc` (else MaxRetriesExceededError) when the retries are used up, and `exc` (else Retry) where the task was
    called as a function.
    """
    request = task.request
    if request.called_directly:
        _raise_in_context(exc or Retry("Task can be retried", None))
    retries = request.retries + 1
    allowed = task.max_retries if max_retries is None else max_retries
    if allowed is not None and retries > allowed:
        if exc is not None:
            _raise_in_context(exc)
        shown_args, shown_kwargs = request.args if args is None else args, request.kwargs if kwargs is None else kwargs
        raise task.MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{tuple(shown_args or ())} kwargs:{shown_kwargs or {}}",
            task_args=shown_args,
            task_kwargs=shown_kwargs,
        )
    if not options.get("eta") and options.get("countdown") is None:
        options = {**options, "eta": None, "countdown": task.default_retry_delay}
    args, kwargs = _merge_arguments(task, request, args, kwargs)
    rerun = build_rerun(task.app, request, args, kwargs, {**options, "retries": retries})
    when = options.get("eta") or options.get("countdown")
    # Reading what hangs on the task may mean to read a long chain, and hardly anybody asks for the signature.
    signature = functools.partial(task.signature_from_request, request, args, kwargs, retries=retries, **options)
    told = Retry(exc=exc, when=when, is_eager=request.is_eager, sig=signature, rerun=rerun)
    # The retry stands even if it is not raised (throw=False), or is caught by an `except Exception` of the task.
    request.update(pending=told)
    return told


def snooze(task: Task, seconds: float | timedelta | None, eta: datetime | None) -> Snooze:
    """The Snooze that runs the current request of `task` again later."""
    told = Snooze(seconds, eta)
    request = task.request
    if not request.called_directly:
        # It stands even if it is caught by an `except Exception` of the task.
        request.update(pending=told)
    return told


def _raise_in_context(exc: BaseException) -> None:
    """Raise `exc`, with the exception that is being handled as its cause."""
    handled = sys.exception()
    if handled is None or handled is exc:
        raise exc
    raise exc from handled


def _merge_arguments(task: Task, request: Context, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """New positional arguments replace keywords of the same parameters, and new keywords replace positional ones.

    What was not given anew and does not collide stays as it was.
    """
    if (args is None) == (kwargs is None):
        return args, kwargs
    import inspect

    try:
        signature = inspect.signature(task.run)
        if args is not None:
            taken = set(signature.bind_partial(*args).arguments)
            return args, {name: value for name, value in (request.kwargs or {}).items() if name not in taken}
        bound = signature.bind_partial(*(request.args or ()))
    except (TypeError, ValueError):
        return (request.args, kwargs) if args is None else (args, request.kwargs)
    rest = dict(kwargs)
    for name in [name for name in kwargs if name in bound.arguments]:
        if signature.parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            bound.arguments[name] = rest.pop(name)
    return bound.args, {**bound.kwargs, **rest}


def autoretrying(task: Task, run: Callable[..., Any]) -> Callable[..., Any]:
    """`run` with a retry in place of the exceptions of `task.autoretry_for`, waiting as the task's attributes say."""
    import inspect

    retry_for: tuple[type[BaseException], ...] = tuple(task.autoretry_for)
    not_for: tuple[type[BaseException], ...] = (Ignore, Reject, Retry, Snooze, *task.dont_autoretry_for)

    def turn(exc: BaseException) -> Retry:
        return task.retry(exc=exc, **_how(task))

    if inspect.iscoroutinefunction(run):

        @functools.wraps(run)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return await run(*args, **kwargs)
            except not_for:
                raise
            except retry_for as exc:
                raise turn(exc) from exc

    else:

        @functools.wraps(run)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return run(*args, **kwargs)
            except not_for:
                raise
            except retry_for as exc:
                raise turn(exc) from exc

    return wrapped


def _how(task: Task) -> Mapping[str, Any]:
    """What `autoretry_for` passes to `retry`."""
    options = dict(task.retry_kwargs)
    if task.retry_backoff:
        options["countdown"] = exponential_backoff(
            factor=int(max(1.0, float(task.retry_backoff))),
            retries=task.request.retries,
            maximum=int(task.retry_backoff_max),
            full_jitter=bool(task.retry_jitter),
        )
    if task.override_max_retries is not None:
        options["max_retries"] = task.override_max_retries
    return options
