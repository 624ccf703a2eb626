"""A row's way through a worker: claim, settle, release. A finished batch and the next claim share one commit."""

from __future__ import annotations

import heapq
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apsw

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.failure import encode_exception
from litequeue.core.records import NORMAL, Claimed, Outcome, Settled, Ticket
from litequeue.store.contract import Channel, Claimant, Pick
from litequeue.store.sqlite.engine import LANE_SEPARATOR, Engine, fetch
from litequeue.store.sqlite.wakeup import WorkChannel

_PROMOTE_SLICE: Final = 500  # rows made ready by one claim when many fall due at once
_ASIDE_SLICE: Final = 500  # rows put aside or found expired by one claim
# The attempt that a claim begins; never over what SQLite can count, whatever somebody has written.
_CLAIMED_COLUMNS: Final = tuple(
    "min(attempt, 9223372036854775806) + 1" if name == "attempt" else name for name in Claimed._fields
)
_EMPTY: Final = (None, None, None)  # the three columns of a value that there is not
_ORDER = (Claimed._fields.index("priority"), Claimed._fields.index("seq"))


class _NotDurable(Exception):
    """An at-most-once row was met in a transaction that would not survive a power cut."""


class Lifecycle(Engine):
    """The verbs of `contract.Claimer`."""

    def claim(self, claimant: Claimant, limit: int, idle: bool = False) -> Settled:
        """Take up to `limit` ready rows, or mark the slot idle.

        A claim that is lost in a power cut is harmless, the row is still there: so it commits without a disk sync,
        unless it takes an at-most-once task.
        """
        if idle:
            next_at, found = self._look(claimant)
            if not found:
                return Settled((), (), (), (), next_at)
        try:
            return self._settle_and_claim(claimant, (), limit, idle, NORMAL)
        except _NotDurable:
            return self._settle_and_claim(claimant, (), limit, idle, self._durability)

    def settle(self, claimant: Claimant, outcomes: Sequence[Outcome], limit: int = 0) -> Settled:
        """End `outcomes`, and claim up to `limit` next rows, in one transaction."""
        return self._settle_and_claim(claimant, outcomes, limit, False, self._durability)

    def _settle_and_claim(
        self, claimant: Claimant, outcomes: Sequence[Outcome], limit: int, idle: bool, durability: str
    ) -> Settled:
        now = clock.now()
        ready: dict[str, int] = {}
        lost: tuple[Claimed, ...] = ()
        claimed: list[Claimed] = []
        expired: list[Claimed] = []
        aside: list[Claimed] = []
        next_at = None
        with self._database.write(durability) as connection:
            if outcomes:
                lost = self._end(connection, claimant, outcomes)
                _count_ready(outcomes, ready)
            if limit:
                next_at = self._promote(connection, now, ready)
                claimed, aside, expired = self._take(connection, claimant, limit, now, durability)
                if len(aside) + len(expired) >= _ASIDE_SLICE:
                    next_at = now  # rows were left unseen behind these
                if idle is bool(claimed):
                    connection.execute(self._MARK_IDLE, (-1 if claimed else 1, claimant.holder))
            slots = self._idle_slots(connection) if ready else []
        self._wake_after(slots, ready, outcomes, expired)
        return Settled(lost, tuple(claimed), tuple(expired), tuple(aside), next_at)

    _MARK_IDLE = "UPDATE litequeue_processes SET idle = idle + ? WHERE id = ?"

    def _wake_after(
        self,
        slots: list[tuple[int, int, str]],
        ready: dict[str, int],
        outcomes: Sequence[Outcome],
        expired: Sequence[Claimed],
    ) -> None:
        if slots:
            self._wake_idle(slots, ready)
        ports = {outcome.claimed.reply_port for outcome in outcomes}
        ports.update(claimed.reply_port for claimed in expired)
        self._sender.send_all(port for port in ports if port)

    # Looking, before the door is taken

    _NEXT_AT = "SELECT min(run_at) FROM litequeue_tasks WHERE state = 'scheduled'"

    def _look(self, claimant: Claimant) -> tuple[float | None, bool]:
        """When the next row is due, and whether there may be something to claim now."""
        with self._database.read() as connection:
            next_at = connection.execute(self._NEXT_AT).get
            if next_at is not None and next_at <= clock.now():
                return next_at, True
            return next_at, self._any_ready(connection, claimant.queues, claimant.picker.names)

    # Claiming

    _PROMOTE = f"""
        UPDATE litequeue_tasks SET state = 'ready'
        WHERE seq IN (
            SELECT seq FROM litequeue_tasks
            WHERE state = 'scheduled' AND run_at <= ? ORDER BY run_at LIMIT {_PROMOTE_SLICE})
        RETURNING queue
    """

    def _promote(self, connection: apsw.Connection, now: float, ready: dict[str, int]) -> float | None:
        """Make ready what is due; returns when the next row is."""
        next_at: float | None = connection.execute(self._NEXT_AT).get
        if next_at is None or next_at > now:
            return next_at
        for (queue,) in fetch(connection, self._PROMOTE, (now,)):
            ready[queue] = ready.get(queue, 0) + 1
        later: float | None = connection.execute(self._NEXT_AT).get
        return later

    _READY = f"""
        SELECT {", ".join(_CLAIMED_COLUMNS)} FROM litequeue_tasks
        WHERE state = 'ready' AND lane = ?
        ORDER BY priority DESC, seq
    """

    def _candidates(self, connection: apsw.Connection, claimant: Claimant) -> Iterator[tuple[Any, ...]]:
        """The ready rows in the order they are to be run, read one at a time."""
        lanes = self._lanes(connection, claimant.queues, claimant.picker.names)
        if len(lanes) == 1:
            return iter(connection.execute(self._READY, (lanes[0],)))
        priority, seq = _ORDER
        return heapq.merge(
            *(connection.execute(self._READY, (lane,)) for lane in lanes), key=lambda row: (-row[priority], row[seq])
        )

    _CLAIM = """
        UPDATE litequeue_tasks
        SET state = 'running', holder = ?, worker = ?, pid = ?, at_most_once = ?, attempt = ?, started_at = ?,
            custom_state = NULL
        WHERE seq = ?
    """
    _PUT_ASIDE = "UPDATE litequeue_tasks SET lane = ? WHERE seq = ?"
    _ADD_LANE = "INSERT OR IGNORE INTO litequeue_lanes (queue, name) VALUES (?, ?)"
    _EXPIRE = """
        UPDATE litequeue_tasks
        SET state = 'revoked', custom_state = NULL, result = ?, result_serializer = 'error', result_compression = NULL,
            finished_at = ?, prune_at = ?
        WHERE seq = ?
    """

    def _take(
        self, connection: apsw.Connection, claimant: Claimant, limit: int, now: float, durability: str
    ) -> tuple[list[Claimed], list[Claimed], list[Claimed]]:
        """Choose among the ready rows and claim them; returns (claimed, put aside, expired)."""
        taken, aside, expired = self._choose(connection, claimant, limit, now)
        picker, (holder, worker, pid) = claimant.picker, (claimant.holder, claimant.worker, claimant.pid)
        bindings = []
        for row in taken:
            at_most_once = picker.at_most_once(row.name)
            if at_most_once and durability != self._durability:
                raise _NotDurable
            bindings.append((holder, worker, pid, at_most_once, row.attempt, now, row.seq))
        connection.executemany(self._CLAIM, bindings)
        if aside:
            connection.executemany(self._PUT_ASIDE, ((row.queue + LANE_SEPARATOR + row.name, row.seq) for row in aside))
            connection.executemany(self._ADD_LANE, {(row.queue, row.name) for row in aside})
        if expired:
            error = encode_exception(exceptions.TaskRevokedError("expired"))
            prune_at = self._prune_at(now)
            connection.executemany(self._EXPIRE, ((error, now, prune_at, row.seq) for row in expired))
        return taken, aside, expired

    def _choose(
        self, connection: apsw.Connection, claimant: Claimant, limit: int, now: float
    ) -> tuple[list[Claimed], list[Claimed], list[Claimed]]:
        taken: list[Claimed] = []
        aside: list[Claimed] = []
        expired: list[Claimed] = []
        pick = claimant.picker.pick
        for values in self._candidates(connection, claimant):
            row = Claimed._make(values)
            if row.expires_at is not None and row.expires_at <= now:
                expired.append(row)
            else:
                choice = pick(row.name, row.deaths)
                if choice is Pick.STOP:
                    break
                if choice is Pick.ASIDE:
                    aside.append(row)
                else:
                    taken.append(row)
                    if choice is Pick.LAST or len(taken) >= limit:
                        break
            if len(aside) + len(expired) >= _ASIDE_SLICE:
                break  # keep the transaction short; the next claim goes on behind them
        return taken, aside, expired

    # Settling

    _END = """
        UPDATE litequeue_tasks
        SET state = ?, result = ?, result_serializer = ?, result_compression = ?, traceback = ?, finished_at = ?,
            prune_at = CASE ignore_result WHEN 2 THEN 0 ELSE ? END, custom_state = NULL
        WHERE seq = ? AND holder = ? AND attempt = ? AND state = 'running'
    """

    def _end(self, connection: apsw.Connection, claimant: Claimant, outcomes: Sequence[Outcome]) -> tuple[Claimed, ...]:
        """End every outcome that is still held; returns the others."""
        holder = claimant.holder
        plain = [o for o in outcomes if o.rerun is None and o.state != state.IGNORED]
        before = connection.total_changes()
        connection.executemany(self._END, (_ending(o, holder) for o in plain))
        lost: list[Claimed] = []
        if connection.total_changes() - before != len(plain):
            lost += self._find_lost(connection, holder, plain)
        if len(plain) != len(outcomes):
            for outcome in outcomes:
                if outcome.rerun is not None:
                    self._run_again(connection, holder, outcome)
                elif outcome.state == state.IGNORED:
                    self._end_ignored(connection, holder, outcome)
                else:
                    continue
                if not connection.changes():
                    lost.append(outcome.claimed)
        self._keep_attempts(connection, claimant, outcomes, lost)
        return tuple(lost)

    _ENDED_SO = """
        SELECT 1 FROM litequeue_tasks WHERE seq = ? AND holder = ? AND attempt = ? AND state = ? AND finished_at = ?
    """

    def _find_lost(self, connection: apsw.Connection, holder: int, outcomes: Sequence[Outcome]) -> list[Claimed]:
        """Which of `outcomes`, just written, changed nothing."""
        return [
            o.claimed
            for o in outcomes
            if not fetch(connection, self._ENDED_SO, (o.claimed.seq, holder, o.claimed.attempt, o.state, o.finished_at))
        ]

    # What `update_state` wrote before `raise Ignore()` stays: that is how a task sets its own last state.
    _END_IGNORED = """
        UPDATE litequeue_tasks
        SET state = 'ignored', finished_at = ?, prune_at = CASE ignore_result WHEN 2 THEN 0 ELSE ? END
        WHERE seq = ? AND holder = ? AND attempt = ? AND state = 'running'
    """

    def _end_ignored(self, connection: apsw.Connection, holder: int, outcome: Outcome) -> None:
        claimed = outcome.claimed
        connection.execute(
            self._END_IGNORED, (outcome.finished_at, outcome.prune_at, claimed.seq, holder, claimed.attempt)
        )

    _RUN_AGAIN = """
        UPDATE litequeue_tasks
        SET state = ?1, run_at = ?2, retries = coalesce(?3, retries),
            payload = coalesce(?4, payload), serializer = coalesce(?5, serializer),
            compression = CASE WHEN ?4 IS NULL THEN compression ELSE ?6 END,
            queue = coalesce(?7, queue), lane = coalesce(?7, lane), priority = coalesce(?8, priority),
            expires_at = coalesce(?9, expires_at), time_limit = coalesce(?10, time_limit),
            soft_time_limit = coalesce(?11, soft_time_limit), headers = coalesce(?12, headers),
            options = coalesce(?13, options), ignore_result = max(ignore_result, coalesce(?14, ignore_result)),
            result = ?15, result_serializer = ?16, result_compression = ?17, traceback = ?18, custom_state = NULL,
            finished_at = NULL, holder = NULL
        WHERE seq = ?19 AND holder = ?20 AND attempt = ?21 AND state = 'running'
    """

    def _run_again(self, connection: apsw.Connection, holder: int, outcome: Outcome) -> None:
        """A retry is one update of the row: the try that ended and the next one are never both there, nor both gone."""
        rerun, claimed = outcome.rerun, outcome.claimed
        assert rerun is not None, "the caller looked"
        connection.execute(
            self._RUN_AGAIN,
            (
                outcome.state,
                rerun.run_at,
                rerun.retries,
                *(rerun.payload or _EMPTY),
                rerun.queue,
                rerun.priority,
                rerun.expires_at,
                rerun.time_limit,
                rerun.soft_time_limit,
                rerun.headers,
                rerun.options,
                rerun.ignore_result,
                *(outcome.result or _EMPTY),
                outcome.traceback,
                claimed.seq,
                holder,
                claimed.attempt,
            ),
        )

    _KEEP_ATTEMPT = """
        INSERT OR REPLACE INTO litequeue_attempts
            (seq, attempt, outcome, error, traceback, worker, started_at, finished_at)
        SELECT seq, ?2, ?3, ?4, ?5, ?6, started_at, ?7 FROM litequeue_tasks WHERE seq = ?1
    """

    def _keep_attempts(
        self,
        connection: apsw.Connection,
        claimant: Claimant,
        outcomes: Sequence[Outcome],
        lost: Sequence[Claimed],
    ) -> None:
        """Keep the error of every attempt that did not succeed."""
        kept = [
            (o.claimed.seq, o.claimed.attempt, kind, o.result.data, o.traceback, claimant.worker, o.finished_at)
            for o in outcomes
            if (kind := _attempt_kind(o)) and o.result is not None and o.claimed not in lost
        ]
        if kept:
            connection.executemany(self._KEEP_ATTEMPT, kept)

    # Giving back

    _RELEASE = """
        UPDATE litequeue_tasks
        SET state = 'ready', holder = NULL, worker = NULL, pid = NULL, started_at = NULL, attempt = attempt - 1
        WHERE seq = ? AND holder = ? AND attempt = ? AND state = 'running'
        RETURNING queue
    """

    def release(self, holder: int, tickets: Iterable[Ticket]) -> int:
        """Give back claims that were not started."""
        ready: dict[str, int] = {}
        with self._database.write(NORMAL) as connection:
            for seq, attempt in tickets:
                for (queue,) in fetch(connection, self._RELEASE, (seq, holder, attempt)):
                    ready[queue] = ready.get(queue, 0) + 1
            slots = self._idle_slots(connection) if ready else []
        if slots:
            self._wake_idle(slots, ready)
        return sum(ready.values())

    def wait_for_work(self, channel: Channel, timeout: float, interrupt: socket.socket | None = None) -> bool:
        """Block an idle slot until it is woken."""
        assert isinstance(channel, WorkChannel), "a channel of this engine"
        return channel.wait(timeout, interrupt)


def _ending(outcome: Outcome, holder: int) -> tuple[Any, ...]:
    """The bindings of `_END`."""
    claimed = outcome.claimed
    return (
        outcome.state,
        *(outcome.result or _EMPTY),
        outcome.traceback,
        outcome.finished_at,
        outcome.prune_at,
        claimed.seq,
        holder,
        claimed.attempt,
    )


def _count_ready(outcomes: Sequence[Outcome], ready: dict[str, int]) -> None:
    """Count the rows that a settle makes ready at once: retries without a delay, and requeues."""
    for outcome in outcomes:
        if outcome.rerun is not None and outcome.state == state.READY:
            queue = outcome.rerun.queue or outcome.claimed.queue
            ready[queue] = ready.get(queue, 0) + 1


def _attempt_kind(outcome: Outcome) -> str | None:
    if outcome.state == state.FAILED:
        return "failed"
    if outcome.rerun is None:
        return None
    return "requeued" if outcome.rerun.retries is None else "retry"
