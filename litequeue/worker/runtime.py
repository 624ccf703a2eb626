"""What a worker is given: tasks it can run, the file, and how to behave; it knows nothing of the app behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from litequeue.core.context import RequestStack
    from litequeue.core.payload import Codec
    from litequeue.store.contract import Store
    from litequeue.worker.watched import Address


class Runnable(Protocol):
    """A task as the executor sees it: `litequeue.task.Task` is one."""

    name: str
    acks_late: bool
    """False: at most once; its start is committed before it runs, and it is never run again."""
    acks_on_timeout: bool | None
    """False: it runs again after it was killed at its hard time limit."""
    reject_on_worker_lost: bool | None
    """False: it does not run again after a process died of it, unless `retry_on_worker_lost`."""
    retry_on_worker_lost: bool | None
    max_worker_deaths: int | None
    """How many processes may die of it before it is given up; None: as many as of any task."""
    log_lines: int
    """How many lines of what it logs are kept with it."""
    rate_limit: str | float | None
    """How many of it may start in a time, over all workers: `core.rates`."""
    ignore_result: bool
    store_errors_even_if_ignored: bool
    throws: tuple[type[BaseException], ...]
    """Expected errors: logged as INFO without a traceback."""
    request_stack: RequestStack
    takes_error: bool
    """As an error callback it is called with (request, exception, traceback), not with the id of the failed task."""
    overrides: frozenset[str]
    """Which of `before_start on_success on_failure on_retry after_return __call__` the task defines itself."""

    def run(self, *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None: ...
    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None: ...
    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None: ...
    def on_retry(self, exc: BaseException | None, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None: ...
    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None: ...


class Beat(Protocol):
    """A scheduler of entries that runs beside the pool (`litequeue.beat.Service`)."""

    def start(self, embedded_process: bool = False) -> None:
        """Fire what is due until `stop` is called; StoreLost: the file cannot be used any more."""

    def stop(self, wait: bool = False) -> None:
        """End it."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Everything a process that runs tasks needs."""

    app: Any
    """Only handed through to signals, tasks and commands; the worker itself calls nothing on it."""
    registry: Mapping[str, Runnable]
    store: Store
    codec: Codec
    """Reads arguments (`accept_content`)."""
    result_codec: Codec
    """Writes results (`result_serializer`, `result_compression`)."""
    success_retention: float | None
    """Seconds a result is kept after success; None: for ever."""
    failure_retention: float | None
    """Seconds a failure is kept; None: for ever."""
    max_deaths: int = 3
    """How many processes may die of a task that names no number of its own."""
    task_log_level: int = 20
    """The lowest level of the lines that are kept with tasks."""
    timezone: tzinfo = UTC
    """In which naive times are read."""
    make_beat: Callable[..., Beat] | None = None
    """Makes the scheduler of a worker, given its `hostname` and its process number as `parent`; None: there is none."""

    def death_limit(self, name: str) -> int:
        """How many processes may die of the task `name`."""
        task = self.registry.get(name)
        own = None if task is None else task.max_worker_deaths
        return self.max_deaths if own is None else own


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker behaves; picklable, so that a child started by spawn gets the same."""

    node: str
    """The node name, `celery@host`."""
    queues: tuple[str, ...]
    pool: str = "prefork"
    concurrency: int = 1
    autoscale: tuple[int, int] | None = None
    """The most and the fewest slots; None: as many as `concurrency`, always."""
    autoscale_keepalive: float = 30.0
    """Seconds for which a slot is idle before there is one fewer."""
    burst: bool = False
    """Stop when nothing is ready, running or due."""
    beat: bool = False
    """Fire the entries of the schedule too."""
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    """Kilobytes of resident memory, measured after each task."""
    time_limit: float | None = None
    time_limit_from: str = "the option time_limit"
    """Where that comes from, for who reads that it cannot be kept."""
    soft_time_limit: float | None = None
    watchdog: Address | None = None
    """The process that kills this one at a hard time limit (pool solo); None: there is none."""
    rate_limited: bool = True
    """Whether rate limits are kept."""
    start_method: str = "forkserver"
    loglevel: int = 30
    logfile: str | None = None
    send_events: bool = False
    remote_control: bool = True
    """Carry out commands."""
    heartbeat_interval: float = 10.0
    lease: float = 60.0
    """Seconds without a heartbeat after which a process of another host or pid namespace counts as dead."""
    prune_batch: int = 500
    """Rows deleted in one transaction."""
    prune_interval: float = 60.0
    poll_interval: float = 0.1
    """Seconds between the looks that find work whose wake-up was lost."""
    soft_shutdown_timeout: float = 0.0
    proc_alive_timeout: float = 30.0
    log: Mapping[str, Any] = field(default_factory=dict)
    """How logging is set up in a child: handed to `Loader.set_up_logging`."""


class Loader(Protocol):
    """Builds the runtime inside a process; picklable. The app side makes one (`litequeue.app.loading.AppLoader`)."""

    def load(self) -> Runtime:
        """Import the app and its tasks, and return the runtime. Called once in each process."""

    def set_up_logging(self, options: WorkerOptions) -> None:
        """Set up the log handlers of this process."""

    def preload(self) -> list[str]:
        """Modules worth importing in the fork server, so that children share their memory."""
