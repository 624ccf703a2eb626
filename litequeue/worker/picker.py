"""How much one claim takes: about as much as a few milliseconds of work.

A batch makes the commit cheap; a small one keeps tasks from waiting behind each other. The running time of each task
name is followed by an exponentially weighted average, and a task is claimed alone when it is not known how long it
takes, when it takes long, when it must not run twice, or when a process died of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from litequeue.store.contract import ONCE, ONCE_STARTED, Pick

if TYPE_CHECKING:
    from litequeue.worker.runtime import Runnable

BATCH_SECONDS: Final = 0.006
"""The work that one claim may take."""
LONG_SECONDS: Final = 0.005
"""From this average on, a task is claimed alone."""
BATCH_LIMIT: Final = 256
"""The most rows that one claim takes."""
_WEIGHT: Final = 0.2  # of the newest run in the average
_LEAST: Final = 15e-6  # seconds: what the worker itself spends on a task that does nothing


class BatchPicker:
    """The policy of one slot, called for every ready row in order."""

    def __init__(self, registry: Mapping[str, Runnable]) -> None:
        self.names: Collection[str] = registry.keys()
        self._registry = registry
        self._average: dict[str, float] = {}
        self._left = 0.0
        self._taken = 0

    def begin(self) -> None:
        """Start a new claim."""
        self._left = BATCH_SECONDS
        self._taken = 0

    def pick(self, name: str, deaths: int) -> Pick:
        """Decide on the next ready row."""
        task = self._registry.get(name)
        if task is None:
            return Pick.ASIDE
        average = self._average.get(name)
        once = not task.acks_late or task.reject_on_worker_lost is False
        if average is None or average >= LONG_SECONDS or deaths or once:
            return Pick.STOP if self._taken else Pick.LAST
        self._taken += 1
        self._left -= average
        return Pick.TAKE if self._left > 0 else Pick.LAST

    def at_most_once(self, name: str) -> int:
        """How much running the task twice matters."""
        return _at_most_once(self._registry[name])

    def is_quick(self, name: str) -> bool:
        """Whether the task is expected to end within a few milliseconds."""
        return self._average.get(name, LONG_SECONDS) < LONG_SECONDS

    def learn(self, name: str, seconds: float) -> None:
        """Take the running time of a task into its average; a sudden long run counts at once."""
        average = self._average.get(name)
        if average is None or seconds > LONG_SECONDS > average:
            self._average[name] = max(seconds, _LEAST)
        else:
            self._average[name] = max(average + _WEIGHT * (seconds - average), _LEAST)


def _at_most_once(task: Runnable) -> int:
    """As its options say; Celery's `retry_on_worker_lost` comes before its `reject_on_worker_lost`."""
    if not task.acks_late:
        return ONCE
    return ONCE_STARTED if task.reject_on_worker_lost is False and not task.retry_on_worker_lost else 0
