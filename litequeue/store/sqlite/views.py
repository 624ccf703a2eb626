"""What readers ask. Nothing here writes, and nothing keeps a read transaction open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields

from litequeue.core.records import AttemptRecord, TaskRecord
from litequeue.store.sqlite.engine import Engine, fetch

_TASK_FIELDS = tuple(field.name for field in fields(TaskRecord))
_ATTEMPT_FIELDS = tuple(field.name for field in fields(AttemptRecord))
_SLICE = 500  # ids asked for in one statement


class Views(Engine):
    """The verbs of `contract.Viewer`."""

    _TASK = f"""
        SELECT {", ".join("lane <> queue AS aside" if name == "aside" else name for name in _TASK_FIELDS)}
        FROM litequeue_tasks WHERE id = ?
    """

    def task(self, task_id: str) -> TaskRecord | None:
        """The task, or None when the file has no such row."""
        with self._database.read() as connection:
            row = connection.execute(self._TASK, (task_id,)).fetchone()
        if row is None:
            return None
        values = dict(zip(_TASK_FIELDS, row, strict=True))
        for name in ("ignore_result", "aside"):
            values[name] = bool(values[name])
        return TaskRecord(**values)

    _STATES = "SELECT id, state FROM litequeue_tasks WHERE id IN (SELECT value FROM json_each(?))"

    def states(self, ids: Sequence[str]) -> dict[str, str]:
        """The engine state of each of `ids` that the file has."""
        found: dict[str, str] = {}
        for part in _slices(ids):
            with self._database.read() as connection:
                found.update(fetch(connection, self._STATES, (json.dumps(part),)))
        return found

    _CHILDREN = "SELECT id FROM litequeue_tasks WHERE parent_id = ? ORDER BY seq"

    def children(self, task_id: str) -> list[str]:
        """The ids of the tasks that the task enqueued, oldest first."""
        with self._database.read() as connection:
            return [child for (child,) in fetch(connection, self._CHILDREN, (task_id,))]

    _ATTEMPTS = f"""
        SELECT {", ".join("litequeue_attempts." + name for name in _ATTEMPT_FIELDS)}
        FROM litequeue_attempts JOIN litequeue_tasks USING (seq)
        WHERE litequeue_tasks.id = ? ORDER BY litequeue_attempts.attempt
    """

    def attempts(self, task_id: str) -> list[AttemptRecord]:
        """The attempts of the task that did not succeed, oldest first."""
        with self._database.read() as connection:
            rows = fetch(connection, self._ATTEMPTS, (task_id,))
        return [AttemptRecord(**dict(zip(_ATTEMPT_FIELDS, row, strict=True))) for row in rows]

    _COUNTS = "SELECT queue, state, count(*) FROM litequeue_tasks GROUP BY queue, state"

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows there are: `{queue: {state: count}}`."""
        with self._database.read() as connection:
            rows = fetch(connection, self._COUNTS)
        counts: dict[str, dict[str, int]] = {}
        for queue, state, count in rows:
            counts.setdefault(queue, {})[state] = count
        return counts

    def changes(self) -> int:
        """A number to hand to `wait_for_change`."""
        return self._changes.count()

    def wait_for_change(self, seen: int, timeout: float) -> int:
        """Block until the file may have changed, at most `timeout` seconds."""
        return self._changes.wait(seen, timeout)


def _slices(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _SLICE):
        yield list(ids[start : start + _SLICE])
