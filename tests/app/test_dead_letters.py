"""`app.control.dead`, `retry` and `discard`, and canvases that are mended by them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from litequeue import LiteQueue, chain, chord, group
from litequeue.app import current as local
from litequeue.core.state import TERMINAL
from tests.canvas.semantics import tasks
from tests.canvas.semantics.canvases import batches, build
from tests.canvas.semantics.evaluator import Chain, Chord, Evaluator, Group, Node, Task, tasks_of

EXAMPLES = int(os.environ.get("LITEQUEUE_CANVASES", "25"))


class Broken(Exception):
    """What a task raises while it is broken."""


@pytest.fixture
def broken(app: LiteQueue, tmp_path: Path) -> Path:
    """Tasks that take the value they are given and fail while the file is there."""
    switch = tmp_path / "broken"
    switch.touch()

    @app.task(name="proj.flip")
    def flip(x: int) -> int:
        if switch.exists():
            raise Broken(f"no {x}")
        return x

    @app.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="proj.total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    return switch


def run(app: LiteQueue) -> None:
    """Run all there is."""
    with app.start_worker(pool="threads", concurrency=2):
        seen = app.store.changes()
        while any(state not in TERMINAL for states in app.store.counts().values() for state in states):
            seen = app.store.wait_for_change(seen, 0.05)


def test_a_dead_letter_tells_what_happened(app: LiteQueue, broken: Path) -> None:
    result = app.tasks["proj.flip"].apply_async((3,), queue="celery")
    run(app)
    (letter,) = app.control.dead()
    assert (letter.id, letter.name, letter.queue, letter.state) == (result.id, "proj.flip", "celery", "FAILURE")
    assert (letter.error_type, letter.error) == ("Broken", "Broken: no 3")
    assert (letter.args, letter.kwargs, letter.attempts, letter.retries, letter.deaths) == ([3], {}, 1, 0, 0)
    assert letter.traceback is not None
    assert "no 3" in letter.traceback
    assert [attempt.outcome for attempt in letter.history] == ["failed"]
    assert letter.result == result
    assert letter.as_dict()["error"] == "Broken: no 3"


def test_a_retried_task_gives_its_value_and_keeps_its_history(app: LiteQueue, broken: Path) -> None:
    result = app.tasks["proj.flip"].delay(3)
    run(app)
    broken.unlink()
    assert app.control.retry(result).ready == (result.id,)
    assert result.state == "PENDING"
    run(app)
    assert result.get(timeout=5) == 3
    assert [type(attempt.exception).__name__ for attempt in result.history] == ["Broken"]
    assert result.attempts == 2


def test_a_chain_and_a_chord_that_failed_give_their_values(app: LiteQueue, broken: Path) -> None:
    flip, add, total = (app.tasks[f"proj.{name}"] for name in ("flip", "add", "total"))
    steps = chain(add.s(1, 1), flip.s(), add.s(10))()
    body = chord([flip.s(1), flip.s(2), chain(add.s(1, 1), flip.s())], total.s())()
    both = group(flip.s(4), add.s(2, 3))()
    run(app)
    with pytest.raises(Broken):
        app.AsyncResult(steps.id).get(timeout=5)
    steps, both = app.AsyncResult(steps.id), [app.AsyncResult(each.id) for each in both]
    assert len(app.control.dead()) == 5
    broken.unlink()
    revived = app.control.retry(all=True)
    assert len(revived.ready) == 5
    assert revived.refused == {}
    run(app)
    assert (steps.get(timeout=5), body.get(timeout=5), [each.get(timeout=5) for each in both]) == (12, 5, [4, 5])
    assert app.control.dead() == []


def test_what_did_not_run_names_what_is_to_be_retried(app: LiteQueue, broken: Path) -> None:
    last = chain(app.tasks["proj.flip"].s(1), app.tasks["proj.add"].s(1))()
    run(app)
    revived = app.control.retry(last.id)
    assert revived.ready == ()
    assert last.parent.id in revived.refused[last.id]
    assert app.control.dead(last)[0].error == f"it did not run, because of {last.parent.id}"


def test_a_client_that_waits_gets_the_value(app: LiteQueue, broken: Path, worker: Any) -> None:
    result = app.tasks["proj.flip"].delay(3)
    worker()
    result.get(timeout=10, propagate=False)
    broken.unlink()
    app.control.retry(result.id)
    assert app.AsyncResult(result.id).get(timeout=10) == 3  # `result` has seen the failure, and keeps it


def test_what_is_meant_is_said_in_many_ways(app: LiteQueue, broken: Path) -> None:
    flip = app.tasks["proj.flip"]
    results = [flip.delay(1), flip.apply_async((2,), queue="mail")]
    revoked = flip.delay(3)
    revoked.revoke()
    with app.start_worker(pool="threads", queues=("celery", "mail")):
        for result in results:
            result.get(timeout=10, propagate=False)
    first, second = (result.id for result in results)

    def dead(*args: Any, **which: Any) -> list[str]:
        return [letter.id for letter in app.control.dead(*args, **which)]

    assert dead() == [second, first]
    assert dead(queue="mail") == dead(queue=["mail"]) == dead(limit=1) == dead(second) == [second]
    assert dead(name=flip) == dead(name="proj.flip") == dead(error=Broken) == dead(error="Broken") == [second, first]
    assert dead(error=ValueError) == dead(name="proj.add") == []
    assert dead(since=timedelta(hours=1)) == dead(before=datetime.now(UTC) + timedelta(hours=1)) == [second, first]
    assert dead(since=datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)) == []
    assert dead(states="REVOKED") == [revoked.id]
    assert dead(states=("FAILURE", "REVOKED")) == [revoked.id, second, first]
    assert dead([revoked, first]) == [revoked.id, first]


def test_what_cannot_be_meant_is_refused(app: LiteQueue, broken: Path) -> None:
    members = group(app.tasks["proj.flip"].s(1), app.tasks["proj.flip"].s(2))()
    for verb in (app.control.retry, app.control.discard):
        with pytest.raises(ValueError, match=r"all=True"):
            verb()
        with pytest.raises(ValueError, match=r"all=True"):
            verb(states="REVOKED")
    with pytest.raises(ValueError, match="FAILURE or REVOKED"):
        app.control.dead(states="SUCCESS")
    with pytest.raises(ValueError, match="limit=0"):
        app.control.dead(limit=0)
    with pytest.raises(TypeError, match="since='now'"):
        app.control.dead(since="now")
    with pytest.raises(TypeError, match="'state'; there are before, error, limit, name, queue, since, states"):
        app.control.dead(state="FAILURE")
    with pytest.raises(TypeError, match="no task"):
        app.control.retry([members])
    assert app.control.retry(members).refused.keys() == {each.id for each in members}
    assert app.control.retry([]).ready == ()
    assert app.control.discard([]) == 0


def test_discarded_tasks_are_gone(app: LiteQueue, broken: Path) -> None:
    results = [app.tasks["proj.flip"].delay(number) for number in range(3)]
    run(app)
    assert app.control.discard(results[0].id) == 1
    assert not results[0].exists()
    assert app.control.discard(name="proj.flip") == 2
    assert app.control.dead() == []


# Random canvases


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The app of random canvases, on a file of this module's own, and a worker for it."""
    before = local.saved_apps()
    tasks.app.conf.broker_url = str(tmp_path_factory.mktemp("canvas") / "queue.db")
    tasks.app.set_current()
    with tasks.app.start_worker(pool="threads", concurrency=4):
        yield tasks.app
    tasks.app.close()
    local.restore_apps(before)


