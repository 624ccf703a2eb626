"""The app: settings, tasks, and the file."""

from __future__ import annotations

import functools
import os
import sys
import threading
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from litequeue import signals
from litequeue.app import current as local
from litequeue.app import declaring
from litequeue.app.builtins import BUILTIN, add_builtins
from litequeue.app.monitoring import Monitored
from litequeue.app.periodic import Periodic
from litequeue.app.registry import TaskRegistry, gen_task_name
from litequeue.calling.sending import send
from litequeue.config.settings import Settings
from litequeue.core import clock
from litequeue.exceptions import AlwaysEagerIgnored, ImproperlyConfigured
from litequeue.task import Task as BaseTask

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from litequeue.app.backend import Backend
    from litequeue.app.embedded import EmbeddedWorker
    from litequeue.app.wiring import Derived, OpenFile
    from litequeue.calling.eager import EagerExecutor
    from litequeue.canvas.graph import Graph
    from litequeue.canvas.signature import Signature
    from litequeue.control import Control
    from litequeue.core.payload import Codec
    from litequeue.core.routing import Router
    from litequeue.result.async_result import AsyncResult
    from litequeue.result.eager_result import EagerResult
    from litequeue.result.group_result import GroupResult
    from litequeue.result.result_set import ResultSet
    from litequeue.result.waiting import Watcher
    from litequeue.store.contract import Store
    from litequeue.worker.runtime import Runtime

__all__ = ("LiteQueue",)


