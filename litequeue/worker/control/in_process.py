"""Commands that only a running worker can carry out."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final

from litequeue.core import clock
from litequeue.worker.announcing import HEARTBEAT
from litequeue.worker.control.looking import AHEAD, BUILTIN
from litequeue.worker.control.panel import State, control_command, inspect_command, nok, ok, refuse

logger = logging.getLogger("litequeue.worker")

_POOL: Final = "Pool"
_QUEUES: Final = "Queues"
_WORKER: Final = "Worker"
_COUNTED: Final = 100_000
"""The newest tasks of the file, in which those that a worker has started are counted."""
DEFAULT_ITEMS: Final = ("exchange", "routing_key", "rate_limit")
"""The attributes of tasks that `registered` shows where nobody says which."""


@inspect_command(default_timeout=0.2)
def ping(state: State, **_: Any) -> Any:
    """Ping worker(s)."""
    return ok("pong")


# The pool


@control_command(args=[("n", int)], signature="[N=1]", group=_POOL)
def pool_grow(state: State, n: int = 1, **_: Any) -> Any:
    """Grow pool by n processes/threads."""
    return _resize(state, "pool_grow", _count(n), "pool will grow")


@control_command(args=[("n", int)], signature="[N=1]", group=_POOL)
def pool_shrink(state: State, n: int = 1, **_: Any) -> Any:
    """Shrink pool by n processes/threads."""
    return _resize(state, "pool_shrink", -_count(n), "pool will shrink")


def _resize(state: State, command: str, by: int, answer: str) -> Any:
    worker = state.worker
    if worker.autoscale:
        return nok(f"{command} is not supported with autoscale. Adjust autoscale range instead.")
    if worker.concurrency + by < 1:
        refuse(ValueError(f"the pool has {worker.concurrency} slots, and one must be left"))
    before = worker.concurrency
    worker.resize(before + by)
    logger.info("Pool changed from %d to %d slots by remote.", before, before + by)
    return ok(answer)


def _count(n: Any, name: str = "n", least: int = 1) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or n < least:
        refuse(ValueError(f"{name}={n!r}: write a whole number, {least} or more"))
    return n


@control_command(group=_POOL)
def pool_restart(
    state: State, modules: list[str] | None = None, reload: bool = False, reloader: Any = None, **_: Any
) -> Any:
    """Restart execution pool."""
    if not state.app.conf.worker_pool_restarts:
        refuse(ValueError("Pool restarts not enabled"))
    for name in modules or ():
        _import(name, reload)
    state.worker.restart(reload)
    return ok("reload started")


def _import(name: str, reload: bool) -> None:
    """Import a module in the worker; with `reload`, again."""
    import importlib

    module = sys.modules.get(name)
    if module is None:
        importlib.import_module(name)
    elif reload:
        importlib.reload(module)


@control_command(args=[("max", int), ("min", int)], signature="[max [min]]", group=_POOL)
def autoscale(state: State, max: int | None = None, min: int | None = None, **_: Any) -> Any:
    """Modify autoscale settings."""
    now = state.worker.autoscale
    if now is None and (max is None or min is None):
        refuse(ValueError("Autoscale not enabled: give max and min"))
    most, least = (now[0] if max is None else max), (now[1] if min is None else min)
    most, least = _count(most, "max"), _count(least, "min", least=0)
    if least > most:
        refuse(ValueError(f"max={most} min={least}: max comes first, and is not smaller than min"))
    state.worker.set_autoscale(most, least)
    logger.info("Autoscale set to max=%d min=%d by remote.", most, least)
    return ok(f"autoscale now max={most} min={least}")


# Queues


@control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
    group=_QUEUES,
)
def add_consumer(state: State, queue: str, **_: Any) -> Any:
    """Tell worker(s) to consume from task queue by name."""
    state.worker.add_queues([state.app.router.known(queue)])
    logger.info("Queue %s added by remote.", queue)
    return ok(f"add consumer {queue}")


@control_command(args=[("queue", str)], signature="<queue>", group=_QUEUES)
def cancel_consumer(state: State, queue: str, **_: Any) -> Any:
    """Tell worker(s) to stop consuming from task queue by name."""
    state.worker.cancel_queues([queue])
    logger.info("Queue %s cancelled by remote.", queue)
    return ok(f"no longer consuming from {queue}")


# The worker


@control_command(group=_WORKER)
def shutdown(state: State, msg: str = "Got shutdown from remote", **_: Any) -> Any:
    """Shutdown worker(s)."""
    logger.warning(msg)
    state.worker.stop(warm=True, timeout=0)  # this thread is one of those that it waits for
    return ok("shutting down")


@control_command(group=_WORKER)
def heartbeat(state: State, **_: Any) -> None:
    """Tell worker(s) to renew their entry in the file at once."""
    logger.debug("Heartbeat requested by remote.")
    (node,) = state.nodes
    own = [record.id for record in state.store.processes() if node.id in (record.id, record.parent)]
    state.store.heartbeat(own)
    state.worker.announcer.say(HEARTBEAT)


@control_command(group=_WORKER)
def enable_events(state: State, **_: Any) -> Any:
    """Tell worker(s) to send task-related events."""
    return ok(_switch_events(state, True))


@control_command(group=_WORKER)
def disable_events(state: State, **_: Any) -> Any:
    """Tell worker(s) to stop sending task-related events."""
    return ok(_switch_events(state, False))


def _switch_events(state: State, on: bool) -> str:
    text = "enabled" if on else "disabled"
    if not state.worker.announcer.switch(on):
        return f"task events already {text}"
    logger.info("Events of group {task} %s by remote.", text)
    return f"task events {text}"


@control_command(visible=False)
def election(state: State, id: str, topic: str, action: Any = None, **_: Any) -> None:
    """Hold election."""  # there is nothing to elect: what one worker is to do, one transaction decides


# Looking in


@inspect_command
def report(state: State, **_: Any) -> Any:
    """Information about the installation for bug reports."""
    return ok(state.app.bugreport())


@inspect_command(alias="dump_conf", signature="[include_defaults=False]", args=[("with_defaults", bool)])
def conf(state: State, with_defaults: bool = False, **_: Any) -> Any:
    """List configuration."""
    return _plain({"include": list(state.app.conf.include), **state.app.conf.table(with_defaults=with_defaults)})


def _plain(value: Any) -> Any:
    """A value as JSON can say it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)


