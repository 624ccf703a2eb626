"""The live full-screen view of a queue: `litequeue inspect` on a terminal. It needs Textual (`litequeue[viewer]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

__all__ = ("run",)


def run(app: LiteQueue, refresh: float = 1.0, color: bool | None = None) -> int:
    """Show the queue of `app` until the user quits, read anew every `refresh` seconds at most; the exit code.

    `color`: False for none; None: as the terminal has them. ImportError: Textual is not installed.
    """
    from litequeue.inspect.viewer.application import Viewer

    code = Viewer(app, refresh, color).run()
    return 0 if code is None else code
