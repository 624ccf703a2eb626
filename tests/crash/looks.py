"""A queue with rows of every kind, what somebody may have written into them, and every way to look at them."""

from __future__ import annotations

import io
import json
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from litequeue import LiteQueue, chain, chord, group
from litequeue.cli.events import live_line
from litequeue.cli.main import run
from litequeue.core import clock, process
from litequeue.core.periods import PERIOD
from litequeue.core.records import Encoded, Identity, LogLine, NewProcess, Ticket
from litequeue.core.steering import NewCommand
from litequeue.exceptions import LiteQueueWarning

from .story import TakeAll, claimant, failure, retry, success

EXIT_CODES = (0, 1, 2, 69)
"""Of commands that nobody interrupts."""
PATIENCE = 60
"""Seconds after which a look hangs."""

app = LiteQueue("crash_looks", set_as_current=False)


@app.task(shared=False, name="looks.add")
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(shared=False, name="looks.total")
def total(values: list[int]) -> int:
    return sum(values)


NAMES = ("looks.add", "looks.total")
NODE = "celery@looks"


# The queue


def make(path: Path) -> None:
    """Write a queue that has rows in each table, and tasks in each state."""
    app.conf.broker_url = str(path)
    app.conf.task_send_sent_event = True
    try:
        _make()
    finally:
        app.close()
        app.conf.pop("task_send_sent_event")


