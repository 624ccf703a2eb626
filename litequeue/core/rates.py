"""Rate limits: how often tasks of a name may start."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, NamedTuple

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Rate(NamedTuple):
    """At most `amount` starts in any `period` seconds."""

    amount: int
    period: float


def parse_rate(text: Any) -> Rate | None:
    """The rate that `10/s`, `100/m`, `1000/h`, `5/d`, or a number a second, says; None: there is no limit.

    A fraction counts over a longer period: `0.5/s` is 1 in 2 seconds. ValueError: it is none of these.
    """
    if text is None:
        return None
    count, slash, unit = str(text).strip().partition("/")
    try:
        if isinstance(text, bool) or (slash and unit.strip() not in _UNITS):
            raise ValueError
        number = Fraction(count.strip())
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if number < 0:
        raise ValueError(f"rate limit {text!r} is not understood; write 10/s, 100/m, 1000/h or 5/d, or 0 for none")
    if number == 0:
        return None
    per_second = number / _UNITS[unit.strip() or "s"]
    numerator = number.numerator
    return Rate(numerator, float(numerator / per_second))


def rate_text(value: Any) -> str | None:
    """The rate as the file keeps it: its text, `0` for none, None where nothing is said. ValueError: no rate."""
    if value is None:
        return None
    return "0" if parse_rate(value) is None else str(value).strip()
