"""What a setting's value may be: one function a kind of value, each returning the value to keep.

A check raises ValueError with the words that follow "must be"; `check_value` makes the whole sentence. Text from the
environment or a command line is read where its meaning is plain: `"4"` for a number, `"false"` for a switch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from datetime import timedelta, tzinfo
from typing import Any

from litequeue.config.table import Setting
from litequeue.core.rates import parse_rate
from litequeue.exceptions import ImproperlyConfigured

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LEVELS = frozenset({"NOTSET", "DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"})


def _bool(value: Any) -> bool:
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("True or False")


def _number(value: Any) -> float:
    """Zero or more; a timedelta counts in seconds."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, str):
        value = _parsed_number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError("a number, zero or more")
    return value


def _parsed_number(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def _positive(value: Any) -> float:
    try:
        number = _number(value)
    except ValueError:
        number = 0
    if number <= 0:
        raise ValueError("a number above zero")
    return number


def _integer(value: Any) -> int:
    if isinstance(value, str):
        value = _parsed_number(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    return value


def _whole(value: Any) -> int:
    try:
        number = _integer(value)
    except ValueError:
        number = -1
    if number < 0:
        raise ValueError("a whole number, zero or more")
    return number


def _count(value: Any) -> int:
    try:
        number = _integer(value)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError("a whole number, one or more")
    return number


def _limit(value: Any) -> int | None:
    try:
        return None if value is None else _count(value)
    except ValueError:
        raise ValueError("a whole number, one or more, or None for no limit") from None


def _priority(value: Any) -> int:
    try:
        number = _integer(value)
    except ValueError:
        number = -1
    if not 0 <= number <= 255:
        raise ValueError("a whole number from 0 to 255")
    return number


def _duration(value: Any) -> Any:
    """Kept as it was given, so that a timedelta reads back as one."""
    if value is None:
        return None
    try:
        number = _number(value)
    except ValueError:
        raise ValueError("a number of seconds, a timedelta, or None for ever") from None
    return value if isinstance(value, timedelta) else number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def _path(value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise ValueError("a path or a URL")
    return value


def _names(value: Any) -> Any:
    """A list, tuple or set of names, kept as it was given; one name stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in value):
        raise ValueError("a list of names")
    return value


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("a dictionary")
    return value


def _timezone(value: Any) -> Any:
    if isinstance(value, tzinfo):
        return value
    if isinstance(value, str):
        import zoneinfo

        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
        else:
            return value
    raise ValueError("a time zone's IANA name, as 'Europe/Oslo' (on Windows install tzdata)")


def _level(value: Any) -> Any:
    if isinstance(value, str) and value.upper() in _LEVELS:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("a level's name, as 'INFO', or its number")


def _concurrency(value: Any) -> Any:
    if value == "auto" or value is None:
        return value
    try:
        return _count(value) if value != 0 else None
    except ValueError:
        raise ValueError("a whole number, one or more, 'auto', or None for one per core") from None


def _start_method(value: Any) -> str:
    if value == "fork":
        raise ValueError("'forkserver' or 'spawn' ('fork' would carry an open SQLite file into the child)")
    if value not in ("forkserver", "spawn"):
        raise ValueError("'forkserver' or 'spawn'")
    return str(value)


def _rate(value: Any) -> Any:
    try:
        parse_rate(value)
    except ValueError:
        raise ValueError("a rate, as 10/s, 100/m, 1000/h or 5/d, or 0 for none") from None
    return value


def _any(value: Any) -> Any:
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {
    "any": _any,
    "bool": _bool,
    "concurrency": _concurrency,
    "count": _count,
    "duration": _duration,
    "integer": _integer,
    "level": _level,
    "limit": _limit,
    "mapping": _mapping,
    "names": _names,
    "number": _number,
    "path": _path,
    "positive": _positive,
    "priority": _priority,
    "rate": _rate,
    "start_method": _start_method,
    "text": _text,
    "timezone": _timezone,
    "whole": _whole,
}


def check_value(setting: Setting, value: Any) -> Any:
    """The value to keep for `setting`; ImproperlyConfigured, naming both, where it cannot be."""
    if value is None and setting.default is None:
        return None
    try:
        if setting.check.startswith("choice:"):
            return _choice(setting.check.removeprefix("choice:").split(","), value)
        return CHECKS[setting.check](value)
    except ValueError as exc:
        raise ImproperlyConfigured(f"setting {setting.name!r} must be {exc}, not {value!r}") from None


def _choice(choices: list[str], value: Any) -> str:
    if value not in choices:
        raise ValueError(" or ".join(repr(choice) for choice in choices))
    return str(value)


def parse_text(setting: Setting, text: str) -> Any:
    """The value of `setting` written as `text`, as on a command line: JSON for lists, dictionaries and None."""
    if setting.check in ("any", "mapping", "names", "duration") or text == "null":
        import json

        try:
            return json.loads(text)
        except ValueError:
            return text.split(",") if setting.check == "names" else text
    return text
