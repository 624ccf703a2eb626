"""Random canvases, run by a real worker, and compared with what the evaluator says.

Each example is several canvases at once. The examples are the same in every run. More of them, and others each time:

    LITEQUEUE_CANVASES=2000 pytest tests/canvas/semantics/test_random.py

runs 2,000 examples with a new seed. The error of a canvas that fails ends with that canvas, made as small as possible,
as a call that can be pasted: `check(app, [Chain(...)])`.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings

from litequeue import chain
from litequeue.core.state import TERMINAL
from litequeue.exceptions import ChordError, TaskRevokedError
from tests.canvas.semantics import tasks
from tests.canvas.semantics.acting import opened
from tests.canvas.semantics.canvases import batches, build, smaller, sound
from tests.canvas.semantics.conftest import read_journal
from tests.canvas.semantics.evaluator import Evaluator, Expected, Failure, Node, Outcome, id_of, tasks_of

ASKED = int(os.environ.get("LITEQUEUE_CANVASES", "0"))
EXAMPLES = ASKED or 200
PATIENCE = 5.0
"""Seconds in which nothing runs and nothing could, until a canvas that has not ended is stuck."""
SHRINKING = 20.0
"""Seconds to make a failing example smaller."""

NUMBERS = count()

Check = Callable[[Any, list[Node]], None]


@dataclass
class Seen:
    """What the tasks wrote, and what the file says."""

    prefix: str
    runs: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    told: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    names: dict[str, str] = field(default_factory=dict)
    """What the evaluator calls an id."""

    def name(self, task_id: str | None) -> str | None:
        if task_id is None or task_id.startswith(self.prefix):
            return task_id
        return self.names.get(task_id, "?")


ASK = settings(
    derandomize=not ASKED,
    database=None,
    deadline=None,
    print_blob=False,
    verbosity=Verbosity.quiet,  # the error tells the canvas
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),  # made smaller by `explained`, which is quicker with canvases
)


def run_examples(examples: Any, app: Any, check: Check, times: int = EXAMPLES) -> None:
    """Run `check` on drawn canvases; the error of one that fails shows the smallest canvas that still does."""

    failures: list[str] = []

    @settings(ASK, max_examples=times)
    @given(drawn=examples)
    def canvases_do_what_they_must(drawn: list[Node]) -> None:
        if not failures and (failure := failure_of(app, check, drawn)):
            failures.append(explained(app, check, drawn, failure))
        if failures:
            pytest.fail(failures[0], pytrace=False)

    canvases_do_what_they_must()


def failure_of(app: Any, check: Check, drawn: list[Node]) -> str:
    """What `check` has to say against canvases; nothing where all is well."""
    try:
        check(app, drawn)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def explained(app: Any, check: Check, drawn: list[Node], failure: str) -> str:
    """The canvases that failed, made as small as they can be in some seconds, and how they fail then."""
    deadline = time.monotonic() + SHRINKING
    candidates = _smaller(drawn)
    while (less := next(candidates, None)) is not None and time.monotonic() < deadline:
        if other := failure_of(app, check, less):
            drawn, failure, candidates = less, other, _smaller(less)
    return f"{failure}\n{drawn}"


def _smaller(drawn: list[Node]) -> Iterator[list[Node]]:
    """Each canvas alone; of one canvas, what is a little less."""
    if len(drawn) > 1:
        return ([each] for each in drawn)
    return ([less] for less in smaller(drawn[0]) if sound(less))


@pytest.fixture(autouse=True)
def _failures_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="litequeue")


def test_in_a_worker(app: Any, worker: Any) -> None:
    run_examples(batches(), app, check)


def test_error_callbacks_on_headers(app: Any, worker: Any) -> None:
    """The same with `task_allow_error_cb_on_chord_header`."""
    app.conf.task_allow_error_cb_on_chord_header = True
    try:
        run_examples(batches(), app, check, times=EXAMPLES // 4)
    finally:
        app.conf.task_allow_error_cb_on_chord_header = False


def test_in_place(app: Any) -> None:
    """`apply()` does the same as a worker."""
    run_examples(batches(size=3, revokes=False), app, check_in_place)


def check_in_place(app: Any, drawn: list[Node]) -> None:
    """Run canvases here, and compare what happens with what must."""
    prefix = f"{next(NUMBERS)}-"
    tasks.journal().unlink(missing_ok=True)
    evaluator = Evaluator(prefix, app.conf.task_allow_error_cb_on_chord_header)
    for canvas in drawn:
        check_root(build(canvas, prefix).apply(args=("go",)), canvas, evaluator.evaluate(canvas, ("go",)))
    compare_journal(evaluator.expected, look(prefix))


def check(app: Any, drawn: list[Node]) -> None:
    """Run canvases, all at once, and compare what happens with what must."""
    prefix = f"{next(NUMBERS)}-"
    tasks.journal().unlink(missing_ok=True)
    results = send(app, drawn, prefix)
    finish(app)
    evaluator = Evaluator(prefix, app.conf.task_allow_error_cb_on_chord_header)
    outcomes = [evaluator.evaluate(canvas, ("go",)) for canvas in drawn]
    seen = look(prefix)
    compare_journal(evaluator.expected, seen)
    compare_states(app, evaluator.expected, seen, {id_of(prefix, task) for task in revoked(drawn)})
    for each in zip(results, drawn, outcomes, strict=True):
        check_root(*each)


def check_root(result: Any, canvas: Node, outcome: Outcome) -> None:
    """What `get()` gives. What is ignored, or keeps no result, is looked at by its states alone."""
    if any(task.fate in ("ignore", "silent") for task in tasks_of(canvas)):
        return
    if outcome.state == "SUCCESS":
        assert result.get(timeout=1) == outcome.value
        return
    with pytest.raises((tasks.Bad, ChordError, TaskRevokedError)):
        result.get(timeout=1)


def revoked(drawn: list[Node]) -> list[Any]:
    return [task for canvas in drawn for task in tasks_of(canvas) if task.revoked]


def send(app: Any, drawn: list[Node], prefix: str) -> list[Any]:
    """Send the canvases, each behind a gate; revoke what is to be revoked; open the gate."""
    gate = tasks.journal().with_name(f"{prefix}gate")
    try:
        results = [chain(opened.si(str(gate)), build(canvas, prefix)).apply_async() for canvas in drawn]
        # What comes later first: else it would end with what it waits for, before it is revoked itself.
        for task in reversed(revoked(drawn)):
            app.AsyncResult(id_of(prefix, task)).revoke()
    finally:
        gate.touch()
    return results


def finish(app: Any) -> None:
    """Wait until nothing is left to do. What is stuck is taken out of the file, so that it is not the next one's."""
    seen, moved_at = app.store.changes(), time.monotonic()
    deadline = moved_at + 6 * PATIENCE
    while True:
        if app.store.busy(("celery",), app.tasks) and time.monotonic() < deadline:
            moved_at = time.monotonic()
        elif not is_open(counts := app.store.counts()):  # which reads the whole file
            return
        elif time.monotonic() > min(moved_at + PATIENCE, deadline):
            app.store.purge()
            raise AssertionError(f"a canvas is stuck: {counts}")
        seen = app.store.wait_for_change(seen, 0.05)


