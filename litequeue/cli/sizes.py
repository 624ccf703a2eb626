"""How far the copy of a file is, as a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from litequeue.cli.invocation import Invocation


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
