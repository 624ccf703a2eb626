"""A workflow as the file has it: its tasks and groups as nodes, what hangs on what as edges, with their states.

print(result.graph)                # a drawing for a terminal
result.graph.to_mermaid()          # for a page of Markdown
result.graph.to_dot()              # for Graphviz
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litequeue import states
from litequeue.core import ties
from litequeue.core.state import TERMINAL, celery_state

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.core.records import Canvas, GroupRecord
    from litequeue.result.tree import ResultBase

MEMBER: Final = "member"
"""The edge from the last task of a group's member to the group."""
GROUP: Final = "group"
TASK: Final = "task"


class GraphNode(NamedTuple):
    """A task or a group of a workflow."""

    id: str
    kind: str
    """`task` or `group`."""
    name: str
    """The task's name; of a group, `group of 3`."""
    state: str
    """As Celery names it; a group is PENDING until all of its members have ended, then SUCCESS or FAILURE."""
    ended: bool


class GraphEdge(NamedTuple):
    """One node comes after another."""

    source: str
    target: str
    kind: str
    """`then` (the next step), `link` (a callback), `body` (of a chord), `error` (an error callback), `member`."""


def graph(app: LiteQueue, result_or_id: Any, limit: int = 1000) -> Graph:
    """The stored workflow that a result, or the task or group of an id, is part of; its `limit` nearest tasks."""
    from litequeue.result.result_set import ResultSet
    from litequeue.result.tree import ResultBase

    if isinstance(result_or_id, ResultBase):
        by_hand = isinstance(result_or_id, ResultSet) and not result_or_id.enqueued
        if by_hand or not result_or_id.in_file:
            return _graph_of_results(app, result_or_id)
        result_or_id = result_or_id.id
    if not isinstance(result_or_id, str):
        raise TypeError(f"graph() needs a result, or the id of a task or group as text, not {result_or_id!r}")
    return _graph_of_rows(app, result_or_id, app.store.canvas(result_or_id, limit))


def _graph_of_rows(app: LiteQueue, node_id: str, canvas: Canvas) -> Graph:
    groups = {group.id: group for group in canvas.groups}
    for task in canvas.tasks:
        if task.edge == ties.ERRBACK:  # the error callbacks of a task are a group for AsyncResult.children alone
            groups.pop(str(task.group_id), None)
    edges: list[GraphEdge] = []
    slots: dict[str, list[tuple[int, str]]] = {group_id: [] for group_id in groups}
    order = dict.fromkeys(groups, -1)

    def join(node_id: str, group_id: str | None, slot: int | None, place: int) -> None:
        if group_id in groups and slot is not None:  # a body has the id of its header's group, and no slot
            edges.append(GraphEdge(node_id, group_id, MEMBER))
            slots[group_id].append((slot, node_id))
            order[group_id] = max(order[group_id], place)

    for place, task in enumerate(canvas.tasks):
        if task.after is not None:
            edges.append(GraphEdge(task.after, task.id, task.edge or ties.THEN))
        join(task.id, task.group_id, task.group_index, place)
    for group in groups.values():
        join(group.id, group.group_id, group.group_index, order[group.id])
    nodes = _in_order(canvas, groups, order)
    known = {node.id for node in nodes}
    return Graph(
        app,
        node_id,
        tuple(nodes),
        tuple(edge for edge in edges if edge.source in known),
        {group_id: tuple(part for _, part in sorted(parts)) for group_id, parts in slots.items()},
        {group_id: group.size for group_id, group in groups.items()},
        {group_id: group.parent_id for group_id, group in groups.items()},
        canvas.complete,
    )


