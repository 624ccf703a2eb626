"""Events as lines of text, in the form of Celery's `events --dump`; a line for each, tracebacks too."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TextIO

from litequeue.core import clock
from litequeue.events.state import _Newest

__all__ = ("Dumper", "evdump", "humanize_type")

HUMAN_TYPES: Final = {"worker-offline": "shutdown", "worker-online": "started", "worker-heartbeat": "heartbeat"}
_REMEMBERED: Final = 4095
"""Of how many tasks the call is kept, for the lines of their later events."""


def humanize_type(type: str) -> str:
    """A type in words."""
    return HUMAN_TYPES.get(type.lower()) or type.lower().replace("-", " ")


class Dumper:
    """Writes a line for each event."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = sys.stdout if out is None else out
        self._calls: _Newest[str, str] = _Newest(_REMEMBERED)

    def say(self, msg: str) -> None:
        """Write a line, at once, so that it can be piped."""
        print(msg, file=self.out)
        self.out.flush()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Write the line of an event."""
        self.say(self.line(event))

    def line(self, event: Mapping[str, Any]) -> str:
        """The line of an event."""
        fields = dict(event)
        at, type, hostname = clock.to_datetime(fields.pop("timestamp")), fields.pop("type"), fields.pop("hostname")
        task = ""
        if type.startswith("task-") and fields.get("uuid"):
            task = self._task(type, fields)
        rest = ", ".join(f"{name}={fields[name]}" for name in sorted(fields)).replace("\n", "\\n")
        colon = ":" if rest else ""
        said = f"{humanize_type(type)}{colon} {task} {rest}" if task else f"{humanize_type(type)}{colon} {rest}"
        return f"{hostname or '-'} [{at}] {said}".rstrip()

    def _task(self, type: str, fields: dict[str, Any]) -> str:
        uuid, name = fields.pop("uuid"), fields.pop("name", None)
        if type in ("task-received", "task-sent"):
            self._calls[uuid] = f"{name}({uuid}) args={fields.pop('args', None)} kwargs={fields.pop('kwargs', None)}"
        return self._calls.get(uuid) or f"{name}({uuid})"


def evdump(app: Any = None, out: TextIO | None = None) -> None:
    """Write a line for each event that comes, until Ctrl-C."""
    from litequeue.app.current import app_or_default

    dumper = Dumper(out)
    dumper.say("-> evdump: starting capture...")
    with suppress(KeyboardInterrupt, SystemExit):
        app_or_default(app).events.Receiver(handlers={"*": dumper.on_event}).capture()
