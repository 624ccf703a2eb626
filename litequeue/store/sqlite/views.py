"""What readers ask. Nothing here writes, and nothing keeps a read transaction open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields

from litequeue.core.records import AttemptRecord, TaskRecord
from litequeue.store.sqlite.engine import Engine, fetch, task_record, task_records

_ATTEMPT_FIELDS = tuple(field.name for field in fields(AttemptRecord))
_SLICE = 500  # ids asked for in one statement


class Views(Engine):
    """The verbs of `contract.Viewer`."""

    def task(self, task_id: str) -> TaskRecord | None:
        """The task, or None when the file has no such row."""
        with self._database.read() as connection:
            return task_record(connection, task_id)

    def tasks(self, ids: Sequence[str]) -> list[TaskRecord]:
        """Those of `ids` that the file has."""
        found: list[TaskRecord] = []
        for part in _slices(ids):
            with self._database.read() as connection:
                found += task_records(connection, part)
        return found

    _STATES = "SELECT id, state FROM litequeue_tasks WHERE id IN (SELECT value FROM json_each(?))"

    def states(self, ids: Sequence[str]) -> dict[str, str]:
        """The engine state of each of `ids` that the file has."""
        found: dict[str, str] = {}
        for part in _slices(ids):
            with self._database.read() as connection:
                found.update(fetch(connection, self._STATES, (json.dumps(part),)))
        return found

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
