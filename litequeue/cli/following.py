"""A task that runs, followed: a bar that moves on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from litequeue.core import clock

if TYPE_CHECKING:
    from litequeue.result.async_result import AsyncResult

_WIDTH: Final = 30
"""Characters of the bar."""


class Follower:
    """Shows on stderr where a task stands; `look()` looks, `close()` leaves the terminal as it was."""

    def __init__(self, answer: AsyncResult, color: bool | None = None) -> None:
        self._answer = answer
        self._color = color
        self._stream = sys.stderr
        self._terminal = self._stream.isatty()
        self._plain = not _can_write("━╸", getattr(self._stream, "encoding", None))
        self._began = clock.monotonic()
        self._last = ""

    def look(self) -> None:
        """Show what has changed since the last look."""
        progress = self._answer.progress
        if self._terminal:
            self._redraw(progress)
            return
        line = standing(self._answer) if progress is None else counted(progress)
        if line != self._last:
            self._last = line
            click.echo(line, file=self._stream)

    def close(self) -> None:
        """Take the bar away, so that the result stands alone."""
        if self._terminal and self._last:
            click.echo("\r" + " " * len(self._last) + "\r", nl=False, file=self._stream)
            self._last = ""

    def _redraw(self, progress: Any) -> None:
        seconds = f"{clock.monotonic() - self._began:.0f} s"
        if progress is None:
            line, drawn = f"{standing(self._answer)}  {seconds}", 0
        else:
            shown = bar(progress.done, progress.total, _WIDTH, plain=self._plain)
            line, drawn = f"{shown}  {counted(progress)}".lstrip(), len(shown)
        line = line[: shutil.get_terminal_size().columns - 1]
        if line == self._last:
            return
        rest = " " * (len(self._last) - len(line))
        text = click.style(line[:drawn], fg="green") + line[drawn:]
        click.echo(f"\r{text}{rest}", nl=False, file=self._stream, color=self._color)
        self._last = line


def standing(answer: AsyncResult) -> str:
    """The state, and who runs it."""
    state, worker = answer.state, answer.worker
    return f"{state} on {worker}" if state == "STARTED" and worker else state


def counted(progress: Any) -> str:
    """The progress in figures: `42/100  42%  resizing`."""
    done, total = progress.done, progress.total
    parts = [f"{done:g}" if not total else f"{done:g}/{total:g}  {_share(done, total):.0%}", progress.message or ""]
    return "  ".join(part for part in parts if part)


def bar(done: float, total: float | None, width: int, *, plain: bool = False) -> str:
    """A bar of `width` characters; none where it is not known how much there is to do."""
    if not total:
        return ""
    halves = round(_share(done, total) * width * 2)
    if plain:
        full = halves // 2
        return f"[{'#' * full}{'.' * (width - full)}]"
    full, half = divmod(halves, 2)
    return "━" * full + "╸" * half + " " * (width - full - half)


def _share(done: float, total: float) -> float:
    return min(max(done / total, 0.0), 1.0)


def _can_write(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or sys.getdefaultencoding())
    except (UnicodeError, LookupError):
        return False
    return True
