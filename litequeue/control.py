"""`app.control` and `app.control.inspect()`: steering workers, and asking them, from any program.

What is state of the queue (revokes, limits, pauses) is written to the file by the caller itself, so it needs no worker
and outlives every one. What must happen inside a worker is a command: a row, which the workers that it is meant for
carry out and answer. Who is there to answer is known from the file; so nobody is waited for who is not running.
"""

from __future__ import annotations

import functools
import logging
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from litequeue.core import clock, json_codec, process
from litequeue.core.records import ProcessRecord
from litequeue.core.routing import declared_queues, queue_name
from litequeue.core.signal_names import TERM
from litequeue.core.steering import NewCommand
from litequeue.dead_letters import DeadLetters
from litequeue.exceptions import DuplicateNodenameWarning
from litequeue.pausing import Pausing
from litequeue.worker.control import Panel, Refused, State, nok
from litequeue.worker.control.panel import INSPECT

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.steering import Reply

__all__ = ("Control", "Inspect", "flatten_reply")

logger = logging.getLogger("litequeue.control")

TIMEOUT: Final = 1.0
"""Seconds that answers are waited for."""
LIFETIME: Final = 300.0
"""Seconds in which a worker that does not get to a command, because it is stopped for a while, still carries it out."""
LOOK: Final = 0.1
"""Seconds between looks whether those who have not answered are still running."""
OTHER_HOST_SILENCE: Final = 90.0
"""Seconds without a sign of life after which a worker that cannot be looked at counts as dead."""

ALIVE, HUNG, DEAD = "alive", "hung", "dead"

Answer = dict[str, Any]
"""`{node name: what it says}`."""
Nodes = str | Sequence[str] | None


def flatten_reply(reply: Iterable[Answer]) -> Answer:
    """`[{node: answer}, ...]` as `{node: answer, ...}`; of two workers of one name the later counts, with a warning."""
    nodes: Answer = {}
    twice: set[str] = set()
    for answers in reply:
        twice.update(nodes.keys() & answers.keys())
        nodes.update(answers)
    if twice:
        warnings.warn(
            f"several workers answered as {', '.join(sorted(twice))}; give each a name of its own (-n)",
            DuplicateNodenameWarning,
            stacklevel=2,
        )
    return nodes