@inspect_command
def stats(state: State, **_: Any) -> Any:
    """Request worker statistics/information."""
    (node,) = state.nodes
    worker, store = state.worker, state.store
    children = [record.identity.pid for record in store.processes() if record.parent == node.id]
    pids = sorted({pid for pid in children if pid != os.getpid()}) or [os.getpid()]
    options = worker.options
    return {
        "total": store.started_by(node.worker, node.started_at, _COUNTED),
        "pid": os.getpid(),
        "clock": str(store.last_command()),
        "uptime": max(round(clock.now() - node.started_at), 1),
        "pool": {
            "implementation": f"{type(worker.pool).__module__}:{type(worker.pool).__qualname__}",
            "max-concurrency": worker.concurrency,
            "processes": pids,
            "max-tasks-per-child": options.max_tasks_per_child or "N/A",
            "put-guarded-by-semaphore": False,
            "timeouts": [options.soft_time_limit or 0, options.time_limit or 0],
        },
        "broker": {"transport": "sqlite", "hostname": store.path, "transport_options": {}},
        "prefetch_count": AHEAD * worker.concurrency,
        "rusage": _usage(),
    }


def _usage() -> Any:
    try:
        import resource
    except ImportError:  # Windows
        return "N/A"
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {name.removeprefix("ru_"): getattr(usage, name) for name in dir(usage) if name.startswith("ru_")}


@inspect_command(alias="dump_tasks", variadic="taskinfoitems", signature="[attr1 [attr2 [... [attrN]]]]")
def registered(state: State, taskinfoitems: Any = None, builtins: bool = False, **_: Any) -> list[str]:
    """List of registered tasks."""
    items = [item for item in taskinfoitems or DEFAULT_ITEMS if isinstance(item, str) and not item.startswith("_")]
    tasks = state.app.tasks
    names = sorted(name for name in tasks if builtins or not name.startswith(BUILTIN))
    rates = {limits.name: limits.effective_rate for limits in state.store.limits()}
    return [_with_items(tasks[name], items, rates) for name in names]


def _with_items(task: Any, items: list[str], rates: dict[str, str | None]) -> str:
    values = {item: getattr(task, item, None) for item in items}
    if "rate_limit" in values and task.name in rates:  # set at run time, it comes first
        values["rate_limit"] = rates[task.name]
    fields = [f"{item}={value}" for item, value in values.items() if value is not None]
    return f"{task.name} [{' '.join(fields)}]" if fields else str(task.name)


@inspect_command
def memsample(state: State, **_: Any) -> str:
    """Sample current RSS memory usage."""
    import psutil

    amount = psutil.Process().memory_info().rss
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if amount >= size:
            return f"{amount / size:.5g}{unit}"
    return f"{amount}b"


@inspect_command(name="clock")
def clock_value(state: State, **_: Any) -> Any:
    """Get current logical clock value."""
    return {"clock": state.store.last_command()}


@inspect_command(visible=False, args=[("from_node", str)], signature="<from_node>")
def hello(state: State, from_node: str, revoked: Any = None, **_: Any) -> Any:
    """Request mingle sync-data."""
    if from_node == state.hostname:
        return None
    return {"revoked": state.store.revoked(_COUNTED), "clock": state.store.last_command()}