def changed(node: Node, change: Callable[[Task], Task]) -> Any:
    """A canvas with each of its tasks changed."""

    def all_of(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        return tuple(changed(each, change) for each in nodes)

    node = replace(node, links=all_of(node.links))
    match node:
        case Task():
            return change(node if node.wish is None else replace(node, wish=changed(node.wish, change)))
        case Chain():
            return replace(node, steps=all_of(node.steps))
        case Group():
            return replace(node, members=all_of(node.members))
        case Chord():
            return replace(node, header=all_of(node.header), body=changed(node.body, change))
    return node


def failing_once(task: Task) -> Task:
    """Tasks that keep a value, of which those that were to fail do so until they are mended."""
    fate = {"silent": "ok", "ignore": "ok", "fail": "broken"}.get(task.fate, task.fate)
    return replace(task, fate=fate)


def mended(task: Task) -> Task:
    return replace(task, fate="ok") if task.fate == "broken" else task


def no_errbacks(node: Any) -> Any:
    node = replace(node, errbacks=())
    for name in ("links", "steps", "members", "header"):
        if hasattr(node, name):
            node = replace(node, **{name: tuple(map(no_errbacks, getattr(node, name)))})
    for name in ("body", "wish"):
        if getattr(node, name, None) is not None:
            node = replace(node, **{name: no_errbacks(getattr(node, name))})
    return replace(node, tolerant=False) if isinstance(node, Chord) else node


def settled(app: Any) -> None:
    seen = app.store.changes()
    while any(state not in TERMINAL for states in app.store.counts().values() for state in states):
        seen = app.store.wait_for_change(seen, 0.05)


def test_random_canvases_that_are_mended_end_as_if_they_had_never_failed(acting: Any) -> None:
    """They run to their ends with failing tasks; then those are mended and retried; replacements, links, all of it."""
    numbers = iter(range(10**9))

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(drawn=batches(revokes=False))
    def mended_canvases(drawn: list[Node]) -> None:
        prefix = f"mended{next(numbers)}-"
        switch = tasks.journal().with_name("mended")
        switch.unlink(missing_ok=True)
        drawn = [no_errbacks(changed(canvas, failing_once)) for canvas in drawn]
        results = [build(canvas, prefix).apply_async(args=("go",)) for canvas in drawn]
        settled(acting)
        ended_badly = {letter.id for letter in acting.control.dead()}
        assert bool(ended_badly) == any(task.fate == "broken" for canvas in drawn for task in tasks_of(canvas))
        switch.touch()
        while dead := acting.control.dead():  # what comes after one that was mended may be broken by another's file
            revived = acting.control.retry(all=True)
            assert revived.refused == {}
            assert set(revived.ready) == {letter.id for letter in dead}
            settled(acting)
        for result, canvas in zip(results, drawn, strict=True):
            evaluator = Evaluator(prefix)
            outcome = evaluator.evaluate(changed(canvas, mended), ("go",))
            assert result.get(timeout=1) == outcome.value
            for task_id, (state, value, _) in evaluator.expected.states.items():
                found = acting.AsyncResult(task_id)
                assert (found.state, found.result) == (state, value), task_id

    mended_canvases()
