"""The page of a task as lines."""

from __future__ import annotations

import pprint
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litequeue.core import state
from litequeue.inspect.viewer import cells, figures
from litequeue.inspect.viewer.lines import Line, bar, line, one_line
from litequeue.inspect.viewer.look import BAD, GOOD, KEY, MUTED, RUNNING, STRONG, TEXT, TITLE, WARN
from litequeue.result.progress import PROGRESS

if TYPE_CHECKING:
    from litequeue.inspect.facts import Explanation
    from litequeue.inspect.page import AttemptView, TaskPage
    from litequeue.inspect.viewer.data import Known

LABEL: Final = 12
"""Cells of the names of facts."""
VALUE_LINES: Final = 60
"""Lines of one value that are shown."""
CALLED: Final = 30
"""Tasks that it called that are shown."""


class Row(NamedTuple):
    """A line of the page; with an id it can be selected, and opens that task's page."""

    key: tuple[str, int]
    """Its place, or the id with how often that was there before."""
    line: Line
    task_id: str | None = None


def rows_of(parts: Iterable[Line | tuple[Line, str]]) -> list[Row]:
    """Lines, some of them with the id of a task, as rows."""
    seen: Counter[str] = Counter()
    rows = []
    for place, part in enumerate(parts):
        shown, task_id = _split(part)
        key = ("", place) if task_id is None else (task_id, seen[task_id])
        seen[key[0]] += 1
        rows.append(Row(key, shown, task_id))
    return rows


def _split(part: Any) -> tuple[Line, str | None]:
    if len(part) == 2 and isinstance(part[1], str) and not isinstance(part[0], str):
        return part[0], part[1]
    return part, None


def head(page: TaskPage) -> Line:
    """Its name and state."""
    word, tone = cells.state_word(page.task)
    told = (("  told to stop", WARN),) if page.cancelled else ()
    return ((one_line(page.task.name), STRONG), ("  ", TEXT), (word, tone), *told)


def main_part(known: Known, width: int, now: float, zone: tzinfo) -> Iterator[Line | tuple[Line, str]]:
    """What it is, what it was given, what came of it."""
    page = known.page
    yield from _facts(page, now, zone)
    if page.task.progress is not None:
        yield from _progress(page, width)
    if known.explanation is not None and page.task.engine_state not in (state.RUNNING, state.FAILED):
        yield from _why(known.explanation, width)
    yield from _arguments(page, width)
    if page.has_result:
        yield from _title("Result")
        yield from _value(page.result, width)
    elif page.meta is not None and page.task.progress is None:
        yield from _title("Said by the task")
        yield from _value(page.meta, width)
    if page.error is not None:
        yield from _title("Error")
        yield from _wrapped(page.error, width, BAD)
        if page.caused_by is not None:
            yield ((("because of ", MUTED), (page.caused_by, KEY)), page.caused_by)
    if page.traceback:
        yield from _title("Traceback")
        yield from _traceback(page.traceback, width)


def side_part(known: Known, width: int, now: float, zone: tzinfo) -> Iterator[Line | tuple[Line, str]]:
    """What is around it, and what happened before."""
    page = known.page
    explanation = known.explanation
    held_up = explanation is not None and any(reason.kind != "running" for reason in explanation.reasons)
    if page.task.engine_state == state.RUNNING and explanation is not None and held_up:
        yield from _why(explanation, width)
    if known.drawing:
        yield from _title("Canvas")
        for text in known.drawing.splitlines():
            yield _canvas_line(text, page.task.id)
    if page.children:
        yield from _title("Called")
        for child in page.children[:CALLED]:
            word, tone = cells.state_word(child)
            yield line((word.ljust(10), tone), one_line(child.name), (f"  {cells.short_id(child.id)}", MUTED)), child.id
        if len(page.children) > CALLED:
            yield line((f"and {len(page.children) - CALLED} more", MUTED))
    if page.attempts:
        yield from _title("Earlier attempts")
        for attempt in page.attempts:
            yield from _attempt(attempt, width, now, zone)
    if page.logs:
        yield from _title("Log")
        for entry in page.logs:
            tone = {"WARNING": WARN, "ERROR": BAD, "CRITICAL": BAD}.get(entry.level, MUTED)
            which = f"attempt {entry.attempt} " if page.attempt > 1 else ""
            when = f"{figures.moment(entry.at, zone, now)} {which}"
            first = line((when, MUTED), (f"{entry.level.lower()[:7]:7} ", tone))
            yield from _hanging(first, entry.message, width)
    yield from _more(page, width, now, zone)


def _title(text: str) -> Iterator[Line]:
    yield ()
    yield line((text, TITLE))


def _fact(name: str, *value: tuple[str, str] | str) -> Line:
    return ((name.ljust(LABEL), MUTED), *line(*value))


