"""`litequeue schedule`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from litequeue import LiteQueue
from litequeue.app import current as local
from litequeue.cli.main import litequeue, run

Run = Callable[..., str]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiteQueue]:
    """An app with a task, and an entry that its code declares."""
    monkeypatch.setenv("LITEQUEUE_BROKER_URL", "")  # -b writes it for child processes; it is taken back afterwards
    monkeypatch.delenv("LITEQUEUE_BROKER_URL")
    apps, shared = local.saved_apps(), local.finalize_callbacks()
    made = LiteQueue("proj", broker=tmp_path / "queue.db", durability="normal", timezone="Europe/Oslo")

    @made.task(name="proj.report", shared=False)
    def report(what: str = "all", *, deep: bool = False) -> None:
        """Nothing."""

    made.conf.beat_schedule = {"coded": {"task": "proj.report", "schedule": 3600}}
    yield made
    made.close()
    local.restore_apps(apps)
    local.restore_finalize_callbacks(shared)


@pytest.fixture
def schedule(app: LiteQueue, capsys: pytest.CaptureFixture[str]) -> Run:
    """Carries out `litequeue schedule ...` for the app; what it prints. `code` is what it must end with."""

    def call(*argv: str, code: int = 0) -> str:
        assert run(["schedule", *argv], app=app) == code
        out, err = capsys.readouterr()
        if code:
            assert not out
            assert err.count("\n") == 1
            return str(err)
        assert not err
        return str(out)

    return call


@pytest.fixture
def nightly(schedule: Run) -> dict[str, Any]:
    """An entry, `nightly`."""
    found: dict[str, Any] = json.loads(
        schedule("add", "nightly", "proj.report", "--cron", "0 4 * * mon-fri", "--args", '["x"]', "--json")
    )
    return found


class TestAdding:
    def test_a_cron_expression(self, nightly: dict[str, Any], app: LiteQueue) -> None:
        assert nightly == app.schedules.get("nightly").as_dict()
        assert nightly["schedule"] == {"type": "crontab", "expression": "0 4 * * mon-fri"}
        assert (nightly["args"], nightly["timezone"], nightly["state"]) == (["x"], "Europe/Oslo", "on")
        assert nightly["next_run_at"].endswith((":00+01:00", ":00+02:00"))

    def test_every_option(self, schedule: Run) -> None:
        shown = schedule(
            *["add", "e", "proj.report", "--every", "90s", "--timezone", "Asia/Tokyo", "--relative"],
            *["--start", "2090-01-01 00:00", "--end", "2091-01-01T00:00:00+00:00", "--max-runs", "5"],
            *["--catchup", "all", "--catchup-window", "2h", "--overlap", "queue", "--jitter", "30"],
            *["--args", '["x"]', "--kwargs", '{"deep": true}', "-Q", "night", "--priority", "9"],
            *["--expires", "1d", "--countdown", "1.5m", "--disabled"],
        )
        rows = {
            title: text.strip() for title, text in (re.split(r"  +", line, maxsplit=1) for line in shown.splitlines())
        }
        assert rows["when"] == "every 90 seconds"
        assert rows["state"] == "off"
        assert rows["task"] == "proj.report('x', deep=True)"
        assert rows["start"] == "2090-01-01 00:00:00+09:00"
        assert rows["end"] == "2091-01-01 09:00:00+09:00"
        assert rows["runs"] == "0 of 5"
        assert rows["catchup"] == "all, up to 2 hours late"
        assert (rows["overlap"], rows["jitter"]) == ("queue", "up to 30 seconds")
        for option in ("queue=night", "priority=9", "expires=86400", "countdown=90"):
            assert option in rows["options"]

    @pytest.mark.parametrize(
        ("argv", "when"),
        [(["--at", "2090-01-31 09:00"], "at 2090-01-31 09:00:00"), (["--cron", "@reboot"], "@reboot")],
    )
    def test_other_times(self, argv: list[str], when: str, schedule: Run) -> None:
        assert when in schedule("add", "e", "proj.report", *argv)
        assert when in schedule("list")

    @pytest.mark.parametrize(
        ("argv", "code", "says"),
        [
            (["e", "proj.report"], 2, "say when: with one of --cron, --every and --at"),
            (["e", "proj.report", "--cron", "* * * * *", "--every", "5"], 2, "say when: with one of"),
            (["e", "proj.report", "--cron", "* * *"], 1, "has 3 fields"),
            (["e", "proj.report", "--cron", "0 0 31 2 *"], 1, "no such date in any year"),
            (["e", "proj.report", "--every", "often"], 2, "write seconds, or 30s, 5m, 2h, 1d"),
            (["e", "proj.report", "--at", "noon"], 2, "'noon' is no time"),
            (["e", "proj.report", "--at", "2001-01-01"], 1, "would never run"),
            (["e", "proj.report", "--every", "5", "--start", "2090-01-02", "--end", "2090-01-01"], 1, "before start"),
            (["e", "proj.nope", "--every", "5"], 1, "'proj.nope': no task of that name is registered"),
            (["e", "proj.report", "--every", "5", "--args", "1, 2"], 2, "write it as '[1, 2]'"),
            (["e", "proj.report", "--every", "5", "--kwargs", "[]"], 2, "is not such JSON"),
            (["e", "proj.report", "--every", "5", "--kwargs", '{"dep": 1}'], 1, "dep"),
            (["e", "proj.report", "--every", "5", "--timezone", "Mars"], 1, "knows no such time zone"),
            (["e", "proj.report", "--every", "5", "--catchup", "some"], 1, "'none', 'last', 'all'"),
            (["e", "proj.report", "--every", "5", "--overlap", "forbid"], 1, "'allow', 'skip', 'queue'"),
            (["e", "proj.report", "--every", "5", "--evry", "5"], 2, "did you mean '--every'"),
            (["nightly", "proj.report", "--every", "5"], 1, "has an entry 'nightly' already"),
            (["e"], 2, "TASK"),
        ],
    )
    @pytest.mark.usefixtures("nightly")
    def test_what_cannot_be_is_one_line(self, argv: list[str], code: int, says: str, schedule: Run) -> None:
        assert says in schedule("add", *argv, code=code)
        assert "e " not in [line[:2] for line in schedule("list").splitlines()]

    def test_a_file_alone_takes_any_task(self, app: LiteQueue, capsys: pytest.CaptureFixture[str]) -> None:
        argv = ["-b", app.store.path, "schedule", "add", "e", "any.task", "--every", "1h", "--json"]
        assert run(argv) == 0
        assert json.loads(capsys.readouterr().out)["task"] == "any.task"
        assert app.schedules.get("e").timezone == "UTC"


class TestShowing:
    def test_without_entries(self, app: LiteQueue, schedule: Run) -> None:
        app.store.processes()
        app.conf.beat_schedule = {}
        assert schedule("list") == "The schedule has no entries.\n"
        assert json.loads(schedule("list", "--json")) == []

    def test_before_anybody_has_brought_the_entries_of_the_code_into_the_file(
        self, app: LiteQueue, capsys: pytest.CaptureFixture[str]
    ) -> None:
        app.store.processes()
        app.conf.beat_schedule = {"each hour": {"task": "any.task", "schedule": 3600}}
        assert run(["schedule", "list"], app=app) == 0
        out, err = capsys.readouterr()
        assert out == "The schedule has no entries.\n"
        assert "once a worker, or beat, has run" in err

    @pytest.mark.usefixtures("nightly")
    def test_a_line_each(self, app: LiteQueue, schedule: Run) -> None:
        app.schedules.sync()
        head, *lines = schedule("list").splitlines()
        assert head.split() == ["name", "when", "task", "next", "last", "runs", "state"]
        assert [line.split()[0] for line in lines] == ["coded", "litequeue.backend_cleanup", "nightly"]
        assert "every hour" in lines[0]
        assert [entry["owner"] for entry in json.loads(schedule("list", "--json"))] == ["proj", "proj", None]

    def test_one(self, nightly: dict[str, Any], schedule: Run) -> None:
        assert json.loads(schedule("show", "nightly", "--json")) == nightly
        assert "0 4 * * mon-fri" in schedule("show", "nightly")

    def test_one_that_is_broken(self, app: LiteQueue, schedule: Run, nightly: dict[str, Any]) -> None:
        entry = app.store.schedule("nightly")
        assert entry is not None
        from litequeue.beat.entries import as_new

        assert app.store.put_schedule(as_new(entry)._replace(schedule="?", call="[]"), entry.revision)
        assert "broken: JSONDecodeError" in schedule("show", "nightly")
        assert "broken" in schedule("list")

    @pytest.mark.parametrize("command", ["show", "remove", "enable", "disable", "run", "preview"])
    def test_there_is_none_of_that_name(self, command: str, app: LiteQueue, schedule: Run) -> None:
        app.store.processes()
        assert "has no entry 'x' in its schedule" in schedule(command, "x", code=1)


@pytest.mark.usefixtures("nightly")
class TestChanging:
    def test_update(self, schedule: Run) -> None:
        changed = json.loads(schedule("update", "nightly", "--every", "5m", "--jitter", "1", "--json"))
        assert changed["schedule"] == {"type": "interval", "seconds": 300.0}
        assert (changed["jitter"], changed["args"]) == (1, ["x"])
        changed = json.loads(schedule("update", "nightly", "--args", '["y"]', "--json"))
        assert (changed["args"], changed["jitter"]) == (["y"], 1)
        changed = json.loads(schedule("update", "nightly", "--priority", "3", "--json"))
        assert (changed["options"]["priority"], changed["args"]) == (3, ["y"])
        assert "nothing to change" in schedule("update", "nightly", code=2)
        assert "no task of that name" in schedule("update", "nightly", "--task", "nope", code=1)

    def test_disable_and_enable(self, app: LiteQueue, schedule: Run) -> None:
        assert schedule("disable", "nightly") == "nightly: off, next -\n"
        assert app.schedules.get("nightly").state == "off"
        assert "nightly: on, next 2" in schedule("enable", "nightly")
        [entry] = json.loads(schedule("disable", "nightly", "--json"))
        assert entry["enabled"] is False

    def test_remove(self, app: LiteQueue, schedule: Run) -> None:
        schedule("add", "other", "proj.report", "--every", "5")
        assert schedule("remove", "nightly", "other") == "Removed nightly, other.\n"
        assert app.schedules.list() == []
        schedule("add", "other", "proj.report", "--every", "5")
        assert json.loads(schedule("remove", "other", "--json")) == {"removed": ["other"]}

    def test_what_the_code_declares_is_changed_there(self, app: LiteQueue, schedule: Run) -> None:
        app.schedules.sync()
        assert "declared by the code of the app 'proj'" in schedule("remove", "coded", code=1)
        assert "change it there" in schedule("update", "coded", "--every", "5", code=1)
        assert "coded: off" in schedule("disable", "coded")
        assert schedule("remove", "--force", "coded") == "Removed coded.\n"

    def test_run(self, app: LiteQueue, schedule: Run) -> None:
        record = app.store.task(schedule("run", "nightly").strip())
        assert record is not None
        assert (record.name, record.payload) == ("proj.report", '[["x"],{}]')
        answer = json.loads(schedule("run", "nightly", "--json"))
        assert answer["name"] == "nightly"
        assert app.AsyncResult(answer["task_id"]).exists()


class TestPreview:
    def test_an_expression_needs_neither_app_nor_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        argv = ["--cron", "30 2 * * sun", "--timezone", "Europe/Paris", "-n", "3", "--after", "2026-03-20"]
        assert run(["schedule", "preview", *argv]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "Sun 2026-03-22 02:30:00+01:00",
            "Sun 2026-03-29 03:30:00+02:00",
            "Sun 2026-04-05 02:30:00+02:00",
        ]

    @pytest.mark.parametrize(
        ("argv", "found"),
        [
            (["--every", "12h"], ["2026-03-20T12:00:00+00:00", "2026-03-21T00:00:00+00:00"]),
            (["--at", "2026-04-01 10:00"], ["2026-04-01T10:00:00+00:00"]),
            (["--cron", "@reboot"], []),
            (["--cron", "*/20 * * * * *"], ["2026-03-20T00:00:20+00:00", "2026-03-20T00:00:40+00:00"]),
        ],
    )
    def test_as_json(self, argv: list[str], found: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["schedule", "preview", *argv, "-n", "2", "--after", "2026-03-20", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == found

    @pytest.mark.usefixtures("nightly")
    def test_an_entry(self, schedule: Run) -> None:
        shown = schedule("preview", "nightly", "-n", "2", "--after", "2026-03-27 12:00")
        assert shown.splitlines() == ["Mon 2026-03-30 04:00:00+02:00", "Tue 2026-03-31 04:00:00+02:00"]
        assert "not both" in schedule("preview", "nightly", "--every", "5", code=2)
        assert "say when" in schedule("preview", code=2)

    def test_what_cannot_be(self, schedule: Run) -> None:
        assert "no such date" in schedule("preview", "--cron", "0 0 31 4 *", code=1)


def commands() -> dict[str, click.Command]:
    """The commands of `litequeue schedule`."""
    group = litequeue.get_command(click.Context(litequeue), "schedule")
    assert isinstance(group, click.Group)
    return group.commands


@pytest.mark.parametrize("name", list(commands()))
def test_every_command_prints_json_and_has_an_example_in_its_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["schedule", name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert "Example: litequeue" in out


def test_the_commands_are_those_that_are_promised(schedule: Run) -> None:
    promised = {"list", "show", "add", "update", "remove", "enable", "disable", "run", "preview"}
    assert set(commands()) == promised
    assert "there are: list, show, add" in schedule(code=2)
    assert "lst" in schedule("lst", code=2)
