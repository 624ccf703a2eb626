"""Remote control: how long a worker takes to answer, idle, and with every slot at work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from litequeue.core.records import NORMAL
from tests.benchmarks.machinery import fresh, percentile
from tests.benchmarks.table import Figure

if TYPE_CHECKING:
    from tests.benchmarks.figures import Sizes

REACH = 50.0  # milliseconds


def answers(sizes: Sizes) -> list[Figure]:
    """From the call to the answer in the caller's hands, one after the other."""
    figures = []
    with fresh(NORMAL) as queue:
        with queue.worker(2) as process:
            wait_for_answer(queue.app, process)
            figures += measured("command answered, idle", queue.app, sizes.roundtrips)
        with queue.held_worker(2) as release:
            figures += measured("command answered, all slots busy", queue.app, sizes.roundtrips)
            release()
    return figures


def wait_for_answer(app: Any, process: Any) -> None:
    """Return when the worker answers."""
    while not app.control.ping():
        if not process.is_running():
            raise RuntimeError("the worker has ended")
        time.sleep(0.01)


def measured(name: str, app: Any, count: int) -> list[Figure]:
    """`count` pings; each must be answered."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        answered = app.control.ping()
        taken.append((time.perf_counter() - began) * 1000)
        if len(answered) != 1:
            raise RuntimeError(f"{answered!r} where one worker runs")
    ours = {share: percentile(taken, share) for share in (0.5, 0.99)}
    return [
        Figure(name=f"{name}, p{share * 100:.0f}", unit="ms", ours=value, reach=REACH, at_least=False)
        for share, value in ours.items()
    ]
