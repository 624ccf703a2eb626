"""Waiting for processes and sockets at once, on every system."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

from litequeue.core import clock

_SLICE = 0.02  # seconds: Windows cannot wait for sockets and processes in one call


def wait_for(sockets: Sequence[socket.socket], sentinels: Sequence[Any], timeout: float) -> None:
    """Block until one of `sockets` can be read or a process of `sentinels` has ended, at most `timeout` seconds."""
    if sys.platform == "win32":
        deadline = clock.monotonic() + timeout
        while not wait(sentinels, 0):
            left = deadline - clock.monotonic()
            if left <= 0 or select.select(sockets, [], [], min(left, _SLICE))[0]:
                return
    else:
        wait([*sockets, *sentinels], timeout)
