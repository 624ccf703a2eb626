"""What people ask of many tasks at once: those that run, those that come next, those that were revoked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from litequeue.core.records import TaskRecord
from litequeue.store.sqlite.engine import TASK_COLUMNS, Engine, fetch

_FROM: Final = f"SELECT {TASK_COLUMNS} FROM litequeue_tasks"


class Overview(Engine):
    """The verbs of `contract.Viewer` that are about many tasks."""

    _ALL_RUNNING = f"{_FROM} WHERE state = 'running' ORDER BY holder, seq LIMIT ?"

    def running(self, limit: int) -> list[TaskRecord]:
        """Up to `limit` tasks that workers hold."""
        with self._database.read() as connection:
            return [TaskRecord._make(row) for row in fetch(connection, self._ALL_RUNNING, (limit,))]

    _ALL_SCHEDULED = f"{_FROM} WHERE state = 'scheduled' ORDER BY run_at LIMIT ?"

    def scheduled(self, limit: int) -> list[TaskRecord]:
        """Up to `limit` tasks that wait for a time, those due next first."""
        with self._database.read() as connection:
            return [TaskRecord._make(row) for row in fetch(connection, self._ALL_SCHEDULED, (limit,))]

    _NEXT_READY = f"{_FROM} WHERE state = 'ready' AND lane = ? ORDER BY priority DESC, seq LIMIT ?"

    def next_ready(self, queues: Iterable[str], limit: int) -> list[TaskRecord]:
        """Up to `limit` ready tasks of `queues`, those that start next first; those put aside are left out."""
        found: list[TaskRecord] = []
        with self._database.read() as connection:
            for queue in queues:
                found += map(TaskRecord._make, fetch(connection, self._NEXT_READY, (queue, limit)))
        found.sort(key=lambda task: (-task.priority, task.seq))
        return found[:limit]

    _ALL_REVOKED = """
        SELECT id FROM litequeue_tasks WHERE state = 'revoked' OR state = 'running' AND cancel IS NOT NULL
        ORDER BY seq DESC LIMIT ?
    """

    def revoked(self, limit: int) -> list[str]:
        """The ids of up to `limit` tasks that are revoked, or are to be when they stop running; newest first."""
        with self._database.read() as connection:
            return [task_id for (task_id,) in fetch(connection, self._ALL_REVOKED, (limit,))]

    _STARTED_BY = """
        SELECT name, count(*) FROM (
            SELECT name, worker, started_at FROM litequeue_tasks ORDER BY seq DESC LIMIT ?3)
        WHERE worker = ?1 AND started_at >= ?2 GROUP BY name ORDER BY name
    """

    def started_by(self, worker: str, since: float, limit: int) -> dict[str, int]:
        """How many tasks of each name the node `worker` has started since; counted in the newest `limit` tasks."""
        with self._database.read() as connection:
            return dict(fetch(connection, self._STARTED_BY, (worker, since, limit)))
