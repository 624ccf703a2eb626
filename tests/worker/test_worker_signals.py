"""The signals of workers: when, by whom, and with Celery's arguments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import signals
from tests.worker import signal_tasks, supervisor_tasks
from tests.worker.signal_tasks import heard
from tests.worker.supervisor_tasks import ROOT, quick, starts, wait_for, wait_until
from tests.worker.test_terminate import heard as told


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    signal_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield signal_tasks.app
    signal_tasks.app.close()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Any]:
    supervisor_tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    yield supervisor_tasks.app
    supervisor_tasks.app.close()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_life_of_a_worker(app: Any, tmp_path: Path) -> None:
    queue = tmp_path / "queue.db"
    worker = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "litequeue",
                "-A",
                "tests.worker.signal_tasks",
                "worker",
                "-c",
                "1",
                "-n",
                "w1@host",
            ),
            *("--heartbeat-interval", "0.1", "--pool-start-method", "spawn"),
        ],
        cwd=ROOT,
        env={**os.environ, "LITEQUEUE_BROKER_URL": str(queue), "SIGNAL_TASKS_LISTEN": "1"},
    )
    try:
        child = signal_tasks.work.delay().get(timeout=30)
        wait_until(lambda: any(line[0] == "heartbeat_sent" for line in heard(queue)))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    finally:
        worker.kill()
        worker.wait()
    said = {name: (sender, pid, named) for name, sender, pid, named in reversed(heard(queue))}
    order = [line[0] for line in heard(queue) if line[2] == worker.pid and line[0] != "heartbeat_sent"]
    assert list(dict.fromkeys(order)) == [
        *("celeryd_init", "import_modules", "celeryd_after_setup", "worker_init", "worker_before_create_process"),
        *("worker_ready", "worker_shutting_down", "worker_shutdown"),
    ]
    assert [line[0] for line in heard(queue) if line[2] == child and line[0] != "import_modules"] == [
        "worker_process_init",
        "worker_process_shutdown",
    ]
    assert said["celeryd_after_setup"][0] == "'w1@host'"
    assert said["celeryd_after_setup"][2].keys() == {"instance", "conf"}
    assert "Worker object" in said["celeryd_after_setup"][2]["instance"]
    for name in ("worker_init", "worker_ready", "worker_shutdown"):
        assert ("Worker object" in said[name][0], said[name][2]) == (True, {}), name
    assert ("PreforkPool" in said["worker_before_create_process"][0]) is True
    assert said["worker_process_init"] == ("'w1@host'", child, {})
    assert said["worker_process_shutdown"] == ("None", child, {"pid": child, "exitcode": 0})
    assert said["worker_shutting_down"][::2] == ("'w1@host'", {"sig": "SIGTERM", "how": "Warm", "exitcode": 0})
    assert ("Heartbeat" in said["heartbeat_sent"][0], said["heartbeat_sent"][2]) == (True, {})


def test_celeryd_init_may_change_the_settings_of_one_worker(app: Any) -> None:
    said: list[dict[str, Any]] = []

    def configure(sender: str, instance: Any, conf: Any, options: dict[str, Any], **named: Any) -> None:
        said.append({"sender": sender, "instance": instance, "conf": conf, "options": options})
        conf.worker_concurrency = 3

    before = app.conf.worker_concurrency
    signals.celeryd_init.connect(configure, sender="w7@host")
    try:
        with app.start_worker(pool="threads", hostname="w7@host", beat=False) as embedded:
            assert embedded.worker.concurrency == 3
        app.conf.worker_concurrency = before
        with app.start_worker(pool="threads", hostname="w8@host", concurrency=1, beat=False) as embedded:
            assert embedded.worker.concurrency == 1
    finally:
        app.conf.worker_concurrency = before
        signals.celeryd_init.disconnect(configure, sender="w7@host")
    (arguments,) = said
    assert arguments["sender"] == "w7@host"
    assert arguments["conf"] is app.conf
    assert (arguments["instance"].hostname, arguments["instance"].app) == ("w7@host", app)
    assert arguments["options"]["pool"] == "threads"


def test_celeryd_after_setup_may_add_a_queue_of_the_workers_own(app: Any) -> None:
    def add_queue(sender: str, instance: Any, conf: Any, **named: Any) -> None:
        assert (sender, instance.hostname, instance.app, conf) == ("w1@host", "w1@host", app, app.conf)
        instance.add_queues([f"{sender}.dq"])

    signals.celeryd_after_setup.connect(add_queue)
    try:
        with app.start_worker(pool="threads", hostname="w1@host", concurrency=1, beat=False):
            assert signal_tasks.work.apply_async(queue="w1@host.dq").get(timeout=20)
    finally:
        signals.celeryd_after_setup.disconnect(add_queue)


def test_the_exit_code_and_kind_of_a_cold_stop(app: Any) -> None:
    with told(signals.worker_shutting_down) as said:
        embedded = app.start_worker(pool="prefork", concurrency=1, beat=False)
        assert embedded.stop(warm=False, timeout=20)
    assert [(each["sig"], each["how"], each["exitcode"], each["sender"]) for each in said] == [
        ("SIGQUIT", "Cold", 1, embedded.hostname)
    ]


def test_a_solo_worker_is_its_own_process(app: Any) -> None:
    with told(signals.worker_process_init) as said, app.start_worker(pool="solo", hostname="w1@host", beat=False):
        pass
    assert [each["sender"] for each in said] == ["w1@host"]


def test_a_receiver_that_raises_is_counted_and_stops_nobody(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    def break_it(**named: Any) -> None:
        raise RuntimeError("a receiver's own")

    which = [
        *("celeryd_init", "celeryd_after_setup", "worker_init", "worker_before_create_process", "worker_ready"),
        *("worker_shutting_down", "worker_shutdown", "heartbeat_sent"),
    ]
    before = {name: getattr(signals, name).errors for name in which}
    for name in which:
        getattr(signals, name).connect(break_it)
    old, app.conf.worker_heartbeat_interval = app.conf.worker_heartbeat_interval, 0.05
    try:
        with app.start_worker(pool="prefork", concurrency=1, beat=False):
            assert signal_tasks.work.delay().get(timeout=20)
            wait_until(lambda: signals.heartbeat_sent.errors > before["heartbeat_sent"])
    finally:
        app.conf.worker_heartbeat_interval = old
        for name in which:
            getattr(signals, name).disconnect(break_it)
    assert all(getattr(signals, name).errors > before[name] for name in which)
    assert "a receiver's own" in caplog.text


# task_revoked; that of a running task that is terminated is in test_terminate and test_interrupting


def test_a_task_that_expired_is_revoked_when_it_is_met(supervised: Any) -> None:
    result = quick.apply_async(expires=0.01, kwargs={"number": 5})
    time.sleep(0.05)
    with told(signals.task_revoked) as said, supervised.start_worker(pool="threads", concurrency=1, beat=False):
        wait_until(lambda: said)
    (arguments,) = said
    assert arguments["sender"] is supervised.tasks[quick.name]
    assert (arguments["terminated"], arguments["signum"], arguments["expired"]) == (False, None, True)
    assert (arguments["request"].id, arguments["request"].kwargs) == (result.id, {"number": 5})


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_task_that_was_revoked_and_whose_process_then_died(supervised: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with told(signals.task_revoked) as said, supervised.start_worker(pool="prefork", concurrency=1, beat=False):
        result = wait_for.delay(str(tmp_path / "never"), str(log))
        child = int(wait_until(lambda: starts(log))[0][2])
        supervised.store.revoke([result.id])
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: said)
    (arguments,) = said
    assert arguments["sender"] is supervised.tasks[wait_for.name]
    assert (arguments["terminated"], arguments["signum"], arguments["expired"]) == (False, None, False)
    assert arguments["request"].id == result.id
    assert result.state == "REVOKED"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_task_failure_of_a_task_that_is_lost_with_its_process(supervised: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with told(signals.task_failure) as said, supervised.start_worker(pool="prefork", concurrency=1, beat=False):
        result = supervisor_tasks.wait_for_once.delay(str(tmp_path / "never"), str(log))
        os.kill(int(wait_until(lambda: starts(log))[0][2]), signal.SIGKILL)
        wait_until(lambda: said)
    (arguments,) = said
    assert arguments["sender"] is supervised.tasks[supervisor_tasks.wait_for_once.name]
    assert arguments["task_id"] == result.id
    assert type(arguments["exception"]).__name__ == "WorkerLostError"
    assert arguments["args"] == [str(tmp_path / "never"), str(log)]