def _facts(page: TaskPage, now: float, zone: tzinfo) -> Iterator[Line]:
    task = page.task
    yield _fact("id", task.id)
    priority = f", priority {task.priority}" if task.priority else ""
    yield _fact("queue", one_line(task.queue), (priority, MUTED))
    yield _fact(
        "enqueued", *_time(task.enqueued_at, now, zone), (f" by {one_line(page.origin)}" if page.origin else "", MUTED)
    )
    if task.run_at is not None and task.engine_state == state.SCHEDULED:
        yield _fact("due", *_time(task.run_at, now, zone))
    if task.expires_at is not None and task.engine_state in state.OPEN:
        yield _fact("expires", *_time(task.expires_at, now, zone))
    if task.started_at is not None:
        waited = "" if page.waited is None else f", had waited {figures.span(page.waited)}"
        yield _fact("started", *_time(task.started_at, now, zone), (waited, MUTED))
    if task.finished_at is not None:
        ran = "" if task.runtime is None else f", ran {figures.span(task.runtime)}"
        yield _fact("ended", *_time(task.finished_at, now, zone), (ran, MUTED))
    elif task.engine_state == state.RUNNING:
        yield _fact("runs for", (figures.span(cells.runtime(task, now)), RUNNING))
    if task.worker is not None:
        lives = "" if page.liveness in (None, "alive") else f"  {page.liveness}"
        yield _fact("worker", one_line(task.worker), (f", process {task.pid}", MUTED), (lives, BAD))
    if page.attempt > 1 or task.retries or page.deaths:
        deaths = f", {page.deaths} lost with their process" if page.deaths else ""
        yield _fact("attempts", f"{page.attempt}", (f", {task.retries} retries{deaths}", MUTED))


def _time(at: float, now: float, zone: tzinfo) -> tuple[tuple[str, str], ...]:
    exact = figures.exactly(at, zone)
    return (exact[:-4], TEXT), (exact[-4:], MUTED), (f"  {figures.ago(at, now)}", MUTED)


def _progress(page: TaskPage, width: int) -> Iterator[Line]:
    progress = page.task.progress
    assert progress is not None
    yield from _title("Progress")
    if progress.fraction is not None:
        numbers = f"  {progress.fraction * 100:.0f} %  {progress.done:g} of {progress.total:g}"
        yield (*bar(progress.fraction, max(min(width - len(numbers), 40), 10), RUNNING), (numbers, RUNNING))
    else:
        yield line((f"{progress.done:g} done", RUNNING))
    if progress.message:
        yield from _wrapped(progress.message, width, TEXT)


def _why(explanation: Explanation, width: int) -> Iterator[Line | tuple[Line, str]]:
    yield from _title("Why it does not run" if explanation.state in ("PENDING", "RETRY") else "Standing")
    yield from _wrapped(explanation.verdict, width, TEXT)
    yield from _reasons(explanation, width, "")


def _reasons(explanation: Explanation, width: int, indent: str) -> Iterator[Line | tuple[Line, str]]:
    for reason in explanation.reasons:
        for number, text in enumerate(_wrap(reason.text, width - len(indent) - 2)):
            shown = line((f"{indent}{'· ' if number == 0 else '  '}", MUTED), (text, WARN))
            yield (shown, reason.ids[0]) if number == 0 and reason.ids else shown
        if reason.remedy:
            yield from (line((f"{indent}  {text}", MUTED)) for text in _wrap(reason.remedy, width - len(indent) - 2))
        for inner in reason.because:
            if len(indent) < 8:
                yield from _reasons(inner, width, indent + "  ")


def _arguments(page: TaskPage, width: int) -> Iterator[Line]:
    yield from _title("Arguments")
    if page.args is None and page.kwargs is None:
        yield from _wrapped(page.unreadable or "they cannot be read here", width, WARN)
        return
    args: Sequence[Any] = page.args or ()
    kwargs: Mapping[str, Any] = page.kwargs or {}
    if not args and not kwargs:
        yield line(("none", MUTED))
    named = [*((str(place), value) for place, value in enumerate(args)), *kwargs.items()]
    label = min(max((len(name) for name, _ in named), default=0), 20)
    for name, value in named[:VALUE_LINES]:
        shown = list(_value(value, width - label - 2))
        yield ((one_line(name)[:label].ljust(label + 2), MUTED), *shown[0])
        yield from (((" " * (label + 2), TEXT), *rest) for rest in shown[1:])


def _value(value: Any, width: int) -> Iterator[Line]:
    """A value as Python writes it, over several lines where it needs them."""
    if isinstance(value, str) and "\n" in value:
        texts = [piece for part in value.splitlines() for piece in _wrap(part, width)]
    else:
        shown = pprint.pformat(value, width=max(width, 20), compact=True, sort_dicts=False)
        texts = [piece for part in shown[: VALUE_LINES * 200].splitlines() for piece in _wrap(part, width)]
    for text in texts[:VALUE_LINES]:
        yield line(text)
    if len(texts) > VALUE_LINES:
        yield line((f"… {len(texts) - VALUE_LINES} lines more", MUTED))


