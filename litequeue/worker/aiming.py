"""Signals to a process while it runs the very task that they are meant for.

Between the look at what a process runs and the signal it may go on to another task. So it is suspended, looked at once
more, and only then signalled, or let go on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from litequeue import exceptions
from litequeue.core import clock

if TYPE_CHECKING:
    import psutil

logger = logging.getLogger("litequeue.worker")

_SUSPENDED_WITHIN: Final = 0.5  # seconds: one that waits for its disk stops when that has answered
_LOOK: Final = 0.0001  # seconds between looks whether it has stopped
_FOUND_WITHIN: Final = 0.25  # seconds that `still` may take
_TRIES: Final = 3


def strike(pid: int, still: Callable[[], bool], act: Callable[[], None]) -> bool:
    """Suspend the process, and `act` on it if `still()` says that it is at what is meant; False where it was not.

    In a file without a WAL the process may hold the very lock that `still` waits for; then it is let go on for a
    moment, and suspended again.
    """
    import psutil

    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for _ in range(_TRIES):
            process.suspend()
            _wait_until_suspended(process)
            patience = _Patience(process)
            try:
                patience.start()
                found = still()
            except exceptions.OperationalError as error:
                logger.error("%s; process %d is left alone for now", error, pid)
                found = False
            patience.cancel()
            if not patience.over:
                if found:
                    act()
                with suppress(psutil.NoSuchProcess):  # that may have been its end
                    process.resume()
                return found
    return False


def _wait_until_suspended(process: psutil.Process) -> None:
    """A signal stops a process when that next leaves the kernel."""
    deadline = clock.monotonic() + _SUSPENDED_WITHIN
    while os.name == "posix" and process.status() not in ("stopped", "zombie", "dead"):
        if clock.monotonic() > deadline:
            return
        time.sleep(_LOOK)


class _Patience(threading.Timer):
    """Lets a suspended process go on when the look takes too long."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(_FOUND_WITHIN, self._end)
        self._process = process
        self.daemon = True
        self.over = False

    def _end(self) -> None:
        import psutil

        self.over = True
        with suppress(psutil.NoSuchProcess):
            self._process.resume()
