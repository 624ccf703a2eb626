"""The options of a call: which there are, and what each of them says.

Every function here reads one option and raises TypeError or ValueError, which names it, for what it cannot be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from litequeue.core import clock
from litequeue.core.ids import new_id
from litequeue.core.records import DURABILITIES
from litequeue.exceptions import EncodeError

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

EXECUTION_OPTIONS = (
    "queue",
    "routing_key",
    "exchange",
    "priority",
    "expires",
    "serializer",
    "delivery_mode",
    "compression",
    "time_limit",
    "soft_time_limit",
    "immediate",
    "mandatory",
)
"""Attributes of a task that are options of each call of it."""

PROPERTIES = frozenset(
    {"app_id", "cluster_id", "content_type", "correlation_id", "message_id", "reply_to", "timestamp", "type", "user_id"}
)
"""Properties of a message that a call may carry; the task reads them in `request.properties`."""

WITHOUT_BROKER = frozenset(
    {
        "confirm_timeout",
        "connection",
        "declare",
        "delivery_mode",
        "exchange",
        "exchange_type",
        "immediate",
        "mandatory",
        "producer",
        "publisher",
        "result_cls",
        "retry",
        "retry_policy",
        "router",
        "task_type",
        "throw",
        "timeout",
    }
)
"""Options that only mean something to a message broker, or to an eager call; they are accepted and change nothing."""

CANVAS = ("link", "link_error", "chord", "chain")
"""Options that tie a call to other calls; `calling.canvas` takes them off before the row is built."""

_CARRIED = ("shadow", "argsrepr", "kwargsrepr", "replaced_task_nesting")
"""Options that the row carries to the task's request under the same name."""

KEYS = frozenset(
    {
        "concurrency_key",
        "concurrency_limit",
        "unique",
        "unique_key",
        "unique_window",
        "unique_states",
        "on_conflict",
    }
)
"""Options, and attributes of a task, by which tasks share a key (`calling.keys`)."""

OPTIONS = frozenset(
    {
        "add_to_parent",
        "countdown",
        "durability",
        "eta",
        "expires",
        "group_id",
        "group_index",
        "headers",
        "ignore_result",
        "compression",
        "parent_id",
        "priority",
        "queue",
        "retries",
        "root_id",
        "route_name",
        "routing_key",
        "serializer",
        "soft_time_limit",
        "stamped_headers",
        "task_id",
        "time_limit",
        *CANVAS,
        *KEYS,
        *_CARRIED,
        *PROPERTIES,
        *WITHOUT_BROKER,
    }
)
"""Every option of a call."""

OF_PRESET = frozenset(
    {
        "compression",
        "ignore_result",
        "priority",
        "queue",
        "routing_key",
        "serializer",
        "soft_time_limit",
        "time_limit",
    }
)
"""Options with which all calls of a task are the same but for their arguments."""

LARGEST_DELAY = 1e11
"""Seconds (some 3,000 years): a countdown beyond it is a mistake, and no datetime could show it."""


