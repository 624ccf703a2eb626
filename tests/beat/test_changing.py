"""`app.schedules`: entries that are made and changed at run time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from litequeue import LiteQueue, chain
from litequeue.beat import EntryExists, EntryNotFound
from litequeue.beat.in_memory import BeatLazyFunc
from litequeue.beat.showing import STATES
from litequeue.beat.ticking import Ticking
from litequeue.exceptions import EncodeError, LiteQueueError, NotRegistered, QueueNotFound
from litequeue.schedules import ScheduleError, crontab, schedule
from tests.beat.conftest import HOUR, NOON, Clock, Run

Instants = Callable[[str], list[float]]
Start = Callable[..., Ticking]


def utc(seconds: float) -> datetime:
    """A time, given in seconds after noon."""
    return datetime.fromtimestamp(NOON + seconds, UTC)


class TestAdding:
    def test_what_is_added_is_shown(self, app: LiteQueue, wall: Clock) -> None:
        given = app.schedules.add(
            "e",
            "proj.add",
            crontab(minute=30),
            args=(1,),
            kwargs={"y": 2},
            options={"queue": "q", "expires": 60},
            timezone="Europe/Oslo",
            catchup="all",
            catchup_window=timedelta(hours=1),
            overlap="queue",
            jitter=5,
            start=datetime(2026, 3, 2, 14, 0),
            end="2026-03-02T20:00:00+00:00",
            max_runs=9,
        )
        assert given == app.schedules.get("e")
        assert (given.task, given.args, given.kwargs) == ("proj.add", [1], {"y": 2})
        assert given.options["queue"] == "q"
        assert given.options["expires"] == 60
        assert given.schedule == crontab(minute=30)
        assert given.timezone == "Europe/Oslo"
        assert (given.state, given.enabled, given.owner, given.error) == ("on", True, None, None)
        assert (given.catchup, given.catchup_window, given.overlap, given.jitter) == ("all", 3600, "queue", 5)
        assert (given.start, given.end) == (utc(HOUR), utc(8 * HOUR))
        assert given.start is not None
        assert given.start.hour == 14
        assert (given.max_runs, given.total_run_count, given.skipped) == (9, 0, 0)
        assert given.last_run_at is None
        assert given.next_run_at is not None
        assert timedelta(0) <= given.next_run_at - utc(1.5 * HOUR) < timedelta(seconds=5)
        assert json.loads(json.dumps(given.as_dict()))["schedule"] == {"type": "crontab", "expression": "30 * * * *"}

    def test_all_of_them_by_name(self, app: LiteQueue, wall: Clock) -> None:
        for name in ("b", "c", "a"):
            app.schedules.add(name, "proj.add", 10)
        assert [entry.name for entry in app.schedules.list()] == ["a", "b", "c"]

    @pytest.mark.parametrize("how", ["name", "task", "signature"])
    def test_a_task_may_be_given_in_three_ways(self, how: str, app: LiteQueue, wall: Clock) -> None:
        task = app.tasks["proj.add"]
        given: Any = {"name": "proj.add", "task": task, "signature": task.s(1).set(priority=3)}[how]
        entry = app.schedules.add("e", given, 10, args=() if how == "signature" else (1,))
        assert (entry.task, entry.args) == ("proj.add", [1])
        assert entry.options["priority"] == (3 if how == "signature" else 0)

    def test_a_name_is_given_once(self, app: LiteQueue, wall: Clock) -> None:
        app.schedules.add("e", "proj.add", 10)
        with pytest.raises(EntryExists, match="has an entry 'e' already"):
            app.schedules.add("e", "proj.add", 20)
        assert app.schedules.get("e").schedule == schedule(10)

    @pytest.mark.parametrize(
        ("given", "error", "said"),
        [
            ({"schedule": "61 * * * *"}, ScheduleError, "61"),
            ({"schedule": "0 0 30 2 *"}, ScheduleError, "no such date"),
            ({"schedule": None}, TypeError, "needs a task and a schedule"),
            ({"schedule": object()}, ScheduleError, "seconds, a timedelta, a crontab"),
            ({"schedule": 0}, ScheduleError, "longer than nothing"),
            ({"schedule": datetime(2020, 1, 1)}, ScheduleError, "would never run"),
            ({"start": "2030-01-01", "end": "2029-01-01"}, ScheduleError, "before start"),
            ({"end": "2020-01-01"}, ScheduleError, "would never run"),
            ({"end": "soon"}, ScheduleError, "end='soon'"),
            ({"start": "2030-01-01", "schedule": datetime(2029, 1, 1)}, ScheduleError, "would never run"),
            ({"timezone": "Mars/Olympus"}, ScheduleError, "no such time zone"),
            (
                {"schedule": crontab(timezone="Europe/Oslo"), "timezone": "Asia/Tokyo"},
                ScheduleError,
                "the schedule has its own",
            ),
            ({"catchup": "some"}, ScheduleError, "'none', 'last', 'all'"),
            ({"catchup_window": 0}, ScheduleError, "catchup_window=0"),
            ({"overlap": "forbid"}, ScheduleError, "'allow', 'skip', 'queue'"),
            ({"jitter": -1}, ScheduleError, "jitter=-1"),
            ({"jitter": "long"}, ScheduleError, "jitter='long'"),
            ({"max_runs": 0}, ScheduleError, "max_runs=0"),
            ({"max_runs": 1.5}, ScheduleError, "max_runs=1.5"),
            ({"catch_up": "all"}, TypeError, "did you mean 'catchup'"),
            ({"queue": "q"}, TypeError, "Options of the call go to 'options'"),
            ({"options": {"prority": 1}}, TypeError, "did you mean 'priority'"),
            ({"options": {"eta": datetime(2030, 1, 1)}}, TypeError, "every run has its own time"),
            ({"options": {"task_id": "x"}}, TypeError, "every run has its own id"),
            ({"options": {"priority": 300}}, ValueError, "0 to 255"),
            ({"args": (1, 2, 3)}, TypeError, "takes from 0 to 2 positional arguments|too many positional"),
            ({"args": (object(),)}, EncodeError, r"args\[0\]"),
            ({"args": (BeatLazyFunc(int),)}, TypeError, "computed at each run"),
            ({"task": "proj.nope"}, NotRegistered, "proj.nope"),
            ({"task": None}, TypeError, "needs a task"),
            ({"task": 5}, TypeError, "a task, its name or a signature"),
            ({"name": ""}, ScheduleError, "name=''"),
            ({"name": "a\nb"}, ScheduleError, "printable"),
        ],
    )
    def test_what_cannot_be_is_an_error_at_once(
        self, given: dict[str, Any], error: type[Exception], said: str, app: LiteQueue, wall: Clock
    ) -> None:
        with pytest.raises(error, match=said):
            app.schedules.add(**{"name": "e", "task": "proj.add", "schedule": 10, **given})
        assert app.schedules.list() == []

    def test_a_task_of_another_program_is_added_by_its_queue(self, app: LiteQueue, wall: Clock) -> None:
        assert app.schedules.add("e", "other.task", 10, options={"queue": "theirs"}).task == "other.task"

    def test_an_app_without_tasks_adds_any_name(self, make_app: Callable[..., LiteQueue], wall: Clock) -> None:
        assert make_app("client").schedules.add("e", "other.task", 10).task == "other.task"

    def test_queues_are_checked(self, app: LiteQueue, wall: Clock) -> None:
        app.conf.update(task_queues=["a"], task_default_queue="a", task_create_missing_queues=False)
        with pytest.raises(QueueNotFound):
            app.schedules.add("e", "proj.add", 10, options={"queue": "b"})

    def test_the_zone_of_the_app_is_written_down(self, app: LiteQueue, wall: Clock) -> None:
        app.conf.timezone = "Asia/Kolkata"
        app.schedules.add("e", "proj.add", "0 0 * * *")
        assert app.schedules.get("e").timezone == "Asia/Kolkata"
        assert app.schedules.get("e").next_run_at == utc(6.5 * HOUR)
        app.conf.timezone = "UTC"
        assert app.schedules.preview("e", 1) == [utc(6.5 * HOUR)]

    def test_every_state_is_explained(self, app: LiteQueue, wall: Clock) -> None:
        assert {"on", "off", "ended", "broken"} == set(STATES)


class TestUpdating:
    def test_what_is_not_given_stays(self, app: LiteQueue, wall: Clock, scheduler: Start) -> None:
        app.schedules.add("e", "proj.add", 10, args=(1,), options={"priority": 4}, catchup="all", jitter=1)
        beat = scheduler()
        wall.forward(11)
        beat.tick()
        before = app.schedules.get("e")
        after = app.schedules.update("e", overlap="skip", max_runs=100)
        changed = {name for name, value in after.as_dict().items() if value != before.as_dict()[name]}
        assert changed == {"overlap", "max_runs"}
        assert after.total_run_count == 1

    def test_a_new_schedule_counts_from_now(self, app: LiteQueue, wall: Clock, scheduler: Start) -> None:
        app.schedules.add("e", "proj.add", 100)
        wall.forward(30)
        assert app.schedules.update("e", schedule=50).next_run_at == utc(80)
        assert app.schedules.update("e", schedule="0 13 * * *").next_run_at == utc(HOUR)
        assert app.schedules.update("e", timezone="Europe/Paris").next_run_at == utc(24 * HOUR)

    def test_arguments_alone(self, app: LiteQueue, wall: Clock) -> None:
        app.schedules.add("e", "proj.add", 10, args=(1,), kwargs={"y": 1}, options={"queue": "q", "expires": 5})
        entry = app.schedules.update("e", args=(7,))
        assert (entry.args, entry.kwargs) == ([7], {"y": 1})
        assert (entry.options["queue"], entry.options["expires"]) == ("q", 5)
        assert entry.next_run_at == utc(10)

    def test_a_new_task_keeps_the_arguments(self, app: LiteQueue, wall: Clock) -> None:
        app.task(name="proj.other")(lambda x: x)
        app.schedules.add("e", "proj.add", 10, args=(1,))
        entry = app.schedules.update("e", task="proj.other", options={"priority": 9})
        assert (entry.task, entry.args, entry.options["priority"]) == ("proj.other", [1], 9)

    def test_errors_change_nothing(self, app: LiteQueue, wall: Clock) -> None:
        before = app.schedules.add("e", "proj.add", 10)
        for change, error in (
            ({"schedule": "* * *"}, ScheduleError),
            ({"task": "proj.nope"}, NotRegistered),
            ({"wen": 5}, TypeError),
            ({"end": "2020-01-01", "start": "2021-01-01"}, ScheduleError),
        ):
            with pytest.raises(error):
                app.schedules.update("e", **change)
        assert app.schedules.get("e") == before

    def test_there_is_none_of_that_name(self, app: LiteQueue) -> None:
        for change in (
            lambda: app.schedules.update("x", max_runs=1),
            lambda: app.schedules.remove("x"),
            lambda: app.schedules.enable("x"),
            lambda: app.schedules.disable("x"),
            lambda: app.schedules.run_now("x"),
            lambda: app.schedules.preview("x"),
            lambda: app.schedules.get("x"),
        ):
            with pytest.raises(EntryNotFound, match="no entry 'x'") as caught:
                change()
            assert isinstance(caught.value, LookupError)
            assert isinstance(caught.value, LiteQueueError)

    def test_who_changes_an_entry_at_the_same_time_loses_nothing(
        self, app: LiteQueue, make_app: Callable[..., LiteQueue], wall: Clock
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        app.schedules.add("e", "proj.add", 10)
        fields = [{"jitter": 3}, {"max_runs": 7}, {"overlap": "skip"}, {"catchup": "all"}]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda change: app.schedules.update("e", **change), fields))
        entry = app.schedules.get("e")
        assert (entry.jitter, entry.max_runs, entry.overlap, entry.catchup) == (3, 7, "skip", "all")


class TestSwitching:
    def test_an_entry_that_is_off_is_not_fired_nor_caught_up_with(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 10, catchup="all")
        beat = scheduler()
        assert app.schedules.disable("e").state == "off"
        beat.look()
        wall.forward(35)
        beat.tick()
        entry = app.schedules.enable("e")
        assert (entry.state, entry.next_run_at) == ("on", utc(40))
        beat.look()
        wall.forward(5)
        beat.tick()
        assert instants("e") == [40]

    def test_it_may_be_added_off(self, app: LiteQueue, wall: Clock) -> None:
        entry = app.schedules.add("e", "proj.add", 10, enabled=False)
        assert (entry.state, entry.next_run_at) == ("off", None)
        assert app.schedules.update("e", enabled=True).next_run_at == utc(10)

    def test_what_has_ended_stays_so(self, app: LiteQueue, wall: Clock, scheduler: Start) -> None:
        app.schedules.add("e", "proj.add", 10, max_runs=1)
        beat = scheduler()
        wall.forward(10)
        beat.tick()
        assert app.schedules.enable("e").state == "ended"


class TestRunNow:
    def test_the_schedule_stays_as_it_is(self, app: LiteQueue, wall: Clock) -> None:
        before = app.schedules.add("e", "proj.add", 1000, args=(20, 22))
        result = app.schedules.run_now("e")
        assert app.schedules.get("e") == before
        with app.start_worker(beat=False):
            assert result.get(timeout=20) == 42

    def test_also_when_it_is_off(self, app: LiteQueue, wall: Clock) -> None:
        app.schedules.add("e", "proj.add", 1000, enabled=False)
        assert app.schedules.run_now("e").exists()


class TestPreview:
    def test_the_next_instants_in_the_entrys_zone(self, app: LiteQueue, wall: Clock) -> None:
        app.schedules.add("e", "proj.add", "0 8 * * *", timezone="America/New_York", jitter=30)
        found = app.schedules.preview("e", 3)
        assert [str(instant) for instant in found] == [
            "2026-03-02 08:00:00-05:00",
            "2026-03-03 08:00:00-05:00",
            "2026-03-04 08:00:00-05:00",
        ]
        [summer] = app.schedules.preview("e", 1, after=datetime(2026, 7, 1))
        assert str(summer) == "2026-07-01 08:00:00-04:00"

    def test_it_ends_where_the_entry_ends(self, app: LiteQueue, wall: Clock) -> None:
        app.schedules.add("e", "proj.add", 10, end=utc(25))
        assert app.schedules.preview("e") == [utc(10), utc(20)]
        app.schedules.add("start", "proj.add", "@reboot")
        assert app.schedules.preview("start") == []


def test_the_stamps_of_a_call_are_those_of_its_runs(app: LiteQueue, wall: Clock, scheduler: Start) -> None:
    app.schedules.add("e", "proj.add", 10, options={"stamped_headers": ["team"], "team": "a"})
    beat = scheduler()
    wall.forward(10)
    beat.tick()
    [revoked] = app.store.revoke_stamped({"team": ["a"]})
    assert app.AsyncResult(revoked).state == "REVOKED"
    wall.forward(10)
    beat.tick()
    assert app.store.counts()["celery"] == {"revoked": 2}


class TestCanvases:
    def test_an_entry_may_start_a_chain(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Callable[[str], list[Run]]
    ) -> None:
        add = app.tasks["proj.add"]
        app.schedules.add("e", chain(add.s(1, 2), add.s(10)), 10)
        beat = scheduler()
        wall.forward(10)
        beat.tick()
        [run] = runs("e")
        with app.start_worker(beat=False):
            assert app.AsyncResult(run.id).get(timeout=20) == 13

    def test_callbacks_and_error_callbacks(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Callable[[str], list[Run]]
    ) -> None:
        told: list[Any] = []
        app.task(name="proj.tell")(lambda *args: told.append(args))
        app.task(name="proj.fail")(lambda: 1 / 0)
        add, tell, fail = app.tasks["proj.add"], app.tasks["proj.tell"], app.tasks["proj.fail"]
        app.schedules.add("good", add.s(1, 2).set(link=tell.s("and")), 10)
        app.schedules.add("bad", fail.s(), 10, options={"link_error": tell.si("failed")})
        beat = scheduler()
        wall.forward(10)
        beat.tick()
        with app.start_worker(burst=True, concurrency=1) as worker:
            assert worker.worker.stopped.wait(30)
        assert sorted(map(str, told)) == ["('failed',)", "(3, 'and')"]
