"""A row's way through a worker: claim, settle, release. A finished batch and the next claim share one commit."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apsw

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.failure import encode_exception
from litequeue.core.journal import RELEASED, move
from litequeue.core.records import (
    ERROR,
    NORMAL,
    Claimed,
    Encoded,
    Graft,
    Keys,
    NewCanvas,
    NewGroup,
    NewTask,
    Outcome,
    Settled,
    Ticket,
)
from litequeue.core.ties import ERRBACK, ERRBACKS, KEYED, write_errbacks
from litequeue.store.contract import Channel, Claimant
from litequeue.store.sqlite.claiming import Claiming, NotDurable, Taken, earlier
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.journal import claims, ends
from litequeue.store.sqlite.logs import last_lines
from litequeue.store.sqlite.release import Ended, Moves, first_state, kept_errbacks
from litequeue.store.sqlite.wakeup import WorkChannel

_NOTHING: Final = Taken([], [], [], [])
_EMPTY: Final = (None, None, None)  # the three columns of a value that there is not
# What a row takes from the task that it becomes.
_BECOMING: Final = (
    "name",
    "queue",
    "priority",
    "payload",
    "serializer",
    "compression",
    "run_at",
    "expires_at",
    "retries",
    "time_limit",
    "soft_time_limit",
    "headers",
    "options",
    "after",
    "edge",
    "takes_input",
    "countdown",
    "lifetime",
)


class Lifecycle(Claiming):
    """The verbs of `contract.Claimer`."""

    def claim(self, claimant: Claimant, limit: int, idle: bool = False) -> Settled:
        """Take up to `limit` ready rows, or mark the slot idle.

        A claim that is lost in a power cut is harmless, the row is still there: so it commits without a disk sync,
        unless it takes an at-most-once task.
        """
        if idle:
            next_at, found = self._look(claimant)
            if not found and not self._has_counts(clock.now()):
                return Settled((), (), (), (), next_at)
        try:
            return self._settle_and_claim(claimant, (), limit, idle, NORMAL)
        except NotDurable:
            return self._settle_and_claim(claimant, (), limit, idle, self._durability)

    def settle(self, claimant: Claimant, outcomes: Sequence[Outcome], limit: int = 0, idle: bool = False) -> Settled:
        """End `outcomes`, and claim up to `limit` next rows, in one transaction."""
        return self._settle_and_claim(claimant, outcomes, limit, idle, self._durability)

    def _settle_and_claim(
        self, claimant: Claimant, outcomes: Sequence[Outcome], limit: int, idle: bool, durability: str
    ) -> Settled:
        moves = Moves()
        lost: tuple[Claimed, ...] = ()
        taken, next_at = _NOTHING, None
        logs = last_lines(outcomes)
        with self._database.write(durability) as connection:
            now = clock.now()  # inside: whoever had to wait for the file starts its tasks now, and not before
            gates = self._gates_of(connection)
            told = claimant.holder in gates.events
            if outcomes:
                self._keep_lines(connection, claimant.holder, logs)
                lost = self._end(connection, claimant, outcomes, now, moves)
                if told:
                    moves.journal += ends(outcomes, lost, moves.cancelled)
            if limit:
                next_at = self._promote(connection, now, moves)
                taken, opens_at = self._take(connection, claimant, gates, limit, now, moves, durability)
                next_at = earlier(next_at, opens_at)
                if taken.unseen() or (taken.expired and moves.ready):
                    next_at = now  # rows were left unseen behind these, or released by their end
                if idle is bool(taken.claimed):
                    connection.execute(self._MARK_IDLE, (-1 if taken.claimed else 1, claimant.holder))
                for row in taken.claimed:  # what was made ready and claimed at once needs nobody else
                    moves.ready.pop(row.seq, None)
            elif idle:
                connection.execute(self._MARK_IDLE, (-1, claimant.holder))
            self._count_up(connection, outcomes, lost, taken.claimed, now)
            if told:
                self._append(connection, [*moves.all_moves(), *claims(taken.claimed)], now, claimant.worker)
            slots = self._slots_for(connection, moves)
        self._wake(moves, slots)
        return Settled(lost, tuple(taken.claimed), tuple(taken.expired), tuple(taken.aside), next_at)

    _MARK_IDLE = "UPDATE litequeue_processes SET idle = idle + ? WHERE id = ?"

    # Settling

    _END = """
        UPDATE litequeue_tasks
        SET state = ?, result = ?, result_serializer = ?, result_compression = ?, traceback = ?, finished_at = ?,
            prune_at = CASE ignore_result WHEN 2 THEN 0 ELSE ? END, custom_state = NULL
        WHERE seq = ? AND holder = ? AND attempt = ? AND ties = ? AND state = 'running'
    """

    def _end(
        self,
        connection: apsw.Connection,
        claimant: Claimant,
        outcomes: Sequence[Outcome],
        now: float,
        moves: Moves,
    ) -> tuple[Claimed, ...]:
        """End every outcome that is still held, and what hangs on it; returns the others."""
        holder = claimant.holder
        ended: list[Ended] = []
        plain = [o for o in outcomes if o.rerun is None and o.graft is None and o.state != state.IGNORED]
        lost = self._end_plain(connection, holder, plain, ended)
        if len(plain) != len(outcomes):
            for outcome in outcomes:
                if outcome.rerun is not None:
                    done = self._run_again(connection, holder, outcome, moves, ended)
                elif outcome.graft is not None:
                    done = self._graft(connection, claimant, outcome, moves, ended)
                elif outcome.state == state.IGNORED:
                    done = self._end_ignored(connection, holder, outcome, ended)
                else:
                    continue
                if not done:
                    lost.append(outcome.claimed)
        self._keep_attempts(connection, claimant, outcomes, lost)
        if ended:
            self._follow(connection, ended, now, moves)
        takers = (o.claimed for o in outcomes if o.claimed.takes_input and _takes_no_more(o))
        self._drop_taken(connection, {taker.after for taker in takers if taker.after and taker.edge != ERRBACK})
        moves.ports.update(o.claimed.reply_port for o in outcomes if o.claimed.reply_port)
        return tuple(lost)

    _HELD_TIES = """
        SELECT ties FROM litequeue_tasks WHERE seq = ? AND holder = ? AND attempt = ? AND state = 'running'
    """

    def _end_plain(
        self, connection: apsw.Connection, holder: int, outcomes: Sequence[Outcome], ended: list[Ended]
    ) -> list[Claimed]:
        """End rows that nothing else changes with; returns those that are lost."""
        unchanged: list[Outcome] = []

        def bindings() -> Iterator[tuple[Any, ...]]:
            before = connection.total_changes()
            for outcome in outcomes:
                yield _ending(outcome, holder, outcome.claimed.ties)
                after = connection.total_changes()  # asked between two statements; RETURNING would double the cost
                if after == before:
                    unchanged.append(outcome)
                elif outcome.claimed.ties:
                    ended.append(_ended(outcome, outcome.claimed.ties))
                before = after

        connection.executemany(self._END, bindings())
        lost = []
        for outcome in unchanged:  # it was tied to others since its claim, or is lost
            if not self._end_retied(connection, holder, outcome, ended):
                lost.append(outcome.claimed)
        return lost

    def _end_retied(self, connection: apsw.Connection, holder: int, outcome: Outcome, ended: list[Ended]) -> bool:
        """End a row with the ties that it has now; False where it is not held any more."""
        claimed = outcome.claimed
        ties: int | None = connection.execute(self._HELD_TIES, (claimed.seq, holder, claimed.attempt)).get
        if ties is None:
            return False
        connection.execute(self._END, _ending(outcome, holder, ties))
        if ties:
            ended.append(_ended(outcome, ties))
        return True

    # What `update_state` wrote before `raise Ignore()` stays: that is how a task sets its own last state.
    _END_IGNORED = """
        UPDATE litequeue_tasks
        SET state = 'ignored', finished_at = ?, prune_at = CASE ignore_result WHEN 2 THEN 0 ELSE ? END
        WHERE seq = ? AND holder = ? AND attempt = ? AND state = 'running'
        RETURNING ties
    """

    def _end_ignored(self, connection: apsw.Connection, holder: int, outcome: Outcome, ended: list[Ended]) -> bool:
        claimed = outcome.claimed
        ties = connection.execute(
            self._END_IGNORED, (outcome.finished_at, outcome.prune_at, claimed.seq, holder, claimed.attempt)
        ).get
        if ties:
            ended.append(_ended(outcome, ties))
        return ties is not None

    # Grafting

    def _graft(
        self, connection: apsw.Connection, claimant: Claimant, outcome: Outcome, moves: Moves, ended: list[Ended]
    ) -> bool:
        """Write what a task changed of its canvas, with its end; False where it was not held any more.

        What the file refuses, an id that it has already, is the failure of the task: its worker must be able to settle.
        """
        graft, now = outcome.graft, clock.now()
        assert graft is not None, "the caller looked"
        try:
            with connection:  # a savepoint
                return self._write_graft(connection, claimant.holder, outcome, graft, now, moves, ended)
        except (exceptions.DuplicateTaskError, exceptions.NotUniqueError) as error:
            refused: Exception = error
        except apsw.ConstraintError as error:
            refused = self._refused(connection, graft.canvas.tasks, error, graft.canvas.groups)
        record = Encoded(encode_exception(refused), ERROR)
        failed = Outcome(outcome.claimed, state.FAILED, now, record, prune_at=self._prune_at(now))
        self._end_retied(connection, claimant.holder, failed, ended)
        self._keep_attempts(connection, claimant, [failed], ())
        return True

    def _write_graft(
        self,
        connection: apsw.Connection,
        holder: int,
        outcome: Outcome,
        graft: Graft,
        now: float,
        moves: Moves,
        ended: list[Ended],
    ) -> bool:
        claimed, become = outcome.claimed, graft.become
        also: list[Ended] = []
        if become is not None and self._is_cancelled(connection, holder, claimed):
            return self._end_cancelled(connection, holder, outcome, moves, ended)
        if become is not None:
            if not self._become(connection, holder, outcome, become, now, moves):
                return False
        elif not self._end_retied(connection, holder, outcome, also):
            return False
        self._insert_canvas(connection, self._joined(connection, claimed.group_id, graft.canvas), now, moves)
        if become is not None:
            self._check_stamps(connection, [become._replace(id=claimed.id)], now, moves)
        stopped = _ended(outcome, 0)._replace(state=state.IGNORED)
        for edge in graft.stop:  # what is stopped ends as if the task had raised Ignore
            ended += self._end_after(connection, stopped, now, moves, edge)
        ended += also
        return True

    _GROW = "UPDATE litequeue_groups SET size = size + 1, remaining = remaining + 1 WHERE id = ? RETURNING size - 1"

    def _joined(self, connection: apsw.Connection, group_id: str | None, canvas: NewCanvas) -> NewCanvas:
        """`canvas` with a slot of the group for each row that joins it."""

        def slot(new: NewTask | NewGroup) -> int | None:
            if group_id is None or new.group_id != group_id or new.group_index is not None:
                return new.group_index
            index: int | None = connection.execute(self._GROW, (group_id,)).get
            return index

        tasks = [task._replace(group_index=slot(task)) for task in canvas.tasks]
        return NewCanvas(tasks, [group._replace(group_index=slot(group)) for group in canvas.groups])

    # The row keeps its id, its place in its canvas, and what hangs on it; everything else is the new task's.
    _BECOME = f"""
        UPDATE litequeue_tasks
        SET state = ?, {", ".join(f"{name} = ?" for name in _BECOMING)}, lane = ?, ties = ties | ?, errbacks = ?,
            stamps = coalesce(?, stamps), ignore_result = iif(ignore_result = 2, 2, ?), result = NULL,
            result_serializer = NULL, result_compression = NULL, traceback = NULL, custom_state = NULL,
            started_at = NULL, finished_at = NULL, holder = NULL
        WHERE seq = ? AND holder = ? AND attempt = ? AND state = 'running'
    """

    def _become(
        self, connection: apsw.Connection, holder: int, outcome: Outcome, task: NewTask, now: float, moves: Moves
    ) -> bool:
        """Make the row another task."""
        claimed, first = outcome.claimed, first_state(task, now)
        if claimed.ties & KEYED:
            moves.ready.update(self._unpark(connection, claimed.id))
        errbacks: str | None = connection.execute(self._ERRBACKS_OF, (claimed.id,)).get
        if task.errbacks is not None:
            errbacks = write_errbacks([*kept_errbacks(errbacks), *kept_errbacks(task.errbacks)])
        connection.execute(
            self._BECOME,
            (
                first,
                *(getattr(task, name) for name in _BECOMING),
                task.queue,
                task.ties | (ERRBACKS if errbacks else 0),
                errbacks,
                task.stamps,
                task.ignore_result,
                claimed.seq,
                holder,
                claimed.attempt,
            ),
        )
        if not connection.changes():
            return False
        if claimed.ties & KEYED or task.keys is not None:
            self._keep_keys(connection, [task._replace(id=claimed.id, keys=_concurrency(task.keys))], now)
        if first != state.WAITING:
            moves.ready[claimed.seq] = task.queue
        return True

    # Trying again

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
            takes_input = iif(?4 IS NULL, takes_input, 0), finished_at = NULL, holder = NULL, attempt = attempt - ?22
        WHERE seq = ?19 AND holder = ?20 AND attempt = ?21 AND state = 'running'
    """

    def _run_again(
        self, connection: apsw.Connection, holder: int, outcome: Outcome, moves: Moves, ended: list[Ended]
    ) -> bool:
        """A retry is one update of the row: the try that ended and the next one are never both there, nor both gone."""
        rerun, claimed = outcome.rerun, outcome.claimed
        assert rerun is not None, "the caller looked"
        if self._is_cancelled(connection, holder, claimed):
            return self._end_cancelled(connection, holder, outcome, moves, ended)
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
                rerun.snooze,
            ),
        )
        if not connection.changes():
            return False
        if claimed.ties & KEYED:
            moves.ready.update(self._unpark(connection, claimed.id))
        if outcome.state == state.READY:
            moves.ready[claimed.seq] = rerun.queue or claimed.queue
        return True

    # What was revoked while it ran does not run again

    _CANCELLED = """
        SELECT 1 FROM litequeue_tasks
        WHERE seq = ? AND holder = ? AND attempt = ? AND state = 'running' AND cancel IS NOT NULL
    """

    def _is_cancelled(self, connection: apsw.Connection, holder: int, claimed: Claimed) -> bool:
        return bool(connection.execute(self._CANCELLED, (claimed.seq, holder, claimed.attempt)).get)

    def _end_cancelled(
        self, connection: apsw.Connection, holder: int, outcome: Outcome, moves: Moves, ended: list[Ended]
    ) -> bool:
        """End, in place of another try, a row that was revoked while it ran."""
        moves.cancelled.add(outcome.claimed.id)
        now, error = clock.now(), Encoded(encode_exception(exceptions.TaskRevokedError("revoked")), ERROR)
        revoked = Outcome(outcome.claimed, state.REVOKED, now, error, prune_at=self._prune_at(now))
        return self._end_retied(connection, holder, revoked, ended)

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
        RETURNING id, queue, ties, cancel IS NOT NULL
    """

    def release(self, holder: int, tickets: Iterable[Ticket]) -> int:
        """Give back claims that were not started; one that was revoked meanwhile is revoked."""
        released, moves = 0, Moves()
        with self._database.write(NORMAL) as connection:
            now = clock.now()
            for seq, attempt in tickets:
                for task_id, queue, ties, cancelled in fetch(connection, self._RELEASE, (seq, holder, attempt)):
                    released += 1
                    moves.journal.append(move(RELEASED, task_id, attempt))
                    if cancelled:
                        self._revoke_row(connection, seq, now, moves)
                        continue
                    moves.ready[seq] = queue
                    if ties & KEYED:
                        moves.ready.update(self._unpark(connection, task_id))
            slots = self._close(connection, moves, now)
        self._wake(moves, slots)
        return released

    def wait_for_work(self, channel: Channel, timeout: float, interrupt: socket.socket | None = None) -> bool:
        """Block an idle slot until it is woken."""
        assert isinstance(channel, WorkChannel), "a channel of this engine"
        return channel.wait(timeout, interrupt)


def _ending(outcome: Outcome, holder: int, ties: int) -> tuple[Any, ...]:
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
        ties,
    )


def _ended(outcome: Outcome, ties: int) -> Ended:
    """What others depend on of an outcome that was written."""
    claimed = outcome.claimed
    return Ended(
        claimed.id,
        outcome.state,
        ties,
        claimed.group_id,
        claimed.id if outcome.state in (state.FAILED, state.REVOKED) else None,
        outcome.prune_at,
        bool(claimed.ignore_result),
    )


def _concurrency(keys: Keys | None) -> Keys:
    """What a row that becomes another task keeps of that one's keys: a unique one belongs to a call."""
    return Keys() if keys is None else keys._replace(unique_key=None)


def _takes_no_more(outcome: Outcome) -> bool:
    """Whether the row has ended, became another task, or has its arguments whole."""
    return (
        outcome.state in state.TERMINAL
        or outcome.graft is not None
        or (outcome.rerun is not None and outcome.rerun.payload is not None)
    )


def _attempt_kind(outcome: Outcome) -> str | None:
    if outcome.state == state.FAILED:
        return "failed"
    if outcome.rerun is None:
        return None
    return "requeued" if outcome.rerun.retries is None else "retry"
