"""Tasks: what `@app.task` makes of a function, and the base class for tasks written as classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from litequeue import signals
from litequeue.app.current import get_current_app, get_current_worker_task
from litequeue.calling.capturing import capturing
from litequeue.calling.declared import FROM_SETTINGS, Declared
from litequeue.calling.message import Preset, preset_for
from litequeue.calling.options import EXECUTION_OPTIONS, KEYS
from litequeue.core.context import Context as Context
from litequeue.core.context import RequestStack, current_tasks
from litequeue.exceptions import MaxRetriesExceededError, OperationalError, Retry

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.canvas.signature import Signature
    from litequeue.result.async_result import AsyncResult
    from litequeue.result.eager_result import EagerResult

HANDLERS = ("before_start", "on_success", "on_failure", "on_retry", "after_return", "__call__")
"""What a task class may define, and the worker calls only if it does."""

_OF_PRESET = frozenset({*EXECUTION_OPTIONS, *KEYS, "ignore_result", "typing"})


class _App:
    """`Task.app`, of the class as of its instances: the app the task is bound to, else the current one."""

    def __get__(self, task: Task | None, cls: type[Task]) -> LiteQueue:
        if cls is Task:
            return get_current_app()
        if cls._app is None:
            cls._app = get_current_app()
        if not cls.__dict__.get("__bound__"):
            cls.bind(cls._app)
        return cls._app

    def __set__(self, task: Task, app: LiteQueue) -> None:
        type(task).bind(app)


class Task(Declared):
    """A function that can be called elsewhere and later.

    One instance a process: what is set on `self` stays for the next call in that process. Every keyword given to
    `@app.task` is an attribute of the task.
    """

    # Which task it is

    name: str = None  # type: ignore[assignment]
    """Unique in the app; made of module and function where it is not given."""
    abstract: bool = True
    typing: bool | None = None
    """Check the arguments against the function's parameters at the call; None: as the app's `strict_typing`."""
    app: LiteQueue = _App()  # type: ignore[assignment]
    request_stack: RequestStack
    takes_error: bool = False
    """As an error callback it is called with (request, exception, traceback), not with the id of the failed task."""
    overrides: frozenset[str] = frozenset()
    """Which of `HANDLERS` this task defines."""

    MaxRetriesExceededError: ClassVar = MaxRetriesExceededError
    OperationalError: ClassVar = OperationalError

    customised_calls: bool = False
    """Whether the task defines itself how it is called, so that `delay()` must ask it."""
    overrides_apply_async: bool = False

    __bound__: bool = False
    __header__: Callable[..., None] | None = None
    """Raises the TypeError of a call with wrong arguments."""
    _app: LiteQueue | None = None
    _dump_models: Callable[[Any, Any], tuple[Any, Any]] | None = None
    _preset: Preset | None = None
    _preset_revision: int = -1

    # Binding

    @classmethod
    def bind(cls, app: LiteQueue) -> LiteQueue:
        """Connect the class to `app`: its settings and annotations become the attributes that were not given."""
        again = bool(cls.__dict__.get("__bound__"))
        cls.__bound__ = True
        cls._app = app
        cls._preset_revision = -1
        if cls.typing is None:
            cls.typing = app.strict_typing
        for attribute, setting in FROM_SETTINGS:
            if getattr(cls, attribute) is None:
                setattr(cls, attribute, app.conf[setting])
        for attribute in ("acks_on_failure", "acks_on_timeout"):
            if getattr(cls, attribute) is None:
                setattr(cls, attribute, cls.acks_on_failure_or_timeout is not False)
        if not again:
            cls.annotate()
            cls.request_stack = RequestStack()
        throws: Any = cls.throws
        cls.throws = (throws,) if isinstance(throws, type) else tuple(throws)
        cls.overrides = frozenset(name for name in HANDLERS if getattr(cls, name) is not getattr(Task, name))
        cls.takes_error = _takes_error(cls)
        cls.customised_calls = any(
            getattr(cls, name) is not getattr(Task, name) for name in ("apply_async", "AsyncResult", "shadow_name")
        )
        cls.overrides_apply_async = cls.apply_async is not Task.apply_async
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: LiteQueue) -> None:
        """Called when the class was bound to an app."""

    @classmethod
    def annotate(cls) -> None:
        """Set what `task_annotations` says of this task; a key `@name` wraps the method `name`."""
        from litequeue.app.declaring import annotations_of, as_attribute

        for annotation in annotations_of(cls.app.conf.task_annotations, cls, cls.app.resolve):
            for key, value in annotation.items():
                if key.startswith("@"):
                    cls.add_around(key[1:], value)
                else:
                    setattr(cls, key, as_attribute(key, value))

    @classmethod
    def add_around(cls, attr: str, around: Callable[[Any], Any]) -> None:
        """Replace the method `attr` by `around(method)`."""
        static = any(isinstance(base.__dict__.get(attr), staticmethod) for base in cls.__mro__)
        original = getattr(cls, attr)
        original = getattr(original, "__wrapped__", None) or original
        wrapped = around(original)
        wrapped.__wrapped__ = original
        setattr(cls, attr, staticmethod(wrapped) if static else wrapped)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in _OF_PRESET:
            type(self)._preset_revision = -1

    # Calling

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body of the task."""
        raise NotImplementedError(f"task {self.name} defines no method run")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body here, as a function."""
        outer = self.request_stack.top
        inner = Context({} if outer is None else outer.__dict__, args=args, kwargs=kwargs)
        self.request_stack.push(inner)
        token = current_tasks.set((*current_tasks.get(), self))
        try:
            return self.run(*args, **kwargs)
        finally:
            current_tasks.reset(token)
            self.request_stack.pop()
            if outer is not None and "pending" in inner.__dict__:
                outer.update(pending=inner.pending)

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Enqueue the task with these arguments; returns when it is safely in the file."""
        preset = self.preset()
        if preset is None or signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            return self.apply_async(args, kwargs)
        if preset.check is not None:
            preset.check(*args, **kwargs)
        caller = get_current_worker_task() if current_tasks.get() else None
        if caller is None:
            new = preset.build(args, kwargs)
        else:
            request = caller.request
            new = preset.build(args, kwargs, request.root_id or request.id, request.id)
        preset.store.enqueue((new,))
        result: AsyncResult = preset.app.AsyncResult(new.id)
        if preset.ignored:
            result.ignored = True
        if caller is not None:
            caller.add_trail(result)
        return result

    def preset(self) -> Preset | None:
        """What a call without options is; None where that cannot be said once for all calls."""
        app = self._app
        if app is None or self._preset_revision != app._conf.revision:
            app, cls = self.app, type(self)
            revision = app.conf.finalize().revision
            cls._preset = preset_for(app, self)
            cls._preset_revision = revision  # last: another thread must not find an old preset under the new number
        return self._preset

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Enqueue the task; returns when it is safely in the file.

        Options, beside those in the signature:

        - `countdown` (seconds), `eta` (datetime; naive: in the app's time zone): not before then;
        - `expires` (seconds or datetime): not after then, it is REVOKED instead;
        - `priority` (0 to 255, higher first), `queue`, `routing_key`;
        - `time_limit`, `soft_time_limit` (seconds), `retries` (how many count as made);
        - `ignore_result`, `headers` (a dict; `self.request.headers`), `app_id` and other properties;
        - `serializer`, `compression`;
        - `concurrency_key`, `concurrency_limit`: how many with this key run at once;
        - `unique`, `unique_key`, `unique_window`, `unique_states`, `on_conflict`: what is to be there only once;
          where it is, the result is that of the task that is there, its `existed` true;
        - `durability`: `"full"` or `"normal"`, for this call alone;
        - `link`, `link_error`: a signature, or a list of them, to run when it has succeeded, or failed;
        - `root_id`, `parent_id`, `group_id`, `group_index`, `argsrepr`, `kwargsrepr`, `add_to_parent`.

        Options that only mean something to a message broker (`producer`, `connection`, `exchange`, `retry`, …) are
        accepted and change nothing. TypeError: wrong arguments, or an unknown option. ValueError: an option out of
        range. DuplicateTaskError: the file has `task_id` already. NotUniqueError: another task holds its unique key.
        EncodeError, QueueNotFound, OperationalError.
        """
        captured = capturing.get()
        if captured is not None and captured.wants(self):
            given = {"task_id": task_id, "link": link, "link_error": link_error, "shadow": shadow, **options}
            return captured.take(args, kwargs, given)
        args, kwargs, options = self.prepare_call(
            args, kwargs, task_id=task_id, link=link, link_error=link_error, shadow=shadow, **options
        )
        app = self.app
        if app.conf.task_always_eager:
            from litequeue.calling.eager import run
            from litequeue.result.joining import denied_join_result

            with denied_join_result():
                return run(self, args, kwargs, options, options.get("throw"))
        return app.enqueue_call(self.name, args, kwargs, options, self)

    def prepare_call(
        self, args: Any, kwargs: Any, takes_input: int = 0, **options: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Arguments, checked, and the options of a call together with those of the task.

        `takes_input`: in the end, so many values are put before the arguments.
        """
        if self.typing and self.__header__ is not None:
            self.__header__(*(None,) * takes_input, *(args or ()), **(kwargs or {}))
        options["shadow"] = options.get("shadow") or self.shadow_name(args, kwargs, options)
        options = {**self.execution_options(), **options}
        options.setdefault("ignore_result", self.ignore_result)
        if self._dump_models is not None and options.get("serializer") != "pickle":
            args, kwargs = self._dump_models((*(None,) * takes_input, *(args or ())), kwargs)
            args = args[takes_input:]
        return args, kwargs, options

    def execution_options(self) -> dict[str, Any]:
        """The options of every call that the task's attributes name."""
        options = {name: getattr(self, name) for name in EXECUTION_OPTIONS}
        return {name: value for name, value in options.items() if value is not None}

    def shadow_name(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> str | None:
        """The name to show for a call in logs; None: the task's own."""
        return None

    def apply(
        self,
        args: Any = None,
        kwargs: Any = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult:
        """Run the task here and now, through the serializer and with its retries; returns when it has ended.

        `throw` raises its exception; None: as `task_eager_propagates` says.
        """
        from litequeue.calling.eager import run

        given = {
            "task_id": task_id,
            "link": link,
            "link_error": link_error,
            "retries": retries,
            "headers": headers,
            **options,
        }
        return run(self, args, kwargs, {**self.execution_options(), **given}, throw)

    # Signatures

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature:
        """The signature of a call: arguments, keywords and options."""
        from litequeue.canvas.signature import signature

        starkwargs.setdefault("app", self.app)
        return signature(self, args, *starargs, **starkwargs)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """`add.s(2, 2)` is `add.signature((2, 2))`."""
        from litequeue.canvas.signature import call_of

        return call_of(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature that takes no further arguments."""
        from litequeue.canvas.signature import call_of

        return call_of(self, args, kwargs, immutable=True)

    def signature_from_request(
        self,
        request: Context | None = None,
        args: Any = None,
        kwargs: Any = None,
        queue: str | None = None,
        **extra_options: Any,
    ) -> Signature:
        """The signature that makes the call of `request` (None: the current one) again."""
        request = self.request if request is None else request
        options = {**request.as_execution_options(), "queue": queue or request.queue, **extra_options}
        return self.signature(
            request.args if args is None else args,
            request.kwargs if kwargs is None else kwargs,
            {name: value for name, value in options.items() if value is not None},
        )

    subtask_from_request = signature_from_request

    def map(self, it: Iterable[Any]) -> Signature:
        """The signature of one task that calls this one with each item of `it`; its result is the list of results."""
        from litequeue.canvas.maps import xmap

        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Iterable[Any]]) -> Signature:
        """As `map`, for items that are the positional arguments of a call each."""
        from litequeue.canvas.maps import xstarmap

        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Iterable[Any]], n: int) -> Signature:
        """The signature of a group of tasks that make `n` of the calls of `starmap(it)` each."""
        from litequeue.canvas.maps import chunks

        return chunks(self.s(), it, n, app=self.app)

    # Inside a running task

    @property
    def request(self) -> Context:
        """The request that is being run; outside of one, a request with nothing but defaults."""
        if not type(self).__bound__:
            type(self).bind(self.app)
        current = self.request_stack.top
        if current is None:
            current = self.__dict__.setdefault("_default_request", Context())
        return current

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Make a request current that has the fields of the current one and these."""
        self.request_stack.push(Context(*args, **{**self.request.__dict__, **kwargs}))

    def pop_request(self) -> None:
        """Take the current request off."""
        self.request_stack.pop()

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | timedelta | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Run this task again, under the same id: `raise self.retry(exc=exc)`.

        After `countdown` seconds, or at `eta`, else after `default_retry_delay`; with `args` and `kwargs` where they
        are given; with priority, headers and expiry as they were unless `options` name others. Always raises Retry,
        unless `throw` is False: then it is returned, and the task is retried all the same. When `max_retries` (None:
        the task's) is used up, raises `exc`, else MaxRetriesExceededError.
        """
        from litequeue.calling.retrying import retry

        told = retry(self, args, kwargs, exc, max_retries, {"eta": eta, "countdown": countdown, **options})
        if throw:
            raise told
        return told

    def snooze(self, seconds: float | timedelta | None = None, eta: datetime | None = None) -> NoReturn:
        """Run this task again in `seconds`, or at `eta`: `raise self.snooze(60)`.

        Unlike `retry` that counts neither as a retry nor as an attempt. Always raises Snooze. TypeError, ValueError: no
        time that can be.
        """
        from litequeue.calling.retrying import snooze

        raise snooze(self, seconds, eta)

    def replace(self, sig: Any) -> NoReturn:
        """Become `sig`, a signature of a task, chain, group or chord: `raise self.replace(other.s(2))`.

        Always raises, so that nothing more of the task runs. The id stays: the result of this task is that of the
        replacement, a group's the list of its members'. Callbacks, error callbacks, the rest of a chain and the place
        in a group stay as well. It is written when this attempt ends, in one transaction. ImproperlyConfigured: an
        empty chain.
        """
        from litequeue.calling.replacing import replacement

        raise self.on_replace(replacement(self, sig))

    def on_replace(self, sig: Signature) -> Any:
        """Called by `replace` with the signature that takes this task's place, to raise the exception that does it.

        A task class may change the signature and then call this one.
        """
        from litequeue.calling.replacing import replaced

        raise replaced(self, sig)

    def add_to_chord(self, sig: Signature, lazy: bool = False) -> Any:
        """Add `sig` to the header of the chord that this task is a member of: the body waits for it, too.

        It is written when this task succeeds, with its end. Returns its result, or with `lazy` the signature, which is
        added when its `delay()` is called. ValueError: this task is not member of any chord.
        """
        from litequeue.calling.replacing import add_to_chord

        return add_to_chord(self, sig, lazy)

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
    ) -> None:
        """Show `state`, with `meta` as the result, until the task's next move; `task_id` None: the running task.

        Nothing happens when that task has ended, or when this attempt of it no longer holds it.
        """
        request = self.request
        if state is not None and not isinstance(state, str):
            raise TypeError(f"state must be text, not {state!r}")
        running = task_id is None or task_id == request.id
        task_id = task_id or request.id
        if task_id is None:
            raise ValueError("update_state outside of a task needs the task_id")
        if running and request.is_eager:
            return
        encoded = self.app.result_codec.encode(meta, what="meta")
        fence = request.__dict__.get("fence") if running else None
        self.app.store.update_state(task_id, state or "PENDING", encoded, fence)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Show that `done` of `total` is done: the state PROGRESS, with these three as its meta, and
        `AsyncResult.progress`.

        At most some ten a second are written: the first, the one in which `done` reaches `total`, and of the others
        those that come a tenth of a second after the last that was. Checks its arguments and does nothing more where
        the task was called as a function, or is run in place. TypeError: no number; ValueError: below zero, or NaN.
        """
        from litequeue.calling.progressing import progress

        progress(self, done, total, message)

    def track(self, iterable: Iterable[Any], total: float | None = None, message: str | None = None) -> Iterator[Any]:
        """The items of `iterable`, with a report of `progress` after each; `total` None: its length, if it has one."""
        from litequeue.calling.progressing import track

        return track(self, iterable, total, message)

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """Write an event of one's own into the journal, as from the worker that runs this task, with the task's id.

        Whether the worker writes events itself does not matter. EncodeError: JSON cannot say a field.
        """
        request = self.request
        with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(type_, uuid=request.id, **fields)

    def is_cancelled(self) -> bool:
        """Whether somebody revoked, or aborted, this task while it runs, so that it may as well stop.

        Reads the file. False where it was called as a function, or is run in place.
        """
        request = self.request
        if request.called_directly or request.is_eager:
            return False
        return bool(self.app.store.is_cancelled(request.id))

    def add_trail(self, result: Any) -> Any:
        """Count `result` among the children of the current request."""
        if self.trail:
            self.request.children.append(result)
        return result

    # Handlers: a task class may define them; what they return is ignored

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before the body runs; what it raises fails the task."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called when the body has returned."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the body has raised."""

    def on_retry(self, exc: BaseException | None, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task is to be retried."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after the others, however the attempt ended."""

    # Results

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult:
        """The result of the task `task_id`."""
        return self.app.AsyncResult(task_id, **kwargs)

    @property
    def backend(self) -> Any:
        """Where results are kept (`app.backend`)."""
        return self.app.backend

    # As a value

    @property
    def __name__(self) -> str:
        cls: type = type(self)
        return cls.__name__

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self._app!r}>"

    def __reduce__(self) -> Any:
        from litequeue.app.loading import task_by_name

        return task_by_name, (self.name, type(self).__module__)

    __class_getitem__ = classmethod(GenericAlias)  # type: ignore[var-annotated]


def _takes_error(cls: type[Task]) -> bool:
    """Whether the body is a plain function that can be called with (request, exception, traceback)."""
    run = next((vars(base)["run"] for base in cls.__mro__ if "run" in vars(base)), None)
    if not isinstance(run, staticmethod):
        return False
    code = getattr(getattr(cls, "_declared", run.__func__), "__code__", None)
    return code is not None and (code.co_argcount > 2 or bool(code.co_flags & 0x04))  # 0x04: it has *args
