"""The workers: alive, one of each name, on one host, with clocks that agree."""

from __future__ import annotations

from collections import Counter
from typing import Final

from litequeue.doctor.findings import Case, Verdict, error, listed, ok, warning
from litequeue.inspect.views import ALIVE, DEAD, HUNG, ORPHAN
from litequeue.utils.words import counted, span

_AHEAD: Final = 5.0  # seconds; two clocks of one host do not differ


def alive(case: Case) -> Verdict:
    """Whether workers run, and give signs of life."""
    hung = [f"{each.worker} (pid {each.identity.pid})" for each in case.of_role("worker", HUNG)]
    dead = [f"{each.worker} (pid {each.identity.pid})" for each in case.of_role("worker", DEAD)]
    if hung:
        return error(
            f"{listed(hung)} runs, but has given no sign of life for longer than worker_lease"
            f" ({span(case.app.conf.worker_lease)}).",
            "Look what it does (py-spy dump --pid PID), or whether it is stopped; else end it: its tasks run again.",
        )
    if not case.workers and dead:
        return error(
            f"{listed(dead)} is dead, and no other worker runs that takes its tasks back.",
            "Start a worker, and look why that one died.",
        )
    if not case.workers:
        return warning("No worker runs.", "Start one: litequeue -A proj worker.")
    if dead:
        return warning(
            f"{listed(dead)} is dead; a worker that runs takes its tasks back.", "Look into its log why it died."
        )
    return ok(f"{counted(len(case.workers), 'worker')} alive: {listed(each.worker for each in case.workers)}.")


def orphans(case: Case) -> Verdict | None:
    """Whether a child lives whose worker is gone."""
    found = [f"{each.identity.pid} of {each.worker}" for each in case.of_role("child", ORPHAN)]
    if not found:
        return None
    return warning(
        f"The worker is gone, and its process lives on: {listed(found)}. It ends its task, and ends with it.",
        "Wait, or kill -9 that process: a worker takes its task back. Look why the worker died.",
    )


def namesakes(case: Case) -> Verdict | None:
    """Whether each worker has a name of its own."""
    if not case.workers:
        return None
    twice = [name for name, count in Counter(each.worker for each in case.workers).items() if count > 1]
    if twice:
        return warning(
            f"Several workers are called {listed(twice)}; they get each other's commands.",
            "Give each a name of its own with -n.",
        )
    return ok("Every worker has a name of its own.")


def hosts(case: Case) -> Verdict | None:
    """Whether all are in one place, from where they can see each other's processes."""
    found = {
        (each.identity.host, each.identity.namespace) for each in case.processes if case.liveness[each.id] == ALIVE
    }
    if not found:
        return None
    names = sorted({host for host, _ in found})
    if len(found) > 1:
        return warning(
            f"Workers run in {counted(len(found), 'container')} or hosts: {listed(names)}.",
            "They must be of one machine, with the file on its own disk; a death is noticed only after worker_lease.",
        )
    return ok(f"All run on {names[0]}.")


def clocks(case: Case) -> Verdict | None:
    """Whether the time that is written in the file is not ahead of ours."""
    times = [max(each.heartbeat_at, each.started_at) for each in case.processes]
    if not times:
        return None
    ahead = max(times) - case.now
    if ahead > _AHEAD:
        return error(
            f"A worker wrote a time that is {span(ahead)} ahead of this clock: it was set back, or two hosts differ.",
            "Set the clock by NTP; tasks with an eta wait, and leases are counted, by it.",
        )
    return ok("No worker is ahead of this clock.")
