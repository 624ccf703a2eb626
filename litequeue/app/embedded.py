"""A worker inside a program: `app.start_worker()`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from litequeue import signals
from litequeue.app.loading import AppLoader
from litequeue.core.routing import declared_queues, queue_name
from litequeue.exceptions import ImproperlyConfigured
from litequeue.utils.cores import available_cores
from litequeue.utils.log import log_options, mlevel
from litequeue.utils.nodenames import anon_nodename, host_format
from litequeue.worker.runtime import WorkerOptions
from litequeue.worker.supervisor import Worker

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

START_TIMEOUT = 60.0
"""Seconds a worker may take until every slot is ready."""

FROM_CELERY = frozenset(
    {
        "heartbeat",
        "optimization",
        "pidfile",
        "prefetch_multiplier",
        "purge",
        "ready_callback",
        "statedb",
    }
    | {"scheduler", "schedule_filename", "without_gossip", "without_heartbeat", "without_mingle"}
)
"""Options of Celery's worker that change nothing here."""


class EmbeddedWorker:
    """A worker that runs in this program until `stop()`, or the end of the `with` block."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    @property
    def hostname(self) -> str:
        """The node name."""
        return self.worker.options.node

    def start(self, timeout: float = START_TIMEOUT) -> EmbeddedWorker:
        """Start, and return when every slot is ready. ImproperlyConfigured: it is not within `timeout` seconds.

        A worker that ends by itself, as `burst` asks, may have ended by then.
        """
        self.worker.start()
        while not self.worker.ready.wait(min(timeout, 0.1)):
            timeout -= 0.1
            if self.worker.stopped.is_set():
                if self.worker.ended_well:  # with `burst`, there was nothing to do
                    return self
                raise ImproperlyConfigured(f"worker {self.hostname} stopped before it was ready; the log says why")
            if timeout <= 0:
                self.worker.stop(warm=False, timeout=0)
                raise ImproperlyConfigured(f"worker {self.hostname} was not ready within its time; the log says why")
        return self

    def stop(self, warm: bool = True, timeout: float | None = None) -> bool:
        """Finish what runs (`warm`), or give everything back; True when it has ended within `timeout` seconds."""
        return self.worker.stop(warm=warm, timeout=timeout)

    def __enter__(self) -> EmbeddedWorker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<EmbeddedWorker {self.hostname}>"


def start_worker(app: LiteQueue, **options: Any) -> EmbeddedWorker:
    """Start a worker for `app` in this program; returns when it is ready."""
    return EmbeddedWorker(make_worker(app, **options)).start()


def make_worker(app: LiteQueue, **options: Any) -> Worker:
    """A worker for `app` that has not started. ImproperlyConfigured: child processes could not import the app."""
    loader = AppLoader(app)
    node = _node(options.pop("hostname", None))
    announce(app, node, options)
    chosen = worker_options(app, hostname=node, **options)
    if chosen.pool == "prefork":
        loader.__getstate__()  # says now what would go wrong in each child
    runtime = loader.load()
    check_schedule(app, chosen)
    return Worker(runtime, chosen, loader)


def announce(app: LiteQueue, node: str, options: Mapping[str, Any]) -> None:
    """Let who listens to `celeryd_init` change `app.conf` for the worker `node`, before its options are read from it.

    As in Celery, the `instance` that is handed over has no more than `app` and `hostname`.
    """
    if signals.celeryd_init.receivers:
        instance = SimpleNamespace(app=app, hostname=node)
        signals.celeryd_init.send(sender=node, instance=instance, conf=app.conf, options=dict(options))


def check_schedule(app: LiteQueue, options: WorkerOptions) -> None:
    """ImproperlyConfigured: the worker is to fire entries, and the app's code declares one that cannot be."""
    if options.beat:
        app.schedules.declared()


