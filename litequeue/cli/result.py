"""`litequeue result`: what a task returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from litequeue.cli import outcome
from litequeue.cli.completing import task_ids, task_names
from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import SECONDS, Option, SectionedHelp
from litequeue.exceptions import LiteQueueCommandException

if TYPE_CHECKING:
    from litequeue.result.async_result import AsyncResult


@click.command(cls=SectionedHelp)
@click.argument("task_id", metavar="ID", shell_complete=task_ids)
@click.option(
    "-t",
    "--task",
    cls=Option,
    metavar="NAME",
    shell_complete=task_names,
    help="The task's name, where its class reads results in a way of its own.",
)
@click.option("--traceback", is_flag=True, cls=Option, help="Show its traceback instead.")
@click.option("--wait", is_flag=True, cls=Option, help="Wait for its end.")
@click.option(
    "--timeout", type=SECONDS, cls=Option, metavar="SECONDS", help="How long to wait; the task goes on. Implies --wait."
)
@click.option("--follow", is_flag=True, cls=Option, help="Wait, and show how far it is. Implies --wait.")
@json_option
@click.pass_obj
def result(
    call: Invocation,
    task_id: str,
    task: str | None,
    traceback: bool,
    wait: bool,
    timeout: float | None,
    follow: bool,
) -> int:
    """Show what the task ID returned.

    The exit code is 1 when it failed, was revoked or has not ended, and when the file does not know it; a line on
    standard error says which.

    Example: litequeue -A proj result 01890a5d-ac96-774b-bcce-b302099a8057 --follow
    """
    answer = _answer(call, task_id, task)
    if not answer.exists():
        raise LiteQueueCommandException(_unknown(answer))
    if follow:
        from litequeue.cli.following import Follower

        follower = Follower(answer, call.color)
        try:
            outcome.wait(answer, timeout, follower.look)
        finally:
            follower.close()
    elif wait or timeout is not None:
        outcome.wait(answer, timeout)
    return outcome.show(call, answer, traceback=traceback, timeout=timeout)


def _answer(call: Invocation, task_id: str, task: str | None) -> AsyncResult:
    if task is None:
        found: AsyncResult = existing_app(call).AsyncResult(task_id)
    else:
        existing_app(call)
        found = call.load_tasks().tasks[task].AsyncResult(task_id)
    return found


def _unknown(answer: AsyncResult) -> str:
    store = answer.app.store
    if store.group(answer.id) is not None:
        return f"{answer.id} is a group; `litequeue graph task {answer.id} --ids` shows its tasks"
    return f"{store.path} has no task {answer.id}; it was never sent there, or has been deleted since"
