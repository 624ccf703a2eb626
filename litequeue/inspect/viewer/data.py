"""What the screens show, read from the file by a thread of its own, so that no key ever waits for it.

Each part has its own pace (`litequeue.inspect.Pace`), only what is on the screen is read, and nothing at all while the
file has not changed. A file that is busy, gone or replaced is a sentence in `Seen.problem`; what was read last stays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from litequeue.core import clock, state
from litequeue.exceptions import LiteQueueError, StoreLost
from litequeue.inspect import snapshot
from litequeue.inspect.explain import explain
from litequeue.inspect.filters import Filter, make_filter
from litequeue.inspect.page import CANVAS, TaskPage, page
from litequeue.inspect.snapshot import Pace, Sampler
from litequeue.inspect.viewer.searching import Listing, Search

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.inspect.facts import Explanation
    from litequeue.inspect.views import FileView, QueueView, ScheduleView, TaskView, WorkerView

QUIET: Final = 5.0
"""Seconds after which is read although the file has not changed: rates fall, and processes die without a word."""
SHARE: Final = 0.01
"""The share of the time that reading takes at most, each part."""
FAILURES: Final = 50
"""The newest failed tasks that the overview has."""

_FAILED: Final = make_filter(states=["failed"])

OVERVIEW: Final = "overview"
TASKS: Final = "tasks"
SCHEDULES: Final = "schedules"
FILE: Final = "file"
PAGE: Final = "page"

_Part = TypeVar("_Part")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is on the screen."""

    place: str = OVERVIEW
    which: Filter = field(default_factory=Filter)
    """Which tasks the list has."""
    limit: int = 100
    """How many of them, at most."""
    task_id: str | None = None
    """Whose page it is."""
    count: int = 0
    """Grows each time that the rows of the file are to be counted."""


class Known(NamedTuple):
    """What the page of a task shows."""

    page: TaskPage
    explanation: Explanation | None
    """Why it does not run; None: it has succeeded."""
    drawing: str
    """Its canvas, with ids."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read last, of each part; None: it has not been read yet."""

    at: float = 0.0
    workers: Sequence[WorkerView] | None = None
    queues: Sequence[QueueView] | None = None
    paused_names: frozenset[str] = frozenset()
    """The task names that are paused."""
    failures: Sequence[TaskView] | None = None
    listing: Listing | None = None
    schedules: Sequence[ScheduleView] | None = None
    file: FileView | None = None
    rows: dict[str, int] | None = None
    """How many tasks there are in each state, when they were counted last."""
    counted: int = 0
    """The `Request.count` for which they were counted."""
    task_id: str | None = None
    """Whose page `page` is."""
    page: Known | None = None
    """None: the file does not have the task, or its page has not been read yet."""
    problem: str | None = None
    """Why the file cannot be read at the moment, in a line."""


