"""The signals of Celery, under the same names.

A receiver is called as `receiver(signal=…, sender=…, **arguments)` in the process and thread that sends. It is held
weakly unless connected with `weak=False`. What it raises is logged and counted in `Signal.errors`, and never stops the
sender. docs/signals.md says when each is sent.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar, overload

_VARIABLE_KEYWORDS = 0x08
"""The flag of a code object that takes `**kwargs` (`inspect.CO_VARKEYWORDS`)."""

Receiver = Callable[..., Any]
R = TypeVar("R", bound=Receiver)

_RETRY_FIRST, _RETRY_LONGEST = 1.0, 30.0
"""Seconds before a receiver connected with `retry=True` is called again: from the first to the longest pause."""


class Signal:
    """Something that functions can be connected to.

    `receivers` is an empty list while nobody listens, so that `if signal.receivers:` is the cheapest test.
    """

    def __init__(
        self,
        name: str | None = None,
        providing_args: Iterable[str] | None = None,
        use_caching: bool = False,
    ) -> None:
        self.name = name
        self.providing_args = frozenset(providing_args or ())
        self.use_caching = use_caching
        self.receivers: list[tuple[tuple[Hashable, Any], Any]] = []
        """`(key, receiver or weak reference)`; replaced as a whole, never changed in place."""
        self.errors = 0
        """How often a receiver raised."""
        self._lock = threading.RLock()  # a weak reference may die, and call back, while this thread holds it

    @overload
    def connect(
        self,
        receiver: R,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        retry: bool = False,
    ) -> R: ...

    @overload
    def connect(
        self,
        receiver: None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        retry: bool = False,
    ) -> Callable[[R], R]: ...

    def connect(
        self,
        receiver: Any = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        retry: bool = False,
    ) -> Any:
        """Call `receiver` whenever the signal is sent; also a decorator, with or without arguments.

        `sender`: only for this sender. `dispatch_uid`: a second receiver under the same one is not added. `retry`: a
        receiver that raises is called again after a pause, until it does not (it is then held strongly). ValueError: it
        does not take keyword arguments.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid, retry)
        if not callable(receiver):
            raise TypeError(f"a receiver must be callable, not {receiver!r}")
        if not _takes_keywords(receiver):
            raise ValueError(f"receiver {receiver!r} must take keyword arguments: add **kwargs")
        key = _key(receiver, sender, dispatch_uid)
        held: Any = receiver
        if retry:
            held = _Retrying(receiver)
        elif weak:
            held = self._weakly(receiver)
        with self._lock:
            # A dead receiver may have had the same id, or the same dispatch_uid.
            others = [pair for pair in self.receivers if _resolve(pair[1]) is not None]
            if all(known != key for known, _ in others):
                others.append((key, held))
            self.receivers = others
        return receiver

    def disconnect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool | None = None,
        dispatch_uid: Hashable = None,
    ) -> bool:
        """Stop calling `receiver`; whether it was connected. `weak` is accepted and means nothing."""
        key = _key(receiver, sender, dispatch_uid)
        with self._lock:
            kept = [pair for pair in self.receivers if pair[0] != key]
            found = len(kept) < len(self.receivers)
            self.receivers = kept
        return found

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody listens to `sender`."""
        return bool(self._live(sender))

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call every receiver; return each with its answer, or with the exception it raised."""
        if not self.receivers:
            return []
        answers: list[tuple[Receiver, Any]] = []
        for receiver in self._live(sender):
            try:
                answer = receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                answer = exc
                self._failed(receiver, exc)
            answers.append((receiver, answer))
        return answers

    send_robust = send

    def _live(self, sender: Any) -> list[Receiver]:
        live = []
        sender_key = _identity(sender)
        for (_, wanted), held in self.receivers:
            if wanted is not None and wanted != sender_key:
                continue
            receiver = _resolve(held)
            if receiver is not None:
                live.append(receiver)
        return live

    def _weakly(self, receiver: Receiver) -> Any:
        if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
            return weakref.WeakMethod(receiver, self._forget)
        return weakref.ref(receiver, self._forget)

    def _forget(self, dead: Any) -> None:
        # Called by the garbage collector, in any thread and between any two steps.
        with self._lock:
            self.receivers = [pair for pair in self.receivers if pair[1] is not dead]

    def _failed(self, receiver: Receiver, exc: Exception) -> None:
        import logging

        with self._lock:
            self.errors += 1
        logging.getLogger("litequeue.signals").exception("receiver %r of %s raised %r", receiver, self.name, exc)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(f"signal {self.name!r} cannot be pickled: its receivers belong to this process")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} providing_args={sorted(self.providing_args)!r}>"


