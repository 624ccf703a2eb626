"""The overview: queues, workers with what they run, and on a wide screen what failed lately."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from litequeue.core import clock
from litequeue.inspect.viewer import cells, figures
from litequeue.inspect.viewer.data import OVERVIEW, Request, Seen
from litequeue.inspect.viewer.filtering import quoted
from litequeue.inspect.viewer.frame import Hint
from litequeue.inspect.viewer.lines import Column, Line, Widths, cut, cut_start, lay_out, line, one_line, sparkline
from litequeue.inspect.viewer.look import BAD, FAINT, GOOD, MUTED, RUNNING, STRONG, TEXT, WARN
from litequeue.inspect.viewer.pane import Target, task_hints
from litequeue.inspect.viewer.table import Table
from litequeue.inspect.views import ALIVE, DEAD, HUNG, ORPHAN, QueueView, TaskView, WorkerView

if TYPE_CHECKING:
    from litequeue.inspect.viewer.application import Viewer

WIDE: Final = 120
"""Cells from which on there are two panes side by side."""
LEAST_FAILURES: Final = 4
"""Lines that the failures keep on a narrow screen."""
SLOW: Final = 60.0
"""Seconds of latency from which on it stands out."""

_QUEUES: Final = (
    Column("Queues", 18, stretch=3, most=36),
    Column("ready", 7, right=True),
    Column("scheduled", 6, right=True, drop=2, stretch=1, most=9, short="sched."),
    Column("waiting", 7, right=True, drop=4),
    Column("running", 7, right=True),
    Column("failed", 7, right=True),
    Column("per s", 5, right=True),
    Column("latency", 7, right=True),
    Column("10 min", 6, right=True, stretch=2, drop=3, most=20),
)
_WORKERS: Final = (
    Column("Workers", 16, stretch=1),
    Column("busy", 9, right=True),
    Column("CPU", 6, right=True),
    Column("memory", 9, right=True, drop=1),
    Column("up", 7, right=True, drop=2),
)
_SLOTS: Final = (
    Column("", 20, stretch=1),
    Column("", cells.BAR + 6),
    Column("", 7, right=True),
)
_FAILED: Final = (
    Column("Failed lately", 14, stretch=2, most=34),
    Column("", 20, stretch=3),
    Column("", 8, right=True),
)


class Slot(NamedTuple):
    """A line of the list of workers: a worker, or a task that it runs."""

    worker: WorkerView
    task: TaskView | None
    ahead: int = 0
    """Tasks that wait in the slot behind this one."""


class Overview(Container):
    """The first tab."""

    app: Viewer
    DEFAULT_CSS = """
    Overview { layout: vertical; padding-top: 1; }
    Overview > #queues, Overview > #nodes { margin-bottom: 1; }
    Overview.-wide { layout: grid; grid-size: 2 2; grid-columns: 13fr 12fr; grid-rows: auto 1fr; grid-gutter: 1 2; }
    Overview.-wide > #nodes { row-span: 2; }
    Overview.-wide > #nodes, Overview.-wide > #queues { margin-bottom: 0; }
    """

    def __init__(self) -> None:
        super().__init__(id=OVERVIEW)
        self._now = 0.0
        self.queues: Table[QueueView] = Table(
            self._draw_queue, lambda queue: queue.name, heading=_heading(_QUEUES), id="queues"
        )
        self.nodes: Table[Slot] = Table(self._draw_slot, _slot_key, heading=_heading(_WORKERS), id="nodes")
        self._widths = Widths(_FAILED, 0)
        self.failures: Table[TaskView] = Table(
            self._draw_failure,
            lambda task: task.id,
            heading=lambda width: self._widths.lay_out(width).heading(),
            id="failures",
        )

    def compose(self) -> ComposeResult:
        """One below the other; on a wide screen the workers at the right."""
        yield self.queues
        yield self.nodes
        yield self.failures

    def on_mount(self) -> None:
        """The first picture is laid out already."""
        self.set_class(self.app.size.width >= WIDE, "-wide")

    def on_resize(self, event: events.Resize) -> None:
        """Two panes where there is room."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self._share_height()

    def _share_height(self) -> None:
        """What there is of queues and workers is shown, as far as there is room; the failures have the rest."""
        height = self.size.height
        queues = max(len(self.queues.items), 1) + 1
        if self.has_class("-wide"):
            queues = min(queues, max(height // 2, 3))
            wanted = (queues, height, height - queues - 1)
        else:
            queues = min(queues, max(height * 2 // 5, 3))
            nodes = min(max(len(self.nodes.items), 1) + 1, max(height - queues - LEAST_FAILURES - 2, 3))
            wanted = (queues, nodes, max(height - queues - nodes - 2, 0))
        tables: tuple[Table[Any], ...] = (self.queues, self.nodes, self.failures)
        for table, lines in zip(tables, wanted, strict=True):
            if table.styles.height is None or table.styles.height.value != lines:
                table.styles.height = lines

    # What it shows

    def request(self) -> Request:
        """What is to be read for it."""
        return Request(place=OVERVIEW)

    def show(self, seen: Seen) -> None:
        """Show what was read."""
        self._now = clock.now()
        reading = "reading …"
        queues, workers = seen.queues or (), seen.workers or ()
        self.queues.show(queues, reading if seen.queues is None else "There is no queue yet.")
        slots = [slot for worker in workers for slot in _slots(worker)]
        self.nodes.show(slots, reading if seen.workers is None else "No worker is registered; tasks wait.")
        self._widths.see(0, (task.name for task in seen.failures or ()))
        self.failures.show(seen.failures or (), reading if seen.failures is None else "Nothing has failed.")
        self._share_height()

    def hints(self) -> Sequence[Hint]:
        """The keys that do something here."""
        if self.queues.has_focus and (queue := self.queues.selected) is not None:
            return [Hint("enter", "its tasks", 2), Hint("p", "resume" if queue.paused else "pause")]
        target = self.target()
        if target.task is not None:
            return [*task_hints(target.task), Hint("p", "pause its name", 4)]
        return [Hint("enter", "its tasks", 2)] if self.nodes.selected is not None else []

    def target(self) -> Target:
        """What stands under the cursor."""
        if self.queues.has_focus:
            queue = self.queues.selected
            return Target(queue=None if queue is None else queue.name)
        if self.failures.has_focus:
            task = self.failures.selected
        else:
            slot = self.nodes.selected
            task = None if slot is None else slot.task
        return Target(task=task, name=None if task is None else task.name)

    def focus_main(self) -> None:
        """Let the keys go to the list that had them last, or to the queues."""
        if not any(table.has_focus for table in self._tables()):
            self.screen.set_focus(self.queues)

    def _tables(self) -> list[Table[Any]]:
        """Top to bottom, or, on a wide screen, those at the left and then those at the right."""
        if self.has_class("-wide"):
            return [self.queues, self.failures, self.nodes]
        return [self.queues, self.nodes, self.failures]

    def on_table_edge(self, event: Table.Edge) -> None:
        """Go on to the list above, below, or beside."""
        event.stop()
        tables = self._tables()
        wide = self.has_class("-wide")
        place = tables.index(event.table)
        if event.sideways:
            if wide:
                (self.nodes if event.by > 0 else self.queues).focus()
            return
        if wide:
            tables = tables[:2] if place < 2 else tables[2:]
            place %= 2
        if 0 <= place + event.by < len(tables) and tables[place + event.by].selected is not None:
            tables[place + event.by].focus()

    def on_table_opened(self, event: Table.Opened) -> None:
        """The page of a task; the tasks of a queue or a worker."""
        event.stop()
        item = event.item
        if isinstance(item, QueueView):
            self.app.open_tasks(quoted("queue", item.name))
        elif isinstance(item, TaskView):
            self.app.open_page(item.id)
        elif item.task is not None:
            self.app.open_page(item.task.id)
        else:
            self.app.open_tasks(quoted("worker", item.worker.node))

    # Lines

    def _draw_queue(self, queue: QueueView, width: int) -> Line:
        late = queue.latency is not None and queue.latency >= SLOW
        layout = lay_out(_QUEUES, width)
        return layout.row(
            [
                _queue_name(queue, layout.width_of(0)),
                cells.number(queue.ready),
                cells.number(queue.scheduled),
                cells.number(queue.waiting),
                cells.number(queue.running, RUNNING),
                cells.number(queue.failed, BAD),
                line((figures.rate(queue.rate), TEXT if queue.rate else MUTED)),
                line((figures.span(queue.latency), WARN if late else MUTED if queue.latency is None else TEXT)),
                line((sparkline(queue.history, layout.width_of(len(_QUEUES) - 1)), RUNNING)),
            ]
        )

    def _draw_slot(self, slot: Slot, width: int) -> Line:
        if slot.task is None:
            return _draw_worker(slot.worker, width, self._now)
        task = slot.task
        call = [("  ", TEXT), (one_line(task.name), TEXT), (f"({cells.arguments(task)})", MUTED)]
        said = cells.message(task.progress)
        if slot.ahead:
            call.append((f" +{slot.ahead}", MUTED))
        return lay_out(_SLOTS, width).row(
            [
                (*call, ("  ", TEXT), *said),
                cells.progress_bar(task.progress),
                line((figures.span(cells.runtime(task, self._now)), RUNNING)),
            ]
        )

    def _draw_failure(self, task: TaskView, width: int) -> Line:
        when = figures.short_moment(task.finished_at, self.app.zone, self._now)
        layout = self._widths.lay_out(width)
        return layout.row(
            [
                line(cut_start(one_line(task.name), layout.width_of(0))),
                line((one_line(task.error or ""), BAD)),
                line((when, MUTED)),
            ]
        )


def _heading(columns: tuple[Column, ...]) -> Callable[[int], Line]:
    return lambda width: lay_out(columns, width).heading()


def _queue_name(queue: QueueView, width: int) -> Line:
    """The name, with a mark; and what is unusual in words, where there is room for both."""
    mark, said, tone = "●", "", GOOD
    if queue.paused:
        mark, said, tone = "‖", " paused", WARN
    elif not queue.workers:
        mark, said, tone = "○", " no worker", WARN if queue.ready else MUTED
    name = one_line(queue.name)
    if width - 2 - len(said) < min(len(name), 8):
        said = ""
    return line((f"{mark} ", tone), cut(name, width - 2 - len(said)), (said, tone))


def _slots(worker: WorkerView) -> list[Slot]:
    """The lines of a worker: itself, and what runs in it."""
    busy = [Slot(worker, slot.task, slot.ahead) for slot in worker.slots if slot.task is not None]
    return [Slot(worker, None), *busy]


def _slot_key(slot: Slot) -> Hashable:
    return (slot.worker.id, None if slot.task is None else slot.task.id)


_MARKS: Final = {ALIVE: ("● ", GOOD), HUNG: ("◌ ", WARN), ORPHAN: ("◌ ", WARN), DEAD: ("✕ ", BAD)}


def _draw_worker(worker: WorkerView, width: int, now: float) -> Line:
    mark, tone = _MARKS[worker.liveness]
    name = [(mark, tone), (one_line(worker.node), STRONG if worker.liveness == ALIVE else tone)]
    if worker.liveness != ALIVE:
        name.append(
            (
                " orphan"
                if worker.liveness == ORPHAN
                else f" {worker.liveness}, silent for {figures.coarse(worker.heartbeat_age)}",
                tone,
            )
        )
    elif worker.pool not in (None, "prefork"):
        name.append((f" {worker.pool}", MUTED))
    return lay_out(_WORKERS, width).row(
        [
            tuple(name),
            line((str(worker.busy), RUNNING if worker.busy else MUTED), (f" of {worker.concurrency}", MUTED)),
            line((figures.percent(worker.cpu), TEXT if worker.cpu is not None and worker.cpu >= 0.5 else MUTED)),
            line((figures.size(worker.memory), TEXT if worker.memory is not None else FAINT)),
            line((figures.coarse(now - worker.started_at), MUTED)),
        ]
    )
