"""Every setting once: name, default, unit, one sentence, Celery's older spelling.

`docs/settings.md` is made from this table, and `litequeue.config.Settings` refuses whatever is not in it. Four kinds:

- `needed`, `nice`: Celery's names with Celery's meaning;
- `own`: names that only litequeue has;
- `broker`: Celery's names that mean nothing without a message broker (`litequeue.config.without_broker`).

`feature` names the part of litequeue that reads the setting where that part is optional or comes later than the rest:
until it is there, the setting is accepted and has no effect.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, NamedTuple

from litequeue.config.without_broker import WITHOUT_BROKER
from litequeue.core.log_formats import PROCESS_LOG_FORMAT, TASK_LOG_FORMAT


class Setting(NamedTuple):
    """One setting as it is declared."""

    name: str
    default: Any
    unit: str
    """What the number counts (seconds, bytes, rows), or empty."""
    sentence: str
    """What it means; for kind `broker`, why it has no effect."""
    old: tuple[str, ...] = ()
    """Names that mean the same, as Celery 3 spelled them."""
    kind: str = "needed"
    check: str = "any"
    """How a value is checked: a name in `litequeue.config.checks.CHECKS`, or `choice:a,b`."""
    feature: str = ""


_OLD_PREFIX = {
    "beat": "CELERYBEAT",
    "worker": "CELERYD",
    "task": "CELERY",
    "result": "CELERY_RESULT",
    "cache": "CELERY_CACHE",
    "couchbase": "CELERY_COUCHBASE",
    "arangodb": "CELERY_ARANGODB",
    "mongodb": "CELERY_MONGODB",
    "event": "CELERY_EVENT",
    "redis": "CELERY_REDIS",
    "elasticsearch": "CELERY_ELASTICSEARCH",
    "security": "CELERY_SECURITY",
}

_OLD_NAMES = {
    "accept_content": "CELERY_ACCEPT_CONTENT",
    "imports": "CELERY_IMPORTS",
    "include": "CELERY_INCLUDE",
    "timezone": "CELERY_TIMEZONE",
    "result_cache_max": "CELERY_MAX_CACHED_RESULTS",
    "result_expires": "CELERY_TASK_RESULT_EXPIRES",
    "result_accept_content": "RESULT_ACCEPT_CONTENT",
    "database_url": "CELERY_RESULT_DBURI",
    "database_engine_options": "CELERY_RESULT_ENGINE_OPTIONS",
    "database_short_lived_sessions": "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    "database_table_names": "CELERY_RESULT_DB_TABLENAMES",
    "task_compression": "CELERY_MESSAGE_COMPRESSION",
    "task_eager_propagates": "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
    "task_protocol": "CELERY_TASK_PROTOCOL",
    "task_publish_retry": "CELERY_TASK_PUBLISH_RETRY",
    "task_publish_retry_policy": "CELERY_TASK_PUBLISH_RETRY_POLICY",
    "task_send_sent_event": "CELERY_SEND_TASK_SENT_EVENT",
    "task_serializer": "CELERY_TASK_SERIALIZER",
    "task_soft_time_limit": "CELERYD_TASK_SOFT_TIME_LIMIT",
    "task_time_limit": "CELERYD_TASK_TIME_LIMIT",
    "worker_direct": "CELERY_WORKER_DIRECT",
    "worker_disable_rate_limits": "CELERY_DISABLE_RATE_LIMITS",
    "worker_enable_remote_control": "CELERY_ENABLE_REMOTE_CONTROL",
    "worker_lost_wait": "CELERYD_WORKER_LOST_WAIT",
    "worker_redirect_stdouts": "CELERY_REDIRECT_STDOUTS",
    "worker_redirect_stdouts_level": "CELERY_REDIRECT_STDOUTS_LEVEL",
    "worker_send_task_events": "CELERY_SEND_EVENTS",
}


def celery_old_name(name: str) -> str:
    """How Celery 3 spelled the setting `name`."""
    if name in _OLD_NAMES:
        return _OLD_NAMES[name]
    namespace, _, rest = name.partition("_")
    prefix = _OLD_PREFIX.get(namespace)
    return f"{prefix}_{rest}".upper() if prefix and rest else name.upper()


SETTINGS: dict[str, Setting] = {}
"""The table, by name, in the order of the documentation."""

SECTIONS: dict[str, list[str]] = {}
"""The names under the headings of the documentation."""


def _section(title: str) -> None:
    SECTIONS[title] = []


def _declare(kind: str, name: str, default: Any, check: str, unit: str, sentence: str, feature: str = "") -> None:
    old = () if kind == "own" else (celery_old_name(name),)
    SETTINGS[name] = Setting(name, default, unit, sentence, old, kind, check, feature)
    if kind != "broker":
        SECTIONS[next(reversed(SECTIONS))].append(name)


def _needed(name: str, default: Any, check: str, unit: str, sentence: str, feature: str = "") -> None:
    _declare("needed", name, default, check, unit, sentence, feature)


def _nice(name: str, default: Any, check: str, unit: str, sentence: str, feature: str = "") -> None:
    _declare("nice", name, default, check, unit, sentence, feature)


def _own(name: str, default: Any, check: str, unit: str, sentence: str, feature: str = "") -> None:
    _declare("own", name, default, check, unit, sentence, feature)


_section("The file")

_needed(
    "broker_url",
    None,
    "path",
    "",
    "The queue's file: a path, `sqlite:///relative.db`, `sqlite:////absolute.db`, or `:memory:` for eager and "
    "in-process use. The environment's `LITEQUEUE_BROKER_URL` comes before it.",
)
_needed(
    "result_backend",
    None,
    "path",
    "",
    "Where results are kept: None or the file of `broker_url` keeps them beside the tasks; `disabled://` keeps none. "
    "The environment's `LITEQUEUE_RESULT_BACKEND` comes before it.",
)
_own(
    "durability",
    "full",
    "choice:full,normal",
    "",
    "What a commit survives: `full` survives a power cut, `normal` is faster and survives the death of any process but "
    "not a power cut. One call may choose otherwise with `durability=`.",
)
_own(
    "busy_timeout",
    30.0,
    "positive",
    "seconds",
    "How long a write waits for another process before it is `StoreBusy`.",
)
_own(
    "max_payload_bytes",
    16 * 1024 * 1024,
    "limit",
    "bytes",
    "The largest encoded call or result; a larger one is `PayloadTooLarge`. None: no limit.",
)
_own(
    "poll_interval",
    0.1,
    "positive",
    "seconds",
    "The longest pause between two looks at the file where no wake-up arrives, as from another container.",
)
_own(
    "prune_interval",
    60.0,
    "positive",
    "seconds",
    "How often a worker removes results whose time is over.",
)
_own(
    "prune_batch",
    500,
    "count",
    "rows",
    "How many results one transaction removes, so that nobody waits long behind it.",
)
_own(
    "allow_network_file_system",
    False,
    "bool",
    "",
    "Open a file on a network file system, where locks cannot be relied on, instead of refusing it.",
)

_section("What crosses the file")

_needed(
    "accept_content",
    ("json",),
    "names",
    "",
    "The serializers this process reads and writes; anything else is refused with `ContentDisallowed`.",
)
_needed(
    "result_accept_content",
    None,
    "names",
    "",
    "The serializers allowed for results; None: as `accept_content`.",
)
_needed(
    "task_serializer",
    "json",
    "text",
    "",
    "How arguments are encoded: `json`, `pickle`, `yaml`, `msgpack` or one you registered.",
)
_needed("result_serializer", "json", "text", "", "How results are encoded.")
_nice("task_compression", None, "text", "", "How arguments are compressed: `zlib`, `gzip`, `bz2`, `lzma`, or None.")
_nice("result_compression", None, "text", "", "How results are compressed; None: not at all.")
_nice(
    "task_repr_maxlevels",
    3,
    "count",
    "levels",
    "How deep Celery shows nested arguments; litequeue shortens what it shows by length.",
)

_section("Time")

_needed(
    "enable_utc",
    True,
    "bool",
    "",
    "Times are shown and counted in UTC; off: in `timezone`, or in local time where that is None.",
)
_needed(
    "timezone",
    None,
    "timezone",
    "",
    "The time zone, by its IANA name, in which `crontab` and naive times are read. None: UTC, or local time with "
    "`enable_utc` off.",
)

_section("Modules")

_needed("imports", (), "names", "", "Modules the worker imports when it starts.")
_needed("include", (), "names", "", "More modules the worker imports, after `imports`.")

_section("Results")

_needed(
    "result_expires",
    timedelta(days=1),
    "duration",
    "seconds or timedelta",
    "How long a finished task and its result are kept. None or 0: for ever.",
)
_needed(
    "result_failure_expires",
    None,
    "duration",
    "seconds or timedelta",
    "How long a failed task is kept. None: as `result_expires`. 0: for ever.",
)
_needed(
    "result_extended",
    False,
    "bool",
    "",
    "Celery keeps name, arguments, worker and queue with a result only if this is on; litequeue always keeps them.",
)
_nice(
    "result_cache_max",
    -1,
    "integer",
    "results",
    "How many finished results a process remembers; -1: none, 0: all.",
    "result cache",
)

_section("Tasks")

_needed(
    "task_acks_late",
    True,
    "bool",
    "",
    "On: a task whose worker died runs again (at least once). Off: it does not, and is FAILURE with "
    "`WorkerLostError` (at most once). Celery's default is off.",
)
_needed(
    "task_acks_on_failure",
    None,
    "bool",
    "",
    "Has no effect: with Celery it says whether the message of a task that raised is acknowledged or rejected, and "
    "here its row is kept as FAILURE either way.",
)
_needed(
    "task_acks_on_timeout",
    None,
    "bool",
    "",
    "Off: a task that was killed at its hard time limit runs again, up to `max_worker_deaths` deaths, unless it is at "
    "most once. None: as `task_acks_on_failure_or_timeout`.",
)
_nice(
    "task_acks_on_failure_or_timeout",
    True,
    "bool",
    "",
    "Both of the two settings before, for those that are None.",
)
_needed(
    "task_reject_on_worker_lost",
    None,
    "bool",
    "",
    "Off: a task whose process died while it ran is FAILURE with `WorkerLostError` at the first death. None, the "
    "default, and on: it runs again, up to `max_worker_deaths` deaths. With Celery it must be on for that.",
)
_needed(
    "task_retry_on_worker_lost",
    False,
    "bool",
    "",
    "On: comes before `task_reject_on_worker_lost`. With Celery a worker death then counts as a retry; here deaths are "
    "counted by themselves, up to `max_worker_deaths`, with or without it.",
)
_own(
    "max_worker_deaths",
    3,
    "count",
    "deaths",
    "How many workers may die running one task before it is FAILURE with `WorkerLostError`.",
)
_needed(
    "task_always_eager",
    False,
    "bool",
    "",
    "`apply_async` and `delay` run the task at once in the calling process, through the real serializer.",
)
_needed("task_eager_propagates", False, "bool", "", "An eager task's exception is raised to the caller.")
_needed("task_store_eager_result", False, "bool", "", "The result of an eager task is written to the file.")
_needed("task_ignore_result", False, "bool", "", "Results are not kept, unless the task or the call says otherwise.")
_needed("task_store_errors_even_if_ignored", False, "bool", "", "Failures are kept even where results are not.")
_needed(
    "task_track_started",
    False,
    "bool",
    "",
    "Celery shows STARTED for a running task only if this is on; litequeue always does.",
)
_needed(
    "task_time_limit",
    None,
    "positive",
    "seconds",
    "The process of a task that runs longer is killed, and the task is FAILURE with `TimeLimitExceeded`. None: no "
    "limit.",
)
_needed(
    "task_soft_time_limit",
    None,
    "positive",
    "seconds",
    "`SoftTimeLimitExceeded` is raised inside a task that runs longer. None: no limit.",
)
_needed(
    "task_remote_tracebacks",
    False,
    "bool",
    "",
    "Celery sends tracebacks to the caller only if this is on; litequeue always keeps them.",
)
_needed(
    "task_allow_error_cb_on_chord_header",
    False,
    "bool",
    "",
    "`link_error` of a chord is also attached to each member of its header.",
)
_nice(
    "task_annotations",
    None,
    "any",
    "",
    "Changes to attributes of tasks by name: a dict (`'*'` for all), or a list of dicts and objects with "
    "`annotate(task)`.",
)

_section("Queues")

_needed("task_default_queue", "celery", "text", "", "The queue of a task that names none.")
_needed(
    "task_queues",
    None,
    "any",
    "",
    "The queues by name: names, a dict, or objects with a `name`. None: whatever is asked for.",
)
_needed(
    "task_create_missing_queues", True, "bool", "", "Off: a queue that `task_queues` does not name is `QueueNotFound`."
)
_needed(
    "task_routes",
    None,
    "any",
    "",
    "Which task goes to which queue: a dict by name, glob or compiled pattern, a function, or a list of those.",
)
_needed(
    "task_default_priority",
    None,
    "priority",
    "0 to 255",
    "The priority of a task that names none; higher runs first. None: 0.",
)
_nice("task_queue_max_priority", None, "priority", "0 to 255", "A higher priority is lowered to this. None: 255.")
_nice(
    "task_inherit_parent_priority",
    False,
    "bool",
    "",
    "A task called inside a task gets that task's priority where none is given.",
)
_needed(
    "task_default_rate_limit",
    None,
    "rate",
    "tasks per second, or `10/m`",
    "The rate limit of a task that names none; it counts over all workers.",
)

_section("The worker")

_needed(
    "worker_concurrency",
    None,
    "concurrency",
    "processes or threads",
    "How many tasks a worker runs side by side. None: one per core; `auto`: one per core this process may use, "
    "containers' limits included.",
)
_needed("worker_pool", "prefork", "text", "", "`prefork` (child processes), `threads`, `asyncio` or `solo`.")
_needed(
    "worker_pool_start_method",
    "forkserver" if os.name == "posix" else "spawn",
    "start_method",
    "",
    "How child processes are made: `forkserver` (the default where there is one) or `spawn`. Celery's `fork` is "
    "refused: an open SQLite file must not cross a fork.",
)
_needed("worker_max_tasks_per_child", None, "limit", "tasks", "A child is replaced after so many tasks. None: never.")
_needed(
    "worker_max_memory_per_child",
    None,
    "limit",
    "kilobytes",
    "A child is replaced after the task that left it larger than this. None: never.",
)
_needed(
    "worker_soft_shutdown_timeout", 0.0, "number", "seconds", "How long a cold stop first lets running tasks go on."
)
_needed(
    "worker_proc_alive_timeout",
    30.0,
    "positive",
    "seconds",
    "How long a new child may take to be ready before it is replaced. Celery's default is 4.",
)
_own("worker_heartbeat_interval", 10.0, "positive", "seconds", "How often a worker renews its entry in the file.")
_own(
    "worker_lease",
    60.0,
    "positive",
    "seconds",
    "After so long without a renewal a worker counts as dead where its process cannot be asked (another host or "
    "container).",
)
_needed("worker_enable_remote_control", True, "bool", "", "The worker carries out commands (`app.control`).")
_needed("worker_disable_rate_limits", False, "bool", "", "The worker takes no notice of rate limits.")
_nice(
    "worker_autoscaler",
    None,
    "any",
    "",
    "Accepted from Celery, where it names the class that decides how many children run. Here `--autoscale` goes by "
    "the backlog.",
)
_own(
    "worker_autoscale_keepalive",
    30.0,
    "positive",
    "seconds",
    "With `--autoscale`, for how long a slot is idle before there is one fewer. Celery's environment variable "
    "`AUTOSCALE_KEEPALIVE` comes first.",
)
_nice(
    "worker_direct",
    False,
    "bool",
    "",
    "Each worker also has a queue of its own, named after its node, as in `celery@host.dq`.",
)
_nice("worker_pool_restarts", False, "bool", "", "The remote command `pool_restart` is allowed.")
_nice(
    "worker_timer_precision",
    1.0,
    "positive",
    "seconds",
    "Celery's longest sleep of the worker's timer; here due times are rows and `poll_interval` bounds the wait.",
)

_section("Events")

_nice("worker_send_task_events", False, "bool", "", "Workers write events into the journal, as with their option `-E`.")
_nice("task_send_sent_event", False, "bool", "", "A `task-sent` event is written for each task that is enqueued.")
_own(
    "event_retention",
    timedelta(hours=1),
    "duration",
    "seconds or timedelta",
    "How long events are kept. None or 0: as long as `event_limit` allows.",
)
_own("event_limit", 1_000_000, "count", "events", "How many events are kept, about: the oldest go first.")

_section("Logging")

_needed("worker_hijack_root_logger", True, "bool", "", "A worker's own log handlers replace those of the root logger.")
_needed("worker_log_format", PROCESS_LOG_FORMAT, "text", "", "The format of the worker's log lines.")
_needed("worker_task_log_format", TASK_LOG_FORMAT, "text", "", "That of lines that tasks log by `get_task_logger`.")
_nice("worker_log_datefmt", None, "text", "", "The `strftime` format of times in the worker's log. None: Python's.")
_nice("worker_task_log_datefmt", None, "text", "", "The same for lines logged inside tasks.")
_nice("worker_log_color", None, "bool", "", "Colour in the log; None: where it is a terminal.")
_needed("worker_redirect_stdouts", True, "bool", "", "What tasks print becomes log lines.")
_nice("worker_redirect_stdouts_level", "WARNING", "level", "", "The level of those lines.")
_own("log_json", False, "bool", "", "The log lines of worker and beat are JSON objects; the formats then mean nothing.")
_own("task_log_lines", 0, "whole", "lines", "Of what a task logs, so many of the newest lines are kept with it.")
_own("task_log_level", "INFO", "level", "", "The lowest level of the lines that are kept.")

_section("Schedules")

_needed(
    "beat_schedule",
    {},
    "mapping",
    "",
    "The entries of the schedule that the code declares: name -> a dict with `task`, `schedule` and the other fields "
    "of an entry. A worker or `litequeue beat` brings them into the file when it starts.",
)
_needed(
    "beat_cron_starting_deadline",
    None,
    "positive",
    "seconds",
    "The `catchup_window` of `crontab` entries that name none: what was missed by more is skipped. None: nothing is.",
)
_nice(
    "beat_max_loop_interval",
    0,
    "number",
    "seconds",
    "The longest sleep of a scheduler between two looks at the file, needed only where no wake-up arrives. 0: 60.",
)
_nice(
    "beat_scheduler",
    None,
    "any",
    "",
    "The scheduler class, or its dotted name. None: the one whose entries are rows of the file. With another one "
    "workers fire no entries, unless started with `-B`.",
)

_section("Signed payloads")

_nice("security_key", None, "text", "", "The private key that signs payloads.", "signed payloads")
_nice("security_key_password", None, "any", "", "The password of that key.", "signed payloads")
_nice("security_certificate", None, "text", "", "The certificate that goes with the key.", "signed payloads")
_nice("security_cert_store", None, "text", "", "The folder of certificates that are trusted.", "signed payloads")
_nice("security_digest", "sha256", "text", "", "The digest used in signing.", "signed payloads")

# Without a broker

for _why, _names in WITHOUT_BROKER.items():
    for _name, _default in _names.items():
        _declare("broker", _name, _default, "any", "", _why)

OLD_NAMES: dict[str, str] = {old: setting.name for setting in SETTINGS.values() for old in setting.old}
"""Older spelling -> name."""