def is_open(counts: dict[str, dict[str, int]]) -> bool:
    return any(state not in TERMINAL for states in counts.values() for state in states)


def look(prefix: str) -> Seen:
    """Read the journal."""
    seen = Seen(prefix)
    journal = read_journal()
    for kind, uid, *rest in journal:
        if kind == "run":
            retries, digest, task_id = rest
            seen.runs[uid, retries, digest] += 1
            if task_id is not None:
                seen.names.setdefault(task_id, f"anonymous {uid}")  # a replacement runs under the same id, later
    for kind, uid, *rest in journal:
        if kind == "errback":
            style, task_id = rest
            seen.told[uid, style, seen.name(task_id)] += 1
    return seen


def compare_journal(expected: Expected, seen: Seen) -> None:
    """Who ran, how often, with what; which error callbacks were told of what."""
    known = set(seen.names.values())
    assert_same("runs", seen.runs, expected.runs)
    told: Counter[tuple[Any, ...]] = Counter()
    for (uid, style, task_id), times in expected.told.items():
        hidden = task_id is not None and task_id.startswith("anonymous") and task_id not in known
        told[uid, style, "?" if hidden else task_id] += times
    assert_same("error callbacks", seen.told, told)


def compare_states(app: Any, expected: Expected, seen: Seen, revoked_ids: set[str]) -> None:
    """How each task ended, and with what."""
    for task_id, (state, value, error) in expected.states.items():
        result = app.AsyncResult(task_id)
        assert result.state == state, f"{task_id}: {result.state}, not {state}"
        if error is None:
            assert result.result == value, f"{task_id}: {result.result!r}, not {value!r}"
        else:
            check_error(task_id, result.result, error, seen, revoked_ids)


def assert_same(what: str, seen: Counter[tuple[Any, ...]], expected: Counter[tuple[Any, ...]]) -> None:
    assert seen == expected, f"{what}: too many {dict(seen - expected)}, too few {dict(expected - seen)}"


def check_error(task_id: str, raised: Any, error: Failure, seen: Seen, revoked_ids: set[str]) -> None:
    match error.kind:
        case "Bad":
            assert raised == tasks.Bad(error.uid), f"{task_id}: {raised!r}, not {error}"
        case "TaskRevokedError":
            assert isinstance(raised, TaskRevokedError), (task_id, raised)
        case "ChordError":
            assert isinstance(raised, ChordError), (task_id, raised)
            found = re.match(r"Dependency (\S+) raised", str(raised))
            assert found, (task_id, raised)
            # Of a canvas with more than one revoked task, which of them ended another depends on their order.
            named = seen.name(found[1])
            hidden = any(each.startswith("anonymous") for each in error.ids)
            assert named in error.ids | revoked_ids or (named == "?" and hidden), (task_id, raised, error)
