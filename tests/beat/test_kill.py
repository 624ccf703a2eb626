"""Several schedulers on one file, some of which are killed at any moment: every instant is fired exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from litequeue import LiteQueue
from litequeue.core import clock
from tests.beat.conftest import Run

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("LITEQUEUE_TEST_BEAT_SECONDS", "5"))
"""How long schedulers are killed; some seconds are enough to see each kind of end, a minute to believe it."""
INTERVAL = 1.0 if SECONDS >= 30 else 0.25
SCHEDULERS = 5

PROGRAM = """
import sys
from litequeue import LiteQueue
from litequeue.beat.ticking import Ticking

app = LiteQueue("killed", broker=sys.argv[1], durability="normal")
beat = Ticking(app.store, "beat@test")
beat.start()
print("ready", flush=True)
while True:
    seconds = beat.tick()
    if seconds:
        beat.wait(seconds)
"""


def start(path: str) -> subprocess.Popen[str]:
    """One more scheduler."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, path], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_every_instant_is_fired_once_whoever_dies(app: LiteQueue, runs: Callable[[str], list[Run]]) -> None:
    names = [f"e{number}" for number in range(4)]
    for name in names:
        app.schedules.add(name, "proj.add", INTERVAL, catchup="all", overlap="queue" if name == "e1" else "allow")
    app.schedules.add("last", "proj.add", INTERVAL)
    app.schedules.add("put off", "proj.add", INTERVAL, catchup="all", jitter=INTERVAL / 2)
    anchors = {entry.name: entry.anchor for entry in app.store.schedules()}
    beats = [start(app.store.path) for _ in range(SCHEDULERS)]
    randomly = random.Random(int(time.time()))
    killed = 0
    try:
        for beat in beats:
            assert beat.stdout is not None
            assert beat.stdout.readline() == "ready\n"
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(randomly.uniform(0, 0.4))
            victim = randomly.randrange(SCHEDULERS)
            beats[victim].send_signal(signal.SIGKILL)
            beats[victim].wait()
            beats[victim] = start(app.store.path)
            killed += 1
    finally:
        for beat in beats:
            beat.kill()
            beat.wait()
            assert beat.stdout is not None
            beat.stdout.close()
    assert killed >= SECONDS
    last = app.start_worker(beat=True, concurrency=1)  # what nobody was left for
    time.sleep(2 * INTERVAL)
    last.stop()
    for name in (*names, "put off"):
        entry = app.store.schedule(name)
        assert entry is not None
        numbers = [round((run.due - anchors[name]) / INTERVAL) for run in runs(name)]
        assert numbers == list(range(1, len(numbers) + 1)), name
        assert len(numbers) >= SECONDS / INTERVAL - 1
        assert (entry.total_run_count, entry.skipped) == (len(numbers), 0)
        assert clock.now() - runs(name)[-1].due < 10 * INTERVAL
    entry = app.store.schedule("last")
    assert entry is not None
    assert entry.next_instant is not None
    passed = round((entry.next_instant - anchors["last"]) / INTERVAL) - 1
    assert entry.total_run_count == len(runs("last"))
    assert entry.total_run_count + entry.skipped == passed
