"""How often each part of a queue is read by who looks again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from litequeue.core import clock

_Part = TypeVar("_Part")


class Pace:
    """How often each part is read: what took t seconds is not read again before t / `share` seconds have passed.

    Never more than once in `least` seconds, and at least once in `most`.
    """

    def __init__(self, share: float = 0.01, least: float = 1.0, most: float = 10.0) -> None:
        self.share, self.least, self.most = share, least, most
        self._parts: dict[str, Any] = {}
        self._due: dict[str, float] = {}

    def read(self, part: str, function: Callable[[], _Part]) -> _Part:
        """What `function` gives, which is called when the part is due, else what it gave last."""
        if not self.is_due(part):
            return self._parts[part]  # type: ignore[no-any-return]
        began = clock.monotonic()
        value = self._parts[part] = function()
        ended = clock.monotonic()
        self._due[part] = began + min(max((ended - began) / self.share, self.least), self.most)
        return value

    def is_due(self, part: str) -> bool:
        """Whether the next `read` of the part calls its function."""
        return clock.monotonic() >= self._due.get(part, 0.0)

    def expire(self, *parts: str) -> None:
        """Let these parts be read at once the next time, without any: all of them, as after a change of one's own."""
        for part in parts or tuple(self._due):
            self._due.pop(part, None)
