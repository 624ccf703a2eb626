"""Everything at once, for a while: two workers under fire, steered all the time; at the end the total-queue checker.

`LITEQUEUE_SOAK_SECONDS=60` goes on for longer, `LITEQUEUE_CRASH_SEED=2` chooses otherwise.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import apsw
import psutil
import pytest

from litequeue.core import process, state
from litequeue.exceptions import NotUniqueError
from litequeue.utils.nodenames import default_nodename

from .checker import Row, check
from .invariants import violations
from .power_loss import SEED
from .project import ROOT, Run, end, kill_group

if os.name != "posix":
    pytest.skip("SIGKILL, and locks of files", allow_module_level=True)

from . import soak_tasks as tasks

SECONDS = float(os.environ.get("LITEQUEUE_SOAK_SECONDS", "6"))
"""How long tasks are sent under fire."""
BACKLOG = 120
"""No more is sent while so many have not ended: the machine may be slow, and have other things to do."""
SLOTS = {"prefork": 3, "threads": 4, "asyncio": 4}
LIMIT = 0.3
"""Seconds that a task which is too slow may take."""
TOO_SLOW = 20.0
"""Seconds that it would take."""
KEYS = {"key-1": 1, "key-2": 2, "key-3": 3}
PAUSED_TASK = tasks.work.name


class Line(NamedTuple):
    """What a task noted."""

    kind: str
    id: str
    pid: int
    attempt: int
    at: float
    words: tuple[str, ...]


class Task(NamedTuple):
    """What the file says of a task at the end, beside what the checker asks for."""

    row: Row
    finished_at: float | None
    starts: tuple[float, ...]
    """When its attempts were claimed, those that the file has kept."""


class Soak:
    """Two workers on one file, what was asked of them, and who was killed."""

    def __init__(self, folder: Path, pool: str) -> None:
        self.folder = folder
        self.log = folder / "soak.log"
        self.queue = folder / "queue.db"
        self.random = random.Random(SEED)
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), tasks.QUEUE: str(self.queue), tasks.LOG: str(self.log)}
        self.env["PYTHONWARNINGS"] = "default"
        self.output: list[Path] = []
        self.pools = {default_nodename("a@soak"): "prefork", default_nodename("b@soak"): pool}
        self.workers = {node: self.start(node) for node in self.pools}
        self.sent: dict[str, str] = {}
        self.failures: dict[str, set[str]] = defaultdict(set)
        self.revoked: set[str] = set()
        self.killed: set[int] = set()
        self.counts: Counter[str] = Counter()

    # The workers

    def start(self, node: str) -> subprocess.Popen[bytes]:
        """Start `litequeue worker` as a process of its own."""
        pool = self.pools[node]
        output = self.folder / f"output{len(self.output)}.txt"
        self.output.append(output)
        options = ["-n", node, "-P", pool, "-c", str(SLOTS[pool]), "-Q", f"celery,{tasks.SLOW}"]
        with output.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "litequeue", "-A", "tests.crash.soak_tasks", "worker", *options],
                cwd=self.folder,
                env=self.env,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def registered(self, role: str) -> list[Any]:
        """The registered processes of this role that live."""
        found = tasks.app.store.processes()
        return [record for record in found if record.role == role and process.is_alive(record.identity)]

    def tree(self) -> list[psutil.Process]:
        """Every process that a worker of this file has left: all of them carry its environment."""
        found = []
        for each in psutil.process_iter():
            try:
                if each.status() != psutil.STATUS_ZOMBIE and each.environ().get(tasks.LOG) == str(self.log):
                    found.append(each)
            except psutil.Error:
                continue
        return found

    def outputs(self) -> str:
        """What the workers printed, the last of it."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.output[-4:])

    def wait_for(self, what: str, fact: Any, seconds: float = 90.0) -> None:
        """Wait until `fact()` is true."""
        deadline = time.monotonic() + seconds
        while not fact():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s\n{self.open()}\n{self.outputs()}"
            time.sleep(0.02)

    def open(self) -> str:
        """What has not ended."""
        store = tasks.app.store
        records = [store.task(task_id) for task_id, name in store.states(self.sent).items() if name in state.OPEN]
        return "\n".join(str(record) for record in records[:10] if record) + f"\n{store.counts()}"

    # What is done to them

    def send_some(self) -> None:
        """Enqueue a few tasks; now and then many that wait for each other: of one key, or of the limited name."""
        chance = self.random.random()
        if chance < 0.03:
            for _ in range(10):
                self.send(tasks.limited)
        elif chance < 0.06:
            key = self.random.choice(sorted(KEYS))
            for _ in range(6):
                self.send(tasks.keyed, key)
        else:
            for _ in range(self.random.randrange(4)):
                self.send()

    def send(self, kind: Any = None, key: str | None = None) -> None:
        """Enqueue one task, of some kind if none is given."""
        choose, seconds = self.random, self.random.choice((0.0, 0.0, 0.01, 0.03, 0.1))
        kind = kind or choose.choice(
            [tasks.work] * 4 + [tasks.wait, tasks.once, tasks.again, tasks.broken, tasks.sleepy, tasks.overtime]
            + [tasks.keyed] * 4 + [tasks.unique, tasks.unique, tasks.replaced, tasks.limited, tasks.slow]
            + [tasks.cooperative]
        )  # fmt: skip
        options: dict[str, Any] = {"countdown": choose.choice((None, None, None, 0.05, 0.3))}
        args: tuple[Any, ...] = (seconds,)
        errors = set()
        if kind is tasks.keyed:
            key = key or choose.choice(sorted(KEYS))
            args, options["concurrency_limit"] = (key, seconds * 2, KEYS[key]), KEYS[key]
        elif kind is tasks.unique:
            args, options["on_conflict"] = (f"unique-{choose.randrange(3)}", 0.1), choose.choice(("existing", "raise"))
        elif kind is tasks.replaced:
            args = (f"replaced-{choose.randrange(3)}", seconds)
        elif kind is tasks.limited:
            args = ()
        elif kind is tasks.cooperative:
            args = (0.5,)
        elif kind is tasks.broken:
            errors = {"ValueError"}
        elif kind is tasks.overtime:
            soft = choose.random() < 0.5
            args = (TOO_SLOW,)
            options["soft_time_limit" if soft else "time_limit"] = LIMIT
            errors = {"SoftTimeLimitExceeded" if soft else "TimeLimitExceeded"}
        try:
            result = kind.apply_async(args, **options)
        except NotUniqueError:
            self.counts["refused"] += 1
            return
        self.counts["existed"] += bool(result.existed)
        assert self.sent.setdefault(result.id, kind.name) == kind.name
        self.failures[result.id] |= errors

    def revoke(self) -> None:
        """Revoke one of the last tasks: before its start, or while it runs, with or without terminating it."""
        how = self.random.choice((None, None, "SIGTERM", "SIGKILL", "SIGUSR1"))
        task_id = self.random.choice(list(self.sent)[-60:])
        if self.random.random() < 0.5 and (running := self.running()):
            task_id = self.random.choice(running)
        self.revoked.add(task_id)
        if how == "SIGUSR1":
            self.failures[task_id].add("SoftTimeLimitExceeded")
        if how is None:
            tasks.app.control.revoke(task_id)
        else:
            tasks.app.control.revoke(task_id, terminate=True, signal=how)
        self.counts[f"revoked {how or 'plain'}"] += 1

    def running(self) -> list[str]:
        """The ids of tasks that run."""
        found = tasks.app.store.states(list(self.sent)[-300:])
        return [task_id for task_id, name in found.items() if name == state.RUNNING]

    def kill(self) -> None:
        """Kill a child, or (one time in six) a supervisor, which is started again."""
        if self.random.random() < 1 / 6:
            node = self.random.choice(sorted(self.workers))
            self._kill(self.workers[node].pid)
            self.workers[node].wait()
            self.workers[node] = self.start(node)
            self.counts["supervisors killed"] += 1
        elif children := self.registered("child"):
            self._kill(self.random.choice(children).identity.pid)
            self.counts["children killed"] += 1

    def _kill(self, pid: int) -> None:
        self.killed.add(pid)  # first: others may see its death at once
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            self.killed.discard(pid)

    def unended(self) -> int:
        """How many of the last tasks have not ended."""
        counts = tasks.app.store.counts()
        return sum(count for each in counts.values() for name, count in each.items() if name not in state.TERMINAL)

    # What came of it

    def lines(self) -> list[Line]:
        """What the tasks noted, in order; a line that a dying process did not end does not count."""
        text = self.log.read_text()
        words = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        return [Line(each[0], each[1], int(each[2]), int(each[3]), float(each[4]), tuple(each[5:])) for each in words]

    def tasks(self) -> list[Task]:
        """Every task in the file."""
        db = apsw.Connection(str(self.queue))
        try:
            assert violations(db) == []
            return list(_read(db))
        finally:
            db.close()


