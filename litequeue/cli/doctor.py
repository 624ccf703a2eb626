"""`litequeue doctor`: whether anything is wrong, and what to do."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import click

from litequeue.cli.invocation import Invocation
from litequeue.exceptions import DuplicateTaskNameWarning, LiteQueueCommandException, LiteQueueError
from litequeue.utils.words import counted

if TYPE_CHECKING:
    from litequeue.doctor import Finding

_COLORS: Final = {"ok": "green", "warning": "yellow", "error": "red"}
_READABLE: Final = 40
"""Characters of a line; where there are fewer beside the name of a check, its sentence stands below."""


@click.command()
@click.option("--full", is_flag=True, help="Read the whole file too: some seconds for every gigabyte.")
@click.option("--strict", is_flag=True, help="The exit code is 1 for warnings too.")
@click.pass_obj
def doctor(call: Invocation, full: bool, strict: bool) -> int:
    """Look at settings, tasks, file, disk, workers, queues and schedules, and say what is wrong and what to do.

    Nothing is changed, and no file is made. The exit code is 1 where there is an error.

    Example: litequeue -A proj doctor
    """
    from litequeue.doctor import ERROR, OK, WARNING, Finding, examine

    try:
        app, knows_tasks, clashes = _load(call)
    except LiteQueueError as problem:
        if isinstance(problem, LiteQueueCommandException) and problem.exit_code != 1:
            raise
        findings = [Finding("app", ERROR, " ".join(str(problem).split()), "Correct that, then look again.")]
    else:
        findings = examine(app, full=full, knows_tasks=knows_tasks, clashes=clashes)
    levels = [finding.level for finding in findings]
    if call.as_json:
        counts = {level: levels.count(level) for level in (OK, WARNING, ERROR)}
        call.print_json({"counts": counts, "findings": [finding.as_dict() for finding in findings]})
    else:
        _print(call, findings)
    return 1 if ERROR in levels or (strict and WARNING in levels) else 0


def _load(call: Invocation) -> tuple[Any, bool, list[str]]:
    """The app; whether its tasks were imported; what was said of names that two of them claim."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        # Without -A there is only a file: `creates` leaves it to a check to say that it is not there.
        named = call.app is not None or call.app_spec is not None
        app = call.load_tasks() if named else call.load_app(creates=True)
    clashes = [str(each.message) for each in said if issubclass(each.category, DuplicateTaskNameWarning)]
    return app, named, clashes


def _print(call: Invocation, findings: list[Finding]) -> None:
    from litequeue.inspect.text import look_of_stdout, wrap

    width = look_of_stdout().width
    checks = max(len(finding.check) for finding in findings)
    margin = checks + 11
    below = width is not None and width - margin < _READABLE
    if below:
        margin = 2
    for finding in findings:
        if call.quiet and finding.advice is None:
            continue
        level = click.style(f"{finding.level:7}", fg=_COLORS[finding.level], bold=finding.level == "error")
        head = f"{level}  {finding.check:{checks}}"
        texts = (finding.text, *([] if finding.advice is None else [finding.advice]))
        room = None if width is None else max(width - margin, 1)
        lines = [f"{'':{margin}}{line}" for text in texts for line in wrap(text, room)]
        if below:
            lines.insert(0, head.rstrip())
        else:
            lines[0] = f"{head}  {lines[0][margin:]}"
        call.print_text("\n".join(lines))
    bad = [sum(finding.level == level for finding in findings) for level in ("error", "warning")]
    if any(bad):
        click.echo(f"{counted(bad[0], 'error')}, {counted(bad[1], 'warning')}.")
    else:
        call.echo("Nothing is wrong.")
