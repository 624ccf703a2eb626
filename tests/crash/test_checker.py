"""The total-queue checker finds what it is there to find."""

from __future__ import annotations

import pytest

from .checker import Row, check
from .project import Run

SENT = {"a": "work", "b": "once"}


def row(task_id: str = "a", **fields: object) -> Row:
    values = {"name": SENT.get(task_id, "work"), "state": "succeeded", "attempt": 1, "deaths": 0, "retries": 0}
    return Row(id=task_id, **{**values, **fields})  # type: ignore[arg-type]


GOOD = [row("a"), row("b")]
RUNS = [Run("a", 1, 1), Run("b", 1, 1)]


def test_a_good_history_has_no_problems():
    assert check(sent=SENT, rows=GOOD, runs=RUNS, killed=(), once=("once",)).problems == []


@pytest.mark.parametrize(
    ("rows", "runs", "killed", "problem"),
    [
        ([row("a")], RUNS[:1], (), "b was acknowledged and is gone"),
        ([*GOOD, row("a")], RUNS, (), "is there twice"),
        ([*GOOD, row("c")], RUNS, (), "never acknowledged"),
        ([row("a", state="running"), row("b")], RUNS, (), "has not ended"),
        (GOOD, RUNS[:1], (), "without having run"),
        (GOOD, [*RUNS, Run("c", 1, 1)], (), "is not in the file"),
        ([row("a", attempt=2), row("b")], [*RUNS, Run("a", 2, 2)], (1,), "ran again after attempt 1"),
        ([row("a", attempt=2, ended={1: "lost"}), row("b")], [*RUNS, Run("a", 2, 2)], (2,), "nobody had killed"),
        (GOOD, [*RUNS, Run("a", 2, 1)], (1,), "twice in one attempt"),
        (GOOD, [*RUNS, Run("b", 2, 2)], (1,), "may run once"),
        ([row("a", state="failed", error="ValueError"), row("b")], RUNS, (), "failed: ValueError"),
        ([row("a", state="failed", error="WorkerLostError", deaths=1), row("b")], RUNS, (1,), "given up"),
        ([row("a", deaths=1), row("b")], RUNS, (), "nobody was killed"),
    ],
)
def test_a_bad_history_is_found(rows, runs, killed, problem):
    problems = check(sent=SENT, rows=rows, runs=runs, killed=killed, once=("once",)).problems
    assert any(problem in found for found in problems), problems


def test_a_second_run_is_right_where_the_first_was_killed():
    rows = [row("a", attempt=2, deaths=1, ended={1: "lost"}), row("b")]
    verdict = check(sent=SENT, rows=rows, runs=[*RUNS, Run("a", 2, 2)], killed=(1,), once=("once",))
    assert verdict.problems == []
    assert verdict.ran_twice == 1


def test_a_failure_that_was_to_be_is_no_problem_and_any_other_is():
    rows = [row("a", state="failed", error='{"type": "ValueError"}'), row("b")]
    for expected, right in (({"ValueError"}, True), ({"Value"}, False), (set(), False)):
        verdict = check(sent=SENT, rows=rows, runs=RUNS, killed=(), once=("once",), failures={"a": expected})
        assert bool(verdict) is right
