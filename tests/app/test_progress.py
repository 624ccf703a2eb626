"""`self.progress`: shown while the task runs, written seldom, gone at its next move."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue, current_task, states
from litequeue.calling import progressing
from litequeue.exceptions import SoftTimeLimitExceeded
from litequeue.result.progress import Progress
from tests.worker import progress_tasks
from tests.worker.conftest import POOLS, wait_until

NEVER = 1000.0


@pytest.fixture
def seen(app: LiteQueue) -> list[Any]:
    """What somebody who looks at the task sees after each of its steps."""
    return []


@pytest.fixture
def run(app: LiteQueue, worker: Callable[..., Any], seen: list[Any]) -> Callable[..., Any]:
    """Run a bound function as a task in a thread; `look` notes what others see of it."""

    def run(body: Callable[..., Any], **options: Any) -> Any:
        def look(task: Any) -> None:
            seen.append(app.AsyncResult(task.request.id).progress)

        @app.task(bind=True, name=f"proj.body{len(app.tasks)}", **options)
        def task(self: Any) -> Any:
            return body(self, lambda: look(self))

        worker()
        return task.delay()

    return run


# In every pool


@pytest.mark.parametrize("pool", POOLS)
def test_others_see_how_far_a_running_task_is(tmp_path: Path, pool: str) -> None:
    app, gate = progress_tasks.app, tmp_path / "gate"
    app.conf.broker_url = str(tmp_path / "queue.db")
    names = ["report", "report_in_a_coroutine"]
    try:
        with app.start_worker(pool=pool, concurrency=1):
            for name in names:
                result = app.tasks[f"progress_tasks.{name}"].delay(str(gate))
                progress = wait_until(lambda result=result: result.progress)
                assert progress == Progress(3, 12, "counting") and progress.fraction == 0.25
                assert result.state == "PROGRESS"
                assert result.info == {"done": 3, "total": 12, "message": "counting"}
                gate.touch()
                assert result.get(timeout=20) == "counted"
                assert result.progress is None and result.state == states.SUCCESS
                gate.unlink()
    finally:
        app.close()


# How often


def test_what_comes_soon_is_held_back_but_for_the_first_and_the_last(
    run: Callable[..., Any], seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(task: Any, look: Callable[[], None]) -> None:
        for done, message in ((0, "a"), (1, "a"), (2, "b"), (3, "b"), (3, "c")):
            task.progress(done, 3, message)
            look()

    monkeypatch.setattr(progressing, "INTERVAL", NEVER)
    run(body).get(timeout=20)
    first, last = Progress(0, 3, "a"), Progress(3, 3, "b")
    assert seen == [first, first, first, last, last]


def test_what_was_held_back_is_written_by_the_next_call_after_the_interval(
    run: Callable[..., Any], seen: list[Any]
) -> None:
    def body(task: Any, look: Callable[[], None]) -> None:
        task.progress(1, 10)
        task.progress(2, 10)
        time.sleep(progressing.INTERVAL * 1.1)
        task.progress(3, 10, "later")
        look()

    run(body).get(timeout=20)
    assert seen == [Progress(3, 10, "later")]


def test_ten_a_second_are_written(app: LiteQueue, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progressing, "INTERVAL", 0.05)

    def body(task: Any, look: Callable[[], None]) -> tuple[int, float]:
        written, before, started = 0, None, time.monotonic()
        for done in range(2000):
            task.progress(done)
            shown = app.AsyncResult(task.request.id).progress
            written, before = written + (shown != before), shown
        return written, time.monotonic() - started

    written, seconds = run(body).get(timeout=60)
    assert 1 <= written <= seconds / 0.05 + 2


# What can be reported


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [
        (3, None, (3, None, None)),
        (0, 0, (0, 0, 1.0)),
        (0.5, 2, (0.5, 2, 0.25)),
        (15, 10, (15, 10, 1.0)),
        (Decimal("1.5"), Fraction(3), (1.5, 3.0, 0.5)),
        (True, 4, (1, 4, 0.25)),
    ],
)
def test_numbers_of_every_kind(
    run: Callable[..., Any], seen: list[Any], done: Any, total: Any, shown: tuple[Any, ...]
) -> None:
    def body(task: Any, look: Callable[[], None]) -> None:
        task.progress(done, total)
        look()

    run(body).get(timeout=20)
    (progress,) = seen
    assert (progress.done, progress.total, progress.fraction) == shown and progress.message is None


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ((-1,), ValueError),
        ((math.nan,), ValueError),
        ((math.inf,), ValueError),
        ((1, -0.5), ValueError),
        ((1, math.nan), ValueError),
        (("3",), TypeError),
        ((None,), TypeError),
        ((1, "10"), TypeError),
        (([],), TypeError),
    ],
)
def test_what_is_no_number_is_an_error_everywhere(app: LiteQueue, wrong: tuple[Any, ...], error: type) -> None:
    @app.task(bind=True)
    def report(self: Any) -> None:
        self.progress(*wrong)

    with pytest.raises(error, match=r"progress: (done|total) must be a number"):
        report()
    assert isinstance(report.apply().result, error)


def test_a_message_is_text(run: Callable[..., Any], seen: list[Any]) -> None:
    def body(task: Any, look: Callable[[], None]) -> None:
        task.progress(1, 2, message=Path("a/b"))
        look()

    run(body).get(timeout=20)
    assert seen[0].message == str(Path("a/b"))


# Where nobody looks


def test_outside_of_a_worker_it_does_nothing(app: LiteQueue) -> None:
    @app.task(bind=True)
    def report(self: Any) -> str:
        self.progress(1, 2, "half")
        return "".join(self.track("abc"))

    assert report() == report.apply().get() == report.run() == "abc"
    result = report.delay()
    assert result.progress is None and app.AsyncResult("nobody").progress is None
    assert report.apply().progress is None


def test_a_task_that_was_revoked_or_has_lost_its_row_goes_on(
    app: LiteQueue, run: Callable[..., Any], seen: list[Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    def body(task: Any, look: Callable[[], None]) -> str:
        task.progress(1, 3)
        wait_until(gate.exists)
        time.sleep(progressing.INTERVAL * 1.1)
        task.progress(2, 3)
        look()
        return "went on"

    result = run(body)
    wait_until(lambda: result.progress)
    result.revoke()
    gate.touch()
    assert result.get(timeout=20) == "went on" and seen == [Progress(2, 3)]


def test_a_retry_clears_it(app: LiteQueue, worker: Callable[..., Any]) -> None:
    shown = []

    @app.task(bind=True, name="proj.twice", default_retry_delay=0)
    def twice(self: Any) -> None:
        shown.append(app.AsyncResult(self.request.id).progress)
        self.progress(5, 10)
        shown.append(app.AsyncResult(self.request.id).progress)
        if not self.request.retries:
            raise self.retry()

    worker()
    twice.delay().get(timeout=20)
    assert shown == [None, Progress(5, 10), None, Progress(5, 10)]


def test_the_current_task_reports_too(run: Callable[..., Any], seen: list[Any]) -> None:
    def body(task: Any, look: Callable[[], None]) -> None:
        current_task.progress(1, 4)
        look()

    run(body).get(timeout=20)
    assert seen == [Progress(1, 4)]


def test_the_end_is_not_progress(app: LiteQueue, run: Callable[..., Any]) -> None:
    def body(task: Any, look: Callable[[], None]) -> None:
        task.progress(1, 4)
        raise ValueError("no")

    result = run(body)
    result.get(timeout=20, propagate=False)
    assert result.progress is None and result.state == states.FAILURE


# What others call progress


@pytest.mark.parametrize(
    ("state", "meta", "expected"),
    [
        ("PROGRESS", {"current": 3, "total": 4}, Progress(3, 4)),
        ("PROGRESS", {"done": 3, "total": "many"}, Progress(3)),
        ("PROGRESS", {"done": -3}, None),
        ("PROGRESS", {"percent": 30}, None),
        ("PROGRESS", "half", None),
        ("PROGRESS", None, None),
        ("HALFWAY", {"done": 3, "total": 4}, None),
    ],
)
def test_states_that_were_set_by_hand(
    app: LiteQueue, run: Callable[..., Any], seen: list[Any], state: str, meta: Any, expected: Progress | None
) -> None:
    def body(task: Any, look: Callable[[], None]) -> None:
        task.update_state(state=state, meta=meta)
        look()

    run(body).get(timeout=20)
    assert seen == [expected]


# track


def test_track_reports_each_item(run: Callable[..., Any], seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progressing, "INTERVAL", 0.0)

    def body(task: Any, look: Callable[[], None]) -> list[str]:
        found = []
        for item in task.track("abc", message="letters"):
            look()
            found.append(item)
        look()
        list(task.track(iter("ab"), total=5))
        look()
        list(task.track(iter("ab")))
        look()
        return found

    assert run(body).get(timeout=20) == ["a", "b", "c"]
    assert seen[:4] == [Progress(n, 3, "letters") for n in range(4)]
    assert seen[4:] == [Progress(2, 5), Progress(2)]


def test_an_item_at_which_the_task_is_interrupted_is_not_done(run: Callable[..., Any], seen: list[Any]) -> None:
    def body(task: Any, look: Callable[[], None]) -> str:
        try:
            for _ in task.track(range(100)):
                raise SoftTimeLimitExceeded
        except SoftTimeLimitExceeded:
            look()
        return "caught"

    assert run(body).get(timeout=20) == "caught"
    assert seen == [Progress(0, 100)]


def test_coroutines_report_each_for_itself(app: LiteQueue, worker: Callable[..., Any]) -> None:
    shown = {}

    @app.task(bind=True, name="proj.both")
    async def both(self: Any, number: int) -> None:
        self.progress(number, 10)
        await asyncio.sleep(0)
        shown[number] = app.AsyncResult(self.request.id).progress

    worker(pool="asyncio", concurrency=2)
    for result in [both.delay(number) for number in (1, 2)]:
        result.get(timeout=20)
    assert shown == {1: Progress(1, 10), 2: Progress(2, 10)}
