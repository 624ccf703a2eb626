"""The processes of workers: who is there, who is dead, and what the dead had held."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import apsw

from litequeue import exceptions
from litequeue.core import clock, process, state
from litequeue.core.failure import encode_exception
from litequeue.core.journal import ENDS, move
from litequeue.core.keys import STATES
from litequeue.core.records import NORMAL, Claimed, Identity, NewProcess, ProcessRecord, Rescued, Ticket
from litequeue.core.steering import Termination
from litequeue.core.ties import KEYED
from litequeue.store.contract import ONCE, Channel, DeathLimit
from litequeue.store.sqlite.claiming import Claiming, earlier
from litequeue.store.sqlite.engine import MOST_IDLE, fetch, read_queues
from litequeue.store.sqlite.release import NEEDED, OPEN, REVOKE_SET, REVOKED_ROW, Ended, Moves
from litequeue.store.sqlite.wakeup import WorkChannel, bind

_VACUUM_FREE_SHARE = 4  # incremental vacuum starts when a quarter of the file is free pages
_VACUUM_FREE_LEAST = 1000  # pages, 4 MB
_VACUUM_PAGES = 500  # pages a turn
_NEEDED_WAIT = 60.0  # seconds until a row is looked at again that is past its retention and still needed


class _Held(NamedTuple):
    """What is needed of a row to take it back from a dead process; the columns of `_HELD`."""

    seq: int
    id: str
    name: str
    queue: str
    attempt: int
    deaths: int
    at_most_once: int
    started_at: float | None
    worker: str | None
    reply_port: int | None
    ties: int
    group_id: str | None
    cancel: str | None


class Processes(Claiming):
    """The verbs of `contract.Supervisor`."""

    def open_channel(self) -> WorkChannel:
        """Bind the socket on which the idle slots of a worker wait."""
        return WorkChannel(bind())

    _REGISTER = """
        INSERT INTO litequeue_processes
            (worker, role, parent, host, boot, namespace, pid, started, port, queues, started_at, heartbeat_at, info,
             events)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
            coalesce((SELECT events FROM litequeue_processes WHERE id = ?3 AND ?2 = 'child'), ?14))
        RETURNING id, events
    """

    def register(self, process: NewProcess, channel: Channel | None = None) -> int:
        """Write the process into the file and return its number."""
        who, now = process.identity, clock.now()
        port = channel.port if isinstance(channel, WorkChannel) else None
        with self._database.write(NORMAL) as connection:
            ((number, events),) = fetch(
                connection,
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
                    process.events,
                ),
            )
            if events:
                self._gates_changed(connection)
        registered: int = number
        return registered

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

    def bury(
        self, process_id: int, reason: str, max_deaths: DeathLimit, guilty: Collection[Ticket] | None = None
    ) -> Rescued:
        """Take back what a dead process held."""
        return self._take_out(process_id, reason, max_deaths, guilty)

    _HELD = """
        SELECT seq, id, name, queue, attempt, deaths, at_most_once, started_at, worker, reply_port, ties, group_id,
               cancel
        FROM litequeue_tasks WHERE state = 'running' AND holder = ?
    """
    _GIVE_BACK = """
        UPDATE litequeue_tasks SET state = 'ready', holder = NULL, deaths = ?, custom_state = NULL
        WHERE seq = ? AND state = 'running'
    """
    _END_LOST = """
        UPDATE litequeue_tasks
        SET state = ?, deaths = ?, custom_state = NULL, result = ?, result_serializer = 'error',
            result_compression = NULL, traceback = ?, finished_at = ?, prune_at = iif(ignore_result = 2, 0, ?)
        WHERE seq = ? AND state = 'running'
    """
    _KEEP_LOSS = """
        INSERT OR REPLACE INTO litequeue_attempts
            (seq, attempt, outcome, error, traceback, worker, started_at, finished_at)
        VALUES (?, ?, 'lost', ?, NULL, ?, ?, ?)
    """
    _TAKE_OUT = "DELETE FROM litequeue_processes WHERE id = ? RETURNING events"

    def _take_out(
        self, process_id: int, reason: str, max_deaths: DeathLimit | None, guilty: Collection[Ticket] | None = None
    ) -> Rescued:
        """Give back or end what the process held, and delete it. Without `max_deaths` no death is counted; with
        `guilty`, only those of these attempts."""
        moves, ended = Moves(), list[Ended]()
        became: dict[str, list[str]] = {state.READY: [], state.FAILED: [], state.REVOKED: []}
        with self._database.write(self._durability) as connection:
            now = clock.now()
            for held in (_Held._make(row) for row in fetch(connection, self._HELD, (process_id,))):
                limit = max_deaths if guilty is None or (held.seq, held.attempt) in guilty else None
                limit = limit(held.name) if callable(limit) else limit
                became[self._give_up(connection, held, reason, limit, now, moves, ended)].append(held.id)
            self._follow(connection, ended, now, moves)
            self._write_counts(connection, now)
            slots = self._close(connection, moves, now)
            if connection.execute(self._TAKE_OUT, (process_id,)).get:
                self._gates_changed(connection)
        self._wake(moves, slots)
        return Rescued(
            requeued=tuple(became[state.READY]),
            failed=tuple(became[state.FAILED]),
            revoked=tuple(became[state.REVOKED]),
        )

    def _give_up(
        self,
        connection: apsw.Connection,
        held: _Held,
        reason: str,
        max_deaths: int | None,
        now: float,
        moves: Moves,
        ended: list[Ended],
    ) -> str:
        """Give back, or end, one row that the process held; returns the state that it has now."""
        died = max_deaths is not None
        deaths = held.deaths + died
        poison = max_deaths is not None and (bool(held.at_most_once) or deaths >= max_deaths)
        error = _lost(held.name, held.id, reason, deaths, bool(held.at_most_once))
        became, shown = state.READY, error
        if held.cancel is not None:
            became, shown = state.REVOKED, encode_exception(exceptions.TaskRevokedError("terminated"))
        elif poison or held.at_most_once == ONCE:
            became = state.FAILED
        if became == state.READY:
            connection.execute(self._GIVE_BACK, (deaths, held.seq))
            moves.ready[held.seq] = held.queue
            if held.ties & KEYED:
                moves.ready.update(self._unpark(connection, held.id))
        else:
            prune_at = self._prune_at(now)
            why = None if became == state.REVOKED else reason
            connection.execute(self._END_LOST, (became, deaths, shown, why, now, prune_at, held.seq))
            moves.ports.update((held.reply_port,) if held.reply_port else ())
            ended.append(Ended(held.id, became, held.ties, held.group_id, held.id, prune_at))
        moves.journal.append(move(ENDS[became], held.id, held.attempt))
        if died and became != state.REVOKED:
            connection.execute(self._KEEP_LOSS, (held.seq, held.attempt, error, held.worker, held.started_at, now))
        return became

    # What is to be killed

    _TERMINATIONS = f"""
        SELECT {", ".join(f"task.{name}" for name in Claimed._fields)}, task.holder, task.cancel
        FROM litequeue_processes own JOIN litequeue_tasks task ON task.holder = own.id AND task.state = 'running'
        WHERE (own.id = ?1 OR own.parent = ?1) AND task.cancel <> ''
    """

    def terminations(self, worker: int) -> list[Termination]:
        """The tasks that processes of the worker `worker` run, and that are to be killed."""
        with self._database.read() as connection:
            rows = fetch(connection, self._TERMINATIONS, (worker,))
        return [Termination(Claimed._make(row[:-2]), *row[-2:]) for row in rows]

    def rescue(self, lease: float, max_deaths: DeathLimit, worker: int = 0, spared: Collection[int] = ()) -> Rescued:
        """Bury every registered process that is dead; never a live one, nor one that its supervisor sees to."""
        requeued: tuple[str, ...] = ()
        failed: tuple[str, ...] = ()
        revoked: tuple[str, ...] = ()
        records = self.processes()
        lives = {record.id: process.is_alive(record.identity) for record in records}
        for record in records:
            alive = lives[record.id]
            silent = clock.now() - record.heartbeat_at
            if alive is True or (alive is None and silent < lease):
                continue
            seen_to = record.id in spared if record.parent == worker else silent < lease
            if seen_to and record.parent is not None and lives.get(record.parent):
                continue
            reason = (
                f"process {record.identity.pid} of {record.worker} died"
                if alive is False
                else f"{record.worker} on another host gave no sign of life for {silent:.0f} s"
            )
            rescued = self.bury(record.id, reason, max_deaths)
            requeued += rescued.requeued
            failed += rescued.failed
            revoked += rescued.revoked
        return Rescued(requeued=requeued, failed=failed, revoked=revoked)

    _PROCESSES = """
        SELECT id, worker, role, parent, host, boot, namespace, pid, started, port, queues, idle, started_at,
               heartbeat_at, info, events
        FROM litequeue_processes ORDER BY id
    """

    def processes(self) -> list[ProcessRecord]:
        """The registered processes, oldest first."""
        with self._database.read() as connection:
            return [_record(row) for row in fetch(connection, self._PROCESSES)]

    # Pruning

    _PRUNABLE = """
        SELECT seq, ties, iif(unique_key IS NULL, NULL, unique_until), unique_hold, state
        FROM litequeue_tasks WHERE prune_at IS NOT NULL AND prune_at <= ? ORDER BY prune_at LIMIT ?
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
            self._trim_journal(connection, now)
            self._trim_stats(connection, now)
            slots = self._close(connection, moves, now)
        self._wake(moves, slots)
        with suppress(exceptions.OperationalError):  # the commit stands; the next turn tries again
            self.vacuum()
        return pruned + len(expired)

    def _prune_rows(self, connection: apsw.Connection, now: float, limit: int) -> int:
        """Delete rows past their retention. One that an open row still takes is looked at later, behind the others; one
        that holds a unique key, when its window has passed."""
        rows = fetch(connection, self._PRUNABLE, (now, limit))
        later: dict[int, float] = {}
        for seq, ties, until, hold, stands in rows:
            if ties and connection.execute(self._NEEDED, (seq,)).get:
                later[seq] = now + _NEEDED_WAIT
            elif until is not None and until > now and (hold or 0) & STATES.get(stands, 0):
                later[seq] = until
        self._delete_rows(connection, [(row[0],) for row in rows if row[0] not in later])
        connection.executemany(self._PRUNE_LATER, ((at, seq) for seq, at in later.items()))
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
        """Wake idle slots of the worker if the file has changed, or something is due, and there is work for them."""
        assert isinstance(channel, WorkChannel), "a channel of this engine"
        version = self._data_version()
        if version == channel.version_seen and clock.now() < channel.look_at:
            return False
        channel.version_seen = version
        with self._database.read() as connection:
            gates = self._gates_of(connection)
            lanes, opens_at = self._open_lanes(connection, gates, gates.queues_of(holder, tuple(queues)))
            # A slot that knows what falls due next may be busy by then, and one that is idle may not know.
            next_at = earlier(connection.execute(self._NEXT_AT).get, opens_at)
            channel.look_at = math.inf if next_at is None else next_at
            free = connection.execute(self._FREE, (holder,)).get
            if not free or not (channel.look_at <= clock.now() or self._survey(connection, lanes)):
                return False
        self._sender.send(channel.port, free)
        return True

    def _any_due(self, connection: apsw.Connection) -> bool:
        return bool(connection.execute(self._DUE, (clock.now(),)).get)

    _COUNT_READY = "SELECT count(*) FROM (SELECT 1 FROM litequeue_tasks WHERE state = 'ready' AND lane = ? LIMIT ?)"
    _DUE_QUEUES = "SELECT queue FROM litequeue_tasks WHERE state = 'scheduled' AND run_at <= ? LIMIT ?"

    def backlog(self, worker: int, queues: Sequence[str], names: Collection[str], limit: int = 1000) -> int:
        """How many rows of its queues wait for a free slot of the worker; reads `limit` entries of an index a lane."""
        with self._database.read() as connection:
            gates = self._gates_of(connection)
            claimed_from = gates.queues_of(worker, tuple(queues))
            due = fetch(connection, self._DUE_QUEUES, (clock.now(), limit))
            count = sum(queue in claimed_from and queue not in gates.paused_queues for (queue,) in due)
            for lane in self._open_lanes(connection, gates, claimed_from, names).lanes:
                if count >= limit:
                    break
                count += connection.execute(self._COUNT_READY, (lane, limit)).get
        return min(count, limit)

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
    """What a process says of itself; without what is not as we write it."""
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(info, dict):
        return {}
    return {name: value for name, value in info.items() if name not in _IS_OURS or _IS_OURS[name](value)}


_IS_OURS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "pool": lambda value: isinstance(value, str),
    "concurrency": lambda value: type(value) is int and 0 <= value <= _MOST_SLOTS,
    "tasks": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
}
_MOST_SLOTS: Final = 100_000


def _record(row: tuple[Any, ...]) -> ProcessRecord:
    number, worker, role, parent, host, boot, namespace, pid, started, port, queues, idle, since, beat, info, events = (
        row
    )
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
        events=bool(events),
    )
