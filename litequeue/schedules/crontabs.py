"""`crontab`: the local times of a cron expression, and what the changes of a time zone do to them.

A schedule with a wildcard (`*`, `*/n`, or every number) in its second, minute or hour follows the time that passes: it
is due at each real moment whose local time matches. One without is due once for each local time that matches: at the
first of two where the clock is set back; and a time that a jump of the clock skips is read as the clock before the jump
would have shown it, so that 02:30 comes at 03:30. These are the rules of Vixie cron (crontab(5) of Debian), but that
Vixie makes up for skipped times right after the jump; the reading here is that of RFC 5545 (3.3.5), and Celery's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from typing import Any, Final, TypeAlias

from litequeue.core import clock
from litequeue.schedules import fields
from litequeue.schedules.base import BaseSchedule, schedstate
from litequeue.schedules.errors import ParseException
from litequeue.schedules.fields import FieldValue, read_field
from litequeue.schedules.offsets import DAY, LATEST, Stretch, offsets_of
from litequeue.schedules.pattern import Pattern, check_dates
from litequeue.schedules.single import reboot
from litequeue.schedules.zonenames import zone_name

Cronspec: TypeAlias = "int | str | Iterable[int | str] | None"

ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class crontab(BaseSchedule):
    """The local times that match all fields; each a number, a text as cron has it, or a collection.

    `day_of_month` and `day_of_week` must both match. `timezone` is that of this schedule; without one it is read in its
    entry's or the app's. ParseException and ScheduleError (both ValueError) say which field cannot be.
    """

    def __init__(
        self,
        minute: Cronspec = "*",
        hour: Cronspec = "*",
        day_of_week: Cronspec = "*",
        day_of_month: Cronspec = "*",
        month_of_year: Cronspec = "*",
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        *,
        second: Cronspec = 0,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun=nowfun, app=app, timezone=timezone)
        self._second = read_field(fields.SECOND, second)
        self._minute = read_field(fields.MINUTE, minute)
        self._hour = read_field(fields.HOUR, hour)
        self._day_of_month = read_field(fields.DAY_OF_MONTH, day_of_month)
        self._month_of_year = read_field(fields.MONTH_OF_YEAR, month_of_year)
        self._day_of_week = read_field(fields.DAY_OF_WEEK, day_of_week)
        days, months = self._day_of_month, self._month_of_year
        check_dates(days.numbers, months.numbers, days.text, months.text)
        self.second = self._second.numbers
        self.minute = self._minute.numbers
        self.hour = self._hour.numbers
        self.day_of_month = days.numbers
        self.month_of_year = months.numbers
        self.day_of_week = self._day_of_week.numbers
        self.follows_elapsed_time = self._second.wild or self._minute.wild or self._hour.wild
        self._pattern = Pattern(
            self.second, self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week
        )

    @classmethod
    def from_string(cls, crontab: str, **kwargs: Any) -> crontab:
        """The schedule of five fields, of six with seconds before them, or of an alias as '@daily'.

        Minute, hour, day of month, month, day of week. Keyword arguments are those of the class.
        """
        parts = _split(crontab)
        if parts == ["@reboot"]:
            raise ParseException("'@reboot' names no time of the clock; cron('@reboot') makes its schedule")
        second, minute, hour, day_of_month, month_of_year, day_of_week = parts
        return cls(minute, hour, day_of_week, day_of_month, month_of_year, second=second, **kwargs)

    @property
    def expression(self) -> str:
        """The fields as a cron expression: five, or six where the second is not 0."""
        return " ".join(value.text for value in self._values())

    def next_instant(self, after: float, zone: tzinfo, anchor: float | None = None) -> float | None:
        """The first whole second after `after` at which the local time of `zone` matches (see the module's rules)."""
        table = offsets_of(zone)
        first = math.floor(after) + 1
        while first < LATEST:
            stretch = table.at(first)
            found = self._made_up(stretch, first)
            start = first + stretch.offset
            if not self.follows_elapsed_time and stretch.reached > start:
                start = stretch.reached  # the clock was set back: these local times have been
            wall = self._pattern.next_wall(start)
            if wall is not None and wall - stretch.offset < stretch.end:
                instant = wall - stretch.offset
                return float(instant if found is None else min(instant, found))
            if found is not None:
                return float(found)
            if wall is None:
                return None
            # Only within a day of `first` can a change bring back local times from before it, and only these can match
            # before `wall`.
            far = stretch.end - first > 2 * DAY
            first = max(stretch.end, wall - 2 * DAY) if far else stretch.end
        return None

    def _made_up(self, stretch: Stretch, first: int) -> int | None:
        """The first instant from `first` on that stands for a local time skipped at the start of `stretch`."""
        if self.follows_elapsed_time:
            return None
        resumed = stretch.start + stretch.offset
        skipped = stretch.reached + max(first - stretch.start, 0)
        if skipped >= resumed:
            return None
        wall = self._pattern.next_wall(skipped)
        if wall is None or wall >= resumed:
            return None
        instant = stretch.start + wall - stretch.reached
        return instant if instant < stretch.end else None

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a time has come since `last_run_at`, and the seconds to the next.

        With the setting `beat_cron_starting_deadline`, only where one of them is at most that many seconds ago.
        """
        state = super().is_due(last_run_at)
        deadline = getattr(getattr(self.app, "conf", None), "beat_cron_starting_deadline", None)
        if not state.is_due or deadline is None:
            return state
        now = clock.to_timestamp(self.maybe_make_aware(self.now()))
        # A microsecond earlier, so that exactly at the deadline is in time.
        recent = self._next_by_rule(now - deadline - 1e-6, self.tz, None)
        return state if recent is not None and recent <= now else schedstate(False, state.next)

    def _values(self) -> list[FieldValue]:
        values = [self._minute, self._hour, self._day_of_month, self._month_of_year, self._day_of_week]
        return values if self.second == {0} else [self._second, *values]

    def _key(self) -> tuple[object, ...]:
        return (
            *(value.numbers for value in self._values()),
            self.follows_elapsed_time,
            None if self.timezone is None else str(self.timezone),
            self.nowfun,
        )

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The fields as texts, and what else is not as it is without being said."""
        if type(self).__init__ is not crontab.__init__:
            return super().arguments()
        minute, hour, day_of_month, month_of_year, day_of_week = (value.text for value in self._values()[-5:])
        named: dict[str, Any] = {"nowfun": self.nowfun, "timezone": self.timezone}
        if self.second != {0}:
            named["second"] = self._second.text
        given = {name: value for name, value in named.items() if value is not None}
        return (minute, hour, day_of_week, day_of_month, month_of_year), given

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, crontab):
            return NotImplemented
        return type(other) is type(self) and other._key() == self._key()

    def __hash__(self) -> int:
        return hash((type(self), *self._key()))

    def __repr__(self) -> str:
        letters = "m/h/dM/MY/d" if self.second == {0} else "s/m/h/dM/MY/d"
        zone = "" if self.timezone is None else f" {_shown(self.timezone)}"
        return f"<crontab: {self.expression} ({letters}){zone}>"


