"""`litequeue upgrade`: bring the file of an older version up to date."""

from __future__ import annotations

from typing import Any

import click

from litequeue.cli.invocation import Invocation
from litequeue.exceptions import LiteQueueCommandException


@click.command()
@click.option("--check", is_flag=True, help="Only say what would be done; the exit code is 1 where there is something.")
@click.option("--backup", "copy", metavar="PATH", type=click.Path(), help="Copy the file to PATH first.")
@click.option("-f", "--force", is_flag=True, help="Also while workers run; and replace a file that is at PATH.")
@click.pass_obj
def upgrade(call: Invocation, check: bool, copy: str | None, force: bool) -> int:
    """Bring a file that an older litequeue wrote up to date, in one transaction, or not at all.

    A worker, or the first call of a task, does the same by itself. Stop the workers of the older version first: they
    would meet a file that they do not know.

    Example: litequeue -A proj upgrade --backup before.db
    """
    from litequeue.app.broker import MEMORY, broker_path
    from litequeue.store import look

    app = call.load_app(creates=True)  # which it does not: `look` refuses what is not there
    path = broker_path(app.conf.broker_url)
    if path == MEMORY:
        raise LiteQueueCommandException("a queue in memory is always of this version; give the path of a file")
    version, newest, workers = look(path)
    needed = version < newest
    if check or not needed:
        _report(call, path, version, newest, upgraded=False)
        return 1 if needed else 0
    if not force:
        _refuse_running(path, workers)
    if copy is not None:
        _copy(call, path, copy, force)
    app.store.connection_info()
    _report(call, path, version, newest, upgraded=True)
    return 0


def _refuse_running(path: str, workers: list[tuple[str, Any]]) -> None:
    from litequeue.core.process import is_alive

    running = [f"{name} (pid {identity.pid})" for name, identity in workers if is_alive(identity)]
    if running:
        raise LiteQueueCommandException(
            f"{path}: {', '.join(running)} of the older version would meet a file that it does not know; stop it"
            " first, or give --force"
        )


def _copy(call: Invocation, path: str, copy: str, force: bool) -> None:
    from litequeue.cli.backup import told
    from litequeue.cli.sizes import copying
    from litequeue.store import copy_file

    with told(), copying(call) as progress:
        copy_file(path, copy, progress, overwrite=force)


def _report(call: Invocation, path: str, version: int, newest: int, *, upgraded: bool) -> None:
    if call.as_json:
        call.print_json(
            {"file": path, "version": version, "newest": newest, "needed": version < newest, "upgraded": upgraded}
        )
    elif upgraded:
        call.echo(f"Upgraded {path} from schema version {version} to {newest}.")
    elif version < newest:
        call.echo(f"{path} has schema version {version}; `litequeue upgrade` would bring it to {newest}.")
    else:
        call.echo(f"{path} has schema version {version}, the newest. There is nothing to do.")
