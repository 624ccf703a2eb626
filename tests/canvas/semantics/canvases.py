"""Random canvases: how they are drawn, and the signatures they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from litequeue import chain, chord, group
from tests.canvas.semantics.acting import (
    bound_errback,
    failing_errback,
    fixed_errback,
    item,
    item2,
    new_errback,
    node,
    old_errback,
)
from tests.canvas.semantics.evaluator import Chain, Chord, Errback, Group, Loop, Node, Task, id_of


def errback(drawn: Errback) -> Any:
    match drawn.style:
        case "new":
            return new_errback.s(uid=drawn.uid)
        case "bound":
            return bound_errback.s(drawn.uid)
        case "immutable":
            return fixed_errback.si(drawn.uid)
        case "failing":
            return failing_errback.s(drawn.uid)
    return old_errback.s(drawn.uid)


# From a drawn canvas to signatures


def build(drawn: Node, prefix: str) -> Any:
    """The signature of a drawn canvas; ids begin with `prefix`."""
    sig = _bare(drawn, prefix)
    for link in drawn.links:
        sig.link(build(link, prefix))
    for each in drawn.errbacks:
        sig.link_error(errback(each))
    return sig


def _bare(drawn: Node, prefix: str) -> Any:
    match drawn:
        case Task():
            wish = None if drawn.wish is None else build(drawn.wish, prefix)
            sig = node.s([drawn.uid, drawn.fate, drawn.times, wish])
            sig.set(immutable=drawn.immutable)
            if drawn.named:
                sig.set(task_id=id_of(prefix, drawn))
            return sig.set(ignore_result=True) if drawn.fate == "silent" else sig
        case Loop():
            told = [(drawn.uid, index) for index in range(drawn.size)]
            sig = item.map(told) if drawn.kind == "map" else item2.starmap(told)
            return sig.set(task_id=id_of(prefix, Task(drawn.uid)))
        case Chain():
            steps = [build(step, prefix) for step in drawn.steps]
            if not drawn.piped:
                return chain(*steps)
            piped = steps[0]
            for step in steps[1:]:
                piped = piped | step
            return piped
        case Group():
            return group(build(member, prefix) for member in drawn.members)
        case Chord():
            header = [build(member, prefix) for member in drawn.header]
            options = {"on_header_error": "run_body"} if drawn.tolerant else {}
            return chord(header, build(drawn.body, prefix), **options)


# Drawing


@dataclass
class Draft:
    """What one canvas may still use."""

    draw: Any
    tasks: int
    uid: int = 0
    named: bool = True
    """Whether ids are given: not in replacements, whose last task takes the id of what it replaces."""
    revokes: bool = True

    def next_uid(self) -> int:
        self.uid += 1
        self.tasks -= 1
        return self.uid

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) < percent)

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))


DEPTH = 6

FATES = ("ok",) * 12 + ("silent", "fail", "fail", "flaky", "ignore", "replace", "replace")


def _node(draft: Draft, depth: int, *, kinds: str = "tlcgo", member: bool = False, step: bool = False) -> Node:
    """Draw a node of one of `kinds`: task, loop, chain, group, chord.

    `member`: it may enlarge the chord that it is a part of; as a `step` of a chain, a group is one part as a whole.
    """
    kind = "t" if depth <= 0 or draft.tasks <= 0 else draft.pick(*kinds)
    match kind:
        case "l":
            return _decorated(draft, depth, Loop(draft.next_uid(), draft.pick("map", "starmap"), draft.pick(1, 2)))
        case "c":
            size = draft.pick(2, 2, 3)
            steps = [_step(draft, depth - 1, index, member and index == size - 1) for index in range(size)]
            return _decorated(draft, depth, Chain(tuple(steps), piped=draft.chance(50)))
        case "g":
            return _decorated(draft, depth, Group(_members(draft, depth - 1, draft.pick(2, 2, 3), member and not step)))
        case "o":
            header = _members(draft, depth - 1, draft.pick(1, 2, 2, 3), member=True)
            body = _node(draft, depth - 1, kinds="tttcgo")
            return _decorated(draft, depth, Chord(header, body, tolerant=draft.chance(15)))
    return _task(draft, depth, member)


def _step(draft: Draft, depth: int, index: int, member: bool) -> Node:
    return _node(draft, depth, kinds="tttlcgo" if index else "tttcgo", member=member, step=True)


def _members(draft: Draft, depth: int, size: int, member: bool) -> tuple[Node, ...]:
    """Members of a group; only the first of a header enlarges it, since the order of two is that of their ends."""
    return tuple(_node(draft, depth, kinds="ttttlcgo", member=member and index == 0) for index in range(size))


def _task(draft: Draft, depth: int, member: bool) -> Task:
    fate = "enlarge" if member and draft.named and draft.chance(10) else draft.pick(*FATES)
    if not draft.named and fate == "silent":
        fate = "ok"  # whether the result of a replacement is kept is that of the task it replaces
    if fate in ("replace", "enlarge") and (depth <= 0 or draft.tasks <= 0):
        fate = "ok"
    uid = draft.next_uid()
    wish = None
    if fate in ("replace", "enlarge"):
        named, draft.named = draft.named, False
        wish = _node(draft, depth - 1, kinds="tcgo" if fate == "replace" else "tt")
        draft.named = named
    drawn = Task(
        uid,
        fate,
        times=draft.pick(1, 2) if fate == "flaky" else 0,
        wish=wish,
        immutable=draft.chance(15),
        named=draft.named,
        revoked=draft.named and draft.revokes and draft.chance(5),
    )
    return _decorated(draft, depth, drawn)


def _decorated(draft: Draft, depth: int, drawn: Any) -> Any:
    """Add callbacks and error callbacks to a node."""
    links: tuple[Node, ...] = ()
    errbacks: tuple[Errback, ...] = ()
    if draft.chance(10) and draft.tasks > 0:
        kinds = "tttcgo" if isinstance(drawn, Task) else "t"
        links = (_node(draft, min(depth - 1, 2) if isinstance(drawn, Task) else 0, kinds=kinds),)
    if draft.chance(20):
        errbacks = (Errback(draft.next_uid(), draft.pick("old", "old", "new", "bound", "immutable", "failing")),)
    return type(drawn)(**{**drawn.__dict__, "links": links, "errbacks": errbacks})


@st.composite
def batches(draw: Any, size: int = 6, depth: int = DEPTH, tasks: int = 14, revokes: bool = True) -> list[Node]:
    """Up to `size` canvases of up to `tasks` tasks (a few more), nested up to `depth`; no two tasks have one number."""
    drawn = []
    for number in range(draw(st.integers(1, size))):
        draft = Draft(draw, draw(st.integers(1, tasks)), uid=1000 * number, revokes=revokes and draw(st.booleans()))
        drawn.append(_node(draft, depth))
    return drawn


# Making a canvas smaller


def smaller(drawn: Node) -> Iterator[Node]:
    """Canvases that are like this one, with a little less; the largest steps first."""
    yield from _parts(drawn)
    for name in ("steps", "members", "header", "links", "errbacks"):
        several = getattr(drawn, name, ())
        least = {"steps": 2, "members": 2, "header": 1}.get(name, 0)
        for index in range(len(several)):
            if len(several) > least:
                yield replace(drawn, **{name: several[:index] + several[index + 1 :]})
    if isinstance(drawn, Task):
        for change in ({"fate": "ok", "wish": None}, {"revoked": False}, {"immutable": False}):
            if (less := replace(drawn, **change)) != drawn:
                yield less
    if isinstance(drawn, Chord) and drawn.tolerant:
        yield replace(drawn, tolerant=False)
    for name in ("steps", "members", "header", "links"):
        several = getattr(drawn, name, ())
        for index, each in enumerate(several):
            for less in smaller(each):
                yield replace(drawn, **{name: (*several[:index], less, *several[index + 1 :])})
    for name in ("body", "wish"):
        if (one := getattr(drawn, name, None)) is not None:
            for less in smaller(one):
                yield replace(drawn, **{name: less})


def _parts(drawn: Node) -> Iterator[Node]:
    match drawn:
        case Chain():
            yield from drawn.steps
        case Group():
            yield from drawn.members
        case Chord():
            yield from (*drawn.header, drawn.body)
    yield from drawn.links


def sound(drawn: Node, member: bool = False) -> bool:
    """Whether only tasks that are members of a chord enlarge theirs."""
    match drawn:
        case Task():
            inner = (drawn.fate != "enlarge" or member) and (drawn.wish is None or sound(drawn.wish))
        case Chain():
            last = drawn.steps[-1]
            inner = all(map(sound, drawn.steps[:-1])) and sound(last, member and not isinstance(last, Group))
        case Group():
            inner = all(sound(each, member) for each in drawn.members)
        case Chord():
            inner = all(sound(each, True) for each in drawn.header) and sound(drawn.body)
        case _:
            inner = True
    return inner and all(map(sound, drawn.links))
