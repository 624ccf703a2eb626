"""The app that is measured. A worker imports it with `-A tests.benchmarks.tasks`; the file and the durability come from
the environment, so that one module serves every fresh queue."""

from __future__ import annotations

import os

from litequeue import LiteQueue
from tests.benchmarks import work


def make_app(path: str, durability: str) -> LiteQueue:
    """An app with the benchmark's tasks on the file `path`."""
    app = LiteQueue("benchmarks", broker=path, set_as_current=False)
    app.conf.update(durability=durability)
    app.task(name="noop")(work.noop)
    app.task(name="gate")(work.wait_at_gate)
    app.task(name="digest")(work.digest)
    app.task(name="increment")(work.increment)
    app.task(name="total")(work.total)
    app.task(name="nap")(work.nap)
    app.task(name="spin")(work.spin)
    app.task(name="moment")(work.moment)
    return app


if "BENCHMARK_FILE" in os.environ:
    app = make_app(os.environ["BENCHMARK_FILE"], os.environ["BENCHMARK_DURABILITY"])
