"""What stands between a ready row and a claimer: pauses, rate limits, unknown names, the queues of its process.

All of it is in the file. A claimer keeps what it has read in memory, as one snapshot, as long as the number `gates` in
litequeue_meta is the same; who changes any of it lets that number grow in the same transaction. So a claim pays one
tiny read, and a change counts from the next claim of every process on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

import apsw

from litequeue.core import clock
from litequeue.core.rates import Rate, parse_rate
from litequeue.core.steering import Limits
from litequeue.store.sqlite.engine import LANE_SEPARATOR, Engine, fetch, read_queues

_GUARD: Final = 0.02
"""Seconds by which a period is stretched: so much later than its claim may a task really start, and the limit holds."""
_SLACK: Final = 0.05
"""Seconds of delay that later starts make good, within the limit: a slot wakes some milliseconds late."""
LIMITS: Final = f"SELECT {', '.join(Limits._fields)} FROM litequeue_limits"


class Gates(NamedTuple):
    """A snapshot of everything that decides which lanes are open."""

    number: int
    lanes: tuple[tuple[str, str], ...]
    """(queue, name) of each lane apart from its queue's own."""
    paused_queues: frozenset[str]
    paused_names: frozenset[str]
    rates: Mapping[str, Rate]
    time_limits: Mapping[str, tuple[float | None, float | None]]
    """(hard, soft) that were set for a name; None: as the row says."""
    queues: Mapping[int, tuple[str, ...]]
    """What those processes claim from whose queues were set at run time."""
    apart: frozenset[str]
    """Names whose rows are in lanes of their own: paused, or limited."""
    events: frozenset[int]
    """The processes whose moves are written into the journal."""

    def queues_of(self, holder: int, otherwise: tuple[str, ...]) -> tuple[str, ...]:
        """What the process `holder` claims from."""
        return self.queues.get(holder, otherwise)


class Open(NamedTuple):
    """What a claimer may look into now."""

    lanes: list[str]
    opens_at: float | None
    """When the next limited lane opens that has a ready row; None: there is no such lane."""