def _read(db: apsw.Connection) -> Iterator[Task]:
    ended: dict[int, dict[int, str]] = defaultdict(dict)
    starts: dict[int, list[float]] = defaultdict(list)
    for seq, attempt, outcome, at in db.execute("SELECT seq, attempt, outcome, started_at FROM litequeue_attempts"):
        ended[seq][attempt] = outcome
        if at is not None:
            starts[seq].append(at)
    columns = (
        "seq, id, name, state, attempt, deaths, retries, CASE result_serializer WHEN 'error' THEN result END,"
        " started_at, finished_at"
    )
    for seq, task_id, name, now, attempt, deaths, retries, error, at, finished_at in db.execute(
        f"SELECT {columns} FROM litequeue_tasks"
    ):
        row = Row(
            id=task_id,
            name=name,
            state=now,
            attempt=attempt,
            deaths=deaths,
            retries=retries,
            error=error,
            ended=ended[seq],
        )
        last = () if at is None or at in starts[seq] else (at,)
        yield Task(row, finished_at, (*starts[seq], *last))


class Steering(threading.Thread):
    """Pauses and resumes in the middle; lets pools grow and shrink again and again."""

    def __init__(self, soak: Soak) -> None:
        super().__init__(name="steering")
        self.soak = soak
        self.ended = threading.Event()
        self.paused: tuple[float, float] | None = None
        self.answers: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._steer()
        except BaseException as error:  # shown by the test
            self.error = error
        finally:
            tasks.app.control.resume(queues=tasks.SLOW, tasks=PAUSED_TASK)

    def _steer(self) -> None:
        control = tasks.app.control
        pause_at = time.monotonic() + SECONDS / 3
        change = 1
        while not self.ended.wait(0.3):
            if self.paused is None and time.monotonic() >= pause_at:
                self.paused = self._pause(min(2.0, SECONDS / 6))
            verb = control.pool_grow if change > 0 else control.pool_shrink
            for answer in verb(1, reply=True, timeout=2.0) or []:
                for said in answer.values():
                    self.answers["ok" if "ok" in said else "refused"] += 1
            change = -change

    def _pause(self, seconds: float) -> tuple[float, float]:
        """Pause a queue and a task for so long; returns from when until when nothing of them may be claimed."""
        control = tasks.app.control
        control.pause(queues=tasks.SLOW, tasks=PAUSED_TASK)
        since = time.time()
        self.ended.wait(seconds)
        until = time.time()
        control.resume(queues=tasks.SLOW, tasks=PAUSED_TASK)
        return since, until


