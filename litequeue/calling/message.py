"""From a call to the record that is enqueued.

`build` is the one place where the options of `apply_async` and `send_task` are read; `Preset` is what remains of them
for a call without options, made once a task and kept until a setting changes, so that `delay()` is short.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from litequeue import signals
from litequeue.app.current import get_current_worker_task
from litequeue.calling.announcing import announce
from litequeue.calling.options import (
    CANVAS,
    KEYS,
    arguments,
    carried_of,
    check_options,
    count_of,
    headers_of,
    json_of,
    known_durability,
    moment,
    priority_of,
    run_at_of,
    stamps_of,
    task_id_of,
    time_limits_of,
    times_of,
)
from litequeue.core import clock
from litequeue.core.context import current_tasks
from litequeue.core.ids import new_id
from litequeue.core.records import NewTask, Rerun
from litequeue.core.routing import queue_name
from litequeue.core.ties import KEYED
from litequeue.utils.nodenames import anon_nodename

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.context import Context
    from litequeue.task import Task


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
        "keyed",
        "parent_id",
        "priority",
        "root_id",
        "sole",
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
        self.keyed = True
        """Whether it has keys at all: not where it is run in place."""
        self.sole = True
        """Whether it has a unique key: not where nobody is left to hear that another task holds it."""


class Preset:
    """What a call of one task is when it is given arguments and nothing else."""

    __slots__ = ("app", "check", "compression", "encode_call", "head", "ignored", "serializer", "store", "tail")

    def __init__(self, app: LiteQueue, task: Task, given: Mapping[str, Any] | None = None) -> None:
        options = task.execution_options()
        if given is not None:
            check_options(given)
            options = {**options, **{name: value for name, value in given.items() if value is not None}}
        options = app.router.route(options, task.name, task=task)
        ignored = bool(options.get("ignore_result", task.ignore_result))
        self.app = app
        self.check: Callable[..., None] | None = task.__header__ if task.typing else None
        self.ignored = ignored
        self.serializer = options.get("serializer")
        self.compression = options.get("compression")
        self.encode_call = app.codec.encode_call
        self.head = (task.name, options["queue"], priority_of(app, options.get("priority")))
        time_limit, soft_time_limit = time_limits_of(options)
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
        or task.has_keys
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
    check_options(options)
    options = app.router.route(options, options.get("route_name") or name, args, kwargs, task)
    ignored = bool(options.get("ignore_result"))
    new = _without_payload(app, name, options, ignored or app.results_disabled, eager, place)
    keys = None
    keyed = not eager if place is None else place.keyed
    if keyed and (not KEYS.isdisjoint(options) or (task is not None and task.has_keys)):
        from litequeue.calling.keys import keys_of  # few tasks have any

        keys = keys_of(app, name, args, kwargs, options, task, place)
    headers, carried, stamps = headers_of(options.get("headers")), carried_of(options), stamps_of(options)
    if signals.before_task_publish.receivers and not eager:
        headers = announce(new, args, kwargs, headers, carried, stamps)
    payload = app.codec.encode_call(args, kwargs, options.get("serializer"), options.get("compression"))
    new = new._replace(
        payload=payload.data,
        serializer=payload.serializer,
        compression=payload.compression,
        headers=json_of("headers", headers),
        options=json_of("options", carried),
        stamps=json_of("stamps", stamps),
        keys=keys,
        ties=new.ties if keys is None or keys.concurrency_key is None else new.ties | KEYED,
    )
    return Built(new, ignored, known_durability(options.get("durability")))


def _without_payload(
    app: LiteQueue, name: str, options: Mapping[str, Any], no_result: bool, eager: bool, place: Place | None
) -> NewTask:
    """The record of a call as its options say, its arguments still to be encoded."""
    time_limit, soft_time_limit = time_limits_of(options)
    if place is None:
        root_id, parent_id, inherited = _lineage(app, options)
        place = Place(root_id, parent_id, inherited)
        place.group_id, place.group_index = options.get("group_id"), options.get("group_index")
    priority = options.get("priority")
    run_at, countdown, expires_at, lifetime = times_of(app, options, waits=place.after is not None)
    return NewTask(
        id=task_id_of(options.get("task_id")),
        name=name,
        queue=options["queue"],
        priority=priority_of(app, place.priority if priority is None else priority),
        payload="",
        serializer="",
        run_at=run_at,
        expires_at=expires_at,
        ignore_result=int(no_result),
        retries=count_of("retries", options.get("retries") or 0),
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
    for name in KEYS & options.keys():
        raise TypeError(f"retry() cannot change {name}: a task that is retried keeps its keys")
    check_options(options)
    now = clock.now()
    limits = time_limits_of({"time_limit": request.time_limit, "soft_time_limit": request.soft_time_limit, **options})
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
        run_at=run_at_of(app, options, now),
        retries=count_of("retries", options["retries"]),
        payload=payload,
        queue=None if queue is None else app.router.known(queue_name(queue)),
        priority=None if priority is None else priority_of(app, priority),
        expires_at=moment(app, "expires", options.get("expires"), now),
        time_limit=limits[0],
        soft_time_limit=limits[1],
        headers=json_of("headers", headers_of(options.get("headers"))),
        ignore_result=None if ignore_result is None else int(bool(ignore_result)),
    )


# Who calls


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