class LiteQueue(Periodic, Monitored):
    """A queue in one SQLite file, and the tasks that are sent to it and run from it.

        app = LiteQueue("proj", broker="app.db")

        @app.task
        def add(x, y):
            return x + y

        add.delay(2, 2).get()

    `main` names the app; it takes the place of `__main__` in the names of tasks declared in the program itself.
    `broker` is the path of the file (`sqlite:///relative.db`, `sqlite:////absolute.db`), or `:memory:`; it is opened
    when it is first needed. `backend` is left out, the same file, or `disabled://`. `include` are modules that a worker
    imports.
    Every other keyword is a setting. `amqp`, `events`, `log`, `control`, `loader` and `fixups` are accepted from Celery
    and change nothing.
    """

    task_cls: type[BaseTask] | str = BaseTask
    registry_cls: type[TaskRegistry] = TaskRegistry

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: Any = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | os.PathLike[str] | None = None,
        include: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: type[BaseTask] | str | None = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **conf: Any,
    ) -> None:
        self.main = main
        self.set_as_current = set_as_current
        self.autofinalize = autofinalize
        self.namespace = namespace
        self.strict_typing = strict_typing
        self.finalized = False
        self.configured = False
        self.user_options: defaultdict[str, set[Any]] = defaultdict(set)
        self.steps: defaultdict[str, set[Any]] = defaultdict(set)
        if task_cls is not None:
            self.task_cls = task_cls

        self.on_configure = signals.Signal("app.on_configure")
        self.on_after_configure = signals.Signal("app.on_after_configure", ("source",))
        self.on_after_finalize = signals.Signal("app.on_after_finalize")
        self.on_after_fork = signals.Signal("app.on_after_fork")
        self.discoveries: list[Callable[[], list[str]]] = []
        """What `autodiscover_tasks` left for the start of a worker."""

        self.mutex = threading.RLock()
        self._pending: deque[local.PromiseProxy] = deque()
        self.shared: list[tuple[Callable[..., Any], dict[str, Any]]] = []
        """What was declared with `@app.task`, for the other apps of this process."""
        self.registry = tasks if isinstance(tasks, TaskRegistry) else self.registry_cls(tasks or {})
        """The tasks that have been made; `tasks` makes those that were declared first."""
        self.borrowed: set[str] = set()
        """The names of tasks that are there because every app, or another one, has them."""
        self.warned_names: set[str] = set()
        self._derived: Derived | None = None
        self._file: OpenFile | None = None

        given = {"broker_url": broker, "result_backend": _disabled_as_text(backend), "include": include}
        given = {name: value for name, value in given.items() if value is not None}
        self._conf = Settings({**(changes or {}), **given, **conf})
        self._config_source = config_source
        self._config_source_silent = config_source_silent
        self._conf.configure_with(self._configure)

        if set_as_current:
            self.set_current()
        self.on_init()
        local.register_app(self)

    def on_init(self) -> None:
        """Called when the app has been made; for subclasses."""

    # Current and default

    def set_current(self) -> None:
        """Make this the current app of this thread."""
        local.set_current_app(self)

    def set_default(self) -> None:
        """Make this the current app of every thread that has none of its own."""
        local.set_default_app(self)

    @property
    def current_task(self) -> Any:
        """The task that is running here, or None."""
        return local.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The task that a worker runs here, or None."""
        return local.get_current_worker_task()

    # Settings

    @property
    def conf(self) -> Settings:
        """The settings."""
        return self._conf

    @conf.setter
    def conf(self, values: Mapping[str, Any]) -> None:
        self._conf.load(values)

    def _configure(self) -> None:
        """Read the configuration source; called when a setting is first read."""
        self.on_configure.send(sender=self)
        source = self._config_source
        if isinstance(source, str):
            from litequeue.app.loading import import_settings

            source = import_settings(source, self._config_source_silent)
        if source is not None:
            self._conf.load(source, self.namespace)
        self.configured = True
        self.on_after_configure.send(sender=self, source=self._conf)

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> Settings | None:
        """Read the settings from a mapping, a module, an object, or what `pkg.mod` or `pkg.mod:attribute` names.

        That happens when a setting is first read, or at once with `force`; `silent` accepts a module that does not
        exist; with `namespace="CELERY"` only names that begin with `CELERY_` are read.
        """
        self._config_source, self._config_source_silent = obj, silent
        self.namespace = namespace or self.namespace
        self._conf.configure_with(self._configure)
        return self._conf.finalize() if force or self.configured else None

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False
    ) -> Settings | bool | None:
        """`config_from_object` with the module that an environment variable names."""
        name = os.environ.get(variable_name)
        if name:
            return self.config_from_object(name, silent=silent, force=force)
        if silent:
            return False
        raise ImproperlyConfigured(
            f"the environment variable {variable_name!r} is not set; set it to the module with the settings, as in "
            f"{variable_name}=proj.settings"
        )

    def add_defaults(self, fun: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Values to use where nothing else gives one; a function is called when a setting is first read."""
        self._conf.add_defaults(fun)

    def resolve(self, name: str) -> Any:
        """What a dotted name in a setting stands for."""
        from litequeue.app.loading import symbol_by_name

        return symbol_by_name(name)

    # Tasks

    def task(self, *args: Any, **opts: Any) -> Any:
        """Decorate a function, so that it is a task: `@app.task` or `@app.task(bind=True, max_retries=5)`.

        What is returned makes the task when it is first used, or when the app is finalised. Every option is an
        attribute of the task, but for `name`, `base` (the task class), `bind` (the function gets the task as its first
        argument), `shared` (other apps of this process get the task too), `lazy` (False: make it now) and `pydantic`.
        """
        if len(args) == 1 and callable(args[0]):
            return self._declare(args[0], **opts)
        if args:
            raise TypeError(f"@app.task takes options by name, and a function; it was given {args[0]!r}")
        return functools.partial(self._declare, **opts)

    def _declare(
        self, fun: Callable[..., Any], shared: bool = True, filter: Any = None, lazy: bool = True, **opts: Any
    ) -> Any:
        declaring.check_options(self, fun, opts)
        if shared:
            self.shared.append((fun, opts))
        task: Any
        if lazy and not self.finalized:
            task = local.PromiseProxy(lambda: declaring.task_from_function(self, fun, opts))
            self._pending.append(task)
        else:
            task = declaring.task_from_function(self, fun, opts)
        return filter(task) if filter else task

    def register_task(self, task: Any, **options: Any) -> BaseTask:
        """Add a task class, or an instance of one, to the app; `options` become its attributes."""
        return declaring.register_task(self, task, options)

    def gen_task_name(self, name: str, module: str | None) -> str:
        """The name of a task that was given none: `module.name`."""
        return gen_task_name(self.main, name, module)

    def finalize(self, auto: bool = False) -> None:
        """Make the tasks that were declared, and those that are shared by the other apps of this process."""
        if auto and not self.finalized and not self.autofinalize:
            raise RuntimeError("the app is not finalized, and autofinalize is off; call app.finalize() first")
        # Before the lock: reading the configuration may run code that uses the app, in whichever thread comes first.
        self._conf.finalize()
        with self.mutex:
            if self.finalized:
                return
            self.finalized = True
            while self._pending:
                local.maybe_evaluate(self._pending.popleft())
            # Its own tasks came first: a task that another app shares never takes the name of one of them.
            for share in local.finalize_callbacks():
                share(self)
            own = set(self.registry)
            for app in local.active_apps():
                if app is not self:
                    for fun, opts in list(app.shared):
                        declaring.task_from_function(self, fun, opts, warn=False)
            add_builtins(self)
            self.borrowed = self.registry.keys() - own
            for task in list(self.registry.values()):
                task.bind(self)
            self.on_after_finalize.send(sender=self)

    @property
    def tasks(self) -> TaskRegistry:
        """The tasks by name; the app is finalised."""
        if not self.finalized:
            self.finalize(auto=True)
        return self.registry

    @property
    def has_own_tasks(self) -> bool:
        """Whether it was given tasks, so that it can say of a name that it is wrong."""
        return any(not name.startswith(BUILTIN) for name in self.tasks.keys() - self.borrowed)

    @functools.cached_property
    def Task(self) -> type[BaseTask]:
        """The base class of this app's tasks."""
        base = self.resolve(self.task_cls) if isinstance(self.task_cls, str) else self.task_cls
        return type("Task", (base,), {"_app": self, "__module__": base.__module__, "__doc__": base.__doc__})

    def create_task_cls(self) -> type[BaseTask]:
        """A fresh base class for tasks of this app."""
        return type("Task", (self.Task,), {})

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> list[str] | None:
        """Import the module `related_name` of each of `packages` that has one.

        That happens when a worker starts, or at once with `force`. `related_name` None imports the packages themselves.
        ModuleNotFoundError: a package does not exist.
        """
        from litequeue.app.loading import autodiscover

        def discover() -> list[str]:
            return autodiscover((packages() if callable(packages) else packages) or (), related_name)

        if force:
            return discover()
        self.discoveries.append(discover)
        return None

    # Sending

    def send_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Enqueue a task by its name, whether or not this process has its code. Options as in `Task.apply_async`."""
        if self.conf.task_always_eager:
            warnings.warn(
                f"task_always_eager has no effect on send_task; {name} is enqueued", AlwaysEagerIgnored, stacklevel=2
            )
        task = self.registry.get(name)
        if task is not None:
            options = {**task.execution_options(), **options}
            options.setdefault("ignore_result", task.ignore_result)
        return self.enqueue_call(name, args, kwargs, {**options, "task_id": task_id}, task)

    def enqueue_call(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: BaseTask | None = None
    ) -> AsyncResult:
        """Enqueue one call, whose options are complete."""
        return send(self, name, args, kwargs, options, task)

    def enqueue_many(
        self, signatures: Iterable[Signature | Mapping[str, Any]], durability: str | None = None
    ) -> list[Any]:
        """Enqueue any number of calls, canvases among them, in one transaction, all or none; returns their results."""
        from litequeue.calling.bulk import enqueue_many

        return enqueue_many(self, signatures, durability)

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature that belongs to this app."""
        from litequeue.canvas.signature import signature

        kwargs["app"] = self
        return signature(*args, **kwargs)

    @property
    def customised_calls(self) -> bool:
        """Whether a subclass defines itself how tasks are sent, so that `Task.delay` must ask it."""
        return type(self).send_task is not LiteQueue.send_task or type(self).enqueue_call is not LiteQueue.enqueue_call

    # Results

    @functools.cached_property
    def AsyncResult(self) -> type[AsyncResult]:
        """The class of this app's results."""
        from litequeue.result.async_result import AsyncResult

        return type("AsyncResult", (AsyncResult,), {"app": self, "__module__": AsyncResult.__module__})

    @functools.cached_property
    def GroupResult(self) -> type[GroupResult]:
        """The class of the results of this app's groups."""
        from litequeue.result.group_result import GroupResult

        return type("GroupResult", (GroupResult,), {"app": self, "__module__": GroupResult.__module__})

    @functools.cached_property
    def ResultSet(self) -> type[ResultSet]:
        """The class of sets of this app's results."""
        from litequeue.result.result_set import ResultSet

        return type("ResultSet", (ResultSet,), {"app": self, "__module__": ResultSet.__module__})

    def graph(self, result: Any, limit: int = 1000) -> Graph:
        """The stored workflow that a result, or the task or group of an id, is part of: the `limit` nearest tasks.

        `print(app.graph(result))` draws it, with the state of each task.
        """
        from litequeue.canvas.graph import graph

        return graph(self, result, limit)

    @property
    def EagerResult(self) -> type[EagerResult]:
        """The class of the results of tasks that were run in place."""
        from litequeue.result.eager_result import EagerResult

        return EagerResult

    def require_results(self) -> None:
        """NotImplementedError where no results are kept."""
        if self.results_disabled:
            raise NotImplementedError(
                "result_backend is disabled, so there is no result to wait for; leave result_backend out to keep "
                "results in the queue's file"
            )

    @functools.cached_property
    def watcher(self) -> Watcher:
        """What tells of ends to `AsyncResult.then` and `await`."""
        from litequeue.result.waiting import Watcher

        return Watcher(self)

    @functools.cached_property
    def backend(self) -> Backend:
        """Results by task id, as code written for Celery's result backends reads them."""
        from litequeue.app.backend import Backend

        return Backend(self)

    # Workers

    @functools.cached_property
    def control(self) -> Control:
        """Steers the workers, and asks them: `app.control.ping()`, `app.control.inspect().active()`."""
        from litequeue.control import Control

        return Control(self)

    # What follows from the settings

    @property
    def derived(self) -> Derived:
        """Codecs, router and time zone, for the settings as they are."""
        derived = self._derived
        if derived is None or derived.revision != self._conf.revision:
            from litequeue.app.wiring import Derived

            self._conf.finalize()
            with self.mutex:
                derived = self._derived = Derived(self)
        return derived

    @property
    def codec(self) -> Codec:
        """Writes and reads arguments."""
        return self.derived.codec

    @property
    def result_codec(self) -> Codec:
        """Writes and reads results."""
        return self.derived.result_codec

    @property
    def router(self) -> Router:
        """Says to which queue a call goes."""
        return self.derived.router

    @property
    def results_disabled(self) -> bool:
        """Whether `result_backend` says that no results are kept."""
        return self.derived.results_disabled

    @property
    def timezone(self) -> tzinfo:
        """The time zone in which naive times are read."""
        return self.derived.timezone

    def uses_utc_timezone(self) -> bool:
        """Whether the app's time zone is UTC."""
        from litequeue.core.zones import utc

        return self.timezone is utc

    def now(self) -> datetime:
        """The time, aware, in the app's time zone."""
        return clock.to_datetime(clock.now()).astimezone(self.timezone)

    @property
    def store(self) -> Store:
        """The queue in its file, opened when first needed."""
        return self._open_file().store(self)

    def _open_file(self) -> OpenFile:
        if self._file is None:
            from litequeue.app.wiring import OpenFile

            with self.mutex:
                self._file = self._file or OpenFile()
        return self._file

    def close(self) -> None:
        """Close the file, and leave the apps that shared tasks belong to. The next use opens the file again."""
        if self._file is not None:
            self._file.close()
        local.deregister_app(self)

    def __enter__(self) -> LiteQueue:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Running

    def runtime(self) -> Runtime:
        """What a worker in this process runs with."""
        from litequeue.app.loading import runtime

        return runtime(self)

    @property
    def eager_executor(self) -> EagerExecutor:
        """Runs the tasks that are run in place."""
        derived = self.derived
        if derived.eager_executor is None:
            from litequeue.calling.eager import make_executor

            derived.eager_executor = make_executor(self)
        return derived.eager_executor

    def start_worker(self, **options: Any) -> EmbeddedWorker:
        """Start a worker inside this program; returns when it is ready: `with app.start_worker(pool="threads"): ...`.

        Options are those of `litequeue worker`: `pool` (`threads` by default, `solo`, or `prefork` for child
        processes), `concurrency`, `queues`, `hostname`, `burst`, `time_limit`, … Stopped by `stop()` or at the end of
        the block, warm: what runs is finished.
        """
        from litequeue.app.embedded import start_worker

        return start_worker(self, **options)

    def Worker(self, **options: Any) -> Any:
        """A worker that has not started, with the options of `start_worker`."""
        from litequeue.app.embedded import make_worker

        return make_worker(self, **options)

    WorkController = Worker

    def start(self, argv: list[str] | None = None) -> int:
        """Carry out a command line of `litequeue` for this app (None: that of the program); returns its exit code."""
        from litequeue.cli.main import run

        return run(argv, app=self)

    def worker_main(self, argv: list[str] | None = None) -> int:
        """`start`, for a command line that calls `worker`."""
        argv = sys.argv if argv is None else argv
        if "worker" not in argv:
            raise ValueError("argv must name the sub-command 'worker'; app.start() runs any command")
        return self.start(argv)

    def bugreport(self) -> str:
        """Versions, file and settings, as text for a report."""
        from litequeue.app.report import bugreport

        return bugreport(self)

    # As a value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}:{id(self):#x}>"

    def __reduce__(self) -> Any:
        from litequeue.app.loading import app_by_reference, reference_of

        return app_by_reference, (reference_of(self),)


def _disabled_as_text(backend: Any) -> Any:
    """`backend=False` as the text a setting may be."""
    return "disabled://" if backend is False else backend


def _after_fork() -> None:
    for app in local.active_apps():
        if app.on_after_fork.receivers:
            app.on_after_fork.send(sender=app)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
