"""The total-queue checker: what came out against what was acknowledged going in.

Every acknowledged enqueue ends in exactly one terminal state; nothing that was never sent appears; a task ran more than
once only where a process that ran it was killed, or where it asked for another try; a task that may run once did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from litequeue.core import state

from .project import Run


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the file says of a task at the end."""

    id: str
    name: str
    state: str
    attempt: int
    deaths: int
    retries: int
    error: str | None = None
    ended: Mapping[int, str] = field(default_factory=dict)
    """How the attempts before the last one ended, as the file has kept it: {attempt: outcome}."""


@dataclass
class Verdict:
    """What the checker found."""

    problems: list[str] = field(default_factory=list)
    tasks: int = 0
    ran_twice: int = 0
    lost_with_worker: int = 0

    def __bool__(self) -> bool:
        return not self.problems


def check(
    *,
    sent: Mapping[str, str],
    rows: Iterable[Row],
    runs: Iterable[Run],
    killed: Collection[int],
    unacknowledged: int = 0,
    once: Collection[str] = (),
    max_deaths: int = 3,
    failures: Mapping[str, Collection[str]] | None = None,
) -> Verdict:
    """Compare. `sent` is {id: task name} as acknowledged; `killed` are the pids that were killed.

    `unacknowledged` is how many enqueues may be in the file without having been acknowledged: senders that were killed
    between the commit and their note of it. `once` are the names of at-most-once tasks.
    `failures` are the classes of the exceptions with which a task may fail though its process lived: {id: names}.
    """
    verdict = Verdict()
    starts: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        starts[run.id].append(run)
    seen: dict[str, Row] = {}
    for row in rows:
        if row.id in seen:
            verdict.problems.append(f"{row.id} is there twice")
        seen[row.id] = row
    for task_id in sent:
        if task_id not in seen:
            verdict.problems.append(f"{task_id} was acknowledged and is gone")
    if len(strangers := seen.keys() - sent.keys()) > unacknowledged:
        verdict.problems.append(f"{len(strangers)} tasks were never acknowledged, at most {unacknowledged} may be so")
    for task_id in starts.keys() - seen.keys():
        verdict.problems.append(f"{task_id} ran and is not in the file")
    for row in seen.values():
        expected = (failures or {}).get(row.id, ())
        if row.state != state.FAILED or not any(f'"{name}"' in (row.error or "") for name in expected):
            _check_end(verdict, row, starts[row.id], row.name in once, max_deaths)
        _check_starts(verdict, row, starts[row.id], killed, row.name in once)
    verdict.tasks = len(seen)
    return verdict


def _check_end(verdict: Verdict, row: Row, starts: list[Run], once: bool, max_deaths: int) -> None:
    name = f"{row.name}[{row.id}]"
    if row.state not in state.TERMINAL:
        verdict.problems.append(f"{name} has not ended: {row.state}")
    elif row.state == state.SUCCEEDED and not starts:
        verdict.problems.append(f"{name} succeeded without having run")
    elif row.state == state.FAILED:
        verdict.lost_with_worker += 1
        if "WorkerLostError" not in (row.error or ""):
            verdict.problems.append(f"{name} failed: {row.error}")
        elif not once and row.deaths < max_deaths:
            verdict.problems.append(f"{name} was given up after {row.deaths} deaths")


def _check_starts(verdict: Verdict, row: Row, starts: list[Run], killed: Collection[int], once: bool) -> None:
    name = f"{row.name}[{row.id}]"
    if len({run.attempt for run in starts}) != len(starts):
        verdict.problems.append(f"{name} started twice in one attempt: {starts}")
    if len(starts) > 1 + row.retries:
        verdict.ran_twice += 1
    for run in starts:
        outcome = row.ended.get(run.attempt)
        if run.attempt < row.attempt and outcome not in {"lost", "retry"}:
            verdict.problems.append(f"{name} ran again after attempt {run.attempt}, which the file has as {outcome}")
        if outcome == "lost" and run.pid not in killed:
            verdict.problems.append(f"{name} was taken from process {run.pid}, which nobody had killed")
    if once and len(starts) > 1:
        verdict.problems.append(f"{name} may run once, and ran {len(starts)} times")
    if not killed and row.deaths:
        verdict.problems.append(f"{name} counts {row.deaths} deaths, and nobody was killed")