@pytest.fixture
def soak(tmp_path: Path, pool: str) -> Iterator[Soak]:
    tasks.app.conf.broker_url = str(tmp_path / "queue.db")
    running = Soak(tmp_path, pool)
    try:
        yield running
    finally:
        for worker in running.workers.values():
            kill_group(worker)
        for left in running.tree():
            left.kill()
        tasks.app.close()


@pytest.mark.parametrize("pool", ["asyncio", "threads"])
def test_soak(soak: Soak, pool: str) -> None:
    print(f"seed {SEED}, {SECONDS:g} s, prefork and {pool}")
    soak.wait_for("workers up", lambda: len(soak.registered("child")) == SLOTS["prefork"])
    soak.wait_for("workers up", lambda: len(soak.registered("worker")) == 2)
    steering = Steering(soak)
    steering.start()
    try:
        burn(soak)
    finally:
        steering.ended.set()
        steering.join()
    assert steering.error is None, steering.error
    soak.wait_for("all ended", lambda: not soak.unended())
    assert tasks.app.control.paused() == {"queues": {}, "tasks": {}}
    soak.wait_for("workers up", lambda: len(soak.registered("worker")) == 2)
    for worker in soak.workers.values():
        assert end(worker, 30) == 0, soak.outputs()
    soak.wait_for("no process is left", lambda: not soak.tree(), 30)
    assert tasks.app.store.processes() == []
    found, lines = soak.tasks(), soak.lines()
    print(f"{len(found)} tasks, {dict(soak.counts)}, pools resized {dict(steering.answers)}")
    print(dict(Counter(task.row.state for task in found)), dict(Counter(line.kind for line in lines)))
    problems = [*judged(soak, found, lines), *never_over(lines), *in_time(found, steering.paused)]
    assert problems == [], "\n".join([*problems, soak.outputs()])
    assert steering.answers["ok"]
    assert soak.counts["children killed"]


