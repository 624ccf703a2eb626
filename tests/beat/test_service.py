"""Schedulers that run: in a thread, in a worker, of a class of the program's own."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from litequeue import LiteQueue, signals
from litequeue.beat import EmbeddedService, PersistentScheduler, ScheduleEntry, Scheduler, Service
from litequeue.beat.in_memory import BeatLazyFunc
from litequeue.exceptions import ImproperlyConfigured
from litequeue.schedules import BaseSchedule, schedstate, schedule
from tests.beat.conftest import NOON, Clock, Run
from tests.worker.conftest import wait_until

Runs = Callable[[str], list[Run]]


@contextmanager
def running(app: LiteQueue, count: int = 1, **options: Any) -> Iterator[list[EmbeddedService]]:
    """Schedulers in threads of this process, which are registered when the block begins."""
    services = [EmbeddedService(app, **options) for _ in range(count)]
    for service in services:
        service.start()
    try:
        wait_until(lambda: len(beats(app)) == count or "parent" in options or options.get("scheduler_cls"))
        yield services
    finally:
        for service in services:
            service.stop()


def beats(app: LiteQueue) -> list[Any]:
    """The schedulers that are registered."""
    return [record for record in app.store.processes() if record.role == "beat"]


class TestRunning:
    def test_it_fires_and_leaves(self, app: LiteQueue, runs: Runs) -> None:
        app.schedules.add("e", "proj.add", 0.05)
        with running(app):
            wait_until(lambda: len(runs("e")) >= 3)
        assert beats(app) == []
        fired = len(runs("e"))
        time.sleep(0.12)
        assert len(runs("e")) == fired

    def test_a_change_is_known_at_once_to_every_scheduler(self, app: LiteQueue, runs: Runs) -> None:
        with running(app, 3):
            began = time.monotonic()
            app.schedules.add("e", "proj.add", 0.02)
            wait_until(lambda: runs("e"))
            app.schedules.update("e", args=(5,))
            wait_until(lambda: app.store.task(runs("e")[-1].id).payload == "[[5],{}]")  # type: ignore[union-attr]
            app.schedules.disable("e")
            fired = len(runs("e"))
            time.sleep(0.1)
            assert len(runs("e")) == fired
            app.schedules.enable("e")
            wait_until(lambda: len(runs("e")) > fired)
            app.schedules.remove("e")
            fired = len(runs("e"))
            time.sleep(0.1)
            assert len(runs("e")) == fired
            assert time.monotonic() - began < 5

    def test_an_idle_scheduler_leaves_the_file_alone(self, app: LiteQueue, monkeypatch: pytest.MonkeyPatch) -> None:
        touched: list[str] = []
        store = app.store
        app.schedules.add("far", "proj.add", 3600.0)
        with running(app):
            time.sleep(0.2)  # what the start itself wakes
            for verb in ("schedules", "schedule", "fire", "processes", "heartbeat", "next_schedule_at"):
                original = getattr(store, verb)
                monkeypatch.setattr(
                    store, verb, lambda *args, verb=verb, original=original: (touched.append(verb), original(*args))[1]
                )
            time.sleep(2.5)  # more than two checks of the clock
            assert touched == []

    def test_without_a_wake_up_it_looks_after_its_longest_sleep(self, app: LiteQueue, runs: Runs, write: Any) -> None:
        app.schedules.add("e", "proj.add", 3600.0)
        with running(app, max_interval=0.1):
            write("UPDATE litequeue_schedules SET next_instant = 1000, next_at = 1000")
            wait_until(lambda: runs("e"))

    def test_who_was_taken_for_dead_comes_back(self, app: LiteQueue) -> None:
        with running(app, max_interval=0.05):
            [first] = beats(app)
            app.store.deregister(first.id)
            wait_until(lambda: beats(app))
            assert beats(app)[0].id > first.id

    def test_an_error_of_the_file_is_told_and_tried_again(
        self, app: LiteQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, runs: Runs
    ) -> None:
        from litequeue.beat import service
        from litequeue.exceptions import StoreBusy

        monkeypatch.setattr(service, "_AFTER_ERROR", 0.01)
        app.schedules.add("e", "proj.add", 0.05)
        fire, calls = app.store.fire, iter([StoreBusy("process 1 holds it")] * 2)

        def busy_twice(firings: Any) -> Any:
            for error in calls:
                raise error
            return fire(firings)

        monkeypatch.setattr(app.store, "fire", busy_twice)
        with running(app):
            wait_until(lambda: runs("e"))
        assert caplog.text.count("process 1 holds it") == 2

    def test_signals(self, app: LiteQueue) -> None:
        sent: list[str] = []
        remember = lambda name: lambda sender, **_: sent.append((name, type(sender)))  # type: ignore[func-returns-value,arg-type] # noqa: E731
        plain, embedded = remember("plain"), remember("embedded")
        signals.beat_init.connect(plain)
        signals.beat_embedded_init.connect(embedded)
        try:
            with running(app):
                wait_until(lambda: len(sent) == 2)
        finally:
            signals.beat_init.disconnect(plain)
            signals.beat_embedded_init.disconnect(embedded)
        assert sent == [("plain", Service), ("embedded", Service)]

    def test_in_the_thread_of_the_program(self, app: LiteQueue, runs: Runs) -> None:
        app.conf.beat_schedule = {"e": {"task": "proj.add", "schedule": 0.05}}
        assert app.schedules.list() == []  # the file is there before the thread looks into it
        beat = app.Beat(max_interval=5, loglevel="INFO")
        stopper = threading.Thread(target=lambda: (wait_until(lambda: runs("e")), beat.stop(wait=True)))
        stopper.start()
        beat.run()
        stopper.join()
        assert beats(app) == []

    def test_stopped_before_it_began(self, app: LiteQueue) -> None:
        beat = app.Beat()
        beat.stop()
        beat.run()


class TestInAWorker:
    def test_a_worker_runs_what_it_fires(self, app: LiteQueue, tmp_path: Path) -> None:
        seen: list[int] = []
        app.task(name="proj.see", shared=False)(seen.append)
        app.conf.beat_schedule = {"e": {"task": "proj.see", "schedule": 0.05, "args": (7,)}}
        with app.start_worker(concurrency=1) as worker:
            wait_until(lambda: len(seen) >= 3)
            [beat] = beats(app)
            assert (beat.worker, beat.parent) == (worker.hostname, worker.worker.holder)
        assert app.store.processes() == []

    def test_one_that_is_told_not_to_fires_nothing(self, app: LiteQueue) -> None:
        app.conf.beat_schedule = {"e": {"task": "proj.add", "schedule": 0.02}}
        with app.start_worker(beat=False):
            time.sleep(0.1)
            assert beats(app) == []
        assert app.schedules.list() == []

    def test_a_burst_fires_nothing_unless_told_to(self, app: LiteQueue, runs: Runs) -> None:
        app.schedules.add("e", "proj.add", 0.02)
        time.sleep(0.05)
        worker = app.start_worker(burst=True)
        assert worker.worker.stopped.wait(20)
        assert runs("e") == []

    def test_children_of_a_prefork_worker_fire_nothing(self, app: LiteQueue) -> None:
        from tests.worker import exercise

        exercise.app.conf.broker_url = app.store.path
        try:
            with exercise.app.start_worker(pool="prefork", concurrency=2):
                assert len(beats(app)) == 1
        finally:
            exercise.app.close()


class Every(BaseSchedule):
    """A schedule of an own kind: due each `seconds`, as Celery's users write it."""

    def __init__(self, seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        return last_run_at + timedelta(seconds=self.seconds) - self.now()


class When(BaseSchedule):
    """Due when a file was touched since the last run; it fails while there is another."""

    def __init__(self, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path

    def is_due(self, last_run_at: datetime) -> schedstate:
        if Path(self.path + ".broken").exists():
            raise OSError("the tide is out")
        file = Path(self.path)
        return schedstate(file.exists() and file.stat().st_mtime > last_run_at.timestamp(), 0.05)


def touch(file: Path) -> None:
    """Now, by the clock: that of a file system may be some milliseconds behind."""
    file.touch()
    os.utime(file, (time.time(), time.time()))


class TestOwnKinds:
    def test_one_that_estimates(self, app: LiteQueue, runs: Runs) -> None:
        app.schedules.add("e", "proj.add", Every(0.1))
        with running(app, 2):
            wait_until(lambda: len(runs("e")) >= 4)
        due = [run.due for run in runs("e")]
        gaps = [after - before for before, after in pairwise(due)]
        assert all(gap + 0.002 >= 0.1 for gap in gaps), gaps

    def test_one_that_asks_the_world(self, app: LiteQueue, runs: Runs, tmp_path: Path) -> None:
        file = tmp_path / "go"
        app.schedules.add("e", "proj.add", When(str(file)))
        with running(app, 2):
            time.sleep(0.15)
            assert runs("e") == []
            for count in (1, 2):
                touch(file)
                wait_until(lambda count=count: len(runs("e")) == count)
            time.sleep(0.15)
            assert len(runs("e")) == 2

    def test_one_that_raises_is_marked_and_asked_again(
        self,
        app: LiteQueue,
        runs: Runs,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        from litequeue.beat import ticking

        monkeypatch.setattr(ticking, "ASK_AGAIN", 0.02)
        broken = tmp_path / "go.broken"
        broken.touch()
        app.schedules.add("bad", "proj.add", When(str(tmp_path / "go")))
        app.schedules.add("good", "proj.add", 0.05)
        with running(app):
            wait_until(lambda: len(runs("good")) >= 3)
            assert app.schedules.get("bad").state == "broken"
            assert app.schedules.get("bad").error == "OSError: the tide is out"
            broken.unlink()
            wait_until(lambda: app.schedules.get("bad").state == "on")
            touch(tmp_path / "go")
            wait_until(lambda: runs("bad"))
        assert caplog.text.count("Entry bad cannot be fired: OSError: the tide is out") == 1

    def test_they_keep_their_bounds(self, app: LiteQueue, wall: Clock, scheduler: Any, runs: Runs) -> None:
        start, end = (datetime.fromtimestamp(NOON + seconds) for seconds in (100, 200))
        app.schedules.add("e", "proj.add", Every(30), start=start.astimezone(), end=end.astimezone(), max_runs=5)
        beat = scheduler()
        for _ in range(300):
            wall.forward(1)
            beat.tick()
        due = [run.due - NOON for run in runs("e")]
        assert due
        assert due[0] >= 100
        assert due[-1] <= 200
        assert app.schedules.get("e").state == "ended"

    def test_they_are_not_put_off(self, app: LiteQueue) -> None:
        with pytest.raises(ImproperlyConfigured, match="cannot be put off"):
            app.schedules.add("e", "proj.add", Every(30), jitter=5)


class TestClassOfItsOwn:
    def test_celerys_scheduler_in_memory(self, app: LiteQueue) -> None:
        told: list[str] = []
        moment = iter(range(100))

        class Mine(Scheduler):
            def setup_schedule(self) -> None:
                super().setup_schedule()
                self.add(name="late", task="proj.add", schedule=schedule(0.05))

            def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
                told.append(str(entry.name))
                super().apply_entry(entry, producer)

            def close(self) -> None:
                told.append("closed")
                super().close()

        app.conf.beat_schedule = {
            "e": {"task": "proj.add", "schedule": 0.05, "args": (BeatLazyFunc(lambda: next(moment)), 1)}
        }
        with running(app, scheduler_cls=Mine):
            wait_until(lambda: told.count("e") >= 3 and told.count("late") >= 3)
        assert told[-1] == "closed"
        assert beats(app) == []
        assert app.schedules.list() == []

    def test_it_is_found_by_its_name(self, app: LiteQueue) -> None:
        app.conf.beat_scheduler = f"{__name__}:Named"
        assert isinstance(app.Beat().get_scheduler(lazy=True), Named)
        assert isinstance(app.Beat(scheduler="celery.beat:PersistentScheduler").scheduler, PersistentScheduler)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("nowhere.at:all", "cannot be imported"),
            ("tests.beat.test_service:NOON", "derive a class from litequeue.beat.Scheduler"),
            (f"{__name__}:Every", "is no scheduler"),
        ],
    )
    def test_what_is_none(self, given: str, said: str, app: LiteQueue) -> None:
        with pytest.raises(ImproperlyConfigured, match=said):
            app.Beat(scheduler=given)

    def test_workers_leave_it_to_litequeue_beat_unless_told_to(self, app: LiteQueue) -> None:
        app.conf.beat_scheduler = Named
        Named.made.clear()
        with app.start_worker():
            assert beats(app) == []
        assert not Named.made
        with app.start_worker(beat=True):
            wait_until(lambda: Named.made)

    def test_the_scheduler_of_the_file_cannot_be_replaced_in_part(self) -> None:
        with pytest.raises(TypeError, match="apply_async would never be called"):
            type("Wrong", (PersistentScheduler,), {"apply_async": lambda self: None})
        assert type("Right", (PersistentScheduler,), {"max_interval": 5.0})

    def test_a_turn_that_raises_does_not_end_it(
        self, app: LiteQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from litequeue.beat import service

        monkeypatch.setattr(service, "_AFTER_ERROR", 0.01)
        turns: list[int] = []

        class Raising(Scheduler):
            def tick(self) -> float:
                turns.append(1)
                if len(turns) < 3:
                    raise RuntimeError("not now")
                return 60.0

        with running(app, scheduler_cls=Raising):
            wait_until(lambda: len(turns) == 3)
        assert caplog.text.count("RuntimeError: not now") == 2

    def test_entries_in_memory(self, app: LiteQueue, wall: Clock) -> None:
        mine = Scheduler(app, lazy=True)
        mine.update_from_dict({"a": {"task": "proj.add", "schedule": 10.0}, "b": {"task": "proj.add", "schedule": 5}})
        kept = mine.schedule["a"]
        mine.merge_inplace({"a": {"task": "proj.add", "schedule": 20.0}, "c": {"task": "proj.add", "schedule": 1}})
        assert set(mine.schedule) == {"a", "c"}
        assert mine.schedule["a"] is kept
        assert kept.schedule == schedule(20)
        again = next(kept)
        assert (again.total_run_count, again) == (1, kept)
        assert "proj.add" in repr(kept)

    def test_the_schedule_of_the_file_by_celerys_names(self, app: LiteQueue) -> None:
        scheduler = app.Beat().scheduler
        try:
            scheduler.add(name="e", task="proj.add", schedule=10)
            assert scheduler.schedule["e"].task == "proj.add"
            assert scheduler.info == f"file -> {app.store.path}"
            assert not scheduler.should_sync()
        finally:
            scheduler.close()


class Named(Scheduler):
    """A scheduler that the settings name."""

    made: list[int] = []  # noqa: RUF012

    def setup_schedule(self) -> None:
        self.made.append(1)


def test_what_is_sent_is_told_at_info(
    app: LiteQueue, wall: Clock, scheduler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "litequeue.beat")
    app.schedules.add("e", "proj.add", 10.0, overlap="skip")
    beat = scheduler()
    for _ in range(2):
        wall.forward(30)
        beat.tick()
    assert caplog.messages == [
        "Scheduler: Sending due task e (proj.add)",
        "Entry e: 2 missed, left out (catchup=last)",
        "Entry e: 2 missed, left out (catchup=last)",
        "Entry e: left out, the run before it has not ended (overlap=skip)",
    ]
