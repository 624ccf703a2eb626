"""`litequeue worker` as a real process: it runs tasks, stops as promised, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import Project, wait_until

POOLS = ["prefork", "threads", "asyncio", "solo"]


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_runs_tasks_and_stops_on_sigterm(project: Project, pool: str) -> None:
    before = project.send("add", 1, 2)
    worker = project.worker("-P", pool, "-c", "2").ready()
    after = project.send("add", 3, 4)
    assert before.get(timeout=20) == 3
    assert after.get(timeout=20) == 7
    assert worker.stop() == 0
    assert project.app.store.processes() == []


# Burst


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("option", ["--burst", "--drain"])
def test_burst_runs_what_is_there_and_ends_with_code_0(project: Project, pool: str, option: str) -> None:
    results = [project.send("add", number, 1) for number in range(20)]
    assert project.worker(option, "-P", pool, "-c", "2").ended() == 0
    assert [result.get(timeout=1) for result in results] == list(range(1, 21))


def test_burst_on_an_empty_queue_ends_at_once(project: Project) -> None:
    assert project.worker("--burst", "-c", "1").ended() == 0


def test_burst_does_not_wait_for_a_task_that_is_for_later(project: Project) -> None:
    later = project.send("add", 1, 1, countdown=3600)
    assert project.worker("--burst", "-c", "1").ended() == 0
    assert project.engine_state(later) == "scheduled"


# Stopping


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_warm_stop_finishes_what_runs_and_leaves_the_rest(
    project: Project, pool: str, number: signal.Signals
) -> None:
    running = project.hold("a")
    waiting = [project.send("add", 1, 1) for _ in range(5)]
    worker = project.worker("-P", pool, "-c", "1").ready()
    project.started("a")
    worker.signal(number)
    if pool != "solo":  # whose only thread is busy with the task
        worker.said("Warm shutdown")
    project.release("a")
    assert worker.ended() == 0
    assert running.get(timeout=1)
    assert {project.engine_state(result) for result in waiting} == {"ready"}
    assert {project.app.store.task(result.id).attempt for result in waiting} <= {0}
    assert project.app.store.processes() == []


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGQUIT], [signal.SIGTERM, signal.SIGQUIT]], ids=str
)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_cold_stop_gives_everything_back_at_once(project: Project, pool: str, signals: list[signal.Signals]) -> None:
    running, waiting = project.hold("a"), project.send("add", 1, 1)
    worker = project.worker("-P", pool, "-c", "1").ready()
    project.started("a")
    for position, number in enumerate(signals):
        if position:
            worker.said("Warm shutdown")
        worker.signal(number)
    assert worker.ended() == 1
    assert_given_back(project, running, waiting)


@pytest.mark.parametrize("signals", [[signal.SIGQUIT], [signal.SIGTERM, signal.SIGQUIT]], ids=str)
def test_a_cold_stop_interrupts_the_task_of_a_solo_worker(project: Project, signals: list[signal.Signals]) -> None:
    running, waiting = project.hold("a"), project.send("add", 1, 1)
    worker = project.worker("-P", "solo").ready()
    project.started("a")
    for number in signals:
        worker.signal(number)
    assert worker.ended() == 1
    assert_given_back(project, running, waiting)


def test_one_more_ctrl_c_interrupts_the_task_of_a_solo_worker(project: Project) -> None:
    """Two signals of one kind that come at the same moment are one; so Ctrl-C is pressed until it is heard."""
    running, waiting = project.hold("a"), project.send("add", 1, 1)
    worker = project.worker("-P", "solo").ready()
    project.started("a")

    def press() -> bool:
        worker.signal(signal.SIGINT)
        return worker.process.poll() is not None

    wait_until(press, "the end")
    assert_given_back(project, running, waiting)


def assert_given_back(project: Project, *results: Any) -> None:
    """The tasks are as if they had never been claimed."""
    assert {project.engine_state(result) for result in results} == {"ready"}
    assert {project.app.store.task(result.id).deaths for result in results} == {0}
    assert project.app.store.processes() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_is_a_warm_stop(project: Project, number: signal.Signals) -> None:
    running = project.hold("a")
    worker = project.worker("-c", "2").ready()
    runner = project.started("a")
    os.killpg(worker.pid, number)
    worker.said("Warm shutdown")
    project.release("a")
    assert worker.ended() == 0
    assert running.get(timeout=1) == runner
    assert project.app.store.task(running.id).attempt == 1


def test_a_cold_signal_to_the_whole_group_counts_no_death(project: Project) -> None:
    running = project.hold("a")
    worker = project.worker("-c", "1").ready()
    project.started("a")
    os.killpg(worker.pid, signal.SIGQUIT)
    assert worker.ended() == 1
    assert project.engine_state(running) == "ready"
    assert project.app.store.task(running.id).deaths == 0


def test_what_a_stopped_worker_left_is_run_by_the_next(project: Project) -> None:
    running = project.hold("a")
    worker = project.worker("-c", "1").ready()
    first = project.started("a")
    worker.signal(signal.SIGQUIT).ended()
    project.release("a")
    project.worker("-c", "1", "--burst").ended()
    assert running.get(timeout=1) != first


# Deaths


def test_a_killed_child_is_replaced_and_its_task_runs_again(project: Project) -> None:
    running = project.hold("a")
    worker = project.worker("-c", "1").ready()
    first = project.started("a")
    os.kill(first, signal.SIGKILL)
    second = project.started("a", not_by=first)
    project.release("a")
    assert running.get(timeout=20) == second
    assert project.app.store.task(running.id).deaths == 1
    assert project.send("pid").get(timeout=20) == second
    assert "was killed by SIGKILL" in worker.err
    assert worker.stop() == 0


def test_the_death_of_the_fork_server_takes_no_task_from_a_living_child(project: Project) -> None:
    running = project.hold("a")
    worker = project.worker("-c", "1").ready()
    runner = project.started("a")
    os.kill(psutil.Process(runner).ppid(), signal.SIGKILL)
    assert project.send("add", 1, 1, queue="celery").id
    project.release("a")
    assert running.get(timeout=20) == runner
    record = project.app.store.task(running.id)
    assert (record.attempt, record.deaths) == (1, 0)
    assert project.send("add", 2, 2).get(timeout=20) == 4
    assert worker.stop() == 0


def test_children_of_a_killed_worker_finish_their_task_and_end(project: Project) -> None:
    running, waiting = project.hold("a"), project.send("add", 1, 1)
    worker = project.worker("-c", "1").ready()
    child = project.started("a")
    worker.signal(signal.SIGKILL).ended()
    project.release("a")
    assert running.get(timeout=20) == child
    wait_until(lambda: not psutil.pid_exists(child), "the child's end")
    assert project.engine_state(waiting) == "ready"


def test_a_task_whose_name_nobody_knows_waits_and_hurts_nobody(project: Project) -> None:
    unknown, known = project.send("no_such_task"), project.send("add", 1, 1)
    assert project.worker("--burst", "-c", "1").ended() == 0
    assert known.get(timeout=1) == 2
    assert project.engine_state(unknown) == "ready"


# Queues


def test_q_selects_queues(project: Project) -> None:
    a, b, c = (project.send("add", 1, 1, queue=name) for name in "abc")
    assert project.worker("--burst", "-c", "1", "-Q", "a,b").ended() == 0
    assert [project.engine_state(result) for result in (a, b, c)] == ["succeeded", "succeeded", "ready"]


def test_q_may_be_repeated(project: Project) -> None:
    a, b = (project.send("add", 1, 1, queue=name) for name in "ab")
    project.worker("--burst", "-c", "1", "-Q", "a", "-Q", "b").ended()
    assert [project.engine_state(result) for result in (a, b)] == ["succeeded", "succeeded"]


def test_x_leaves_queues_out(project: Project) -> None:
    with (project.folder / "proj.py").open("a", encoding="utf-8") as file:
        file.write('app.conf.task_queues = ["a", "b", "c"]\n')
    a, b, c = (project.send("add", 1, 1, queue=name) for name in "abc")
    assert project.worker("--burst", "-c", "1", "-X", "b").ended() == 0
    assert [project.engine_state(result) for result in (a, b, c)] == ["succeeded", "ready", "succeeded"]


def test_a_queue_that_may_not_be_created_is_refused(project: Project) -> None:
    with (project.folder / "proj.py").open("a", encoding="utf-8") as file:
        file.write('app.conf.update(task_queues=["a"], task_create_missing_queues=False)\n')
    done = project.run("-A", "proj", "worker", "-Q", "b")
    assert done.returncode == 2
    assert "queue 'b' is not in task_queues" in done.stderr


def test_purge_empties_the_selected_queues_before_the_start(project: Project) -> None:
    gone, left = project.send("add", 1, 1), project.send("add", 1, 1, queue="other")
    worker = project.worker("--burst", "-c", "1", "--purge")
    assert worker.ended() == 0
    assert "Purged 1 task from queue celery." in worker.out
    assert not gone.exists()
    assert project.engine_state(left) == "ready"


# Recycling and limits


def test_a_child_is_replaced_after_so_many_tasks(project: Project) -> None:
    worker = project.worker("-c", "1", "--max-tasks-per-child", "2").ready()
    pids = [project.send("pid").get(timeout=20) for _ in range(6)]
    assert len(set(pids)) == 3
    assert pids == sorted(pids, key=pids.index)
    assert worker.stop() == 0
    assert "ERROR" not in worker.err


def test_a_child_that_has_grown_is_replaced(project: Project) -> None:
    worker = project.worker("-c", "1", "--max-memory-per-child", "150M").ready()
    small = [project.send("pid").get(timeout=20) for _ in range(3)]
    assert len(set(small)) == 1
    assert project.send("grow", 200).get(timeout=20) == small[0]
    assert project.send("pid").get(timeout=20) != small[0]
    assert worker.stop() == 0


def test_a_hard_time_limit_kills_the_task_alone(project: Project) -> None:
    running = project.hold("a")
    worker = project.worker("-c", "1", "--time-limit", "0.5").ready()
    with pytest.raises(Exception, match="TimeLimitExceeded"):
        running.get(timeout=20)
    assert project.send("add", 1, 1).get(timeout=20) == 2
    assert worker.stop() == 0


def test_a_soft_time_limit_is_raised_inside_the_task(project: Project) -> None:
    running = project.hold("a")
    worker = project.worker("-c", "1", "--soft-time-limit", "0.5").ready()
    with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
        running.get(timeout=20)
    assert project.app.store.task(running.id).attempt == 1
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "solo", "asyncio"])
def test_a_time_limit_is_refused_where_it_cannot_be_kept(project: Project, pool: str) -> None:
    done = project.run("-A", "proj", "worker", "-P", pool, "--time-limit", "1")
    assert done.returncode == 1
    assert "prefork" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_soft_shutdown_lets_what_runs_finish(project: Project) -> None:
    running, waiting = project.hold("a"), project.send("add", 1, 1)
    worker = project.worker("-c", "1", "worker_soft_shutdown_timeout=60").ready()
    runner = project.started("a")
    worker.signal(signal.SIGQUIT).said("Soft shutdown")
    project.release("a")
    assert worker.ended() == 1
    assert running.get(timeout=1) == runner
    assert project.engine_state(waiting) == "ready"


# Files


def test_the_pidfile_is_there_while_the_worker_is(project: Project) -> None:
    file = project.folder / "w1.pid"
    worker = project.worker("-c", "1", "-n", "w1@%h", "--pidfile", "%n.pid").ready()
    assert file.read_text(encoding="ascii") == f"{worker.pid}\n"
    refused = project.run("-A", "proj", "worker", "--pidfile", "w1.pid")
    assert refused.returncode == 1
    assert f"process {worker.pid} holds it and is running" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert file.exists()
    worker.stop()
    assert not file.exists()


def test_a_stale_pidfile_is_replaced(project: Project) -> None:
    file = project.folder / "w.pid"
    worker = project.worker("-c", "1", "--pidfile", "w.pid").ready()
    worker.signal(signal.SIGKILL).ended()
    assert file.exists()
    again = project.worker("-c", "1", "--pidfile", "w.pid").ready()
    assert file.read_text(encoding="ascii") == f"{again.pid}\n"
    again.stop()
    assert not file.exists()


def test_a_logfile_takes_what_stderr_would(project: Project) -> None:
    worker = project.worker("-c", "1", "-n", "w1@%h", "-f", "%n.log")
    log = project.folder / "w1.log"
    wait_until(lambda: log.exists() and "ready." in log.read_text(encoding="utf-8"), "ready")
    project.send("say", "hello").get(timeout=20)
    assert worker.stop() == 0
    assert "hello" in log.read_text(encoding="utf-8")
    assert worker.err == ""


def test_a_logfile_with_an_index_is_one_for_each_process(project: Project) -> None:
    worker = project.worker("-c", "1", "-f", "w%I.log")
    log = project.folder / "w.log"
    wait_until(lambda: log.exists() and "ready." in log.read_text(encoding="utf-8"), "ready")
    project.send("say", "hello").get(timeout=20)
    worker.stop()
    assert "hello" in (project.folder / "w-1.log").read_text(encoding="utf-8")
    assert "hello" not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("pool", POOLS)
def test_what_a_task_prints_is_a_line_of_the_log(project: Project, pool: str) -> None:
    worker = project.worker("-c", "1", "-P", pool).ready()
    project.send("say", "hello").get(timeout=20)
    worker.stop()
    lines = [line for line in worker.err.splitlines() if line.endswith(("] hello", "] hello aside"))]
    assert len(lines) == 2
    assert all("WARNING/" in line for line in lines)
    assert "hello" not in worker.out


# What it says


def test_the_banner_says_who_what_and_where(project: Project) -> None:
    project.send("add", 1, 1)
    project.send("add", 1, 1, countdown=3600)
    worker = project.worker("-c", "2", "-n", "w1@here", "-Q", "celery,mail").ready()
    out = worker.out
    assert "w1@here" in out
    assert str(project.file) in out
    assert "durability full" in out
    assert "prefork, 2 processes" in out
    assert "mail (0 waiting)" in out
    assert "celery (1 waiting, 1 for later)" in out
    assert "    . proj.add\n" in out
    assert "\033" not in out
    worker.stop()


def test_the_banner_lists_tasks_at_info_only(project: Project) -> None:
    done = project.run("-A", "proj", "worker", "--burst", "-c", "1")
    assert done.returncode == 0
    assert "[tasks]" not in done.stdout
    assert "queue.db" in done.stdout


def test_quiet_prints_nothing_on_stdout(project: Project) -> None:
    done = project.run("-q", "-A", "proj", "worker", "--burst", "-c", "1", "-O", "fair", "--purge")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_options_of_celery_say_once_each_what_happens_instead(project: Project) -> None:
    done = project.run(
        *["-A", "proj", "worker", "--burst", "-c", "1", "-O", "fair", "--without-gossip", "--without-mingle"],
        *["--without-heartbeat", "--prefetch-multiplier", "1", "--disable-prefetch", "-S", "state.db", "-E"],
        *["--pool-start-method", "fork", "--loader", "x", "--skip-checks", "-B", "-s", "beat.db"],
    )
    assert done.returncode == 0
    notes = done.stderr.splitlines()
    assert all(note.startswith("litequeue: ") and " is ignored: " in note for note in notes)
    assert len(notes) == len(set(notes)) == 10


@pytest.mark.parametrize("pool", ["threads", "solo", "asyncio"])
def test_options_of_child_processes_are_for_the_pool_that_has_them(project: Project, pool: str) -> None:
    given = ("--max-tasks-per-child", "5", "--max-memory-per-child", "200M", "-c", "2")
    done = project.run("-A", "proj", "worker", "--burst", "-P", pool, *given)
    assert done.returncode == 0
    notes = [
        f"litequeue: --max-tasks-per-child is ignored: the {pool} pool has no child processes",
        f"litequeue: --max-memory-per-child is ignored: the {pool} pool has no child processes",
    ]
    if pool == "solo":
        notes.append("litequeue: -c 2 is ignored: the solo pool runs one task at a time")
    assert done.stderr.splitlines() == notes


def test_a_worker_that_is_refused_prints_no_banner_and_purges_nothing(project: Project) -> None:
    result = project.send("add", 1, 1)
    for wrong in (("-P", "threads", "--time-limit", "1"), ("-P", "solo", "--autoscale", "2")):
        done = project.run("-A", "proj", "worker", "--burst", "--purge", *wrong)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
    assert project.engine_state(result) == "ready"


# Finding the app


@pytest.mark.parametrize(
    "argv",
    [
        ["worker", "-A", "proj"],
        ["-A", "proj:app", "worker"],
        ["--app", "proj.app", "worker"],
        ["-A", "nothing", "worker", "-A", "proj"],
    ],
)
def test_the_app_may_be_named_before_or_after_the_command(project: Project, argv: list[str]) -> None:
    result = project.send("add", 1, 2)
    done = project.run(*argv, "--burst", "-c", "1")
    assert done.returncode == 0, done.stderr
    assert result.get(timeout=1) == 3


def test_options_may_come_from_the_environment(project: Project) -> None:
    done = project.run("worker", "--burst", LITEQUEUE_APP="proj", LITEQUEUE_WORKER_CONCURRENCY="3")
    assert done.returncode == 0, done.stderr
    assert "prefork, 3 processes" in done.stdout


def test_the_broker_option_comes_before_what_the_app_says(project: Project, tmp_path: Path) -> None:
    project.send("add", 1, 2)
    other = tmp_path / "other.db"
    done = project.run("-A", "proj", "-b", str(other), "worker", "--burst", "-c", "1")
    assert done.returncode == 0, done.stderr
    assert str(other) in done.stdout
    assert other.exists()


def test_workdir_is_entered_first(project: Project) -> None:
    result = project.send("add", 1, 2)
    folder = project.folder
    project.folder = folder.parent
    done = project.run("--workdir", folder.name, "-A", "proj", "worker", "--burst", "-c", "1")
    assert done.returncode == 0, done.stderr
    assert result.get(timeout=1) == 3


def test_a_setting_may_be_given_at_the_end_of_the_line(project: Project) -> None:
    done = project.run(
        "-A", "proj", "worker", "--burst", "-P", "solo", "task_default_queue=mail", "worker.concurrency=3"
    )
    assert done.returncode == 0, done.stderr
    assert "mail (0 waiting)" in done.stdout


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("stray", "write name=value"),
        ("worker_concurency=3", "worker_concurrency"),
        ("durability=maybe", "durability"),
    ],
)
def test_a_setting_that_is_wrong_is_a_usage_error(project: Project, assignment: str, says: str) -> None:
    done = project.run("-A", "proj", "worker", assignment)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_namesake_is_pointed_out(project: Project) -> None:
    first = project.worker("-c", "1", "-n", "w1@here").ready()
    done = project.run("-A", "proj", "worker", "--burst", "-P", "solo", "-n", "w1@here")
    assert done.returncode == 0
    assert f"process {first.pid} is a worker named w1@here too" in done.stderr
    first.signal(signal.SIGKILL).ended()
    done = project.run("-A", "proj", "worker", "--burst", "-P", "solo", "-n", "w1@here")
    assert "named" not in done.stderr


def test_a_log_file_that_cannot_be_opened_is_one_line(project: Project) -> None:
    done = project.run("-A", "proj", "worker", "-f", "no/such/folder/w.log")
    assert done.returncode == 1
    assert "no/such/folder/w.log" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_queue_in_memory_is_for_pools_in_one_process(project: Project) -> None:
    done = project.run("-A", "proj", "-b", ":memory:", "worker", "-c", "1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "memory" in done.stderr
    assert project.run("-A", "proj", "-b", ":memory:", "worker", "-P", "solo", "--burst").returncode == 0


def test_included_modules_are_imported_in_the_children_too(project: Project) -> None:
    (project.folder / "more.py").write_text(
        "from proj import app\n\n@app.task\ndef twice(x):\n    return 2 * x\n", encoding="utf-8"
    )
    result = project.app.send_task("more.twice", (21,))
    done = project.run("-A", "proj", "worker", "--burst", "-c", "1", "-l", "INFO", "-I", "more")
    assert done.returncode == 0, done.stderr
    assert ". more.twice" in done.stdout
    assert result.get(timeout=1) == 42


def test_a_config_module_reaches_the_children(project: Project) -> None:
    (project.folder / "settings.py").write_text('task_default_queue = "special"\ntask_track_started = True\n', "utf-8")
    result = project.send("add", 1, 2, queue="special")
    done = project.run("--config", "settings", "-A", "proj", "worker", "--burst", "-c", "1")
    assert done.returncode == 0, done.stderr
    assert "special (1 waiting)" in done.stdout
    assert result.get(timeout=1) == 3


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\n", "proj"),
        ("import no_such_module_at_all\n", "no_such_module_at_all"),
        ("x = 1\ny = 1 / 0\n", "proj.py:2"),
        ("def broken(:\n", "proj.py:1"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ('from litequeue import LiteQueue\napp = LiteQueue("proj", broker="amqp://localhost")\n', "amqp"),
        (
            'from litequeue import LiteQueue\napp = LiteQueue("proj", broker="no/such/folder/queue.db")\n',
            "no/such/folder",
        ),
    ],
)
def test_an_app_that_cannot_be_used_is_one_line(project: Project, source: str, says: str) -> None:
    (project.folder / "proj.py").write_text(source, encoding="utf-8")
    done = project.run("-A", "proj", "worker", "-c", "1")
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_module_that_is_not_there_is_one_line(project: Project) -> None:
    done = project.run("-A", "prj", "worker")
    assert done.returncode == 1
    assert "-A prj: " in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_not_a_queue_is_one_line(project: Project) -> None:
    project.file.write_text("not a database, but long enough to be taken for one" * 100, encoding="utf-8")
    done = project.run("-A", "proj", "worker", "-c", "1")
    assert done.returncode == 1
    assert str(project.file) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("argv", [["-n", "w1@%q"], ["--logfile", "%q.log"], ["--pidfile", "%q.pid"]])
def test_an_unknown_placeholder_is_a_usage_error(project: Project, argv: list[str]) -> None:
    done = project.run("-A", "proj", "worker", *argv)
    assert done.returncode == 2
    assert "%q" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_program_runs_its_own_worker(project: Project) -> None:
    (project.folder / "proj.py").open("a", encoding="utf-8").write(
        'if __name__ == "__main__":\n    sys.exit(app.worker_main(["worker", "--burst", "-c", "1", "-P", "solo"]))\n'
    )
    result = project.send("add", 1, 2)
    done = subprocess.run(
        [sys.executable, "proj.py"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert result.get(timeout=1) == 3
