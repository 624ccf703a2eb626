"""What results are to each other: parents, children, members; and a tree of results as plain data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from litequeue.app.current import app_or_default
from litequeue.exceptions import IncompleteStream
from litequeue.result.revoking import revoke_stamped

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.canvas.graph import Graph


class ResultBase:
    """The root of results: a node in a tree of them."""

    app: LiteQueue
    id: str | None
    parent: ResultBase | None = None
    """The result of what came before, in a chain; of a chord's body, the group of its header."""
    in_file: bool = True
    """Whether it is of the file; False: it was run in place."""

    def ready(self) -> bool:
        """Whether it has ended."""
        raise NotImplementedError

    get: Callable[..., Any]
    """Wait for the end, and return the value."""
    maybe_throw: Callable[..., Any]
    """Raise what it failed with."""

    @property
    def children(self) -> Any:
        """The results of what it called, or of its members."""
        raise NotImplementedError

    def _forget_ids(self) -> list[str]:
        """What `forget()` deletes, this result's parents left out; the result itself knows nothing any more."""
        raise NotImplementedError

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Revoke every task with one of these values under one of these stamped headers: those that have not started,
        and those that are sent from now on; with `terminate`, those that run are ended by `signal` (SIGTERM).

        Returns when that is in the file; with `wait`, a reply for each worker in the shape of Celery's. ValueError: no
        such signal.
        """
        return revoke_stamped(self.app, headers, terminate, signal, wait)

    def _parents(self) -> list[ResultBase]:
        """The results before this one, first one first."""
        found = []
        node = self.parent
        while node is not None:
            found.append(node)
            node = node.parent
        return found[::-1]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[ResultBase | None, ResultBase]]:
        """(parent, result) of this one and of all that it led to, in breadth. IncompleteStream: one has not ended."""
        queue: deque[tuple[ResultBase | None, ResultBase]] = deque([(None, self)])
        while queue:
            parent, node = queue.popleft()
            yield parent, node
            if node.ready():
                queue.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream(f"{node.id} has not ended")

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[ResultBase, Any]]:
        """(result, value) of this one and of all that it led to, waiting for each; `options` are those of `get()`."""
        for _parent, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """The value of the last of the tasks that this one led to."""
        value = None
        for _parent, node in self.iterdeps():
            value = node.get()
        return value

    # The stored workflow

    @property
    def graph(self) -> Graph:
        """The workflow that this is part of, as it stands in the file; `str()` of it is a drawing."""
        from litequeue.canvas.graph import graph

        return graph(self.app, self)

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> Graph:
        """`graph`; IncompleteStream where a task of it has not ended, unless `intermediate`. `formatter` means nothing
        here."""
        built = self.graph
        if not intermediate and not built.ended:
            raise IncompleteStream(f"not all of the workflow of {self.id} has ended")
        return built

    # As plain data

    def _member_tuples(self) -> list[Any] | None:
        """The members as tuples; None for what is not a group."""
        return None

    def as_tuple(self) -> Any:
        """The ids of this result, its members and its parents, as `result_from_tuple` reads them."""
        described: Any = None
        for node in (*self._parents(), self):
            described = (node.id, described), node._member_tuples()
        return described

    def __json__(self) -> Any:
        return self.as_tuple()

    def as_list(self) -> list[Any]:
        """The ids of this result and its parents."""
        return [node.id for node in (self, *self._parents()[::-1])]

    def _pickled(self) -> Any:
        """What `_assembled` makes this result of, its parents left out."""
        return self.id, None

    def __reduce__(self) -> Any:
        # Flat: a chain of 100,000 nested tuples could not be pickled.
        return _unpickled, ([node._pickled() for node in (*self._parents(), self)],)


def result_from_tuple(r: Any, app: LiteQueue | None = None) -> Any:
    """The result that `as_tuple()` described; lists do for tuples, as they come back from JSON."""
    nodes: list[Any] = []
    while r is not None:
        if isinstance(r, ResultBase):
            nodes.append(r)
            break
        node, members = r
        task_id, r = node if isinstance(node, (list, tuple)) else (node, None)
        nodes.append((task_id, members))
    return _assembled(nodes[::-1], app_or_default(app))


def _unpickled(nodes: Iterable[Any]) -> Any:
    return _assembled(nodes, app_or_default())


def _assembled(nodes: Iterable[Any], app: LiteQueue) -> Any:
    """The last of `nodes`, each the parent of the next: a result, or (id, members)."""
    result: Any = None
    for node in nodes:
        if isinstance(node, ResultBase):
            result = node
            continue
        node_id, members = node
        if members is None:
            result = app.AsyncResult(node_id, parent=result)
        else:
            result = app.GroupResult(node_id, [_member(member, app) for member in members], parent=result)
    return result


def _member(described: Any, app: LiteQueue) -> Any:
    """A member that is a task alone stays an id; its result is made when somebody asks for it."""
    if isinstance(described, (str, ResultBase)):
        return described
    node, members = described
    task_id, parent = node if isinstance(node, (list, tuple)) else (node, None)
    return task_id if members is None and parent is None else result_from_tuple(described, app)