def cron(
    expression: str,
    *,
    timezone: str | tzinfo | None = None,
    nowfun: Callable[[], datetime] | None = None,
    app: Any = None,
) -> crontab | reboot:
    """The schedule of a cron expression or alias; beyond `crontab.from_string`, 7 is Sunday and '@reboot' is known."""
    parts = _split(expression)
    if parts == ["@reboot"]:
        return reboot(nowfun=nowfun, app=app)
    second, minute, hour, day_of_month, month_of_year, weekday = parts
    day_of_week = read_field(fields.CRON_DAY_OF_WEEK, weekday).text
    return crontab(
        minute, hour, day_of_week, day_of_month, month_of_year, nowfun, app, second=second, timezone=timezone
    )


def _split(expression: str) -> list[str]:
    """Six fields, the second first; or ["@reboot"]."""
    if not isinstance(expression, str):
        raise TypeError(f"a cron expression is a text, not {type(expression).__name__}")
    text = expression.strip().lower()
    if text == "@reboot":
        return [text]
    if text.startswith("@"):
        if text not in ALIASES:
            raise ParseException(f"{expression!r}: the aliases are {', '.join([*ALIASES, '@reboot'])}")
        text = ALIASES[text]
    parts = text.split()
    if len(parts) == 5:
        return ["0", *parts]
    if len(parts) == 6:
        return parts
    raise ParseException(
        f"{expression!r} has {len(parts)} fields; a cron expression has five (minute, hour, day of month, month, "
        "day of week), or six with the second before them"
    )


def _shown(zone: tzinfo) -> str:
    try:
        return zone_name(zone)
    except ValueError:
        return str(zone)
