"""From a wish to rows: the one place where a canvas is flattened.

A chain, a group or a chord is no row: it says what the rows of its tasks wait for, and which of them count as whose
members. `Planner` goes through a canvas once and makes the rows of its tasks and groups; nothing is written, and what
nests is kept on a stack of its own, so that neither size nor depth is bounded.

    chain(a, b)             b waits for a
    group(a, b)             a and b are members of a group
    chord([a, b], c)        c waits for the group of a and b
    chain(a, group(b, c))   b and c wait for a, and are members of a group
    group(a, b) | group(c)  c waits for the group of a and b
    group(a, group(b, c))   one group of three
    group(a, chain(b, c))   a and c are the members; c waits for b
    a.link(b)               b waits for a
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from litequeue.canvas.lazy import is_lazy
from litequeue.canvas.places import Spot, Tail, merged, united
from litequeue.canvas.rows import FROM_PLACE, RowMaker, takes_nothing
from litequeue.canvas.spool import IN_MEMORY
from litequeue.canvas.tree import LINKS, as_list, as_member
from litequeue.core.ids import new_id
from litequeue.core.records import NewCanvas, NewGroup, NewTask
from litequeue.core.ties import FEEDS, MEMBER

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

RUN_BODY = "run_body"
"""`on_header_error` of a chord whose body is to run also when tasks of its header failed."""

_OF_CHORD = frozenset({"interval", "max_retries", "on_header_error"})
"""Options of a chord itself."""
_OWN_OF_GROUP = FROM_PLACE | {"task_id"}
_ONLY_HEADER = frozenset({"countdown", "eta"})


Steps = Generator["Steps", "Tail | None", "Tail | None"]
"""The planning of a part that has parts: yields the planning of one of them, and is sent its tail."""


class _Members:
    """A group while it is planned."""

    __slots__ = ("id", "last", "results", "size")

    def __init__(self, group_id: str) -> None:
        self.id = group_id
        self.size = 0
        self.last: NewTask | None = None
        self.results: list[Any] = []


class Planner(RowMaker):
    """Makes the rows of any number of canvases that are written together."""

    def __init__(self, app: LiteQueue, **options: Any) -> None:
        super().__init__(app, **options)
        self.groups: list[NewGroup] = []
        self._header_errbacks = bool(app.conf.task_allow_error_cb_on_chord_header)
        self._inside: set[int] = set()
        self._kinds: dict[str, Callable[[Any, Spot], Steps]] = {
            "chain": self._chain,
            "group": self._group,
            "chord": self._chord,
            "chunks": self._chunks,
        }

    def canvas(self) -> NewCanvas:
        """What has been planned."""
        return NewCanvas(self.rows, self.groups)

    def plan(self, signature: Any, spot: Spot) -> Tail | None:
        """Plan a signature, and what is linked to its tasks; None: there is nothing to do in it."""
        spot.group_callbacks = spot.error_callbacks
        tail = self._whole(self._member(signature), spot)
        self.plan_links()
        if tail is not None and isinstance(tail.result, str):  # a member of a group that is there already
            result = self.app.AsyncResult(tail.result)
            tail = tail._replace(result=result, first=result)
        return tail

    def plan_links(self) -> None:
        """Plan the callbacks of what has been planned, and theirs."""
        links = self._links
        while links:
            found, links[:] = links[:], []
            for callback, spot, callers in found:
                callback = self._member(callback)
                self._callers = _called_by(callback, callers)
                self._whole(callback, spot)

    def _whole(self, signature: Any, spot: Spot) -> Tail | None:
        kind = self._kinds.get(signature.get("subtask_type"))
        return self._task(signature, spot) if kind is None else self._run(kind(signature, spot))

    @staticmethod
    def _run(steps: Steps) -> Tail | None:
        """Go through parts and the parts of parts, on a stack of our own."""
        stack = [steps]
        tail: Tail | None = None
        while stack:
            try:
                inner = stack[-1].send(tail)
            except StopIteration as stop:
                stack.pop()
                tail = stop.value
            else:
                stack.append(inner)
                tail = None
        return tail

    # What has parts

    def _chain(self, signature: Any, spot: Spot) -> Steps:
        self._enter(signature)
        end, here = self._opened(signature, spot), spot.copy()
        here.args, here.kwargs, here.options = end.args, end.kwargs, end.options
        here.error_callbacks = end.error_callbacks
        steps = self._steps(signature["kwargs"]["tasks"])
        step, tail, first = next(steps, None), None, None
        while step is not None:
            following = next(steps, None)
            here.group_callbacks = end.group_callbacks if following is None else ()
            if following is None:
                here.end_with(end)
            else:
                here.end_inside(feeds=not takes_nothing(following))
            kind = self._kinds.get(step.get("subtask_type"))
            done = self._task(step, here) if kind is None else (yield kind(step, here))
            if done is not None:
                tail = done
                first = first or done.first
                if done.last is not None:
                    here.follow(done)
            step = following
        self._inside.discard(id(signature))
        return tail and tail._replace(first=first)

    def _steps(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """The steps of a chain: without empty groups where there is another step, groups of one as that one."""
        empty = None
        yielded = False
        for step in tasks:
            step = self._member(step)
            kind = step.get("subtask_type")
            if kind == "group":
                members = step["kwargs"]["tasks"]
                size = _size_up_to_two(members)
                if size == 0:
                    empty = step
                    continue
                if size == 1:
                    step = self._only_member(step)
            elif kind == "chain" and not step["kwargs"]["tasks"]:
                continue
            yielded = True
            yield step
        if not yielded and empty is not None:
            yield empty

    def _only_member(self, group: Any) -> Any:
        """The one member of a group, with the options of the group."""
        member = self._member(group["kwargs"]["tasks"][0])
        options = {name: value for name, value in group["options"].items() if name not in _OWN_OF_GROUP}
        if not options:
            return member
        for name in LINKS:
            options[name] = [*as_list(member["options"].get(name)), *as_list(options.get(name))]
        return {**member, "options": merged(member["options"], options)}

    def _group(self, signature: Any, spot: Spot) -> Steps:
        self._enter(signature)
        here = self._opened_group(signature, spot)
        tail = yield self._as_group(_each(signature["kwargs"]["tasks"]), here)
        self._inside.discard(id(signature))
        return tail

    def _chunks(self, signature: Any, spot: Spot) -> Steps:
        tail = yield self._as_group(self._parts(signature), self._opened_group(signature, spot))
        return tail

    def _as_group(self, tasks: Iterable[Any], here: Spot, tolerant: bool = False) -> Steps:
        """Plan `tasks` as the members of a group that stands at `here`."""
        members = _Members(here.task_id or new_id())
        each = here.copy()
        each.before = each.task_id = None
        each.group_id = members.id
        each.ties = MEMBER | here.ties & FEEDS
        # The first member cannot give a callback of the group the values of the others.
        each.callbacks = tuple(as_member(link, self.app).clone().set(immutable=True) for link in here.callbacks)
        yield self._join(members, tasks, each)
        if members.last is None and (here.after is not None or here.group_id is not None):
            return None
        result = self.app.GroupResult(members.id, members.results, parent=here.before)
        if members.last is not None:
            self.groups.append(
                NewGroup(
                    id=members.id,
                    size=members.size,
                    group_id=here.group_id,
                    group_index=here.group_index,
                    after=here.after,
                    tolerant=int(tolerant),
                    root_id=here.root_id,
                    parent_id=here.parent_id,
                )
            )
        return Tail(members.last, members.id, result, result)

    def _join(self, members: _Members, tasks: Iterable[Any], each: Spot) -> Steps:
        """Add `tasks` to a group that is being planned; those of groups among them are its own members."""
        kinds, plan_task, results = self._kinds, self._task, members.results
        for member in tasks:
            member = self._member(member)
            kind = member.get("subtask_type")
            if kind == "group" or kind == "chunks":
                inner = self._opened(member, each)
                inner.task_id = None
                self._enter(member)
                parts = _each(member["kwargs"]["tasks"]) if kind == "group" else self._parts(member)
                yield self._join(members, parts, inner)
                self._inside.discard(id(member))
            else:
                each.group_index = members.size
                planner = kinds.get(kind)
                tail = plan_task(member, each) if planner is None else (yield planner(member, each))
                if tail is None:
                    continue
                members.size += 1
                members.last = tail.last
                results.append(tail.result)
            if each.callbacks and members.size:  # what is linked to a group is linked to its first member
                each.callbacks = ()
        return None

    def _chord(self, signature: Any, spot: Spot) -> Steps:
        self._enter(signature)
        given = signature["kwargs"]
        end = self._opened(signature, spot)
        body = given.get("body")
        if body is None:
            raise ValueError(
                "this chord has no body: write chord(header, body), or chord(header)(body); tasks that nothing waits "
                "for are a group"
            )
        body = self._member(body)
        body_id, header_id = _ids_of_chord(signature, body, spot.task_id or spot.options.get("task_id"))
        here = spot.copy()
        here.args, here.options = end.args, {n: v for n, v in end.options.items() if n not in _OF_CHORD}
        here.kwargs, here.takes_input = end.kwargs, end.takes_input
        here.error_callbacks = here.group_callbacks = end.error_callbacks if self._header_errbacks else ()
        here.end_inside(feeds=not takes_nothing(body))
        here.task_id = header_id
        header = given.get("header")
        tasks, of_group = self._header(header)
        inner = here if of_group is None else self._opened(of_group, here)
        inner.task_id = header_id
        head = yield self._as_group(tasks, inner, _tolerant(end.options))
        here.end_with(end)
        here.error_callbacks, here.group_callbacks, here.task_id = end.error_callbacks, end.group_callbacks, body_id
        if head is None or head.last is None:
            here.takes_input, here.args, here.kwargs = 0, ([],), {}
            here.before = self.app.GroupResult(header_id or new_id(), [], parent=spot.before)
        else:
            here.follow(head)
        here.options = {n: v for n, v in end.options.items() if n not in _ONLY_HEADER and n not in _OF_CHORD}
        kind = self._kinds.get(body.get("subtask_type"))
        tail = self._task(body, here) if kind is None else (yield kind(body, here))
        self._inside.discard(id(signature))
        if tail is None and head is not None:  # an empty group as body: nothing follows the header
            return head._replace(result=self.app.GroupResult(body_id or new_id(), [], parent=head.result))
        return tail and tail._replace(first=tail.first if head is None else head.result)

    def _header(self, header: Any) -> tuple[Iterable[Any], Any]:
        """The tasks of a chord's header, and the group that they were given as."""
        if isinstance(header, Mapping):
            header = self._member(header)
            if header.get("subtask_type") == "group":
                return _each(header["kwargs"]["tasks"]), header
            return (header,), None
        return (() if header is None else _each(header)), None

    def _parts(self, signature: Any) -> Iterator[Any]:
        """The groups of calls that `chunks` makes of its arguments, each one task."""
        from itertools import islice

        given = signature["kwargs"]
        calls, size, task = iter(given["it"]), given["n"], self._member(given["task"])
        while part := list(islice(calls, size)):
            yield {
                "task": "litequeue.starmap",
                "args": (),
                "kwargs": {"task": task, "it": part},
                "options": {"route_name": task["task"]},
                "subtask_type": "xstarmap",
                "immutable": True,
            }

    def _opened_group(self, signature: Any, spot: Spot) -> Spot:
        """`_opened` for a group, which has not all error callbacks of what it is a part of."""
        here = self._opened(signature, spot)
        if not self._header_errbacks:
            here.error_callbacks = here.group_callbacks
        return here

    def _opened(self, signature: Any, spot: Spot) -> Spot:
        """A copy of `spot` that has what the composed `signature` says for its parts."""
        here = spot.copy()
        own_kwargs = signature["kwargs"].get("kwargs")
        if own_kwargs:
            here.kwargs = {**own_kwargs, **spot.kwargs}
        if signature["immutable"]:
            here.args, here.takes_input = tuple(signature["args"]), 0
        elif signature["args"]:
            here.args = (*spot.args, *signature["args"])
        options = signature["options"]
        if options or spot.options:
            options = merged(options, spot.options)
            here.callbacks = (*spot.callbacks, *as_list(options.pop("link", None)))
            own_errbacks = as_list(options.pop("link_error", None))
            here.error_callbacks = united(spot.error_callbacks, own_errbacks)
            here.group_callbacks = united(spot.group_callbacks, own_errbacks)
            own_id = options.pop("task_id", None)
            here.task_id = spot.task_id or own_id
            here.root_id = spot.root_id or options.get("root_id")
            here.parent_id = spot.parent_id or options.get("parent_id")
            here.options = {name: value for name, value in options.items() if name not in FROM_PLACE}
        return here

    def _enter(self, signature: Any) -> None:
        if id(signature) in self._inside:
            raise ValueError(
                f"a canvas cannot contain itself: this {signature['subtask_type']} is a part of one of its own parts"
            )
        self._inside.add(id(signature))


