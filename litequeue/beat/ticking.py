"""The loop of a scheduler: sleep until the next instant, or until an entry changes, and fire what is due.

A scheduler keeps the entries in memory and reads them again when it is woken by a datagram, when another one was first,
when the clock jumped, and once a minute. Nothing else touches the file while nothing is due.
"""

from __future__ import annotations

import heapq
import logging
import socket
import time
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

from litequeue import exceptions
from litequeue.beat.planning import Plan
from litequeue.core import clock, process
from litequeue.core.records import Entry, Fired, Firing, NewProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from litequeue.store.contract import Store

logger = logging.getLogger("litequeue.beat")

ROLE: Final = "beat"
"""The role of a process, or a part of one, that fires entries."""
LOOK_INTERVAL: Final = 60.0
"""Seconds between looks at the file when nothing happens."""
SLICE: Final = 500
"""The tasks of one transaction, about: some milliseconds, so that nobody waits long behind them."""
TURN: Final = 5_000
"""The tasks of one turn, about: only after it the next instants are found."""
AHEAD: Final = 1.0
"""Seconds before an instant at which its tasks are made ready."""
LONGEST_TURN: Final = 1.0
"""Seconds after which a turn ends though more is due: an interval may be shorter than a firing takes."""
MANY: Final = 100
"""Tasks fired in one turn after which the store is told to tidy up,"""
ROOM: Final = 0.1
"""if there are so many seconds until the next."""
FINE: Final = 0.002
"""Seconds before an instant from which on it is slept to the point: waiting for a socket counts whole milliseconds."""
TIGHT: Final = 0.005
"""Seconds before an instant at which nothing more is made ready for later ones."""
CLOCK_CHECK: Final = 1.0
"""Seconds between comparisons of the wall clock with the one that never jumps."""
JUMP: Final = 1.0
"""Seconds between the two clocks that are a jump, and no adjustment."""
ASK_AGAIN: Final = 60.0
"""Seconds until an entry that cannot be fired is looked at again."""
OTHER_HOST_SILENCE: Final = 90.0
"""Seconds without a sign of life after which a scheduler that cannot be asked counts as dead."""


Due: TypeAlias = tuple[Plan, Firing]
"""An entry that is due, and what is to be written about it."""


