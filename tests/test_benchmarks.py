"""The benchmarks run: every figure is measured at tiny sizes. How large it is says nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIGURES = [
    *("enqueue", "bulk", "drain", "latency", "work", "waiting", "idle", "start", "memory"),
    *("canvas", "send", "members", "large"),
    *("beat", "instants"),
    *("deadlines", "deaths", "rates", "fairness", "control", "events", "looking"),
]


@pytest.mark.parametrize("figure", FIGURES)
def test_each_figure_can_be_measured(figure: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", figure, "--size", "tiny", "--peers", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    if figure != "memory" or Path("/proc/self/smaps_rollup").exists():
        assert measured
    assert all(one["ours"] > 0 for one in measured if figure not in ("idle", "large"))


def test_every_figure_is_listed() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    ).stdout
    assert ", ".join(FIGURES) in " ".join(help_text.split())
