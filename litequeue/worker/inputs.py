"""What a task gets from the canvas it is part of, and what it changes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from litequeue.core.context import Context
from litequeue.core.failure import decode_exception
from litequeue.core.records import ERROR, Claimed, Encoded, Graft, Input, NewCanvas, NewTask, TaskRecord, Value
from litequeue.core.ties import LEADS, LINK, MEMBER, THEN, read_errbacks
from litequeue.exceptions import SerializationError

if TYPE_CHECKING:
    from litequeue.store.contract import Store
    from litequeue.worker.runtime import Runtime

DecodeCall = Callable[[Any, str, str | None], tuple[list[Any], dict[str, Any]]]


def taken_from(given: Input, takes_error: bool, runtime: Runtime) -> tuple[Any, ...]:
    """The arguments that a task gets before its own: the value of the node it waited for.

    An error callback gets the id of the task that failed or, with `takes_error`, its request, exception and traceback.
    """
    failed = given.failed
    if failed is None:
        return (_decoded(given.value, runtime),)
    if not takes_error:
        return (failed.id,)
    return _request_of(failed, runtime), _exception_of(failed), failed.traceback


def _decoded(value: Value, runtime: Runtime) -> Any:
    if value is None:
        return None
    if isinstance(value, Encoded):
        if value.serializer == ERROR:  # a member that failed, where the chord is to run all the same
            return decode_exception(value.data)
        return runtime.result_codec.decode(value.data, value.serializer, value.compression)
    return [_decoded(member, runtime) for member in value]


def _exception_of(failed: TaskRecord) -> BaseException | None:
    return decode_exception(failed.result) if failed.result is not None else None


def _request_of(failed: TaskRecord, runtime: Runtime) -> Context:
    """The request of a task that failed, as its error callback sees it."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    with suppress(SerializationError):  # that may be why it failed
        args, kwargs = runtime.codec.decode_call(failed.payload, failed.serializer, failed.compression)
    return Context(
        id=failed.id,
        task=failed.name,
        args=args,
        kwargs=kwargs,
        retries=failed.retries,
        attempt=failed.attempt,
        hostname=failed.worker,
        queue=failed.queue,
        origin=failed.origin,
        root_id=failed.root_id or failed.id,
        parent_id=failed.parent_id,
        group=failed.group_id,
        group_index=failed.group_index,
        headers=json.loads(failed.headers) if failed.headers else None,
        called_directly=False,
    )


def graft_of(request: Context) -> Graft | None:
    """What a task that succeeded changed of its canvas; None: nothing.

    `add_to_chord` puts canvases into `request.additions`; `request.chain = None` and `request.callbacks = None` stop
    what would have come after, as with Celery.
    """
    fields = request.__dict__
    stop = tuple(
        edge for field, edge in (("chain", THEN), ("callbacks", LINK)) if field in fields and not fields[field]
    )
    if not stop and not fields.get("additions"):
        return None
    return with_additions(Graft(stop=stop), request)


def with_additions(graft: Graft, request: Context) -> Graft:
    """`graft` with what `add_to_chord` adds."""
    additions: list[NewCanvas] = request.__dict__.get("additions") or []
    if not additions:
        return graft
    canvases = (graft.canvas, *additions)
    tasks = [task for canvas in canvases for task in canvas.tasks]
    groups = [group for canvas in canvases for group in canvas.groups]
    return graft._replace(canvas=NewCanvas(tasks, groups))


def errbacks_of(claimed: Claimed, decode_call: DecodeCall) -> list[dict[str, Any]] | None:
    """The error callbacks of a claim, as the dicts of signatures; None: it has none."""
    if claimed.errbacks is None:
        return None
    return [_signature(errback, decode_call) for errback in read_errbacks(claimed.errbacks)]


def follow_ups(claimed: Claimed, store: Store, decode_call: DecodeCall) -> dict[str, Any]:
    """What comes after a claimed task, as dicts of signatures: `callbacks`, `chain` (the next step last), `chord`."""
    followers = store.followers(claimed.id) if claimed.ties & LEADS else []
    bodies = store.followers(claimed.group_id) if claimed.ties & MEMBER and claimed.group_id else []
    return {
        "callbacks": [_signature(record, decode_call) for record in followers if record.edge == LINK] or None,
        "chain": _steps(followers, store, decode_call)[::-1] or None,
        "chord": _signature(bodies[0], decode_call) if bodies else None,
    }


def _steps(followers: list[TaskRecord], store: Store, decode_call: DecodeCall) -> list[dict[str, Any]]:
    """The steps of a chain from `followers` on, a group with what waits for it as a chord."""
    steps = []
    step = [record for record in followers if record.edge == THEN]
    while step:
        last = step[0]
        if len(step) == 1:
            steps.append(_signature(last, decode_call))
        else:
            members = [_signature(record, decode_call) for record in step]
            bodies = store.followers(last.group_id) if last.group_id is not None else []
            if not bodies:
                steps.append(_composed("group", {"tasks": members}))
                break
            last = bodies[0]
            steps.append(_composed("chord", {"header": members, "body": _signature(last, decode_call), "kwargs": {}}))
        step = [record for record in store.followers(last.id) if record.edge == THEN]
    return steps


def _composed(kind: str, parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": f"litequeue.{kind}",
        "args": (),
        "kwargs": parts,
        "options": {},
        "subtask_type": kind,
        "immutable": False,
    }


def _signature(task: NewTask | TaskRecord, decode_call: DecodeCall) -> dict[str, Any]:
    args, kwargs = decode_call(task.payload, task.serializer, task.compression)
    options: dict[str, Any] = {"queue": task.queue, "priority": task.priority}
    if task.id:
        options["task_id"] = task.id
    if task.stamps is not None:
        stamps = json.loads(task.stamps)
        options.update(stamps, stamped_headers=sorted(stamps))
    return {
        "task": task.name,
        "args": args,
        "kwargs": kwargs,
        "options": options,
        "subtask_type": None,
        "immutable": not task.takes_input,
    }


def stamps_of(claimed: Claimed) -> dict[str, Any]:
    """The fields `stamps` and `stamped_headers` of a request."""
    if claimed.stamps is None:
        return {}
    stamps = json.loads(claimed.stamps)
    return {"stamps": stamps, "stamped_headers": list(stamps)}
