"""A planned canvas as text: one line for each row, in which ids are the last arguments of their tasks."""

from __future__ import annotations

import json
from typing import Any

from litequeue import LiteQueue
from litequeue.canvas.places import now
from litequeue.canvas.plan import Planner
from litequeue.core.records import NewTask
from litequeue.core.ties import ERRBACKS, FEEDS, LEADS, MEMBER

TIES = {FEEDS: "feeds", LEADS: "leads", MEMBER: "member", ERRBACKS: "errbacks"}


def planned(app: LiteQueue, signature: Any, **options: Any) -> Planner:
    """The planner that has planned a signature."""
    planner = Planner(app)
    spot = now(app, options)
    spot.options = options
    planner.plan(signature, spot)
    return planner


def label(row: NewTask) -> str:
    """The last argument of a task."""
    args, kwargs = json.loads(row.payload)
    return str(args[-1] if args else kwargs or row.name)


def drawn(app: LiteQueue, signature: Any, **options: Any) -> list[str]:
    """`b <then a> G1[0] feeds leads`: what a row waits for and how, its place in a group, its ties.

    The link is `<a>` where the value of `a` is taken, and `(a)` where it is not. Groups are G1, G2, … in their order.
    """
    planner = planned(app, signature, **options)
    names = {row.id: label(row) for row in planner.rows}
    names.update({group.id: f"G{number}" for number, group in enumerate(planner.groups, 1)})
    lines = []
    for row in planner.rows:
        parts = [names[row.id]]
        if row.after is not None:
            text = f"{row.edge} {names[row.after]}"
            parts.append(f"<{text}>" if row.takes_input else f"({text})")
        if row.group_id is not None:
            parts.append(f"{names[row.group_id]}[{row.group_index}]")
        parts += [name for bit, name in TIES.items() if row.ties & bit]
        lines.append(" ".join(parts))
    for group in planner.groups:
        outer = "" if group.group_id is None else f" {names[group.group_id]}[{group.group_index}]"
        lines.append(f"{names[group.id]} of {group.size}{outer}{' tolerant' if group.tolerant else ''}")
    return lines
