"""The entries that code declares: `beat_schedule`, `add_periodic_task`, and how they come into the file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.app.schedules import CLEANUP
from litequeue.beat import ScheduleEntry
from litequeue.beat.ticking import Ticking
from litequeue.exceptions import ImproperlyConfigured
from litequeue.schedules import ScheduleError, crontab, schedule
from tests.beat.conftest import DAY, HOUR, NOON, Clock, Run

MakeApp = Callable[..., LiteQueue]


def entries(app: LiteQueue) -> dict[str, Any]:
    """The entries of the file, but for the one that every app has."""
    return {entry.name: entry for entry in app.schedules.list() if entry.name != CLEANUP}


class TestDeclaring:
    def test_celerys_fields(self, app: LiteQueue, wall: Clock) -> None:
        app.conf.beat_schedule = {
            "every": {"task": "proj.add", "schedule": 30.0, "args": (1, 2)},
            "nightly": {
                "task": "proj.add",
                "schedule": crontab(hour=4, minute=0),
                "kwargs": {"x": 1},
                "options": {"queue": "night", "expires": 60},
                "relative": True,
            },
            "delta": {"task": "proj.add", "schedule": timedelta(hours=1), "relative": True},
            "object": ScheduleEntry(name="object", task="proj.add", schedule=10, app=app),
        }
        app.schedules.sync()
        found = entries(app)
        assert list(found) == ["delta", "every", "nightly", "object"]
        assert (found["every"].args, found["every"].schedule, found["every"].owner) == ([1, 2], schedule(30), "proj")
        assert (found["nightly"].options["queue"], found["nightly"].options["expires"]) == ("night", 60)
        assert found["delta"].schedule.relative

    def test_fields_of_ours(self, app: LiteQueue, wall: Clock) -> None:
        app.conf.beat_schedule = {
            "e": {"task": "proj.add", "schedule": 30, "catchup": "all", "overlap": "skip", "jitter": 2, "max_runs": 5}
        }
        app.schedules.sync()
        [entry] = entries(app).values()
        assert (entry.catchup, entry.overlap, entry.jitter, entry.max_runs) == ("all", "skip", 2, 5)

    def test_the_starting_deadline_of_celery_is_the_window_of_crontabs(self, app: LiteQueue, wall: Clock) -> None:
        app.conf.beat_cron_starting_deadline = 120
        app.conf.beat_schedule = {
            "cron": {"task": "proj.add", "schedule": crontab(minute=0)},
            "own": {"task": "proj.add", "schedule": crontab(minute=0), "catchup_window": None},
            "every": {"task": "proj.add", "schedule": 60},
        }
        app.schedules.sync()
        assert {name: entry.catchup_window for name, entry in entries(app).items()} == {
            "cron": 120,
            "own": None,
            "every": None,
        }

    @pytest.mark.parametrize(
        ("entry", "said"),
        [
            ({"task": "proj.add"}, "it needs a task and a schedule"),
            ({"task": "proj.add", "schedule": "x"}, "has 1 fields"),
            ({"task": "proj.gone", "schedule": 5}, "proj.gone"),
            ({"task": "proj.add", "schedule": 5, "shedule": 6}, "did you mean 'schedule'"),
            (17, "an entry is a dict"),
        ],
    )
    def test_what_cannot_be_is_named(self, entry: Any, said: str, app: LiteQueue) -> None:
        app.conf.beat_schedule = {"wrong one": entry}
        with pytest.raises(ImproperlyConfigured, match=r"beat_schedule\['wrong one'\]") as caught:
            app.schedules.sync()
        assert said in str(caught.value)
        with pytest.raises(ImproperlyConfigured, match="wrong one"):
            app.start_worker()
        app.start_worker(beat=False).stop()


class TestAddPeriodicTask:
    def test_a_signature(self, app: LiteQueue, wall: Clock) -> None:
        add = app.tasks["proj.add"]
        assert app.add_periodic_task(10.0, add.s(1, 2), name="adding", expires=5, jitter=2) == "adding"
        key = app.add_periodic_task(crontab(minute=0), add.s(3))
        assert key == "proj.add(3)"
        assert {"adding", "proj.add(3)"} <= app.conf.beat_schedule.keys()
        app.schedules.sync()
        found = entries(app)
        assert (found["adding"].args, found["adding"].options["expires"], found["adding"].jitter) == ([1, 2], 5, 2)
        assert found["proj.add(3)"].args == [3]

    def test_a_task_and_its_arguments(self, app: LiteQueue, wall: Clock) -> None:
        app.add_periodic_task(10.0, app.tasks["proj.add"], args=(1,), kwargs={"y": 2}, name="e", queue="q")
        app.schedules.sync()
        [entry] = entries(app).values()
        assert (entry.args, entry.kwargs, entry.options["queue"]) == ([1], {"y": 2}, "q")

    def test_as_celerys_documentation_has_it(self, make_app: MakeApp, wall: Clock) -> None:
        app = make_app()

        @app.on_after_finalize.connect
        def set_up(sender: LiteQueue, **kwargs: Any) -> None:
            sender.add_periodic_task(10.0, test.s("hello"), name="add every 10")
            sender.add_periodic_task(30.0, test.s("world"), expires=10)

        @app.task(name="proj.test")
        def test(arg: str) -> None:
            print(arg)

        app.tasks  # noqa: B018  # finalises it
        app.schedules.sync()
        assert list(entries(app)) == ["add every 10", "proj.test('world')"]

    def test_in_the_signal_of_the_configuration(self, make_app: MakeApp, wall: Clock) -> None:
        app = make_app()
        app.config_from_object({"beat_schedule": {"there": {"task": "x", "schedule": 5, "options": {"queue": "q"}}}})

        @app.on_after_configure.connect
        def set_up(sender: LiteQueue, **kwargs: Any) -> None:
            sender.add_periodic_task(10.0, sender.signature("proj.test", queue="q"), name="e")

        assert set(app.conf.beat_schedule) == {"there", "e"}

    def test_before_the_configuration_is_read(self, make_app: MakeApp, wall: Clock) -> None:
        app = make_app()
        app.add_periodic_task(10.0, app.signature("proj.test"), name="early")
        app.config_from_object({"beat_schedule": {"there": {"task": "x", "schedule": 5}}})
        assert not app.configured
        assert set(app.conf.beat_schedule) == {"there", "early"}

    def test_the_same_unnamed_one_twice_is_told(
        self, app: LiteQueue, caplog: pytest.LogCaptureFixture, wall: Clock
    ) -> None:
        add = app.tasks["proj.add"]
        app.add_periodic_task(10.0, add.s(1))
        app.add_periodic_task(20.0, add.s(1))
        assert "takes the place of an earlier one" in caplog.text


class TestSynchronising:
    def _sync(self, app: LiteQueue, **schedule: Any) -> Any:
        app.conf.beat_schedule = {
            name: {"task": "proj.add", "schedule": 60.0, **fields} for name, fields in schedule.items()
        }
        return app.schedules.sync()

    def test_what_changed_is_told(self, app: LiteQueue, wall: Clock, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "litequeue.beat")
        assert self._sync(app, a={}, b={}, c={}) == ((CLEANUP, "a", "b", "c"), (), ())
        assert self._sync(app, a={}, b={"args": (1,)}, d={}) == (("d",), ("b",), ("c",))
        assert caplog.messages == [
            f"Entries of the code added: {CLEANUP}, a, b, c",
            "Entries of the code added: d",
            "Entries of the code changed: b",
            "Entries of the code removed: c",
        ]
        caplog.clear()
        assert self._sync(app, a={}, b={"args": (1,)}, d={}) == ((), (), ())
        assert not caplog.messages

    def test_another_process_finds_nothing_to_change(self, make_app: MakeApp, wall: Clock) -> None:
        def app_of(process: str) -> LiteQueue:
            app = make_app()
            app.task(name="proj.add", shared=False)(lambda a, b: None)
            app.task(name="proj.tell", shared=False)(lambda *args: None)
            return app

        entry = {"link_error": app_of("first").tasks["proj.tell"].s(), "expires": 5, "priority": 3}
        assert self._sync(app_of("second"), e={"options": entry, "kwargs": {"a": 1, "b": [2]}}).added
        wall.forward(100)
        assert self._sync(app_of("third"), e={"options": entry, "kwargs": {"a": 1, "b": [2]}}) == ((), (), ())

    def test_an_entry_whose_timing_stays_is_due_when_it_was(self, app: LiteQueue, wall: Clock) -> None:
        self._sync(app, e={})
        wall.forward(45)
        self._sync(app, e={"args": (1,), "overlap": "skip"})
        [entry] = app.schedules.preview("e", 1)
        assert entry.timestamp() == NOON + 60
        self._sync(app, e={"schedule": 50})
        [entry] = app.schedules.preview("e", 1)
        assert entry.timestamp() == NOON + 95

    def test_what_was_missed_while_nothing_ran_is_caught_up_with(
        self, app: LiteQueue, wall: Clock, scheduler: Callable[..., Ticking], instants: Callable[[str], list[float]]
    ) -> None:
        self._sync(app, e={"schedule": crontab(hour=13, minute=0)})
        wall.forward(5 * HOUR)
        self._sync(app, e={"schedule": crontab(hour=13, minute=0)})
        scheduler().tick()
        assert instants("e") == [HOUR]

    def test_what_was_disabled_stays_so(self, app: LiteQueue, wall: Clock) -> None:
        self._sync(app, e={})
        app.schedules.disable("e")
        self._sync(app, e={"args": (1,)})
        assert app.schedules.get("e").state == "off"
        assert app.schedules.get("e").args == [1]

    def test_entries_of_the_code_are_changed_in_the_code(self, app: LiteQueue, wall: Clock) -> None:
        self._sync(app, e={})
        with pytest.raises(ScheduleError, match="declared by the code of the app 'proj'; change it there"):
            app.schedules.update("e", max_runs=3)
        with pytest.raises(ScheduleError, match="disable it here"):
            app.schedules.remove("e")
        assert app.schedules.run_now("e").exists()

    def test_entries_of_an_app_that_is_gone_are_removed_by_force(
        self, app: LiteQueue, make_app: MakeApp, wall: Clock
    ) -> None:
        self._sync(app, e={})
        renamed = make_app("renamed")
        renamed.schedules.sync()
        assert "e" in entries(renamed)
        renamed.schedules.remove("e", force=True)
        assert not entries(renamed)

    def test_entries_of_others_are_left_alone(
        self, app: LiteQueue, make_app: MakeApp, wall: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        app.schedules.add("mine", "proj.add", 10)
        other = make_app("other")
        other.conf.beat_schedule = {"theirs": {"task": "other.task", "schedule": 10}}
        other.schedules.sync()
        self._sync(app, mine={}, theirs={}, e={})
        assert [(entry.name, entry.owner) for entry in entries(app).values()] == [
            ("e", "proj"),
            ("mine", None),
            ("theirs", "other"),
        ]
        assert "Entry mine of the code is not used: the one in the file was added at run time" in caplog.messages
        assert "Entry theirs of the code is not used: the one in the file is of the app 'other'" in caplog.messages
        self._sync(app)
        assert set(entries(app)) == {"mine", "theirs"}

    def test_more_runs_for_an_entry_that_had_its_last(
        self, app: LiteQueue, wall: Clock, scheduler: Callable[..., Ticking], instants: Callable[[str], list[float]]
    ) -> None:
        self._sync(app, e={"max_runs": 1})
        beat = scheduler()
        wall.forward(60)
        beat.tick()
        assert app.schedules.get("e").state == "ended"
        self._sync(app, e={"max_runs": 2})
        beat.look()
        wall.forward(60)
        beat.tick()
        assert instants("e") == [60, 120]


class TestMaintenance:
    def test_every_app_has_it_at_four(self, app: LiteQueue, wall: Clock) -> None:
        app.conf.timezone = "Europe/Oslo"
        app.schedules.sync()
        entry = app.schedules.get("litequeue.backend_cleanup")
        assert (entry.task, entry.schedule) == ("litequeue.backend_cleanup", crontab(hour="4", minute="0"))
        assert entry.timezone == "Europe/Oslo"
        assert entry.options["expires"] == 12 * HOUR

    def test_not_where_results_are_kept_for_ever_or_code_says_otherwise(self, make_app: MakeApp, wall: Clock) -> None:
        assert not make_app(result_expires=None).schedules.defaults()
        own = {"celery.backend_cleanup": {"task": "celery.backend_cleanup", "schedule": 60}}
        app = make_app(beat_schedule=own)
        app.schedules.sync()
        assert app.schedules.get("celery.backend_cleanup").task == "litequeue.backend_cleanup"
        assert len(app.schedules.list()) == 1

    def test_its_queue_is_one_of_the_apps(self, make_app: MakeApp, wall: Clock) -> None:
        app = make_app(task_queues=["a", "b"], task_create_missing_queues=False)
        app.schedules.sync()
        assert app.schedules.get(CLEANUP).options["queue"] == "a"

    def test_two_apps_on_one_file_share_it(self, make_app: MakeApp, wall: Clock) -> None:
        for name in ("one", "two", "one"):
            make_app(name).schedules.sync()
        assert [(entry.name, entry.owner) for entry in make_app("one").schedules.list()] == [(CLEANUP, "one")]

    def test_it_deletes_all_that_is_past_its_retention(
        self,
        app: LiteQueue,
        wall: Clock,
        scheduler: Callable[..., Ticking],
        runs: Callable[[str], list[Run]],
    ) -> None:
        app.conf.prune_batch = 10
        results = [app.send_task("proj.add", (number,)) for number in range(35)]
        with app.start_worker(beat=False, concurrency=1):
            for result in results:
                result.get(timeout=20)
        app.schedules.sync()
        beat = scheduler()
        wall.forward(2 * DAY)
        beat.tick()
        [run] = runs(CLEANUP)
        with app.start_worker(beat=False, concurrency=1):
            assert app.AsyncResult(run.id).get(timeout=20) >= 35
        assert app.store.tasks([result.id for result in results]) == []
