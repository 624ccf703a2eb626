"""Workers that run canvases: what dies, what is refused and what hangs ends its canvas, and nothing else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from litequeue import chain, chord, group, states
from litequeue.core.state import TERMINAL
from litequeue.exceptions import (
    ChordError,
    DuplicateTaskError,
    StoreBusy,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from litequeue.store.sqlite.canvas import Canvases
from tests.crash.invariants import violations
from tests.worker import canvas_tasks
from tests.worker.canvas_tasks import (
    adds_taken,
    bad_errback,
    becomes_dying,
    becomes_taken,
    die,
    die_once,
    errback,
    fail,
    grow,
    leave,
    same,
    silent,
    told,
    total,
    wait_for,
)
from tests.worker.conftest import lines, wait_until


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    canvas_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield canvas_tasks.app
    with canvas_tasks.app.store._database.read() as connection:
        assert violations(connection) == []
    canvas_tasks.app.close()


@pytest.fixture
def run_worker(app: Any) -> Callable[..., Any]:
    @contextmanager
    def run(**options: Any) -> Iterator[Any]:
        options.setdefault("concurrency", 2)
        with app.start_worker(**options) as worker:
            yield worker

    return run


def all_ended(app: Any) -> bool:
    """Whether every task in the file has ended."""
    return all(states.keys() <= TERMINAL for states in app.store.counts().values())


# Deaths


def test_a_body_whose_process_dies_runs_again_with_the_same_values(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with run_worker(pool="prefork"):
        result = chord([same.s(n) for n in range(5)], die.s(log=str(log)))()
        assert result.get(timeout=20) == [0, 1, 2, 3, 4]
    assert lines(log) == ["die 1 [0, 1, 2, 3, 4]", "die 2 [0, 1, 2, 3, 4]"]


def test_members_whose_processes_die_are_counted_once(app: Any, run_worker: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "log"
    header = [die.s(1), chain(same.s(2), die.s()), group(die.s(3), same.s(4))]
    with run_worker(pool="prefork"):
        result = (chord(header, total.s(log=str(log))) | grow.s()).delay()
        assert result.get(timeout=30) == 11
    assert lines(log) == ["total [1, 2, 3, 4]"]


def test_a_member_that_is_lost_for_good_fails_the_body(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with run_worker(pool="prefork"):
        result = chord([same.s(1), die_once.s(2)], total.s()).on_error(errback.s(str(log)))()
        with pytest.raises((ChordError, WorkerLostError)):
            result.get(timeout=20)
        wait_until(lambda: all_ended(app))
    assert isinstance(result.result, ChordError)
    assert isinstance(result.result.__cause__, WorkerLostError)
    assert lines(log) == [f"old {result.id}"]


def test_what_a_task_became_survives_deaths(app: Any, run_worker: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run_worker(pool="prefork"):
        result = (becomes_dying.s(str(log)) | grow.s()).delay()
        assert result.get(timeout=30) == 4
    assert sorted(lines(log)) == ["die 1 1", "die 1 2", "die 2 1", "die 2 2", "total [1, 2]"]


def test_a_time_limit_of_a_member_fails_the_body(app: Any, run_worker: Callable[..., Any], tmp_path: Path) -> None:
    slow = wait_for.s(str(tmp_path / "never")).set(time_limit=0.2)
    with run_worker(pool="prefork"):
        result = chord([same.s(1), slow], total.s())()
        with pytest.raises((ChordError, TimeLimitExceeded)):
            result.get(timeout=20)
        wait_until(lambda: all_ended(app))
    assert isinstance(result.result.__cause__, TimeLimitExceeded)


def test_a_worker_that_is_stopped_warm_leaves_the_rest_to_the_next(
    app: Any, run_worker: Callable[..., Any], pool: str, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    result = chain(same.s(1), wait_for.si(str(gate), 5, str(log)), grow.s(), grow.s()).delay()
    with run_worker(pool=pool, concurrency=1) as worker:
        wait_until(lambda: lines(log))
        assert not worker.stop(timeout=1), "the gate is closed; by then the slot has been told"
        gate.touch()
        assert worker.stop(timeout=20)
    assert app.store.counts() == {"celery": {"succeeded": 2, "ready": 1, "waiting": 1}}
    with run_worker(pool=pool, concurrency=1):
        assert result.get(timeout=20) == 7
    assert len(lines(log)) == 1


def test_what_a_worker_that_is_stopped_cold_gives_back_goes_on_elsewhere(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    result = chord([same.s(1), wait_for.s(str(gate), 5, str(log))], total.s())()
    with run_worker(pool="prefork") as worker:
        wait_until(lambda: lines(log))
        assert worker.stop(warm=False, timeout=20)
    gate.touch()
    with run_worker(pool="prefork"):
        assert result.get(timeout=20) == 6
    assert len(lines(log)) == 2


# What the file refuses, and what cannot be read


def test_inputs_that_the_file_is_too_busy_to_give_are_asked_for_again(
    app: Any, run_worker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = Canvases.inputs

    def inputs(self: Any, claimed: Any) -> Any:
        asked.append(claimed.id)
        if len(asked) < 3:
            raise StoreBusy("busy")
        return real(self, claimed)

    monkeypatch.setattr(Canvases, "inputs", inputs)
    with run_worker(pool="threads", concurrency=1):
        assert chain(same.s(1), grow.s(), grow.s()).delay().get(timeout=20) == 3
    assert len(asked) == 4


def test_an_input_that_is_gone_fails_the_task_that_needs_it(app: Any, run_worker: Callable[..., Any]) -> None:
    """Somebody has deleted the row: the step is refused, and the worker goes on."""
    result = chain(same.s(1), grow.s().set(queue="later")).delay()
    with run_worker(pool="threads"):
        assert result.parent.get(timeout=20) == 1
        with app.store._database.write("full") as connection:
            connection.execute("DELETE FROM litequeue_tasks WHERE id = ?", (result.parent.id,))
    with run_worker(pool="threads", queues=["later", "celery"]):
        with pytest.raises(Exception, match="does not have it any more"):
            result.get(timeout=20)
        assert same.delay(3).get(timeout=20) == 3


def test_an_error_callback_is_told_of_a_task_that_could_not_be_read(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    result = same.s(1).on_error(told.s(str(log))).on_error(errback.s(str(log))).delay()
    with app.store._database.write("full") as connection:
        connection.execute("UPDATE litequeue_tasks SET payload = '{' WHERE id = ?", (result.id,))
    with run_worker(pool="threads"):
        wait_until(lambda: len(lines(log)) == 2)
        wait_until(lambda: all_ended(app))
    old, new = sorted(lines(log), reverse=True)[0], sorted(lines(log))[0]
    assert old == f"old {result.id}"
    assert new.startswith(f"new {result.id} []")


def test_values_that_cannot_be_encoded_fail_the_task_and_what_follows(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    @app.task(name="canvas_tasks.unencodable")
    def unencodable() -> object:
        return object()

    try:
        with run_worker(pool="threads"):
            result = chord([same.s(1), unencodable.s()], total.s())()
            with pytest.raises(Exception, match=r"."):
                result.get(timeout=20)
            wait_until(lambda: all_ended(app))
        assert result.state == states.FAILURE
    finally:
        app.tasks.pop("canvas_tasks.unencodable")


# What a task asks for that the file refuses


@pytest.mark.parametrize("task", [becomes_taken, adds_taken], ids=["replace", "add_to_chord"])
def test_an_id_that_is_taken_fails_the_task_and_nothing_else(
    app: Any, run_worker: Callable[..., Any], task: Any, pool: str
) -> None:
    taken = same.apply_async((0,), task_id="taken")
    with run_worker(pool=pool, concurrency=1):
        taken.get(timeout=20)
        result = chord([task.s("taken"), same.s(2)], total.s())()
        with pytest.raises((ChordError, DuplicateTaskError), match="taken"):
            result.get(timeout=20)
        wait_until(lambda: all_ended(app))
        assert isinstance(result.result.__cause__, DuplicateTaskError)
        assert same.delay(3).get(timeout=20) == 3


# Names that only some workers know


def test_a_canvas_over_two_kinds_of_workers(app: Any, run_worker: Callable[..., Any], tmp_path: Path) -> None:
    from litequeue import LiteQueue

    other = LiteQueue("other", broker=app.conf.broker_url, set_as_current=False)

    @other.task(name="elsewhere.double")
    def double(value: int) -> int:
        return 2 * value

    there = app.signature("elsewhere.double", queue="celery")
    canvas = chord([same.s(1), chain(same.s(5), there.clone()), there.clone((3,))], total.s())
    with run_worker(pool="threads"):
        result = canvas()
        wait_until(lambda: app.store.counts()["celery"].get("succeeded") == 2)
        assert result.state == states.PENDING
        with other.start_worker(pool="threads", concurrency=1):
            assert result.get(timeout=20) == 17
    other.close()


# Error callbacks


def test_both_styles_run_once_on_a_worker_and_may_fail(
    app: Any, run_worker: Callable[..., Any], pool: str, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    with run_worker(pool=pool, concurrency=1):
        result = fail.s(1).on_error(told.s(log)).on_error(errback.s(log)).on_error(bad_errback.s(log)).delay()
        with pytest.raises(ValueError, match="no"):
            result.get(timeout=20)
        wait_until(lambda: all_ended(app))
    assert sorted(lines(Path(log))) == [f"bad {result.id}", f"new {result.id} [1] ValueError True", f"old {result.id}"]


def test_error_callbacks_run_though_the_worker_died_before_them(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with run_worker(pool="threads"):
        result = fail.s().on_error(errback.s(str(log)).set(queue="later")).delay()
        with pytest.raises(ValueError, match="no"):
            result.get(timeout=20)
    with run_worker(pool="threads", queues=["later"]):
        wait_until(lambda: lines(log))
    assert lines(log) == [f"old {result.id}"]


# Links


def test_links_that_are_added_while_a_task_runs_follow_it(
    app: Any, run_worker: Callable[..., Any], pool: str, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run_worker(pool=pool, concurrency=1):
        result = wait_for.delay(str(gate), 7, str(log))
        wait_until(lambda: lines(log))
        result.link(same.s(str(log)))
        result.link_error(errback.s(str(log)))
        gate.touch()
        assert result.get(timeout=20) == 7
        wait_until(lambda: len(lines(log)) == 2)
        wait_until(lambda: all_ended(app))
    assert lines(log)[1] == "same 7"


def test_a_chain_stopped_on_purpose_and_one_revoked_leave_nothing_behind(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with run_worker(pool="threads", concurrency=1):
        stopped = chain(leave.s(), grow.s(), chord([same.s(1), same.s(2)], total.s())).delay()
        wait_until(lambda: all_ended(app))
        assert stopped.state == states.IGNORED
        running = wait_for.delay(str(gate))
        head = chain(same.s(1), grow.s())
        revoked = chord([head, same.s(2)], total.s()).delay()
        revoked.parent.revoke()
        gate.touch()
        running.get(timeout=20)
        wait_until(lambda: all_ended(app))
        with pytest.raises((ChordError, TaskRevokedError)):
            revoked.get(timeout=20)


def test_values_that_nobody_else_wants_are_gone_when_the_body_has_run(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="threads"):
        result = chord([silent.s(1), chain(silent.s(1), silent.s()), group(silent.s(3), silent.s(4))], total.s())()
        assert result.get(timeout=20) == 9
        wait_until(lambda: all_ended(app))
    found = app.store.canvas(result.id).tasks
    assert len(found) == 6
    assert [app.store.task(node.id).result for node in found if node.id != result.id] == [None] * 5


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_body_of_a_frozen_process_is_not_run_by_another(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path
) -> None:
    """A worker that lives keeps what it holds, however long it gives no sign."""
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run_worker(pool="prefork", concurrency=1):
        result = chord([same.s(1)], wait_for.si(str(gate), 5, str(log)))()
        wait_until(lambda: lines(log))
        pid = app.store.task(result.id).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            app.store.rescue(0.0, 3)
            time.sleep(0.1)
            assert len(lines(log)) == 1
        finally:
            os.kill(pid, signal.SIGCONT)
        gate.touch()
        assert result.get(timeout=20) == 5
    assert len(lines(log)) == 1
