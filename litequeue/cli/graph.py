"""`litequeue graph`: a workflow, the workers and the queues as drawings."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

import click

from litequeue.cli.completing import task_ids
from litequeue.cli.existing import existing_app
from litequeue.cli.invocation import Invocation, json_option
from litequeue.cli.options import POSITIVE, SuggestingGroup
from litequeue.exceptions import LiteQueueCommandException

_SLOTS: Final = 8
"""Slots of a worker that are drawn; of more, the first and how many there are."""


@click.group(cls=SuggestingGroup, no_args_is_help=False, invoke_without_command=True)
@click.pass_context
def graph(ctx: click.Context) -> None:
    """Draw a workflow as text, for Mermaid or for Graphviz; the workers or the queues for Graphviz.

    Example: litequeue -A proj graph workers | dot -Tsvg -o workers.svg
    """
    if ctx.invoked_subcommand is None:
        there = [name for name, command in graph.commands.items() if not command.hidden]
        raise click.UsageError(f"draw what? there are: {', '.join(there)}.", ctx)


@graph.command()
@click.argument("task_id", metavar="ID", shell_complete=task_ids)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    show_default=True,
    help="A drawing for the terminal, a flowchart of Mermaid, or the language of Graphviz.",
)
@click.option("--ids", is_flag=True, help="Show the ids, in text.")
@click.option("--ascii", is_flag=True, help="Use characters that every terminal has, in text.")
@click.option(
    "--limit",
    type=POSITIVE,
    default=1000,
    show_default=True,
    metavar="N",
    help="Of a large workflow the nearest tasks.",
)
@json_option
@click.pass_obj
def task(call: Invocation, task_id: str, kind: str, ids: bool, ascii: bool, limit: int) -> int:
    """Draw the workflow that the task or group ID is part of, with the state of each task.

    Example: litequeue -A proj graph task 01890a5d-ac96-774b-bcce-b302099a8057 --format mermaid
    """
    app = existing_app(call)
    found = app.graph(task_id, limit)
    if not found.nodes:
        raise LiteQueueCommandException(f"{app.store.path} has no task and no group {task_id}")
    if call.as_json:
        call.print_json(
            {
                "id": task_id,
                "complete": found.complete,
                "nodes": [node._asdict() for node in found.nodes],
                "edges": [edge._asdict() for edge in found.edges],
            }
        )
    elif kind == "text":
        call.print_text(found.to_text(ids=ids, ascii=ascii or not _can_draw()))
    else:
        call.print_text((found.to_mermaid() if kind == "mermaid" else found.to_dot()).rstrip())
    return 0


def _can_draw() -> bool:
    try:
        "├└│─↓×…".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


@graph.command()
@json_option
@click.pass_obj
def workers(call: Invocation) -> int:
    """Draw the workers that run, with their slots, around the queue's file, for Graphviz.

    Example: litequeue -A proj graph workers | dot -Tsvg -o workers.svg
    """
    app = existing_app(call)
    found = [
        {
            "node": record.worker,
            "pool": record.info.get("pool"),
            "concurrency": int(record.info.get("concurrency", 1)),
            "queues": list(record.queues),
        }
        for record in _running(app)
    ]
    if call.as_json:
        call.print_json({"file": app.store.path, "workers": found})
        return 0
    lines = [f"  file [label={_quoted(app.store.path)}, shape=cylinder];"]
    for number, worker in enumerate(found):
        lines.append(f"  w{number} [label={_quoted(worker['node'])}];")
        lines.append(f"  w{number} -> file;")
        for place, label in enumerate(_slots(worker["concurrency"])):
            lines.append(f"  w{number}s{place} [label={_quoted(label)}, shape=oval, fontsize=10];")
            lines.append(f"  w{number}s{place} -> w{number} [arrowhead=none];")
    call.print_text(_dot("workers", lines))
    return 0


def _slots(count: int) -> list[str]:
    if count <= _SLOTS:
        return [f"slot {number}" for number in range(1, count + 1)]
    return [*(f"slot {number}" for number in range(1, _SLOTS)), f"{count - _SLOTS + 1} more"]


@graph.command()
@json_option
@click.pass_obj
def bindings(call: Invocation) -> int:
    """Draw which routing keys lead to which queues, and which workers take tasks from them, for Graphviz.

    Example: litequeue -A proj graph bindings | dot -Tpng -o bindings.png
    """
    from litequeue.cli.list import bindings_of

    app = existing_app(call)
    declared = bindings_of(app)
    serving = {record.worker: record.queues for record in _running(app)}
    others = sorted({name for names in serving.values() for name in names} - {each["queue"] for each in declared})
    found: list[dict[str, Any]] = [
        *declared,
        *({"queue": name, "exchange": name, "routing_key": name} for name in others),
    ]
    for binding in found:
        binding["workers"] = sorted(node for node, names in serving.items() if binding["queue"] in names)
    if call.as_json:
        call.print_json(found)
        return 0
    numbers = {node: f"w{number}" for number, node in enumerate(serving)}
    lines = [f"  {number} [label={_quoted(node)}];" for node, number in numbers.items()]
    for place, binding in enumerate(found):
        lines.append(f"  q{place} [label={_quoted(binding['queue'])}, shape=folder];")
        lines.append(f'  k{place} [label={_quoted(binding["routing_key"])}, shape=plaintext, style=""];')
        lines.append(f"  k{place} -> q{place};")
        lines += [f"  q{place} -> {numbers[node]};" for node in binding["workers"]]
    call.print_text(_dot("bindings", lines))
    return 0


@graph.command(hidden=True, context_settings={"allow_extra_args": True})
def bootsteps() -> int:
    """Say that there is no such thing.

    Example: litequeue -A proj graph workers
    """
    raise LiteQueueCommandException(
        "a worker of litequeue is not made of bootsteps; `litequeue graph workers` draws what runs", exit_code=2
    )


def _running(app: Any) -> list[Any]:
    """The workers that run, by name; two of one name count once."""
    from litequeue.core.process import is_alive

    records = [record for record in app.store.processes() if record.role == "worker"]
    alive = {record.worker: record for record in records if is_alive(record.identity) is not False}
    return [alive[node] for node in sorted(alive)]


def _dot(name: str, lines: Iterable[str]) -> str:
    head = [f"digraph {name} {{", "  rankdir=LR;", '  node [shape=box, style="rounded,filled", fillcolor="#f4f4f4"];']
    return "\n".join([*head, *lines, "}"])


def _quoted(text: str) -> str:
    from litequeue.canvas.graph import printable

    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
