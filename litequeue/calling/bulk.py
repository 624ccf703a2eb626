"""Enqueueing many calls at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from litequeue import signals
from litequeue.app.current import get_current_worker_task
from litequeue.calling.message import Preset, announce_published, build
from litequeue.canvas.signature import Signature
from litequeue.core.context import current_tasks

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import NewTask
    from litequeue.result.async_result import AsyncResult


def enqueue_many(
    app: LiteQueue, signatures: Iterable[Signature | Mapping[str, Any]], durability: str | None = None
) -> list[AsyncResult]:
    """Write every call in one transaction, all or none; returns their results in order.

    With `task_always_eager` each is run in place instead, one after the other.
    """
    if app.conf.task_always_eager:
        return [_as_signature(given).clone().apply_async() for given in signatures]
    batch = _Batch(app)
    for given in signatures:
        batch.add(given if type(given) is Signature else _as_signature(given))
    if batch.tasks:
        app.store.enqueue(batch.tasks, durability)
        batch.announce()
    return batch.results


def _as_signature(given: Any) -> Signature:
    if isinstance(given, Signature):
        return given
    if isinstance(given, Mapping):
        return Signature.from_dict(dict(given))
    raise TypeError(f"enqueue_many takes signatures, as task.s(...) makes them, not {given!r}")


class _Batch:
    """The calls that are enqueued together."""

    def __init__(self, app: LiteQueue) -> None:
        self.app = app
        self.registry = app.tasks
        self.tasks: list[NewTask] = []
        self.results: list[AsyncResult] = []
        self._announced: list[tuple[NewTask, Any, Any]] = []
        self._plain = not (signals.before_task_publish.receivers or signals.after_task_publish.receivers)
        self._caller = get_current_worker_task() if current_tasks.get() else None
        request = None if self._caller is None else self._caller.request
        self._family = (None, None) if request is None else (request.root_id or request.id, request.id)

    def add(self, signature: Signature) -> None:
        """Build one call."""
        options = signature["options"]
        task = self.registry.get(signature["task"])
        preset = task.preset() if task is not None and self._plain and not options else None
        if preset is not None:
            self._add_plain(preset, signature["args"], signature["kwargs"])
            return
        args, kwargs = signature["args"], signature["kwargs"]
        if task is not None:
            args, kwargs, options = task.prepare_call(args, kwargs, **options)
        built = build(self.app, signature["task"], args, kwargs, options, task)
        self.tasks.append(built.new)
        self.results.append(self.app.result_of(built, task, options))
        if signals.after_task_publish.receivers:
            self._announced.append((built.new, args, kwargs))

    def _add_plain(self, preset: Preset, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if preset.check is not None:
            preset.check(*args, **kwargs)
        new = preset.build(args, kwargs, *self._family)
        self.tasks.append(new)
        result: AsyncResult = self.app.AsyncResult(new.id)
        if preset.ignored:
            result.ignored = True
        if self._caller is not None:
            self._caller.add_trail(result)
        self.results.append(result)

    def announce(self) -> None:
        """Send after_task_publish for each, if anybody listens."""
        for new, args, kwargs in self._announced:
            announce_published(new, args, kwargs)
