"""From a call to the record that is enqueued.

`build` is the one place where the options of `apply_async` and `send_task` are read; `Preset` is what remains of them
for a call without options, made once a task and kept until a setting changes, so that `delay()` is short.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from litequeue import signals
from litequeue.app.current import get_current_worker_task
from litequeue.calling.announcing import announce
from litequeue.core import clock
from litequeue.core.context import current_tasks
from litequeue.core.ids import new_id
from litequeue.core.records import DURABILITIES, NewTask, Rerun
from litequeue.core.routing import queue_name
from litequeue.exceptions import EncodeError
from litequeue.utils.nodenames import anon_nodename

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.context import Context
    from litequeue.task import Task

EXECUTION_OPTIONS = (
    "queue",
    "routing_key",
    "exchange",
    "priority",
    "expires",
    "serializer",
    "delivery_mode",
    "compression",
    "time_limit",
    "soft_time_limit",
    "immediate",
    "mandatory",
)
"""Attributes of a task that are options of each call of it."""

PROPERTIES = frozenset(
    {"app_id", "cluster_id", "content_type", "correlation_id", "message_id", "reply_to", "timestamp", "type", "user_id"}
)
"""Properties of a message that a call may carry; the task reads them in `request.properties`."""

WITHOUT_BROKER = frozenset(
    {
        "confirm_timeout",
        "connection",
        "declare",
        "delivery_mode",
        "exchange",
        "exchange_type",
        "immediate",
        "mandatory",
        "producer",
        "publisher",
        "result_cls",
        "retry",
        "retry_policy",
        "router",
        "task_type",
        "throw",
        "timeout",
    }
)
"""Options that only mean something to a message broker, or to an eager call; they are accepted and change nothing."""

CANVAS = ("link", "link_error", "chord", "chain")
"""Options that tie a call to other calls; `calling.canvas` takes them off before the row is built."""

_CARRIED = ("shadow", "argsrepr", "kwargsrepr", "replaced_task_nesting")
"""Options that the row carries to the task's request under the same name."""

OPTIONS = frozenset(
    {
        "add_to_parent",
        "countdown",
        "durability",
        "eta",
        "expires",
        "group_id",
        "group_index",
        "headers",
        "ignore_result",
        "compression",
        "parent_id",
        "priority",
        "queue",
        "retries",
        "root_id",
        "route_name",
        "routing_key",
        "serializer",
        "soft_time_limit",
        "stamped_headers",
        "task_id",
        "time_limit",
        *CANVAS,
        *_CARRIED,
        *PROPERTIES,
        *WITHOUT_BROKER,
    }
)
"""Every option of a call."""

OF_PRESET = frozenset(
    {
        "compression",
        "ignore_result",
        "priority",
        "queue",
        "routing_key",
        "serializer",
        "soft_time_limit",
        "time_limit",
    }
)
"""Options with which all calls of a task are the same but for their arguments."""

LARGEST_DELAY = 1e11
"""Seconds (some 3,000 years): a countdown beyond it is a mistake, and no datetime could show it."""


class Built(NamedTuple):
    """A call as it is enqueued, with what the caller's side needs to know of it."""

    new: NewTask
    ignored: bool
    """The caller or the task wants no result."""
    durability: str | None


class Place:
    """Where a call stands in a canvas: what that adds to its row."""

    __slots__ = (
        "after",
        "edge",
        "errbacks",
        "group_id",
        "group_index",
        "inner",
        "parent_id",
        "priority",
        "root_id",
        "takes_input",
        "ties",
    )

    def __init__(self, root_id: str | None = None, parent_id: str | None = None, priority: int | None = None) -> None:
        self.root_id = root_id
        self.parent_id = parent_id
        self.priority = priority
        """That of the task before it, which it inherits where the settings say so."""
        self.after: str | None = None
        self.edge: str | None = None
        self.takes_input = 0
        """How many values are put before its arguments in the end; only an error callback gets more than one."""
        self.inner = False
        """Whether its caller hardly waits for it, but for what follows, which fails with it."""
        self.group_id: str | None = None
        self.group_index: int | None = None
        self.ties = 0
        self.errbacks: str | None = None