def _in_order(canvas: Canvas, groups: Mapping[str, GroupRecord], order: Mapping[str, int]) -> list[GraphNode]:
    """The tasks as they were enqueued, each group after the last of its members."""
    placed = []
    for place, task in enumerate(canvas.tasks):
        shown = celery_state(task.state, task.retries, task.custom_state)
        placed.append((place, GraphNode(task.id, TASK, task.name, shown, task.state in TERMINAL)))
    for group in groups.values():
        node = _group_node(group.id, group.size, group.remaining == 0, group.failed_id is not None)
        placed.append((order[group.id] if order[group.id] >= 0 else len(placed), node))
    return [node for _, node in sorted(placed, key=lambda item: item[0])]


def _group_node(group_id: str, size: int, ended: bool, failed: bool) -> GraphNode:
    state = states.PENDING if not ended else states.FAILURE if failed else states.SUCCESS
    return GraphNode(group_id, GROUP, f"group of {size}", state, ended)


def _graph_of_results(app: LiteQueue, result: ResultBase) -> Graph:
    """What was run in place, or put together by hand, is known by its results alone."""
    from litequeue.result.result_set import ResultSet

    nodes: dict[str, GraphNode] = {}
    edges: list[GraphEdge] = []
    members: dict[str, tuple[str, ...]] = {}
    todo: list[Any] = [result]
    while todo:
        node = todo.pop()
        key = _key(node)
        if key in nodes:
            continue
        if isinstance(node, ResultSet):
            members[key] = tuple(_key(member) for member in node.results)
            edges += [GraphEdge(part, key, MEMBER) for part in members[key]]
            todo += node.results
            nodes[key] = _group_node(key, len(node.results), node.ready(), node.failed())
        else:
            nodes[key] = GraphNode(key, TASK, node.name or "task", node.state, node.ready())
        if node.parent is not None:
            kind = ties.BODY if isinstance(node.parent, ResultSet) else ties.THEN
            edges.append(GraphEdge(_key(node.parent), key, kind))
            todo.append(node.parent)
    sizes = {key: len(parts) for key, parts in members.items()}
    return Graph(app, _key(result), tuple(nodes.values()), tuple(edges), members, sizes, {}, True)


def _key(result: Any) -> str:
    return f"set-{id(result)}" if result.id is None else str(result.id)


