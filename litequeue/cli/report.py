"""`litequeue report`: what somebody who is to help must know."""

from __future__ import annotations

import click

from litequeue.cli.invocation import Invocation, json_option


@click.command()
@json_option
@click.pass_obj
def report(call: Invocation) -> int:
    """Show versions, platform, file, settings and workers. Passwords and keys are hidden.

    Example: litequeue -A proj report
    """
    from litequeue.app.report import as_text, facts

    found = facts(call.load_app())
    if call.as_json:
        call.print_json(found)
    else:
        call.print_text(as_text(found))
    return 0
