"""Entries of the schedule as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from litequeue.beat.showing import ScheduledEntry
from litequeue.schedules.words import duration, when

_HEADINGS = ("name", "when", "task", "next", "last", "runs", "state")


def table(entries: Sequence[ScheduledEntry]) -> str:
    """One line for each entry."""
    return columns([_HEADINGS, *(_row(entry) for entry in entries)])


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of texts, each column as wide as its longest."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(entry: ScheduledEntry) -> tuple[str, ...]:
    return (
        entry.name,
        when(entry.schedule),
        entry.task or "?",
        moment(entry.next_run_at),
        moment(entry.last_run_at),
        str(entry.total_run_count),
        entry.state,
    )


def moment(value: datetime | None) -> str:
    """A time to the second, with its distance to UTC; `-` for none."""
    return "-" if value is None else value.isoformat(sep=" ", timespec="seconds")


def page(entry: ScheduledEntry) -> str:
    """Everything about one entry, a line each."""
    return columns([(title, text) for title, text in _lines(entry) if text != "-"])


def _lines(entry: ScheduledEntry) -> Iterable[tuple[str, str]]:
    yield "name", entry.name
    yield "state", entry.state if entry.error is None else f"{entry.state}: {entry.error}"
    yield "when", when(entry.schedule)
    yield "time zone", entry.timezone or "-"
    yield "task", call(entry)
    yield "options", ", ".join(f"{name}={value}" for name, value in entry.options.items()) or "-"
    yield "next", moment(entry.next_run_at)
    yield "last", moment(entry.last_run_at)
    runs = str(entry.total_run_count)
    yield "runs", runs if entry.max_runs is None else f"{runs} of {entry.max_runs}"
    yield "skipped", str(entry.skipped)
    window = entry.catchup_window
    yield "catchup", entry.catchup if window is None else f"{entry.catchup}, up to {duration(window)} late"
    yield "overlap", entry.overlap
    yield "jitter", "-" if not entry.jitter else f"up to {duration(entry.jitter)}"
    yield "start", moment(entry.start)
    yield "end", moment(entry.end)
    yield "declared by", "-" if entry.owner is None else f"the code of {entry.owner}"


def call(entry: ScheduledEntry) -> str:
    """The task with its arguments."""
    if entry.task is None:
        return "?"
    if entry.args is None or entry.kwargs is None:
        return f"{entry.task}(?)"
    given: list[Any] = [repr(value) for value in entry.args]
    given += [f"{name}={value!r}" for name, value in entry.kwargs.items()]
    return f"{entry.task}({', '.join(given)})"
