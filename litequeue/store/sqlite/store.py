"""The store: every verb of the contract on one SQLite file."""

from __future__ import annotations

from litequeue.store.sqlite.canvas import Canvases
from litequeue.store.sqlite.commands import Commands
from litequeue.store.sqlite.controls import Controls
from litequeue.store.sqlite.enqueue import Enqueueing
from litequeue.store.sqlite.lifecycle import Lifecycle
from litequeue.store.sqlite.maintenance import Maintenance
from litequeue.store.sqlite.overview import Overview
from litequeue.store.sqlite.processes import Processes
from litequeue.store.sqlite.reopening import Reopening
from litequeue.store.sqlite.schedules import Schedules
from litequeue.store.sqlite.seeing import Seeing
from litequeue.store.sqlite.views import Views


class SQLiteStore(
    Enqueueing,
    Canvases,
    Lifecycle,
    Processes,
    Controls,
    Reopening,
    Schedules,
    Commands,
    Seeing,
    Overview,
    Maintenance,
    Views,
):
    """A queue in one SQLite file; safe to use from every thread of the process that opened it."""