class _Retrying:
    """A receiver that is called until it succeeds."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __call__(self, **named: Any) -> Any:
        pause = _RETRY_FIRST
        while True:
            try:
                return self._receiver(**named)
            except Exception:
                import logging

                logger = logging.getLogger("litequeue.signals")
                logger.exception("receiver %r raised; it is called again in %g s", self._receiver, pause)
            time.sleep(pause)
            pause = min(pause * 2, _RETRY_LONGEST)


def _resolve(held: Any) -> Any:
    return held() if isinstance(held, weakref.ReferenceType) else held


def _key(receiver: Receiver | None, sender: Any, dispatch_uid: Hashable) -> tuple[Hashable, Any]:
    wanted = _LazySender(sender) if _is_unmade(sender) else _identity(sender)
    return (dispatch_uid if dispatch_uid is not None else _identity(receiver), wanted)


def _identity(thing: Any) -> Hashable:
    """What two mentions of one sender or receiver share; None: no sender.

    Text stands for itself; a lazy task and the task it becomes count as one.
    """
    if _is_unmade(thing):  # first: isinstance() would make it
        return id(thing)
    if thing is None or isinstance(thing, (str, bytes)):
        return thing
    resolve = getattr(type(thing), "_get_current_object", None)
    if resolve is not None:
        thing = resolve(thing)
    function = getattr(thing, "__func__", None)
    if function is not None:
        return (id(getattr(thing, "__self__", None)), id(function))
    return id(thing)


def _is_unmade(thing: Any) -> bool:
    """Whether `thing` stands for a task that is made at its first use; that must not be forced here."""
    made = getattr(type(thing), "__evaluated__", None)
    return made is not None and not made(thing)


class _LazySender:
    """The key of a sender that is not made yet; afterwards, that of what it became."""

    __slots__ = ("_proxy",)

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _LazySender):
            other = _identity(other._proxy)
        return _identity(self._proxy) == other

    __hash__ = None  # type: ignore[assignment]  # it changes


def _takes_keywords(receiver: Receiver) -> bool:
    code = getattr(receiver, "__code__", None)
    if code is not None:
        return bool(code.co_flags & _VARIABLE_KEYWORDS)
    import inspect

    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


# Calls

before_task_publish = Signal(
    "before_task_publish", ("body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy")
)
after_task_publish = Signal("after_task_publish", ("body", "exchange", "routing_key"))

# Tasks

task_received = Signal("task_received", ("request",))
task_prerun = Signal("task_prerun", ("task_id", "task", "args", "kwargs"))
task_postrun = Signal("task_postrun", ("task_id", "task", "args", "kwargs", "retval", "state"))
task_success = Signal("task_success", ("result", "runtime"))
task_retry = Signal("task_retry", ("request", "reason", "einfo"))
task_failure = Signal("task_failure", ("task_id", "exception", "args", "kwargs", "traceback", "einfo"))
task_internal_error = Signal(
    "task_internal_error", ("task_id", "args", "kwargs", "request", "exception", "traceback", "einfo")
)
task_revoked = Signal("task_revoked", ("request", "terminated", "signum", "expired"))
task_rejected = Signal("task_rejected", ("message", "exc"))
task_unknown = Signal("task_unknown", ("message", "exc", "name", "id"))
task_sent = Signal("task_sent", ("task_id", "task", "args", "kwargs", "eta", "taskset"))

# The worker

celeryd_init = Signal("celeryd_init", ("instance", "conf", "options"))
celeryd_after_setup = Signal("celeryd_after_setup", ("instance", "conf"))
import_modules = Signal("import_modules")
worker_init = Signal("worker_init")
worker_before_create_process = Signal("worker_before_create_process")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown", ("pid", "exitcode"))
worker_ready = Signal("worker_ready")
worker_shutting_down = Signal("worker_shutting_down", ("sig", "how", "exitcode"))
worker_shutdown = Signal("worker_shutdown")
heartbeat_sent = Signal("heartbeat_sent")

# Logging

setup_logging = Signal("setup_logging", ("loglevel", "logfile", "format", "colorize"))
after_setup_logger = Signal("after_setup_logger", ("logger", "loglevel", "logfile", "format", "colorize"))
after_setup_task_logger = Signal("after_setup_task_logger", ("logger", "loglevel", "logfile", "format", "colorize"))

# Schedules

beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")

# Pools of green threads, which litequeue does not have: never sent

eventlet_pool_started = Signal("eventlet_pool_started")
eventlet_pool_preshutdown = Signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal("eventlet_pool_postshutdown")
eventlet_pool_apply = Signal("eventlet_pool_apply", ("target", "args", "kwargs"))

# The command line

user_preload_options = Signal("user_preload_options", ("app", "options"))

__all__ = ("Signal", *sorted(name for name, value in list(globals().items()) if isinstance(value, Signal)))
