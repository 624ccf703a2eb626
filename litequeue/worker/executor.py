"""Runs one task and turns whatever happens into an Outcome. It knows no store.

    decode -> before_start -> run -> on_success | on_failure | on_retry -> after_return -> Outcome

The one place that calls user code, and so the one that catches everything it may raise.
"""

from __future__ import annotations

import contextvars
import functools
import json
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from litequeue import exceptions, signals
from litequeue.core import clock, state
from litequeue.core.context import Context, current_tasks
from litequeue.core.failure import ExceptionInfo, encode_exception
from litequeue.core.records import ERROR, Claimed, Encoded, Input, Outcome, Rerun
from litequeue.core.ties import FEEDS, KEYED, LEADS, MEMBER
from litequeue.worker.inputs import errbacks_of, follow_ups, graft_of, stamps_of, taken_from, with_additions
from litequeue.worker.interrupting import FINAL, NOBODYS, OUTSIDE, Gate, Gates, run_coroutine, run_on_loop

if TYPE_CHECKING:
    import asyncio

    from litequeue.worker.runtime import Runnable, Runtime

logger = logging.getLogger("litequeue.worker.trace")


class Run(NamedTuple):
    """One attempt of a task: everything its steps need."""

    task: Runnable
    claimed: Claimed
    request: Context
    args: Sequence[Any]
    kwargs: dict[str, Any]


