"""Which process this is, and whether another one lives, exactly.

A pid alone is given again; a pid with its start time, under one boot and one pid namespace, never names two processes.
On Linux the start time is read in clock ticks since boot (field 22 of /proc/PID/stat), which no change of the wall
clock moves.
"""

from __future__ import annotations

import functools
import os
import socket
import sys

from litequeue.core.records import Identity

_LINUX = sys.platform.startswith("linux")


@functools.cache
def _boot() -> str:
    if _LINUX:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    import psutil

    return str(int(psutil.boot_time()) // 60)  # minutes: some systems recompute it by a second or two


def _namespace() -> str:
    if _LINUX:
        return os.readlink("/proc/self/ns/pid")
    return ""


def _started(pid: int) -> str | None:
    """The start time of the process, or None when there is none (a zombie has ended)."""
    if _LINUX:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZXx" else fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def current() -> Identity:
    """The identity of this process."""
    pid = os.getpid()
    started = _started(pid)
    assert started is not None, "this process runs"
    return Identity(host=socket.gethostname(), boot=_boot(), namespace=_namespace(), pid=pid, started=started)


def is_alive(identity: Identity) -> bool | None:
    """True or False where it can be known for certain; None for a process of another host or pid namespace."""
    if identity.host != socket.gethostname():
        return None
    if identity.boot != _boot():
        return False
    if identity.namespace != _namespace():
        return None
    return _started(identity.pid) == identity.started
