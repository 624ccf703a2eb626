"""`litequeue backup`: a copy of the queue, while it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from litequeue.cli.invocation import Invocation
from litequeue.exceptions import LiteQueueCommandException


@click.command()
@click.argument("path", metavar="PATH", type=click.Path())
@click.option("-f", "--force", is_flag=True, help="Replace a file that is at PATH.")
@click.option("--check", is_flag=True, help="Read the copy to its end, and say whether it is sound.")
@click.pass_obj
def backup(call: Invocation, path: str, force: bool, check: bool) -> int:
    """Copy the queue to the new file PATH, as it is at one instant, while clients and workers go on.

    The copy takes its name when it is whole and on the disk. It is a queue like any other: to restore it, stop
    everything and put it in the place of the file.

    Example: litequeue -A proj backup /backups/queue.db
    """
    from litequeue.cli.existing import existing_app
    from litequeue.cli.sizes import copying
    from litequeue.store import damages_of
    from litequeue.utils import words

    app = existing_app(call)
    with told(), copying(call) as progress:
        app.store.backup(path, progress, overwrite=force)
    path = os.path.abspath(path)
    damages = damages_of(path) if check else None
    size = os.path.getsize(path)
    if call.as_json:
        call.print_json({"file": app.store.path, "copy": path, "size": size, "damages": damages})
    else:
        call.echo(f"Copied {app.store.path} to {path} ({words.size(size)}).")
        for damage in damages or ():
            click.echo(f"{path}: {damage}", err=True)
        if damages == []:
            call.echo("It is sound.")
    return 1 if damages else 0


@contextmanager
def told() -> Iterator[None]:
    """Make one line of what the system says of a file."""
    try:
        yield
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        hint = " Give --force to replace it." if "was not overwritten" in text else ""
        raise LiteQueueCommandException(text + hint) from error
