"""The processes of workers: who is there, who is dead, and what the dead had held."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import apsw

from litequeue import exceptions
from litequeue.core import clock, process, state
from litequeue.core.failure import encode_exception
from litequeue.core.records import NORMAL, Claimed, Identity, NewProcess, ProcessRecord, Rescued
from litequeue.store.contract import Channel
from litequeue.store.sqlite.engine import MOST_IDLE, fetch, read_queues
from litequeue.store.sqlite.release import NEEDED, OPEN, REVOKE_SET, REVOKED_ROW, Ended, Moves, Releasing
from litequeue.store.sqlite.wakeup import WorkChannel, bind

_VACUUM_FREE_SHARE = 4  # incremental vacuum starts when a quarter of the file is free pages
_VACUUM_FREE_LEAST = 1000  # pages, 4 MB
_VACUUM_PAGES = 500  # pages a turn
_NEEDED_WAIT = 60.0  # seconds until a row is looked at again that is past its retention and still needed


class Processes(Releasing):
    """The verbs of `contract.Supervisor`."""

    def open_channel(self) -> WorkChannel:
        """Bind the socket on which the idle slots of a worker wait."""
        return WorkChannel(bind())

    _REGISTER = """
        INSERT INTO litequeue_processes
            (worker, role, parent, host, boot, namespace, pid, started, port, queues, started_at, heartbeat_at, info)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """

    def register(self, process: NewProcess, channel: Channel | None = None) -> int:
        """Write the process into the file and return its number."""
        who, now = process.identity, clock.now()
        port = channel.port if isinstance(channel, WorkChannel) else None
        with self._database.write(NORMAL) as connection:
            connection.execute(
                self._REGISTER,
                (
                    process.worker,
                    process.role,
                    process.parent,
                    who.host,
                    who.boot,
                    who.namespace,
                    who.pid,
                    who.started,
                    port,
                    json.dumps(process.queues),
                    now,
                    now,
                    json.dumps(dict(process.info)),
                ),
            )
            return connection.last_insert_rowid()

    _HEARTBEAT = "UPDATE litequeue_processes SET heartbeat_at = ? WHERE id = ?"

    def heartbeat(self, process_ids: Collection[int]) -> None:
        """Say that these processes are alive."""
        now = clock.now()
        with self._database.write(NORMAL) as connection:
            connection.executemany(self._HEARTBEAT, ((now, process_id) for process_id in process_ids))

    # What a process held when it ended

    _HELD_CLAIMS = f"SELECT {', '.join(Claimed._fields)} FROM litequeue_tasks WHERE state = 'running' AND holder = ?"

    def held(self, process_id: int) -> list[Claimed]:
        """What the process holds now."""
        with self._database.read() as connection:
            return [Claimed._make(row) for row in fetch(connection, self._HELD_CLAIMS, (process_id,))]

    def deregister(self, process_id: int) -> Rescued:
        """Take a process out that ended in order."""
        return self._take_out(process_id, "its worker was stopped cold", max_deaths=None)

    def bury(self, process_id: int, reason: str, max_deaths: int) -> Rescued:
        """Take back what a dead process held."""
        return self._take_out(process_id, reason, max_deaths)

    _HELD = """
        SELECT seq, id, name, queue, attempt, deaths, at_most_once, started_at, worker, reply_port, ties, group_id
        FROM litequeue_tasks WHERE state = 'running' AND holder = ?
    """
    _GIVE_BACK = """
        UPDATE litequeue_tasks SET state = 'ready', holder = NULL, deaths = ?, custom_state = NULL
        WHERE seq = ? AND state = 'running'
    """
    _FAIL = """
        UPDATE litequeue_tasks
        SET state = 'failed', deaths = ?, custom_state = NULL, result = ?, result_serializer = 'error',
            result_compression = NULL, traceback = ?, finished_at = ?, prune_at = iif(ignore_result = 2, 0, ?)
        WHERE seq = ? AND state = 'running'
    """
    _KEEP_LOSS = """
        INSERT OR REPLACE INTO litequeue_attempts
            (seq, attempt, outcome, error, traceback, worker, started_at, finished_at)
        VALUES (?, ?, 'lost', ?, NULL, ?, ?, ?)
    """
    _TAKE_OUT = "DELETE FROM litequeue_processes WHERE id = ?"

    def _take_out(self, process_id: int, reason: str, max_deaths: int | None) -> Rescued:
        """Give back or fail what the process held, and delete it. Without `max_deaths` no death is counted."""
        now = clock.now()
        prune_at = self._prune_at(now)
        requeued: list[str] = []
        failed: list[str] = []
        moves, ended = Moves(), list[Ended]()
        with self._database.write(self._durability) as connection:
            for held in fetch(connection, self._HELD, (process_id,)):
                (seq, task_id, name, queue, attempt, deaths, at_most_once, started_at, worker, port, ties, group_id) = (
                    held
                )
                deaths += max_deaths is not None
                poison = max_deaths is not None and deaths >= max_deaths
                if at_most_once or poison:
                    error = _lost(name, task_id, reason, deaths, bool(at_most_once))
                    connection.execute(self._FAIL, (deaths, error, reason, now, prune_at, seq))
                    failed.append(task_id)
                    moves.ports.update((port,) if port else ())
                    ended.append(Ended(task_id, state.FAILED, ties, group_id, task_id, prune_at))
                else:
                    error = _lost(name, task_id, reason, deaths, False)
                    connection.execute(self._GIVE_BACK, (deaths, seq))
                    requeued.append(task_id)
                    moves.ready[seq] = queue
                if max_deaths is not None:
                    connection.execute(self._KEEP_LOSS, (seq, attempt, error, worker, started_at, now))
            self._follow(connection, ended, now, moves)
            connection.execute(self._TAKE_OUT, (process_id,))
            slots = self._slots_for(connection, moves)
        self._wake(moves, slots)
        return Rescued(requeued=tuple(requeued), failed=tuple(failed))

    def rescue(self, lease: float, max_deaths: int) -> Rescued:
        """Bury every registered process that is dead; never a live one."""
        requeued: tuple[str, ...] = ()
        failed: tuple[str, ...] = ()
        for record in self.processes():
            alive = process.is_alive(record.identity)
            silent = clock.now() - record.heartbeat_at
            if alive is True or (alive is None and silent < lease):
                continue
            reason = (
                f"process {record.identity.pid} of {record.worker} died"
                if alive is False
                else f"{record.worker} on another host gave no sign of life for {silent:.0f} s"
            )
            rescued = self.bury(record.id, reason, max_deaths)
            requeued += rescued.requeued
            failed += rescued.failed
        return Rescued(requeued=requeued, failed=failed)

    _PROCESSES = """
        SELECT id, worker, role, parent, host, boot, namespace, pid, started, port, queues, idle, started_at,
               heartbeat_at, info
        FROM litequeue_processes ORDER BY id
    """

    def processes(self) -> list[ProcessRecord]:
        """The registered processes, oldest first."""
        with self._database.read() as connection:
            return [_record(row) for row in fetch(connection, self._PROCESSES)]

    # Pruning

    _PRUNABLE = """
        SELECT seq, ties FROM litequeue_tasks WHERE prune_at IS NOT NULL AND prune_at <= ? ORDER BY prune_at LIMIT ?
    """
    _NEEDED = f"SELECT 1 FROM litequeue_tasks task WHERE seq = ? AND {NEEDED}"
    _PRUNE_LATER = "UPDATE litequeue_tasks SET prune_at = ? WHERE seq = ?"
    _PRUNABLE_GROUPS = """
        SELECT id FROM litequeue_groups WHERE prune_at IS NOT NULL AND prune_at <= ? ORDER BY prune_at LIMIT ?
    """
    _NEEDED_GROUP = f"SELECT 1 FROM (SELECT id FROM litequeue_groups WHERE id = ?) task WHERE {NEEDED}"
    _PRUNE_GROUP = "DELETE FROM litequeue_groups WHERE id = ?"
    _PRUNE_GROUP_LATER = "UPDATE litequeue_groups SET prune_at = ? WHERE id = ?"
    _EXPIRED = f"""{REVOKE_SET}
        WHERE seq IN (
            SELECT seq FROM litequeue_tasks WHERE expires_at IS NOT NULL AND {OPEN} AND expires_at <= ?2 LIMIT ?4)
        {REVOKED_ROW}
    """

    def prune(self, limit: int) -> int:
        """Delete up to `limit` rows past their retention, and revoke up to `limit` that expired unstarted."""
        now, moves = clock.now(), Moves()
        error = encode_exception(exceptions.TaskRevokedError("expired"))
        with self._database.write(NORMAL) as connection:
            pruned = self._prune_rows(connection, now, limit)
            self._prune_groups(connection, now, limit)
            expired = fetch(connection, self._EXPIRED, (error, now, self._prune_at(now), limit))
            self._follow_revoked(connection, expired, now, moves)
            slots = self._slots_for(connection, moves)
        self._wake(moves, slots)
        with suppress(exceptions.OperationalError):  # the commit stands; the next turn tries again
            self.vacuum()
        return pruned + len(expired)

    def _prune_rows(self, connection: apsw.Connection, now: float, limit: int) -> int:
        """Delete rows past their retention. One that an open row still takes is looked at later, behind the others."""
        rows = fetch(connection, self._PRUNABLE, (now, limit))
        needed = {seq for seq, ties in rows if ties and connection.execute(self._NEEDED, (seq,)).get}
        self._delete_rows(connection, [(seq,) for seq, _ in rows if seq not in needed])
        connection.executemany(self._PRUNE_LATER, ((now + _NEEDED_WAIT, seq) for seq in needed))
        return len(rows)

    def _prune_groups(self, connection: apsw.Connection, now: float, limit: int) -> None:
        for (group_id,) in fetch(connection, self._PRUNABLE_GROUPS, (now, limit)):
            if connection.execute(self._NEEDED_GROUP, (group_id,)).get:
                connection.execute(self._PRUNE_GROUP_LATER, (now + _NEEDED_WAIT, group_id))
            else:
                connection.execute(self._PRUNE_GROUP, (group_id,))

    def vacuum(self) -> bool:
        """Give free pages back to the disk when they are many; a file that we did not make is left alone."""
        with self._database.read() as connection:
            free = connection.execute("PRAGMA freelist_count").get
            pages = connection.execute("PRAGMA page_count").get
            incremental = connection.execute("PRAGMA auto_vacuum").get == 2
        if not (incremental and free > _VACUUM_FREE_LEAST and free * _VACUUM_FREE_SHARE > pages):
            return False
        with self._database.write(NORMAL) as connection:
            fetch(connection, f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
        return True

    # The safety net under the datagrams

    _DUE = "SELECT 1 FROM litequeue_tasks WHERE state = 'scheduled' AND run_at <= ? LIMIT 1"
    _FREE = f"""
        SELECT coalesce(sum(min(idle, {MOST_IDLE})), 0) FROM litequeue_processes WHERE id = ?1 OR parent = ?1
    """

    def wake(self, holder: int, channel: Channel, queues: Sequence[str]) -> bool:
        """Wake idle slots of the worker if the file has changed and there is work for them."""
        assert isinstance(channel, WorkChannel), "a channel of this engine"
        version = self._data_version()
        if version == channel.version_seen:
            return False
        channel.version_seen = version
        with self._database.read() as connection:
            free = connection.execute(self._FREE, (holder,)).get
            if not free or not (self._any_due(connection) or self._any_ready(connection, queues)):
                return False
        self._sender.send(channel.port, free)
        return True

    def _any_due(self, connection: apsw.Connection) -> bool:
        return bool(connection.execute(self._DUE, (clock.now(),)).get)

    _RUNNING = "SELECT DISTINCT queue FROM litequeue_tasks WHERE state = 'running'"

    def busy(self, queues: Sequence[str], names: Collection[str]) -> bool:
        """Whether a row of `queues` is running, or ready or due for a worker that knows `names`."""
        with self._database.read() as connection:
            running = {queue for (queue,) in fetch(connection, self._RUNNING)}
            if not running.isdisjoint(queues) or self._any_due(connection):
                return True
            return self._any_ready(connection, queues, names)

    def connection_info(self) -> Mapping[str, Any]:
        """What a banner and a bug report show of the file."""
        with self._database.read() as connection:
            return {
                "path": self.path,
                "durability": self._durability,
                "journal_mode": connection.execute("PRAGMA journal_mode").get,
                "schema_version": connection.execute(
                    "SELECT value FROM litequeue_meta WHERE key = 'schema_version'"
                ).get,
                "sqlite": apsw.sqlite_lib_version(),
                "apsw": apsw.apsw_version(),
            }


def _lost(name: str, task_id: str, reason: str, deaths: int, at_most_once: bool) -> str:
    rule = "it is at most once (acks_late=False)" if at_most_once else f"{deaths} of its processes died"
    return encode_exception(exceptions.WorkerLostError(f"{name}[{task_id}]: {reason}; {rule}"))


def _read_info(text: str) -> dict[str, Any]:
    try:
        info = json.loads(text)
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}


def _record(row: tuple[Any, ...]) -> ProcessRecord:
    number, worker, role, parent, host, boot, namespace, pid, started, port, queues, idle, since, beat, info = row
    return ProcessRecord(
        id=number,
        worker=worker,
        role=role,
        parent=parent,
        identity=Identity(host=host, boot=boot, namespace=namespace, pid=pid, started=started),
        port=port,
        queues=read_queues(queues),
        idle=idle,
        started_at=since,
        heartbeat_at=beat,
        info=_read_info(info),
    )