class Preset:
    """What a call of one task is when it is given arguments and nothing else."""

    __slots__ = ("app", "check", "compression", "encode_call", "head", "ignored", "serializer", "store", "tail")

    def __init__(self, app: LiteQueue, task: Task, given: Mapping[str, Any] | None = None) -> None:
        options = task.execution_options()
        if given is not None:
            _check_options(given)
            options = {**options, **{name: value for name, value in given.items() if value is not None}}
        options = app.router.route(options, task.name, task=task)
        ignored = bool(options.get("ignore_result", task.ignore_result))
        self.app = app
        self.check: Callable[..., None] | None = task.__header__ if task.typing else None
        self.ignored = ignored
        self.serializer = options.get("serializer")
        self.compression = options.get("compression")
        self.encode_call = app.codec.encode_call
        self.head = (task.name, options["queue"], _priority(app, options.get("priority")))
        time_limit, soft_time_limit = _time_limits(options)
        self.tail = (int(ignored or app.results_disabled), 0, time_limit, soft_time_limit)
        self.store = app.store

    def build(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        root_id: str | None = None,
        parent_id: str | None = None,
    ) -> NewTask:
        """The record of a call with these arguments."""
        payload, serializer, compression = self.encode_call(args, kwargs, self.serializer, self.compression)
        name, queue, priority = self.head
        ignore_result, retries, time_limit, soft_time_limit = self.tail
        return NewTask(
            new_id(),
            name,
            queue,
            priority,
            payload,
            serializer,
            compression,
            None,
            None,
            ignore_result,
            retries,
            time_limit,
            soft_time_limit,
            root_id,
            parent_id,
            None,
            None,
            origin(),
            None if ignore_result else self.store.reply_port(),
        )

    def build_at(
        self,
        place: Place,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        takes_input: int,
        ties: int,
        errbacks: str | None,
        options: str | None,
    ) -> NewTask:
        """The record of a call with these arguments that stands at `place` in a canvas."""
        payload, serializer, compression = self.encode_call(args, kwargs, self.serializer, self.compression)
        name, queue, priority = self.head
        ignore_result, retries, time_limit, soft_time_limit = self.tail
        return NewTask(
            new_id(),
            name,
            queue,
            priority,
            payload,
            serializer,
            compression,
            None,
            None,
            ignore_result,
            retries,
            time_limit,
            soft_time_limit,
            place.root_id,
            place.parent_id,
            place.group_id,
            place.group_index,
            origin(),
            None if ignore_result or place.inner else self.store.reply_port(),
            None,
            options,
            place.after,
            place.edge,
            takes_input,
            None,
            None,
            ties,
            errbacks,
        )


def preset_for(app: LiteQueue, task: Task, options: Mapping[str, Any] | None = None) -> Preset | None:
    """The preset of `task`, called with `options` of `OF_PRESET`.

    None where its calls depend on more than the arguments, or must not be enqueued.
    """
    if (
        not app.router.by_name_only
        or app.conf.task_always_eager
        or app.conf.task_inherit_parent_priority
        or task.expires is not None
        or task._dump_models is not None
        or task.customised_calls
        or app.customised_calls
    ):
        return None
    return Preset(app, task, options)


