"""Fires the entries of the schedule. Every worker may do it; an instant is fired once, whoever is first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from litequeue import exceptions
from litequeue.worker.duties import Duty, logger

if TYPE_CHECKING:
    from litequeue.worker.runtime import Beat


class Ticker(Duty):
    """Runs a scheduler, which finds its own times to sleep, in the duty's thread."""

    name = "beat"

    def __init__(self, beat: Beat) -> None:
        super().__init__(interval=0)
        self._beat = beat

    def run_once(self) -> None:
        """Fire what is due, until stopped."""
        self._beat.start(embedded_process=True)

    def start(self, on_lost: Callable[[str], None]) -> None:
        """Fire entries until stopped; `on_lost` is told the reason when the file cannot be used any more."""
        self._on_lost = on_lost
        self._thread = threading.Thread(target=self._serve, name="litequeue-beat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the turn that is on."""
        self._beat.stop()
        super().stop()

    def leave(self, seconds: float) -> None:
        """End, and take its entry out of the file; if the turn that is on takes longer than `seconds`, without it."""
        self._beat.stop()
        if self._thread is not None:
            self._thread.join(seconds)

    def _serve(self) -> None:
        try:
            self.run_once()
        except exceptions.StoreLost as error:
            if self._on_lost is not None:
                self._on_lost(str(error))
        except Exception:
            logger.exception("The scheduler of this worker went wrong and has ended; the worker goes on")
