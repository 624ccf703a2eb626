"""The schedule: whether its entries can be fired, and somebody does it."""

from __future__ import annotations

from typing import Final

from litequeue.beat.showing import BROKEN, ON, show
from litequeue.doctor.findings import Case, Verdict, error, listed, ok
from litequeue.inspect.views import ALIVE, HUNG
from litequeue.utils.words import span

_LATE: Final = 60.0  # seconds


def entries(case: Case) -> Verdict | None:
    """Whether every entry can be fired, and somebody knows its task."""
    found = [show(entry, case.app.codec) for entry in case.store.schedules()]
    if not found:
        return None
    broken = [f"{each.name} ({each.error})" for each in found if each.state == BROKEN]
    if broken:
        return error(
            f"Entries that cannot be fired: {listed(broken)}.", "Change them in the code, or with `litequeue schedule`."
        )
    known = case.known | (frozenset(case.app.tasks) if case.knows_tasks else frozenset())
    lost = [f"{each.name} ({each.task})" for each in found if each.state == ON and each.task not in known]
    if lost and (case.workers or case.knows_tasks):
        return error(
            f"Entries whose task nobody has: {listed(lost)}.",
            "Start a worker whose app has it, correct the name, or `litequeue schedule disable` the entry.",
        )
    on = sum(each.state == ON for each in found)
    return ok(f"{on} of {len(found)} are on.")


def scheduler(case: Case) -> Verdict | None:
    """Whether somebody fires what is due."""
    next_at = case.store.next_schedule_at()
    if next_at is None:
        return None
    late = case.now - next_at
    if not case.of_role("beat", ALIVE, HUNG):  # one that sleeps long between looks renews its entry seldom
        return error(
            "Nothing fires the entries of the schedule.",
            "Start a worker without --no-beat, or `litequeue beat`.",
        )
    if late > _LATE:
        return error(
            f"An entry has been due for {span(late)}, and a scheduler runs.",
            "Look into its log; `litequeue schedule list` shows the entry.",
        )
    return ok(f"A scheduler runs; the next entry is due in {span(max(-late, 0))}.")