def build(
    app: LiteQueue,
    name: str,
    args: Any,
    kwargs: Any,
    options: Mapping[str, Any],
    task: Task | None = None,
    *,
    eager: bool = False,
    place: Place | None = None,
) -> Built:
    """The record of a call of the task `name`, checked; `options` are those of the task and the call together.

    An `eager` call is run in place: nothing is announced, and the file is not opened. `place` says where it stands in a
    canvas.

    TypeError, ValueError: an argument or option that cannot be; QueueNotFound; EncodeError names the value that cannot
    be encoded.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a task is text that is not empty, not {name!r}")
    args, kwargs = arguments(args, kwargs)
    _check_options(options)
    options = app.router.route(options, options.get("route_name") or name, args, kwargs, task)
    ignored = bool(options.get("ignore_result"))
    new = _without_payload(app, name, options, ignored or app.results_disabled, eager, place)
    headers, carried, stamps = _headers(options.get("headers")), _carried(options), _stamps(options)
    if signals.before_task_publish.receivers and not eager:
        headers = announce(new, args, kwargs, headers, carried, stamps)
    payload = app.codec.encode_call(args, kwargs, options.get("serializer"), options.get("compression"))
    new = new._replace(
        payload=payload.data,
        serializer=payload.serializer,
        compression=payload.compression,
        headers=_json("headers", headers),
        options=_json("options", carried),
        stamps=_json("stamps", stamps),
    )
    return Built(new, ignored, known_durability(options.get("durability")))


def _without_payload(
    app: LiteQueue, name: str, options: Mapping[str, Any], no_result: bool, eager: bool, place: Place | None
) -> NewTask:
    """The record of a call as its options say, its arguments still to be encoded."""
    time_limit, soft_time_limit = _time_limits(options)
    if place is None:
        root_id, parent_id, inherited = _lineage(app, options)
        place = Place(root_id, parent_id, inherited)
        place.group_id, place.group_index = options.get("group_id"), options.get("group_index")
    priority = options.get("priority")
    run_at, countdown, expires_at, lifetime = _times(app, options, waits=place.after is not None)
    return NewTask(
        id=_task_id(options.get("task_id")),
        name=name,
        queue=options["queue"],
        priority=_priority(app, place.priority if priority is None else priority),
        payload="",
        serializer="",
        run_at=run_at,
        expires_at=expires_at,
        ignore_result=int(no_result),
        retries=_count("retries", options.get("retries") or 0),
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
        root_id=place.root_id,
        parent_id=place.parent_id,
        group_id=place.group_id,
        group_index=place.group_index,
        origin=origin(),
        reply_port=None if no_result or eager or place.inner else app.store.reply_port(),
        after=place.after,
        edge=place.edge,
        takes_input=int(bool(place.takes_input)),
        countdown=countdown,
        lifetime=lifetime,
        ties=place.ties,
        errbacks=place.errbacks,
    )


def build_rerun(app: LiteQueue, request: Context, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Rerun:
    """What a retry changes on the row of `request`; `args` and `kwargs` None: as they were. Errors as in `build`."""
    for name in CANVAS:
        if options.get(name):
            raise TypeError(f"retry() cannot change {name}: a task that is retried keeps what hangs on it")
    _check_options(options)
    now = clock.now()
    limits = _time_limits({"time_limit": request.time_limit, "soft_time_limit": request.soft_time_limit, **options})
    payload = None
    serializer, compression = options.get("serializer"), options.get("compression")
    if args is not None or kwargs is not None or serializer is not None or compression is not None:
        payload = app.codec.encode_call(
            *arguments(request.args if args is None else args, request.kwargs if kwargs is None else kwargs),
            serializer or request.serializer,
            compression or request.compression,
        )
    queue, priority, ignore_result = options.get("queue"), options.get("priority"), options.get("ignore_result")
    return Rerun(
        run_at=_run_at(app, options, now),
        retries=_count("retries", options["retries"]),
        payload=payload,
        queue=None if queue is None else app.router.known(queue_name(queue)),
        priority=None if priority is None else _priority(app, priority),
        expires_at=_moment(app, "expires", options.get("expires"), now),
        time_limit=limits[0],
        soft_time_limit=limits[1],
        headers=_json("headers", _headers(options.get("headers"))),
        ignore_result=None if ignore_result is None else int(bool(ignore_result)),
    )


# The options, one by one


def arguments(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of a call, None being none. TypeError: they are not a list or tuple, and a mapping."""
    args = () if args is None else args
    kwargs = {} if kwargs is None else kwargs
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"task args must be a list or tuple, not {type(args).__name__}; write args=({args!r},)")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"task keyword arguments must be a mapping, not {type(kwargs).__name__}")
    return args, kwargs


def _check_options(options: Mapping[str, Any]) -> None:
    unknown = options.keys() - OPTIONS - frozenset(options.get("stamped_headers") or ())
    if unknown:
        import difflib

        name = min(unknown)
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"a call has no option {name!r}{hint}")


def _task_id(value: Any) -> str:
    if not value:
        return new_id()
    if not isinstance(value, str):
        raise TypeError(f"task_id must be text, not {type(value).__name__}; write task_id=str(...)")
    return value


def _times(
    app: LiteQueue, options: Mapping[str, Any], waits: bool
) -> tuple[float | None, float | None, float | None, float | None]:
    """(run_at, countdown, expires_at, lifetime). Seconds count from now, or from the release of a call that `waits`."""
    now = clock.now()
    run_at, countdown = _run_at(app, options, now), None
    expires = options.get("expires")
    expires_at, lifetime = _moment(app, "expires", expires, now), None
    if waits:
        if options.get("countdown") is not None:
            run_at, countdown = None, _seconds("countdown", options["countdown"])
        if expires is not None and not isinstance(expires, (datetime, str)):
            expires_at, lifetime = None, _seconds("expires", expires)
    return run_at, countdown, expires_at, lifetime


