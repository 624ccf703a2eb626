"""`litequeue help`: the help of the program, or of one command."""

from __future__ import annotations

import click


@click.command()
@click.argument("command", required=False)
@click.pass_context
def help(ctx: click.Context, command: str | None) -> int:
    """Show the help of COMMAND, or of litequeue: `litequeue help worker`."""
    program = ctx.find_root()
    if command is None:
        click.echo(program.get_help())
        return 0
    assert isinstance(program.command, click.Group), "litequeue has commands"
    _, found, _ = program.command.resolve_command(program, [command])
    assert found is not None, "resolve_command raises for an unknown one"
    click.echo(found.get_help(click.Context(found, info_name=command, parent=program)))
    return 0
