"""A Redis of our own for the benchmark: a free port on this host alone, nothing written to disk."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.machinery import new_folder, running


@contextmanager
def redis_server() -> Iterator[str]:
    """Yields the URL of a Redis that lives as long as the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with new_folder() as folder:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
        with running([*command, "--save", "", "--appendonly", "no"]):
            wait_for_port(port)
            yield f"redis://127.0.0.1:{port}/0"


def wait_for_port(port: int) -> None:
    """Return when something listens on `port` of this host."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
