"""`litequeue vacuum`: delete what is past its retention, and give the room back to the disk."""

from __future__ import annotations

from typing import Any

import click

from litequeue.cli.invocation import Invocation
from litequeue.exceptions import LiteQueueCommandException, StoreForeign


@click.command()
@click.option("--full", is_flag=True, help="Write the whole file anew; nobody else can write meanwhile.")
@click.option("-f", "--force", is_flag=True, help="With --full: also a file that another program uses too.")
@click.pass_obj
def vacuum(call: Invocation, full: bool, force: bool) -> int:
    """Delete tasks that are past their retention, and give the free room of the file back to the disk.

    Workers do the same, little by little. Others go on meanwhile; not so with --full, which puts pages in order too,
    and takes some seconds for every 100 MB.

    Example: litequeue -A proj vacuum
    """
    from litequeue.cli.existing import existing_app

    if force and not full:
        raise click.UsageError("--force goes with --full")
    app = existing_app(call)
    before = app.store.file()
    pruned = 0
    while batch := app.store.prune(app.conf.prune_batch):
        pruned += batch
    if full:
        try:
            app.store.compact(force)
        except StoreForeign as error:
            raise LiteQueueCommandException(f"{error} `litequeue vacuum --full --force` does it.") from error
    else:
        app.store.shrink()
    _report(call, pruned, before, app.store.file())
    return 0


def _report(call: Invocation, pruned: int, before: Any, after: Any) -> None:
    from litequeue.utils import words

    if call.as_json:
        sizes = {
            when: {"size": file.size, "wal_size": file.wal_size, "free": file.free_pages * file.page_size}
            for when, file in (("before", before), ("after", after))
        }
        call.print_json({"file": after.path, "pruned": pruned, **sizes})
        return
    call.echo(
        f"Pruned {words.counted(pruned, 'task')} past the retention or the expiry."
        if pruned
        else "There was nothing to prune."
    )
    had, has = (words.size(file.size + file.wal_size) for file in (before, after))
    call.echo(f"{after.path}: {had} before, {has} now")
    if after.free_pages:
        call.note(f"{words.size(after.free_pages * after.page_size)} of it is free; --full gives it back to the disk")
    if after.wal_size:
        call.note(f"{words.size(after.wal_size)} of it is the WAL, which begins anew when no reader needs it")
