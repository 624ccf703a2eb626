"""`litequeue completion`: the script with which a shell completes command lines."""

from __future__ import annotations

import click

from litequeue.cli.invocation import Invocation

PROGRAM = "litequeue"
VARIABLE = "_LITEQUEUE_COMPLETE"
"""Set by the script when it asks; click answers."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(call: Invocation, shell: str) -> int:
    """Print what completes command lines in SHELL: commands, options, queues, names of tasks and ids.

    \b
    bash   litequeue completion bash > ~/.local/share/bash-completion/completions/litequeue
    zsh    litequeue completion zsh > ~/.zfunc/_litequeue   (a folder of $fpath, before compinit)
    fish   litequeue completion fish > ~/.config/fish/completions/litequeue.fish

    Or for one session: source <(litequeue completion bash). Names and ids come from the app of -A or LITEQUEUE_APP, or
    from the file of -b or LITEQUEUE_BROKER_URL.

    Example: litequeue completion bash > ~/.local/share/bash-completion/completions/litequeue
    """
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click has these three"
    # Of the base class: that of bash first starts a bash, to warn of one that is too old.
    click.echo(ShellComplete.source(found(click.Command(PROGRAM), {}, PROGRAM, VARIABLE)).rstrip())
    return 0
