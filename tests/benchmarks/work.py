"""What the tasks do, ours and the peers'; imports no task queue."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

MEBIBYTE = bytes(range(256)) * 4096


def noop(*args: object) -> None:
    """Nothing."""


def nap(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def spin(seconds: float) -> None:
    """Keep a core busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def moment() -> float:
    """When it was run."""
    return time.time()


def digest(number: int) -> str:
    """The work of the sha256 figure."""
    return hashlib.sha256(MEBIBYTE).hexdigest()


def increment(number: int) -> int:
    """The step of a chain, and the member of a chord."""
    return number + 1


def total(values: list[int]) -> int:
    """The body of a chord."""
    return sum(values)


def wait_at_gate(gate: str) -> None:
    """Say that a slot of the worker has arrived, and hold it until the gate is opened."""
    Path(f"{gate}.{os.getpid()}.{threading.get_ident()}").touch()
    while not os.path.exists(gate):
        time.sleep(0.0005)