def _called_by(callback: Any, callers: Any) -> tuple[Any, Any]:
    """The callbacks that lead to what `callback` calls. ValueError: it is one of those that lead to itself."""
    above = callers
    while above is not None:
        if above[0] is callback:
            raise ValueError(f"a canvas cannot contain itself: {callback['task']} is linked to what it is called by")
        above = above[1]
    return callback, callers


def _each(tasks: Any) -> Iterable[Any]:
    """The tasks of a group; of a long generator each is let go as soon as its row is made."""
    if is_lazy(tasks) and tasks.take(IN_MEMORY) and is_lazy(tasks):
        tasks = tasks.drain()
    return tasks  # type: ignore[no-any-return]


def _size_up_to_two(tasks: Any) -> int:
    """0, 1, or 2 for more, without looking further."""
    if is_lazy(tasks):
        return 2 if tasks.take(2) else int(tasks.take(1))
    return len(tasks)


def _ids_of_chord(signature: Any, body: Any, given: str | None) -> tuple[str | None, str | None]:
    """The ids of body and header; `given` is for the body. A frozen chord has the id of its header as its own."""
    header = signature["kwargs"].get("header")
    header_id = header["options"].get("task_id") if isinstance(header, Mapping) else None
    own = signature["options"].get("task_id")
    if body["options"].get("task_id") is not None:  # frozen; the body knows its id, and those of its parts
        return given, header_id or own
    return given or (own if own != header_id else None), header_id


def _tolerant(options: Mapping[str, Any]) -> bool:
    asked = options.get("on_header_error")
    if asked not in (None, "fail", RUN_BODY):
        raise ValueError(f"on_header_error must be 'fail' or {RUN_BODY!r}, not {asked!r}")
    return asked == RUN_BODY
