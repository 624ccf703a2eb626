"""`litequeue purge`: delete what has not started."""

from __future__ import annotations

import click

from litequeue.cli.completing import queues as complete_queues
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import COMMA_SEPARATED, joined
from litequeue.utils.words import counted


@click.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option(
    "-Q",
    "--queues",
    type=COMMA_SEPARATED,
    multiple=True,
    callback=joined,
    metavar="A,B",
    shell_complete=complete_queues,
    help="Only these queues.",
)
@click.option(
    "-X",
    "--exclude-queues",
    "excluded",
    type=COMMA_SEPARATED,
    multiple=True,
    callback=joined,
    metavar="A,B",
    shell_complete=complete_queues,
    help="All queues but these.",
)
@json_option
@click.pass_obj
def purge(call: Invocation, force: bool, queues: tuple[str, ...], excluded: tuple[str, ...]) -> int:
    """Delete every task that has not started. This cannot be undone.

    Without -Q: of every queue that the app declares. Running and finished tasks stay.

    Example: litequeue -A proj purge -Q mail
    """
    from litequeue.cli.queues import selected_queues
    from litequeue.exceptions import QueueNotFound
    from litequeue.pausing import check_queues

    app = call.load_app()
    for name in queues:
        try:
            check_queues(app, [name])
        except QueueNotFound as error:
            call.note(str(error))
    names = selected_queues(app.conf, queues, excluded)
    question = f"This deletes every task that has not started in {_list(names)} of {app.store.path}. Go on?"
    if not force and not click.confirm(question, err=call.as_json):
        return 1
    count = app.store.purge(names)
    if call.as_json:
        call.print_json({"purged": count, "queues": list(names)})
        return 0
    call.echo(purged(count, names) if count else f"Nothing to purge in {_list(names)}.")
    return 0


def purged(count: int, names: tuple[str, ...]) -> str:
    """What a purge did, in one line."""
    return f"Purged {counted(count, 'task')} from {_list(names)}."


def _list(names: tuple[str, ...]) -> str:
    return f"queue{'' if len(names) == 1 else 's'} {', '.join(names)}"
