"""A station that measures by the clock. Queue and schedule are the file station.db in the folder where you are."""

from datetime import datetime
from pathlib import Path

from litequeue import LiteQueue
from litequeue.schedules import crontab

app = LiteQueue("station", broker="station.db")
app.conf.timezone = "Europe/Oslo"
LOG = Path("station.log")


@app.task(bind=True)
def measure(self, sensor):
    """Write one line; it names the instant that the measurement is for, however late it is made."""
    due = datetime.fromisoformat(self.request.headers["periodic_task_due"])
    with LOG.open("a") as log:
        log.write(f"{due:%H:%M:%S} {sensor}\n")


@app.task
def summarise():
    """How many measurements there are."""
    return len(LOG.read_text().splitlines()) if LOG.exists() else 0


app.conf.beat_schedule = {
    # Every second; what was missed while nothing ran is made up for, one by one.
    "wind": {"task": "app.measure", "schedule": 1.0, "args": ("wind",), "catchup": "all", "catchup_window": 3600},
    # Each night at four, a little later so that not all stations report at once; never two at the same time.
    "nightly": {
        "task": "app.summarise",
        "schedule": crontab(hour=4, minute=0),
        "jitter": 300,
        "overlap": "skip",
    },
}
