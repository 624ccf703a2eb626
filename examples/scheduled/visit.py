"""Add an entry while the worker runs, wait for its runs, and take it away again."""

import time
from pathlib import Path

from app import app, measure

entry = app.schedules.add("rain", measure, 0.5, args=("rain",), max_runs=3)
print(f"{entry.name} is {entry.state}")

log = Path("station.log")
while not log.exists() or log.read_text().count("rain") < 3:
    time.sleep(0.05)

entry = app.schedules.get("rain")
print(f"{entry.name} has {entry.state} after {entry.total_run_count} runs")
app.schedules.remove("rain")
print("next nights:", ", ".join(f"{night:%H:%M %Z}" for night in app.schedules.preview("nightly", 2)))
