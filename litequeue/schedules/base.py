"""What every kind of schedule offers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple, Self, TypeVar

from litequeue.core import clock
from litequeue.core.zones import utc
from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.offsets import EARLIEST, LATEST
from litequeue.schedules.zonenames import find_zone

NEVER = timedelta.max
"""What `remaining_estimate` gives where there is no next time."""


Moment = TypeVar("Moment", float, datetime)
"""Unix seconds or a datetime: what is asked with is what is answered."""


class schedstate(NamedTuple):
    """Celery's answer to "is it due?"."""

    is_due: bool
    next: float | None
    """Seconds until to ask again; None: never."""


class BaseSchedule:
    """A rule that says when next.

    One method makes a kind: `next_instant`. An own kind may instead have Celery's `is_due` or `remaining_estimate`; it
    is then asked again and again by the clock (`polled`), and its instants cannot be known far ahead.
    """

    on_start = False
    """Whether it is the start of the scheduler that makes it due, and not the clock."""

    polled = False
    """Whether an own `is_due` or `remaining_estimate` decides, so that it must be asked again and again."""

    _call: tuple[tuple[Any, ...], dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "next_instant" in own:
            cls.polled = False
        elif "is_due" in own or "remaining_estimate" in own:
            cls.polled = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # What an own kind was made from is what is written down of it, whatever its __init__ does.
        self = super().__new__(cls)
        self._call = (args, kwargs)
        return self

    def __init__(
        self, nowfun: Callable[[], datetime] | None = None, app: Any = None, *, timezone: str | tzinfo | None = None
    ) -> None:
        self.nowfun = nowfun
        self.app = app
        self.timezone = None if timezone is None else find_zone(timezone)

    def next_instant(self, after: float, zone: tzinfo, anchor: float | None = None) -> float | None:
        """The first instant (Unix seconds) after `after`, never `after` itself; None: never again.

        The same for every process: it depends on nothing but the arguments. `anchor` is where intervals count from.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither next_instant nor is_due")

    # For schedulers and previews

    def next_after(
        self, instant: Moment, tz: str | tzinfo | None = None, anchor: float | datetime | None = None
    ) -> Moment | None:
        """The first instant strictly after `instant`, as what `instant` is (Unix seconds, datetime); None: never again.

        `tz` is used where the schedule has no zone of its own, and before the app's. A naive datetime is read as UTC.
        Intervals count from `anchor`, and without one from `instant`.
        """
        zone = self.zone_for(tz)
        found = self._next(_seconds(instant), zone, None if anchor is None else _seconds(anchor))
        return None if found is None else _like(instant, found, zone)

    def instants(
        self,
        after: Moment,
        tz: str | tzinfo | None = None,
        *,
        until: float | datetime | None = None,
        limit: int | None = None,
        anchor: float | datetime | None = None,
    ) -> Iterator[Moment]:
        """The instants after `after`, up to and with `until`, `limit` at most; without both it may never end."""
        zone = self.zone_for(tz)
        moment: float | None = _seconds(after)
        last = math.inf if until is None else _seconds(until)
        origin = _seconds(after if anchor is None else anchor)
        left = math.inf if limit is None else limit
        while left > 0 and moment is not None:
            moment = self._next(moment, zone, origin)
            if moment is None or moment > last:
                return
            yield _like(after, moment, zone)
            left -= 1

    def latest(
        self,
        after: Moment,
        until: float | datetime,
        tz: str | tzinfo | None = None,
        anchor: float | datetime | None = None,
    ) -> Moment | None:
        """The last instant after `after`, up to and with `until`, found by halving; None: there is none."""
        zone = self.zone_for(tz)
        origin = _seconds(after if anchor is None else anchor)
        end = high = min(_seconds(until), LATEST)
        low = self._next(_seconds(after), zone, origin)
        if low is None or low > end:
            return None
        while True:
            following = self._next(low, zone, origin)
            if following is None or following > end:
                return _like(after, low, zone)
            low = following
            middle = low + (high - low) / 2
            found = self._next(middle, zone, origin)
            if found is None or found > end:
                high = middle
            else:
                low = max(low, found)

    def _next(self, after: float, zone: tzinfo, anchor: float | None) -> float | None:
        if self.polled:
            from litequeue.schedules.polling import foresee

            return foresee(self, after, zone)
        return self._next_by_rule(after, zone, anchor)

    def _next_by_rule(self, after: float, zone: tzinfo, anchor: float | None) -> float | None:
        if math.isnan(after):
            raise ValueError("nan is no instant")
        if after >= LATEST:
            return None
        return self.next_instant(max(after, EARLIEST), zone, anchor)

    # As in Celery

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether the time after `last_run_at` has come, and in how many seconds to ask again (None: never)."""
        remaining = self.remaining_estimate(last_run_at)
        due = remaining <= timedelta(0)
        if due:
            remaining = self.remaining_estimate(self.now())
        return schedstate(due, None if remaining == NEVER else max(remaining.total_seconds(), 0.0))

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time from now to the next run after `last_run_at`; negative where it is overdue."""
        moment = clock.to_timestamp(self.maybe_make_aware(last_run_at))
        found = self._next_by_rule(moment, self.tz, None)
        if found is None:
            return NEVER
        return timedelta(seconds=found) - timedelta(seconds=clock.to_timestamp(self.maybe_make_aware(self.now())))

    def now(self) -> datetime:
        """The time: of `nowfun`, else of the app, else of this machine."""
        if self.nowfun is not None:
            return self.nowfun()
        if self.app is not None:
            moment: datetime = self.app.now()
            return moment
        return clock.to_datetime(clock.now()).astimezone(self.tz)

    @property
    def tz(self) -> tzinfo:
        """The zone of the schedule, else of the app, else UTC."""
        return self.zone_for(None)

    @tz.setter
    def tz(self, value: str | tzinfo | None) -> None:
        self.timezone = None if value is None else find_zone(value)

    def zone_for(self, tz: str | tzinfo | None) -> tzinfo:
        """The zone in which it is read: its own, else `tz`, else the app's, else UTC."""
        if self.timezone is not None:
            return self.timezone
        if tz is not None:
            return find_zone(tz)
        found: tzinfo | None = getattr(self.app, "timezone", None)
        return utc if found is None else found

    def maybe_make_aware(self, moment: datetime, naive_as_utc: bool = True) -> datetime:
        """`moment` with a zone: a naive one is read as UTC, or with `naive_as_utc` off in the zone of the schedule."""
        if moment.tzinfo is not None:
            return moment
        return moment.replace(tzinfo=utc).astimezone(self.tz) if naive_as_utc else moment.replace(tzinfo=self.tz)

    def to_local(self, moment: datetime) -> datetime:
        """`moment` in the zone of the schedule."""
        return self.maybe_make_aware(moment).astimezone(self.tz)

    # Comparing and copying

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and named arguments that make it again; the app is not among them."""
        args, kwargs = self._call
        return (
            tuple(None if value is self.app else value for value in args),
            {
                name: value
                for name, value in kwargs.items()
                if name != "app" and not (name == "nowfun" and value is None)
            },
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseSchedule):
            return NotImplemented
        return type(other) is type(self) and other.arguments() == self.arguments()

    def __hash__(self) -> int:
        return hash(type(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), *self.arguments())


def _make(cls: type[BaseSchedule], args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseSchedule:
    return cls(*args, **kwargs)


def _seconds(instant: float | datetime) -> float:
    if isinstance(instant, datetime):
        return clock.to_timestamp(instant)
    if isinstance(instant, (int, float)):
        return instant
    raise TypeError(f"an instant is a datetime or Unix seconds, not {type(instant).__name__}")


def _like(asked: Moment, found: float, zone: tzinfo) -> Moment:
    """`found` as what was asked with."""
    if isinstance(asked, datetime):
        return clock.to_datetime(found).astimezone(zone)
    return found  # type: ignore[return-value,unused-ignore]  # asked with seconds


def check_number(name: str, value: object, low: float, high: float) -> float:
    """`value` as a number from `low` to `high`; ScheduleError naming both."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise ScheduleError(f"{name}={value!r}: a number from {low:g} to {high:g} is needed")