class Gating(Engine):
    """Reading the snapshot, and which lanes are open."""

    _gates: Gates | None = None

    _NUMBER = "SELECT value FROM litequeue_meta WHERE key = 'gates'"
    _ALL_LANES = "SELECT queue, name FROM litequeue_lanes"
    _PAUSED = "SELECT kind, name FROM litequeue_pauses"
    _QUEUES_OF = "SELECT id, queues FROM litequeue_processes WHERE queues_set"
    _WITH_EVENTS = "SELECT id FROM litequeue_processes WHERE events"

    def _gates_of(self, connection: apsw.Connection) -> Gates:
        """The snapshot that is true in the transaction of `connection`."""
        number = connection.execute(self._NUMBER).get
        gates = self._gates
        if gates is None or gates.number != number:
            gates = self._gates = self._read_gates(connection, number)
        return gates

    def _read_gates(self, connection: apsw.Connection, number: int) -> Gates:
        paused = fetch(connection, self._PAUSED)
        limits = [Limits._make(row) for row in fetch(connection, LIMITS)]
        rates = {each.name: rate for each in limits if (rate := _rate(each)) is not None}
        paused_names = frozenset(name for kind, name in paused if kind == "task")
        return Gates(
            number=number,
            lanes=tuple(fetch(connection, self._ALL_LANES)),
            paused_queues=frozenset(name for kind, name in paused if kind == "queue"),
            paused_names=paused_names,
            rates=rates,
            time_limits={
                each.name: (each.time_limit, each.soft_time_limit)
                for each in limits
                if (each.time_limit, each.soft_time_limit) != (None, None)
            },
            queues={holder: read_queues(queues) for holder, queues in fetch(connection, self._QUEUES_OF)},
            apart=paused_names | rates.keys(),
            events=frozenset(number for (number,) in fetch(connection, self._WITH_EVENTS)),
        )

    _BUMP = "UPDATE litequeue_meta SET value = value + 1 WHERE key = 'gates'"

    def _gates_changed(self, connection: apsw.Connection) -> None:
        """Tell every claimer, with this commit. What we have read is dropped: the transaction may be rolled back."""
        connection.execute(self._BUMP)
        self._gates = None

    # Which lanes are open

    _ANY_READY = "SELECT 1 FROM litequeue_tasks WHERE state = 'ready' AND lane = ? LIMIT 1"

    def _open_lanes(
        self,
        connection: apsw.Connection,
        gates: Gates,
        queues: Collection[str],
        names: Collection[str] | None = None,
        rate_limited: bool = True,
    ) -> Open:
        """The lanes of `queues` that may be claimed from now: the queues' own, and those apart of one of `names` (None:
        of any name)."""
        lanes = [queue for queue in queues if queue not in gates.paused_queues]
        opens_at: float | None = None
        now = clock.now()
        for queue, name in gates.lanes:
            if queue not in lanes or name in gates.paused_names or (names is not None and name not in names):
                continue
            lane = queue + LANE_SEPARATOR + name
            if rate_limited and name in gates.rates and connection.execute(self._ANY_READY, (lane,)).get:
                at = self._opens_at(connection, name, gates.rates[name])
                if at > now:
                    opens_at = at if opens_at is None else min(opens_at, at)
                    continue
            lanes.append(lane)
        return Open(lanes, opens_at)

    def _any_ready(
        self, connection: apsw.Connection, queues: Collection[str], names: Collection[str] | None = None
    ) -> bool:
        """Whether something may be claimed there now; reads one index entry a lane."""
        return self._survey(connection, self._open_lanes(connection, self._gates_of(connection), queues, names).lanes)

    def _survey(self, connection: apsw.Connection, lanes: Iterable[str]) -> bool:
        return any(connection.execute(self._ANY_READY, (lane,)).get for lane in lanes)

    # Rate limits

    _NEXT_START = """
        SELECT due_at, started_at FROM litequeue_limits limits
        LEFT JOIN litequeue_starts starts ON starts.name = limits.name AND starts.slot = limits.starts % ?2
        WHERE limits.name = ?1
    """

    def _opens_at(self, connection: apsw.Connection, name: str, rate: Rate) -> float:
        """When the next task of `name` may start.

        The start before `rate.amount` others was at least a period ago, so that no period has more; and starts are
        spaced evenly, as with Celery.
        """
        found = connection.execute(self._NEXT_START, (name, rate.amount)).fetchone()
        if found is None:
            return 0.0
        due_at: float = found[0]
        oldest: float | None = found[1]
        return due_at if oldest is None else max(due_at, oldest + rate.period + _GUARD)

    _STARTED = """
        UPDATE litequeue_limits SET due_at = max(due_at, ?2 - ?3) + ?4, starts = starts + 1
        WHERE name = ?1 RETURNING starts - 1
    """
    _KEEP_START = "INSERT OR REPLACE INTO litequeue_starts (name, slot, started_at) VALUES (?, ?, ?)"

    def _count_start(self, connection: apsw.Connection, name: str, rate: Rate, now: float) -> None:
        """Count the start of a task of a limited name."""
        spacing = (rate.period + _GUARD) / rate.amount
        number = connection.execute(self._STARTED, (name, now, _SLACK, spacing)).get
        if number is not None:
            connection.execute(self._KEEP_START, (name, number % rate.amount, now))

    _FORGET_STARTS = "DELETE FROM litequeue_starts WHERE name = ?"
    _RESET_STARTS = "UPDATE litequeue_limits SET starts = 0, due_at = ? WHERE name = ?"

    def _reset_starts(self, connection: apsw.Connection, name: str) -> None:
        """Begin to count anew, under another limit."""
        connection.execute(self._FORGET_STARTS, (name,))
        connection.execute(self._RESET_STARTS, (clock.now(), name))


def _rate(limits: Limits) -> Rate | None:
    """The rate limit of a name; none where the row is not as we write it."""
    try:
        return parse_rate(limits.effective_rate)
    except ValueError:
        return None
