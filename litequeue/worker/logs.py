"""Log records of child processes, handled in the program that embeds their worker, as if they had been logged there."""

from __future__ import annotations

import json
import logging
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from litequeue.utils.log import RecordSender, levels_are_ours, replay

_LARGEST: Final = 60_000  # bytes of one record; a datagram carries no more everywhere


class LogReceiver:
    """Receives what children log, in a thread."""

    def __init__(self) -> None:
        family = getattr(socket, "AF_UNIX", socket.AF_INET)
        if family == socket.AF_INET:  # no such sockets on Windows: two that know each other do
            self._reader, self.writer = _connected_pair()
        else:
            self._reader, self.writer = socket.socketpair(family, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._run, name="litequeue-logs", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while message := self._reader.recv(1 << 16):
                replay(json.loads(message))

    def close(self) -> None:
        """Handle what has arrived, and end."""
        with suppress(OSError):
            self.writer.send(b"")
            self._thread.join(5)
        self._reader.close()
        self.writer.close()


def _connected_pair() -> tuple[socket.socket, socket.socket]:
    reader, writer = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    reader.bind(("127.0.0.1", 0))
    writer.connect(reader.getsockname())
    return reader, writer


def send_records(writer: socket.socket, level: int) -> None:
    """Send what this process logs, from `level` on, to the receiver."""

    def send(fields: dict[str, Any]) -> None:
        message = json.dumps(fields).encode()
        if len(message) > _LARGEST:
            fields["msg"] = str(fields["msg"])[: _LARGEST // 4] + " … (cut)"
            message = json.dumps({**fields, "exc_text": None, "data": None}).encode()
        writer.send(message)

    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(RecordSender(send))
    root.setLevel(level)
    levels_are_ours(root)
