"""The entries of the schedule: kept, changed, and fired.

However many schedulers run, an instant is fired once. Who fires it moves the entry on from that instant, in the
transaction that writes the task; for everybody else the entry is then at another instant, and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

import apsw

from litequeue.core import clock
from litequeue.core.records import ROW_FIELDS, Entry, Fired, Firing, NewEntry, Synchronised
from litequeue.core.state import WAITING
from litequeue.core.ties import APART, LEADS, QUEUE, QUEUED
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.journal import sent
from litequeue.store.sqlite.release import Moves, Releasing, first_state

SCHEDULER: Final = "beat"
"""The role of a process, or a part of one, that fires entries: it is woken when they change."""

_NEW: Final = NewEntry._fields
_TIMING: Final = ("schedule", "timezone", "start_at", "end_at")
"""When one of these changes, it is said anew when the entry is due next."""
_SELECT: Final = f"SELECT {', '.join(Entry._fields)} FROM litequeue_schedules"
_WIDTH: Final = len(ROW_FIELDS)
_QUEUE_COLUMN: Final = ROW_FIELDS.index("queue") + 1
_GONE: Final = (None, None, "")
_CHANGE: Final = f"""
    UPDATE litequeue_schedules SET {", ".join(f"{name} = ?{n}" for n, name in enumerate(_NEW, 1) if name != "name")},
        revision = revision + 1, error = NULL
    WHERE name = ?1