class Ticking:
    """One scheduler on one file; any number may run."""

    def __init__(
        self, store: Store, node: str, *, parent: int | None = None, look_interval: float = LOOK_INTERVAL
    ) -> None:
        """`parent` is the process number of the worker that it is a part of, and that renews its entry in the file."""
        self._store = store
        self._node = node
        self._parent = parent
        self._look_interval = look_interval
        self._channel = store.open_channel()
        self._holder = 0
        self._plans: dict[str, Plan] = {}
        self._broken: dict[str, tuple[object, ...]] = {}
        """The entries that cannot be read here, as they are."""
        self._heap: list[tuple[float, int, Plan]] = []
        self._order = count()
        self._stale = True
        self._look_at = clock.monotonic() + look_interval
        self._offset = clock.now() - clock.monotonic()

    # The life of a scheduler

    def start(self) -> None:
        """Register, read the entries, and fire those that are due at the start of a scheduler."""
        self._register()
        self._load()
        if not self._joins_others():
            now = clock.now()
            self._fire([(plan, firing) for plan in self._plans.values() if (firing := plan.start(now))])

    def _register(self) -> None:
        self._holder = self._store.register(
            NewProcess(worker=self._node, role=ROLE, parent=self._parent, identity=process.current(), queues=()),
            self._channel,
        )

    def _joins_others(self) -> bool:
        """Whether a scheduler that registered earlier is running."""
        for record in self._store.processes():
            if record.role == ROLE and record.id < self._holder:
                alive = process.is_alive(record.identity)
                if alive or (alive is None and clock.now() - record.heartbeat_at < OTHER_HOST_SILENCE):
                    return True
        return False

    def close(self) -> None:
        """Leave the file."""
        holder, self._holder = self._holder, 0
        self._channel.close()
        if holder:
            self._store.deregister(holder)

    # A turn

    def tick(self) -> float:
        """Fire what is due; returns the seconds until there is something to do again."""
        if clock.monotonic() >= self._look_at:
            self._look_at = clock.monotonic() + self._look_interval
            self._stay_registered()
            self._load()
        elif self._stale:
            self._load()
        fired = self._fire_due()
        self._prepare()
        pause = self._pause()
        if fired >= MANY and pause > ROOM:
            self._store.tidy()
            pause = self._pause()
        return pause

    def wait(self, seconds: float, interrupt: socket.socket | None = None) -> None:
        """Sleep, until an entry changes, the clock jumps, or `interrupt` can be read."""
        deadline = clock.monotonic() + seconds
        while (left := deadline - clock.monotonic()) > 0:
            if left <= FINE:
                time.sleep(left)
                return
            began = clock.monotonic()
            slept = min(left - FINE / 2, CLOCK_CHECK)
            if self._store.wait_for_work(self._channel, slept, interrupt):
                self._stale = True
                while self._store.wait_for_work(self._channel, 0):
                    pass  # many changes are one reason to look
                return
            if self._clock_jumped() or clock.monotonic() - began < slept / 2:
                return

    def _clock_jumped(self) -> bool:
        """Whether the wall clock was set since the last call, or the machine slept."""
        offset = clock.now() - clock.monotonic()
        jump, self._offset = offset - self._offset, offset
        if abs(jump) < JUMP:
            return False
        if jump > 0:
            logger.warning("The clock went forward by %.0f s: it was set, or this machine slept", jump)
        else:
            logger.warning("The clock was set back by %.0f s: what has been fired is not fired again", -jump)
        self._stale = True
        return True

    def look(self) -> None:
        """Read the file at the next turn."""
        self._stale = True

    # Reading

    def _load(self) -> None:
        entries = self._store.schedules()
        self._stale = False
        found = {entry.name for entry in entries}
        for name in self._plans.keys() - found:
            del self._plans[name]
        for name in self._broken.keys() - found:
            del self._broken[name]
        for entry in entries:
            self._take(entry)
        self._heap = [(plan.at, next(self._order), plan) for plan in self._plans.values() if plan.at is not None]
        heapq.heapify(self._heap)

    def _take(self, entry: Entry) -> None:
        """Plan an entry as the file has it."""
        plan, known = self._plans.get(entry.name), _what_it_is(entry)
        if plan is not None and _what_it_is(plan.entry) == known:
            if plan.entry.next_instant != entry.next_instant:
                plan.move_to(entry)
            return
        if self._broken.get(entry.name) == known:
            return
        self._plans.pop(entry.name, None)
        self._broken.pop(entry.name, None)
        try:
            self._plans[entry.name] = Plan(entry)
        except Exception as error:
            self._broken[entry.name] = known
            self._mark(entry, error)

    def _stay_registered(self) -> None:
        """A scheduler by itself renews its entry here; one that was taken for dead comes back."""
        if self._parent is None:
            self._store.heartbeat([self._holder])
        if all(record.id != self._holder for record in self._store.processes()):
            self._register()

    def _mark(self, entry: Entry, error: Exception) -> str:
        """Say in the file why an entry cannot be fired, and once in the log; returns the words."""
        text = f"{type(error).__name__}: {error}"
        if entry.error == text:
            return text
        logger.error("Entry %s cannot be fired: %s", entry.name, text)
        firing = Firing(entry.name, entry.revision, entry.next_instant, (), entry.next_instant, entry.next_at, 0, text)
        self._store.fire([firing])
        return text

    # Firing

    def _fire_due(self) -> int:
        """Fire what is due; about how many tasks that were."""
        tasks = 0
        until = clock.monotonic() + LONGEST_TURN
        while clock.monotonic() < until and (due := self._collect_due()):
            self._fire(due)
            tasks += len(due)
        return tasks

    def _collect_due(self) -> list[Due]:
        """What is due now, longest due first; so much that it is written in some hundredths of a second."""
        now = clock.now()
        due: list[Due] = []
        tasks = 0
        while tasks < TURN and self._heap and self._heap[0][0] <= now:
            at, _, plan = heapq.heappop(self._heap)
            if at != plan.at:
                continue
            firing = self._decide(plan, now)
            if firing is not None:
                due.append((plan, firing))
                tasks += len(firing.tasks) or 1
            else:
                self._push(plan)
        return due

    def _decide(self, plan: Plan, now: float) -> Firing | None:
        try:
            return plan.firing(now)
        except Exception as error:  # a schedule of an own kind is code of the program
            plan.entry = plan.entry._replace(error=self._mark(plan.entry, error))
            plan.at = now + ASK_AGAIN
            return None

    def _push(self, plan: Plan) -> None:
        if plan.at is not None:
            heapq.heappush(self._heap, (plan.at, next(self._order), plan))

    def _fire(self, due: Sequence[Due]) -> None:
        """Write what is due, in slices, and then find out when each is due next."""
        if not due:
            return
        self._stale = True  # until it is known what became of it
        fired: dict[str, Fired] = {}
        for part in _slices(due):
            fired.update((one.name, one) for one in self._write(part))
        self._stale = False
        self._fire([done for one in due if (done := self._move_on(*one, fired.get(one[1].name)))])
        if len(fired) < len(due):
            self._load()  # somebody else was first, or the entry was changed

    def _move_on(self, plan: Plan, firing: Firing, fired: Fired | None) -> Due | None:
        """Take over what was written; what is still to be written, where that was the last run."""
        if fired is None:
            return None
        self._tell(plan, firing, fired)
        if plan.moved(firing, fired):
            return plan, plan.end()
        self._push(plan)
        return None

    def _write(self, due: Sequence[Due]) -> list[Fired]:
        try:
            return self._store.fire([firing for _, firing in due])
        except exceptions.OperationalError:
            raise
        except Exception as error:
            # One of them cannot be written: the others are not to wait for it.
            if len(due) > 1:
                return [fired for one in due for fired in self._write([one])]
            plan = due[0][0]
            self._plans.pop(plan.entry.name, None)
            self._broken[plan.entry.name] = _what_it_is(plan.entry)
            self._mark(plan.entry, error)
            return []

    def _tell(self, plan: Plan, firing: Firing, fired: Fired) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        name = firing.name
        if fired.ids:
            logger.info("Scheduler: Sending due task %s (%s)", name, plan.task)
        if firing.skipped:
            logger.info("Entry %s: %d missed, left out (catchup=%s)", name, firing.skipped, plan.entry.catchup)
        if fired.skipped:
            logger.info("Entry %s: left out, the run before it has not ended (overlap=skip)", name)

    # Ahead of the time

    def _prepare(self) -> None:
        """Make the tasks of the next instants ready, as long as nothing is due."""
        horizon = clock.now() + AHEAD
        at = 0
        pending = [at]
        while pending:
            at = pending.pop()
            if at >= len(self._heap) or self._heap[at][0] > horizon:
                continue
            plan = self._heap[at][2]
            if plan.prepared is None:
                if self._heap[0][0] - clock.now() < TIGHT:
                    return
                try:
                    plan.prepare()
                except Exception:
                    continue  # said when it is due
            pending += (2 * at + 1, 2 * at + 2)

    def _pause(self) -> float:
        """Seconds until the next instant, its preparation, or the next look at the file."""
        pause = self._look_at - clock.monotonic()
        if self._heap:
            until = self._heap[0][0] - clock.now()
            pause = min(pause, until - AHEAD if until > AHEAD else until)
        return max(pause, 0.0)


_CHANGES: Final = Entry._fields.index("next_instant")
"""The fields before this one change with the revision, those after it with each firing."""


def _what_it_is(entry: Entry) -> tuple[object, ...]:
    """All of an entry but what its firings change."""
    return entry.revision, *entry[:_CHANGES]


def _slices(due: Sequence[Due]) -> Iterator[Sequence[Due]]:
    """`due` in parts of about `SLICE` tasks."""
    first, tasks = 0, 0
    for number, (_, firing) in enumerate(due, 1):
        tasks += len(firing.tasks) or 1
        if tasks >= SLICE or number == len(due):
            yield due[first:number]
            first, tasks = number, 0