def arguments(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of a call, None being none. TypeError: they are not a list or tuple, and a mapping."""
    args = () if args is None else args
    kwargs = {} if kwargs is None else kwargs
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"task args must be a list or tuple, not {type(args).__name__}; write args=({args!r},)")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"task keyword arguments must be a mapping, not {type(kwargs).__name__}")
    return args, kwargs


def check_options(options: Mapping[str, Any]) -> None:
    """TypeError: one of them is no option of a call."""
    unknown = options.keys() - OPTIONS - frozenset(options.get("stamped_headers") or ())
    if unknown:
        import difflib

        name = min(unknown)
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"a call has no option {name!r}{hint}")


def task_id_of(value: Any) -> str:
    """The id that the call gives its task, else a new one."""
    if not value:
        return new_id()
    if not isinstance(value, str):
        raise TypeError(f"task_id must be text, not {type(value).__name__}; write task_id=str(...)")
    return value


def times_of(
    app: LiteQueue, options: Mapping[str, Any], waits: bool
) -> tuple[float | None, float | None, float | None, float | None]:
    """(run_at, countdown, expires_at, lifetime). Seconds count from now, or from the release of a call that `waits`."""
    now = clock.now()
    run_at, countdown = run_at_of(app, options, now), None
    expires = options.get("expires")
    expires_at, lifetime = moment(app, "expires", expires, now), None
    if waits:
        if options.get("countdown") is not None:
            run_at, countdown = None, seconds_of("countdown", options["countdown"])
        if expires is not None and not isinstance(expires, (datetime, str)):
            expires_at, lifetime = None, seconds_of("expires", expires)
    return run_at, countdown, expires_at, lifetime


def run_at_of(app: LiteQueue, options: Mapping[str, Any], now: float) -> float | None:
    """When the task may start, as `countdown` or `eta` says; None: at once."""
    countdown, eta = options.get("countdown"), options.get("eta")
    if eta is not None and countdown is not None:
        raise ValueError("countdown and eta both say when the task may start; give one of them")
    if countdown is not None:
        return now + seconds_of("countdown", countdown)
    if eta is not None and not isinstance(eta, (datetime, str)):
        raise TypeError(f"eta must be a datetime, not {type(eta).__name__}; for seconds from now there is countdown")
    return moment(app, "eta", eta, now)


def moment(app: LiteQueue, what: str, value: Any, now: float) -> float | None:
    """Unix seconds of a datetime (naive: in the app's time zone), its ISO text, or a number of seconds from now."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{what} is not a time in ISO 8601: {value!r}") from None
    if isinstance(value, datetime):
        return clock.to_timestamp(value if value.tzinfo is not None else value.replace(tzinfo=app.timezone))
    return now + seconds_of(what, value)


def seconds_of(what: str, value: Any) -> float:
    """A number of seconds, or a timedelta; `what` is named in the error."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        seconds = float(value) if not isinstance(value, (str, bytes, bool)) else None
    except (TypeError, ValueError):
        seconds = None
    if seconds is None:
        raise TypeError(f"{what} must be a number of seconds, not {value!r}")
    if not math.isfinite(seconds) or abs(seconds) > LARGEST_DELAY:
        raise ValueError(f"{what} is out of range: {value!r}")
    return seconds


def time_limits_of(options: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """(time_limit, soft_time_limit) in seconds; None, or 0: there is none.

    ValueError: one is below 0, or the soft limit above the hard one. TypeError: one is no number of seconds.
    """
    hard, soft = options.get("time_limit"), options.get("soft_time_limit")
    hard = _limit_of("time_limit", hard) if hard is not None else None
    soft = _limit_of("soft_time_limit", soft) if soft is not None else None
    if hard and soft and soft > hard:
        raise ValueError(f"soft_time_limit ({soft:g} s) must be less than or equal to time_limit ({hard:g} s)")
    return hard or None, soft or None


def _limit_of(what: str, value: Any) -> float:
    seconds = seconds_of(what, value)
    if seconds < 0:
        raise ValueError(f"{what} must be a number of seconds above 0, or 0 for none, not {value!r}")
    return seconds


def priority_of(app: LiteQueue, value: Any) -> int:
    """A priority, 0 to 255; None: the default of the settings."""
    if value is None:
        value = app.conf.task_default_priority or 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"priority must be a whole number from 0 to 255, not {value!r}")
    if not 0 <= value <= 255:
        raise ValueError(f"priority must be from 0 to 255 (higher runs first), not {value}")
    highest = app.conf.task_queue_max_priority
    return value if highest is None else min(value, highest)


def count_of(what: str, value: Any) -> int:
    """A whole number, zero or more; `what` is named in the error."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{what} must be a whole number, zero or more, not {value!r}")
    return value


def known_durability(value: Any) -> str | None:
    """The option `durability`. ValueError: there is none of that name."""
    if value is not None and value not in DURABILITIES:
        raise ValueError(f"durability must be one of {', '.join(DURABILITIES)}, not {value!r}")
    return value  # type: ignore[no-any-return]


def headers_of(headers: Any) -> dict[str, Any]:
    """The caller's own headers."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping) or not all(isinstance(key, str) for key in headers):
        raise TypeError(f"headers must be a mapping with text keys, not {headers!r}")
    return dict(headers)


def carried_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the row carries to the request of the task."""
    carried = {name: options[name] for name in _CARRIED if options.get(name)}
    properties = {name: options[name] for name in PROPERTIES if options.get(name) is not None}
    if properties:
        carried["properties"] = properties
    return carried


def stamps_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the stamped headers, which stand among the options under their own names."""
    names = options.get("stamped_headers")
    if not names:
        return {}
    return {name: options[name] for name in sorted(names) if name in options}


def json_of(what: str, value: dict[str, Any]) -> str | None:
    """`value` as a column keeps it; None: it is empty. EncodeError names `what`."""
    if not value:
        return None
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise EncodeError(f"{what} cannot be written as JSON: {exc}") from exc