def burn(soak: Soak) -> None:
    """Send, revoke and kill, one after the other, as long as the time is not over."""
    deadline = time.monotonic() + SECONDS
    kill_at = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if soak.unended() < BACKLOG:
            soak.send_some()
        if soak.sent and soak.random.random() < 0.1:
            soak.revoke()
        if time.monotonic() >= kill_at:
            soak.kill()
            kill_at = time.monotonic() + soak.random.uniform(0.2, 0.7)
        time.sleep(0.02)


def judged(soak: Any, found: list[Task], lines: list[Line]) -> Iterator[str]:
    """What the total-queue checker says, and what must hold of a task that was revoked, or that ended."""
    snoozed = Counter((line.id, line.attempt) for line in lines if line.kind == "snooze")
    runs = []
    for line in lines:
        if line.kind == "run":
            if snoozed[line.id, line.attempt]:  # a snooze counts as no attempt: the next start has the same number
                snoozed[line.id, line.attempt] -= 1
            else:
                runs.append(Run(line.id, line.pid, line.attempt))
    verdict = check(
        sent=soak.sent,
        rows=[task.row for task in found],
        runs=runs,
        killed=soak.killed,
        once=(tasks.once.name,),
        max_deaths=50,
        failures=soak.failures,
    )
    yield from verdict.problems
    begun, counted, ended = defaultdict(list), defaultdict(list), set()
    for run in runs:
        counted[run.id].append(run)
    for line in lines:
        if line.kind == "run":
            begun[line.id].append(line)
        elif line.kind == "end":
            ended.add((line.id, line.attempt))
    for task in found:
        row, name = task.row, f"{task.row.name}[{task.row.id}]"
        if row.state == state.SUCCEEDED and (row.id, row.attempt) not in ended:
            yield f"{name} succeeded in attempt {row.attempt}, which did not get to its end"
        if row.state == state.SUCCEEDED and row.name in (tasks.broken.name, tasks.overtime.name):
            yield f"{name} succeeded"
        if row.state == state.REVOKED and row.id not in soak.revoked:
            yield f"{name} is revoked, and nobody asked for that: {row.error}"
        for line in begun[row.id]:
            if task.finished_at is not None and line.at > task.finished_at:
                yield f"{name} began {line.at - task.finished_at:.3f} s after its end: {line}"
        for run in counted[row.id]:
            if run.attempt > row.attempt:
                yield f"{name} began attempt {run.attempt}, and the file knows of {row.attempt}"


def never_over(lines: list[Line]) -> Iterator[str]:
    """No more tasks with a key at once than it allows: as the kernel saw it, and as the order of the lines has it."""
    yield from (f"no place was free: {line}" for line in lines if line.kind == "over")
    left = {(line.id, line.attempt, line.pid) for line in lines if line.kind == "out"}
    inside: Counter[str] = Counter()
    for line in lines:
        if line.kind in ("in", "out") and (line.id, line.attempt, line.pid) in left:
            key, limit = line.words
            inside[key] += 1 if line.kind == "in" else -1
            if inside[key] > int(limit):
                yield f"{inside[key]} tasks with {key}, which allows {limit}: {line}"