def _run_at(app: LiteQueue, options: Mapping[str, Any], now: float) -> float | None:
    countdown, eta = options.get("countdown"), options.get("eta")
    if eta is not None and countdown is not None:
        raise ValueError("countdown and eta both say when the task may start; give one of them")
    if countdown is not None:
        return now + _seconds("countdown", countdown)
    if eta is not None and not isinstance(eta, (datetime, str)):
        raise TypeError(f"eta must be a datetime, not {type(eta).__name__}; for seconds from now there is countdown")
    return _moment(app, "eta", eta, now)


def _moment(app: LiteQueue, what: str, value: Any, now: float) -> float | None:
    """Unix seconds of a datetime (naive: in the app's time zone), its ISO text, or a number of seconds from now."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{what} is not a time in ISO 8601: {value!r}") from None
    if isinstance(value, datetime):
        return clock.to_timestamp(value if value.tzinfo is not None else value.replace(tzinfo=app.timezone))
    return now + _seconds(what, value)


def _seconds(what: str, value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        seconds = float(value) if not isinstance(value, (str, bytes, bool)) else None
    except (TypeError, ValueError):
        seconds = None
    if seconds is None:
        raise TypeError(f"{what} must be a number of seconds, not {value!r}")
    if not math.isfinite(seconds) or abs(seconds) > LARGEST_DELAY:
        raise ValueError(f"{what} is out of range: {value!r}")
    return seconds


def _time_limits(options: Mapping[str, Any]) -> tuple[float | None, float | None]:
    hard, soft = options.get("time_limit"), options.get("soft_time_limit")
    hard = _seconds("time_limit", hard) if hard is not None else None
    soft = _seconds("soft_time_limit", soft) if soft is not None else None
    if hard and soft and soft > hard:
        raise ValueError(f"soft_time_limit ({soft:g} s) must be less than or equal to time_limit ({hard:g} s)")
    return hard or None, soft or None


def _priority(app: LiteQueue, value: Any) -> int:
    if value is None:
        value = app.conf.task_default_priority or 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"priority must be a whole number from 0 to 255, not {value!r}")
    if not 0 <= value <= 255:
        raise ValueError(f"priority must be from 0 to 255 (higher runs first), not {value}")
    highest = app.conf.task_queue_max_priority
    return value if highest is None else min(value, highest)


def _count(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{what} must be a whole number, zero or more, not {value!r}")
    return value


def known_durability(value: Any) -> str | None:
    """The option `durability`. ValueError: there is none of that name."""
    if value is not None and value not in DURABILITIES:
        raise ValueError(f"durability must be one of {', '.join(DURABILITIES)}, not {value!r}")
    return value  # type: ignore[no-any-return]


def _lineage(app: LiteQueue, options: Mapping[str, Any]) -> tuple[str | None, str | None, int | None]:
    """Root id, parent id and inherited priority of a call: those of the task it is made in, unless it names others."""
    root_id, parent_id, priority = options.get("root_id"), options.get("parent_id"), None
    if current_tasks.get() and (root_id is None or parent_id is None):
        caller = get_current_worker_task()
        if caller is not None:
            request = caller.request
            root_id = root_id or request.root_id or request.id
            parent_id = parent_id or request.id
            if app.conf.task_inherit_parent_priority:
                priority = (request.delivery_info or {}).get("priority")
    return root_id, parent_id, priority


def _headers(headers: Any) -> dict[str, Any]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping) or not all(isinstance(key, str) for key in headers):
        raise TypeError(f"headers must be a mapping with text keys, not {headers!r}")
    return dict(headers)


def _carried(options: Mapping[str, Any]) -> dict[str, Any]:
    carried = {name: options[name] for name in _CARRIED if options.get(name)}
    properties = {name: options[name] for name in PROPERTIES if options.get(name) is not None}
    if properties:
        carried["properties"] = properties
    return carried


def _stamps(options: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the stamped headers, which stand among the options under their own names."""
    names = options.get("stamped_headers")
    if not names:
        return {}
    return {name: options[name] for name in sorted(names) if name in options}


def _json(what: str, value: dict[str, Any]) -> str | None:
    if not value:
        return None
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise EncodeError(f"{what} cannot be written as JSON: {exc}") from exc


# Who calls

_origin = ""


def origin() -> str:
    """The node name of this process, as `gen<pid>@<host>`."""
    return _origin or _name_origin()


def _name_origin() -> str:
    global _origin
    _origin = anon_nodename()
    return _origin


def _forget_origin() -> None:
    global _origin
    _origin = ""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_origin)
