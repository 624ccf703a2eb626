"""`app.schedules`: the entries of the schedule, as a program reads and changes them.

What is written is complete: the queue is chosen and the arguments are encoded here, so that any scheduler can fire the
entry, whether or not it has the code of the app.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from litequeue.app.builtins import PREFIX
from litequeue.beat import entries
from litequeue.beat.entries import CALL_FIELDS, FIELDS, TIMING_FIELDS, Timing
from litequeue.beat.errors import EntryExists, EntryNotFound
from litequeue.beat.in_memory import BeatLazyFunc, ScheduleEntry
from litequeue.beat.planning import Plan, read_schedule
from litequeue.beat.service import Service
from litequeue.beat.showing import ScheduledEntry, show
from litequeue.calling.message import Place, build
from litequeue.calling.options import OPTIONS
from litequeue.core import clock
from litequeue.core.records import Entry, Keys, NewEntry, NewTask, Synchronised
from litequeue.core.routing import declared_queues
from litequeue.core.ties import ERRBACKS, read_errbacks, write_errbacks
from litequeue.exceptions import ImproperlyConfigured, LiteQueueError, NotRegistered
from litequeue.schedules.crontabs import crontab
from litequeue.schedules.errors import ScheduleError

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.result.async_result import AsyncResult

logger = logging.getLogger("litequeue.beat")

CLEANUP: Final = "litequeue.backend_cleanup"
"""The entry, and the task, that keep the file bounded."""
_FROM_CELERY: Final = "celery."
_NO_OPTIONS: Final = {
    "eta": "every run has its own time; countdown= puts it off",
    "task_id": "every run has its own id",
    "group_id": "a run belongs to no group",
    "chord": "a run belongs to no chord",
    "chain": "give a chain as the task",
    "durability": "the file's own is used",
}
"""Options of a call that cannot be those of an entry, and why."""
_SECONDS: Final = ("countdown", "expires")
_OF_THE_START: Final = ("queue", "priority", *_SECONDS)
"""Of a call with callbacks, the options that the task gets that starts it."""
_ATTEMPTS: Final = 10

Datetimes: TypeAlias = list[datetime]
Rows: TypeAlias = list[NewEntry]


class Schedules:
    """The entries in the file. What is changed here every running scheduler knows within a second."""

    def __init__(self, app: LiteQueue) -> None:
        self._app = app

    # Reading

    def list(self) -> list[ScheduledEntry]:
        """Every entry, by name."""
        return [show(entry, self._app.codec) for entry in self._app.store.schedules()]

    def get(self, name: str) -> ScheduledEntry:
        """The entry. EntryNotFound: there is none."""
        return show(self._entry(name), self._app.codec)

    def _entry(self, name: str) -> Entry:
        entry = self._app.store.schedule(name)
        if entry is None:
            raise EntryNotFound(f"{self._app.store.path} has no entry {name!r} in its schedule")
        return entry

    def preview(self, name: str, count: int = 10, *, after: datetime | None = None) -> Datetimes:
        """The next `count` instants of the entry, or those after `after` (naive: in its zone); without jitter."""
        entry = self._entry(name)
        plan = Plan(entry)
        if plan.rule.on_start:
            return []
        if after is not None:
            local = after if after.tzinfo is not None else after.replace(tzinfo=plan.zone)
            instant = plan.following(local.timestamp())
        elif entry.enabled and not plan.rule.polled:
            instant = entry.next_instant
        else:
            instant = plan.following(clock.now())
        found: Datetimes = []
        while instant is not None and len(found) < count:
            found.append(clock.to_datetime(instant).astimezone(plan.zone))
            instant = plan.following(instant)
        return found

    # Changing

    def add(
        self, name: str, task: Any, schedule: Any, args: Any = (), kwargs: Any = None, **given: Any
    ) -> ScheduledEntry:
        """Add an entry: from now on `task` (a name, a task or a signature) is enqueued whenever `schedule` is due.

        `given` are the other fields of an entry: `options` of the call (`queue`, `priority`, `expires`, …), `relative`,
        `timezone`, `catchup`, `catchup_window`, `overlap`, `jitter`, `start`, `end`, `max_runs`, `enabled`.

        EntryExists: there is one of that name. NotRegistered: the app has tasks, but not this one, and no queue is
        named. ScheduleError, TypeError, EncodeError: what is given cannot be.
        """
        now = clock.now()
        entry = self.make(name, {"task": task, "schedule": schedule, "args": args, "kwargs": kwargs, **given}, now)
        if entry.next_at is None and not read_schedule(entry.schedule).on_start:
            raise ScheduleError(
                f"entry {name!r}: {schedule!r} has no instant after now in its bounds, so it would never run"
            )
        if not self._app.store.put_schedule(entry):
            raise EntryExists(f"{self._app.store.path} has an entry {name!r} already; update it, or remove it first")
        return self.get(name)

    def update(self, name: str, **changes: Any) -> ScheduledEntry:
        """Change fields of the entry; those that are not given stay, and so does what it ran so far.

        Where schedule, time zone or bounds change, it is due next as if it were added now. A new `task`, or new
        `options`, make the call anew, with the arguments that it had. Errors as in `add`; EntryNotFound; ScheduleError
        for an entry that an app's code declares: it is changed there.
        """
        entries.check_fields(name, changes)
        for _ in range(_ATTEMPTS):
            entry = self._entry(name)
            _refuse_declared(entry, "change it there")
            changed = self._changed(entry, changes)
            if self._app.store.put_schedule(changed, entry.revision):
                return self.get(name)
        raise EntryExists(f"entry {name!r} is being changed by others all the time; nothing was changed")

    def remove(self, name: str, force: bool = False) -> None:
        """Delete the entry; tasks that it has enqueued stay. Errors as in `update`.

        With `force` also one that code declares: what that code declares then comes back when it starts again.
        """
        entry = self._entry(name)
        if not force:
            _refuse_declared(entry, "remove it there, disable it here, or, if that code is gone, remove it by force")
        if not self._app.store.remove_schedule(name):
            self._entry(name)

    def enable(self, name: str) -> ScheduledEntry:
        """Let the entry be fired, from the first instant after now on. EntryNotFound: there is none."""
        entry = self._entry(name)
        plan = Plan(entry)
        now = clock.now()
        instant = now if plan.rule.polled else plan.following(now)
        ended = entry.max_runs is not None and entry.total_run_count >= entry.max_runs
        instant = None if ended or plan.rule.on_start else instant
        return self._enable(name, True, instant, plan.fires_at(instant))

    def disable(self, name: str) -> ScheduledEntry:
        """Do not fire the entry any more, until it is enabled; also through restarts, and if code declares it."""
        return self._enable(name, False, None, None)

    def _enable(self, name: str, enabled: bool, instant: float | None, at: float | None) -> ScheduledEntry:
        self._app.store.enable_schedule(name, enabled, instant, at)
        return self.get(name)

    def run_now(self, name: str) -> AsyncResult:
        """Enqueue the entry's task at once. The schedule stays as it is, and the run is not counted.

        Where another task holds its unique key, the result is that task's, as of any call.
        """
        plan = Plan(self._entry(name))
        now = clock.now()
        new = plan.run(now, now)
        holder = self._app.store.enqueue([new]).get(new.id)
        result: AsyncResult = self._app.AsyncResult(holder or new.id)
        if holder is not None:
            result.existed = True
        return result

    def _changed(self, entry: Entry, changes: Mapping[str, Any]) -> NewEntry:
        """The row of `entry` with `changes`."""
        now = clock.now()
        new = entries.as_new(entry)
        timing = self._timing(_said(entry, changes))
        rules = {name: getattr(entry, name) for name in entries.RULE_FIELDS} | dict(changes)
        new = new._replace(**timing.columns(), **entries.rules(rules, timing.rule.polled))
        if any(name in changes for name in CALL_FIELDS):
            new = new._replace(call=self._changed_call(entry, changes))
        if any(getattr(new, name) != getattr(entry, name) for name in ("schedule", "timezone", "start_at", "end_at")):
            anchor = timing.anchor(now)
            return entries.with_next(new._replace(anchor=anchor), timing.first(now, anchor))
        if entry.next_instant is None or new.enabled != entry.enabled:
            return entries.with_next(new, timing.first(now, entry.anchor))
        return entries.with_next(new, entry.next_instant)

    def _changed_call(self, entry: Entry, changes: Mapping[str, Any]) -> str:
        if {"task", "args", "kwargs"} <= changes.keys():  # then nothing is kept, and the old one need not be readable
            return self._call(entry.name, *map(changes.get, CALL_FIELDS))
        [task] = read_errbacks(entry.call)
        args, kwargs = self._app.codec.decode_call(task.payload, task.serializer, task.compression)
        args, kwargs = changes.get("args", args), changes.get("kwargs", kwargs)
        if "task" in changes or "options" in changes:
            return self._call(entry.name, changes.get("task", task.name), args, kwargs, changes.get("options"))
        encoded = self._app.codec.encode_call(args or (), kwargs or {}, task.serializer, task.compression)
        payload, serializer, compression = encoded
        if task.keys is not None:
            task = task._replace(keys=self._changed_keys(entry, task, args or (), kwargs or {}))
        return write_errbacks([task._replace(payload=payload, serializer=serializer, compression=compression)])

    def _changed_keys(self, entry: Entry, call: NewTask, args: Any, kwargs: Any) -> Keys | None:
        """The keys of a call with other arguments. TypeError: the entry's options made them, maybe of its arguments."""
        from litequeue.calling.keys import keys_of

        app, declaring = self._app, self._app.tasks.get(call.name)
        before = app.codec.decode_call(call.payload, call.serializer, call.compression)
        if call.keys == keys_of(app, call.name, *before, {}, declaring):
            return keys_of(app, call.name, args, kwargs, {}, declaring)
        raise TypeError(f"entry {entry.name!r} has keys, which may be made of its arguments: give its options as well")

    # Making

    def make(self, name: str, given: Mapping[str, Any], now: float, owner: str | None = None) -> NewEntry:
        """The row of an entry whose fields are `given`, checked, due first after `now`."""
        entries.check_name(name)
        entries.check_fields(name, given)
        if given.get("task") is None or given.get("schedule") is None:
            raise TypeError(f"entry {name!r}: it needs a task and a schedule")
        timing = self._timing(given)
        rules = entries.rules(given, timing.rule.polled)
        if "catchup_window" not in given and isinstance(timing.rule, crontab):
            rules["catchup_window"] = self._app.conf.beat_cron_starting_deadline
        call = self._call(name, given["task"], given.get("args"), given.get("kwargs"), given.get("options"))
        anchor = timing.anchor(now)
        entry = NewEntry(name=name, call=call, owner=owner, anchor=anchor, **timing.columns(), **rules)
        return entries.with_next(entry, timing.first(now, anchor))

    def _timing(self, given: Mapping[str, Any]) -> Timing:
        fields = {name: given.get(name) for name in TIMING_FIELDS}
        return Timing.of(fields.pop("schedule"), **fields, app_zone=self._app.timezone)

    def _call(self, entry: str, task: Any, args: Any, kwargs: Any, options: Any) -> str:
        """What the entry enqueues, as its row keeps it."""
        options = dict(options or {})
        for option, why in _NO_OPTIONS.items():
            if options.get(option) is not None:
                raise TypeError(f"entry {entry!r}: an entry has no option {option!r}: {why}")
        if isinstance(task, Mapping):
            signature = self._app.signature(task).clone(args or (), kwargs or {})
            task, args, kwargs = signature["task"], signature["args"], signature["kwargs"]
            options = {**signature["options"], **options}
        _refuse_lazy(entry, args, kwargs)
        return write_errbacks([self._template(self._name(task), args, kwargs, options)])

    def _name(self, task: Any) -> str:
        """The name of a task, given as itself, by name, or by Celery's name of one of ours."""
        name = getattr(task, "name", task)
        if not isinstance(name, str):
            raise TypeError(f"task={task!r}: a task, its name or a signature is needed")
        own = PREFIX + name.removeprefix(_FROM_CELERY)
        known = self._app.tasks
        return own if name.startswith(_FROM_CELERY) and name not in known and own in known else name

    def _template(self, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> NewTask:
        """The row of a run, to be completed when it is fired."""
        app = self._app
        self._check_known(name, options)
        if options.get("link"):
            name, args, kwargs, options = self._started(name, args, kwargs, options)
        errbacks = self._errbacks(options.pop("link_error", None))
        task = app.tasks.get(name)
        if task is not None:
            args, kwargs, options = task.prepare_call(args, kwargs, **options)
        place = Place()
        place.after, place.inner = "?", True  # it waits: seconds count from when it is fired
        place.errbacks, place.ties = errbacks, ERRBACKS if errbacks else 0
        new = build(app, name, args, kwargs, options, task, eager=True, place=place).new
        return new._replace(origin=None, reply_port=None)

    def _check_known(self, name: str, options: Mapping[str, Any]) -> None:
        """NotRegistered: the app has tasks, but not this one, and the call does not say in which queue it is known."""
        if name not in self._app.tasks and not options.get("queue") and self._app.has_own_tasks:
            raise NotRegistered(name)

    def _started(
        self, name: str, args: Any, kwargs: Any, options: dict[str, Any]
    ) -> tuple[str, Any, Any, dict[str, Any]]:
        """A call with callbacks, as the call of the task that starts it."""
        from litequeue.canvas.rows import started_by

        outer = {option: value for option, value in options.items() if option in _OF_THE_START}
        inner = {option: value for option, value in options.items() if option not in _SECONDS}
        started = started_by(
            self._app.signature(name, args=args or (), kwargs=kwargs or {}, options=inner, immutable=True)
        )
        return started["task"], started["args"], started["kwargs"], outer

    def _errbacks(self, link_error: Any) -> str | None:
        if not link_error:
            return None
        from litequeue.canvas.plan import Planner
        from litequeue.canvas.tree import as_list

        planner = Planner(self._app)
        templates = [planner.template(callback) for callback in as_list(link_error)]
        return write_errbacks([template._replace(origin=None) for template in templates])

    # The entries of the code

    @property
    def owner(self) -> str:
        """The name under which the entries of this app's code stand in the file."""
        return self._app.main or "__main__"

    def defaults(self) -> dict[str, dict[str, Any]]:
        """The entries that every app has, unless it declares ones of these names."""
        names = {CLEANUP, _FROM_CELERY + CLEANUP.removeprefix(PREFIX)}
        if not self._app.conf.result_expires or names & self._app.conf.beat_schedule.keys():
            return {}
        queues = declared_queues(self._app.conf.task_queues)
        default = self._app.conf.task_default_queue
        queue = default if default in queues or not queues else next(iter(queues))
        options = {"queue": queue, "expires": 12 * 3600}
        return {CLEANUP: {"task": CLEANUP, "schedule": crontab(minute="0", hour="4"), "options": options}}

    def declared(self) -> Rows:
        """The rows of what the app's code declares: `beat_schedule` and `add_periodic_task`.

        ImproperlyConfigured names the entry that cannot be.
        """
        now = clock.now()
        return [
            self._declared(name, given, now)
            for name, given in {**self.defaults(), **self._app.conf.beat_schedule}.items()
        ]

    def _declared(self, name: str, given: Any, now: float) -> NewEntry:
        try:
            return self.make(name, _fields_of(given), now, self.owner)
        except (LiteQueueError, TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"beat_schedule[{name!r}]: {error}") from error

    def sync(self) -> Synchronised:
        """Make the entries of this app in the file those of its code, and tell the log what changed.

        A worker and `litequeue beat` do so when they start. ImproperlyConfigured names an entry that cannot be.
        """
        declared = self.declared()
        done = self._app.store.sync_schedules(self.owner, declared)
        for what, names in zip(("added", "changed", "removed"), done, strict=True):
            if names:
                logger.info("Entries of the code %s: %s", what, ", ".join(names))
        self._tell_of_others(declared)
        return done

    def _tell_of_others(self, declared: Sequence[NewEntry]) -> None:
        """An entry of somebody else keeps its name: say which ones of the code are not in the file."""
        names = {entry.name for entry in declared} - {CLEANUP}
        for entry in self._app.store.schedules() if names else ():
            if entry.name in names and entry.owner != self.owner:
                whose = "was added at run time" if entry.owner is None else f"is of the app {entry.owner!r}"
                logger.warning("Entry %s of the code is not used: the one in the file %s", entry.name, whose)


def periodic_entry(
    app: Any, schedule: Any, sig: Any, args: Any, kwargs: Any, name: str | None, given: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Name and fields of what `add_periodic_task` is given."""
    args, kwargs = tuple(args or ()), dict(kwargs or {})
    signature = app.signature(sig if isinstance(sig, Mapping) else sig.name).clone(args, kwargs)
    fields = {field: value for field, value in given.items() if field in FIELDS and field not in OPTIONS}
    options = {option: value for option, value in given.items() if option not in fields}
    return name or repr(signature), {
        "schedule": schedule,
        "task": signature["task"],
        "args": signature["args"],
        "kwargs": signature["kwargs"],
        "options": {**signature["options"], **(fields.pop("options", None) or {}), **options},
        **fields,
    }


def make_beat(app: Any, **options: Any) -> Service:
    """A scheduler for `app` that has not started."""
    cls = options.pop("scheduler", None) or options.pop("scheduler_cls", None)
    for name in ("loglevel", "logfile", "pidfile", "quiet", "schedule", "redirect_stdouts", "redirect_stdouts_level"):
        options.pop(name, None)  # accepted from Celery
    return Service(app, scheduler_cls=cls, **options)


def clean_up(app: LiteQueue) -> int:
    """Delete everything past its retention, and give the room back to the disk; how many rows were deleted."""
    batch, deleted = app.conf.prune_batch, 0
    while pruned := app.store.prune(batch):
        deleted += pruned
    while app.store.vacuum():
        pass
    return deleted


def _fields_of(given: Any) -> dict[str, Any]:
    """The fields of an entry in `beat_schedule`: a mapping, or an entry of Celery's class."""
    if isinstance(given, ScheduleEntry):
        names = ("task", "schedule", "args", "kwargs", "options")
        return {name: getattr(given, name) for name in names}
    if not isinstance(given, Mapping):
        raise TypeError(f"an entry is a dict with 'task' and 'schedule', not {given!r}")
    return {name: value for name, value in given.items() if name != "name"}


def _said(entry: Entry, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an entry's timing with `changes`, as they would be given."""
    said: dict[str, Any] = {"timezone": entry.timezone, "start": entry.start_at, "end": entry.end_at}
    if "schedule" not in changes:  # else the old one may be what cannot be read
        said["schedule"] = rule = read_schedule(entry.schedule)
        if rule.timezone is not None:
            said["timezone"] = None
    elif getattr(changes["schedule"], "timezone", None) is not None:
        said["timezone"] = None
    return said | {name: value for name, value in changes.items() if name in TIMING_FIELDS}


def _refuse_declared(entry: Entry, advice: str) -> None:
    if entry.owner is not None:
        raise ScheduleError(f"entry {entry.name!r} is declared by the code of the app {entry.owner!r}; {advice}")


def _refuse_lazy(entry: str, args: Any, kwargs: Any) -> None:
    if any(isinstance(value, BeatLazyFunc) for value in (*(args or ()), *dict(kwargs or {}).values())):
        raise TypeError(
            f"entry {entry!r}: an argument that is computed at each run cannot be kept in the file; let the task "
            "compute it, or use a scheduler class of your own"
        )
