"""Commands are carried out by the workers that they are meant for, and answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from litequeue.exceptions import DuplicateNodenameWarning, EncodeError
from litequeue.worker.control import Panel
from tests.control.conftest import NODE, OTHER, wait_until

PONG = {"ok": "pong"}


def test_ping_is_answered_by_everybody(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(hostname=OTHER):
        answers = app.control.ping()
    assert sorted(answers, key=str) == [{NODE: PONG}, {OTHER: PONG}]


def test_it_is_over_when_all_have_answered(app: Any, worker: Any) -> None:
    began = time.monotonic()
    assert app.control.ping(timeout=20) == [{NODE: PONG}]
    assert time.monotonic() - began < 5


def test_without_reply_nothing_is_returned(app: Any, worker: Any) -> None:
    assert app.control.pool_grow(1) is None
    wait_until(lambda: worker.concurrency == 3)


def test_nobody_is_there(app: Any) -> None:
    began = time.monotonic()
    assert app.control.ping(timeout=20) == []
    assert app.control.shutdown(reply=True, timeout=20) == []
    assert app.control.shutdown() is None
    assert time.monotonic() - began < 5


def test_a_worker_that_has_ended_is_not_waited_for(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker():
        assert app.control.ping() == [{NODE: PONG}]
    began = time.monotonic()
    assert app.control.ping(timeout=20) == []
    assert time.monotonic() - began < 5


def test_a_worker_that_ends_meanwhile_is_not_waited_for(
    app: Any, run_worker: Callable[..., Any], worker: Any, tmp_path: Path
) -> None:
    """It is asked for longer than it lives."""
    began = time.monotonic()
    with run_worker(hostname=OTHER) as other:
        other.stop(timeout=0)
        answers = app.control.ping(timeout=20)
    assert {NODE: PONG} in answers
    assert time.monotonic() - began < 10


# Who is meant


def test_destination(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(hostname=OTHER) as other:
        assert app.control.ping([OTHER]) == [{OTHER: PONG}]
        assert app.control.ping(OTHER) == [{OTHER: PONG}]
        app.control.pool_grow(1, destination=[NODE], reply=True)
        assert (worker.concurrency, other.concurrency) == (3, 2)
        assert app.control.ping(["nobody@here"]) == []


@pytest.mark.parametrize(
    ("pattern", "matcher"),
    [
        ("w2@*", None),
        ("w2@*", "glob"),
        (r"w[2-9]@\w+$", "pcre"),
        ("2@", lambda node, pattern: pattern in node),
    ],
)
def test_pattern(app: Any, worker: Any, run_worker: Callable[..., Any], pattern: str, matcher: Any) -> None:
    with run_worker(hostname=OTHER):
        assert app.control.ping(pattern=pattern, matcher=matcher) == [{OTHER: PONG}]
        assert app.control.ping(pattern="nobody*", matcher="glob") == []


def test_a_matcher_that_is_none(app: Any) -> None:
    with pytest.raises(ValueError, match="'glob' or 'pcre'"):
        app.control.ping(pattern="x", matcher="fuzzy")


def test_a_destination_that_is_none(app: Any) -> None:
    with pytest.raises(TypeError, match="a list of node names"):
        app.control.ping(destination=7)


def test_what_was_sent_to_nobody_is_said(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        app.control.pool_grow(1, destination=["nobody@here"])
    assert "no running worker matches nobody@here" in caplog.text


def test_limit_and_callback(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    told: list[Any] = []
    with run_worker(hostname=OTHER):
        assert len(app.control.broadcast("ping", reply=True, limit=1, callback=told.append)) == 1
    assert len(told) == 1
    assert app.control.broadcast("active", reply=True, limit=0) == []


def test_two_workers_of_one_name(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    with pytest.warns(DuplicateNodenameWarning), run_worker():
        assert app.control.ping() == [{NODE: PONG}, {NODE: PONG}]
        assert app.control.inspect().ping() == {NODE: PONG}


# Pools, queues, the worker


def test_grow_and_shrink(app: Any, worker: Any) -> None:
    assert app.control.pool_grow(2, reply=True) == [{NODE: {"ok": "pool will grow"}}]
    assert worker.concurrency == 4
    assert app.control.pool_shrink(3, reply=True) == [{NODE: {"ok": "pool will shrink"}}]
    assert worker.concurrency == 1


@pytest.mark.parametrize("n", [0, -1, True, "2", 1.5, None])
def test_a_number_of_slots_that_is_none(app: Any, worker: Any, n: Any) -> None:
    for command in (app.control.pool_grow, app.control.pool_shrink):
        ((_, answer),) = command(n, reply=True)[0].items()
        assert "write a whole number" in answer["error"]
    assert worker.concurrency == 2


def test_one_slot_is_left(app: Any, worker: Any) -> None:
    assert "one must be left" in app.control.pool_shrink(2, reply=True)[0][NODE]["error"]
    assert worker.concurrency == 2


def test_solo_keeps_its_slot(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="solo"):
        assert "solo has one slot" in app.control.pool_grow(1, reply=True)[0][NODE]["error"]


def test_autoscale(app: Any, worker: Any) -> None:
    assert app.control.autoscale(4, 1, reply=True) == [{NODE: {"ok": "autoscale now max=4 min=1"}}]
    assert worker.autoscale == (4, 1)
    assert app.control.autoscale(5, None, reply=True) == [{NODE: {"ok": "autoscale now max=5 min=1"}}]
    assert "not supported with autoscale" in app.control.pool_grow(1, reply=True)[0][NODE]["error"]
    assert "error" in app.control.autoscale(1, 3, reply=True)[0][NODE]
    assert worker.autoscale == (5, 1)


def test_autoscale_with_the_smaller_number_first_is_refused(
    app: Any, worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert "max=1 min=5" in app.control.autoscale(1, 5, reply=True)[0][NODE]["error"]
    assert worker.autoscale is None
    assert "max=1 min=5" in caplog.text
    assert "Traceback" not in caplog.text


def test_autoscale_that_is_not_on(app: Any, worker: Any) -> None:
    assert "Autoscale not enabled" in app.control.autoscale(None, 1, reply=True)[0][NODE]["error"]


def test_what_changes_a_worker_is_in_its_log(app: Any, worker: Any, caplog: pytest.LogCaptureFixture) -> None:
    control = app.control
    with caplog.at_level(logging.INFO, "litequeue.worker"):
        for answer in (
            control.pool_grow(2, reply=True),
            control.pool_shrink(1, reply=True),
            control.add_consumer("mail", reply=True),
            control.cancel_consumer("mail", reply=True),
            control.autoscale(4, 1, reply=True),
        ):
            assert "ok" in answer[0][NODE]
    said = [record.getMessage() for record in caplog.records if record.getMessage().endswith(" by remote.")]
    assert said == [
        "Pool changed from 2 to 4 slots by remote.",
        "Pool changed from 4 to 3 slots by remote.",
        "Queue mail added by remote.",
        "Queue mail cancelled by remote.",
        "Autoscale set to max=4 min=1 by remote.",
    ]


def test_pool_restart_must_be_allowed(app: Any, worker: Any) -> None:
    assert app.control.pool_restart(reply=True) == [{NODE: {"error": "ValueError('Pool restarts not enabled')"}}]


def test_pool_restart(app: Any, run_worker: Callable[..., Any]) -> None:
    app.conf.worker_pool_restarts = True
    with run_worker(pool="prefork", concurrency=1) as worker:
        before = app.control.inspect().stats()[NODE]["pool"]["processes"]
        assert app.control.pool_restart(reply=True, timeout=20) == [{NODE: {"ok": "reload started"}}]
        wait_until(lambda: not {*before} & {*app.control.inspect().stats()[NODE]["pool"]["processes"]})
        assert worker.concurrency == 1


def test_add_and_cancel_consumer(app: Any, worker: Any) -> None:
    from tests.control.steered import add

    late = add.apply_async((1, 2), queue="mail")
    assert app.control.add_consumer("mail", reply=True) == [{NODE: {"ok": "add consumer mail"}}]
    assert late.get(timeout=20) == 3
    assert [queue["name"] for queue in app.control.inspect().active_queues()[NODE]] == ["celery", "mail"]
    assert app.control.cancel_consumer("mail", reply=True) == [{NODE: {"ok": "no longer consuming from mail"}}]
    waits = add.apply_async((1, 2), queue="mail")
    assert add.delay(2, 2).get(timeout=20) == 4
    assert waits.state == "PENDING"
    assert [queue["name"] for queue in app.control.inspect().active_queues()[NODE]] == ["celery"]


def test_a_queue_that_may_not_be_made(app: Any, worker: Any) -> None:
    app.conf.task_create_missing_queues = False
    assert "QueueNotFound" in app.control.add_consumer("mial", reply=True)[0][NODE]["error"]
    assert [queue["name"] for queue in app.control.inspect().active_queues()[NODE]] == ["celery"]


def test_shutdown_is_answered_and_warm(app: Any, worker: Any, held: Callable[..., Any], tmp_path: Path) -> None:
    result = held()
    assert app.control.shutdown(reply=True) == [{NODE: {"ok": "shutting down"}}]
    assert not worker.stopped.wait(0.05)
    (tmp_path / "gate").touch()
    assert worker.stopped.wait(20)
    assert result.get(timeout=20) == "end"
    assert worker.ended_well


def test_shutdown_of_one(app: Any, worker: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(hostname=OTHER) as other:
        app.control.shutdown(destination=[OTHER])
        assert other.stopped.wait(20)
        assert app.control.ping() == [{NODE: PONG}]


def test_events_and_heartbeat_are_accepted(app: Any, worker: Any) -> None:
    control = app.control
    assert control.enable_events(reply=True) == [{NODE: {"ok": "task events enabled"}}]
    assert control.enable_events(reply=True) == [{NODE: {"ok": "task events already enabled"}}]
    assert control.disable_events(reply=True) == [{NODE: {"ok": "task events disabled"}}]
    assert control.disable_events(reply=True) == [{NODE: {"ok": "task events already disabled"}}]
    assert control.heartbeat(reply=True) == [{NODE: None}]
    assert control.election("1", "topic") is None


def test_heartbeat_renews_the_entry(app: Any, worker: Any) -> None:
    def beat() -> float:
        return max(record.heartbeat_at for record in app.store.processes())

    before = beat()
    app.control.heartbeat(reply=True)
    assert beat() > before


# What goes wrong


def test_a_command_that_raises(app: Any, worker: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Five times in a row: the worker stays as it was."""
    from tests.control.steered import add

    for _ in range(5):
        assert app.control.broadcast("broken", reply=True) == [{NODE: {"error": "RuntimeError('broken as ever')"}}]
    assert caplog.text.count("Traceback") >= 5
    assert app.control.ping() == [{NODE: PONG}]
    assert add.delay(1, 1).get(timeout=20) == 2


