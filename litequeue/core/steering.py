"""What crosses between the rooms when somebody steers: pauses, limits, commands to workers, dead letters.

Plain, frozen records, as in `core.records`. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from litequeue.core.records import Claimed


class Pause(NamedTuple):
    """A queue or task name that is paused."""

    kind: str
    """`queue` or `task`."""
    name: str
    paused_at: float


class Limits(NamedTuple):
    """What is set for all tasks of a name; the field order is that of the columns."""

    name: str
    declared_rate: str | None
    """The rate limit that the code of a worker declares, as in `10/m`."""
    rate: str | None
    """The rate limit that was set at run time: it comes first. `0`: no limit."""
    time_limit: float | None
    """Seconds, set at run time: comes before what a task was called with. 0: no limit."""
    soft_time_limit: float | None

    @property
    def effective_rate(self) -> str | None:
        """The rate limit that counts; None: there is none."""
        rate = self.declared_rate if self.rate is None else self.rate
        return None if rate in (None, "0") else rate


class NewCommand(NamedTuple):
    """What workers are to do."""

    name: str
    arguments: str
    """A JSON object."""
    destination: tuple[str, ...] | None
    """Node names; None: every worker."""
    reply_port: int | None
    """The UDP port at which the sender learns of an answer."""
    lifetime: float
    """Seconds after which it is not carried out any more."""


class Command(NamedTuple):
    """A command as a worker finds it in the file."""

    id: int
    name: str
    arguments: str
    reply_port: int | None


class Reply(NamedTuple):
    """What one worker answered."""

    process: int
    worker: str
    reply: str
    """JSON."""


class Termination(NamedTuple):
    """A running task that is to be killed."""

    claimed: Claimed
    holder: int
    signal: str
    """The name of the signal, as in `SIGTERM`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadFilter:
    """Which of the tasks that ended badly are meant; what is None does not matter."""

    ids: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    states: tuple[str, ...] = ("failed",)
    """`failed`, `revoked`, or both."""
    since: float | None = None
    """Ended at this time or later."""
    before: float | None = None
    """Ended before this time."""
    error: str | None = None
    """The class name of the exception, with or without its module."""
    limit: int | None = None
    """The newest so many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revived:
    """What became of dead letters that were to be retried."""

    ready: tuple[str, ...] = ()
    """Ids of those that run again, now or when what they wait for has ended."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why each of the others cannot be run again."""
