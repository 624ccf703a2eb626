"""The same work done by other task queues, where they are installed: Celery and Dramatiq on Redis, Huey on SQLite.

Each is set up the way its own documentation recommends, with results kept, two worker processes, and a Redis that
writes nothing to disk. Every measure runs in a process of its own, so that no library is loaded beside another.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tests.benchmarks.machinery import ROOT

if TYPE_CHECKING:
    from tests.benchmarks.figures import Sizes

PEERS = {"celery": ("celery", "redis"), "huey": ("huey",), "dramatiq": ("dramatiq", "redis")}
"""The name of each peer, and the modules it needs."""
MEASURED = {"enqueue", "drain", "latency", "work", "canvas"}


def available(peer: str) -> bool:
    """Whether `peer` can be measured here."""
    needed = PEERS[peer]
    installed = all(importlib.util.find_spec(module) is not None for module in needed)
    return installed and ("redis" not in needed or shutil.which("redis-server") is not None)


def measure_peers(peers: Sequence[str], sizes: Sizes, figures: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each peer, its value for each of our figures it has one for."""
    wanted = sorted(MEASURED.intersection(figures) if figures else MEASURED)
    found: dict[str, dict[str, float]] = {peer: {} for peer in peers}
    for peer in peers:
        for figure in wanted:
            found[peer].update(measure_peer(peer, sizes, figure))
    return found


def measure_peer(peer: str, sizes: Sizes, figure: str) -> dict[str, float]:
    """Take one measure of a peer in a process of its own; nothing where it fails, which is said on stderr."""
    command = [sys.executable, "-m", "tests.benchmarks.peers.measure", peer, json.dumps(asdict(sizes)), figure]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    if done.returncode != 0:
        print(f"{peer}: {figure} could not be measured", file=sys.stderr)
        return {}
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured
