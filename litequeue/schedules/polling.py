"""Own kinds of schedules that answer "is it due?" and cannot say when next."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from litequeue.core import clock
from litequeue.schedules.base import NEVER, BaseSchedule, schedstate
from litequeue.schedules.errors import ScheduleError

_MOST_QUESTIONS: Final = 10_000
_SHORTEST_WAIT: Final = 0.001
"""Seconds: an answer of 0 would be asked again at once, for ever."""


def poll(schedule: BaseSchedule, last_run_at: datetime) -> schedstate:
    """The answer of `is_due`, as a schedstate whatever pair it is; ScheduleError where it is no answer."""
    answer: Any = schedule.is_due(last_run_at)
    try:
        due, following = answer
        if isinstance(following, timedelta):
            following = following.total_seconds()
        return schedstate(bool(due), None if following is None or following == math.inf else float(following))
    except (TypeError, ValueError):
        raise ScheduleError(
            f"{type(schedule).__name__}.is_due() answered {answer!r}; it is (is_due, seconds until to ask again)"
        ) from None


def foresee(schedule: BaseSchedule, after: float, zone: tzinfo) -> float | None:
    """When it would first be due after a run at `after`, asked with a clock that is put forward by its own answers.

    Only as good as the schedule keeps to `self.now()`. None: never, or not within 10,000 questions.
    """
    asked = _Asked(schedule)
    last_run_at = clock.to_datetime(after).astimezone(zone)
    if _decides_by_estimate(type(schedule)):
        asked.moment = last_run_at
        remaining = asked.schedule.remaining_estimate(last_run_at)
        return None if remaining == NEVER else after + max(remaining.total_seconds(), _SHORTEST_WAIT)
    moment = after
    for _ in range(_MOST_QUESTIONS):
        asked.moment = clock.to_datetime(moment).astimezone(zone)
        due, following = poll(asked.schedule, last_run_at)
        if due and moment > after:
            return moment
        if following is None:
            return None
        moment += max(following, _SHORTEST_WAIT)
    return None


class _Asked:
    """A schedule that takes the time from `moment`; the original is left as it is."""

    def __init__(self, schedule: BaseSchedule) -> None:
        self.moment: datetime = clock.to_datetime(0.0)
        self.schedule = self._copy(schedule)
        self.schedule.nowfun = self.now
        if isinstance(self.schedule, Foreign):
            self.schedule.inner = self._copy(self.schedule.inner)
            self.schedule.inner.nowfun = self.now

    def now(self) -> datetime:
        """The time it is told."""
        return self.moment

    @staticmethod
    def _copy(original: Any) -> Any:
        copied = object.__new__(type(original))
        vars(copied).update(vars(original))
        return copied


def _decides_by_estimate(cls: type[BaseSchedule]) -> bool:
    """Whether `remaining_estimate` is its own and `is_due` is ours, so that one question is enough."""
    deciding = next(base for base in cls.__mro__ if "is_due" in vars(base))
    return deciding is not Foreign and deciding.__module__.startswith("litequeue.schedules.")


class Foreign(BaseSchedule):
    """An object that is none of ours and has Celery's `is_due`."""

    def __init__(self, inner: Any, app: Any = None) -> None:
        super().__init__(app=app)
        self.inner = inner

    def is_due(self, last_run_at: datetime) -> schedstate:
        """What the object answers."""
        answer: schedstate = self.inner.is_due(last_run_at)
        return answer

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """What the object estimates."""
        answer: timedelta = self.inner.remaining_estimate(last_run_at)
        return answer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Foreign) and bool(other.inner == self.inner)

    def __hash__(self) -> int:
        return hash(type(self.inner))

    def __repr__(self) -> str:
        return repr(self.inner)
