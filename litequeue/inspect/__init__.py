"""Looking at a queue, from any program, with or without a worker.

from litequeue.inspect import take

print(take(app).as_dict())

Everything is read from the file; nothing here writes. The command line (`litequeue inspect`) and the live view show the
same records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litequeue.core.exports import exports

if TYPE_CHECKING:
    from litequeue.inspect.filters import make_filter as make_filter
    from litequeue.inspect.pace import Pace as Pace
    from litequeue.inspect.snapshot import Sampler as Sampler
    from litequeue.inspect.snapshot import file as file
    from litequeue.inspect.snapshot import queues as queues
    from litequeue.inspect.snapshot import schedules as schedules
    from litequeue.inspect.snapshot import take as take
    from litequeue.inspect.snapshot import tasks as tasks
    from litequeue.inspect.snapshot import workers as workers
    from litequeue.inspect.views import FileView as FileView
    from litequeue.inspect.views import QueueView as QueueView
    from litequeue.inspect.views import ScheduleView as ScheduleView
    from litequeue.inspect.views import SlotView as SlotView
    from litequeue.inspect.views import Snapshot as Snapshot
    from litequeue.inspect.views import TaskView as TaskView
    from litequeue.inspect.views import WorkerView as WorkerView

_MODULE_OF = {
    "FileView": "views",
    "Pace": "pace",
    "QueueView": "views",
    "Sampler": "snapshot",
    "ScheduleView": "views",
    "SlotView": "views",
    "Snapshot": "views",
    "TaskView": "views",
    "WorkerView": "views",
    "file": "snapshot",
    "make_filter": "filters",
    "queues": "snapshot",
    "schedules": "snapshot",
    "take": "snapshot",
    "tasks": "snapshot",
    "workers": "snapshot",
}
__all__ = (
    "FileView",
    "Pace",
    "QueueView",
    "Sampler",
    "ScheduleView",
    "SlotView",
    "Snapshot",
    "TaskView",
    "WorkerView",
    "file",
    "make_filter",
    "queues",
    "schedules",
    "take",
    "tasks",
    "workers",
)

__getattr__, __dir__ = exports(__name__, _MODULE_OF, __all__)
