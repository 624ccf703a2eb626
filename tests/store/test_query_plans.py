"""Every statement finds its rows through an index, and the claim through the one that was made for it."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from litequeue.store.sqlite import migrations
from litequeue.store.sqlite.store import SQLiteStore

# Statements that look at every row on purpose: asked for by people, or tables of a few rows.
FULL_SCANS = {
    "_ALL_RUNNING": "reads the index over running rows, a few for each process",
    "_ALL_SCHEDULED": "reads the index over scheduled rows, as many as are asked for",
    "_ALL_REVOKED": "asked for by people, who want the newest",
    "_STARTED_BY": "reads the newest rows, as many as are asked for",
    "_DROP_COMMANDS": "a row a command of the last minutes",
    "_DROP_REPLIES": "a row an answer of the last minutes",
    "_LAST_COMMAND": "a row a table",
    "_COUNTS": "the whole table is counted",
    "_QUEUES": "purge of every queue",
    "_PURGE": "purge looks at all that is open",
    "_PURGE_ATTEMPTS": "purge looks at all that is open",
    "_RUNNING": "reads the index over running rows, a few for each process",
    "_ALL_LANES": "a row for each task name that is unknown to some worker, paused or limited; once for each change",
    "_PAUSED": "a row for each paused name; once for each change",
    "_PAUSES": "a row for each paused name",
    "_QUEUES_OF": "a row a process; once for each change",
    "_QUEUES_SERVED": "a row a process",
    "_NAMES_SERVED": "a row a process",
    "_QUEUES_SEEN": "asked by people: every queue that has a task",
    "_NAMES_SEEN": "asked by people: every name that has a task",
    "_CONTROL_PORTS": "a row a process",
    "_SET_QUEUES": "a row a process",
    "_TERMINATIONS": "reads the index over running rows, a few for each process",
    "_DROP_EMPTY": "a row for each name with limits",
    "_PROCESSES": "a row a process",
    "_IDLE_SLOTS": "a row a process",
    "_FREE": "a row a process",
    "_PURGE_TIED": "purge looks at all that is open",
    "_PURGE_STAMPS": "purge looks at all that is open",
    "_PURGE_LOGS": "purge looks at all lines that are kept",
    "_ANY_REVOKED_STAMP": "reads one row",
    "_DROP_OLD_STAMPS": "a row a revoked stamp",
    "_ENTRIES": "asked for all entries",
    "_OWNED": "a row an entry, once for each start of an app",
    "_SCHEDULERS": "a row a process",
    "_WITH_EVENTS": "a row a process; once for each change",
    "_SERVED": "a row a process",
    "_SET_EVENTS": "a row a process",
    "_APPEND": "reads the newest row",
    "_RANGE": "reads the oldest row and the newest",
    "_TRIM": "reads the oldest rows, some hundred",
    "_READY_LANES": "reads the index over ready rows, for people",
    "_MARK_APART": "looks at all tasks when an entry's runs are not to overlap any more",
}
SMALL = ("SCAN json_each", "SCAN CONSTANT ROW", "SCAN up", "SCAN down", "SCAN part", "SCAN (subquery")
"""What is no table: the values that are bound, and the nodes that a walk along the canvas has reached."""
INDEXES = {
    "_READY": "litequeue_tasks_ready",
    "_ANY_READY": "litequeue_tasks_ready",
    "_NEXT_READY": "litequeue_tasks_ready",
    "_ALL_RUNNING": "litequeue_tasks_running",
    "_ALL_SCHEDULED": "litequeue_tasks_scheduled",
    "_NEXT_AT": "litequeue_tasks_scheduled",
    "_PROMOTE": "litequeue_tasks_scheduled",
    "_HELD": "litequeue_tasks_running",
    "_PRUNABLE": "litequeue_tasks_prunable",
    "_EXPIRED": "litequeue_tasks_expiring",
    "_CHILDREN": "litequeue_tasks_children",
    "_RELEASE_AFTER": "litequeue_tasks_after",
    "_END_AFTER": "litequeue_tasks_after",
    "_FAIL_BODIES": "litequeue_tasks_after",
    "_MEMBER_VALUES": "litequeue_tasks_group",
    "_HAS_RUN": "litequeue_tasks_runs",
    "_RUNNING_WITH": "litequeue_tasks_keyed",
    "_HAS_KEY": "litequeue_tasks_unique",
    "_NEXT_LANE": "litequeue_tasks_ready",
    "_READY_LANES": "COVERING INDEX litequeue_tasks_ready",
    "_BEFORE": "COVERING INDEX litequeue_tasks_ready",
    "_WITH_KEY": "litequeue_tasks_keyed",
    "_FIRST": "litequeue_tasks_ready",
    "_UNFINISHED": "litequeue_tasks_unfinished_runs",
    "_NEXT_ENTRY_AT": "litequeue_schedules_due",
}


def _statements() -> dict[str, str]:
    found = {}
    for owner in SQLiteStore.__mro__:
        for name, value in vars(owner).items():
            if isinstance(value, str) and value.lstrip().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
                found[name] = value
    return found


@pytest.fixture(scope="module")
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute(migrations.schema())
    return connection


@pytest.mark.parametrize("name", sorted(_statements()))
def test_no_statement_scans_the_tasks(connection: apsw.Connection, name: str) -> None:
    statement = _statements()[name]
    bindings = (None,) * _bindings(statement)
    plan = [str(row[3]) for row in connection.execute("EXPLAIN QUERY PLAN " + statement, bindings)]
    scans = [step for step in plan if step.startswith("SCAN") and not step.startswith(SMALL)]
    assert not any("AUTOMATIC" in step for step in plan), plan
    if name in FULL_SCANS:
        assert scans, f"{name} needs no exception any more"
    else:
        assert scans == [], plan
    if name in INDEXES:
        assert any(INDEXES[name] in step for step in plan), plan
    if name in ("_READY", "_PRUNABLE", "_PROMOTE"):
        assert not any("TEMP B-TREE" in step for step in plan), plan


def _bindings(statement: str) -> int:
    """How many values the statement wants: the highest ?N, or the number of bare ?."""
    numbers = re.findall(r"\?(\d*)", statement)
    return max(int(number) for number in numbers) if any(numbers) else len(numbers)


def test_no_room_of_the_store_hides_what_another_defines() -> None:
    """The rooms become one class: a name that two of them give would silently mean one of the two."""
    seen: dict[str, type] = {}
    for owner in SQLiteStore.__mro__:
        for name in vars(owner):
            if owner is object or (name.startswith("__") and name.endswith("__")):
                continue
            assert name not in seen, f"{name} is in {seen[name].__name__} and in {owner.__name__}"
            seen[name] = owner


def test_the_lists_above_name_statements_that_exist() -> None:
    assert set(FULL_SCANS) | set(INDEXES) <= set(_statements())


def test_the_package_has_no_other_sql() -> None:
    package = Path(migrations.__file__).parents[2]
    for path in package.rglob("*.py"):
        if path.is_relative_to(package / "store" / "sqlite"):
            continue
        text = path.read_text(encoding="utf-8")
        assert "import apsw" not in text, path
        assert " litequeue_tasks" not in text, path


@pytest.mark.parametrize(
    ("state", "index"),
    [
        ("scheduled", "COVERING INDEX litequeue_tasks_scheduled"),
        ("waiting", "COVERING INDEX litequeue_tasks_waiting"),
        ("running", "INDEX litequeue_tasks_running"),
        ("failed", "COVERING INDEX litequeue_tasks_failed"),
    ],
)
def test_queues_are_counted_in_indexes(connection: apsw.Connection, state: str, index: str) -> None:
    plan = [str(row[3]) for row in connection.execute("EXPLAIN QUERY PLAN " + SQLiteStore._IN_STATE[state])]
    assert any(index in step for step in plan), plan