class Executor:
    """Runs claims one at a time in each thread that calls it."""

    def __init__(self, runtime: Runtime, node: str, holder: int = 0) -> None:
        self._runtime = runtime
        self._registry = runtime.registry
        self._node = node
        self._holder = holder
        self._decode_call = runtime.codec.decode_call
        self._loops = threading.local()
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop of another thread, where coroutines are run; None: each thread has one of its own."""
        self._gates = Gates()
        self.terminable = False
        """Whether a signal handler ends the worker by raising WorkerTerminate inside the task (pool solo)."""

    def run(self, claimed: Claimed, given: Input | None = None, *, eager: bool = False) -> Outcome:
        """Run the task of `claimed` in this thread, and say how it ended. Raises only what ends the process.

        `given` is what the claim gets from the node that it waited for.
        """
        opened = self._open(claimed, given, eager)
        if isinstance(opened, Outcome):
            return opened
        task = opened.task
        task.request_stack.push(opened.request)
        token = current_tasks.set((*current_tasks.get(), task))
        try:
            return self._attempt(opened)
        except Exception as error:
            return self._internal_error(opened, error)
        finally:
            current_tasks.reset(token)
            task.request_stack.pop()

    async def run_async(
        self, claimed: Claimed, given: Input | None = None, drive: Callable[[Any], Awaitable[Any]] | None = None
    ) -> Outcome:
        """`run` for a task that is a coroutine, on the event loop that awaits this; the loop goes on while it waits.

        `drive(coroutine)` is awaited in place of the task's own coroutine: that is how a pool interrupts it.
        """
        opened = self._open(claimed, given, False)
        if isinstance(opened, Outcome):
            return opened
        task = opened.task
        task.request_stack.push(opened.request)
        token = current_tasks.set((*current_tasks.get(), task))
        try:
            return await self._attempt_async(opened, drive)
        except Exception as error:
            return self._internal_error(opened, error)
        finally:
            current_tasks.reset(token)
            task.request_stack.pop()

    def task_named(self, name: str) -> Runnable | str:
        """The task, as the sender of a signal; its name where it is not known here."""
        return self._registry.get(name, name)

    def describe(self, claimed: Claimed) -> Context:
        """The request of a claim that has not been started, for who listens to `task_received`."""
        try:
            args, kwargs = self._decode_call(claimed.payload, claimed.serializer, claimed.compression)
            request = self._request(claimed, args, kwargs, False)
        except Exception:  # it will be set aside when it is run
            request = Context(id=claimed.id, task=claimed.name)
        request.update(name=claimed.name, task_name=claimed.name, called_directly=False)
        return request

    def tell_failed(self, run: Run, error: BaseException, einfo: ExceptionInfo, handlers: Collection[str]) -> None:
        """Tell what `handlers` names of `on_failure` and `after_return`, and who listens to `task_failure`."""
        task, claimed, _, args, kwargs = run
        if "on_failure" in handlers:
            self._guard(run, task.on_failure, error, claimed.id, args, kwargs, einfo)
        if signals.task_failure.receivers:
            signals.task_failure.send(
                sender=task,
                task_id=claimed.id,
                exception=error,
                args=args,
                kwargs=kwargs,
                traceback=error.__traceback__,
                einfo=einfo,
            )
        if "after_return" in handlers:
            self._guard(run, task.after_return, "FAILURE", error, claimed.id, args, kwargs, einfo)

    def use_gate(self, gate: Gate | None) -> None:
        """Open `gate` from now on while a task runs in this thread; None: no more."""
        self._gates.gate = NOBODYS if gate is None else gate

    # The steps

    def _open(self, claimed: Claimed, given: Input | None, eager: bool) -> Run | Outcome:
        """Everything that the attempt needs; its Outcome already, where the row cannot be read."""
        task = self._registry[claimed.name]
        try:
            args, kwargs = self._decode_call(claimed.payload, claimed.serializer, claimed.compression)
            if claimed.takes_input and given is not None:
                args = [*taken_from(given, task.takes_error, self._runtime), *args]
            request = self._request(claimed, args, kwargs, eager)
        except Exception as error:
            return self.refuse(claimed, error)
        return Run(task, claimed, request, args, kwargs)

    def _attempt(self, run: Run) -> Outcome:
        """Run the task, and whatever is to follow on its end."""
        task, _, _, args, kwargs = run
        gate = self._gates.gate
        self._send_prerun(run)
        started = time.perf_counter()
        try:
            if "before_start" in task.overrides:
                task.before_start(run.claimed.id, args, kwargs)
            try:
                gate.open()
                value = (task if "__call__" in task.overrides else task.run)(*args, **kwargs)
                if value.__class__ is CoroutineType:
                    value = self._await(value, gate)
            finally:
                gate.shut = OUTSIDE  # before any call: one may be interrupted before it has begun
                gate.close()
        except BaseException as error:
            return self._end_raised(run, gate.named(error))
        return self._end_returned(run, value, started)

    async def _attempt_async(self, run: Run, drive: Callable[[Any], Awaitable[Any]] | None) -> Outcome:
        """`_attempt` for a coroutine: the same steps, on the event loop."""
        task, _, _, args, kwargs = run
        self._send_prerun(run)
        started = time.perf_counter()
        try:
            if "before_start" in task.overrides:
                task.before_start(run.claimed.id, args, kwargs)
            value = (task if "__call__" in task.overrides else task.run)(*args, **kwargs)
            if value.__class__ is CoroutineType:
                value = await (value if drive is None else drive(value))
        except BaseException as error:
            return self._end_raised(run, error)
        return self._end_returned(run, value, started)

    def _end_returned(self, run: Run, value: Any, started: float) -> Outcome:
        """The outcome of a task that returned `value`, and what follows on it."""
        try:
            if "pending" in run.request.__dict__:
                raise run.request.pending
            outcome = self._success(run, value)
        except BaseException as error:
            return self._end_raised(run, error)
        self._after_success(run, value, time.perf_counter() - started)
        if signals.task_postrun.receivers:
            self._send_postrun(run, outcome, value)
        return outcome

    def _end_raised(self, run: Run, error: BaseException) -> Outcome:
        """The outcome of a task that raised `error`, and what follows on it."""
        outcome = self._raised(run, error)
        if signals.task_postrun.receivers:
            self._send_postrun(run, outcome, error)
        return outcome

    def _raised(self, run: Run, error: BaseException) -> Outcome:
        """What the exception means; raises it again when it ends the process."""
        # retry() or replace() was called, and its exception caught or replaced by another: it counts all the same.
        if not isinstance(error, FINAL):
            error = run.request.__dict__.get("pending", error)
        match error:
            case exceptions.Terminated():
                return self._terminated(run, error)
            case exceptions.Retry():
                return self._retried(run, error)
            case exceptions.Replaced():
                return self._replaced(run, error)
            case exceptions.Snooze():
                return self._snoozed(run, error)
            case exceptions.Ignore():
                prune_at = self._prune_at(self._runtime.success_retention)
                return Outcome(run.claimed, state.IGNORED, clock.now(), prune_at=prune_at)
            case exceptions.Reject():
                return self._rejected(run, error)
            case KeyboardInterrupt() if run.request.is_eager:
                raise error  # somebody stops the program that runs the task in place
            case exceptions.WorkerTerminate() if self.terminable:
                raise error
            case _:
                return self._failed(run, error)

    def _success(self, run: Run, value: Any) -> Outcome:
        claimed = run.claimed
        wanted = not claimed.ignore_result or claimed.ties & FEEDS
        result = self._runtime.result_codec.encode(value, what="result") if wanted else None
        now, retention = clock.now(), self._runtime.success_retention
        prune_at = None if retention is None else now + retention
        graft = graft_of(run.request) if claimed.ties else None
        return Outcome(claimed, state.SUCCEEDED, now, result, None, prune_at, None, graft)

    def _replaced(self, run: Run, replaced: exceptions.Replaced) -> Outcome:
        claimed, become = run.claimed, replaced.graft.become
        assert become is not None, "replace() makes it"
        logger.info("Task %s[%s] replaced by %s", claimed.name, claimed.id, become.name, extra=record_data(run.request))
        now = clock.now()
        later = become.run_at is not None and become.run_at > now
        state_next = state.WAITING if become.after is not None else state.SCHEDULED if later else state.READY
        return Outcome(claimed, state_next, now, graft=with_additions(replaced.graft, run.request))

    def _after_success(self, run: Run, value: Any, runtime: float) -> None:
        """The result stands; a handler that raises is logged and changes nothing."""
        task, claimed, request, args, kwargs = run
        if "on_success" in task.overrides:
            self._guard(run, task.on_success, value, claimed.id, args, kwargs)
        if signals.task_success.receivers:
            signals.task_success.send(sender=task, result=value, runtime=runtime)
        if "after_return" in task.overrides:
            self._guard(run, task.after_return, "SUCCESS", value, claimed.id, args, kwargs, None)
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "Task %s[%s] succeeded in %ss: %s",
                request.shadow or claimed.name,
                claimed.id,
                round(runtime, 6),
                _shorten(value),
                extra=record_data(run.request),
            )

    def _terminated(self, run: Run, error: exceptions.Terminated) -> Outcome:
        """A revoke was to end it while it ran; `error` has the name of the signal that it was revoked with."""
        task, claimed, request, _, _ = run
        signum = getattr(signal, str(error.args[0]), None) if error.args else None
        logger.warning("Task %s[%s] was revoked and terminated", claimed.name, claimed.id, extra=record_data(request))
        if signals.task_revoked.receivers:
            signals.task_revoked.send(sender=task, request=request, terminated=True, signum=signum, expired=False)
        record = Encoded(encode_exception(exceptions.TaskRevokedError("terminated")), ERROR)
        prune_at = self._prune_at(self._runtime.failure_retention)
        return Outcome(claimed, state.REVOKED, clock.now(), record, None, prune_at)

    def _failed(self, run: Run, error: BaseException) -> Outcome:
        task, claimed = run.task, run.claimed
        einfo = ExceptionInfo(error)
        self._log_failure(run, einfo)
        self.tell_failed(run, error, einfo, task.overrides)
        # Whoever waits for this task is told why it failed, also where no result is wanted.
        kept = not claimed.ignore_result or bool(claimed.ties & ~KEYED) or task.store_errors_even_if_ignored
        return self._failure(claimed, error, kept, einfo)

    def _failure(
        self, claimed: Claimed, error: BaseException, kept: bool = True, einfo: ExceptionInfo | None = None
    ) -> Outcome:
        """FAILURE with its reason; not `kept`: without it, as the task wants no result."""
        result = Encoded(encode_exception(error), ERROR) if kept else None
        traceback = (einfo or ExceptionInfo(error)).traceback if kept else None
        prune_at = self._prune_at(self._runtime.failure_retention)
        return Outcome(claimed, state.FAILED, clock.now(), result, traceback, prune_at)

    def _retried(self, run: Run, retry: exceptions.Retry) -> Outcome:
        task, claimed, request, args, kwargs = run
        reason = retry.exc if retry.exc is not None else retry
        einfo = ExceptionInfo(reason)
        logger.info(
            "Task %s[%s] retry: %s", request.shadow or claimed.name, claimed.id, retry, extra=record_data(run.request)
        )
        if "on_retry" in task.overrides:
            self._guard(run, task.on_retry, retry.exc, claimed.id, args, kwargs, einfo)
        if signals.task_retry.receivers:
            signals.task_retry.send(sender=task, request=request, reason=retry, einfo=einfo)
        rerun = retry.rerun if retry.rerun is not None else Rerun(retries=claimed.retries + 1)
        now = clock.now()
        later = rerun.run_at is not None and rerun.run_at > now
        error = Encoded(encode_exception(reason), ERROR)
        state_next = state.SCHEDULED if later else state.READY
        return Outcome(claimed, state_next, now, error, einfo.traceback, rerun=rerun)

    def _snoozed(self, run: Run, snooze: exceptions.Snooze) -> Outcome:
        claimed, now, eta = run.claimed, clock.now(), snooze.eta
        if eta is None:
            run_at = now + (snooze.seconds or 0)
        else:
            run_at = clock.to_timestamp(eta if eta.tzinfo is not None else eta.replace(tzinfo=self._runtime.timezone))
        name, wait = run.request.shadow or claimed.name, round(max(0.0, run_at - now), 3)
        logger.info("Task %s[%s] snoozed for %g s", name, claimed.id, wait, extra=record_data(run.request))
        state_next = state.SCHEDULED if run_at > now else state.READY
        return Outcome(claimed, state_next, now, rerun=Rerun(run_at=run_at, snooze=True))

    def _rejected(self, run: Run, reject: exceptions.Reject) -> Outcome:
        claimed = run.claimed
        logger.warning("Task %s[%s] rejected: %r", claimed.name, claimed.id, reject, extra=record_data(run.request))
        if signals.task_rejected.receivers:
            signals.task_rejected.send(sender=self._node, message=claimed, exc=reject)
        if not reject.requeue:
            return self._failure(claimed, reject)
        error = Encoded(encode_exception(reject), ERROR)
        return Outcome(claimed, state.READY, clock.now(), error, rerun=Rerun())

    def refuse(self, claimed: Claimed, error: Exception) -> Outcome:
        """A row that cannot be read is FAILURE with its reason; the worker goes on."""
        logger.error("Task %s[%s] cannot be run: %s", claimed.name, claimed.id, error)
        if signals.task_rejected.receivers:
            signals.task_rejected.send(sender=self._node, message=claimed, exc=error)
        return self._failure(claimed, error)

    # Pieces

    def _request(self, claimed: Claimed, args: list[Any], kwargs: dict[str, Any], eager: bool) -> Context:
        """`self.request` of the task. InvalidTaskError, ValueError: the row's JSON cannot be read."""
        request = Context(
            id=claimed.id,
            task=claimed.name,
            args=args,
            kwargs=kwargs,
            retries=claimed.retries,
            is_eager=eager,
            called_directly=False,
            fence=(self._holder, claimed.attempt),
            began=clock.now(),
        )
        if claimed.options or claimed.headers:
            request.__dict__ = {**self._fields(claimed), **request.__dict__}
        else:
            request.fill_later(functools.partial(self._fields, claimed))
        if claimed.ties & (LEADS | MEMBER):
            request.look_up_later(functools.partial(follow_ups, claimed, self._runtime.store, self._decode_call))
        return request

    def _fields(self, claimed: Claimed) -> dict[str, Any]:
        """The fields of a request that its row gives."""
        options = json.loads(claimed.options) if claimed.options else {}
        headers = json.loads(claimed.headers) if claimed.headers else None
        if not isinstance(options, dict) or not isinstance(headers, dict | None):
            raise exceptions.InvalidTaskError(
                f"{claimed.name}[{claimed.id}]: the row's options and headers must be JSON objects."
            )
        if claimed.time_limit is not None or claimed.soft_time_limit is not None:
            options["timelimit"] = (claimed.time_limit, claimed.soft_time_limit)
        return {
            **options,
            "attempt": claimed.attempt,
            "eta": None if claimed.run_at is None else clock.to_datetime(claimed.run_at).isoformat(),
            "expires": None if claimed.expires_at is None else clock.to_datetime(claimed.expires_at).isoformat(),
            "hostname": self._node,
            "origin": claimed.origin,
            "queue": claimed.queue,
            "priority": claimed.priority,
            "enqueued_at": claimed.enqueued_at,
            "delivery_info": {
                "exchange": "",
                "routing_key": claimed.queue,
                "priority": claimed.priority,
                "redelivered": claimed.attempt > claimed.retries + 1 + options.pop("attempts_before", 0),
            },
            "time_limit": claimed.time_limit,
            "soft_time_limit": claimed.soft_time_limit,
            "root_id": claimed.root_id or claimed.id,
            "parent_id": claimed.parent_id,
            "group": claimed.group_id,
            "group_index": claimed.group_index,
            "headers": headers,
            "correlation_id": claimed.id,
            "ignore_result": bool(claimed.ignore_result),
            "errbacks": errbacks_of(claimed, self._decode_call),
            **stamps_of(claimed),
            "serializer": claimed.serializer,
            "compression": claimed.compression,
        }

    def _await(self, coroutine: Coroutine[Any, Any, Any], gate: Gate) -> Any:
        """Run a coroutine to its end on the event loop of this thread, which lives as long as the thread."""
        import asyncio  # only tasks that are coroutines need it

        if self.loop is not None:
            return run_on_loop(self.loop, coroutine, gate)
        runner: asyncio.Runner | None = getattr(self._loops, "runner", None)
        if runner is None:
            runner = self._loops.runner = asyncio.Runner()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run_coroutine(runner, coroutine, gate)
        # An eager call from inside a coroutine: the loop of this thread is busy, so another thread runs this one.
        return _run_in_thread(coroutine)

    def _guard(self, run: Run, handler: Any, *args: Any) -> None:
        try:
            handler(*args)
        except Exception:
            name, claimed = getattr(handler, "__name__", repr(handler)), run.claimed
            logger.exception("%s of %s[%s] raised; the task's own outcome stands", name, claimed.name, claimed.id)

    def _prune_at(self, retention: float | None) -> float | None:
        return None if retention is None else clock.now() + retention

    def _send_prerun(self, run: Run) -> None:
        if signals.task_prerun.receivers:
            task, claimed, _, args, kwargs = run
            signals.task_prerun.send(sender=task, task_id=claimed.id, task=task, args=args, kwargs=kwargs)

    def _send_postrun(self, run: Run, outcome: Outcome, retval: Any) -> None:
        signals.task_postrun.send(
            sender=run.task,
            task_id=run.claimed.id,
            task=run.task,
            args=run.args,
            kwargs=run.kwargs,
            retval=retval,
            state=state.celery_state(outcome.state, retries=_retries(outcome)),
        )

    def _internal_error(self, run: Run, error: Exception) -> Outcome:
        """An error of ours, not the task's: nothing of the task's own gets this far."""
        logger.exception("Internal error while running %s[%s]", run.claimed.name, run.claimed.id)
        self._send_internal_error(run, error)
        return self._failure(run.claimed, error)

    def _send_internal_error(self, run: Run, error: Exception) -> None:
        if signals.task_internal_error.receivers:
            signals.task_internal_error.send(
                sender=run.task,
                task_id=run.claimed.id,
                args=run.args,
                kwargs=run.kwargs,
                request=run.request,
                exception=error,
                traceback=error.__traceback__,
                einfo=ExceptionInfo(error),
            )

    def _log_failure(self, run: Run, einfo: ExceptionInfo) -> None:
        expected = isinstance(einfo.exception, tuple(run.task.throws))
        logger.log(
            logging.INFO if expected else logging.ERROR,
            "Task %s[%s] raised %s: %r%s",
            run.request.shadow or run.claimed.name,
            run.claimed.id,
            "expected" if expected else "unexpected",
            einfo.exception,
            "" if expected else f"\n{einfo.traceback}",
            extra=record_data(run.request),
        )


def _retries(outcome: Outcome) -> int:
    """How many retries a task that does not end here will have had, as far as its shown state is concerned."""
    rerun = outcome.rerun
    return 0 if rerun is None else outcome.claimed.retries if rerun.snooze else 1


def _run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()


def record_data(request: Context) -> dict[str, Any]:
    """What log handlers find on the record, as with Celery: `record.data`."""
    return {
        "data": {
            "id": request.id,
            "name": request.shadow or request.task,
            "args": request.argsrepr or repr(request.args),
            "kwargs": request.kwargsrepr or repr(request.kwargs),
        }
    }


def _shorten(value: Any, limit: int = 1024) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: repr() raised {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."
