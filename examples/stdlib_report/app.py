"""The app: one line says which file the queue is, one says where the tasks are."""

from pathlib import Path

from litequeue import LiteQueue

app = LiteQueue(
    "stdlib_report",
    # LITEQUEUE_BROKER_URL in the environment goes before this; run.py sets it, so that each run has a fresh file.
    broker=str(Path(__file__).with_name("stdlib_report.db")),
    include=["tasks"],
)