def worker_options(
    app: LiteQueue,
    *,
    pool: str = "threads",
    concurrency: int | str | None = None,
    autoscale: str | Sequence[int] | None = None,
    hostname: str | None = None,
    queues: str | Iterable[Any] | None = None,
    exclude_queues: str | Iterable[Any] | None = None,
    burst: bool = False,
    beat: bool | None = None,
    loglevel: int | str | None = None,
    logfile: str | None = None,
    max_tasks_per_child: int | None = None,
    max_memory_per_child: int | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    pool_start_method: str | None = None,
    task_events: bool | None = None,
    **ignored: Any,
) -> WorkerOptions:
    """The options of `litequeue worker`, filled up from the settings; those in FROM_CELERY change nothing.

    `autoscale`: the most and the fewest slots, as a pair or as "max,min"; then `concurrency` has no meaning.
    `beat`: fire the entries of the schedule too; None: unless it is a burst, or the app has a scheduler of its own.
    """
    unknown = ignored.keys() - FROM_CELERY
    if unknown:
        raise TypeError(f"a worker has no option {min(unknown)!r}")
    conf = app.conf
    _check_times(time_limit or conf.task_time_limit, soft_time_limit or conf.task_soft_time_limit)
    pool, node = "prefork" if pool == "processes" else pool, _node(hostname)
    return WorkerOptions(
        node=node,
        queues=_queues(app, node, queues, exclude_queues),
        pool=pool,
        concurrency=1 if pool == "solo" else _slots(concurrency or conf.worker_concurrency),
        autoscale=bounds(autoscale),
        autoscale_keepalive=float(os.environ.get("AUTOSCALE_KEEPALIVE") or conf.worker_autoscale_keepalive),
        burst=burst,
        beat=_fires_entries(app, burst) if beat is None else beat,
        max_tasks_per_child=max_tasks_per_child or conf.worker_max_tasks_per_child,
        max_memory_per_child=max_memory_per_child or conf.worker_max_memory_per_child,
        time_limit=time_limit or conf.task_time_limit,
        time_limit_from="the option time_limit" if time_limit else "the setting task_time_limit",
        soft_time_limit=soft_time_limit or conf.task_soft_time_limit,
        start_method=pool_start_method or conf.worker_pool_start_method,
        loglevel=mlevel(loglevel) or logging.getLogger().getEffectiveLevel(),
        logfile=logfile,
        heartbeat_interval=conf.worker_heartbeat_interval,
        lease=conf.worker_lease,
        prune_batch=conf.prune_batch,
        prune_interval=conf.prune_interval,
        poll_interval=conf.poll_interval,
        soft_shutdown_timeout=conf.worker_soft_shutdown_timeout,
        proc_alive_timeout=conf.worker_proc_alive_timeout,
        remote_control=conf.worker_enable_remote_control,
        rate_limited=not conf.worker_disable_rate_limits,
        send_events=bool(conf.worker_send_task_events if task_events is None else task_events),
        log=log_options(conf),
    )


def _node(hostname: str | None) -> str:
    return host_format(hostname) if hostname else anon_nodename()


def bounds(autoscale: str | Sequence[int] | None) -> tuple[int, int] | None:
    """(most, fewest) slots of `max,min`, in either order; one number alone is the most.

    ImproperlyConfigured: it is something else.
    """
    if autoscale is None:
        return None
    parts = autoscale.split(",") if isinstance(autoscale, str) else autoscale
    try:
        numbers = sorted((int(part) for part in parts), reverse=True)
    except (TypeError, ValueError):
        numbers = []
    if not 1 <= len(numbers) <= 2 or numbers[0] < 1 or numbers[-1] < 0:
        raise ImproperlyConfigured(
            f"autoscale={autoscale!r}: give the most and the fewest slots, as in (10, 2) or '10,2'; the first above 0."
        )
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def _fires_entries(app: LiteQueue, burst: bool) -> bool:
    from litequeue.beat.in_the_file import PersistentScheduler
    from litequeue.beat.service import scheduler_class

    return not burst and issubclass(scheduler_class(app), PersistentScheduler)


def _slots(concurrency: int | str | None) -> int:
    if concurrency in (None, 0, "auto"):
        return available_cores()
    try:
        slots = int(concurrency)
    except (TypeError, ValueError):
        slots = 0
    if slots < 1:
        raise ImproperlyConfigured(f"concurrency={concurrency!r}: give a whole number, one or more, or 'auto'.")
    return slots


def _check_times(hard: float | None, soft: float | None) -> None:
    from litequeue.calling.options import time_limits_of

    try:
        time_limits_of({"time_limit": hard, "soft_time_limit": soft})
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"The worker's time limits cannot be: {error}.") from None


def _queues(
    app: LiteQueue, node: str, chosen: str | Iterable[Any] | None, excluded: str | Iterable[Any] | None
) -> tuple[str, ...]:
    declared = tuple(declared_queues(app.conf.task_queues)) or (app.conf.task_default_queue,)
    left_out = _names(excluded)
    known = tuple(app.router.known(name) for name in _names(chosen) or declared if name not in left_out)
    return (*known, f"{node}.dq") if app.conf.worker_direct else known


def _names(queues: str | Iterable[Any] | None) -> list[str]:
    if isinstance(queues, str):
        return [name.strip() for name in queues.split(",") if name.strip()]
    return [queue_name(queue) for queue in queues or ()]