def in_time(found: list[Task], paused: tuple[float, float] | None) -> Iterator[str]:
    """A limited name keeps to its rate in every second, and nothing that is paused is claimed."""
    starts = sorted(at for task in found if task.row.name == tasks.limited.name for at in task.starts)
    for first, beyond in zip(starts, starts[tasks.RATE :], strict=False):
        if beyond - first < 1.0:
            yield f"{tasks.RATE + 1} starts in {beyond - first:.4f} s from {first}"
    assert paused is not None, "the pause was part of it"
    since, until = paused
    for task in found:
        if task.row.name in (PAUSED_TASK, tasks.slow.name):
            for at in task.starts:
                if since < at < until:
                    yield f"{task.row.name}[{task.row.id}] was claimed {at - since:.3f} s after the pause"


# What it looks for is seen


def line(kind: str, number: int, attempt: int = 1, at: float = 1.0, words: tuple[str, ...] = ()) -> Line:
    return Line(kind, f"id{number}", 100 + number, attempt, at, words)


def test_too_many_with_a_key_are_seen() -> None:
    key = ("key-1", "1")
    begun = [line("in", 1, words=key), line("in", 2, words=key), line("out", 1, words=key)]
    assert list(never_over(begun)) == [], "the second was killed: of that one the lock tells, not the lines"
    assert len(list(never_over([*begun, line("out", 2, words=key)]))) == 1
    assert len(list(never_over([line("over", 1, words=key)]))) == 1
    after = [line("in", 1, words=key), line("out", 1, words=key), line("in", 2, words=key), line("out", 2, words=key)]
    assert list(never_over(after)) == []


def test_too_many_starts_in_a_second_and_starts_in_a_pause_are_seen() -> None:
    def started(name: str, *at: float) -> Task:
        return Task(Row(id="a", name=name, state="succeeded", attempt=1, deaths=0, retries=0), 9.0, at)

    even = [started(tasks.limited.name, number * 1.02 / tasks.RATE) for number in range(40)]
    assert list(in_time(even, (0.0, 0.1))) == []
    assert len(list(in_time([*even, started(tasks.limited.name, 1.01)], (0.0, 0.1)))) > 5
    assert list(in_time([started(tasks.slow.name, 1.0, 3.0)], (1.5, 2.5))) == []
    assert len(list(in_time([started(tasks.slow.name, 1.0, 2.0)], (1.5, 2.5)))) == 1
    assert len(list(in_time([started(PAUSED_TASK, 2.0)], (1.5, 2.5)))) == 1


def test_what_no_task_may_do_is_seen() -> None:
    def end(number: int, name: str, state: str, error: str | None = None) -> Task:
        row = Row(id=f"id{number}", name=name, state=state, attempt=1, deaths=0, retries=0, error=error)
        return Task(row, 2.0, (1.0,))

    def problems(*tasks: Task, lines: list[Line], **asked: Any) -> list[str]:
        sent = {task.row.id: task.row.name for task in tasks}
        known = SimpleNamespace(**{"sent": sent, "killed": set(), "failures": {}, "revoked": set(), **asked})
        return list(judged(known, list(tasks), lines))

    work, ended = end(1, tasks.work.name, "succeeded"), [line("run", 1), line("end", 1)]
    assert problems(work, lines=ended) == []
    assert problems(work, lines=[line("run", 1), line("snooze", 1), *ended]) == [], "a snooze counts as no attempt"
    assert "began attempt 2" in problems(work, lines=[*ended, line("run", 1, 2)])[-1]
    assert "twice in one attempt" in problems(work, lines=[line("run", 1), *ended])[0]
    assert "did not get to its end" in problems(work, lines=[line("run", 1)])[0]
    assert "after its end" in problems(work, lines=[line("run", 1, at=2.5), line("end", 1)])[0]
    broken = end(2, tasks.broken.name, "failed", '{"type":"ValueError"}')
    assert problems(broken, lines=[line("run", 2)], failures={"id2": {"ValueError"}}) == []
    assert len(problems(broken, lines=[line("run", 2)], failures={"id2": {"TimeLimitExceeded"}})) == 1
    revoked = end(3, tasks.work.name, "revoked")
    assert problems(revoked, lines=[], revoked={"id3"}) == []
    assert "nobody asked" in problems(revoked, lines=[])[0]
