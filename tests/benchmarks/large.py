"""Send one large canvas and say what that took: `python -m tests.benchmarks.large KIND COUNT` prints one line of JSON.

A program of its own, since a process keeps the memory that it needed once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from litequeue import chain, chord, group
from litequeue.core.records import NORMAL
from tests.benchmarks.machinery import fresh

MEBIBYTE = 1 << 20


def main(kind: str, count: int) -> dict[str, float]:
    """Mebibytes and seconds: `signatures` to make the canvas, `peak` to make and send it, and the rows it became."""
    with fresh(NORMAL) as queue:
        noop, body = queue.task("noop"), queue.task("total")
        group(noop.s(number) for number in range(3)).delay()  # whatever is loaded at the first call
        chain(noop.s(), noop.s()).delay()
        forget_peak()
        before, began = resident(), time.perf_counter()
        signatures = (noop.s(number) for number in range(count))
        canvas = {"group": group, "chain": chain, "chord": lambda header: chord(header, body.s())}[kind](signatures)
        made = resident()
        result = canvas.delay()
        seconds, highest = time.perf_counter() - began, peak()
        assert result is not None
        file = Path(queue.path)
        written = sum(part.stat().st_size for part in (file, file.with_name(file.name + "-wal")) if part.exists())
    return {
        "signatures": (made - before) / MEBIBYTE,
        "peak": (highest - before) / MEBIBYTE,
        "seconds": seconds,
        "file": written / MEBIBYTE,
    }


def nested(depth: int, step: Any, total: Any) -> Any:
    """A chord in a chain in a chord and so on, `depth` of them; gives one more than it has chains."""
    canvas = step.s(0)
    for level in range(depth):
        canvas = chain(canvas, step.s()) if level % 2 == 0 else chord([canvas], total.s())
    return canvas


def resident() -> int:
    """Bytes of memory that this process has now."""
    return psutil.Process().memory_info().rss


def peak() -> int:
    """Bytes of memory that this process had at most; where the system can, since `forget_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def forget_peak() -> None:
    """Count the peak from now on, where the system can."""
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