"""


class Schedules(Releasing):
    """The verbs of `contract.Scheduler`."""

    _ENTRIES = f"{_SELECT} ORDER BY name"
    _ENTRY = f"{_SELECT} WHERE name = ?"
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

    def next_schedule_at(self) -> float | None:
        """When the next enabled entry is to be fired."""
        with self._database.read() as connection:
            at: float | None = connection.execute(self._NEXT_ENTRY_AT).get
        return at

    # Changing

    # An entry that was removed and added is another one, also for a scheduler that has not heard of it yet.
    _ADD_ENTRY = f"""
        INSERT INTO litequeue_schedules ({", ".join(_NEW)}, revision)
        VALUES ({", ".join("?" * len(_NEW))}, abs(random() % 1000000000))
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
                self._mark_apart(connection, entry)
                connection.execute(self._CHANGE_ENTRY_AT, (*entry, revision))
            changed = connection.changes() > 0
            ports = self._scheduler_ports(connection)
        self._wake_schedulers(ports)
        return changed

    _OVERLAPPING = "SELECT 1 FROM litequeue_schedules WHERE name = ? AND overlap = 'allow'"
    _MARK_APART = f"""
        UPDATE litequeue_tasks SET ties = ties | {APART}
        WHERE schedule = ? AND state IN ('waiting', 'scheduled', 'ready', 'running')
    """

    def _mark_apart(self, connection: apsw.Connection, entry: NewEntry) -> None:
        """Where runs are not to overlap any more, those that are under way count: found by looking at all tasks."""
        if entry.overlap != "allow" and connection.execute(self._OVERLAPPING, (entry.name,)).get:
            connection.execute(self._MARK_APART, (entry.name,))

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
                    self._mark_apart(connection, entry)
                    connection.execute(self._CHANGE_ENTRY, _kept_timing(known, entry))
                    changed.append(name)
            removed = sorted(owned.keys() - wanted.keys())
            connection.executemany(self._REMOVE_ENTRY, ((name,) for name in removed))
            ports = self._scheduler_ports(connection)
        if added or changed or removed:
            self._wake_schedulers(ports)
        return Synchronised(tuple(added), tuple(changed), tuple(removed))

    # Firing

    _CURRENT = """
        SELECT name, revision, next_instant, overlap FROM litequeue_schedules
        WHERE enabled AND name IN (SELECT value FROM json_each(?))
    """
    _MOVE_ON = """
        UPDATE litequeue_schedules
        SET next_instant = ?2, next_at = ?3, last_run_at = coalesce(?4, last_run_at),
            total_run_count = total_run_count + ?5, skipped = skipped + ?6, error = ?7
        WHERE name = ?1
    """

    def fire(self, firings: Sequence[Firing]) -> list[Fired]:
        """Enqueue the tasks of due entries and say when each is due next."""
        now, moves = clock.now(), Moves()
        with self._database.write(self._durability) as connection:
            mine, others = self._mine(connection, firings)
            keyed = {task.id for firing in mine for _, task in firing.tasks if task.keys is not None}
            refused = self._refused_runs(connection, mine, now) if keyed else set()
            rows = [
                (*task[:-1], now, first_state(task, now), firing.name, due_at)
                for firing in mine
                for due_at, task in firing.tasks
                if task.id not in refused
            ]
            refused |= self._insert_runs(connection, rows, moves)
            outcomes = [_fired(firing, [task.id for _, task in firing.tasks], refused) for firing in mine]
            for firing, overlap in others:
                outcomes.append(_fired(firing, self._start_apart(connection, firing, overlap, now, moves)))
            fired = [*mine, *(firing for firing, _ in others)]
            runs = [task for firing in fired for _, task in firing.tasks]
            self._keep_keys(
                connection, (task for task in runs if task.keys is not None and task.id not in refused), now
            )
            self._check_stamps(connection, [task for task in runs if task.stamps is not None], now, moves)
            connection.executemany(self._MOVE_ON, map(_moved, fired, outcomes))
            if self._options.sent_events:
                written = {task_id for fired_ids in (outcome.ids for outcome in outcomes) for task_id in fired_ids}
                moves.journal += sent(task for task in runs if task.id in written)
            slots = self._close(connection, moves, now)
        self._wake(moves, slots)
        return outcomes

    def _mine(
        self, connection: apsw.Connection, firings: Sequence[Firing]
    ) -> tuple[list[Firing], list[tuple[Firing, str]]]:
        """Those whose entry is where the scheduler saw it; apart, with their rule, those whose runs do not overlap.

        Read once, and written at the end of the same transaction: nobody else can move an entry in between.
        """
        names = json.dumps([firing.name for firing in firings])
        current = {name: rest for name, *rest in fetch(connection, self._CURRENT, (names,))}
        mine, others = [], []
        for firing in firings:
            revision, instant, overlap = current.pop(firing.name, _GONE)
            if revision != firing.revision or instant != firing.instant:
                continue
            if overlap == "allow":
                mine.append(firing)
            else:
                others.append((firing, overlap))
        return mine, others

    # An instant that has its row is never run again, even if an entry of that name was removed and added.
    _INSERT_RUN = (
        f"INSERT INTO litequeue_tasks ({', '.join(ROW_FIELDS)}, lane, enqueued_at, state, schedule, due_at)"
        f" VALUES ({', '.join(f'?{n}' for n in range(1, _WIDTH + 1))}, ?{_QUEUE_COLUMN}, ?{_WIDTH + 1}, ?{_WIDTH + 2},"
        f" ?{_WIDTH + 3}, ?{_WIDTH + 4}) ON CONFLICT (due_at, schedule) WHERE schedule IS NOT NULL DO NOTHING"
    )
    _HAS_RUN = "SELECT id FROM litequeue_tasks WHERE schedule = ? AND due_at = ?"
    _UNFINISHED = """
        SELECT id FROM litequeue_tasks
        WHERE schedule = ? AND ties & 32 AND state IN ('waiting', 'scheduled', 'ready', 'running')
        ORDER BY seq DESC LIMIT 1
    """
    _LEAD_ON = f"UPDATE litequeue_tasks SET ties = ties | {LEADS | QUEUED} WHERE id = ?"

    def _start_apart(
        self, connection: apsw.Connection, firing: Firing, overlap: str, now: float, moves: Moves
    ) -> list[str]:
        """Write the tasks of a firing one by one, but for those that are to be skipped; their ids."""
        ids = []
        refused = self._refused_runs(connection, [firing], now)
        for due_at, task in firing.tasks:
            if task.id in refused:
                continue
            before = connection.execute(self._UNFINISHED, (firing.name,)).get
            if before is not None and overlap == "skip":
                continue
            if before is not None:
                connection.execute(self._LEAD_ON, (before,))
                task = task._replace(after=before, edge=QUEUE)
            task = task._replace(ties=task.ties | APART)
            row = (*task[:-1], now, first_state(task, now), firing.name, due_at)
            if not self._insert_runs(connection, [row], moves):
                ids.append(task.id)
        return ids

    def _refused_runs(self, connection: apsw.Connection, firings: Sequence[Firing], now: float) -> set[str]:
        """The ids of tasks that are not written because their unique key is held: such an instant is skipped."""
        refused: set[str] = set()
        wanted: set[str] = set()
        for _, task in (each for firing in firings for each in firing.tasks):
            key = None if task.keys is None else task.keys.unique_key
            if key is not None and (key in wanted or self._holder_of(connection, key, now) is not None):
                refused.add(task.id)
            elif key is not None:
                wanted.add(key)
        return refused

    def _insert_runs(self, connection: apsw.Connection, rows: list[tuple[Any, ...]], moves: Moves) -> set[str]:
        """Write tasks; the ids of those whose instant has a task already."""
        refused: set[str] = set()
        before = connection.total_changes()
        connection.executemany(self._INSERT_RUN, rows)
        if connection.total_changes() - before != len(rows):
            refused = {row[0] for row in rows if connection.execute(self._HAS_RUN, row[-2:]).get != row[0]}
            rows = [row for row in rows if row[0] not in refused]
        moves.fresh.update(row[_QUEUE_COLUMN - 1] for row in rows if row[_WIDTH + 1] != WAITING)
        return refused

    def tidy(self) -> None:
        """Copy what was committed out of the log, so that no commit at the next instant has to."""
        if not self._database.memory:
            with self._database.read() as connection, suppress(apsw.Error):  # somebody else does it just now
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    # Waking

    _SCHEDULERS = f"SELECT port FROM litequeue_processes WHERE role = '{SCHEDULER}' AND port IS NOT NULL"

    def _scheduler_ports(self, connection: apsw.Connection) -> list[int]:
        return [port for (port,) in fetch(connection, self._SCHEDULERS)]

    def _wake_schedulers(self, ports: Sequence[int]) -> None:
        self._sender.send_all(ports)


