"""The entries of the schedule: kept, changed, and fired.

However many schedulers run, an instant is fired once. Who fires it moves the entry on from that instant, in the
transaction that writes the task; for everybody else the entry is then at another instant, and nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import apsw

from litequeue.core import clock
from litequeue.core.records import Entry, Fired, Firing, NewEntry, NewTask, Synchronised
from litequeue.core.ties import LEADS, QUEUE
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.release import Moves, Releasing, first_state

SCHEDULER: Final = "beat"
"""The role of a process, or a part of one, that fires entries: it is woken when they change."""

_NEW: Final = NewEntry._fields
_TIMING: Final = ("schedule", "timezone", "start_at", "end_at")
"""When one of these changes, it is said anew when the entry is due next."""
_SELECT: Final = f"SELECT {', '.join(Entry._fields)} FROM litequeue_schedules"
_CHANGE: Final = f"""
    UPDATE litequeue_schedules SET {", ".join(f"{name} = ?{n}" for n, name in enumerate(_NEW, 1) if name != "name")},
        revision = revision + 1, error = NULL
    WHERE name = ?1
"""


class Schedules(Releasing):
    """The verbs of `contract.Scheduler`."""

    _ENTRIES = f"{_SELECT} ORDER BY name"
    _ENTRY = f"{_SELECT} WHERE name = ?"
    _DUE_ENTRIES = f"{_SELECT} WHERE enabled AND next_at <= ? ORDER BY next_at LIMIT ?"
    _NEXT_ENTRY_AT = "SELECT min(next_at) FROM litequeue_schedules WHERE enabled"

    def schedules(self) -> list[Entry]:
        """Every entry, by name."""
        with self._database.read() as connection:
            return [Entry._make(row) for row in fetch(connection, self._ENTRIES)]

    def schedule(self, name: str) -> Entry | None:
        """The entry, or None when there is none of that name."""
        with self._database.read() as connection:
            row = connection.execute(self._ENTRY, (name,)).fetchone()
        return None if row is None else Entry._make(row)

    def due_schedules(self, now: float, limit: int) -> list[Entry]:
        """Up to `limit` enabled entries that are to be fired by `now`."""
        with self._database.read() as connection:
            return [Entry._make(row) for row in fetch(connection, self._DUE_ENTRIES, (now, limit))]

    def next_schedule_at(self) -> float | None:
        """When the next enabled entry is to be fired."""
        with self._database.read() as connection:
            at: float | None = connection.execute(self._NEXT_ENTRY_AT).get
        return at

    # Changing

    _ADD_ENTRY = f"""
        INSERT INTO litequeue_schedules ({", ".join(_NEW)}) VALUES ({", ".join("?" * len(_NEW))})
        ON CONFLICT (name) DO NOTHING
    """
    _CHANGE_ENTRY = _CHANGE
    _CHANGE_ENTRY_AT = f"{_CHANGE} AND revision = ?{len(_NEW) + 1}"

    def put_schedule(self, entry: NewEntry, revision: int | None = None) -> bool:
        """Add an entry, or change the one that is at `revision`."""
        with self._database.write(self._durability) as connection:
            if revision is None:
                connection.execute(self._ADD_ENTRY, entry)
            else:
                connection.execute(self._CHANGE_ENTRY_AT, (*entry, revision))
            changed = connection.changes() > 0
            ports = self._scheduler_ports(connection)
        self._wake_schedulers(ports)
        return changed

    _ENABLE_ENTRY = """
        UPDATE litequeue_schedules
        SET enabled = ?2, next_instant = ?3, next_at = ?4, revision = revision + 1, error = NULL WHERE name = ?1
    """
    _REMOVE_ENTRY = "DELETE FROM litequeue_schedules WHERE name = ?"

    def enable_schedule(self, name: str, enabled: bool, next_instant: float | None, next_at: float | None) -> bool:
        """Let the entry be fired, or not any more."""
        return self._change(self._ENABLE_ENTRY, (name, int(enabled), next_instant, next_at))

    def remove_schedule(self, name: str) -> bool:
        """Delete the entry."""
        return self._change(self._REMOVE_ENTRY, (name,))

    def _change(self, statement: str, bindings: tuple[Any, ...]) -> bool:
        with self._database.write(self._durability) as connection:
            connection.execute(statement, bindings)
            changed = connection.changes() > 0
            ports = self._scheduler_ports(connection)
        self._wake_schedulers(ports)
        return changed

    _OWNED = f"{_SELECT} WHERE owner = ?"

    def sync_schedules(self, owner: str, entries: Sequence[NewEntry]) -> Synchronised:
        """Make the entries of `owner` those of its code."""
        added: list[str] = []
        changed: list[str] = []
        wanted = {entry.name: entry for entry in entries}
        with self._database.write(self._durability) as connection:
            owned = {row[0]: Entry._make(row) for row in fetch(connection, self._OWNED, (owner,))}
            for name, entry in wanted.items():
                known = owned.get(name)
                if known is None:
                    connection.execute(self._ADD_ENTRY, entry)
                    if connection.changes():
                        added.append(name)
                elif _differs(known, entry):
                    connection.execute(self._CHANGE_ENTRY, _kept_timing(known, entry))
                    changed.append(name)
            removed = sorted(owned.keys() - wanted.keys())
            connection.executemany(self._REMOVE_ENTRY, ((name,) for name in removed))
            ports = self._scheduler_ports(connection)
        if added or changed or removed:
            self._wake_schedulers(ports)
        return Synchronised(tuple(added), tuple(changed), tuple(removed))

    # Firing

    _MOVE_ON = """
        UPDATE litequeue_schedules
        SET next_instant = ?4, next_at = ?5, last_run_at = coalesce(?6, last_run_at),
            total_run_count = total_run_count + ?7, skipped = skipped + ?8, error = ?9
        WHERE name = ?1 AND revision = ?2 AND next_instant IS ?3 AND enabled
        RETURNING overlap
    """
    _UNFINISHED = """
        SELECT id FROM litequeue_tasks
        WHERE schedule = ? AND state IN ('waiting', 'scheduled', 'ready', 'running') ORDER BY seq DESC LIMIT 1
    """
    _SKIP = """
        UPDATE litequeue_schedules SET total_run_count = total_run_count - ?2, skipped = skipped + ?2 WHERE name = ?1
    """
    _MARK_RUN = "UPDATE litequeue_tasks SET schedule = ?, due_at = ? WHERE id = ?"
    _LEAD_ON = f"UPDATE litequeue_tasks SET ties = ties | {LEADS} WHERE id = ?"

    def fire(self, firings: Sequence[Firing]) -> list[Fired]:
        """Enqueue the tasks of due entries and say when each is due next."""
        now, moves = clock.now(), Moves()
        with self._database.write(self._durability) as connection:
            outcomes = [self._fire(connection, firing, now, moves) for firing in firings]
            slots = self._slots_for(connection, moves)
        self._wake(moves, slots)
        return [fired for fired in outcomes if fired is not None]

    def _fire(self, connection: apsw.Connection, firing: Firing, now: float, moves: Moves) -> Fired | None:
        name, revision, instant, tasks, next_instant, next_at, skipped, error = firing
        last = tasks[-1][0] if tasks else None
        moved = (name, revision, instant, next_instant, next_at, last, len(tasks), skipped, error)
        overlap = connection.execute(self._MOVE_ON, moved).get
        if overlap is None:
            return None
        ids = [
            task.id
            for due_at, task in tasks
            if self._start_run(connection, name, overlap, due_at, task, now, moves.fresh)
        ]
        late = len(tasks) - len(ids)
        if late:
            connection.execute(self._SKIP, (name, late))
        return Fired(name, tuple(ids), late)

    def _start_run(
        self,
        connection: apsw.Connection,
        name: str,
        overlap: str,
        due_at: float,
        task: NewTask,
        now: float,
        fresh: Counter[str],
    ) -> bool:
        """Write the task of one instant; False where it is skipped, because an earlier one has not ended."""
        before = None if overlap == "allow" else connection.execute(self._UNFINISHED, (name,)).get
        if before is not None:
            if overlap == "skip":
                return False
            connection.execute(self._LEAD_ON, (before,))
            task = task._replace(after=before, edge=QUEUE)
        else:
            fresh[task.queue] += 1
        connection.execute(self._INSERT, (*task, now, first_state(task, now)))
        connection.execute(self._MARK_RUN, (name, due_at, task.id))
        return True

    # Waking

    _SCHEDULERS = f"SELECT port FROM litequeue_processes WHERE role = '{SCHEDULER}' AND port IS NOT NULL"

    def _scheduler_ports(self, connection: apsw.Connection) -> list[int]:
        return [port for (port,) in fetch(connection, self._SCHEDULERS)]

    def _wake_schedulers(self, ports: Sequence[int]) -> None:
        self._sender.send_all(ports)


def _differs(known: Entry, entry: NewEntry) -> bool:
    """Whether the code says of an entry something else than the file."""
    state = ("enabled", "anchor", "next_instant", "next_at")
    return any(getattr(known, name) != getattr(entry, name) for name in _NEW if name not in state)


def _kept_timing(known: Entry, entry: NewEntry) -> NewEntry:
    """`entry`, disabled if it was, and due when it was where its timing has not changed."""
    entry = entry._replace(enabled=known.enabled)
    if all(getattr(known, name) == getattr(entry, name) for name in _TIMING):
        entry = entry._replace(anchor=known.anchor, next_instant=known.next_instant, next_at=known.next_at)
    return entry
