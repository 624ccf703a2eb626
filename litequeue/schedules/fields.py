"""The fields of a cron expression: from what is written to the numbers that are meant."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from litequeue.schedules.errors import ParseException, ScheduleError

_WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS: Final = ("january", "february", "march", "april", "may", "june", "july")
_MONTHS_LATER: Final = ("august", "september", "october", "november", "december")


class Field(NamedTuple):
    """One field: its name, the first and last number of `*`, names for the numbers in order."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    beyond: int = 0
    """How many numbers more than `high` may be written."""


SECOND: Final = Field("second", 0, 59)
MINUTE: Final = Field("minute", 0, 59)
HOUR: Final = Field("hour", 0, 23)
DAY_OF_MONTH: Final = Field("day_of_month", 1, 31)
MONTH_OF_YEAR: Final = Field("month_of_year", 1, 12, _MONTHS + _MONTHS_LATER)
DAY_OF_WEEK: Final = Field("day_of_week", 0, 6, _WEEKDAYS)
CRON_DAY_OF_WEEK: Final = Field("day_of_week", 0, 6, _WEEKDAYS, beyond=1)
"""As cron has it: 7 is Sunday too."""


class FieldValue(NamedTuple):
    """What a field holds."""

    numbers: frozenset[int]
    text: str
    """The field as it stands in an expression, without spaces."""
    wild: bool
    """Whether it is a wildcard: `*`, `*/n`, or every number there is."""


def read_field(field: Field, spec: Any) -> FieldValue:
    """The value of `spec`: a number, a text as '*/5,mon-fri', or a collection of those.

    ParseException for what cannot be read or is out of range, TypeError for what is neither; both name the field.
    """
    if spec is None:
        spec = "*"
    if isinstance(spec, str):
        text = _squeeze(field, spec)
        numbers = _read_text(field, text)
        wild = "*" in text
    else:
        parts = [_as_text(field, item) for item in spec] if isinstance(spec, Iterable) else [_as_text(field, spec)]
        if not parts:
            raise ParseException(f"{field.name}={spec!r}: it is empty, so nothing would ever match")
        numbers = _read_text(field, ",".join(parts))
        wild = any("*" in part for part in parts)
        text = ",".join(parts) if wild or not all(part.isdigit() for part in parts) else _numbers_text(numbers)
    if field.beyond and max(numbers) > field.high:
        numbers = frozenset(number if number <= field.high else field.low for number in numbers)
        text = _numbers_text(numbers)
    every = len(numbers) == field.high - field.low + 1
    if every and not isinstance(spec, str):
        text = "*"
    return FieldValue(numbers, text, wild or every)


def _numbers_text(numbers: Iterable[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def _squeeze(field: Field, text: str) -> str:
    parts = [part.strip() for part in text.lower().split(",")]
    if not all(parts):
        raise ParseException(f"{field.name}={text!r}: there is an empty part")
    return ",".join(parts)


def _as_text(field: Field, item: Any) -> str:
    if isinstance(item, str):
        return _squeeze(field, item)
    try:
        if not isinstance(item, bool):
            return str(operator.index(item))
    except TypeError:
        pass
    raise TypeError(
        f"{field.name}: a number, a text as '*/5', or a collection of those is needed, not {type(item).__name__}"
    )


def _read_text(field: Field, text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        found.update(_read_part(field, part, text))
    return frozenset(found)


def _read_part(field: Field, part: str, text: str) -> list[int]:
    base, slash, step = part.partition("/")
    if base == "*":
        numbers = list(range(field.low, field.high + 1))
    else:
        first, dash, last = base.partition("-")
        low = _number(field, first, text)
        high = _number(field, last, text) if dash else low
        if low <= high:
            numbers = list(range(low, high + 1))
        else:  # round the end, as Celery reads it: fri-mon, 50-10
            numbers = [*range(low, field.high + 1), *range(field.low, high + 1)]
    if not slash:
        return numbers
    if base != "*" and "-" not in base:
        raise ParseException(f"{field.name}={text!r}: a step needs '*' or a range, as '*/{step}' or '2-10/{step}'")
    if not (step.isascii() and step.isdigit()) or int(step) == 0:
        raise ParseException(f"{field.name}={text!r}: the step in {part!r} is a whole number from 1 on")
    return numbers[:: int(step)]


def _number(field: Field, word: str, text: str) -> int:
    if word.isascii() and word.isdigit():
        number = int(word)
        if field.low <= number <= field.high + field.beyond:
            return number
        hint = "; Sunday is 0 or 'sun'" if field is DAY_OF_WEEK and number == 7 else ""
        raise ParseException(f"{field.name}={text!r}: {number} is not from {field.low} to {field.high}{hint}")
    if len(word) >= 3:
        for index, name in enumerate(field.names):
            if name.startswith(word):
                return index + field.low
    if not word:
        raise ParseException(f"{field.name}={text!r}: a number is missing (there are no negative ones)")
    known = f" or a name as {field.names[1][:3]!r}" if field.names else ""
    raise ParseException(f"{field.name}={text!r}: {word!r} is not a number from {field.low} to {field.high}{known}")


class crontab_parser:
    """Celery's reader of one field that holds `max_` numbers from `min_` on.

    >>> sorted(crontab_parser(24).parse("*/8"))
    [0, 8, 16]
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        if max_ < 1:
            raise ScheduleError(f"max_={max_!r}: a field holds one number at least")
        self.max_ = max_
        self.min_ = min_
        names = {(7, 0): _WEEKDAYS, (12, 1): MONTH_OF_YEAR.names}.get((max_, min_), ())
        self._field = Field("crontab", min_, max_ + min_ - 1, names)

    def parse(self, spec: str) -> set[int]:
        """The numbers that `spec` means; ParseException where it means none."""
        return set(read_field(self._field, spec).numbers)