class Control(DeadLetters, Pausing):
    """Steers the workers of an app's queue: `app.control`.

    Methods with `reply=True` return `[{node name: answer}, ...]`, an answer being `{"ok": ...}` or `{"error": ...}`;
    without it they return None at once. Every method takes the keywords of `broadcast`.
    """

    def __init__(self, app: LiteQueue) -> None:
        self.app = app

    @functools.cached_property
    def inspect(self) -> type[Inspect]:
        """The class of what asks the workers of this app: `app.control.inspect(["celery@host"]).active()`."""
        return type("Inspect", (Inspect,), {"app": self.app, "__module__": Inspect.__module__})

    # Everybody

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Nodes = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = TIMEOUT,
        limit: int | None = None,
        callback: Callable[[Answer], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | Callable[[str, str], Any] | None = None,
        **extra_kwargs: Any,
    ) -> list[Answer] | None:
        """Have the workers carry out `command` with `arguments`: all, or those that `destination` or `pattern` name.

        `matcher` says what `pattern` is: `glob` (the default), `pcre`, or a function of a node name and the pattern.
        With `reply`, the answers are waited for, at most `timeout` seconds (None: as long as it takes), at most
        `limit` of them, and `callback` is called with each; the dead are not waited for. EncodeError: JSON cannot say
        an argument.
        """
        given = {**(arguments or {}), **extra_kwargs}
        wanted = _Wanted(destination, pattern, matcher)
        info = Panel.info(command)
        if info is not None and info.in_file:
            return _limited(self._carry_out(command, given, wanted, reply), reply, limit, callback)
        text = json_codec.dumps(given, f"the arguments of {command}")
        nodes = self._nodes(wanted, in_person=True)
        if not nodes:
            if not reply:
                logger.warning("%s: %s; it was not sent", command, wanted.nobody)
            return [] if reply else None
        store = self.app.store
        only_asks = reply and timeout is not None and info is not None and info.type == INSPECT
        sent = NewCommand(
            name=command,
            arguments=text,
            destination=tuple(sorted({node.worker for node in nodes})) if wanted.some else None,
            reply_port=store.reply_port() if reply else None,
            lifetime=max(timeout or 0.0, TIMEOUT) if only_asks else LIFETIME,
        )
        number = store.send_command(sent)
        return self._answers(number, {node.id for node in nodes}, timeout, limit, callback) if reply else None

    def _carry_out(self, command: str, arguments: Mapping[str, Any], wanted: _Wanted, reply: bool) -> list[Answer]:
        """Change, or read, the file, and answer for the workers, which go by it."""
        from litequeue.utils.nodenames import anon_nodename

        state = State(self.app, self.app.store, anon_nodename(), self._nodes(wanted))
        try:
            answers = Panel.data[command](state, **arguments)
        except Refused as refused:
            if not (reply and state.nodes):
                raise refused.error from None
            answers = state.all(nok(refused.answer))
        return [{node.worker: answers[node.id]} for node in state.nodes]

    def _nodes(self, wanted: _Wanted, in_person: bool = False) -> list[ProcessRecord]:
        """The running workers that are meant; with `in_person`, without those that carry out no commands."""
        records = self.app.store.processes()
        alive = [record for record in records if record.role == "worker" and _lives(record)]
        if in_person:
            obey = {record.parent for record in records if record.role == "control" and record.info.get("commands")}
            alive = [record for record in alive if record.id in obey]
        return [record for record in alive if wanted.matches(record.worker)]

    def _answers(
        self,
        number: int,
        waiting: set[int],
        timeout: float | None,
        limit: int | None,
        callback: Callable[[Answer], Any] | None,
    ) -> list[Answer]:
        """The answers to a command of those who are waited for, in the order in which they come."""
        store = self.app.store
        deadline = None if timeout is None else clock.monotonic() + timeout
        answers: list[Answer] = []
        known: set[int] = set()
        while True:
            seen = store.changes()
            for one in store.replies(number):
                if one.process not in known:
                    known.add(one.process)
                    answers.append(_read(one))
                    if callback is not None:
                        callback(answers[-1])
                    if limit is not None and len(answers) >= limit:
                        return answers
            left = LOOK if deadline is None else min(deadline - clock.monotonic(), LOOK)
            if waiting <= known or left <= 0:
                return answers
            if store.wait_for_change(seen, left) == seen:
                waiting &= known | {record.id for record in store.processes() if _lives(record)}

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:
        """Accepted from Celery: there is nothing to elect."""
        self.broadcast("election", {"id": id, "topic": topic, "action": action})

    def ping(self, destination: Nodes = None, timeout: float = TIMEOUT, **kwargs: Any) -> list[Answer]:
        """Which workers are there and answer: `[{node: {"ok": "pong"}}]`."""
        return self.broadcast("ping", destination=destination, reply=True, timeout=timeout, **kwargs) or []

    def shutdown(self, destination: Nodes = None, **kwargs: Any) -> Any:
        """Stop workers, warm: they finish what runs."""
        return self.broadcast("shutdown", destination=destination, **kwargs)

    def heartbeat(self, destination: Nodes = None, **kwargs: Any) -> Any:
        """Have workers renew their entries in the file at once."""
        return self.broadcast("heartbeat", destination=destination, **kwargs)

    def enable_events(self, destination: Nodes = None, **kwargs: Any) -> Any:
        """Have workers write events into the journal, from their next transaction on, until they are started anew."""
        return self.broadcast("enable_events", destination=destination, **kwargs)

    def disable_events(self, destination: Nodes = None, **kwargs: Any) -> Any:
        """Have workers write no events any more."""
        return self.broadcast("disable_events", destination=destination, **kwargs)

    # Tasks

    def purge(self, connection: Any = None, queues: Iterable[Any] | None = None) -> int:
        """Delete what has not started in `queues` (None: those that the app declares); how many tasks."""
        conf = self.app.conf
        declared = tuple(declared_queues(conf.task_queues)) or (conf.task_default_queue,)
        return self.app.store.purge(declared if queues is None else [queue_name(queue) for queue in queues])

    discard_all = purge

    def revoke(
        self,
        task_id: Any,
        destination: Nodes = None,
        terminate: bool = False,
        signal: str | int = TERM,
        **kwargs: Any,
    ) -> Any:
        """Revoke tasks, by one id or several, or the members of a group by its id: what has not started never starts.

        With `terminate`, what runs is killed, by `signal`. It works, and lasts, whether or not a worker is running.
        """
        arguments = {"task_id": task_id, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke", arguments, destination, **kwargs)

    def terminate(self, task_id: Any, destination: Nodes = None, signal: str | int = TERM, **kwargs: Any) -> Any:
        """`revoke` with `terminate`."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any] | Sequence[str],
        destination: Nodes = None,
        terminate: bool = False,
        signal: str | int = TERM,
        **kwargs: Any,
    ) -> Any:
        """Revoke the tasks with one of these stamps, `{header: value or values}`, and those that are sent later."""
        arguments = {"headers": headers, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **kwargs)

    def rate_limit(self, task_name: Any, rate_limit: Any, destination: Nodes = None, **kwargs: Any) -> Any:
        """Let tasks of a name start so often, over all workers: `10/s`, `100/m`, `1000/h`; 0: without limit.

        `default` goes back to what the task's code says. It lasts until it is changed.
        """
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", arguments, destination, **kwargs)

    def time_limit(
        self,
        task_name: Any,
        soft: float | None = None,
        hard: float | None = None,
        destination: Nodes = None,
        **kwargs: Any,
    ) -> Any:
        """Set the time limits, in seconds, of the tasks of a name that start from now on; 0: none; None: their own.

        It lasts until it is changed.
        """
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **kwargs)

    # Queues

    def add_consumer(
        self,
        queue: Any,
        exchange: Any = None,
        exchange_type: str | None = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Nodes = None,
        **kwargs: Any,
    ) -> Any:
        """Have workers take tasks from `queue` too, until they are started anew. The rest is accepted from Celery."""
        arguments = {
            "queue": queue_name(queue),
            "exchange": None if exchange is None else str(exchange),
            "exchange_type": exchange_type,
            "routing_key": routing_key,
            **(options or {}),
        }
        return self.broadcast("add_consumer", arguments, destination, **kwargs)

    def cancel_consumer(self, queue: Any, destination: Nodes = None, **kwargs: Any) -> Any:
        """Have workers take no more tasks from `queue`, until they are started anew."""
        return self.broadcast("cancel_consumer", {"queue": queue_name(queue)}, destination, **kwargs)

    # Pools

    def pool_grow(self, n: int = 1, destination: Nodes = None, **kwargs: Any) -> Any:
        """Give each worker `n` more slots, until it is started anew."""
        return self.broadcast("pool_grow", {"n": n}, destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Nodes = None, **kwargs: Any) -> Any:
        """Take `n` slots from each worker, until it is started anew; what runs there is finished first."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **kwargs)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: Nodes = None,
        **kwargs: Any,
    ) -> Any:
        """Replace the slots of workers with new ones, each after the task that it runs.

        `modules` are imported, or with `reload` imported again. The setting `worker_pool_restarts` must be on.
        """
        arguments = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", arguments, destination, **kwargs)

    def autoscale(self, max: int | None, min: int | None, destination: Nodes = None, **kwargs: Any) -> Any:
        """Let the slots of workers follow their backlog, between `min` and `max` of them, until they are started anew.

        None leaves one as it is, in a worker that does so already (`--autoscale`).
        """
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **kwargs)


