"""Signals by name: what a task is to be killed with."""

from __future__ import annotations

import signal
from typing import Any, Final

TERM: Final = "SIGTERM"
"""What Celery kills a task with, unless it is told otherwise."""
_EVERYWHERE: Final = frozenset({TERM, "SIGKILL", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1"})
"""Signals that a worker knows the meaning of also where the system has none of that name."""


def signal_name(value: Any = None) -> str:
    """The name of a signal that is given by name (`SIGKILL`, `kill`), by number (9, `9`), or as one; None: `SIGTERM`.

    ValueError: there is no such signal. TypeError: it is none of these.
    """
    if value is None:
        return TERM
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"signal must be the name or the number of one, as 'SIGTERM', not {value!r}")
    if isinstance(value, int) or value.strip().isdecimal():
        number = int(value)
        found = next((each.name for each in signal.Signals if each == number), None)
    else:
        name = value.strip().upper()
        name = name if name.startswith("SIG") else f"SIG{name}"
        found = name if name in _EVERYWHERE or name in signal.Signals.__members__ else None
    if found is None:
        known = ", ".join(sorted(_EVERYWHERE.union(signal.Signals.__members__)))
        raise ValueError(f"this system has no signal {value!r}; it has {known}")
    return found
