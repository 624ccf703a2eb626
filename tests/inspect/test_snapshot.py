"""Workers, queues, tasks, schedules and the file, as records."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from litequeue.core import clock
from litequeue.inspect import snapshot
from litequeue.inspect.snapshot import Pace, Sampler, take
from litequeue.inspect.views import ALIVE, DEAD, HUNG
from tests.inspect.conftest import NAME, NODE, OTHER, Project, wait_until
from tests.inspect.looked_at import add, boom, flaky, hold, limited, tell


def test_an_empty_queue(app: Any) -> None:
    shown = take(app)
    assert (shown.workers, shown.queues, shown.tasks, shown.schedules) == ((), (), (), ())
    assert shown.file.path == app.store.path
    json.dumps(shown.as_dict())


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo", "asyncio"])
def test_a_worker_with_its_slots(app: Any, run_worker: Callable[..., Any], held: Callable[..., Any], pool: str) -> None:
    concurrency = 1 if pool == "solo" else 2
    with run_worker(pool=pool, concurrency=concurrency):
        result = held()
        (shown,) = snapshot.workers(app)
        assert (shown.node, shown.pid, shown.pool, shown.liveness) == (NODE, os.getpid(), pool, ALIVE)
        assert (shown.concurrency, len(shown.slots), shown.busy) == (concurrency, concurrency, 1)
        (task,) = [slot.task for slot in shown.slots if slot.task is not None]
        assert (task.id, task.name, task.state, task.engine_state) == (result.id, NAME + "hold", "STARTED", "running")
        assert task.runtime is not None
        assert task.runtime >= 0
        assert shown.queues == ("celery",)
        assert NAME + "add" in shown.tasks
        assert (shown.memory or 0) > 1_000_000


def test_cpu_is_taken_over_the_time_between_two_looks(app: Any, worker: Any) -> None:
    sampler = Sampler()
    assert snapshot.workers(app, sampler)[0].cpu is None
    assert (snapshot.workers(app, sampler)[0].cpu or 0.0) >= 0.0
    (measured,) = snapshot.measured_workers(app)
    assert measured.cpu is not None


def test_a_worker_that_hangs_and_one_that_is_dead(project: Project) -> None:
    app = project.app
    app.conf.worker_lease = 2.0
    lively = project.worker("-P", "solo", "-n", NODE, "worker_lease=2", "--heartbeat-interval", "0.2").ready()
    stopped = project.worker("-P", "solo", "-n", OTHER, "worker_lease=2", "--heartbeat-interval", "0.2").ready()

    def liveness() -> dict[str, str]:
        return {worker.node: worker.liveness for worker in snapshot.workers(app)}

    wait_until(lambda: liveness() == {NODE: ALIVE, OTHER: ALIVE})
    stopped.signal(signal.SIGSTOP)
    wait_until(lambda: liveness() == {NODE: ALIVE, OTHER: HUNG})
    said = app.control.inspect(timeout=0.3).liveness()
    assert said == {NODE: ALIVE, OTHER: HUNG}
    lively.signal(signal.SIGSTOP)  # so that nobody buries the dead
    stopped.signal(signal.SIGKILL)
    stopped.ended()
    wait_until(lambda: liveness()[OTHER] == DEAD)
    assert app.control.inspect(timeout=0.3).liveness() == {NODE: HUNG, OTHER: DEAD}
    done = project.run("-b", str(project.file), "inspect", "ping", "-t", "0.3")
    assert done.returncode == 69
    assert f"->  {NODE}: ERROR\n    hung\n" in done.stdout
    assert f"->  {OTHER}: ERROR\n    dead\n" in done.stdout
    lively.signal(signal.SIGCONT)
    assert lively.stop() == 0


def test_liveness_of_workers_that_answer(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(hostname=OTHER):
        assert app.control.inspect(timeout=20).liveness() == {NODE: ALIVE, OTHER: ALIVE}
        assert app.control.inspect([OTHER], timeout=20).liveness() == {OTHER: ALIVE}
    assert app.control.inspect(["nobody@here"]).liveness() == {}


def test_liveness_without_remote_control(app: Any, run_worker: Callable[..., Any]) -> None:
    app.conf.worker_enable_remote_control = False
    with run_worker():
        assert app.control.inspect(timeout=0.1).liveness() == {NODE: ALIVE}


def test_queues(app: Any, run_worker: Callable[..., Any], held: Callable[..., Any], ended: Any) -> None:
    ended(boom.delay(), flaky.delay(), add.delay(1, 1))
    app.control.pause("celery")
    add.delay(1, 2)
    add.apply_async((1, 2), countdown=3600)
    (add.s(1, 2).set(queue="mail") | add.s(3).set(queue="mail")).apply_async()
    by_name = {queue.name: queue for queue in snapshot.queues(app)}
    celery, mail = by_name["celery"], by_name["mail"]
    assert (celery.ready, celery.scheduled, celery.failed, celery.running, celery.waiting) == (1, 2, 1, 0, 0)
    assert celery.paused
    assert celery.workers == ()
    assert celery.latency is not None
    assert 0 <= celery.latency < 60
    assert (mail.ready, mail.waiting, mail.paused) == (1, 1, False)
    with run_worker(queues=["mail", "idle"]):
        by_name = {queue.name: queue for queue in snapshot.queues(app)}
        assert by_name["idle"].workers == (NODE,)
        assert (by_name["idle"].ready, by_name["idle"].latency) == (0, None)


def test_rates_are_of_full_periods(app: Any, ended: Any) -> None:
    results = [add.delay(1, 1), boom.delay()]
    ended(*results)
    before = clock.now
    try:
        clock.now = lambda: before() + 10.0  # the period in which they ended is over then
        (queue,) = snapshot.queues(app)
    finally:
        clock.now = before
    assert queue.rate == pytest.approx(2 / 60)
    assert queue.failure_rate == pytest.approx(1 / 60)
    assert sum(queue.history) == 2
    assert len(queue.history) == snapshot.HISTORY_PERIODS
    assert queue.mean_wait is not None
    assert 0 <= queue.mean_wait < 60


def test_tasks(app: Any, ended: Any) -> None:
    results = [add.delay(1, y=2), boom.delay("cake")]
    ended(*results)
    failed, succeeded = snapshot.tasks(app)
    assert (succeeded.id, succeeded.state, succeeded.engine_state) == (results[0].id, "SUCCESS", "succeeded")
    assert (succeeded.args, succeeded.kwargs) == ("(1,)", "{'y': 2}")
    assert succeeded.call == f"{NAME}add(1, y=2)"
    assert succeeded.error is None
    assert (failed.id, failed.error) == (results[1].id, "ValueError: no cake")
    assert failed.runtime is not None
    one = snapshot.task(app, results[0].id)
    assert one == succeeded
    assert snapshot.task(app, "nobody") is None


def test_arguments_are_cut_and_cannot_steer_a_terminal(app: Any) -> None:
    add.delay("\x1b[31m" + "x" * 10_000, list(range(1000)))
    (task,) = snapshot.tasks(app)
    assert len(task.args) <= 120
    assert "\x1b" not in task.call
    add.apply_async(("secret", 1), argsrepr="('***', 1)")
    assert snapshot.tasks(app)[0].call == f"{NAME}add('***', 1)"


def test_arguments_that_cannot_be_read(app: Any) -> None:
    result = add.delay(1, 2)
    record = app.store.task(result.id)._replace(serializer="pickle", payload=b"\x80\x04.")
    from litequeue.inspect.reading import task_view

    shown = task_view(app, record)
    assert (shown.args, shown.kwargs, shown.call) == ("?", "?", f"{NAME}add(?, ?)")


def test_progress(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held(tell)
    task = snapshot.task(app, result.id)
    assert task is not None
    assert task.state == "PROGRESS"
    assert task.progress is not None
    assert (task.progress.done, task.progress.total, task.progress.message) == (1, 2, "half")
    assert task.progress.fraction == 0.5


def test_schedules(app: Any) -> None:
    app.schedules.add("nightly", NAME + "add", "0 4 * * *", args=[1, 2])
    app.schedules.add("often", NAME + "limited", 90, enabled=False)
    nightly, often = snapshot.schedules(app)
    assert (nightly.name, nightly.when, nightly.task, nightly.state) == ("nightly", "0 4 * * *", NAME + "add", "on")
    assert (nightly.args, nightly.kwargs, nightly.runs, nightly.error) == ("(1, 2)", "{}", 0, None)
    assert (nightly.next_run_at or 0) > clock.now()
    assert (often.when, often.state, often.enabled) == ("every 90 seconds", "off", False)


def test_the_file(app: Any) -> None:
    add.delay(1, 2)
    shown = snapshot.file(app)
    assert (shown.rows, shown.damages) == (None, None)
    assert shown.size == os.path.getsize(app.store.path)
    assert shown.durability == "full"
    assert abs((shown.oldest_ready_at or 0) - clock.now()) < 60
    counted = snapshot.file(app, count=True, check=True)
    assert (counted.rows, counted.damages) == ({"ready": 1}, ())


def test_a_snapshot_is_json(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    held()
    flaky.delay()
    limited.delay()
    app.schedules.add("nightly", NAME + "add", "0 4 * * *", args=[1, 2])
    shown = take(app).as_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["at"].endswith("+00:00")
    assert shown["workers"][0]["slots"][0].keys() == {"pid", "task", "ahead"}


def test_a_pace_reads_as_often_as_the_cost_allows() -> None:
    now = [100.0]
    calls: list[float] = []
    before = clock.monotonic
    try:
        clock.monotonic = lambda: now[0]

        def read() -> int:
            calls.append(now[0])
            now[0] += 0.05  # what reading takes
            return len(calls)

        pace = Pace(share=0.01, least=1.0, most=10.0)
        assert [pace.read("queues", read), pace.read("queues", read)] == [1, 1]
        now[0] = 104.9
        assert pace.read("queues", read) == 1
        now[0] = 105.0  # 0.05 s / 1 %
        assert pace.read("queues", read) == 2
        pace.expire("queues")
        assert pace.read("queues", read) == 3
        assert pace.read("file", lambda: "at once") == "at once"
        now[0] += 0.9
        assert not pace.is_due("file")
        now[0] += 0.1
        assert pace.is_due("file")
    finally:
        clock.monotonic = before


def test_nothing_is_written(app: Any, ended: Any) -> None:
    ended(add.delay(1, 1), boom.delay())
    app.store.changes()
    seen = app.store.changes()
    take(app)
    snapshot.file(app, count=True, check=True)
    assert app.store.changes() == seen


def test_the_package_gives_out_what_programs_need() -> None:
    import litequeue.inspect as public

    assert all(getattr(public, name) is not None for name in public.__all__)
    assert public.take is take
    assert hold.name.startswith(NAME)
