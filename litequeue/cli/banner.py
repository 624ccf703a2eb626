"""What a worker says of itself when it starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import click

from litequeue.core.state import READY, SCHEDULED
from litequeue.exceptions import ImproperlyConfigured
from litequeue.utils.words import counted
from litequeue.worker.runtime import Runtime, WorkerOptions

_OWN_TASKS = ("litequeue.", "celery.")
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def banner(app: Any, runtime: Runtime, options: WorkerOptions) -> str:
    """The start banner: who, which app, which file, what it will run; at INFO and below also the task names."""
    from litequeue import __version__

    rows = [
        ("app", _app(app)),
        ("file", _file(runtime)),
        ("results", _results(runtime)),
        ("pool", _pool(options)),
        ("queues", _queues(runtime, options)),
    ]
    if options.logfile:
        rows.append(("log", f"{options.logfile} ({logging.getLevelName(options.loglevel)})"))
    lines = [click.style(f" litequeue {__version__}", bold=True) + "  " + click.style(options.node, fg="cyan"), ""]
    lines += [f"  {click.style(f'{title:8}', fg='green')} {text}" for title, text in rows]
    if options.loglevel <= logging.INFO:
        lines += ["", *_tasks(runtime.registry, options.loglevel)]
    return "\n".join(["", *lines, ""])


def _app(app: Any) -> str:
    """The app's name, and where it is found."""
    from litequeue.app.loading import reference_of

    name = app.main or type(app).__name__
    try:
        return f"{name} ({reference_of(app)})"
    except ImproperlyConfigured:  # made inside a function
        return str(name)


def _file(runtime: Runtime) -> str:
    info = runtime.store.connection_info()
    return f"{runtime.store.path} (durability {info.get('durability', 'unknown')})"


def _results(runtime: Runtime) -> str:
    success, failure = _kept(runtime.success_retention), _kept(runtime.failure_retention)
    return f"kept {success}" if success == failure else f"kept {success}, failures {failure}"


def _kept(seconds: float | None) -> str:
    """How long, in the largest unit that leaves a whole number."""
    if seconds is None:
        return "for ever"
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"for {counted(int(seconds // size), unit)}"
    return f"for {seconds:g} seconds"


def _pool(options: WorkerOptions) -> str:
    unit = {"prefork": "process", "threads": "thread", "asyncio": "slot"}.get(options.pool)
    if unit is None:
        return options.pool
    most, least = options.autoscale or (options.concurrency, options.concurrency)
    plural = "" if most == 1 else "es" if unit == "process" else "s"
    return f"{options.pool}, {most if most == least else f'{least} to {most}'} {unit}{plural}"


def _queues(runtime: Runtime, options: WorkerOptions) -> str:
    counts = runtime.store.counts()
    return ", ".join(f"{queue} ({_waiting(counts.get(queue, {}))})" for queue in options.queues)


def _waiting(states: Mapping[str, int]) -> str:
    ready, later = states.get(READY, 0), states.get(SCHEDULED, 0)
    return f"{ready} waiting, {later} for later" if later else f"{ready} waiting"


def _tasks(names: Iterable[str], loglevel: int) -> list[str]:
    shown = sorted(name for name in names if loglevel <= logging.DEBUG or not name.startswith(_OWN_TASKS))
    head = click.style("[tasks]", fg="green")
    return [f"  {head}", *(f"    . {name}" for name in shown)] if shown else [f"  {head} none is registered"]
