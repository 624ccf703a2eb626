"""The commands that workers carry out: the built-in ones, and those of a program.

    from litequeue.worker.control import control_command, inspect_command

    @control_command(args=[("level", str)], signature="<level>")
    def log_level(state, level):
        "Set the level of the log."
        logging.getLogger().setLevel(level)
        return {"ok": f"the level is {level}"}

A command is registered when its module is imported, and called as `function(state, **arguments)`, in a thread of the
worker beside its pool. What it returns is the answer: by custom `{"ok": ...}` or `{"error": ...}`, and anything that
JSON can say. Where it raises, the answer is `{"error": repr}` and the traceback is in the worker's log.
"""

from __future__ import annotations

from litequeue.worker.control import in_process, in_the_file, looking
from litequeue.worker.control.panel import (
    CommandInfo,
    Panel,
    Refused,
    State,
    carry_out,
    control_command,
    inspect_command,
    nok,
    ok,
)

__all__ = (
    "CommandInfo",
    "Panel",
    "Refused",
    "State",
    "carry_out",
    "control_command",
    "in_process",
    "in_the_file",
    "inspect_command",
    "looking",
    "nok",
    "ok",
)
