"""What a worker does beside running tasks: one duty, one file, the same three methods."""

from __future__ import annotations

import logging
import threading

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

    def run_once(self) -> float | None:
        """Do it once; returns the seconds until the next time, None for the usual interval."""
        raise NotImplementedError

    def start(self) -> None:
        """Do it until stopped."""
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
            except exceptions.OperationalError as error:
                logger.error("%s: %s", self.name, error)
                wait = None
            except Exception:
                logger.exception("The duty %s went wrong; it goes on", self.name)
                wait = None
