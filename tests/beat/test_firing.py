"""What is fired when, with a clock that the test moves."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.beat.planning import BURST, Plan, jitter_of
from litequeue.beat.ticking import Ticking
from litequeue.schedules import at, crontab, solar
from tests.beat.conftest import DAY, HOUR, NOON, Clock, Run

Runs = Callable[[str], list[Run]]
Instants = Callable[[str], list[float]]
Start = Callable[..., Ticking]


class TestOnTime:
    def test_an_instant_is_fired_when_it_has_come_and_not_before(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0)
        beat = scheduler()
        assert instants("e") == []
        wall.forward(9.999)
        beat.tick()
        assert instants("e") == []
        wall.forward(0.001)
        beat.tick()
        assert instants("e") == [10]
        beat.tick()
        assert instants("e") == [10]

    def test_a_turn_says_how_long_to_sleep(self, app: LiteQueue, wall: Clock, scheduler: Start) -> None:
        app.schedules.add("e", "proj.add", 10.0)
        beat = scheduler()
        assert beat.tick() == pytest.approx(9.0)  # then its task is made ready
        wall.forward(9.2)
        assert beat.tick() == pytest.approx(0.8)

    def test_with_nothing_due_it_looks_at_the_file_once_a_minute(self, wall: Clock, scheduler: Start) -> None:
        assert 59 < scheduler().tick() <= 60

    def test_the_task_is_called_as_the_entry_says(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs
    ) -> None:
        app.schedules.add(
            "e",
            "proj.add",
            10.0,
            args=(1,),
            kwargs={"y": 2},
            options={"queue": "q", "priority": 7, "countdown": 3, "expires": 60, "headers": {"mine": 1}},
        )
        beat = scheduler()
        wall.forward(10)
        beat.tick()
        [run] = runs("e")
        record = app.store.task(run.id)
        assert record is not None
        assert (record.name, record.queue, record.priority, record.payload) == ("proj.add", "q", 7, '[[1],{"y":2}]')
        assert (record.run_at, record.expires_at) == (NOON + 13, NOON + 70)
        assert run.headers == {
            "mine": 1,
            "periodic_task_name": "e",
            "periodic_task_due": datetime.fromtimestamp(NOON + 10, UTC).isoformat(),
        }

    def test_countdown_and_expires_count_from_the_firing_and_not_from_the_instant(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0, options={"expires": 60})
        beat = scheduler()
        wall.forward(5000)
        beat.tick()
        assert [run.expires_at for run in runs("e")] == [NOON + 5060]

    def test_many_entries_in_one_turn(self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants) -> None:
        for number in range(1200):
            app.store.put_schedule(app.schedules.make(f"e{number}", {"task": "proj.add", "schedule": 5.0}, NOON))
        beat = scheduler()
        for seconds in (5, 10):
            wall.moment = NOON + seconds
            beat.tick()
        assert all(instants(f"e{number}") == [5, 10] for number in (0, 1, 599, 600, 1199))

    def test_a_moment_is_fired_once_and_the_entry_has_ended(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", at(datetime(2026, 3, 2, 13, 0), timezone="UTC"))
        beat = scheduler()
        wall.forward(DAY)
        beat.tick()
        assert instants("e") == [HOUR]
        assert app.schedules.get("e").state == "ended"

    def test_fields_of_cron_in_the_zone_of_the_entry(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("paris", "proj.add", crontab(hour=14, minute=0), timezone="Europe/Paris")
        app.schedules.add("utc", "proj.add", "0 14 * * *")
        app.schedules.add("sun", "proj.add", solar("solar_noon", 0.0, 0.0))
        beat = scheduler()
        for _ in range(4):
            wall.forward(HOUR)
            beat.tick()
        assert instants("paris") == [HOUR]
        assert instants("utc") == [2 * HOUR]
        [noon] = instants("sun")
        assert 0 < noon < 1200


class TestManySchedulers:
    def test_one_fires_and_the_others_go_on_with_the_next(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0)
        beats = [scheduler() for _ in range(3)]
        for _ in range(5):
            wall.forward(10)
            for beat in beats:
                beat.tick()
            beats.append(beats.pop(0))
        assert instants("e") == [10, 20, 30, 40, 50]
        assert app.schedules.get("e").total_run_count == 5

    def test_a_prepared_task_of_an_entry_that_was_changed_is_not_sent(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0, args=(1,))
        beat = scheduler()
        wall.forward(9.5)
        beat.tick()
        app.schedules.update("e", args=(2,))
        wall.forward(0.5)
        beat.tick()
        [run] = runs("e")
        record = app.store.task(run.id)
        assert record is not None
        assert record.payload == "[[2],{}]"

    def test_an_entry_that_was_removed_and_added_is_another_one(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs
    ) -> None:
        app.schedules.add("e", "proj.add", "0 13 * * *", args=(1,))
        knows, does_not_know = scheduler(), scheduler()
        wall.moment = NOON + HOUR - 0.5
        does_not_know.tick()
        app.schedules.remove("e")
        app.schedules.add("e", "proj.add", "0 13 * * *", args=(2,))
        wall.forward(0.5)
        does_not_know.tick()  # finds out, and fires what is there now
        knows.look()
        knows.tick()
        assert [app.store.task(run.id).payload for run in runs("e")] == ["[[2],{}]"]  # type: ignore[union-attr]

    def test_an_entry_that_was_disabled_or_removed_is_not_fired_by_who_does_not_know(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        for name in ("off", "gone", "stays"):
            app.schedules.add(name, "proj.add", 10.0)
        beat = scheduler()
        app.schedules.disable("off")
        app.schedules.remove("gone")
        wall.forward(10)
        beat.tick()
        assert (instants("off"), instants("gone"), instants("stays")) == ([], [], [10])


class TestInterval:
    def test_its_anchor_survives_a_restart(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 100.0)
        first = scheduler()
        wall.forward(100)
        first.tick()
        first.close()
        wall.forward(30)
        second = scheduler()
        second.tick()
        assert instants("e") == [100]
        wall.forward(70)
        second.tick()
        assert instants("e") == [100, 200]

    def test_it_begins_at_its_start(self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants) -> None:
        start = datetime.fromtimestamp(NOON + 35, UTC)
        app.schedules.add("e", "proj.add", 10.0, start=start, end=start + timedelta(seconds=20))
        beat = scheduler()
        for _ in range(100):
            wall.forward(1)
            beat.tick()
        assert instants("e") == [35, 45, 55]
        assert app.schedules.get("e").state == "ended"


class TestAway:
    """A machine that slept, schedulers that were not there, a clock that was set."""

    @pytest.mark.parametrize(
        ("catchup", "window", "fired"),
        [
            ("last", None, [600]),
            ("all", None, [60 * n for n in range(1, 11)]),
            ("none", None, [600]),
            ("last", 20, []),
            ("last", 60, [600]),
            ("all", 150, [480, 540, 600]),
            ("none", 20, []),
        ],
    )
    def test_what_was_missed(
        self,
        catchup: str,
        window: float | None,
        fired: list[float],
        app: LiteQueue,
        wall: Clock,
        scheduler: Start,
        instants: Instants,
    ) -> None:
        app.schedules.add("e", "proj.add", 60.0, catchup=catchup, catchup_window=window)
        beat = scheduler()
        wall.forward(630)
        beat.tick()
        assert instants("e") == fired
        entry = app.schedules.get("e")
        assert (entry.total_run_count, entry.skipped) == (len(fired), 10 - len(fired))
        wall.moment = NOON + 660
        beat.tick()
        assert instants("e") == [*fired, 660]

    @pytest.mark.parametrize(("catchup", "fired"), [("none", []), ("last", [4 * HOUR]), ("all", [4 * HOUR])])
    def test_a_daily_run_missed_by_hours(
        self, catchup: str, fired: list[float], app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", crontab(hour=16, minute=0), catchup=catchup)
        wall.forward(20 * HOUR)
        scheduler().tick()
        assert instants("e") == fired

    def test_less_than_a_minute_late_is_on_time_also_for_an_entry_that_catches_up_with_nothing(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 1000.0, catchup="none")
        wall.forward(1059)
        scheduler().tick()
        assert instants("e") == [1000]

    def test_all_of_a_year_is_caught_up_with_some_at_a_time(self, app: LiteQueue, wall: Clock) -> None:
        app.schedules.add("e", "proj.add", 60.0, catchup="all")
        entry = app.store.schedule("e")
        assert entry is not None
        plan = Plan(entry)
        due = plan.due(NOON + 365 * DAY)
        assert len(due.instants) == BURST
        assert due.next_instant == NOON + 60 * (BURST + 1)

    def test_a_backlog_ends_in_one_turn(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 1.0, catchup="all")
        beat = scheduler()
        wall.forward(950)
        beat.tick()
        assert instants("e") == list(range(1, 951))

    def test_years_of_missed_seconds_are_passed_in_a_moment(self, app: LiteQueue, wall: Clock) -> None:
        app.schedules.add("e", "proj.add", 1.0)
        entry = app.store.schedule("e")
        assert entry is not None
        due = Plan(entry).due(NOON + 5 * 365 * DAY + 0.5)
        assert due.instants == (NOON + 5 * 365 * DAY,)
        assert due.skipped == 5 * 365 * DAY - 1
        assert due.next_instant == NOON + 5 * 365 * DAY + 1

    def test_the_clock_is_set_back_and_nothing_is_fired_twice(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", HOUR)
        app.schedules.add("cron", "proj.add", "30 * * * *")
        beat = scheduler()
        for _ in range(10):
            wall.forward(HOUR / 2)
            beat.tick()
        fired = instants("e"), instants("cron")
        wall.forward(-3 * HOUR)
        for _ in range(6):
            for _ in range(2):
                scheduler().tick()
            beat.tick()
            assert (instants("e"), instants("cron")) == fired
            wall.forward(HOUR / 2)
        wall.forward(HOUR)
        beat.tick()
        assert instants("e") == [*fired[0], 6 * HOUR]
        assert instants("cron") == [*fired[1], 5.5 * HOUR]

    def test_the_clock_is_set_forward_and_the_rule_of_the_entry_holds(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("last", "proj.add", HOUR)
        app.schedules.add("all", "proj.add", HOUR, catchup="all")
        beat = scheduler()
        wall.forward(3 * HOUR)
        beat.tick()
        assert instants("last") == [3 * HOUR]
        assert instants("all") == [HOUR, 2 * HOUR, 3 * HOUR]

    def test_a_wrong_year_is_left_by_enabling_the_entry_again(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", HOUR)
        beat = scheduler()
        wall.forward(9 * 365 * DAY)
        beat.tick()
        wall.moment = NOON + HOUR / 2
        app.schedules.enable("e")
        scheduler()
        wall.forward(HOUR / 2)
        beat.look()
        beat.tick()
        assert instants("e")[0] == HOUR

    def test_a_jump_of_the_clock_is_noticed_and_told(
        self, wall: Clock, scheduler: Start, caplog: pytest.LogCaptureFixture
    ) -> None:
        beat = scheduler()
        beat.wait(0.01)
        assert not caplog.messages
        wall.forward(2 * HOUR)
        beat.wait(30)
        wall.forward(-2 * HOUR)
        beat.wait(30)
        forward, back = caplog.messages
        assert re.search(r"went forward by 7\d\d\d s", forward)
        assert re.search(r"set back by 7\d\d\d s", back)


class TestOverlap:
    def _states(self, runs: Runs) -> list[str]:
        return [run.state for run in runs("e")]

    def test_runs_may_overlap(self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs) -> None:
        app.schedules.add("e", "proj.add", 10.0)
        self._three(wall, scheduler())
        assert self._states(runs) == ["ready"] * 3

    def _three(self, wall: Clock, beat: Ticking) -> None:
        for _ in range(3):
            wall.forward(10)
            beat.tick()

    def test_skip_leaves_out_what_comes_while_a_run_has_not_ended(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0, overlap="skip")
        beat = scheduler()
        self._three(wall, beat)
        assert instants("e") == [10]
        assert app.schedules.get("e").skipped == 2
        app.store.revoke([runs("e")[0].id])
        wall.forward(10)
        beat.tick()
        assert instants("e") == [10, 40]
        assert app.schedules.get("e").total_run_count == 2

    def test_queue_runs_one_after_the_other(self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs) -> None:
        app.schedules.add("e", "proj.add", 10.0, overlap="queue")
        self._three(wall, scheduler())
        first, second, third = runs("e")
        assert self._states(runs) == ["ready", "waiting", "waiting"]
        assert (second.after, third.after) == (first.id, second.id)
        app.store.revoke([first.id])  # whatever becomes of it, the next one has its turn
        assert self._states(runs) == ["revoked", "ready", "waiting"]

    @pytest.mark.parametrize("by", ["program", "code"])
    def test_a_new_rule_holds_for_the_runs_that_are_under_way(
        self, by: str, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs
    ) -> None:
        def declare(overlap: str) -> None:
            fields = {"task": "proj.add", "schedule": 10.0, "overlap": overlap}
            app.conf.beat_schedule = {"e": fields} if by == "code" else {}
            app.schedules.sync()
            if by == "program" and overlap == "allow":
                app.schedules.add("e", **fields)
            elif by == "program":
                app.schedules.update("e", overlap=overlap)

        declare("allow")
        beat = scheduler()
        self._three(wall, beat)
        declare("skip")
        beat.look()
        self._three(wall, beat)
        assert self._states(runs) == ["ready"] * 3
        app.store.revoke([runs("e")[2].id, runs("e")[0].id])
        declare("queue")
        beat.look()
        wall.forward(10)
        beat.tick()
        assert self._states(runs) == ["revoked", "ready", "revoked", "waiting"]
        assert runs("e")[3].after == runs("e")[1].id

    def test_queue_catches_up_in_order(self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs) -> None:
        app.schedules.add("e", "proj.add", 10.0, overlap="queue", catchup="all")
        beat = scheduler()
        wall.forward(30)
        beat.tick()
        assert self._states(runs) == ["ready", "waiting", "waiting"]

    def test_a_worker_runs_what_was_queued_one_by_one(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0, overlap="queue", args=(1, 2))
        self._three(wall, scheduler())
        with app.start_worker(concurrency=2, beat=False):
            assert [app.AsyncResult(run.id).get(timeout=20) for run in runs("e")] == [3, 3, 3]


class TestJitter:
    def test_it_puts_a_start_off_by_the_same_for_everybody(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 100.0, jitter=30)
        put_off = jitter_of("e", NOON + 100, 30.0)
        assert 0 < put_off < 30
        beats = [scheduler(), scheduler()]
        wall.forward(100 + put_off - 0.01)
        for beat in beats:
            beat.tick()
        assert instants("e") == []
        wall.forward(0.01)
        for beat in beats:
            beat.tick()
        assert instants("e") == [100]  # the instant stays what it is

    def test_it_is_spread_over_its_whole_length(self) -> None:
        found = sorted(jitter_of(f"e{number}", NOON, 10.0) for number in range(1000))
        assert 0 <= found[0] < 0.1
        assert 4.5 < found[500] < 5.5
        assert 9.9 < found[-1] < 10

    def test_longer_than_the_interval_it_fires_each_instant_once(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0, jitter=35, catchup="all")
        beat = scheduler()
        for _ in range(300):
            wall.forward(1)
            beat.tick()
        assert instants("e")[:20] == [10 * n for n in range(1, 21)]


class TestRuns:
    def test_no_more_than_max_runs(self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants) -> None:
        app.schedules.add("e", "proj.add", 10.0, max_runs=3)
        beat = scheduler()
        for _ in range(6):
            wall.forward(10)
            beat.tick()
        assert instants("e") == [10, 20, 30]
        assert app.schedules.get("e").state == "ended"

    def test_also_while_catching_up(self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants) -> None:
        app.schedules.add("e", "proj.add", 10.0, max_runs=3, catchup="all")
        beat = scheduler()
        wall.forward(1000)
        beat.tick()
        assert instants("e") == [10, 20, 30]

    def test_an_instant_that_was_left_out_is_no_run(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0, max_runs=2, overlap="skip")
        beat = scheduler()
        for _ in range(5):
            wall.forward(10)
            beat.tick()
        assert instants("e") == [10]
        app.store.revoke([runs("e")[0].id])
        for _ in range(5):
            wall.forward(10)
            beat.tick()
        assert instants("e") == [10, 60]
        assert app.schedules.get("e").state == "ended"
        assert app.store.next_schedule_at() is None

    def test_more_runs_let_it_go_on(self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants) -> None:
        app.schedules.add("e", "proj.add", 10.0, max_runs=1)
        beat = scheduler()
        wall.forward(10)
        beat.tick()
        app.schedules.update("e", max_runs=2)
        beat.look()
        wall.forward(10)
        beat.tick()
        assert instants("e") == [10, 20]


class TestAtStart:
    def test_it_is_fired_when_the_first_scheduler_starts(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        app.schedules.add("e", "proj.add", "@reboot")
        first = scheduler()
        assert instants("e") == [0]
        wall.forward(100)
        second = scheduler()
        for beat in (first, second):
            beat.tick()
        assert instants("e") == [0]
        first.close()
        wall.forward(100)
        third = scheduler()  # the second is still there
        assert instants("e") == [0]
        second.close()
        third.close()
        wall.forward(100)
        scheduler()
        assert instants("e") == [0, 300]
        assert app.schedules.get("e").state == "on"

    def test_only_within_its_bounds_and_runs_and_when_enabled(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants
    ) -> None:
        later = datetime.fromtimestamp(NOON + 50, UTC)
        app.schedules.add("later", "proj.add", "@reboot", start=later)
        app.schedules.add("once", "proj.add", "@reboot", max_runs=1)
        app.schedules.add("off", "proj.add", "@reboot", enabled=False)
        for _ in range(3):
            scheduler().close()
            wall.forward(40)
        assert instants("later") == [80]
        assert instants("once") == [0]
        assert instants("off") == []
        assert app.schedules.get("once").state == "ended"


class TestBroken:
    """An entry that cannot be read, or written, or that raises, never stops the others."""

    @pytest.mark.parametrize(
        ("column", "value", "said"),
        [
            ("schedule", "nonsense", "JSONDecodeError"),
            ("schedule", '{"type": "moon"}', "there is no schedule of type 'moon'"),
            ("schedule", '{"type": "object", "class": "nowhere:Tide"}', "nowhere:Tide cannot be imported"),
            ("schedule", '{"type": "object", "class": "os:system", "args": ["true"]}', "is not a kind of"),
            ("schedule", '{"type": "interval", "seconds": -1}', "run_every"),
            ("timezone", "Mars/Olympus", "knows no such time zone"),
            ("call", "[]", "it must be one"),
            ("call", "{", "JSONDecodeError"),
            ("call", '[{"name": "x"}]', "cannot be read"),
        ],
    )
    def test_it_is_marked_and_the_others_are_fired(
        self,
        column: str,
        value: str,
        said: str,
        app: LiteQueue,
        wall: Clock,
        scheduler: Start,
        instants: Instants,
        write: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        app.schedules.add("bad", "proj.add", 10.0)
        app.schedules.add("good", "proj.add", 10.0)
        write(f"UPDATE litequeue_schedules SET {column} = ? WHERE name = 'bad'", value)
        beats = [scheduler(), scheduler()]
        for _ in range(5):
            wall.forward(10)
            for beat in beats:
                beat.look()
                beat.tick()
        assert instants("bad") == []
        assert instants("good") == [10, 20, 30, 40, 50]
        entry = app.schedules.get("bad")
        assert entry.state == "broken"
        assert said in str(entry.error)
        assert len([message for message in caplog.messages if "Entry bad cannot be fired" in message]) == 1

    def test_a_task_that_the_file_refuses(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants, write: Any
    ) -> None:
        for name in ("bad", "good", "well"):
            app.schedules.add(name, "proj.add", 10.0)
        write(
            "UPDATE litequeue_schedules SET call = ? WHERE name = 'bad'", '[{"name": "x", "queue": [], "payload": ""}]'
        )
        beat = scheduler()
        for _ in range(3):
            wall.forward(10)
            beat.tick()
        assert instants("good") == instants("well") == [10, 20, 30]
        assert app.schedules.get("bad").state == "broken"

    def test_what_is_repaired_is_fired_again(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants, write: Any
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0)
        [good] = [entry.schedule for entry in app.store.schedules()]
        write("UPDATE litequeue_schedules SET schedule = 'nonsense'")
        beat = scheduler()
        write("UPDATE litequeue_schedules SET schedule = ?", good)
        beat.look()
        wall.forward(10)
        beat.tick()
        assert instants("e") == [10]
        assert app.schedules.get("e").error is None

    def test_what_cannot_be_read_is_given_anew(
        self, app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs, write: Any
    ) -> None:
        app.schedules.add("e", "proj.add", 10.0)
        beat = scheduler()
        write("UPDATE litequeue_schedules SET schedule = '?', call = '?', timezone = 'Mars'")
        with pytest.raises(ValueError, match="Mars"):
            app.schedules.update("e", schedule=5.0)
        app.schedules.update("e", schedule=5.0, timezone="UTC", task="proj.add", args=(1,), kwargs={})
        beat.look()
        wall.forward(5)
        beat.tick()
        assert len(runs("e")) == 1

    def test_an_interval_that_is_shorter_than_a_firing_does_not_hold_a_turn(
        self, app: LiteQueue, scheduler: Start, runs: Runs
    ) -> None:
        app.schedules.add("e", "proj.add", 0.000001)
        app.schedules.add("all", "proj.add", 0.000001, catchup="all")
        beat = scheduler()
        began = time.monotonic()
        beat.tick()
        assert time.monotonic() - began < 10
        assert runs("e")

    def test_who_can_read_it_fires_it(
        self, app: LiteQueue, wall: Clock, scheduler: Start, instants: Instants, write: Any
    ) -> None:
        """The class of a schedule may be known to the schedulers of one app only."""
        app.schedules.add("e", "proj.add", 10.0)
        good = scheduler()
        write("UPDATE litequeue_schedules SET error = 'ScheduleError: somebody cannot import it'")
        good.look()
        wall.forward(10)
        good.tick()
        assert instants("e") == [10]
        assert app.schedules.get("e").error is None


def test_an_instant_that_has_its_task_is_not_run_again(
    app: LiteQueue, wall: Clock, scheduler: Start, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that was removed and added meets the tasks of the one before it."""
    beat = scheduler()
    for overlap in ("allow", "skip", "queue"):
        wall.moment = NOON
        app.schedules.add("e", "proj.add", 10.0, catchup="all", overlap=overlap)
        app.schedules.add("other", "proj.add", 10.0, catchup="all")
        beat.look()
        beat.tick()
        wall.forward(10 if overlap == "allow" else 20)
        beat.tick()
        app.schedules.remove("e")
        app.schedules.remove("other")
        app.store.revoke([run.id for run in runs("e")])
    assert [run.due - NOON for run in runs("e")] == [10, 20]
    assert [run.due - NOON for run in runs("other")] == [10, 20]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
