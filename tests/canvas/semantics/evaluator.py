"""What a canvas must do, worked out on paper: a pure evaluator, which knows nothing of rows.

A canvas is a tree of the records below. `evaluate` says of every task how it ends, with what value or exception, how
often it runs and with what input, and which error callbacks are told of what.

The rules, in the order of the code:

- `Chain.link` goes to its last step, `Group.link` to its first member (which passes nothing on), `Chord.link` to the
  body. `Chain.link_error` goes to every step, but of a group that is followed by something to none of its members;
  `Group.link_error` to every member; `Chord.link_error` to the body, and with `on_header` to the header too.
- What precedes a node gives it a value, nothing at all, or the reason why it does not run. If a *task* before it did
  not end well, then everything in the node ends as that task did, and tells no error callback. If a *group* before it
  failed, then the tasks that waited for it fail with ChordError, and tell theirs.
- A group gives the list of what its members give; a group in a group is spliced in. It fails when a member failed or
  was revoked. A member that ended ignored gives None.
- A task that replaces itself ends as its replacement does, which gets its links and error callbacks; of a group it
  becomes the list.
- What was revoked before it could start ends what waits for it at once, whatever happens before it later.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

SUCCESS, FAILURE, REVOKED, IGNORED = "SUCCESS", "FAILURE", "REVOKED", "IGNORED"


# The canvas


class Drawn:
    """Shows itself as the call that makes it, without what has its default."""

    def __repr__(self) -> str:
        shown = []
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if value != each.default:
                shown.append(f"{each.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class Errback(Drawn):
    """An error callback."""

    uid: int
    style: str
    """`old`, `new`, `bound`, `immutable`, `failing`."""


@dataclass(frozen=True, repr=False)
class Task(Drawn):
    """One call."""

    uid: int
    fate: str = "ok"
    """`ok`, `silent`, `fail`, `flaky`, `ignore`, `replace`, `enlarge`; `accumulate` gives back its input."""
    times: int = 0
    """How often a flaky one is retried."""
    wish: Node | None = None
    """What it becomes, or adds to its chord."""
    immutable: bool = False
    named: bool = True
    """Whether its id is known beforehand; False inside of a replacement."""
    revoked: bool = False
    links: tuple[Node, ...] = ()
    errbacks: tuple[Errback, ...] = ()


@dataclass(frozen=True, repr=False)
class Loop(Drawn):
    """A task called for several arguments, in one task."""

    uid: int
    kind: str
    """`map` or `starmap`."""
    size: int
    links: tuple[Node, ...] = ()
    errbacks: tuple[Errback, ...] = ()


@dataclass(frozen=True, repr=False)
class Chain(Drawn):
    steps: tuple[Node, ...]
    links: tuple[Node, ...] = ()
    errbacks: tuple[Errback, ...] = ()
    piped: bool = False
    """Made with `|` instead of `chain()`."""


@dataclass(frozen=True, repr=False)
class Group(Drawn):
    members: tuple[Node, ...]
    links: tuple[Node, ...] = ()
    errbacks: tuple[Errback, ...] = ()


@dataclass(frozen=True, repr=False)
class Chord(Drawn):
    header: tuple[Node, ...]
    body: Node
    tolerant: bool = False
    links: tuple[Node, ...] = ()
    errbacks: tuple[Errback, ...] = ()


Node = Task | Loop | Chain | Group | Chord


def tasks_of(node: Node) -> Iterator[Task]:
    """Every task of a canvas, those of its callbacks and replacements too."""
    match node:
        case Task():
            yield node
            if node.wish is not None:
                yield from tasks_of(node.wish)
        case Chain():
            for step in node.steps:
                yield from tasks_of(step)
        case Group():
            for member in node.members:
                yield from tasks_of(member)
        case Chord():
            for member in (*node.header, node.body):
                yield from tasks_of(member)
    for link in node.links:
        yield from tasks_of(link)


# Who gets the links and the error callbacks of a canvas


@dataclass(frozen=True)
class Distribution:
    """Puts the links and error callbacks of canvases on their tasks."""

    on_header: bool = False
    """Whether the error callbacks of a chord are also those of its header (`task_allow_error_cb_on_chord_header`)."""

    def of(self, node: Node) -> Node:
        """The canvas with its links and error callbacks on its tasks; inner chains become part of the outer."""
        match node:
            case Task() | Loop():
                return replace(node, links=self.all(node.links))
            case Chain():
                steps: list[Node] = []
                for step in self.all(node.steps):
                    steps += step.steps if isinstance(step, Chain) else [step]
                bare: Node = Chain(tuple(steps))
            case Group():
                bare = Group(self.all(node.members))
            case Chord():
                bare = Chord(self.all(node.header), self.of(node.body), node.tolerant)
        return self.give(bare, self.all(node.links), node.errbacks)

    def all(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        return tuple(self.of(node) for node in nodes)

    def give(
        self, node: Node, links: tuple[Node, ...] = (), errbacks: tuple[Errback, ...] = (), followed: bool = False
    ) -> Node:
        """A distributed canvas with more links and error callbacks; `followed`: by something in its chain."""
        match node:
            case Task() | Loop():
                new = tuple(errback for errback in errbacks if errback not in node.errbacks)
                return replace(node, links=(*node.links, *links), errbacks=(*node.errbacks, *new))
            case Chain():
                last = len(node.steps) - 1
                steps = [
                    self.give(step, links if index == last else (), errbacks, followed or index < last)
                    for index, step in enumerate(node.steps)
                ]
                return Chain(tuple(steps))
            case Group():
                fixed = tuple(_immutable(link) for link in links)
                told = errbacks if self.on_header or not followed else ()
                return Group(tuple(self.give(each, () if n else fixed, told) for n, each in enumerate(node.members)))
            case Chord():
                header = tuple(self.give(each, (), errbacks if self.on_header else ()) for each in node.header)
                return Chord(header, self.give(node.body, links, errbacks, followed), node.tolerant)


def _immutable(link: Node) -> Node:
    assert isinstance(link, Task), "only tasks are linked to groups"
    return replace(link, immutable=True)


def ends_in_group(node: Node) -> bool:
    """Whether the value of a node is that of a group."""
    match node:
        case Group():
            return True
        case Chain():
            return ends_in_group(node.steps[-1])
        case Chord():
            return ends_in_group(node.body)
    return False


def accumulated(node: Node) -> Node:
    """A replacement that ends in a task: a group gets one that gives back its list."""
    match node:
        case Group():
            return Chord((node,), Task(-1, "accumulate", named=False))
        case Chain() if ends_in_group(node):
            return replace(node, steps=(*node.steps[:-1], accumulated(node.steps[-1])))
        case Chord() if ends_in_group(node):
            return replace(node, body=accumulated(node.body))
    return node


# What comes out


@dataclass(frozen=True)
class Failure:
    """An exception: `Bad` of a task, `ChordError` naming one of `ids`, or `TaskRevokedError`."""

    kind: str
    uid: int | None = None
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """How a node ended."""

    state: str
    value: Any = None
    """What it gives; for a node that did not end well, what a tolerant chord sees of it."""
    error: Failure | None = None
    causes: frozenset[str] = frozenset()
    """The ids that a ChordError may name."""
    more: tuple[Node, ...] = ()
    """What was added to the chord."""
    stopped: Stopped | None = None
    """Why a group never began; what follows it ends for the same reason."""


@dataclass(frozen=True)
class Given:
    """A value came before."""

    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Stopped:
    """A task came before that did not end well."""

    state: str
    error: Failure | None
    causes: frozenset[str]


@dataclass(frozen=True)
class Broken:
    """A group came before that failed."""

    causes: frozenset[str]


Flow = Given | Stopped | Broken


@dataclass
class Expected:
    """Everything that can be seen of a canvas."""

    states: dict[str, tuple[str, Any, Failure | None]] = field(default_factory=dict)
    """By id: the state, the value that is kept, the exception."""
    runs: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    """`(uid, retries, digest of the inputs)`: how often."""
    told: Counter[tuple[int, str, str | None]] = field(default_factory=Counter)
    """`(uid of the error callback, style, id)`: how often."""


def digest(inputs: Any) -> str:
    """A short name for a value, the same here and in a worker."""
    return hashlib.sha1(json.dumps(_plain(inputs)).encode()).hexdigest()[:10]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, Failure):
        return {"!": value.kind, "uid": value.uid}
    if isinstance(value, BaseException):
        kind = type(value).__name__
        return {"!": kind, "uid": value.args[0] if kind == "Bad" else None}
    return value


def result_of(uid: int, inputs: Any) -> str:
    """The value of a task: it names the task and what it was given."""
    return f"{uid}.{digest(inputs)}" if inputs else str(uid)


def id_of(prefix: str, task: Task) -> str:
    """The id of a named task; of another, the word that stands for it."""
    return f"{prefix}{task.uid}" if task.named else f"anonymous {task.uid}"


class Evaluator:
    """Evaluates canvases; everything they show is collected in `expected`."""

    def __init__(self, prefix: str, on_header: bool = False) -> None:
        self.prefix = prefix
        self.distribution = Distribution(on_header)
        self.expected = Expected()

    def evaluate(self, canvas: Node, values: tuple[Any, ...] = ()) -> Outcome:
        """How the canvas ends when it is given `values`."""
        return self.node(self.distribution.of(canvas), Given(values))

    def node(self, node: Node, flow: Flow, row_id: str | None = None) -> Outcome:
        match node:
            case Task():
                return self.task(node, flow, row_id)
            case Loop():
                return self.loop(node, flow, row_id)
            case Chain():
                return self.chain(node, flow, row_id)
            case Group():
                return self.group(node.members, flow)
            case Chord():
                return self.chord(node, flow, row_id)

    # Tasks

    def task(self, task: Task, flow: Flow, row_id: str | None) -> Outcome:
        task_id = row_id or id_of(self.prefix, task)
        if task.revoked:
            return self.ended(task, task_id, Outcome(REVOKED, error=Failure("TaskRevokedError")))
        if isinstance(flow, Stopped):
            return self.ended(task, task_id, Outcome(flow.state, error=flow.error, causes=flow.causes))
        if isinstance(flow, Broken):
            return self.failed(task, task_id, Failure("ChordError", ids=flow.causes))
        return self.run(task, task_id, () if task.immutable else flow.values)

    def run(self, task: Task, task_id: str, inputs: tuple[Any, ...]) -> Outcome:
        if task.fate == "accumulate":
            return self.ended(task, task_id, Outcome(SUCCESS, inputs[0]))
        for retries in range(task.times + 1 if task.fate == "flaky" else 1):
            self.expected.runs[task.uid, retries, digest(inputs)] += 1
        value = result_of(task.uid, inputs)
        match task.fate:
            case "fail":
                return self.failed(task, task_id, Failure("Bad", task.uid))
            case "ignore":
                return self.ended(task, task_id, Outcome(IGNORED))
            case "replace":
                assert task.wish is not None
                new = accumulated(self.distribution.of(task.wish))
                new = self.distribution.give(new, task.links, task.errbacks)
                return self.node(new, Given(), task_id)
            case "enlarge":
                assert task.wish is not None
                return self.ended(task, task_id, Outcome(SUCCESS, value, more=(self.distribution.of(task.wish),)))
        return self.ended(task, task_id, Outcome(SUCCESS, value), kept=task.fate != "silent")

    def loop(self, loop: Loop, flow: Flow, row_id: str | None) -> Outcome:
        task = Task(loop.uid, links=loop.links, errbacks=loop.errbacks)
        if not isinstance(flow, Given):
            return self.task(task, flow, row_id)
        for index in range(loop.size):
            self.expected.runs[loop.uid, index, "loop"] += 1
        value = [f"{loop.uid}.{index}" for index in range(loop.size)]
        return self.ended(task, row_id or id_of(self.prefix, task), Outcome(SUCCESS, value))

    def failed(self, task: Task, task_id: str, error: Failure) -> Outcome:
        """A task that failed itself, or as a body: its error callbacks are told."""
        for errback in task.errbacks:
            told = None if errback.style == "immutable" else task_id
            self.expected.told[errback.uid, errback.style, told] += 1
        return self.ended(task, task_id, Outcome(FAILURE, error=error))

    def ended(self, task: Task, task_id: str, outcome: Outcome, kept: bool = True) -> Outcome:
        """Write down how a task ended, and go on with its links."""
        causes = outcome.causes or (frozenset() if outcome.state in (SUCCESS, IGNORED) else frozenset({task_id}))
        outcome = replace(outcome, causes=causes)
        if outcome.error is not None:
            outcome = replace(outcome, value=outcome.error)
        if not task_id.startswith("anonymous"):
            value = outcome.value if outcome.state == SUCCESS and kept else None
            self.expected.states[task_id] = (outcome.state, value, outcome.error)
        for link in task.links:
            self.node(link, _after_task(outcome))
        return outcome

    # Canvases

    def chain(self, chain: Chain, flow: Flow, row_id: str | None) -> Outcome:
        for step in chain.steps[:-1]:
            outcome = self.node(step, flow)
            if not isinstance(flow, Stopped) or detached(step):
                flow = _after(step, outcome)
        return self.node(chain.steps[-1], flow, row_id)

    def group(self, members: tuple[Node, ...], flow: Flow) -> Outcome:
        outcomes = [self.node(member, flow) for member in spliced(members)]
        outcomes += [self.node(more, Given()) for outcome in outcomes for more in outcome.more]
        values = [outcome.value for outcome in outcomes]
        causes = frozenset().union(*(each.causes for each in outcomes))
        bad = any(each.state in (FAILURE, REVOKED) for each in outcomes)
        stopped = flow if isinstance(flow, Stopped) and not _all_detached(members) else None
        return Outcome(FAILURE if bad else SUCCESS, values, causes=causes if bad else frozenset(), stopped=stopped)

    def chord(self, chord: Chord, flow: Flow, row_id: str | None) -> Outcome:
        header = self.group(chord.header, flow)
        if isinstance(flow, Stopped) and not _all_detached(chord.header):
            return self.node(chord.body, flow, row_id)
        if header.state == SUCCESS or chord.tolerant:
            return self.node(chord.body, Given((header.value,)), row_id)
        return self.node(chord.body, Broken(header.causes), row_id)


def spliced(members: tuple[Node, ...]) -> list[Node]:
    """The members of a group, with those of groups among them in their place."""
    return [part for member in members for part in (spliced(member.members) if isinstance(member, Group) else [member])]


def _after_task(outcome: Outcome) -> Flow:
    if outcome.state == SUCCESS:
        return Given((outcome.value,))
    return Stopped(outcome.state, outcome.error, outcome.causes)


def _after(step: Node, outcome: Outcome) -> Flow:
    """What a node gives to the next."""
    if outcome.stopped is not None:
        return outcome.stopped
    if outcome.state != SUCCESS and ends_in_group(step):
        return Broken(outcome.causes)
    return _after_task(outcome)


def detached(node: Node) -> bool:
    """Whether a node ended before it could start, because of what was revoked in it."""
    match node:
        case Task():
            return node.revoked
        case Chain():
            return any(detached(step) for step in node.steps)
        case Group():
            return _all_detached(node.members)
        case Chord():
            return detached(node.body) or _all_detached(node.header)
    return False


def _all_detached(members: tuple[Node, ...]) -> bool:
    return bool(members) and all(detached(member) for member in members)
