"""A live view that runs in Textual's own headless terminal, and is driven by keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from litequeue.inspect.viewer.application import Viewer
from tests.cli.conftest import PATIENCE

NARROW, WIDE = (80, 24), (160, 50)
NAMES = {" ": "space", ":": "colon", ".": "full_stop", "*": "asterisk", "/": "slash", "?": "question_mark", "_": "_"}


class Driven:
    """A viewer that runs, and what its screen shows."""

    def __init__(self, viewer: Viewer, pilot: Any) -> None:
        self.viewer = viewer
        self.pilot = pilot

    @property
    def lines(self) -> list[str]:
        """The screen's lines as text."""
        strips = self.viewer.screen._compositor.render_strips()
        return [strip.text.rstrip() for strip in strips]

    @property
    def text(self) -> str:
        """The screen as text."""
        return "\n".join(self.lines)

    def line(self, word: str) -> str:
        """The first line with a word."""
        return next((line for line in self.lines if word in line), "")

    async def until(self, fact: Callable[[], Any], what: str = "it") -> Any:
        """The first true answer of `fact`."""
        deadline = time.monotonic() + PATIENCE
        while not (answer := fact()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not happen:\n{self.text}")
            await self.pilot.pause(0.01)
        return answer

    async def shows(self, *words: str) -> None:
        """Wait until the screen has all of these."""
        await self.until(lambda: all(word in self.text for word in words), repr(words))

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Press the keys of a text."""
        await self.pilot.press(*(NAMES.get(char, char) for char in text))

    async def filter(self, text: str) -> None:
        """Open the list of tasks with this filter."""
        await self.press("slash")
        await self.type(text)
        await self.press("enter")
        await self.until(lambda: self.viewer.tasks_pane.table.has_focus)

    def said(self) -> list[str]:
        """The toasts that were shown."""
        return [each.message for each in self.viewer._notifications]


def drive(app: Any, act: Callable[[Driven], Awaitable[None]], size: tuple[int, int] = NARROW, **options: Any) -> Viewer:
    """Run the viewer, and `act` on it."""
    viewer = Viewer(app, **{"refresh": 0.1, "share": 1.0, **options})

    async def run() -> None:
        async with viewer.run_test(size=size, notifications=True) as pilot:
            await act(Driven(viewer, pilot))

    asyncio.run(run())
    return viewer
