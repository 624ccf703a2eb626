"""Children, supervisors and clients are killed at random under load: nothing acknowledged is lost (P1, P2, P3).

`LITEQUEUE_CRASH_TASKS=200000` sends more tasks, `LITEQUEUE_CRASH_CHORDS=1000` more chords, `LITEQUEUE_CRASH_SEED=2`
kills others.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import defaultdict

import apsw
import pytest

from .checker import Row, check
from .invariants import violations
from .power_loss import SEED
from .project import Project, end, kill_group

TASKS = int(os.environ.get("LITEQUEUE_CRASH_TASKS", "10000"))
"""How many tasks are sent under fire."""
CHORDS = int(os.environ.get("LITEQUEUE_CRASH_CHORDS", "60"))
"""How many chords are."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


def rows_of(project: Project) -> list[Row]:
    """Every task in the file."""
    project.app.close()
    db = apsw.Connection(str(project.queue))
    try:
        assert not violations(db)
        ended: dict[int, dict[int, str]] = defaultdict(dict)
        for seq, attempt, outcome in db.execute("SELECT seq, attempt, outcome FROM litequeue_attempts"):
            ended[seq][attempt] = outcome
        return [
            Row(
                id=task_id,
                name=name,
                state=state,
                attempt=attempt,
                deaths=deaths,
                retries=retries,
                error=error,
                ended=ended[seq],
            )
            for seq, task_id, name, state, attempt, deaths, retries, error in db.execute(
                "SELECT seq, id, name, state, attempt, deaths, retries,"
                " CASE result_serializer WHEN 'error' THEN result END FROM litequeue_tasks"
            )
        ]
    finally:
        db.close()


