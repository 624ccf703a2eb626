"""What the verbs share: the database, the sockets, the options, and waking after a commit."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import apsw

from litequeue import exceptions
from litequeue.core.records import DURABILITIES, NewGroup, NewTask, TaskRecord
from litequeue.store.contract import Guard, StoreOptions
from litequeue.store.sqlite.connection import Database
from litequeue.store.sqlite.guarding import guards
from litequeue.store.sqlite.migrations import prepare
from litequeue.store.sqlite.wakeup import Changes, Sender

LANE_SEPARATOR = "\t"
"""Between queue and task name, in the lane of rows put aside for workers that know the name."""


def fetch(connection: apsw.Connection, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
    """All rows of `statement`: what it gives is known where it is written, so the rows are untyped."""
    return connection.execute(statement, bindings).fetchall()


def read_queues(text: str) -> tuple[str, ...]:
    """The queues of a process; none where the row is not as we write it."""
    try:
        return tuple(queue for queue in map(str, json.loads(text)) if is_text(queue))
    except (TypeError, ValueError, RecursionError):
        return ()


def is_text(value: str) -> bool:
    """Whether SQLite can be asked for it: JSON can say half a surrogate pair, UTF-8 cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


# A flag whose column says more than yes or no.
_FLAGS: Final = {"ignore_result": "ignore_result > 0"}
TASK_COLUMNS: Final = ", ".join(_FLAGS.get(name, name) for name in TaskRecord._fields)
"""What makes a TaskRecord of a row."""
_TASK: Final = f"SELECT {TASK_COLUMNS} FROM litequeue_tasks WHERE id "


def task_record(connection: apsw.Connection, task_id: str) -> TaskRecord | None:
    """The task, or None when the file has no such row."""
    row = connection.execute(_TASK + "= ?", (task_id,)).fetchone()
    return None if row is None else TaskRecord._make(row)


def task_records(connection: apsw.Connection, ids: Sequence[str]) -> list[TaskRecord]:
    """Those of `ids` that the file has."""
    rows = fetch(connection, _TASK + "IN (SELECT value FROM json_each(?))", (json.dumps(ids),))
    return [TaskRecord._make(row) for row in rows]


MOST_IDLE: Final = 1000
"""Slots of one process that are woken at a time; whatever somebody has written into its row."""


class Engine:
    """The base of the store's rooms: `enqueue`, `lifecycle`, `processes`, `views` each add their verbs to it."""

    def __init__(self, path: str, options: StoreOptions) -> None:
        self._options = options
        self._database = Database(path, options, prepare)
        self.path = self._database.path
        self._durability = options.durability
        self._open_sockets()
        _engines.add(self)

    def _open_sockets(self) -> None:
        self._sender = Sender()
        self._changes = Changes(self._data_version)

    # data_version tells a connection of the commits of all others, so it is asked of the one that never writes.
    _DATA_VERSION = "PRAGMA data_version"
    _CHANGES_IN_MEMORY = "SELECT total_changes()"

    def _data_version(self) -> int:
        with self._database.read() as connection:
            version: int = connection.execute(
                self._CHANGES_IN_MEMORY if self._database.memory else self._DATA_VERSION
            ).get
            return version

    _DELETE_ATTEMPTS = "DELETE FROM litequeue_attempts WHERE seq = ?"

    def _prune_at(self, now: float) -> float | None:
        """When a row that the store itself ends at `now` may be deleted; None: never."""
        retention = self._options.failure_retention
        return None if retention is None else now + retention

    def _durability_of(self, asked: str | None) -> str:
        """The durability of a commit; ValueError: there is none of that name."""
        if asked is None:
            return self._durability
        if asked not in DURABILITIES:
            raise ValueError(f"durability={asked!r}: give one of {', '.join(map(repr, DURABILITIES))}.")
        return asked

    _HAS_ID = "SELECT 1 FROM litequeue_tasks WHERE id = ?"
    _HAS_GROUP = "SELECT 1 FROM litequeue_groups WHERE id = ?"

    def _duplicate(
        self, tasks: Iterable[NewTask], error: apsw.ConstraintError, groups: Iterable[NewGroup] = ()
    ) -> Exception:
        """Why the file refused `tasks` and `groups`."""
        with self._database.read() as connection:
            return self._refused(connection, tasks, error, groups)

    def _refused(
        self,
        connection: apsw.Connection,
        tasks: Iterable[NewTask],
        error: apsw.ConstraintError,
        groups: Iterable[NewGroup] = (),
    ) -> Exception:
        """`_duplicate`, asked on a connection that is open already."""
        for kind, nodes, statement in (("task", tasks, self._HAS_ID), ("group", groups, self._HAS_GROUP)):
            seen: set[str] = set()
            for node in nodes:
                if node.id in seen or connection.execute(statement, (node.id,)).get:
                    return exceptions.DuplicateTaskError(
                        f"{node.id}: {self.path} already has a {kind} with this id; nothing was enqueued. Leave"
                        f" {kind}_id out, or forget() the old {kind} first."
                    )
                seen.add(node.id)
        return exceptions.InvalidTaskError(f"{self.path}: the file refused the task: {error}")

    _IDLE_SLOTS = f"""
        SELECT port, min(idle, {MOST_IDLE}), queues FROM litequeue_processes WHERE idle > 0 AND port IS NOT NULL
    """

    def _idle_slots(self, connection: apsw.Connection) -> list[tuple[int, int, str]]:
        """(port, idle slots, queues as JSON) of every process with idle slots."""
        return fetch(connection, self._IDLE_SLOTS)

    def _wake_idle(self, idle: list[tuple[int, int, str]], ready: Mapping[str, int]) -> None:
        """Send min(ready rows, idle slots) datagrams for each queue in `ready`."""
        slots = [(port, read_queues(queues)) for port, _, queues in idle]
        free = [count for _, count, _ in idle]
        for queue, wanted in ready.items():
            for number, (port, queues) in enumerate(slots):
                count = min(wanted, free[number])
                if count > 0 and queue in queues:
                    self._sender.send(port, count)
                    free[number] -= count
                    wanted -= count

    _CONTROL_PORTS = "SELECT port FROM litequeue_processes WHERE role = 'control' AND port IS NOT NULL"

    def _control_ports(self, connection: apsw.Connection) -> list[int]:
        """Where the workers hear that something in the file concerns them."""
        return [port for (port,) in fetch(connection, self._CONTROL_PORTS)]

    def guard(self, guard: Guard | None) -> None:
        """Tell `guard` from now on of each call in this thread that must not be interrupted; None: no more."""
        if guard is None:
            guards.pop(threading.get_ident(), None)
        else:
            guards[threading.get_ident()] = guard

    def close(self) -> None:
        """Close the file and the sockets; the next call opens them again."""
        self._database.close()
        self._sender.close()
        self._changes.close()


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # A child that read from its parent's sockets would take hints that were meant for the parent.
    for engine in list(_engines):
        engine._open_sockets()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
