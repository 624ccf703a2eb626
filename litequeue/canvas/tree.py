"""Canvases as trees: copying, rebuilding from dicts, showing, all without recursion.

A canvas may hold 100,000 tasks, or be nested hundreds deep: what walks one keeps a stack of its own. A canvas that
contains itself is noticed on the way and refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from litequeue.canvas.lazy import Joined, LazyList, is_lazy

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue
    from litequeue.canvas.signature import Signature

LINKS = ("link", "link_error")
"""The options that hold signatures."""

_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})


def as_list(value: Any) -> list[Any]:
    """An option that is one signature or a sequence of them, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]


def as_member(value: Any, app: LiteQueue | None = None) -> Signature:
    """What is given as a part of a canvas, as a signature: a signature, the dict of one, or a task.

    TypeError names anything else.
    """
    if hasattr(value, "PARTS"):
        return value  # type: ignore[no-any-return]
    from litequeue.canvas.signature import Signature

    if isinstance(value, Mapping) and "task" in value:
        return Signature.from_dict(value, app=app)
    if hasattr(value, "apply_async") and isinstance(getattr(value, "name", None), str):
        return Signature(value, app=app)
    raise TypeError(f"a canvas is made of signatures, as task.s(...) makes them, not {_brief(value)}")


def _brief(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


class Path:
    """The nodes from the root to where a walk is, to notice one that contains itself."""

    def __init__(self) -> None:
        self.inside: set[int] = set()

    def enter(self, node: Any) -> None:
        """Go into `node`. ValueError: it is being gone through already."""
        if id(node) in self.inside:
            kind = node.get("subtask_type") or "signature"
            raise ValueError(f"a canvas cannot contain itself: this {kind} is a part of one of its own parts")
        self.inside.add(id(node))

    def leave(self, node: Any) -> None:
        """Come out of `node`."""
        self.inside.discard(id(node))


def check(top: Signature) -> None:
    """ValueError: the canvas, or what is linked to it, contains itself."""
    path = Path()
    todo: list[tuple[Any, bool]] = [(top, True)]
    while todo:
        node, entering = todo.pop()
        if not entering:
            path.leave(node)
            continue
        path.enter(node)
        todo.append((node, False))
        todo.extend((part, True) for part in map(as_member, node.parts(True)) if part.has_parts(True))


def check_callback(callback: Any) -> None:
    """ValueError: a callback, or what is linked to it, contains itself."""
    callback = as_member(callback)
    if callback.has_parts(True):
        check(callback)


# Copies


def copy_tree(top: Mapping[str, Any], app: LiteQueue | None = None) -> Signature:
    """A copy of a signature with copies of all its parts and links, or the signature that a dict describes.

    ValueError: the canvas contains itself, or a dict names a kind that there is not.
    """
    path = Path()
    todo: list[tuple[Any, Any]] = []

    def copied(part: Any) -> Signature:
        new = bare_copy(part, app)
        if new.has_parts(True):
            todo.append((part, new))
        return new

    root = copied(top)
    while todo:
        source, new = todo.pop()
        if new is None:
            path.leave(source)
            continue
        path.enter(source)
        todo.append((source, None))
        new.change_parts(copied, links=True)
    return root


def bare_copy(source: Any, app: LiteQueue | None = None) -> Signature:
    """A copy whose parts are still those of the original, and to be replaced."""
    if hasattr(source, "PARTS"):
        kind: type[Signature] = type(source)
        if kind.COPIES_ITSELF:
            return source.clone()  # type: ignore[no-any-return]
        new: Signature = kind.__new__(kind)
        new.update(source)
        new.__dict__.update(source.__dict__)
    else:
        source = source if isinstance(source, Mapping) else as_member(source, app)
        kind = _kind_of(source)
        if kind.REBUILDS_ITSELF:
            return kind.from_dict(source, app=app)
        new = kind.__new__(kind)
        new.update(source)
        new.complete()
    if app is not None:
        new._app = app
    options, kwargs = new["options"], new["kwargs"]
    new["args"] = tuple(new["args"])
    new["options"] = _copied_options(options) if options else {}
    new["kwargs"] = kwargs = dict(kwargs) if kwargs else {}
    if kind.PARTS:
        _unshare(kwargs)
    return new


def _kind_of(d: Mapping[str, Any]) -> type[Signature]:
    from litequeue.canvas.signature import kind_of

    return kind_of(d)


def _copied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with copies of what can change; signatures among them are left to be copied."""
    return {
        name: value if type(value) in _ATOMS or name in LINKS else deepcopy(value) for name, value in options.items()
    }


def _unshare(kwargs: dict[str, Any]) -> None:
    """Lists that are not there yet are copied when they are: looking now would fill them."""
    for name, value in kwargs.items():
        if isinstance(value, Joined) and not value.complete:
            kwargs[name] = value.originals()
        elif is_lazy(value):
            kwargs[name] = LazyList(value, copy_tree)
    if isinstance(kwargs.get("kwargs"), dict):
        kwargs["kwargs"] = dict(kwargs["kwargs"])


# Pickles


def flattened(top: Signature) -> list[dict[str, Any]]:
    """The composed signatures of a canvas, the outer before the inner, each with numbers for those that it is made of.

    Pickle goes down one level of Python for each level of what it is given. ValueError: the canvas contains itself.
    """
    check(top)
    nodes: list[dict[str, Any]] = []

    def numbered(part: Any) -> Any:
        part = as_member(part)
        if not part.PARTS:
            return part
        nodes.append(part)
        return len(nodes) - 1

    numbered(top)
    for number, node in enumerate(nodes):
        nodes[number] = plain = {**node, "kwargs": dict(node["kwargs"])}
        for name in node.PARTS:  # type: ignore[attr-defined]
            value = plain["kwargs"].get(name)
            if isinstance(value, dict):
                plain["kwargs"][name] = numbered(value)
            elif value is not None:
                plain["kwargs"][name] = [numbered(part) for part in value]
    return nodes


def unflattened(nodes: list[dict[str, Any]]) -> Signature:
    """The canvas that `flattened` took apart."""
    made: dict[int, Any] = {}
    for number in reversed(range(len(nodes))):
        kind = _kind_of(nodes[number])
        new = kind.__new__(kind)
        new.update(nodes[number])
        kwargs = new["kwargs"]
        for name in kind.PARTS:
            value = kwargs.get(name)
            if isinstance(value, list):
                kwargs[name] = [made[part] if isinstance(part, int) else part for part in value]
            elif isinstance(value, int):
                kwargs[name] = made[value]
        made[number] = new
    return made[0]  # type: ignore[no-any-return]


# Text


def text_of(top: Signature) -> str:
    """The canvas as `repr` shows it; what contains itself is shown as `...` there."""
    texts: dict[int, str] = {}
    inside: set[int] = set()
    todo: list[tuple[Signature, bool]] = [(top, True)]
    while todo:
        node, entering = todo.pop()
        if not entering:
            inside.discard(id(node))
            texts[id(node)] = node._text(lambda value: _shown(value, texts))
        elif id(node) not in inside:
            inside.add(id(node))
            todo.append((node, False))
            todo.extend((part, True) for part in node.parts() if part.PARTS)
    return texts[id(top)]


def _shown(value: Any, texts: Mapping[int, str]) -> str:
    """A value as text, in which the canvases are shown already."""
    if getattr(value, "PARTS", None):
        return texts.get(id(value), "...")
    if isinstance(value, LazyList) and not value.complete:
        return repr(value)
    if isinstance(value, (list, tuple)) and any(getattr(item, "PARTS", None) for item in value):
        return f"[{', '.join(_shown(item, texts) for item in value)}]"
    return repr(value)


def without_repeats(task_name: Any, text: str) -> str:
    """The text with the module of `task_name` named once: `proj.add(2) | add(4)`."""
    module = str(task_name).rpartition(".")[0]
    if not module:
        return text
    head, found, rest = text.partition(f"{module}.")
    # Only where it begins a name: `app.` is not removed from `webapp.`.
    parts = rest.split(found) if found else [rest]
    kept = [parts[0]]
    for before, part in pairwise(parts):
        starts_name = not before or not (before[-1].isalnum() or before[-1] in "_.-")
        kept.append(part if starts_name else found + part)
    return head + found + "".join(kept)