def test_a_command_that_raises_what_nobody_catches(app: Any, worker: Any) -> None:
    assert app.control.broadcast("interrupted", reply=True) == [{NODE: {"error": "KeyboardInterrupt()"}}]
    assert app.control.ping() == [{NODE: PONG}]


def test_a_command_may_stop_its_worker(app: Any, worker: Any) -> None:
    assert app.control.broadcast("leave", reply=True) == [{NODE: {"error": "WorkerShutdown(0)"}}]
    assert worker.stopped.wait(20)


def test_an_answer_that_json_cannot_say(app: Any, worker: Any) -> None:
    ((_, answer),) = app.control.broadcast("unsayable", reply=True)[0].items()
    assert "EncodeError" in answer["error"]
    assert app.control.ping() == [{NODE: PONG}]


def test_an_unknown_command_names_the_nearest(app: Any, worker: Any) -> None:
    answer = app.control.broadcast("pnig", reply=True)
    assert answer == [{NODE: {"error": "no command 'pnig'; did you mean 'ping'?"}}]
    assert app.control.ping() == [{NODE: PONG}]


def test_an_argument_that_the_command_does_not_take(app: Any, worker: Any) -> None:
    answer = app.control.broadcast("say", {"wrod": "x"}, reply=True)
    assert "TypeError" in answer[0][NODE]["error"]


