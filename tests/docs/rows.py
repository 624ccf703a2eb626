"""The rows that a canvas becomes, drawn as docs/canvas.md shows them.

Tasks are called a, b, c in the order they are written, groups G, H, J. A column that would be empty is left out.
"""

from __future__ import annotations

import json
from typing import Any

from litequeue.canvas.places import Spot
from litequeue.canvas.plan import Planner
from litequeue.core.records import NewGroup, NewTask
from litequeue.core.ties import MEMBER, read_errbacks
from litequeue.store.sqlite.release import first_state

_TASKS = "abcdefghijklmnopqrstuvwxyz"
_GROUPS = "GHJKLMN"


def drawn(signature: Any) -> str:
    """What sending `signature` would write."""
    planner = Planner(signature.app)
    planner.plan(signature, Spot())
    planner.plan_links()
    tasks = list(planner.rows)
    names = {task.id: _TASKS[at] for at, task in enumerate(tasks)}
    groups = _as_they_appear(tasks, {group.id: group for group in planner.groups})
    names |= {group.id: _GROUPS[at] for at, group in enumerate(groups)}
    tables = [_table([_task(task, names) for task in tasks])]
    if groups:
        tables.append(_table([_group(group, names) for group in groups]))
    return "\n\n".join(tables)


def _as_they_appear(tasks: list[NewTask], groups: dict[str, NewGroup]) -> list[NewGroup]:
    """The groups in the order in which the tasks name them, an outer one before those in it."""
    found: dict[str, NewGroup] = {}
    for task in tasks:
        around: list[NewGroup] = []
        group = groups.get(task.group_id or "") if task.ties & MEMBER else None
        while group is not None:
            around.append(group)
            group = groups.get(group.group_id or "")
        found |= {group.id: group for group in reversed(around) if group.id not in found}
    return list(found.values())


def _task(task: NewTask, names: dict[str, str]) -> dict[str, str]:
    member = task.ties & MEMBER
    return {
        "row": names[task.id],
        "task": _call(task),
        "state": first_state(task, 0.0),
        "after": names.get(task.after or "", ""),
        "edge": task.edge or "",
        "group": names[str(task.group_id)] if member else "",
        "slot": str(task.group_index) if member else "",
        "errbacks": ", ".join(errback.name.rpartition(".")[2] for errback in read_errbacks(task.errbacks)),
    }


def _call(task: NewTask) -> str:
    args, kwargs = json.loads(task.payload)
    shown = ["…"] * bool(task.takes_input) + [json.dumps(arg) for arg in args]
    shown += [f"{name}={json.dumps(value)}" for name, value in kwargs.items()]
    call = f"{task.name.rpartition('.')[2]}({', '.join(shown)})"
    return call if len(call) < 50 else f"{call[: call.index('(')]}(...)"


def _group(group: NewGroup, names: dict[str, str]) -> dict[str, str]:
    return {
        "group": names[group.id],
        "size": str(group.size),
        "remaining": str(group.size),
        "part of": names.get(group.group_id or "", ""),
        "slot": "" if group.group_index is None else str(group.group_index),
        "tolerant": "yes" if group.tolerant else "",
    }


def _table(rows: list[dict[str, str]]) -> str:
    columns = [column for column in rows[0] if any(row[column] for row in rows)]
    widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in columns}
    lines = [dict(zip(columns, columns, strict=True)), *rows]
    return "\n".join("  ".join(line[column].ljust(widths[column]) for column in columns).rstrip() for line in lines)
