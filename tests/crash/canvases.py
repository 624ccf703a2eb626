"""Canvases for the crash tests: small ones, each with one end that is to be interrupted.

A `Scene` is a canvas whose tasks have names for ids, and what each of them does when it is run. So it can be played by
any number of processes, one after the other: whoever runs a task does the same as who died of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from litequeue.core import clock
from litequeue.core.records import Claimed, Encoded, Graft, NewCanvas, NewGroup, NewTask, Outcome
from litequeue.core.ties import BODY, ERRBACK, ERRBACKS, FEEDS, LEADS, LINK, MEMBER, THEN, write_errbacks
from litequeue.store.contract import Claimant
from litequeue.store.sqlite.store import SQLiteStore

from .invariants import violations
from .story import ERROR, claimant, new_task, tickets

Node = NewTask | NewGroup
Play = Callable[[Claimed], Outcome]


def task(name: str, after: str | None = None, edge: str = THEN, **fields: Any) -> NewTask:
    """A task with its name as id, which may wait for a node."""
    place = {} if after is None else {"after": after, "edge": edge, "takes_input": 1}
    return new_task(**{**place, **fields})._replace(id=name)


def member(name: str, group: str, index: int | None = None, after: str | None = None, **fields: Any) -> NewTask:
    """A task that is a part of a group."""
    return task(name, after, **fields)._replace(group_id=group, group_index=index, ties=MEMBER | FEEDS)


def group(name: str, size: int, **fields: Any) -> NewGroup:
    """A group with its name as id."""
    return NewGroup(name, size)._replace(**fields)


def watched(new: NewTask, *errbacks: str) -> NewTask:
    """A task with error callbacks of these names, which take what failed."""
    templates = [new_task(options=json.dumps({"shadow": name}), takes_input=1) for name in errbacks]
    return new._replace(ties=new.ties | ERRBACKS, errbacks=write_errbacks(templates))


def canvas(*nodes: Node, waiting: NewTask | None = None) -> NewCanvas:
    """A canvas of these nodes, each task tied to what waits for it, of which `waiting` is not in it."""
    tasks = [node for node in nodes if isinstance(node, NewTask)]
    led = {row.after for row in (*tasks, waiting) if row is not None}
    tied = [row._replace(ties=row.ties | (LEADS | FEEDS if row.id in led else 0)) for row in tasks]
    return NewCanvas(tied, [node for node in nodes if isinstance(node, NewGroup)])


def succeeds(claimed: Claimed) -> Outcome:
    """The task returns its own id."""
    return Outcome(claimed, "succeeded", clock.now(), Encoded(json.dumps(claimed.id), "json"))


def fails(claimed: Claimed) -> Outcome:
    """The task raises."""
    return Outcome(claimed, "failed", clock.now(), ERROR, "Traceback …")


def ignores(claimed: Claimed) -> Outcome:
    """The task raises Ignore."""
    return Outcome(claimed, "ignored", clock.now())


def joins(*nodes: Node) -> Play:
    """The task adds to its chord, and returns its id."""
    return lambda claimed: succeeds(claimed)._replace(graft=Graft(canvas=canvas(*nodes)))


def stops(*edges: str) -> Play:
    """The task stops what hangs on it by these edges, and returns its id."""
    return lambda claimed: succeeds(claimed)._replace(graft=Graft(stop=edges))


def becomes(new: NewTask, *nodes: Node) -> Play:
    """The task is replaced; what it has become, named otherwise, returns its id."""

    def play(claimed: Claimed) -> Outcome:
        if claimed.options:
            return succeeds(claimed)
        state = "ready" if new.after is None else "waiting"
        return Outcome(claimed, state, clock.now(), graft=Graft(new, canvas(*nodes, waiting=new)))

    return play


@dataclass(frozen=True)
class Scene:
    """A canvas, the task whose end is interrupted, and what its tasks do."""

    nodes: tuple[Node, ...]
    key: str
    before: tuple[str, ...] = ()
    """What has run already."""
    plays: dict[str, Play] = field(default_factory=dict)
    attached: tuple[Node, ...] = ()
    """What is attached to the key while it runs."""

    def play(self, claimed: Claimed) -> Outcome:
        """What the task of `claimed` does."""
        return self.plays.get(claimed.id, succeeds)(claimed)


_CHORD = (member("a", "g", 0), member("b", "g", 1), group("g", 2), task("body", "g", BODY), task("after", "body"))
_NESTED = (
    group("g", 2),
    group("inner", 2, group_id="g", group_index=1),
    member("a", "g", 0),
    member("b", "inner", 0),
    member("c", "inner", 1),
    task("inner body", "inner", BODY),
    task("body", "g", BODY),
)
_AGAIN = new_task(options='{"shadow": "again"}')

SCENES = {
    "a step releases the next": Scene((task("a"), task("b", "a"), task("c", "b")), "a"),
    "a task releases its links": Scene((task("a"), task("l", "a", LINK), task("m", "a", LINK)), "a"),
    "a member is counted": Scene(_CHORD, "a"),
    "the last member releases the body": Scene(_CHORD, "b", ("a",)),
    "the last member of a group in a group releases both": Scene(_NESTED, "c", ("a", "b")),
    "a failure fails what comes after and fires": Scene(
        (watched(task("a"), "x", "y"), watched(task("b", "a"), "z"), member("c", "g", 0, "b"), member("d", "g", 1),
         group("g", 2), task("body", "g", BODY)),
        "a", ("d",), {"a": fails},
    ),
    "the last member fails the body, which fires": Scene(
        (*_CHORD[:3], watched(_CHORD[3], "x"), _CHORD[4]), "b", ("a",), {"b": fails}
    ),
    "a member is ignored": Scene((*_CHORD, task("l", "b", LINK)), "b", ("a",), {"b": ignores}),
    "a tolerant group runs its body": Scene(
        (*_CHORD[:2], group("g", 2, tolerant=1), *_CHORD[3:]), "b", ("a",), {"b": fails}
    ),
    "a member becomes a chord": Scene(
        _CHORD, "b", ("a",),
        {"b": becomes(_AGAIN._replace(after="h", edge=BODY, takes_input=1), member("d", "h", 0), member("e", "h", 1),
                      group("h", 2))},
    ),
    "a step becomes a chain": Scene(
        (watched(task("a"), "x"), task("b", "a")), "a", (),
        {"a": becomes(_AGAIN._replace(after="d", edge=THEN, takes_input=1), task("d"))},
    ),
    "a member adds to its chord": Scene(
        _CHORD, "b", ("a",), {"b": joins(member("d", "g"), task("e"), member("f", "g", after="e"))}
    ),
    "a task stops its chain": Scene(
        (task("a"), task("b", "a"), task("c", "b"), task("l", "a", LINK)), "a", plays={"a": stops(THEN)}
    ),
    "a link that was attached is released": Scene((task("a"),), "a", attached=(task("l", "a", LINK),)),
}  # fmt: skip


# Canvases in all conditions, for the verbs that change several at once

_RED = '{"colour":"red"}'
SUITE: tuple[Node, ...] = (
    *(member("m1", "m", 0), member("m2", "m", 1), group("m", 2), task("m body", "m", BODY), task("m last", "m body")),
    *(watched(task("c1"), "x", "y"), task("c2", "c1"), task("c3", "c2"), task("c link", "c1", LINK)),
    *(member("n1", "n", 0), group("n", 1), task("n body", "n", BODY)),
    *(member("o1", "o", 0), group("o", 1), task("o body", "o", BODY)),
    task("i1", ignore_result=1), task("i2", "i1"),
    *(member("r1", "r", 0), member("r2", "r", 1), group("r", 2), watched(task("r body", "r", BODY), "x")),
    *(task("s1", stamps=_RED), task("s2", "s1"), task("s3", "s2", stamps=_RED)),
)  # fmt: skip
HELD = ("m2", "c1", "n1", "o1", "i2")
"""What a worker holds of them; what is before it has run."""
LATE: tuple[Node, ...] = (
    *(task("e1", expires_at=1.0), task("e2", "e1"), member("e3", "e", 0, "e2"), group("e", 1)),
    watched(task("e body", "e", BODY), "x"),
)
"""A canvas that has expired."""
FRESH: tuple[Node, ...] = (
    *(task("f1"), task("f2", "f1"), member("f3", "f", 0, "f2"), member("f4", "f", 1), group("f", 2)),
    *(group("empty", 0), task("f5", "empty", BODY, stamps=_RED), watched(task("f body", "f", BODY), "x")),
)
"""A canvas that is not there yet."""
ENDS: dict[str, Play] = {
    "c1": fails,
    "n1": becomes(new_task(options="{}", after="h", edge=BODY, takes_input=1), member("h1", "h", 0), group("h", 1)),
    "o1": joins(member("o2", "o")),
}


def in_queue(queue: str, *nodes: Node) -> tuple[Node, ...]:
    """The same nodes, their tasks in a queue."""
    return tuple(node._replace(queue=queue) if isinstance(node, NewTask) else node for node in nodes)


def prepare(store: SQLiteStore, holder: int) -> tuple[Claimed, ...]:
    """Write SUITE and LATE; returns what `holder` then holds, in the order of HELD."""
    store.enqueue_canvas(canvas(*in_queue("other", *SUITE)))
    store.enqueue_canvas(canvas(*in_queue("late", *LATE)))
    me = claimant(holder, queues=("other",))
    held = {claimed.id: claimed for claimed in store.claim(me, 50).claimed}
    settled = store.settle(me, [succeeds(held.pop(name)) for name in ("m1", "i1")], 50)
    held.update((claimed.id, claimed) for claimed in settled.claimed)
    claims = tuple(held.pop(name) for name in HELD)
    store.release(holder, tickets(*held.values()))
    return claims


def settle_all(store: SQLiteStore, holder: int, held: tuple[Claimed, ...]) -> None:
    """End what `prepare` has claimed, one of each kind, and claim what that releases."""
    outcomes = [ENDS.get(claimed.id, succeeds)(claimed) for claimed in held]
    store.settle(claimant(holder, queues=("other",)), outcomes, 3)


VERBS: dict[str, Callable[[SQLiteStore], Any]] = {
    "enqueue a canvas": lambda store: store.enqueue_canvas(canvas(*FRESH)),
    "attach to a task": lambda store: store.attach(
        "m2", canvas(task("l1", "m2", LINK), task("l2", "l1")), [new_task()]
    ),
    "attach to an ended task": lambda store: store.attach("m1", canvas(task("l1", "m1", LINK), task("l2", "l1"))),
    "revoke canvases": lambda store: store.revoke(["r", "s1", "c2"]),
    "revoke by a stamp": lambda store: store.revoke_stamped({"colour": ["red"]}),
    "prune canvases": lambda store: store.prune(100),
    "forget parts": lambda store: store.forget(["m1", "m2", "i1", "s2"]),
    "purge canvases": lambda store: store.purge(["other"]),
}
"""The verbs that change canvases, apart from their ends, on what `prepare` wrote."""


# Scenes


def write(store: SQLiteStore, scene: Scene, me: Claimant) -> None:
    """Put the canvas of a scene into the file, and run what has run."""
    store.enqueue_canvas(canvas(*scene.nodes))
    held = {claimed.id: claimed for claimed in store.claim(me, 50).claimed}
    store.settle(me, [scene.play(held.pop(name)) for name in scene.before])
    store.release(me.holder, tickets(*held.values()))


def hold(store: SQLiteStore, scene: Scene, me: Claimant) -> Claimed:
    """Claim the key of a scene; everything else is given back."""
    held = {claimed.id: claimed for claimed in store.claim(me, 50).claimed}
    key = held.pop(scene.key)
    store.release(me.holder, tickets(*held.values()))
    if scene.attached:
        store.attach(scene.key, canvas(*scene.attached), [new_task(takes_input=1)])
    return key


def finish(store: SQLiteStore, scene: Scene, me: Claimant) -> dict[str, Any]:
    """Run a scene to its end, one task at a time; what each task was given, and how it ended.

    An error callback, whose id is new each time, is named after what it follows.
    """
    given: dict[str, Any] = {}
    runs: dict[str, int] = {}
    while claims := store.claim(me, 1).claimed:
        (claimed,) = claims
        name = _name(claimed)
        runs[name] = runs.get(name, 0) + 1
        if claimed.takes_input:
            given[name] = _plain(store, claimed)
        assert not store.settle(me, [scene.play(claimed)]).lost
    with store._database.read() as connection:
        assert violations(connection) == []
        rows = connection.execute(
            "SELECT id, after, edge, options, state, result, result_serializer FROM litequeue_tasks ORDER BY 1"
        ).fetchall()
        groups = connection.execute("SELECT id, size, remaining, failed_id FROM litequeue_groups ORDER BY 1").fetchall()
    ends = {
        _name_of(task_id, after, edge, options): (state, "ChordError" if "ChordError" in (result or "") else result)
        if serializer != "json" or edge != ERRBACK
        else (state, "its id")
        for task_id, after, edge, options, state, result, serializer in rows
    }
    known = {node.id for node in scene.nodes} | {"h"}
    return {
        "ends": ends,
        "given": given,
        "runs": runs,
        "groups": [row for row in groups if row[0] in known],
        "others": sorted(row[1:3] for row in groups if row[0] not in known),
    }


def _name(claimed: Claimed) -> str:
    return _name_of(claimed.id, claimed.after, claimed.edge, claimed.options)


def _name_of(task_id: str, after: str | None, edge: str | None, options: str | None) -> str:
    if edge == ERRBACK:
        return f"{json.loads(options or '{}').get('shadow')} of {after}"
    return f"{task_id} again" if options else task_id


def _plain(store: SQLiteStore, claimed: Claimed) -> Any:
    given = store.inputs(claimed)
    return f"failed: {given.failed.id}" if given.failed is not None else _value(given.value)


def _value(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Encoded):
        return json.loads(value.data) if value.serializer == "json" else "an error"
    return [_value(each) for each in value]
