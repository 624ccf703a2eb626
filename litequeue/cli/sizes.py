"""Sizes as people read them, and a file whose pages are copied as a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from litequeue.cli.invocation import Invocation

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def size_text(size: float) -> str:
    """A number of bytes in the unit that fits: 4.1 MB."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.1f} {_UNITS[unit]}"


@contextmanager
def copying(call: Invocation, label: str = "Copying") -> Iterator[Callable[[int, int], None]]:
    """What a copy reports its progress to: a bar on stderr where that is a terminal, else nothing."""
    shown = sys.stderr.isatty() and not call.quiet and not call.as_json
    bar: Any = None

    def progress(left: int, pages: int) -> None:
        nonlocal bar
        if not shown:
            return
        if bar is None:
            bar = click.progressbar(length=pages, label=label, file=sys.stderr, color=call.color)
            bar.render_progress()
        bar.update(pages - left - bar.pos)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.render_finish()