class Inspect:
    """Asks workers: each method returns `{node name: answer}`, or None where nobody answered.

    `destination` is a list of node names, or one: then the methods return its answer alone. `pattern` with `matcher`,
    `timeout`, `limit` and `callback` are those of `Control.broadcast`.
    """

    app: Any = None

    def __init__(
        self,
        destination: Nodes = None,
        timeout: float | None = TIMEOUT,
        callback: Callable[[Answer], Any] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: Any = None,
    ) -> None:
        self.app = app or self.app
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.connection = connection
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _request(self, command: str, **kwargs: Any) -> Any:
        """What the workers answer to the inspect command `command`."""
        return self._prepare(
            self.app.control.broadcast(
                command,
                arguments=kwargs,
                destination=self.destination,
                callback=self.callback,
                limit=self.limit,
                timeout=self.timeout,
                reply=True,
                pattern=self.pattern,
                matcher=self.matcher,
            )
        )

    def _prepare(self, reply: list[Answer] | None) -> Any:
        if not reply:
            return None
        by_node = flatten_reply(reply)
        return by_node.get(self.destination) if isinstance(self.destination, str) else by_node

    def active(self, safe: Any = None) -> Any:
        """The tasks that run: a list of dicts for each worker."""
        return self._request("active", safe=safe)

    def scheduled(self, safe: Any = None) -> Any:
        """The tasks that wait for a time (`eta`, `countdown`, a retry), each with one worker that may run it."""
        return self._request("scheduled")

    def reserved(self, safe: Any = None) -> Any:
        """The tasks that start next, each with one of the workers that may run it."""
        return self._request("reserved")

    def revoked(self) -> Any:
        """The ids of the tasks that are revoked."""
        return self._request("revoked")

    def query_task(self, *ids: Any) -> Any:
        """`{id: [state, task]}` of those of `ids` that are active, reserved or scheduled."""
        if len(ids) == 1 and isinstance(ids[0], (list, tuple)):
            ids = tuple(ids[0])
        return self._request("query_task", ids=list(ids))

    def active_queues(self) -> Any:
        """The queues that each worker takes tasks from."""
        return self._request("active_queues")

    def registered(self, *taskinfoitems: str) -> Any:
        """The names of the tasks that each worker knows, with those of their attributes that are asked for."""
        return self._request("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    def ping(self, destination: Nodes = None) -> Any:
        """Which workers answer: `{node: {"ok": "pong"}}`. `liveness` tells the others apart: hung, or dead."""
        if destination:
            self.destination = destination
        return self._request("ping")

    def liveness(self) -> dict[str, str]:
        """Of each worker that is registered, and meant, whether it is `alive` (it answers), `hung` or `dead`.

        `hung`: its process is there, but gives no answer within the timeout. `dead`: its process is gone. A worker
        that carries out no commands (`worker_enable_remote_control`) is hung when it has not renewed its entry in the
        file for `worker_lease` seconds.
        """
        wanted = _Wanted(self.destination, self.pattern, self.matcher)
        store, control = self.app.store, self.app.control
        records = [record for record in store.processes() if record.role == "worker" and wanted.matches(record.worker)]
        obeying = {record.id for record in control._nodes(wanted, in_person=True)}
        answers = control.broadcast(
            "ping",
            destination=self.destination,
            pattern=self.pattern,
            matcher=self.matcher,
            timeout=self.timeout,
            reply=True,
        )
        pongs = {node for answer in answers or () for node in answer}
        lease = self.app.conf.worker_lease
        found: dict[str, str] = {}
        for record in records:
            silent = clock.now() - record.heartbeat_at > lease
            if not _lives(record):
                lives = DEAD
            elif record.id in obeying:
                lives = ALIVE if record.worker in pongs else HUNG
            else:
                lives = HUNG if silent else ALIVE
            if found.get(record.worker) != ALIVE:  # of several of one name, one that lives counts
                found[record.worker] = lives
        return found

    def stats(self) -> Any:
        """Pool, process and file of each worker, and how many tasks it has started."""
        return self._request("stats")

    def conf(self, with_defaults: bool = False) -> Any:
        """The settings of each worker."""
        return self._request("conf", with_defaults=with_defaults)

    def report(self) -> Any:
        """Versions, file and settings of each worker, as text."""
        return self._request("report")

    def clock(self) -> Any:
        """A number that grows with each command."""
        return self._request("clock")

    def memsample(self) -> Any:
        """The resident memory of each worker's main process."""
        return self._request("memsample")

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """What Celery's workers tell each other at their start."""
        return self._request("hello", from_node=from_node, revoked=revoked)


class _Wanted:
    """Which workers are meant."""

    def __init__(self, destination: Nodes, pattern: str | None, matcher: Any) -> None:
        if destination is not None and not isinstance(destination, (str, list, tuple, set, frozenset)):
            raise TypeError(f"destination is a list of node names, not {destination!r}")
        self._names: Collection[str] | None = [destination] if isinstance(destination, str) else destination
        self._pattern = pattern
        self._match: Callable[[str, str], Any] | None = _matcher(matcher) if pattern else None

    @property
    def some(self) -> bool:
        """Whether they are not simply all."""
        return bool(self._names) or self._match is not None

    def matches(self, node: str) -> bool:
        """Whether the worker of this node name is one."""
        if self._names and node not in self._names:
            return False
        return self._match is None or bool(self._match(node, self._pattern or ""))

    @property
    def nobody(self) -> str:
        """The sentence that nobody is."""
        which = [", ".join(self._names or ()), self._pattern or ""]
        return f"no running worker matches {' and '.join(filter(None, which))}" if self.some else "no worker is running"


def _matcher(matcher: Any) -> Callable[[str, str], Any]:
    if matcher in (None, "glob"):
        return fnmatchcase
    if matcher == "pcre":
        return lambda node, pattern: re.match(pattern, node)
    if callable(matcher):
        return matcher  # type: ignore[no-any-return]
    raise ValueError(f"there is no matcher {matcher!r}; write 'glob' or 'pcre', or give a function of node and pattern")


def _lives(record: ProcessRecord) -> bool:
    """Whether a process runs; of one that cannot be looked at, whether it gave a sign of life lately."""
    alive = process.is_alive(record.identity)
    return clock.now() - record.heartbeat_at < OTHER_HOST_SILENCE if alive is None else alive


def _read(reply: Reply) -> Answer:
    try:
        return {reply.worker: json_codec.loads(reply.reply)}
    except Exception as error:
        return {reply.worker: nok(f"the answer cannot be read here: {error}")}


def _limited(
    answers: list[Answer], reply: bool, limit: int | None, callback: Callable[[Answer], Any] | None
) -> list[Answer] | None:
    """Answers that are all there at once, as those that have to be waited for are given."""
    if not reply:
        return None
    answers = answers[:limit]
    if callback is not None:
        for answer in answers:
            callback(answer)
    return answers
