"""Pauses, limits, and the queues of a worker: what steers claimers, changed at run time."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import apsw

from litequeue.core import clock
from litequeue.core.records import NORMAL
from litequeue.core.steering import Limits, Pause
from litequeue.store.sqlite.engine import fetch, read_queues
from litequeue.store.sqlite.gates import LIMITS
from litequeue.store.sqlite.release import Moves, Releasing

_KINDS: Final = ("queue", "task")


class Controls(Releasing):
    """The verbs of `contract.Controller` that change what may be claimed."""

    # Pausing

    _PAUSE = "INSERT OR IGNORE INTO litequeue_pauses (kind, name, paused_at) VALUES (?, ?, ?)"
    _RESUME = "DELETE FROM litequeue_pauses WHERE kind = ? AND name = ?"
    _PAUSES = "SELECT kind, name, paused_at FROM litequeue_pauses ORDER BY kind, name"

    def pause(self, kind: str, names: Collection[str]) -> tuple[str, ...]:
        """Claim no more of the queues, or tasks, `names`; returns those that were not paused before."""
        return self._change_pauses(kind, names, self._PAUSE, clock.now())

    def resume(self, kind: str, names: Collection[str]) -> tuple[str, ...]:
        """Claim them again; returns those that were paused."""
        return self._change_pauses(kind, names, self._RESUME)

    def _change_pauses(self, kind: str, names: Collection[str], statement: str, *values: float) -> tuple[str, ...]:
        if kind not in _KINDS:
            raise ValueError(f"kind={kind!r}: give 'queue' or 'task'.")
        changed = []
        with self._database.write(self._durability) as connection:
            for name in dict.fromkeys(names):
                connection.execute(statement, (kind, name, *values))
                if connection.changes():
                    changed.append(name)
            if changed:
                self._gates_changed(connection)
        if changed:
            self._wake_everybody()
        return tuple(changed)

    def paused(self) -> list[Pause]:
        """Everything that is paused, by kind and name."""
        with self._database.read() as connection:
            return [Pause._make(row) for row in fetch(connection, self._PAUSES)]

    # Limits

    _DECLARE = """
        INSERT INTO litequeue_limits (name, declared_rate) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET declared_rate = ?2
    """
    _SET_RATE = """
        INSERT INTO litequeue_limits (name, rate) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET rate = ?2
    """
    _SET_TIME_LIMITS = """
        INSERT INTO litequeue_limits (name, time_limit, soft_time_limit) VALUES (?1, ?2, ?3)
        ON CONFLICT (name) DO UPDATE SET time_limit = ?2, soft_time_limit = ?3
    """
    _DROP_EMPTY = """
        DELETE FROM litequeue_limits
        WHERE declared_rate IS NULL AND rate IS NULL AND time_limit IS NULL AND soft_time_limit IS NULL
    """

    def declare_rates(self, rates: Mapping[str, str | None]) -> None:
        """Keep the rate limits that the code of a worker declares for its tasks; writes only what is new."""
        if any(self._new_rates(self._limits_by_name(), rates)):
            with self._database.write(NORMAL) as connection:
                for name in self._new_rates(self._read_limits(connection), rates):
                    self._set_limit(connection, self._DECLARE, name, rates[name])
                connection.execute(self._DROP_EMPTY)
                self._gates_changed(connection)

    @staticmethod
    def _new_rates(kept: Mapping[str, Limits], rates: Mapping[str, str | None]) -> list[str]:
        return [name for name, rate in rates.items() if rate != (kept[name].declared_rate if name in kept else None)]

    def set_rate(self, name: str, rate: str | None) -> None:
        """Set the rate limit of a task name, before what is declared."""
        self._set(self._SET_RATE, name, rate)

    def set_time_limits(self, name: str, hard: float | None, soft: float | None) -> None:
        """Set the time limits of the tasks of a name that start from now on."""
        self._set(self._SET_TIME_LIMITS, name, hard, soft)

    def _set(self, statement: str, name: str, *values: str | float | None) -> None:
        with self._database.write(self._durability) as connection:
            self._set_limit(connection, statement, name, *values)
            connection.execute(self._DROP_EMPTY)
            self._gates_changed(connection)
        self._wake_everybody()

    def _set_limit(self, connection: apsw.Connection, statement: str, name: str, *values: str | float | None) -> None:
        """Write a limit; if it changes the rate, starts are counted anew."""
        before = self._rate_of(connection, name)
        connection.execute(statement, (name, *values))
        if self._rate_of(connection, name) != before:
            self._reset_starts(connection, name)

    def _rate_of(self, connection: apsw.Connection, name: str) -> str | None:
        limits = self._read_limits(connection).get(name)
        return None if limits is None else limits.effective_rate

    @staticmethod
    def _read_limits(connection: apsw.Connection) -> dict[str, Limits]:
        return {row[0]: Limits._make(row) for row in fetch(connection, f"{LIMITS} ORDER BY name")}

    def _limits_by_name(self) -> dict[str, Limits]:
        with self._database.read() as connection:
            return self._read_limits(connection)

    def limits(self) -> list[Limits]:
        """What is set, or declared, of any name, by name."""
        return list(self._limits_by_name().values())

    # The queues of a worker

    _SET_QUEUES = """
        UPDATE litequeue_processes SET queues = ?2, queues_set = 1
        WHERE (id = ?1 OR parent = ?1) AND role IN ('worker', 'child')
    """

    def set_queues(self, worker: int, queues: Sequence[str]) -> None:
        """Let all processes of the worker claim from `queues`, from their next claim on."""
        with self._database.write(NORMAL) as connection:
            connection.execute(self._SET_QUEUES, (worker, json.dumps(tuple(queues))))
            self._gates_changed(connection)
        self._wake_everybody()

    _SET_SLOTS = """
        UPDATE litequeue_processes SET info = json_set(info, '$.concurrency', ?2) WHERE id = ?1 AND json_valid(info)
    """

    def set_slots(self, worker: int, slots: int) -> None:
        """Say that the worker has so many slots from now on."""
        with self._database.write(NORMAL) as connection:
            connection.execute(self._SET_SLOTS, (worker, slots))

    _QUEUES_SEEN = "SELECT DISTINCT queue FROM litequeue_tasks"
    _QUEUES_SERVED = "SELECT queues FROM litequeue_processes"

    def known_queues(self) -> frozenset[str]:
        """The queues that have a task, or a worker."""
        with self._database.read() as connection:
            queues = {queue for (queue,) in fetch(connection, self._QUEUES_SEEN)}
            served = [read_queues(text) for (text,) in fetch(connection, self._QUEUES_SERVED)]
        return frozenset(queues.union(*served))

    _NAMES_SEEN = "SELECT DISTINCT name FROM litequeue_tasks"
    _NAMES_SERVED = """
        SELECT DISTINCT name.value FROM litequeue_processes own, json_each(own.info, '$.tasks') name
        WHERE json_valid(own.info)
    """

    def known_names(self) -> frozenset[str]:
        """The names that have a task in the file, or that a worker has registered."""
        with self._database.read() as connection:
            names = [fetch(connection, statement) for statement in (self._NAMES_SEEN, self._NAMES_SERVED)]
        return frozenset(str(name) for found in names for (name,) in found)

    # Waking

    def _wake_everybody(self) -> None:
        """Wake all idle slots: what they may claim has changed."""
        with self._database.read() as connection:
            idle = self._idle_slots(connection)
        moves = Moves()
        moves.fresh.update({queue: free for _, free, queues in idle for queue in read_queues(queues)})
        self._wake(moves, idle)
