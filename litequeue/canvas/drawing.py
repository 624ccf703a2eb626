"""A workflow drawn for a terminal.

Steps stand below each other, with an arrow between them; the members of a group, and callbacks, are indented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from litequeue import states
from litequeue.canvas.graph import GROUP, MEMBER, Graph, GraphEdge, GraphNode, printable
from litequeue.core import ties

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLD: Final = 8
"""A group with more members, and a chain with more steps, is not drawn in full."""
SHOWN: Final = 3
"""So many of its first members are, and as many of those that failed."""

_TAGS: Final = {ties.THEN: "then: ", ties.BODY: "body: ", ties.LINK: "link: ", ties.ERRBACK: "on error: "}
_MAIN: Final = (ties.THEN, ties.BODY)
_BAD: Final = (states.FAILURE, states.REVOKED)
_ASCII: Final = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "↓": "v", "×": "x", "…": "~"})


def draw(graph: Graph, ids: bool, plain: bool) -> str:
    """The drawing, its lines joined."""
    if not graph.nodes:
        return f"the file has nothing of {printable(graph.node_id)}"
    lines = _Drawing(graph, ids).lines()
    if not graph.complete:
        lines.append("(only the nearest tasks are shown; there are more)")
    text = "\n".join(lines)
    return text.translate(_ASCII) if plain else text


class Layout:
    """Which nodes follow each node, and with which nodes the members of each group begin.

    An edge leads from a node to all that hang on it. Where these are the first tasks of the members of a group, it is
    the group that follows; that is found by going back from the ends of its members to where their ways meet.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._before = _without_rings({edge.target: edge for edge in graph.edges if edge.kind != MEMBER})
        self._meets: dict[str, str | None] = {}
        """What stands before each group."""
        for group_id in graph.members:
            self._find_meet(group_id)
        self.starts = {
            group_id: [self._start(part, group_id) for part in graph.members[group_id]] for group_id in graph.members
        }
        inside = {start for starts in self.starts.values() for start in starts}
        self.roots: list[str] = []
        self.next: dict[str, list[tuple[str, str]]] = {}
        """(kind of edge, node) of what follows each node."""
        for node in graph.nodes:
            if node.id not in inside:
                before = self._up(node.id)
                if before is None:
                    self.roots.append(node.id)
                else:
                    self.next.setdefault(before, []).append((self._kind(node.id), node.id))

    def _up(self, node_id: str) -> str | None:
        if node_id in self._meets:
            return self._meets[node_id]
        edge = self._before.get(node_id)
        return None if edge is None else edge.source

    def _find_meet(self, group_id: str) -> None:
        """Find what stands before a group; those on the way to it come first. No recursion: they may be many."""
        todo = [group_id]
        while todo:
            current = todo[-1]
            unknown = None if current in self._meets else self._meet(current)
            if unknown is None or unknown in todo:
                self._meets.setdefault(current, None)
                todo.pop()
            else:
                todo.append(unknown)

    def _meet(self, group_id: str) -> str | None:
        """Enter what stands before the group; returns a group that must be known for that, if there is one."""
        parts = self._graph.members[group_id]
        ways = []
        for part in parts[:2]:
            way = self._way(part)
            if isinstance(way, str):
                return way
            ways.append(way)
        meet: str | None = None
        if len(ways) == 2:
            others = set(ways[1])
            meet = next((node_id for node_id in ways[0][1:] if node_id in others), None)
        elif ways:
            meet = self._meet_of_one(group_id, ways[0])
        self._meets[group_id] = meet
        return None

    def _meet_of_one(self, group_id: str, way: list[str]) -> str | None:
        """One member alone meets none; the group tells which task was before it, or the last of which group."""
        caller = self._graph.callers.get(group_id)
        return next((node_id for node_id in way[1:] if caller in (node_id, self._last_task(node_id))), None)

    def _last_task(self, node_id: str) -> str:
        """The last member of a group, of the group that is its last member, and so on."""
        members, seen = self._graph.members, set[str]()
        while members.get(node_id) and node_id not in seen:
            seen.add(node_id)
            node_id = members[node_id][-1]
        return node_id

    def _way(self, node_id: str) -> list[str] | str:
        """The nodes from a member back to the root; or a group on it, before which it is not known what stands."""
        way, seen = [], set[str]()
        current: str | None = node_id
        while current is not None and current not in seen:
            if current in self._graph.members and current not in self._meets:
                return current
            way.append(current)
            seen.add(current)
            current = self._up(current)
        return way

    def _start(self, part: str, group_id: str) -> str:
        """The first node of a member."""
        meet, current, seen = self._meets[group_id], part, {part}
        while (before := self._up(current)) is not None and before != meet and before not in seen:
            current = before
            seen.add(current)
        return current

    def _kind(self, node_id: str) -> str:
        """How a node hangs on what stands before it; a group as its first member does."""
        seen = set[str]()
        while node_id in self.starts and self.starts[node_id] and node_id not in seen:
            seen.add(node_id)
            node_id = self.starts[node_id][0]
        edge = self._before.get(node_id)
        return ties.THEN if edge is None else edge.kind


