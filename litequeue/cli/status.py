"""`litequeue status`: who answers."""

from __future__ import annotations

import click

from litequeue.cli.control import EXIT_UNAVAILABLE, destination_option, is_error, nobody, show
from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import SECONDS, Option, SectionedHelp
from litequeue.exceptions import LiteQueueCommandException
from litequeue.utils.words import counted


@click.command(cls=SectionedHelp)
@destination_option
@click.option(
    "-t",
    "--timeout",
    type=SECONDS,
    default=1.0,
    show_default=True,
    cls=Option,
    metavar="SECONDS",
    help="How long to wait for answers.",
)
@json_option
@click.pass_obj
def status(call: Invocation, destination: tuple[str, ...], timeout: float) -> int:
    """Show which workers answer. The exit code is 69 when none does.

    Example: litequeue -A proj status --timeout 5
    """
    app = existing_app(call)
    with call.telling_warnings():
        answers = app.control.ping(destination=list(destination) or None, timeout=timeout)
    online = [answer for answer in answers if not any(is_error(said) for said in answer.values())]
    if call.as_json:
        call.print_json({node: said for answer in answers for node, said in answer.items()})
    else:
        for answer in answers:
            call.print_text(show(answer) if answer not in online else show(answer).partition("\n")[0])
    if not online:
        raise LiteQueueCommandException(nobody(app, ",".join(destination) or None), exit_code=EXIT_UNAVAILABLE)
    if not call.as_json:
        call.echo(f"\n{counted(len(online), 'node')} online.")
    return 0
