"""Running tasks are killed by name: the one that is meant, and no other; rows beside it come back unharmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from litequeue import signals, states
from litequeue.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from tests.worker import supervisor_tasks
from tests.worker.supervisor_tasks import (
    catch_soft,
    doze,
    overtime,
    overtime_again,
    pid,
    quick,
    quick_or_wait,
    starts,
    wait_for,
    wait_for_once,
    wait_until,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    supervisor_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield supervisor_tasks.app
    supervisor_tasks.app.close()


@contextmanager
def heard(which: Any) -> Iterator[list[dict[str, Any]]]:
    """What a signal says while the block runs."""
    said: list[dict[str, Any]] = []

    def hear(**named: Any) -> None:
        said.append(named)

    which.connect(hear, weak=False)
    try:
        yield said
    finally:
        which.disconnect(hear)


def run(app: Any, **options: Any) -> Any:
    return app.start_worker(pool="prefork", **{"concurrency": 1, "beat": False, **options})


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGUSR2", "SIGWINCH"])
def test_a_running_task_is_killed_and_revoked(app: Any, tmp_path: Path, name: str) -> None:
    log = tmp_path / "log"
    with run(app), heard(signals.task_revoked) as said:
        result = wait_for.delay(str(tmp_path / "never"), str(log))
        child = int(wait_until(lambda: starts(log))[0][2])
        began = time.monotonic()
        app.store.revoke([result.id], signal=name)
        with pytest.raises(TaskRevokedError, match="terminated"):
            result.get(timeout=20)
        assert time.monotonic() - began < 2
        assert result.state == states.REVOKED
        assert pid.delay().get(timeout=20) != child
        wait_until(lambda: said)
    (arguments,) = said
    assert arguments["sender"] is app.tasks[wait_for.name]
    assert (arguments["terminated"], arguments["signum"], arguments["expired"]) == (True, signal.SIGKILL, False)
    assert arguments["request"].id == result.id
    assert arguments["request"].args == [str(tmp_path / "never"), str(log)]
    assert app.store.task(result.id).deaths == 0
    assert len(starts(log)) == 1


def test_an_at_most_once_task_is_revoked_too(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run(app):
        result = wait_for_once.delay(str(tmp_path / "never"), str(log))
        wait_until(lambda: starts(log))
        app.store.revoke([result.id], signal="SIGTERM")
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)
        assert result.state == states.REVOKED


def test_other_children_go_on(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run(app, concurrency=2):
        killed, other = wait_for.delay(str(tmp_path / "never"), str(log)), wait_for.delay(str(gate), str(log))
        wait_until(lambda: len(starts(log)) == 2)
        app.store.revoke([killed.id], signal="SIGTERM")
        wait_until(lambda: killed.state == states.REVOKED)
        gate.touch()
        assert other.get(timeout=20) == 1, "its first attempt"


def test_rows_beside_it_in_the_same_child_come_back_without_a_death(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run(app):
        for result in app.enqueue_many([quick_or_wait.s(str(gate), str(log), n, -1) for n in range(40)]):
            result.get(timeout=20)
        results = app.enqueue_many([quick_or_wait.s(str(gate), str(log), n, 3) for n in range(30)])
        wait_until(lambda: starts(log))
        app.store.revoke([results[3].id], signal="SIGTERM")
        for number, result in enumerate(results):
            if number != 3:
                assert result.get(timeout=20) == number
        assert results[3].state == states.REVOKED
    assert {app.store.task(each.id).deaths for each in results} == {0}
    assert {attempt.outcome for each in results for attempt in each.history} <= {"requeued"}


def test_what_is_claimed_behind_a_running_task_never_starts(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run(app):
        first = wait_for.delay(str(gate), str(log))
        wait_until(lambda: starts(log))
        second = quick.delay(str(log), 7)
        app.store.revoke([second.id], signal="SIGTERM")
        gate.touch()
        assert first.get(timeout=20) == 1
        with pytest.raises(TaskRevokedError):
            second.get(timeout=20)
        assert pid.delay().get(timeout=20)
    assert "quick 7" not in log.read_text()


def test_sigusr1_raises_the_soft_limit_in_the_task_once(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run(app):
        result = catch_soft.delay(str(log))
        child = int(wait_until(lambda: starts(log))[0][2])
        app.store.revoke([result.id], signal="SIGUSR1")
        assert wait_until(result.ready)
        assert pid.delay().get(timeout=20) == child, "it was not killed"
        second = overtime.delay(str(log))
        wait_until(lambda: len(starts(log)) == 2)
        app.store.revoke([second.id], signal="SIGUSR1")
        wait_until(second.ready)
    assert app.store.task(result.id).state in ("succeeded", "revoked")
    assert isinstance(second.result, (SoftTimeLimitExceeded, TaskRevokedError))


def test_any_other_signal_is_sent_as_it_is(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run(app), heard(signals.task_revoked) as said:
        result = wait_for.delay(str(tmp_path / "never"), str(log))
        wait_until(lambda: starts(log))
        app.store.revoke([result.id], signal="SIGABRT")
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)
        wait_until(lambda: said)
    assert said[0]["signum"] == signal.SIGABRT


def test_many_at_once(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run(app, concurrency=4):
        results = [wait_for.delay(str(tmp_path / "never"), str(log)) for _ in range(4)]
        wait_until(lambda: len(starts(log)) == 4)
        app.store.revoke([each.id for each in results], signal="SIGKILL")
        for result in results:
            wait_until(lambda each=result: each.state == states.REVOKED)
        assert quick.delay().get(timeout=20) == 0
    assert len(starts(log)) == 4


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_under_load_only_what_was_meant_is_killed(app: Any, tmp_path: Path, journal: str) -> None:
    """The tasks end all the time while they are revoked: whichever was killed is REVOKED, and all others ran once.

    Without a WAL a suspended process may hold the lock that the look at the file waits for.
    """
    log = tmp_path / "log"
    if journal == "delete":
        make = f"import sqlite3; sqlite3.connect({str(tmp_path / 'queue.db')!r}).execute('CREATE TABLE own (x)')"
        subprocess.run([sys.executable, "-c", make], check=True)
    with run(app, concurrency=2):
        results = app.enqueue_many([doze.s(str(log), n) for n in range(400)])
        ids, killed = [each.id for each in results], set[str]()
        while not all(result.ready() for result in results):
            running = [task_id for task_id, state in app.store.states(ids).items() if state == "running"]
            chosen = running[: 1 + len(killed) % 2]
            app.store.revoke(chosen, signal="SIGKILL")
            killed.update(chosen)
            time.sleep(0.01)
    ran = [line.split()[1] for line in log.read_text().splitlines()]
    revoked = set()
    for number, result in enumerate(results):
        record = app.store.task(result.id)
        assert record.deaths == 0
        if record.state == "succeeded":
            assert ran.count(str(number)) == record.attempt == 1 or result.id in killed or record.attempt > 1
        else:
            assert record.state == "revoked"
            revoked.add(result.id)
    assert revoked <= killed
    assert revoked, "some were hit"


# Hard limits


def test_rows_beside_a_task_that_was_timed_out_count_no_death(app: Any, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with run(app):
        for result in app.enqueue_many([quick_or_wait.s(str(gate), str(log), n, -1) for n in range(40)]):
            result.get(timeout=20)
        calls = [quick_or_wait.s(str(gate), str(log), n, 3).set(time_limit=0.3) for n in range(30)]
        results = app.enqueue_many(calls)
        with pytest.raises(TimeLimitExceeded):
            results[3].get(timeout=20)
        for number, result in enumerate(results):
            if number != 3:
                assert result.get(timeout=20) == number
    assert {app.store.task(each.id).deaths for each in results} == {0}


def test_hard_limits_fire_in_time_with_eight_children_busy(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run(app, concurrency=8) as worker:
        results = [overtime.apply_async((str(log),), time_limit=1.0) for _ in range(8)]
        ended: dict[str, float] = {}

        def watch() -> None:
            while len(ended) < 8 and not worker.worker.stopped.is_set():
                for each in results:
                    if each.id not in ended and app.store.task(each.id).state == "failed":
                        ended[each.id] = time.time()
                time.sleep(0.002)

        thread = threading.Thread(target=watch)
        thread.start()
        for result in results:
            with pytest.raises(TimeLimitExceeded):
                result.get(timeout=20)
        thread.join()
        late = [ended[each.id] - app.store.task(each.id).started_at - 1.0 for each in results]
    print(f"late by {min(late) * 1000:.0f} to {max(late) * 1000:.0f} ms")
    assert sorted(late)[4] < 0.25, "0.05 on a quiet machine"


def test_a_task_may_run_again_after_its_hard_limit(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run(app):
        result = overtime_again.apply_async((str(log), 1), time_limit=0.3)
        assert result.get(timeout=20) == 2
    assert len(starts(log)) == 2
    (attempt,) = result.history
    assert attempt.outcome == "lost"
    assert "hard time limit" in str(attempt.exception)
    assert app.store.task(result.id).deaths == 1


def test_and_is_given_up_at_the_cap(app: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run(app), heard(signals.task_failure) as said:
        result = overtime_again.apply_async((str(log),), time_limit=0.2)
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=20)
        wait_until(lambda: said)
    assert len(starts(log)) == 3
    assert [attempt.outcome for attempt in result.history] == ["lost", "lost", "failed"]
    (arguments,) = said
    assert arguments["sender"] is app.tasks[overtime_again.name]
    assert arguments["task_id"] == result.id
    assert isinstance(arguments["exception"], TimeLimitExceeded)


def test_who_is_told_of_a_task_that_was_killed_at_its_limit(app: Any, tmp_path: Path) -> None:
    with run(app), heard(signals.task_failure) as said:
        result = supervisor_tasks.told_of_its_end.apply_async((str(tmp_path / "log"),), time_limit=0.2)
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=20)
        words = wait_until(lambda: len(supervisor_tasks.lines(tmp_path / "log")) == 3 and tmp_path / "log")
    assert [line[:3] for line in supervisor_tasks.lines(words)[1:]] == [
        ["on_failure", result.id, "TimeLimitExceeded"],
        ["after_return", result.id, "FAILURE"],
    ]
    assert said[0]["args"] == [str(tmp_path / "log")]