def _without_rings(before: dict[str, GraphEdge]) -> dict[str, GraphEdge]:
    """The edges by their targets; rows that somebody else wrote may wait for each other in a ring."""
    checked: set[str] = set()
    for node_id in list(before):
        way: set[str] = set()
        current = node_id
        while current in before and current not in checked:
            checked.add(current)
            way.add(current)
            current = before[current].source
        if current in way:
            del before[current]
    return before


class _Todo(NamedTuple):
    """What is to be drawn: a sequence that begins with a node, or a line of text."""

    first: str
    """What stands before its first line."""
    rest: str
    """What stands before the others."""
    text: str
    node_id: str | None = None


class _Drawing:
    def __init__(self, graph: Graph, ids: bool) -> None:
        self._graph = graph
        self._ids = ids
        self._nodes = {node.id: node for node in graph.nodes}
        self._layout = Layout(graph)

    def lines(self) -> list[str]:
        """The lines of the drawing."""
        lines: list[str] = []
        drawn: set[str] = set()
        todo = [_Todo("", "", "", root) for root in reversed(self._layout.roots)]
        while todo:
            item = todo.pop()
            if item.node_id is None:
                lines.append(item.first + item.text)
            elif item.node_id not in drawn:
                drawn.add(item.node_id)
                lines.append(item.first + item.text + self._label(self._nodes[item.node_id]))
                todo.extend(reversed(list(self._below(item.node_id, item.rest))))
        return lines

    def _below(self, node_id: str, rest: str) -> Iterable[_Todo]:
        """What is drawn below a node: its members and callbacks, then the next step."""
        follow = self._layout.next.get(node_id, [])
        main = next((entry for entry in follow if entry[0] in _MAIN), None)
        branches = self._members(node_id)
        branches += [(_TAGS.get(kind, f"{kind}: "), other) for kind, other in follow if (kind, other) != main]
        for number, (text, other) in enumerate(branches, 1):
            last = number == len(branches)
            yield _Todo(f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}", text, other)
        if main is not None:
            skipped, then = self._run(main[1])
            yield _Todo(f"{rest}↓", rest, "")
            if skipped:
                yield _Todo(rest, rest, f"×{len(skipped)} more: {_counted(self._states(skipped))}")
                yield _Todo(f"{rest}↓", rest, "")
            yield _Todo(rest, rest, "", then)

    def _run(self, node_id: str) -> tuple[list[str], str]:
        """The steps of a long chain that are not drawn, from `node_id` on, and the one that is drawn next."""
        run = [node_id]
        while (after := self._only_step(run[-1])) is not None:
            run.append(after)
        before = self._only_steps_before(node_id)
        if before != SHOWN - 1 or len(run) + before + 1 <= FOLD:
            return [], node_id
        return run[:-1], run[-1]

    def _only_step(self, node_id: str) -> str | None:
        """The step after a task on which nothing else hangs."""
        follow = self._layout.next.get(node_id, [])
        if self._nodes[node_id].kind == GROUP or len(follow) != 1 or follow[0][0] not in _MAIN:
            return None
        after = follow[0][1]
        return None if self._nodes[after].kind == GROUP else after

    def _only_steps_before(self, node_id: str) -> int:
        """How many such steps stand right before the one before this one, as far as it matters."""
        count = 0
        before = self._layout._up(node_id)
        while before is not None and count < SHOWN:
            earlier = self._layout._up(before)
            if earlier is None or self._only_step(earlier) != before:
                break
            count, before = count + 1, earlier
        return count

    def _members(self, group_id: str) -> list[tuple[str, str | None]]:
        """(text before it, node) of each member of a group that is drawn, and what is said of the others."""
        parts = list(zip(self._graph.members.get(group_id, ()), self._layout.starts.get(group_id, ()), strict=True))
        size = max(self._graph.sizes.get(group_id, 0), len(parts))
        if size <= FOLD and len(parts) == size:
            return [("", start) for _, start in parts]
        slots = list(range(min(SHOWN, len(parts))))
        failed = [slot for slot, (part, _) in enumerate(parts) if slot >= SHOWN and self._nodes[part].state in _BAD]
        shown = [*slots, *failed[:SHOWN]]
        drawn: list[tuple[str, str | None]] = [("" if slot < SHOWN else f"[{slot}] ", parts[slot][1]) for slot in shown]
        others = self._states(part for slot, (part, _) in enumerate(parts) if slot not in set(shown))
        if unread := size - len(parts):
            others["not read"] = unread
        if others:
            drawn.append((f"×{size - len(shown)} more: {_counted(others)}", None))
        return drawn

    def _states(self, ids: Iterable[str]) -> Counter[str]:
        return Counter(self._nodes[node_id].state for node_id in ids)

    def _label(self, node: GraphNode) -> str:
        known = f"  {printable(node.id)}" if self._ids else ""
        if node.kind != GROUP:
            return f"{printable(node.name)}  {printable(node.state)}{known}"
        parts: Sequence[GraphNode] = [self._nodes[part] for part in self._graph.members.get(node.id, ())]
        ended = sum(part.ended for part in parts)
        failed = sum(part.state in _BAD for part in parts)
        size = self._graph.sizes.get(node.id, 0)
        standing = f"{'all' if node.ended else ended} ended" if size else "empty"
        return f"{node.name}: {standing}{f', {failed} failed' if failed else ''}{known}"


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{count} {printable(state)}" for state, count in found.most_common())