class Graph:
    """The tasks and groups of a workflow, and what hangs on what; as it stood when it was read.

    Going through it gives the results of its nodes.
    """

    def __init__(
        self,
        app: LiteQueue,
        node_id: str,
        nodes: tuple[GraphNode, ...],
        edges: tuple[GraphEdge, ...],
        members: dict[str, tuple[str, ...]],
        sizes: dict[str, int],
        callers: dict[str, str | None],
        complete: bool,
    ) -> None:
        self.app = app
        self.node_id = node_id
        """The id it was asked for by."""
        self.nodes = nodes
        self.edges = edges
        self.members = members
        """The parts of each group that were read, in the order of their slots."""
        self.sizes = sizes
        """How many members each group has."""
        self.callers = callers
        """The task before each group, or that called it."""
        self.complete = complete
        """Whether that is all of the workflow; False: there were more tasks than were asked for."""
        self._nodes = {node.id: node for node in nodes}
        self._after: dict[str, list[str]] = {}
        for edge in edges:
            self._after.setdefault(edge.source, []).append(edge.target)

    @property
    def ended(self) -> bool:
        """Whether all of it has ended."""
        return self.complete and all(node.ended for node in self.nodes)

    # As Celery's graph of results

    def __iter__(self) -> Iterator[Any]:
        return (self._result_of(node) for node in self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __bool__(self) -> bool:
        return True

    def __contains__(self, result: object) -> bool:
        return getattr(result, "id", result) in self._nodes

    def __getitem__(self, result: Any) -> list[Any]:
        """The results of what comes after a result, or the node of an id. KeyError: it is not part of this."""
        if result not in self:
            raise KeyError(f"{result} is not part of {self!r}")
        following = self._after.get(getattr(result, "id", result), ())
        return [self._result_of(self._nodes[node_id]) for node_id in following]

    def items(self) -> Iterator[tuple[Any, list[Any]]]:
        """(result, what comes after it) of each node."""
        return ((result, self[result]) for result in self)

    def _result_of(self, node: GraphNode) -> Any:
        return self.app.AsyncResult(node.id) if node.kind == TASK else self.app.GroupResult(node.id)

    # Drawings

    def to_text(self, ids: bool = False, ascii: bool = False) -> str:
        """A drawing for a terminal: steps below each other, members and callbacks indented, each with its state.

        Of a large group the first members are shown, and the first that failed; of a long chain the ends. `ids` adds
        the ids, `ascii` keeps to characters that every terminal has.
        """
        from litequeue.canvas.drawing import draw

        return draw(self, ids, ascii)

    __str__ = to_text

    def to_dot(self, fh: Any = None, formatter: Any = None) -> str:
        """The workflow in the language of Graphviz; also written to the file `fh`. `formatter` means nothing here."""
        numbers = {node.id: f"n{number}" for number, node in enumerate(self.nodes)}
        lines = ["digraph workflow {", '  node [shape=box, style="rounded,filled", fillcolor="#f4f4f4"];']
        for node in self.nodes:
            shape = ", shape=ellipse" if node.kind == GROUP else ""
            label = f"{_dot_text(node.name)}\\n{_dot_text(node.state)}"
            colour = _COLOURS.get(node.state)
            filled = f', fillcolor="{colour}"' if colour else ""
            lines.append(f'  {numbers[node.id]} [label="{label}"{shape}{filled}];')
        for edge in self.edges:
            lines.append(f"  {numbers[edge.source]} -> {numbers[edge.target]}{_DOT_EDGES.get(edge.kind, '')};")
        text = "\n".join((*lines, "}")) + "\n"
        if fh is not None:
            fh.write(text)
        return text

    def to_mermaid(self) -> str:
        """The workflow as a flowchart of Mermaid, which a page of Markdown may hold."""
        numbers = {node.id: f"n{number}" for number, node in enumerate(self.nodes)}
        lines = ["flowchart TD"]
        for node in self.nodes:
            opening, closing = ("([", "])") if node.kind == GROUP else ("[", "]")
            label = f"{_mermaid_text(node.name)}<br/>{_mermaid_text(node.state)}"
            lines.append(f'  {numbers[node.id]}{opening}"{label}"{closing}')
        for edge in self.edges:
            arrow = _MERMAID_EDGES.get(edge.kind, "-->")
            lines.append(f"  {numbers[edge.source]} {arrow} {numbers[edge.target]}")
        for state, colour in _COLOURS.items():
            coloured = [numbers[node.id] for node in self.nodes if node.state == state]
            if coloured:
                lines += [f"  classDef {state.lower()} fill:{colour}", f"  class {','.join(coloured)} {state.lower()}"]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        more = "" if self.complete else ", and more"
        return f"<{type(self).__name__} of {self.node_id}: {len(self.nodes)} nodes, {len(self.edges)} edges{more}>"


_COLOURS: Final = {
    states.SUCCESS: "#c8e6c9",
    states.FAILURE: "#ffcdd2",
    states.REVOKED: "#ffe0b2",
    states.STARTED: "#bbdefb",
    states.RETRY: "#fff9c4",
}
_DOT_EDGES: Final = {
    ties.LINK: ' [label="link", style=dashed]',
    ties.ERRBACK: ' [label="error", style=dashed, color="#c62828"]',
    ties.BODY: ' [label="body"]',
    MEMBER: " [arrowhead=none]",
}
_MERMAID_EDGES: Final = {
    ties.LINK: "-. link .->",
    ties.ERRBACK: "-. error .->",
    ties.BODY: "-- body -->",
    MEMBER: "---",
}


def printable(text: str, length: int = 200) -> str:
    """`text` on one line, without characters that steer a terminal, and not too long."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: length + 1])
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def _dot_text(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')


def _mermaid_text(text: str) -> str:
    # Only what can have no meaning is left as it is.
    return "".join(char if char.isalnum() or char in " _.-" else f"#{ord(char)};" for char in printable(text))