class Reader:
    """Reads what `look` asked for, again and again, and tells of it from its thread."""

    def __init__(self, app: LiteQueue, refresh: float, tell: Callable[[Seen], object], share: float = SHARE) -> None:
        self._app = app
        self._refresh = max(refresh, 0.1)
        self._tell = tell
        self._pace = Pace(share=share, least=self._refresh * 0.9, most=max(10.0, self._refresh))
        self._sampler = Sampler()
        self._search = Search(app)
        self._request = Request()
        self._seen = Seen()
        self._changes = -1
        self._versions: dict[str, int] = {}
        """How often the file had changed when each part was read."""
        self._parts: dict[str, Any] = {}
        self._stale = False
        """Whether a part was not due when it should have been read."""
        self._read_at = 0.0
        self._wake = threading.Condition()
        self._asked = True
        self._counted = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="litequeue-viewer", daemon=True)
        self.reads = 0
        """How many parts were read from the file."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more; a read that goes on is waited for, but not for long."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def look(self, request: Request) -> None:
        """Read this from now on, the first time at once."""
        with self._wake:
            if request != self._request:
                self._request = request
                self._asked = True
                self._wake.notify()

    def again(self) -> None:
        """Read everything at once, as after a change of one's own."""
        with self._wake:
            self._pace.expire()
            self._versions.clear()
            self._asked = True
            self._wake.notify()

    # The thread

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._stopped:
                    return
                request, asked, self._asked = self._request, self._asked, False
            self._look_once(request, asked)
            with self._wake:
                if not self._asked and not self._stopped:
                    self._wake.wait(self._search.pause if self._searches(request) else self._refresh)

    def _searches(self, request: Request) -> bool:
        return request.place == TASKS and self._seen.problem is None and self._search.goes_on

    def _look_once(self, request: Request, asked: bool) -> None:
        try:
            if self._has_changed() or asked or self._stale or self._searches(request):
                self._stale = False
                self._seen = replace(self._read(request), at=clock.now(), problem=None)
            else:
                self._seen = replace(self._seen, at=clock.now())
        except StoreLost as error:
            self._fail(error)
            with suppress(LiteQueueError, OSError):  # whatever is at the path by now is opened at the next look
                self._app.close()
        except (LiteQueueError, OSError) as error:
            self._fail(error)
        except Exception as error:  # a row that nobody foresaw must not end the view
            self._fail(error)
        if not self._stopped:
            self._tell(self._seen)

    def _fail(self, error: Exception) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, (LiteQueueError, OSError)):
            text = f"{type(error).__name__}: {text}"
        self._changes = -1
        self._versions.clear()
        self._seen = replace(self._seen, at=clock.now(), problem=text)

    def _has_changed(self) -> bool:
        """Whether the file may have changed since it was read, or was not read for long."""
        changes, now = self._app.store.changes(), clock.monotonic()
        if now - self._read_at >= QUIET:
            self._versions.clear()
        elif changes == self._changes:
            return False
        self._changes, self._read_at = changes, now
        return True

    def _part(self, name: str, function: Callable[[], _Part]) -> _Part:
        """What `function` gives: anew if the file has changed since, and the part is due."""
        if self._versions.get(name) == self._changes:
            return self._parts[name]  # type: ignore[no-any-return]
        if self._pace.is_due(name):
            self.reads += 1
            self._versions[name] = self._changes
        else:
            self._stale = True
        value = self._parts[name] = self._pace.read(name, function)
        return value

    def _read(self, request: Request) -> Seen:
        """What the screen shows, anew; the parts that are not on it stay as they were read last."""
        app, seen, part = self._app, self._seen, self._part
        seen = replace(
            seen,
            queues=part("queues", lambda: snapshot.queues(app)),
            workers=part("workers", lambda: snapshot.workers(app, self._sampler)),
            paused_names=part("paused", self._paused_names),
        )
        if request.place == OVERVIEW:
            return replace(seen, failures=part("failures", self._failures))
        if request.place == TASKS:
            return replace(seen, listing=self._listing(request))
        if request.place == SCHEDULES:
            return replace(seen, schedules=part("schedules", lambda: snapshot.schedules(app)))
        if request.place == FILE:
            return self._read_file(seen, request)
        return self._read_page(seen, request.task_id or "")

    def _paused_names(self) -> frozenset[str]:
        return frozenset(pause.name for pause in self._app.store.paused() if pause.kind == "task")

    def _failures(self) -> Sequence[TaskView]:
        return snapshot.find(self._app, _FAILED, FAILURES, budget=0.0).tasks

    def _listing(self, request: Request) -> Listing:
        if self._search.asks(request.which, request.limit) or self._search.goes_on:
            self._versions.pop("tasks", None)
            return self._search.step()
        return self._part("tasks", self._search.refresh)

    def _read_file(self, seen: Seen, request: Request) -> Seen:
        count, self._counted = request.count != self._counted, request.count
        if count:
            self._expire("file")
        file = self._part("file", lambda: snapshot.file(self._app, seen.queues, count=count))
        return replace(seen, file=file, rows=seen.rows if file.rows is None else file.rows, counted=self._counted)

    def _read_page(self, seen: Seen, task_id: str) -> Seen:
        if seen.task_id != task_id:
            self._expire("page")
        return replace(seen, task_id=task_id, page=self._part("page", lambda: self._page_of(task_id)))

    def _expire(self, name: str) -> None:
        self._versions.pop(name, None)
        self._pace.expire(name)

    def _page_of(self, task_id: str) -> Known | None:
        app = self._app
        found = page(app, task_id)
        if found is None:
            return None
        drawing = "" if found.canvas is None else app.graph(task_id, limit=CANVAS).to_text(ids=True)
        ended_well = found.task.engine_state in (state.SUCCEEDED, state.IGNORED)
        return Known(found, None if ended_well else explain(app, task_id), drawing)
