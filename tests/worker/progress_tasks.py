"""Tasks that say how far they are."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from litequeue import LiteQueue

app = LiteQueue("progress_tasks", set_as_current=False)


@app.task(bind=True, name="progress_tasks.report")
def report(self: Any, gate: str) -> str:
    self.progress(3, 12, "counting")
    while not os.path.exists(gate):
        time.sleep(0.002)
    return "counted"


@app.task(bind=True, name="progress_tasks.report_in_a_coroutine")
async def report_in_a_coroutine(self: Any, gate: str) -> str:
    self.progress(3, 12, "counting")
    while not os.path.exists(gate):
        await asyncio.sleep(0.002)
    return "counted"
