"""Running a task in place: `Task.apply()` and `task_always_eager`.

The call takes the way of every call, through the serializer and the worker's executor; only the file is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litequeue import states
from litequeue.app.loading import runtime
from litequeue.calling.message import build
from litequeue.calling.options import CANVAS
from litequeue.core import clock, state
from litequeue.core.records import Claimed, Input, NewCanvas, Outcome, Rerun
from litequeue.exceptions import Snooze
from litequeue.result.eager_result import EagerResult
from litequeue.utils.nodenames import gethostname
from litequeue.worker.executor import Executor, Run

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.task import Task
    from litequeue.worker.runtime import Runtime


_MOST_SNOOZES = 100
_NOT_CLAIMED = frozenset({"ignore_result", "snooze"})
"""What a retry says beside the fields of a claim."""


class EagerExecutor(Executor):
    """The worker's executor, which also hands out the exception itself: here it need not cross a file."""

    _errors: dict[str, BaseException]
    _snoozes: dict[str, int]
    """How many times each task that runs now has been snoozed."""

    def __init__(self, runtime: Runtime, node: str) -> None:
        super().__init__(runtime, node)
        self.runtime = runtime
        self._errors = {}
        self._snoozes = {}

    def attempt(self, claimed: Claimed, given: Input | None = None) -> tuple[Outcome, BaseException | None]:
        """Run the task once; its outcome, and the exception it failed with."""
        try:
            outcome = self.run(claimed, given, eager=True)
        finally:
            error = self._errors.pop(claimed.id, None)
        if outcome.rerun is None:
            self._snoozes.pop(claimed.id, None)
        return outcome, error

    def _snoozed(self, run: Run, snooze: Snooze) -> Outcome:
        count = self._snoozes[run.claimed.id] = self._snoozes.get(run.claimed.id, 0) + 1
        if count > _MOST_SNOOZES:  # what it waits for may never come, as nothing else runs meanwhile
            snooze.add_note(f"It was snoozed {count} times in place, where nothing is waited for.")
            return self._failed(run, snooze)
        return super()._snoozed(run, snooze)

    def _failed(self, run: Run, error: BaseException) -> Outcome:
        self._errors[run.claimed.id] = error
        return super()._failed(run, error)


def make_executor(app: LiteQueue) -> EagerExecutor:
    """What runs the tasks of `app` in place."""
    return EagerExecutor(runtime(app, eager=True), gethostname())


def run(task: Task, args: Any, kwargs: Any, options: dict[str, Any], throw: bool | None) -> EagerResult:
    """Run `task` until it has ended, its retries included, without waiting between them.

    `throw` raises its exception; None: as `task_eager_propagates` says.
    """
    app = task.app
    task = app.tasks[task.name]
    if any(map(options.get, CANVAS)):
        from litequeue.calling.canvas import apply_call

        return apply_call(task, args, kwargs, options, throw)  # type: ignore[no-any-return]
    new = build(app, task.name, args, kwargs, options, task, eager=True).new
    claimed = Claimed(0, *new._replace(ignore_result=0)[:-1], clock.now(), 1, 0)
    executor: EagerExecutor = app.eager_executor
    outcome, error = executor.attempt(claimed)
    while outcome.rerun is not None and (outcome.rerun.snooze or outcome.rerun.retries is not None):
        claimed = _again(claimed, outcome.rerun)
        outcome, error = executor.attempt(claimed)
    if outcome.graft is not None and outcome.graft.become is not None:
        return _run_replaced(task, outcome, throw)
    if task.store_eager_result and not new.ignore_result and outcome.rerun is None:
        app.store.record(new, outcome)
    if error is not None and (app.conf.task_eager_propagates if throw is None else throw):
        raise error
    return _result(task, outcome, error)


def _run_replaced(task: Task, outcome: Outcome, throw: bool | None) -> EagerResult:
    """Run what the task was replaced by, under its id."""
    from litequeue.calling.canvas import finish
    from litequeue.calling.in_place import InPlace

    graft = outcome.graft
    assert graft is not None and graft.become is not None, "the caller looked"
    become = graft.become._replace(id=outcome.claimed.id)
    canvas = NewCanvas([*graft.canvas.tasks, become], graft.canvas.groups)
    return finish(task.app, canvas, task.app.AsyncResult(become.id), throw, InPlace(task.app))  # type: ignore[no-any-return]


def _again(claimed: Claimed, rerun: Rerun) -> Claimed:
    """The claim with what the retry changes."""
    changes = {name: value for name, value in rerun._asdict().items() if value is not None and name not in _NOT_CLAIMED}
    payload = changes.pop("payload", None)
    if payload is not None:
        changes.update(payload=payload.data, serializer=payload.serializer, compression=payload.compression)
    return claimed._replace(attempt=claimed.attempt + (not rerun.snooze), **changes)


def _result(task: Task, outcome: Outcome, error: BaseException | None) -> EagerResult:
    task_id = outcome.claimed.id
    if outcome.rerun is not None:
        return EagerResult(task_id, None, states.REJECTED, name=task.name)
    if outcome.state == state.SUCCEEDED:
        value = None if outcome.result is None else task.app.result_codec.decode(*outcome.result)
        return EagerResult(task_id, value, states.SUCCESS, name=task.name)
    if outcome.state == state.IGNORED:
        return EagerResult(task_id, None, states.IGNORED, name=task.name)
    if error is None and outcome.result is not None:
        from litequeue.core.failure import decode_exception

        error = decode_exception(outcome.result.data)
    return EagerResult(task_id, error, state.celery_state(outcome.state), traceback=outcome.traceback, name=task.name)
