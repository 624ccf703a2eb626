"""Canvases: written whole, read as values for those that wait, and as nodes for those that look."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import apsw

from litequeue import exceptions
from litequeue.core import clock, state
from litequeue.core.failure import encode_exception
from litequeue.core.records import (
    ERROR,
    UPSTREAM,
    Canvas,
    Claimed,
    Encoded,
    GroupRecord,
    Input,
    Member,
    NewCanvas,
    NewTask,
    Node,
    TaskRecord,
    Value,
)
from litequeue.core.ties import BODY, ERRBACK, ERRBACKS, FEEDS, LEADS, MEMBER, write_errbacks
from litequeue.store.sqlite.engine import fetch, task_record, task_records
from litequeue.store.sqlite.release import Ended, Moves, Releasing, kept_errbacks

_NODE_COLUMNS: Final = ", ".join(f"task.{name}" for name in Node._fields)
_GROUP_FIELDS: Final = tuple(GroupRecord.__dataclass_fields__)
_VALUE: Final = "state, result, result_serializer, result_compression"
_NODES: Final = f"SELECT {_NODE_COLUMNS}, task.ties, task.seq FROM litequeue_tasks task WHERE"
_GROUPS: Final = f"SELECT {', '.join(_GROUP_FIELDS)} FROM litequeue_groups WHERE"
_AMONG: Final = "IN (SELECT value FROM json_each(?1))"
_SLICE: Final = 500  # nodes asked for in one statement


class Canvases(Releasing):
    """The verbs of the contract that are about canvases."""

    def enqueue_canvas(self, canvas: NewCanvas, durability: str | None = None) -> None:
        """Write the tasks and groups of `canvas`, or none of them."""
        moves = Moves()
        try:
            with self._database.write(self._durability_of(durability)) as connection:
                now = clock.now()
                self._insert_canvas(connection, canvas, now, moves)
                slots = self._close(connection, moves, now)
        except apsw.ConstraintError as error:
            raise self._duplicate(canvas.tasks, error, canvas.groups) from error
        self._wake(moves, slots)

    _TO_ATTACH = "SELECT state, ties, group_id, errbacks, result, result_serializer FROM litequeue_tasks WHERE id = ?"
    _TIE = "UPDATE litequeue_tasks SET ties = ties | ?, errbacks = ? WHERE id = ?"

    def attach(self, task_id: str, canvas: NewCanvas, errbacks: Sequence[NewTask] = ()) -> bool:
        """Write rows that wait for a task that the file has already, and add to its error callbacks."""
        moves, now = Moves(), clock.now()
        try:
            with self._database.write(self._durability) as connection:
                row = connection.execute(self._TO_ATTACH, (task_id,)).fetchone()
                if row is None:
                    return False
                self._insert_canvas(connection, canvas, now, moves)
                self._tie(connection, task_id, row, canvas, errbacks)
                if row[0] in state.TERMINAL:
                    self._attach_ended(connection, task_id, row, errbacks, now, moves)
                slots = self._close(connection, moves, now)
        except apsw.ConstraintError as error:
            raise self._duplicate(canvas.tasks, error, canvas.groups) from error
        self._wake(moves, slots)
        return True

    def _tie(
        self,
        connection: apsw.Connection,
        task_id: str,
        row: tuple[Any, ...],
        canvas: NewCanvas,
        errbacks: Sequence[NewTask],
    ) -> None:
        ties, kept = ERRBACKS if errbacks else 0, row[3]
        for task in canvas.tasks:
            if task.after == task_id:
                ties |= LEADS | (FEEDS if task.takes_input else 0)
        if errbacks:
            kept = write_errbacks([*kept_errbacks(kept), *errbacks])
        connection.execute(self._TIE, (ties, kept, task_id))

    def _attach_ended(
        self,
        connection: apsw.Connection,
        task_id: str,
        row: tuple[Any, ...],
        errbacks: Sequence[NewTask],
        now: float,
        moves: Moves,
    ) -> None:
        """The task has ended: what was attached is released, or ends with it, and its error callbacks are due."""
        ended, _, _, _, result, serializer = row
        cause = None
        if ended in (state.FAILED, state.REVOKED):
            cause = result if serializer == UPSTREAM else task_id
        self._follow(connection, [Ended(task_id, ended, LEADS, None, cause)], now, moves)
        if ended == state.FAILED and cause == task_id:
            self._write_errbacks(connection, task_id, errbacks, now, moves)

    _CANCEL_ROW = "UPDATE litequeue_tasks SET cancel = coalesce(?, cancel, '') WHERE seq = ? AND state = 'running'"

    def revoke_stamped(
        self, headers: Mapping[str, Sequence[Any]], reason: str = "revoked", signal: str | None = None
    ) -> tuple[str, ...]:
        """Revoke every task that has one of these stamps, now and from now on."""
        moves, now = Moves(), clock.now()
        error = encode_exception(exceptions.TaskRevokedError(reason))
        rows: list[tuple[Any, ...]] = []
        with self._database.write(self._durability) as connection:
            for seq in self._revoke_stamps(connection, headers, now):
                rows += fetch(connection, self._REVOKE_OPEN, (error, now, self._prune_at(now), seq))
                connection.execute(self._CANCEL_ROW, (signal, seq))
            revoked = self._follow_revoked(connection, rows, now, moves)
            slots = self._close(connection, moves, now)
            workers = self._control_ports(connection) if signal else ()
        self._wake(moves, slots)
        self._sender.send_all(workers)
        return (*revoked, *moves.revoked())

    # Values

    _TASK_VALUE = f"SELECT {_VALUE} FROM litequeue_tasks WHERE id = ?"
    _MEMBER_VALUES = f"""
        SELECT {_VALUE}, group_index FROM litequeue_tasks WHERE group_id = ? AND ties & 4 ORDER BY group_index
    """
    _PARTS = "SELECT id, group_index FROM litequeue_groups WHERE group_id = ? ORDER BY group_index"

    def inputs(self, claimed: Claimed) -> Input:
        """What a claimed row gets from the node that it waited for."""
        node_id = claimed.after
        if node_id is None:
            return Input()
        with self._database.read() as connection:
            if claimed.edge == ERRBACK:
                failed = task_record(connection, node_id)
                if failed is not None:
                    return Input(failed=self._as_it_failed(connection, failed))
            else:
                row = None if claimed.edge == BODY else connection.execute(self._TASK_VALUE, (node_id,)).fetchone()
                if row is not None:
                    return Input(self._value(connection, row))
                if connection.execute(self._HAS_GROUP, (node_id,)).get:
                    with suppress(RecursionError):
                        return Input(self._group_value(connection, node_id))
                    raise exceptions.InvalidTaskError(
                        f"{claimed.name}[{claimed.id}] takes the values of {node_id}, whose groups nest too deep."
                    )
        raise exceptions.InvalidTaskError(
            f"{claimed.name}[{claimed.id}] needs what {node_id} gave, and {self.path} does not have it any more."
        )

    _LAST_FAILURE = """
        SELECT error, traceback FROM litequeue_attempts WHERE seq = ? AND outcome IN ('failed', 'lost')
        ORDER BY attempt DESC LIMIT 1
    """

    def _as_it_failed(self, connection: apsw.Connection, failed: TaskRecord) -> TaskRecord:
        """A task that failed; one that runs again by now, with the error that it had."""
        if failed.state == state.FAILED:
            return failed
        error, traceback = connection.execute(self._LAST_FAILURE, (failed.seq,)).fetchone() or (None, None)
        return failed._replace(result=error, result_serializer=ERROR, result_compression=None, traceback=traceback)

    def _value(self, connection: apsw.Connection, row: Sequence[Any]) -> Value:
        ended, result, serializer, compression = row[:4]
        if serializer == UPSTREAM:
            cause = connection.execute(self._TASK_VALUE, (result,)).fetchone()
            return None if cause is None or cause[2] != ERROR else Encoded(cause[1], ERROR)
        if result is None or ended == state.IGNORED:
            return None
        return Encoded(result, serializer, compression)

    def _group_value(self, connection: apsw.Connection, group_id: str) -> Value:
        """The values of a group's members in the order of their slots; a group among them is a tuple itself."""
        slots: list[tuple[int | None, Value]] = [
            (row[4], self._value(connection, row)) for row in fetch(connection, self._MEMBER_VALUES, (group_id,))
        ]
        parts = fetch(connection, self._PARTS, (group_id,))
        if parts:
            slots += [(index, self._group_value(connection, part)) for part, index in parts]
            slots.sort(key=lambda slot: slot[0] or 0)  # None: somebody else wrote it
        return tuple(value for _, value in slots)

    # Views

    _GROUP = f"{_GROUPS} id = ?"

    def group(self, group_id: str) -> GroupRecord | None:
        """The group, or None when the file has no such row."""
        with self._database.read() as connection:
            row = connection.execute(self._GROUP, (group_id,)).fetchone()
        return None if row is None else _group_record(row)

    _MEMBERS = """
        SELECT id, group_index, 0 FROM litequeue_tasks WHERE group_id = ?1 AND ties & 4
        UNION ALL SELECT id, group_index, 1 FROM litequeue_groups WHERE group_id = ?1
        ORDER BY 2
    """

    def members(self, group_id: str) -> list[Member]:
        """The parts of a group, in the order of their slots."""
        with self._database.read() as connection:
            rows = fetch(connection, self._MEMBERS, (group_id,))
        return [Member(part, bool(is_group)) for part, _, is_group in rows]

    _CHILDREN = """
        SELECT task.id, own.id FROM litequeue_tasks task
        LEFT JOIN litequeue_groups own ON own.id = task.group_id AND own.parent_id = task.parent_id
        WHERE task.parent_id = ? ORDER BY task.seq
    """

    def children(self, task_id: str) -> list[Member]:
        """What the task called, oldest first."""
        with self._database.read() as connection:
            rows = fetch(connection, self._CHILDREN, (task_id,))
        found = (Member(child if group is None else group, group is not None) for child, group in rows)
        return list(dict.fromkeys(found))

    _FOLLOWERS = "SELECT id FROM litequeue_tasks WHERE after = ? ORDER BY seq"

    def followers(self, node_id: str) -> list[TaskRecord]:
        """The tasks that wait for, or waited for, a node, oldest first."""
        with self._database.read() as connection:
            ids = [task_id for (task_id,) in fetch(connection, self._FOLLOWERS, (node_id,))]
            return sorted(task_records(connection, ids), key=lambda record: record.seq)

    # What leads to a task: its id, the node that it waits for, the group that it is a member of.
    _NODES_BY = (
        f"{_NODES} task.id {_AMONG} LIMIT ?2",
        f"{_NODES} task.after {_AMONG} LIMIT ?2",
        f"{_NODES} task.ties & 4 AND task.group_id {_AMONG} LIMIT ?2",
    )
    _GROUPS_BY = (f"{_GROUPS} id {_AMONG}", f"{_GROUPS} group_id {_AMONG}")

    def canvas(self, node_id: str, limit: int = 1000) -> Canvas:
        """What hangs on a node, directly or not, nearest first, at most `limit` tasks."""
        tasks: dict[str, tuple[int, Node]] = {}
        groups: dict[str, GroupRecord] = {}
        frontier, seen = [node_id], {node_id}
        with self._database.read() as connection:
            while frontier and len(tasks) <= limit:
                part, frontier = frontier[:_SLICE], frontier[_SLICE:]
                # Those that are known may be among the first that a statement finds, so one more than all of them.
                found = self._around(connection, part, limit + 1, tasks, groups)
                frontier += sorted(found - seen)
                seen |= found
        nodes = sorted(islice(tasks.values(), limit))
        return Canvas(tuple(node for _, node in nodes), tuple(groups.values()), not frontier and len(tasks) <= limit)

    def _around(
        self,
        connection: apsw.Connection,
        ids: Collection[str],
        limit: int,
        tasks: dict[str, tuple[int, Node]],
        groups: dict[str, GroupRecord],
    ) -> set[str]:
        """Read the nodes `ids` and their neighbours; returns the ids that lead on from them."""
        wanted, leads = json.dumps(list(ids)), set[str]()
        for statement in self._NODES_BY:
            for *fields, ties, seq in fetch(connection, statement, (wanted, limit)):
                node = Node._make(fields)
                tasks.setdefault(node.id, (seq, node))
                leads.update(filter(None, (node.id, node.after, node.group_id if ties & MEMBER else None)))
        for statement in self._GROUPS_BY:
            for row in fetch(connection, statement, (wanted,)):
                record = _group_record(row)
                groups[record.id] = record
                leads.update(filter(None, (record.id, record.group_id)))
        return leads


def _group_record(row: Sequence[Any]) -> GroupRecord:
    values = dict(zip(_GROUP_FIELDS, row, strict=True))
    return GroupRecord(**{**values, "tolerant": bool(values["tolerant"])})
