"""Workers for tests, inside the test's process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from litequeue.app.base import LiteQueue
from litequeue.contrib.testing.tasks import ping_of
from litequeue.signals import Signal
from litequeue.worker.supervisor import Worker

WORKER_LOGLEVEL = os.environ.get("WORKER_LOGLEVEL", "error")

test_worker_starting = Signal("test_worker_starting")
test_worker_started = Signal("test_worker_started", ("worker", "consumer"))
test_worker_stopped = Signal("test_worker_stopped", ("worker",))


@contextmanager
def start_worker(
    app: LiteQueue,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: int | str = WORKER_LOGLEVEL,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[Worker]:
    """A worker for `app`, ready at the beginning of the block and stopped, warm, at its end.

    The app is made the current and the default one. Entries of its schedule are not fired, unless `beat=True`.
    `ping_task_timeout` and `shutdown_timeout` are in seconds; RuntimeError: the worker did not stop in its time.
    """
    from litequeue.app.embedded import start_worker as start
    from litequeue.result.joining import allow_join_result

    test_worker_starting.send(sender=app)
    app.finalize()
    app.set_current()
    app.set_default()
    kwargs.setdefault("beat", False)
    ping = ping_of(app) if perform_ping_check else None
    embedded = start(app, concurrency=concurrency, pool=pool, loglevel=loglevel, logfile=logfile, **kwargs)
    test_worker_started.send(sender=app, worker=embedded.worker, consumer=None)
    try:
        if ping is not None:
            with allow_join_result():
                answer = ping.delay().get(timeout=ping_task_timeout)
            assert answer == "pong", f"the worker answered the ping with {answer!r}"
        yield embedded.worker
    finally:
        stopped = embedded.stop(timeout=shutdown_timeout)
        test_worker_stopped.send(sender=app, worker=embedded.worker)
        if not stopped:
            raise RuntimeError(
                f"the worker did not stop within {shutdown_timeout:g} s; pass a larger shutdown_timeout if its tasks "
                "take longer"
            )