def _make() -> None:
    store = app.store
    worker = store.register(_process("worker", process.current(), events=True))
    child = store.register(_process("child", process.current(), parent=worker))
    gone = Identity(host=process.current().host, boot="before", namespace="", pid=1, started="1")
    dead = store.register(_process("worker", gone))
    me = claimant(child, TakeAll(names=NAMES, once=()), queues=("celery", "mail"))
    for number in range(6):
        add.apply_async((number, 1), headers={"tenant": "a"}, priority=number, argsrepr="(…)" if number else None)
    add.apply_async((1,), queue="mail", stamped_headers=["colour"], colour="red")
    chord([add.s(1, 1), chain(add.s(2), add.s(3)), group([add.s(4), add.s(5)])], total.s()).on_error(add.si(9)).delay()
    held = list(store.claim(me, 9).claimed)
    log = [LogLine(1, clock.now(), 20, "looks", f"line {number}") for number in range(3)]
    for each in held:
        store.keep_log(Ticket(each.seq, each.attempt), log, 10)
    outcomes = [success(held.pop()), success(held.pop()), failure(held.pop()), retry(held.pop()), retry(held.pop(), 60)]
    store.settle(me, outcomes)
    again = store.claim(claimant(dead, TakeAll(names=NAMES, once=()), queues=("celery", "mail")), 2).claimed
    assert held and again, "some tasks run"
    store.update_state(held[0].id, "PROGRESS", Encoded('{"done": 1, "total": 3, "message": "one"}', "json"))
    store.revoke([add.delay(7).id, held[-1].id])
    add.apply_async((8,), countdown=3600, expires=7200)
    add.apply_async((8,), queue="later", concurrency_key="k", concurrency_limit=1, unique_key="u")
    chain(add.si(1), add.s(2)).delay()
    app.send_task("looks.nobody_knows", ({"a": [1, 2]},), queue="mail")
    store.publish([("my-event", {"number": 5}), ("worker-heartbeat", {"active": 1, "processed": 2})], NODE)
    store.pause("queue", ["mail"])
    store.pause("task", ["looks.total"])
    store.declare_rates({"looks.add": "10/m"})
    store.set_time_limits("looks.add", 10.0, 5.0)
    store.revoke_stamped({"tenant": ["nobody"]})
    now = clock.now()
    command = NewCommand(name="ping", arguments="{}", destination=None, reply_port=None, lifetime=60.0)
    number = store.send_command(command)
    store.reply(next(each for each in store.commands(NODE, 0) if each.id == number), worker, NODE, '{"ok": "pong"}')
    app.schedules.add("each-minute", "looks.add", 60.0, args=(1, 2))
    app.schedules.add("mornings", "looks.add", "30 7 * * *", kwargs={"x": 1})
    with store._database.write("normal") as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO litequeue_stats VALUES (?, ?, 5, 4, 1, 1, 3, 0.5)",
            [(int(now) // PERIOD * PERIOD - PERIOD * ago, queue) for ago in range(4) for queue in ("celery", "mail")],
        )
        connection.execute("INSERT OR REPLACE INTO litequeue_starts VALUES ('looks.add', 0, ?)", (now,))
        connection.execute("INSERT OR REPLACE INTO litequeue_lanes VALUES ('mail', 'looks.nobody_knows')")


def _process(role: str, identity: Identity, parent: int | None = None, events: bool = False) -> NewProcess:
    info = {"pool": "prefork", "concurrency": 1, "tasks": list(NAMES), "version": "1"}
    return NewProcess(
        worker=NODE, role=role, parent=parent, identity=identity, queues=("celery", "mail"), info=info, events=events
    )


# What somebody may have written into a row

DEEP = "[" * 100_000 + "]" * 100_000
_TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a\tb\x1fc",
        "\x1b[2J\x1b]0;x\x07",
        "\n\n",
        "é" * 3,
        "\u202e\U0001f600\ufffe",
        "'; DROP TABLE x; --",
    ),
    *(
        "{",
        "[1",
        "7",
        "-1",
        "null",
        "true",
        "[]",
        "{}",
        '"x"',
        "[[]]",
        "[{}]",
        "[7]",
        "[null]",
        "[[], {}]",
        "[[1], []]",
    ),
    *("NaN", "Infinity", '{"a": NaN}', "1e999", "[" + "9" * 5000 + "]", '"\\ud800"', '["\\ud800", {"\\udfff": 1}]'),
    *(
        DEEP,
        '{"type": 7, "args": 5, "text": []}',
        '{"type": "ValueError"}',
        '{"done": "x", "total": [], "message": {}}',
    ),
    *('{"done": 1e308, "total": -1, "message": "\\ud800"}', '{"pool": [], "concurrency": {}, "tasks": 7}'),
    *('{"concurrency": 1000000000000, "tasks": {"a": 1}}', '{"tasks": null, "pool": null}'),
    *(
        '{"__type__": "datetime", "value": 5}',
        '[["", "x", {}]]',
        '[["sent"]]',
        '[["claimed", 5, [], 7]]',
        "[[1, 2, 3, 4]]",
    ),
    *('[["failed", "nobody", null], ["", 7, []]]', '[["", "my-event", {"timestamp": "x", "hostname": 5, "uuid": []}]]'),
    *(
        '[["", "task-failed", {"uuid": "x", "type": 5, "number": "y"}]]',
        '[["", "worker-heartbeat", {"timestamp": 1e300}]]',
    ),
    *('{"type": "interval", "seconds": -5}', '{"type": "crontab", "expression": "99 * * * *"}', '{"type": "at"}'),
    *('{"type": "object", "class": "os:nothing"}', '{"task": 7, "args": {}, "kwargs": [], "options": 5}'),
    *("sleeping", "ready", "running", "failed", "succeeded", "waiting", "scheduled", "revoked", "ignored", "worker"),
    *(
        "child",
        "celery",
        "json",
        "pickle",
        "morse",
        "error",
        "upstream",
        "zlib",
        "gzip",
        "queue",
        "task",
        "then",
        "body",
    ),
    *("SIGNOSUCH", "10/m", "x/y", "-1/s", "Mars/Olympus", "Europe/Paris", "all", "skip", "x" * 1_000_000),
)
_INTEGERS = (0, 1, -1, 2, 7, 64, 255, 256, 99_999_999, 10**12, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
_REALS = (0.0, -1.0, 1e-300, 0.5, 1e10, 253402300800.0, 1e12, 1e18, 1e300, -1e300, float("inf"), float("-inf"))
_BLOBS = (b"", b"\x00\xff\xfe", b"\x80\x04N.", b"\x78\x9c garbage", b"{}", b"x" * 1_000_000)
_OF_KIND: dict[str, tuple[Any, ...]] = {
    "TEXT": _TEXTS,
    "INTEGER": _INTEGERS,
    "REAL": _REALS,
    "ANY": (*_TEXTS, *_INTEGERS, *_REALS, *_BLOBS),
}
_WITHOUT = ("litequeue_meta",)  # what it says of the file, not of a row


class Column(NamedTuple):
    """A column of a table."""

    table: str
    name: str
    kind: str
    required: bool


class Harm(NamedTuple):
    """A statement that harms rows, and what it stands for in a message."""

    statement: str
    bindings: tuple[Any, ...]

    def __str__(self) -> str:
        shown = ", ".join(text if len(text := repr(each)) < 80 else f"{text[:40]}…" for each in self.bindings)
        return f"{' '.join(self.statement.split())} [{shown}]"


def columns(db: apsw.Connection) -> list[Column]:
    """All columns of the queue's tables."""
    return [
        Column(table, name, kind, bool(required or key))
        for (table,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'litequeue_*' ORDER BY 1"
        ).fetchall()
        if table not in _WITHOUT
        for _, name, kind, required, _, key in db.execute(f"SELECT * FROM pragma_table_info('{table}')").fetchall()
    ]


def values(column: Column) -> tuple[Any, ...]:
    """What may stand in it, as far as its type goes."""
    return _OF_KIND[column.kind] if column.required else (None, *_OF_KIND[column.kind])


def write_value(column: Column, value: Any, share: str) -> Harm:
    """One value in the rows that `share` means."""
    return Harm(f"UPDATE OR IGNORE {column.table} SET {column.name} = ? WHERE {share}", (value,))


_WHICH = (
    "TRUE",
    "abs(random()) % 2",
    "rowid = (SELECT max(rowid) FROM {table})",
)
REMOVALS = (
    "DELETE FROM litequeue_attempts",
    "DELETE FROM litequeue_groups",
    "DELETE FROM litequeue_groups WHERE group_id IS NULL",
    "DELETE FROM litequeue_processes",
    "DELETE FROM litequeue_processes WHERE role = 'worker'",
    "DELETE FROM litequeue_processes WHERE role = 'child'",
    "DELETE FROM litequeue_logs WHERE number = 2",
    "DELETE FROM litequeue_events WHERE number % 2",
    "DELETE FROM litequeue_events",
    "DELETE FROM litequeue_stamps",
    "DELETE FROM litequeue_meta WHERE key = 'gates'",
    "DELETE FROM litequeue_tasks WHERE state = 'running'",
    "DELETE FROM litequeue_tasks WHERE after IS NOT NULL",
    "DELETE FROM litequeue_tasks WHERE group_id IS NOT NULL",
    "DELETE FROM litequeue_tasks WHERE seq % 2",
    "UPDATE litequeue_tasks SET after = id",
    "UPDATE litequeue_tasks SET parent_id = id, root_id = id",
    "UPDATE litequeue_groups SET group_id = id, group_index = 0",
    "UPDATE litequeue_tasks SET result_serializer = 'upstream', result = id WHERE state IN ('failed', 'revoked')",
    "UPDATE litequeue_tasks SET result_serializer = 'error', result = '{'",
    "UPDATE litequeue_processes SET parent = id",
    "UPDATE litequeue_processes SET pid = -1",
    "UPDATE litequeue_processes SET pid = 1, started = ''",
)
"""Rows that are missing, or that are tied to themselves."""


def any_harm(chance: random.Random, all_columns: Sequence[Column]) -> Harm:
    """Something that somebody did to the file."""
    if chance.random() < 0.1:
        return Harm(chance.choice(REMOVALS), ())
    tasks = [column for column in all_columns if column.table == "litequeue_tasks"]
    column = chance.choice(tasks if chance.random() < 0.5 else all_columns)
    share = chance.choice(_WHICH)
    if "rowid" in share and column.table not in ("litequeue_tasks", "litequeue_processes", "litequeue_events"):
        share = "TRUE"
    return write_value(column, chance.choice(values(column)), share.format(table=column.table))


def harm(path: Path, harms: Sequence[Harm]) -> list[tuple[str, str]]:
    """Do it to the file. Returns (id, name) of the tasks that it has then, the newest first."""
    db = apsw.Connection(str(path))
    try:
        db.execute("PRAGMA ignore_check_constraints=ON")
        for each in harms:
            try:
                db.execute(each.statement, each.bindings)
            except (apsw.ConstraintError, apsw.MismatchError):
                continue
        return db.execute("SELECT id, name FROM litequeue_tasks ORDER BY seq DESC").fetchall()
    finally:
        db.close()


# Looking


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, as the JSON of other programs: there is no NaN in it."""
        return json.loads(self.out, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class Console(io.TextIOWrapper):
    """A stream of a process: what cannot be written in UTF-8 is an error."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        """What was written."""
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined,no-any-return]


def command(*argv: str, of: LiteQueue | None = app, stdin: str = "") -> Answer:
    """Carry out a command line in this process."""
    out, err, given = Console(), Console(), sys.stdin
    sys.stdin = io.StringIO(stdin)
    try:
        with redirect_stdout(out), redirect_stderr(err), quick(" ".join(argv)):
            code = run(argv, app=of)
    finally:
        sys.stdin = given
    return Answer(argv, code, out.text(), err.text())


@contextmanager
def quick(what: str) -> Iterator[None]:
    """Fail where something takes so long that it must hang."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def late(*_: Any) -> None:
        raise AssertionError(f"it hangs: {what[:200]}")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


ASK = ("-t", "0.01")
"""How long to wait for workers: the one that is registered is no worker."""
LOOKS: tuple[tuple[str, ...], ...] = (
    ("inspect", "--once"),
    ("inspect", "tasks", "--limit", "1000"),
    ("inspect", "tasks", "--state", "FAILURE,RETRY,PROGRESS,waiting", "--text", "x", "--since", "1h"),
    ("inspect", "tasks", "--name", "looks.*", "-Q", "*", "--worker", NODE),
    ("inspect", "failures"),
    ("inspect", "slow"),
    ("inspect", "file"),
    ("inspect", "file", "--check"),
    ("inspect", "queues"),
    ("inspect", "workers"),
    ("inspect", "schedules"),
    ("events", "--once"),
    ("events", "--once", "--dump", "--after", "3", "--limit", "5"),
    ("status", *ASK),
    ("list", "queues"),
    ("list", "bindings"),
    ("list", "tasks"),
    ("graph", "workers"),
    ("graph", "bindings"),
    ("dead",),
    ("dead", "--state", "all", "--since", "1h"),
    ("report",),
    ("doctor",),
    ("doctor", "--full"),
    ("upgrade", "--check"),
    ("schedule", "list"),
    ("schedule", "show", "mornings"),
    ("schedule", "preview", "each-minute"),
    *(
        ("inspect", *words, *ASK)
        for words in (
            ("active",),
            ("active_queues",),
            ("clock",),
            ("conf",),
            ("memsample",),
            ("ping",),
            ("query_task", "x"),
            ("registered",),
            ("report",),
            ("reserved",),
            ("revoked",),
            ("scheduled",),
            ("stats",),
        )
    ),
)
"""Every command that only reads, and needs no id."""
OF_A_TASK: tuple[tuple[str, ...], ...] = (
    ("inspect", "task"),
    ("inspect", "explain"),
    ("graph", "task"),
    ("graph", "task", "--format", "mermaid", "--ids"),
    ("graph", "task", "--format", "dot"),
    ("dead", "show"),
    ("result",),
    ("result", "--traceback"),
)
"""And of those that need one."""


def problems(answer: Answer, as_json: bool) -> Iterator[str]:
    """What is wrong with an answer whatever the file holds."""
    if answer.code not in EXIT_CODES:
        yield f"exit code {answer.code}"
    if "Traceback (most recent call last)" in answer.err:
        yield f"a traceback: {answer.err[-600:]}"
    if answer.err and not all(line.startswith("litequeue") for line in answer.err.splitlines()):
        yield f"stderr: {answer.err[:600]}"
    if answer.code != 0 and not answer.err and not answer.out:
        yield f"exit code {answer.code} without a word"
    if "\x1b" in answer.out or "\x07" in answer.out:
        yield "a control character of a row came through to the terminal"
    if as_json and answer.out:
        lines = answer.out.splitlines() if answer.argv[1:2] == ("events",) else [answer.out]
        for line in lines:
            try:
                json.loads(line, parse_constant=_no_constant)
            except ValueError as error:
                yield f"not JSON: {error}: {line[:200]}"


def calls(chance: random.Random, ids: Sequence[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The same by calls from a program, with what each is."""
    from litequeue.inspect import file, queues, schedules, take, tasks, workers
    from litequeue.inspect.explain import explain
    from litequeue.inspect.failures import failures, slow
    from litequeue.inspect.page import page

    yield "take", lambda: json.dumps(take(app).as_dict())
    for verb in (failures, slow):
        yield verb.__name__, lambda verb=verb: json.dumps(verb(app).as_dict())
    for part in (queues, schedules, tasks, workers):
        yield part.__name__, lambda part=part: json.dumps([each.as_dict() for each in part(app)])
    yield "file", lambda: json.dumps(file(app, count=True, check=True).as_dict())
    for task_id in chance.sample(ids, min(2, len(ids))):
        yield f"page of {task_id[:60]}", lambda task_id=task_id: json.dumps(page(app, task_id).as_dict(), default=str)
        yield f"explain {task_id[:60]}", lambda task_id=task_id: json.dumps(explain(app, task_id).as_dict())
        yield f"result of {task_id[:60]}", lambda task_id=task_id: _result(task_id)
    yield "receivers", _receive
    yield "state", _state


def _result(task_id: str) -> None:
    answer = app.AsyncResult(task_id)
    assert isinstance(answer.state, str)
    assert answer.engine_state is None or isinstance(answer.engine_state, str)
    _ = answer.progress


def _receive() -> None:
    """Nothing of it is an error, and the numbers grow."""
    seen: list[int] = []
    receiver = app.events.Receiver(handlers={"*": lambda event: seen.append(event["number"])}, after=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LiteQueueWarning)
        for event in receiver.read():
            assert {"type", "timestamp", "number"} <= event.keys()
            assert "\n" not in live_line(event, 80)
    assert seen == sorted(set(seen))


def _state() -> None:
    state = app.events.State()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LiteQueueWarning)
        for event in app.events.Receiver(after=0).read():
            state.event(event)
    repr(state)
    list(state.tasks_by_time())
    list(state.alive_workers())
