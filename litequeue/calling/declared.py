"""What a task may declare: the options of `@app.task` that are attributes of it, with their defaults."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

FROM_SETTINGS = (
    ("serializer", "task_serializer"),
    ("rate_limit", "task_default_rate_limit"),
    ("priority", "task_default_priority"),
    ("time_limit", "task_time_limit"),
    ("soft_time_limit", "task_soft_time_limit"),
    ("track_started", "task_track_started"),
    ("acks_late", "task_acks_late"),
    ("acks_on_failure_or_timeout", "task_acks_on_failure_or_timeout"),
    ("acks_on_failure", "task_acks_on_failure"),
    ("acks_on_timeout", "task_acks_on_timeout"),
    ("reject_on_worker_lost", "task_reject_on_worker_lost"),
    ("retry_on_worker_lost", "task_retry_on_worker_lost"),
    ("ignore_result", "task_ignore_result"),
    ("store_eager_result", "task_store_eager_result"),
    ("store_errors_even_if_ignored", "task_store_errors_even_if_ignored"),
    ("log_lines", "task_log_lines"),
)
"""Attributes that are None until the task is bound to an app, and the settings they take their value from."""


class Declared:
    """The attributes of a task that say how it is sent, run and retried."""

    # Retries

    max_retries: int | None = 3
    """None: without end."""
    default_retry_delay: float = 180
    """Seconds."""
    override_max_retries: int | None = None
    """Set on the task, it takes the place of `max_retries` in the retries that `autoretry_for` makes."""
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    """Wait 1, 2, 4, … seconds, or that many times this number; False: `default_retry_delay`."""
    retry_backoff_max: float = 600
    """Seconds."""
    retry_jitter: bool = True
    throws: tuple[type[BaseException], ...] = ()
    """Errors that are expected: logged as INFO and without a traceback."""

    # How it is run, and what is kept of it

    acks_late: bool = None  # type: ignore[assignment]
    """False: at most once. It is never run again, also not when the worker dies."""
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    max_worker_deaths: int | None = None
    """How many processes may die of one call before it is FAILURE; None: as the setting of that name says."""
    track_started: bool | None = None
    ignore_result: bool = None  # type: ignore[assignment]
    store_errors_even_if_ignored: bool = None  # type: ignore[assignment]
    store_eager_result: bool | None = None
    time_limit: float | None = None
    """Seconds until the process that runs it is killed."""
    soft_time_limit: float | None = None
    """Seconds until SoftTimeLimitExceeded is raised in it."""
    rate_limit: str | float | None = None
    log_lines: int = None  # type: ignore[assignment]
    """How many lines of what it logs are kept with it."""
    resultrepr_maxsize: int = 1024
    send_events: bool = True
    trail: bool = True

    # How it is sent

    serializer: str | None = None
    compression: str | None = None
    priority: int | None = None
    expires: float | datetime | None = None
    queue: str | None = None
    routing_key: str | None = None
    exchange: Any = None
    delivery_mode: Any = None
    immediate: Any = None
    mandatory: Any = None

    # What it shares with others

    concurrency_key: str | Callable[..., str | None] | None = None
    """Of the tasks with this key only `concurrency_limit` run at once; a callable gets the arguments of the call."""
    concurrency_limit: int | None = None
    """1 where there is a key."""
    unique: bool | None = None
    """No call like another one that has not ended: same task, same arguments."""
    unique_key: str | Callable[..., str | None] | None = None
    """Only one task has this key until it has ended; a callable gets the arguments of the call."""
    unique_window: float | timedelta | None = None
    """Seconds from the call for which the key is held, also after success."""
    unique_states: Collection[str] | None = None
    """In which states it is held, in place of those."""
    on_conflict: str | None = None
    """What becomes of a call whose key is held: `existing` (None), `replace`, `raise`."""

    @property
    def has_keys(self) -> bool:
        """Whether its calls have a key, or may have one."""
        return self.concurrency_key is not None or self.unique_key is not None or bool(self.unique)
