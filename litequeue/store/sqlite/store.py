"""The store: every verb of the contract on one SQLite file."""

from __future__ import annotations

from litequeue.store.sqlite.canvas import Canvases
from litequeue.store.sqlite.enqueue import Enqueueing
from litequeue.store.sqlite.lifecycle import Lifecycle
from litequeue.store.sqlite.processes import Processes
from litequeue.store.sqlite.schedules import Schedules
from litequeue.store.sqlite.views import Views


class SQLiteStore(Enqueueing, Canvases, Lifecycle, Processes, Schedules, Views):
    """A queue in one SQLite file; safe to use from every thread of the process that opened it."""