class Killer:
    """Kills processes at random, and remembers which."""

    def __init__(self, project: Project, workers: dict[str, subprocess.Popen[bytes]]) -> None:
        self.project = project
        self.workers = workers
        self.random = random.Random(SEED)
        self.killed: set[int] = set()
        self.supervisors = self.children = 0

    def kill_one(self) -> None:
        """Kill a child, or (one time in six) a supervisor, which is started again."""
        if self.random.random() < 1 / 6:
            self.kill_supervisor()
        else:
            self.kill_child()

    def kill_child(self) -> None:
        """Kill a child with SIGKILL; its supervisor starts another."""
        children = self.project.processes(role="child")
        if children:
            pid = self.random.choice(children).identity.pid
            self._kill(pid)
            self.children += 1

    def kill_supervisor(self) -> None:
        """Kill a supervisor with SIGKILL; its children end their tasks and go. Start it again."""
        name = self.random.choice(sorted(self.workers))
        self._kill(self.workers[name].pid)
        self.workers[name].wait()
        self.workers[name] = self.project.worker(name, "-c", "2")
        self.supervisors += 1

    def _kill(self, pid: int) -> None:
        # Noted first: the process may have ended another task before the signal arrives.
        self.killed.add(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            self.killed.discard(pid)


def test_ten_thousand_tasks_under_fire(tmp_path):
    """Two workers of two children each, two senders; a process is killed about every fifth of a second."""
    project = Project(tmp_path)
    workers = {name: project.worker(name, "-c", "2") for name in ("a", "b")}
    killer = Killer(project, workers)
    senders: list[subprocess.Popen[bytes]] = []
    killed_senders = 0
    try:
        project.wait_for(lambda: len(project.processes(role="child")) == 4)
        while len(project.sent()) < TASKS:
            assert not any(sender.poll() for sender in senders), f"a sender failed\n{project.outputs()}"
            senders = [sender for sender in senders if sender.poll() is None]
            while len(senders) < 2:
                senders.append(project.sender(TASKS // 8))
            time.sleep(killer.random.uniform(0.1, 0.35))
            killer.kill_one()
            if senders and killer.random.random() < 0.05:
                kill_group(senders.pop(0))
                killed_senders += 1
        assert not any(sender.wait() for sender in senders), f"a sender failed\n{project.outputs()}"
        deadline = time.monotonic() + 60
        while not project.ended(*project.sent()):
            assert time.monotonic() < deadline, f"{project.app.store.counts()}\n{project.outputs()}"
            if killer.random.random() < 0.3:
                killer.kill_one()
            time.sleep(0.1)
        project.wait_for(lambda: set(project.app.store.counts().get("celery", {})) <= {"succeeded", "failed"})
    finally:
        for sender in senders:
            kill_group(sender)
        for worker in workers.values():
            end(worker)
            kill_group(worker)
    verdict = check(
        sent=project.sent(),
        rows=rows_of(project),
        runs=project.runs(),
        killed=killer.killed,
        unacknowledged=killed_senders,
        once=("proj.once",),
    )
    print(
        f"{verdict.tasks} tasks, killed {killer.children} children, {killer.supervisors} supervisors, {killed_senders}"
        f" senders; {verdict.ran_twice} ran twice, {verdict.lost_with_worker} lost with their worker (at most once)"
    )
    assert verdict.problems == [], project.outputs()
    assert verdict.tasks >= TASKS
    assert killer.children > 3


def test_chords_under_fire_run_each_body_once_with_the_right_values(tmp_path):
    """Chords of five parts, some hundred tasks at a time, while children and supervisors are killed at random."""
    project = Project(tmp_path, max_worker_deaths=50)
    workers = {name: project.worker(name, "-c", "2") for name in ("a", "b")}
    killer = Killer(project, workers)
    chords = 0
    try:
        project.wait_for(lambda: len(project.processes(role="child")) == 4)
        while chords < CHORDS or killer.children <= 3:  # on a slow machine it takes some more to be hit that often
            count = min(50, CHORDS - chords) if chords < CHORDS else 10
            sender = project.chord_sender(chords, count, 0.004)
            while sender.poll() is None or not project.ended(*(body for _, body in project.lines("chord"))):
                time.sleep(killer.random.uniform(0.03, 0.12))
                if len(project.processes(role="child")) >= 3:  # on a slow machine the others come first
                    killer.kill_one()
            assert sender.returncode == 0, project.outputs()
            chords += count
        project.wait_for(lambda: set(project.app.store.counts().get("celery", {})) == {"succeeded"})
    finally:
        for worker in workers.values():
            end(worker)
            kill_group(worker)
    rows = {row.id: row for row in rows_of(project)}
    sent = dict(project.lines("chord"))
    assert len(sent) == chords
    assert len(rows) == 7 * chords
    verdict = check(
        sent=dict.fromkeys(sent.values(), "proj.collect"),
        rows=rows.values(),
        runs=project.runs(),
        killed=killer.killed,
        unacknowledged=6 * chords,
    )
    assert verdict.problems == [], project.outputs()
    for number, task_id, attempt, values in project.lines("body"):
        assert task_id == sent[number], "a body that nobody sent"
        assert values == "[0,1,2,3,4]"
        row = rows[task_id]
        assert int(attempt) == row.attempt or row.ended[int(attempt)] == "lost", "a body that ended well ran again"
    print(
        f"{chords} chords, killed {killer.children} children, {killer.supervisors} supervisors; {verdict.ran_twice} of"
        f" {verdict.tasks} tasks ran twice"
    )
    assert killer.children > 3


def test_a_killed_childs_task_runs_again_at_once(tmp_path):
    """The supervisor notices the death, and another process has the row within a second."""
    project = Project(tmp_path)
    with project.running("a", slots=2):
        sent = project.app.send_task("proj.work", (30.0,))
        project.wait_for(project.runs)
        os.kill(project.runs()[0].pid, signal.SIGKILL)
        killed_at = time.monotonic()
        project.wait_for(lambda: len(project.runs()) == 2, 10)
        assert time.monotonic() - killed_at < 3.0
        first, second = project.runs()
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.pid != second.pid
        os.kill(second.pid, signal.SIGKILL)
        project.wait_for(lambda: len(project.runs()) == 3, 10)
        os.kill(project.runs()[2].pid, signal.SIGKILL)
        project.wait_for(lambda: project.ended(sent.id), 10)
        record = project.app.store.task(sent.id)
        assert record.state == "failed"
        assert record.deaths == 3
        assert json.loads(record.result)["type"] == "WorkerLostError"
        assert [attempt.outcome for attempt in project.app.store.attempts(sent.id)] == ["lost"] * 3
        assert len(project.runs()) == 3


def test_an_at_most_once_task_whose_child_is_killed_is_never_run_again(tmp_path):
    project = Project(tmp_path)
    with project.running("a", slots=2):
        sent = project.app.send_task("proj.once", (30.0,))
        project.wait_for(project.runs)
        os.kill(project.runs()[0].pid, signal.SIGKILL)
        project.wait_for(lambda: project.ended(sent.id), 10)
        other = project.app.send_task("proj.work")
        project.wait_for(lambda: project.ended(other.id), 10)
        assert [run.id for run in project.runs()] == [sent.id, other.id]
        assert project.app.store.task(sent.id).state == "failed"
        assert "WorkerLostError" in project.app.store.task(sent.id).result


def test_a_child_whose_supervisor_is_killed_ends_its_task_settles_it_and_goes(tmp_path):
    project = Project(tmp_path)
    worker = project.worker("a", "-c", "1")
    try:
        sent = project.app.send_task("proj.work", (1.5,))
        project.wait_for(project.runs)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        project.wait_for(lambda: project.ended(sent.id), 10)
        assert project.app.store.task(sent.id).state == "succeeded"
        assert len(project.runs()) == 1
        project.wait_for(lambda: not project.processes(role="child"), 10)
    finally:
        kill_group(worker)


def test_another_worker_rescues_what_a_whole_dead_worker_held_and_nothing_that_lives(tmp_path):
    """Supervisor and children killed at once; a live worker beside it keeps its running task."""
    project = Project(tmp_path)
    with project.running("alive", "-Q", "other", slots=1):
        kept = project.app.send_task("proj.work", (4.0,), queue="other")
        project.wait_for(project.runs)
        worker = project.worker("dead", "-c", "1")
        sent = project.app.send_task("proj.work", (30.0,))
        project.wait_for(lambda: len(project.runs()) == 2)
        for record in project.processes("dead@test"):
            os.kill(record.identity.pid, signal.SIGKILL)
        kill_group(worker)
        project.wait_for(lambda: project.app.store.states([sent.id])[sent.id] == "ready", 10)
        project.wait_for(lambda: project.ended(kept.id), 20)
        assert [run.attempt for run in project.runs() if run.id == kept.id] == [1]
        assert project.app.store.task(kept.id).state == "succeeded"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT], ids=["warm", "cold"])
def test_a_stop_in_order_counts_no_death(tmp_path, how):
    """Warm: what runs is finished. Cold: it is given back. In both nothing is held afterwards and nobody died."""
    project = Project(tmp_path)
    worker = project.worker("a", "-c", "1")
    try:
        sent = [project.app.send_task("proj.work", (1.0,)).id for _ in range(3)]
        project.wait_for(project.runs)
        worker.send_signal(how)
        worker.wait(20)
        states = project.app.store.states(sent)
        assert sorted(states.values()) == (
            ["ready", "ready", "succeeded"] if how == signal.SIGTERM else ["ready", "ready", "ready"]
        )
        assert not project.app.store.processes()
        assert all(project.app.store.task(task_id).deaths == 0 for task_id in sent)
    finally:
        kill_group(worker)


def test_a_process_that_is_only_stopped_keeps_its_task(tmp_path):
    """A frozen child gives no sign of life for many leases; it lives, so nobody takes its task, and it ends it."""
    project = Project(tmp_path, worker_lease=0.4, worker_heartbeat_interval=0.1)
    with project.running("frozen", slots=1) as frozen, project.running("other", slots=1):
        sent = project.app.send_task("proj.work", (0.5,))
        project.wait_for(project.runs)
        holder = project.runs()[0].pid
        os.kill(holder, signal.SIGSTOP)
        try:
            time.sleep(2.0)  # what is waited for is that nothing happens
            assert project.app.store.states([sent.id]) == {sent.id: "running"}
        finally:
            os.kill(holder, signal.SIGCONT)
        project.wait_for(lambda: project.ended(sent.id), 10)
        assert project.app.store.task(sent.id).state == "succeeded"
        assert len(project.runs()) == 1
        assert frozen.poll() is None


def test_a_revoked_task_never_starts_though_no_worker_was_there(tmp_path):
    """The revoke is a row in the file, so a worker that starts later knows of it."""
    project = Project(tmp_path)
    sent = [project.app.send_task("proj.work").id for _ in range(20)]
    revoked = project.app.store.revoke(sent[:10])
    assert sorted(revoked) == sorted(sent[:10])
    with project.running("a", slots=2):
        project.wait_for(lambda: project.ended(*sent))
    assert {run.id for run in project.runs()} == set(sent[10:])


def test_a_revoke_under_load_is_before_the_start_or_changes_nothing(tmp_path):
    """Of tasks that are revoked while workers take them: what `revoke` returned never ran, the rest ran."""
    project = Project(tmp_path)
    with project.running("a", slots=2):
        sent: list[str] = []
        asked: set[str] = set()
        revoked: set[str] = set()
        for _ in range(40):
            sent += [project.app.send_task("proj.work", (0.002,)).id for _ in range(10)]
            asked.update(sent[-7:])
            revoked.update(project.app.store.revoke(sent[-7:]))
        project.wait_for(lambda: project.ended(*sent))
    states = project.app.store.states(sent)
    # Beside what `revoke` returned: what was claimed then, given back without having been started, and so not run.
    ended = {task_id for task_id in sent if states[task_id] == "revoked"}
    assert {run.id for run in project.runs()} == set(sent) - ended
    assert revoked
    assert revoked <= ended <= asked
    assert len(project.runs()) == len(sent) - len(ended)
