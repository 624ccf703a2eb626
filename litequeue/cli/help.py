"""`litequeue help`: the help of the program, or of one command."""

from __future__ import annotations

import click


@click.command()
@click.argument("command", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help(ctx: click.Context, command: tuple[str, ...]) -> int:
    """Show the help of COMMAND, or of litequeue.

    Example: litequeue help schedule add
    """
    inner = ctx.find_root()
    for name in command:
        if not isinstance(inner.command, click.Group):
            raise click.UsageError(f"{inner.info_name} has no commands", ctx)
        _, found, _ = inner.command.resolve_command(inner, [name])
        assert found is not None, "resolve_command raises for an unknown one"
        inner = click.Context(found, info_name=name, parent=inner)
    click.echo(inner.get_help())
    return 0