def test_an_argument_that_json_cannot_say(app: Any, worker: Any) -> None:
    before = app.store.last_command()
    with pytest.raises(EncodeError, match="say"):
        app.control.broadcast("say", {"word": object()}, reply=True)
    assert app.store.last_command() == before


def test_dates_cross_as_they_are(app: Any, worker: Any) -> None:
    when = datetime(2030, 1, 1, tzinfo=UTC)
    try:
        Panel.register(lambda state, when: {"ok": when}, name="echo_date")
        assert app.control.broadcast("echo_date", {"when": when}, reply=True) == [{NODE: {"ok": when}}]
    finally:
        del Panel.data["echo_date"], Panel.meta["echo_date"]


def test_what_was_sent_before_a_worker_started_is_not_for_it(
    app: Any, worker: Any, run_worker: Callable[..., Any]
) -> None:
    app.control.pool_grow(1, reply=True)
    with run_worker(hostname=OTHER) as other:
        assert len(app.control.ping()) == 2
        assert other.concurrency == 2


def test_a_slow_command_makes_others_wait_and_is_not_lost(app: Any, worker: Any, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    assert app.control.broadcast("take_time", {"path": str(gate)}, reply=True, timeout=0.05) == []
    assert app.control.ping(timeout=0.05) == []
    gate.touch()
    assert app.control.ping(timeout=20) == [{NODE: PONG}]


def test_a_command_that_does_not_end_does_not_keep_its_worker(
    app: Any, run_worker: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litequeue.worker.duties import controller

    monkeypatch.setattr(controller, "PATIENCE", 0.1)
    with run_worker() as worker:
        assert app.control.broadcast("take_time", {"path": str(tmp_path / "open")}, reply=True, timeout=0.05) == []
    assert worker.ended_well
    assert app.store.processes() == []
    (tmp_path / "open").touch()


def test_nothing_is_left_of_old_commands(app: Any, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from litequeue.core import clock

    for _ in range(3):
        app.control.ping()
    number = app.store.last_command()
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 3600)
    app.control.ping()
    assert app.store.replies(number) == []
    assert [command.id for command in app.store.commands(NODE, 0)] == [number + 1]


def test_without_remote_control(app: Any, run_worker: Callable[..., Any], held: Callable[..., Any]) -> None:
    """No command is carried out, nor waited for; what is in the file is obeyed."""
    app.conf.worker_enable_remote_control = False
    with run_worker():
        began = time.monotonic()
        assert app.control.ping(timeout=20) == []
        assert app.control.pool_grow(1, reply=True, timeout=20) == []
        assert time.monotonic() - began < 5
        result = held()
        app.control.revoke(result.id, terminate=True)
        wait_until(lambda: result.state == "REVOKED")
        assert app.control.inspect().active() == {NODE: []}


# Own commands


def test_own_commands(app: Any, worker: Any) -> None:
    assert app.control.broadcast("say", {"word": "hi", "times": 2}, reply=True) == [{NODE: {"ok": "hi hi"}}]
    assert app.control.broadcast("say", word="ho", reply=True) == [{NODE: {"ok": "ho"}}]
    assert app.control.inspect()._request("seen") == {NODE: {"app": "steered", "node": NODE, "slots": 2}}


def test_own_commands_are_in_the_panel() -> None:
    assert {"say", "seen", "broken"} <= Panel.data.keys()
    assert Panel.meta["say"].help == "Say a word."
    assert Panel.meta["say"].type == "control"
    assert Panel.meta["seen"].type == "inspect"
    assert not Panel.meta["broken"].visible


def test_own_commands_in_a_prefork_worker(app: Any, run_worker: Callable[..., Any]) -> None:
    with run_worker(pool="prefork"):
        assert app.control.broadcast("say", word="ho", reply=True) == [{NODE: {"ok": "ho"}}]


def test_rows_that_somebody_else_wrote(app: Any, worker: Any) -> None:
    """They are answered with an error, or are nobody's; the next command is carried out."""
    import apsw

    connection = apsw.Connection(app.store.path)
    insert = """
        INSERT INTO litequeue_commands (name, arguments, destination, reply_port, sent_at, expires_at)
        VALUES ('ping', ?, ?, ?, 0, 9e9) RETURNING id
    """
    rows = [("no json", None, None), ("[1]", None, 70000), ("{}", "no json", None), ('{"a": 1}', "[1, null]", -1)]
    numbers = [connection.execute(insert, row).get for row in rows]
    connection.close()
    assert app.control.ping() == [{NODE: PONG}]
    assert ["DecodeError" in reply.reply for number in numbers for reply in app.store.replies(number)] == [True, True]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "asyncio"])
def test_answered_in_every_pool_while_a_task_runs(
    app: Any, run_worker: Callable[..., Any], held: Callable[..., Any], pool: str
) -> None:
    with run_worker(pool=pool):
        result = held()
        assert app.control.ping() == [{NODE: PONG}]
        assert app.control.inspect()._request("seen")[NODE]["node"] == NODE
        assert [task["id"] for task in app.control.inspect().active()[NODE]] == [result.id]
        stats = app.control.inspect().stats()[NODE]
        assert stats["pool"]["max-concurrency"] == (1 if pool == "solo" else 2)
        assert app.control.add_consumer("mail", reply=True) == [{NODE: {"ok": "add consumer mail"}}]
