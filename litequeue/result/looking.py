"""Looking at the file again and again, until what somebody waits for has come, or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from litequeue.core import clock

if TYPE_CHECKING:
    from litequeue.store.contract import Store


def looks(
    store: Store, timeout: float | None, interval: float = 0.5, between: Callable[[], Any] | None = None
) -> Iterator[None]:
    """Yield now, and again each time the file may have changed, at least every `interval` seconds; ends after
    `timeout` seconds, never with None. `between()` is called after each look that was in vain."""
    began = clock.monotonic()
    deadline = None if timeout is None else began + timeout
    longest = max(interval, 0.001)
    while True:
        seen = store.changes()
        before = clock.monotonic()
        yield
        cost = clock.monotonic() - before
        if between is not None:
            between()
        pause = longest
        if deadline is not None:
            pause = min(pause, deadline - clock.monotonic())
            if pause <= 0:
                return
        store.wait_for_change(seen, pause)
        _linger(clock.monotonic() - began, cost)


def _linger(waited: float, cost: float) -> None:
    """Let changes gather: who has waited long may wait 2 % longer, and leaves the processor to the workers.

    On a busy file every commit is a change, some thousand a second. `cost` is what the last look took: a look at
    thousands of tasks is not repeated at once.
    """
    if waited > 0.05:
        time.sleep(min(waited * 0.02, max(0.01, 4 * cost)))