_PLACE: Final = re.compile(r'^  File "(.*)", line (\d+)')
_END: Final = re.compile(r"^[\w.]+(Error|Exception|Warning|Exit|Interrupt|Lost|Exceeded)?\b.*(:|$)")


def _traceback(text: str, width: int) -> Iterator[Line]:
    for each in text.rstrip().splitlines():
        if not each.startswith(" ") and not each.startswith("Traceback") and _END.match(each):
            tone = BAD
        else:
            tone = MUTED if _PLACE.match(each) or each.startswith("Traceback") or set(each) <= set(" ^~") else TEXT
        indent = len(each) - len(each.lstrip())
        for number, piece in enumerate(_wrap(each.lstrip(), width - indent - 2)):
            yield line((" " * (indent + (2 if number else 0)) + piece, tone))


_NODE: Final = re.compile(
    r"^(?P<lead>[^\w]*(?:(?:then|body|link|on error): |\[\d+\] )*)(?P<name>.*?)  (?P<rest>[^ ].*)$"
)
_WORDS: Final = {
    "SUCCESS": ("succeeded", GOOD),
    "FAILURE": ("failed", BAD),
    "STARTED": ("running", RUNNING),
    PROGRESS: ("running", RUNNING),
    "REVOKED": ("revoked", WARN),
    "RETRY": ("retry", WARN),
    "PENDING": ("pending", MUTED),
}
_SAID: Final = re.compile("|".join(_WORDS))


def _canvas_line(text: str, here: str) -> Line | tuple[Line, str]:
    """A line of the drawing: the state in its tone, the id shortened; the task itself stands out."""
    found = _NODE.match(text)
    if found is None:
        return line((_SAID.sub(lambda said: _WORDS[said[0]][0], one_line(text)), MUTED))
    word, _, node_id = found["rest"].partition("  ")
    if not node_id:  # a group: its standing is a part of the name
        name, node_id, word = found["name"], found["rest"], ""
    else:
        name = found["name"]
    itself = node_id == here
    said, tone = _WORDS.get(word, (word, MUTED))
    shown = line(
        (found["lead"], MUTED),
        (one_line(name), STRONG if itself else TEXT),
        (f"  {said}" if said else "", tone),
        (f"  {cells.short_id(node_id)}", MUTED),
        ("  ◂ this task" if itself else "", KEY),
    )
    return (shown, node_id) if word and not itself else shown


def _attempt(attempt: AttemptView, width: int, now: float, zone: tzinfo) -> Iterator[Line]:
    tone = BAD if attempt.outcome in ("failed", "lost") else WARN
    when = figures.moment(attempt.finished_at, zone, now)
    ran = "" if attempt.started_at is None else f" after {figures.span(attempt.finished_at - attempt.started_at)}"
    yield line((f"{attempt.attempt}  ", MUTED), (attempt.outcome, tone), (f"  {when}{ran}", MUTED))
    yield from (line((f"   {text}", TEXT)) for text in _wrap(attempt.error, width - 3))


def _more(page: TaskPage, width: int, now: float, zone: tzinfo) -> Iterator[Line]:
    """What else is known, of what is not as usual."""
    facts: list[tuple[str, str]] = []
    for name, seconds in (("time limit", page.time_limit), ("soft limit", page.soft_time_limit)):
        if seconds is not None:
            facts.append((name, figures.span(seconds)))
    if page.concurrency_key is not None:
        facts.append(("at once", f"{page.concurrency_limit or 1} of {page.concurrency_key}"))
    if page.unique_key is not None:
        facts.append(("unique", page.unique_key))
    if page.errbacks:
        facts.append(("on error", ", ".join(page.errbacks)))
    if page.stamps:
        facts.append(("stamps", ", ".join(f"{key}={value}" for key, value in dict(page.stamps).items())))
    if page.headers:
        facts.append(("headers", str(page.headers)))
    how = page.serializer if page.compression is None else f"{page.serializer}, {page.compression}"
    facts.append(("arguments", f"{figures.size(page.size)}, {how}"))
    if page.prune_at is not None:
        facts.append(("deleted", figures.ago(page.prune_at, now)))
    yield from _title("More")
    for name, text in facts:
        yield from _hanging(_fact(name), one_line(text), width)


def _hanging(first: Line, text: str, width: int) -> Iterator[Line]:
    """`text` after `first`, its further lines below its begin."""
    room = sum(len(part) for part, _ in first)
    pieces = _wrap(text, width - room)
    yield (*first, (pieces[0], TEXT))
    yield from (line((" " * room + piece, TEXT)) for piece in pieces[1:])


def _wrapped(text: str, width: int, tone: str) -> Iterator[Line]:
    yield from (line((piece, tone)) for part in text.splitlines() or [""] for piece in _wrap(part, width))


def _wrap(text: str, width: int) -> list[str]:
    shown = one_line(text)
    if len(shown) <= width:
        return [shown]
    return textwrap.wrap(shown, max(width, 16), break_long_words=True, drop_whitespace=True) or [""]


__all__ = ("Row", "head", "main_part", "rows_of", "side_part")
