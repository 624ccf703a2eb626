"""Commands that change the file: workers obey it, whether or not one was running when it was changed.

They are carried out by the caller, once; the answers are what Celery's workers would say.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from litequeue.core import state as states
from litequeue.core.rates import rate_text
from litequeue.core.signal_names import signal_name
from litequeue.exceptions import NotRegistered
from litequeue.worker.control.panel import Refused, Replies, State, control_command, ok, refuse

logger = logging.getLogger("litequeue.worker")

DECLARED: Final = "default"
"""A rate limit: the one that the task's own code declares."""
_TASKS: Final = "Tasks"


# Revoking


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]", in_file=True, group=_TASKS)
def revoke(state: State, task_id: Any, terminate: bool = False, signal: Any = None, **_: Any) -> Replies:
    """Revoke tasks by id: what has not started never starts."""
    ids = ids_of(task_id)
    if not terminate:
        state.store.revoke(ids)
        logger.info("Tasks flagged as revoked: %s", ", ".join(ids))
        return state.all(ok(f"tasks {{{', '.join(map(repr, ids))}}} flagged as revoked"))
    name = _signal(signal)
    runs = {task.id: task.worker for task in state.store.tasks(ids) if task.state == states.RUNNING}
    state.store.revoke(ids, signal=name)
    logger.info("Terminating %s (%s)", ", ".join(ids), name)
    replies: Replies = {}
    for node in state.nodes:
        own = [task_id for task_id, worker in runs.items() if worker == node.worker]
        replies[node.id] = ok(f"terminate: {', '.join(own) or 'tasks unknown'}")
    return replies


@control_command(
    args=[("signal", str)],
    variadic="task_id",
    signature="<signal> [id1 [id2 [... [idN]]]]",
    in_file=True,
    group=_TASKS,
)
def terminate(state: State, signal: Any, task_id: Any, **_: Any) -> Replies:
    """Revoke tasks by id, and kill those that run."""
    return revoke(state, task_id, terminate=True, signal=signal)


@control_command(
    variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]", in_file=True, group=_TASKS
)
def revoke_by_stamped_headers(
    state: State, headers: Any, terminate: bool = False, signal: Any = None, **_: Any
) -> Replies:
    """Revoke the tasks that have one of these stamps, and those that get one later."""
    wanted = _headers(headers)
    values = {header: _listed(value) for header, value in wanted.items()}
    if not terminate:
        state.store.revoke_stamped(values)
        return state.all(ok(f"headers {wanted} flagged as revoked, but not terminated"))
    name = _signal(signal)
    before = {task.id for task in state.store.running(_MANY) if task.cancel is None}
    state.store.revoke_stamped(values, signal=name)
    hit: dict[str, set[str]] = {}
    for task in state.store.running(_MANY):
        if task.id in before and task.cancel is not None:
            hit.setdefault(task.worker or "", set()).add(task.id)
    return {
        node.id: ok(f"headers {wanted} revoked" if node.worker in hit else f"headers {wanted} were not terminated")
        for node in state.nodes
    }


_MANY: Final = 10_000


def ids_of(task_id: Any) -> list[str]:
    """The ids that were given: one, or several; also as results."""
    ids = [str(getattr(one, "id", one)) for one in _listed(task_id)]
    return list(dict.fromkeys(ids))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) and not hasattr(value, "id"):
        return list(value)
    return [value]


def _headers(headers: Any) -> dict[str, Any]:
    """`{header: value or values}`, also from the `header=value` of a command line."""
    if isinstance(headers, Mapping):
        return dict(headers)
    found: dict[str, Any] = {}
    for text in _listed(headers):
        header, equals, value = str(text).partition("=")
        if not equals:
            refuse(ValueError(f"{text!r} is no stamp; write header=value"))
        found.setdefault(header, []).append(value)
    return found


def _signal(signal: Any) -> str:
    try:
        return signal_name(signal)
    except (TypeError, ValueError) as error:
        refuse(error)


# Limits


@control_command(
    args=[("task_name", str), ("rate_limit", str)],
    signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
    in_file=True,
    group=_TASKS,
)
def rate_limit(state: State, task_name: Any, rate_limit: Any, **_: Any) -> Replies:
    """Change how often tasks of a name start; 0 for no limit, default for the one in the code."""
    try:
        rate = None if rate_limit == DECLARED else rate_text(rate_limit or "0")
    except ValueError as error:
        raise Refused(f"Invalid rate limit string: {error!r}", error) from error
    name = known_task(state, task_name)
    state.store.set_rate(name, rate)
    if rate == "0":
        logger.info("Rate limits disabled for tasks of type %s", name)
        return state.all(ok("rate limit disabled successfully"))
    logger.info("New rate limit for tasks of type %s: %s.", name, rate or "as declared")
    return state.all(ok("new rate limit set successfully"))


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)],
    signature="<task_name> <soft_secs> [hard_secs]",
    in_file=True,
    group=_TASKS,
)
def time_limit(state: State, task_name: Any = None, hard: Any = None, soft: Any = None, **_: Any) -> Replies:
    """Change the time limits of the tasks of a name; 0 for no limit."""
    limits = _seconds("hard", hard), _seconds("soft", soft)
    if limits[0] and limits[1] and limits[1] > limits[0]:
        refuse(ValueError(f"the soft time limit, {limits[1]:g} s, is above the hard one, {limits[0]:g} s"))
    name = known_task(state, task_name)
    state.store.set_time_limits(name, *limits)
    logger.info("New time limits for tasks of type %s: soft=%s hard=%s", name, soft, hard)
    return state.all(ok("time limits set successfully"))


def _seconds(which: str, value: Any) -> float | None:
    if value is None:
        return None
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
    if not good:
        refuse(ValueError(f"{which} time limit {value!r}: write seconds, 0 for no limit, or None for the task's own"))
    return float(value)


def known_task(state: State, task: Any) -> str:
    """The name of a task that the app, the file, or a worker knows; it may be given as the task itself."""
    name: str = task if isinstance(task, str) else str(getattr(task, "name", task))
    registered = state.app.tasks
    if name in registered:
        return name
    known = {*registered, *state.store.known_names()}
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    raise Refused("unknown task", NotRegistered(name, *(f"did you mean {one!r}?" for one in near)))
