"""What a worker does beside running tasks: one duty, one file, the same three methods."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from litequeue import exceptions

logger = logging.getLogger("litequeue.worker")


class Duty:
    """Something done again and again, in a thread of its own."""

    name = "duty"

    def __init__(self, interval: float) -> None:
        """Every `interval` seconds, unless `run_once` says otherwise."""
        self.interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._on_lost: Callable[[str], None] | None = None

    def run_once(self) -> float | None:
        """Do it once; returns the seconds until the next time, None for the usual interval."""
        raise NotImplementedError

    def start(self, on_lost: Callable[[str], None]) -> None:
        """Do it until stopped; `on_lost` is told the reason when the file cannot be used any more."""
        self._on_lost = on_lost
        self._thread = threading.Thread(target=self._run, name=f"litequeue-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the turn that is on."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        wait: float | None = None
        while not self._stop.wait(self.interval if wait is None else wait):
            try:
                wait = self.run_once()
            except exceptions.StoreLost as error:
                if self._on_lost is not None:
                    self._on_lost(str(error))
                return
            except exceptions.OperationalError as error:
                logger.error("%s: %s", self.name, error)
                wait = None
            except Exception:
                logger.exception("The duty %s went wrong; it goes on", self.name)
                wait = None
