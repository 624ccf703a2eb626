"""The records of `inspect` as text: what the command line prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from litequeue.core import clock
from litequeue.inspect.facts import Explanation
from litequeue.inspect.failures import FailureReport, SlowReport, Spread
from litequeue.inspect.page import TaskPage
from litequeue.inspect.text import (
    Column,
    Look,
    as_text,
    cut,
    cut_after,
    fields,
    heading,
    indented,
    number,
    percent,
    rate,
    seconds,
    size,
    table,
    wrap,
)
from litequeue.inspect.views import FileView, QueueView, ScheduleView, Snapshot, TaskView, WorkerView
from litequeue.utils.words import counted, span

NONE = "-"


def snapshot(shown: Snapshot, look: Look) -> str:
    """All of it, part below part."""
    parts = [_headline(shown.file, look)]
    for title, text in (
        ("Workers", workers(shown.workers, look)),
        ("Queues", queues(shown.queues, look)),
        ("Newest tasks", tasks(shown.tasks, look)),
        ("Schedule", schedules(shown.schedules, look) if shown.schedules else ""),
    ):
        if text:
            parts.append(f"{heading(title, look)}\n{text}")
    return "\n\n".join(parts)


def _headline(file: FileView, look: Look) -> str:
    line = f"{file.path}  {size(file.size)}, WAL {size(file.wal_size)}, durability {file.durability}"
    return heading(cut(line, look.width), look)


def _numbers(*titles: tuple[str, int]) -> Iterable[Column]:
    """Columns of numbers, each with its title and how readily it is left out."""
    return (Column(title, right=True, leave=leave) for title, leave in titles)


_WORKERS = (
    Column("worker", give=2),
    Column("pid", right=True, leave=2),
    Column("state"),
    Column("pool", leave=7),
    Column("busy", right=True, leave=1),
    Column("cpu", right=True, leave=4),
    Column("memory", right=True, leave=5),
    Column("up", right=True, leave=6),
    Column("queues", give=3, leave=3),
)


def workers(shown: Sequence[WorkerView], look: Look) -> str:
    """A line for each worker, and one below for each task that it runs."""
    if not shown:
        return "No worker is registered."
    now = clock.now()
    rows = [
        (
            worker.node,
            str(worker.pid),
            worker.liveness,
            worker.pool or NONE,
            f"{worker.busy}/{worker.concurrency}",
            percent(worker.cpu),
            size(worker.memory),
            seconds(now - worker.started_at),
            ",".join(worker.queues) or NONE,
        )
        for worker in shown
    ]
    measured = any(worker.cpu is not None for worker in shown)
    kept = [place for place, column in enumerate(_WORKERS) if measured or column.title != "cpu"]
    columns = [_WORKERS[place] for place in kept]
    lines = table(columns, [[row[place] for place in kept] for row in rows], look).splitlines()
    text = [lines[0]]
    for worker, line in zip(shown, lines[1:], strict=True):
        text.append(line)
        for slot in worker.slots:
            if slot.task is not None:
                text.append(look.paint(_slot(slot.pid, slot.task, slot.ahead, look.width), "cyan"))
    return "\n".join(text)


def _slot(pid: int, task: TaskView, ahead: int, width: int | None) -> str:
    """What a slot runs. The call is cut before the id is, and pid and time are left out where that does not fit."""
    more = f", and {ahead} more taken" if ahead else ""
    head = [str(pid), seconds(task.runtime), task.id]
    while width is not None and len(head) > 1 and len(f"  {'  '.join(head)}") > width:
        del head[0]
    said = f"  {'  '.join(head)}"
    return cut_after(said, f"  {task.call}{more}", width)


_QUEUES = (
    Column("queue", give=2),
    *_numbers(
        ("ready", 0),
        ("scheduled", 4),
        ("waiting", 5),
        ("running", 1),
        ("failed", 3),
        ("rate", 6),
        ("fails", 7),
        ("latency", 2),
    ),
    Column("state", give=1),
)


def queues(shown: Sequence[QueueView], look: Look) -> str:
    """A line for each queue."""
    if not shown:
        return "There is no queue: no task was called, and no worker is running."
    rows = [
        (
            queue.name,
            number(queue.ready),
            number(queue.scheduled),
            number(queue.waiting),
            number(queue.running),
            number(queue.failed),
            rate(queue.rate),
            rate(queue.failure_rate),
            seconds(queue.latency),
            _state(queue),
        )
        for queue in shown
    ]
    return table(_QUEUES, rows, look)


def _state(queue: QueueView) -> str:
    if queue.paused:
        return "paused"
    held = [f"{number(count)} {what}" for count, what in ((queue.aside, "aside"), (queue.parked, "parked")) if count]
    if not queue.workers:
        held.insert(0, "no worker")
    return ", ".join(held) or counted(len(queue.workers), "worker")


_TASKS = (
    Column("id"),
    Column("state", leave=2),
    Column("queue", give=1, leave=6),
    Column("when", leave=3),
    Column("took", right=True, leave=5),
    Column("call", give=3, leave=1, least=12),
    Column("error", give=2, leave=4, least=16),
)


def tasks(shown: Sequence[TaskView], look: Look) -> str:
    """A line for each task."""
    if not shown:
        return "No tasks."
    now = clock.now()
    rows = [
        (
            task.id,
            task.state,
            task.queue,
            _when(task, now),
            seconds(task.runtime),
            task.call,
            _progress(task) or task.error or "",
        )
        for task in shown
    ]
    if not any(row[-1] for row in rows):
        return table(_TASKS[:-1], [row[:-1] for row in rows], look)
    return table(_TASKS, rows, look)


def _when(task: TaskView, now: float) -> str:
    """The last thing that happened, or what comes next."""
    if task.finished_at is not None and task.engine_state in ("succeeded", "failed", "revoked", "ignored"):
        return f"{seconds(max(now - task.finished_at, 0))} ago"
    if task.engine_state == "running":
        return "now"
    if task.engine_state == "scheduled" and task.run_at is not None:
        return f"in {seconds(task.run_at - now)}" if task.run_at > now else "due"
    return f"{seconds(max(now - task.enqueued_at, 0))} old"


def _progress(task: TaskView) -> str:
    progress = task.progress
    if progress is None:
        return ""
    done = progress.fraction
    shown = "" if done is None else f"{done * 100:.0f} %"
    return " ".join(filter(None, (shown, progress.message or "")))


_SCHEDULES = (
    Column("name", give=2),
    Column("when", give=2, leave=3),
    Column("task", give=3, leave=2),
    Column("next", leave=1),
    Column("last", leave=5),
    Column("runs", right=True, leave=4),
    Column("state"),
)


def schedules(shown: Sequence[ScheduleView], look: Look) -> str:
    """A line for each entry, and one below for what is wrong with it."""
    if not shown:
        return "The schedule has no entries."
    rows = [
        (
            entry.name,
            entry.when,
            entry.task or "?",
            look.moment(entry.next_run_at),
            look.moment(entry.last_run_at),
            str(entry.runs),
            entry.state,
        )
        for entry in shown
    ]
    lines = table(_SCHEDULES, rows, look).splitlines()
    text = [lines[0]]
    for entry, line in zip(shown, lines[1:], strict=True):
        text.append(line)
        if entry.error:
            text.append(look.paint(cut(f"  {entry.error}", look.width), "red"))
    return "\n".join(text)


def file(shown: FileView, look: Look) -> str:
    """A line for each thing that is known of it."""
    free = shown.free_pages * shown.page_size
    oldest = shown.oldest_ready_at
    rows: list[tuple[str, str | None]] = [
        ("path", shown.path),
        ("size", f"{size(shown.size)} ({number(shown.pages)} pages of {number(shown.page_size)} bytes)"),
        (
            "free",
            f"{size(free)} ({number(shown.free_pages)} pages); litequeue vacuum gives them back" if free else "0 B",
        ),
        ("WAL", size(shown.wal_size)),
        ("journal mode", shown.journal_mode),
        ("durability", shown.durability),
        ("schema", f"version {shown.schema_version}"),
        ("SQLite", f"{shown.sqlite}, apsw {shown.apsw}"),
        ("oldest ready", "none is ready" if oldest is None else f"{span(clock.now() - oldest)}, {look.moment(oldest)}"),
    ]
    if shown.rows is not None:
        each = ", ".join(f"{number(count)} {state}" for state, count in sorted(shown.rows.items()))
        rows.append(("tasks", f"{number(sum(shown.rows.values()))}{': ' + each if each else ''}"))
    if shown.damages is not None:
        rows.append(("integrity", "\n".join(shown.damages) or "sound"))
    return fields(rows, look)


# One task


def page(shown: TaskPage, look: Look) -> str:
    """Everything about a task: a line for each thing that is known, then result, errors, log and canvas."""
    parts = [fields(_page_fields(shown, look), look)]
    if shown.has_result:
        parts.append(_block("result", as_text(shown.result), look))
    if shown.meta is not None and shown.task.progress is None:
        parts.append(_block("meta", as_text(shown.meta), look))
    for attempt in shown.attempts:
        where = f" on {attempt.worker}" if attempt.worker else ""
        title = f"attempt {attempt.attempt}: {attempt.outcome} at {look.moment(attempt.finished_at)}{where}"
        parts.append(_block(title, "\n".join(filter(None, (attempt.error, attempt.traceback))), look))
    if shown.traceback and shown.attempt not in {attempt.attempt for attempt in shown.attempts}:
        parts.append(_block("traceback", shown.traceback, look))
    if shown.logs:
        parts.append(_block("log", "\n".join(_logged(shown, look)), look))
    if shown.children:
        parts.append(f"{heading('called', look)}\n{tasks(shown.children, look)}")
    if shown.canvas is not None:
        parts.append(_block("canvas", shown.canvas.drawing, look, drawing=True))
    return "\n\n".join(parts)


def _logged(shown: TaskPage, look: Look) -> Iterable[str]:
    """The lines of the log; where the task was started more than once, each with its attempt."""
    for line in shown.logs:
        attempt = f"attempt {line.attempt} " if shown.attempt > 1 else ""
        yield f"{look.moment(line.at)} {attempt}{line.level:7} {line.logger}: {line.message}"


def _block(title: str, text: str, look: Look, drawing: bool = False) -> str:
    """A part of a page: long lines go on below, unless it is a drawing."""
    width = None if look.width is None or drawing else max(look.width - 2, 20)
    shown = "\n".join(line for long in text.rstrip().splitlines() for line in wrap(long, width))
    return f"{heading(cut(title, look.width), look)}\n{indented(shown, look)}"


def _page_fields(shown: TaskPage, look: Look) -> Iterable[tuple[str, str | None]]:
    task = shown.task
    yield "id", task.id
    yield "name", task.name
    yield "state", task.state
    if task.state.lower() != task.engine_state:
        yield "engine state", task.engine_state
    yield "call", f"{task.name}(?)" if shown.args is None else _call(shown)
    yield "unreadable", shown.unreadable
    yield "error", shown.error
    yield "because of", shown.caused_by
    progress = task.progress
    if progress is not None:
        done = "" if progress.total is None else f" ({progress.done:g} of {progress.total:g})"
        yield "progress", f"{_progress(task)}{done}"
    yield from _place_fields(shown)
    yield from _time_fields(shown, look)
    yield from _tie_fields(shown)


def _call(shown: TaskPage) -> str:
    given = [repr(value) for value in shown.args] + [f"{name}={value!r}" for name, value in shown.kwargs.items()]
    return cut(f"{shown.task.name}({', '.join(given)})", 2000)


def _place_fields(shown: TaskPage) -> Iterable[tuple[str, str | None]]:
    task = shown.task
    yield "queue", task.queue
    yield "priority", str(task.priority)
    yield "worker", task.worker
    yield "pid", None if task.pid is None else str(task.pid)
    yield "process", shown.liveness
    yield "told to stop", "yes" if shown.cancelled else None
    yield "attempts", str(shown.attempt)
    yield "retries", str(task.retries)
    yield "deaths", str(shown.deaths) if shown.deaths else None


def _time_fields(shown: TaskPage, look: Look) -> Iterable[tuple[str, str | None]]:
    task = shown.task
    for name, at in (
        ("enqueued", task.enqueued_at),
        ("due", task.run_at),
        ("expires", task.expires_at),
        ("started", task.started_at),
        ("ended", task.finished_at),
        ("deleted", shown.prune_at),
    ):
        yield name, None if at is None else look.moment(at)
    yield "waited", None if shown.waited is None else seconds(shown.waited)
    yield "ran", None if task.runtime is None else seconds(task.runtime)
    limits = [
        f"{limit:g} s {kind}" for limit, kind in ((shown.time_limit, "hard"), (shown.soft_time_limit, "soft")) if limit
    ]
    yield "time limits", ", ".join(limits)


def _tie_fields(shown: TaskPage) -> Iterable[tuple[str, str | None]]:
    task = shown.task
    yield "root", task.root_id if task.root_id != task.id else None
    yield "parent", task.parent_id
    yield "group", task.group_id
    yield "after", None if shown.after is None else f"{shown.after} ({shown.edge})"
    yield "error callbacks", ", ".join(shown.errbacks)
    key = shown.concurrency_key
    yield "concurrency key", None if key is None else f"{key}, {shown.concurrency_limit or 1} at once"
    yield "unique key", shown.unique_key
    for name, value in (("stamps", shown.stamps), ("headers", shown.headers), ("options", shown.options)):
        yield name, as_text(value) if value else None
    yield "enqueued by", shown.origin
    packed = f", {shown.compression}" if shown.compression else ""
    yield "arguments", f"{size(shown.size)}, {shown.serializer}{packed}"
    yield "result kept", "no" if shown.ignore_result else None


# Explanations, failures, what is slow


def explanation(shown: Explanation, look: Look) -> str:
    """The verdict, and each reason with what to do; what a task waits for is indented."""
    more = (f"  {shown.name}" if shown.name else "") + (f"  {shown.state}" if shown.state else "")
    lines = [heading(cut_after(shown.task_id, more, look.width), look), *_wrapped(shown.verdict, look, "")]
    for reason in shown.reasons:
        lines += _wrapped(f"- {reason.text}", look, "  ")
        if reason.remedy is not None:
            lines += [look.paint(line, "dim") for line in _wrapped(f"    to do: {reason.remedy}", look, "      ")]
        lines += _because(reason.because, look._replace(width=None if look.width is None else look.width - 4))
    return "\n".join(lines)


def _because(explanations: Iterable[Explanation], look: Look) -> Iterable[str]:
    """What holds up the tasks before a task; where it is what holds up the one above, a line says so."""
    above: Explanation | None = None
    for inner in explanations:
        if above is not None and (inner.verdict, inner.reasons) == (above.verdict, above.reasons):
            text = cut_after(inner.task_id, f"  {inner.name}  {inner.state}  (the same)", look.width)
        else:
            text = explanation(inner, look)
        above = inner
        yield from ("    " + line for line in text.splitlines())


def _wrapped(text: str, look: Look, margin: str) -> list[str]:
    width = None if look.width is None else max(look.width - len(margin), 20)
    first, *rest = wrap(text, width)
    return [first, *(margin + line for line in rest)]


def failures(shown: FailureReport, look: Look) -> str:
    """A line for each group, with an example below."""
    if not shown.groups:
        return "No failures."
    columns = (
        Column("count", right=True),
        Column("error", give=1),
        Column("where", give=2, leave=1),
        Column("tasks", give=3, leave=2),
        Column("first", leave=4),
        Column("last", leave=3),
    )
    rows = [
        (
            number(group.count),
            group.error or "?",
            group.place or NONE,
            ",".join(group.names),
            look.moment(group.first_at),
            look.moment(group.last_at),
        )
        for group in shown.groups
    ]
    lines = table(columns, rows, look).splitlines()
    text = [lines[0]]
    for group, line in zip(shown.groups, lines[1:], strict=True):
        example = cut_after(f"  {group.example_id}", f"  {group.example}", look.width)
        text += [line, look.paint(example, "dim")]
    if not shown.complete:
        text.append(f"These are of the newest {number(shown.count)} failed tasks; there are more.")
    return "\n".join(text)


_SLOW = (
    Column("task", give=1, least=24),
    *_numbers(
        ("count", 1),
        ("mean", 4),
        ("p50", 3),
        ("p95", 0),
        ("max", 2),
        ("wait mean", 5),  # the last of its kind to go: those right of it are of waiting too
        ("p50", 8),
        ("p95", 6),
        ("max", 7),
    ),
)


def slow(shown: SlowReport, look: Look) -> str:
    """How long the tasks of each name ran and waited, and what runs now."""
    if not shown.names:
        parts = ["No task has ended."]
    else:
        rows = [(name.name, number(name.count), *_spread(name.run), *_spread(name.wait)) for name in shown.names]
        parts = [table(_SLOW, rows, look), f"Of the newest {number(shown.count)} tasks that have ended."]
    if shown.running:
        parts.append(f"{heading('Running now, the longest first', look)}\n{tasks(shown.running, look)}")
    return "\n\n".join(parts)


def _spread(taken: Spread | None) -> tuple[str, ...]:
    if taken is None:
        return (NONE,) * 4
    return tuple(seconds(value) for value in (taken.mean, taken.p50, taken.p95, taken.max))