def _fired(firing: Firing, ids: list[str], refused: Collection[str] = ()) -> Fired:
    """What became of a firing that was this scheduler's to make."""
    started = [task_id for task_id in ids if task_id not in refused] if refused else ids
    return Fired(firing.name, tuple(started), len(firing.tasks) - len(started))


def _moved(firing: Firing, fired: Fired) -> tuple[Any, ...]:
    """The bindings of `_MOVE_ON`."""
    last = firing.tasks[-1][0] if firing.tasks else None
    skipped = firing.skipped + fired.skipped
    return firing.name, firing.next_instant, firing.next_at, last, len(fired.ids), skipped, firing.error


def _differs(known: Entry, entry: NewEntry) -> bool:
    """Whether the code says of an entry something else than the file."""
    state = ("enabled", "anchor", "next_instant", "next_at")
    return any(getattr(known, name) != getattr(entry, name) for name in _NEW if name not in state)


def _kept_timing(known: Entry, entry: NewEntry) -> NewEntry:
    """`entry`, disabled if it was, and due when it was where its timing has not changed."""
    entry = entry._replace(enabled=known.enabled)
    ended = known.next_instant is None and known.max_runs != entry.max_runs  # it may have runs left now
    if not ended and all(getattr(known, name) == getattr(entry, name) for name in _TIMING):
        entry = entry._replace(anchor=known.anchor, next_instant=known.next_instant, next_at=known.next_at)
    return entry
