"""Freezing a canvas: every part gets its id, and the results are there before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from litequeue.canvas.chains import chain, folded
from litequeue.canvas.chords import chord
from litequeue.canvas.groups import group, is_empty_group, the_only_one
from litequeue.canvas.signature import Signature
from litequeue.canvas.tree import as_list, as_member
from litequeue.core.ids import new_id

_NOTHING: Final[Mapping[str, Any]] = {}


def freeze(
    wish: Signature,
    _id: str | None = None,
    group_id: str | None = None,
    chord_body: Any = None,
    root_id: str | None = None,
    parent_id: str | None = None,
    group_index: int | None = None,
) -> Any:
    """Give the parts of `wish` their ids; the result of its last part.

    The parts become copies: a signature that stands twice in the canvas, or in another one as well, has an id in each
    place.
    """
    wish["kwargs"] = wish.clone()["kwargs"]
    last = {"_id": _id, "group_id": group_id, "chord": chord_body, "group_index": group_index}
    return _frozen(wish, last, root_id, parent_id)


def prepare_steps(
    tasks: Iterable[Any],
    args: Any,
    kwargs: Any,
    ids: Mapping[str, Any],
    root_id: str | None,
    parent_id: str | None,
    link_error: Any,
) -> tuple[list[Any], list[Any]]:
    """The steps of a chain of `tasks` with their ids, and their results; both begin with the last, as in Celery."""
    whole = folded(task.clone() for task in map(as_member, tasks))
    steps = list(whole.tasks) if isinstance(whole, chain) else [whole]
    if steps and (args or kwargs):
        steps[0] = steps[0].clone(args, kwargs)
    results: list[Any] = []
    for index, step in enumerate(steps):
        for errback in as_list(link_error):
            step.link_error(as_member(errback).clone())
        result = _frozen(step, ids if index == len(steps) - 1 else _NOTHING, root_id, None if index else parent_id)
        first = result
        while first.parent is not None:
            first = first.parent
        if results:
            first.parent = results[-1]
        results.append(result)
    return steps[::-1], results[::-1]


def stages(wish: Signature) -> tuple[list[Any], list[tuple[Any, int]]]:
    """What runs one after the other in `wish`: tasks, and groups with all their members.

    Also the chains and chords it was made of, each with the index of its last stage. The header of a chord becomes a
    group. In a chain, an empty group is left out where there is another stage, and a group of one is its member.
    """
    found: list[Any] = []
    ends: list[tuple[Any, int]] = []
    empty: Any = None
    todo: list[tuple[Any, str]] = [(wish, "whole")]
    while todo:
        part, role = todo.pop()
        if role == "done":
            ends.append((part, len(found) - 1))
        elif isinstance(part, chain):
            todo.append((part, "done"))
            for step in reversed(part.tasks):
                step = as_member(step)
                todo.append((the_only_one(step) or step, "step"))
        elif isinstance(part, chord):
            todo += [(part, "done"), (part.needed_body(), "body")]
            found.append(part.header_group())
        elif role == "step" and is_empty_group(part):
            empty = part
        else:
            found.append(part)
    if not found and empty is not None:
        return [empty], [(part, 0) for part, _ in ends]
    return found, ends


def _frozen(wish: Any, last: Mapping[str, Any], root_id: str | None, parent_id: str | None) -> Any:
    found, ends = stages(wish)
    ids = _ids_of_the_last(ends)
    results: list[Any] = []
    for index, stage in enumerate(found):
        given = last if index == len(found) - 1 else _NOTHING
        if index in ids:
            given = {**given, "_id": ids[index]}
        parent = parent_id if index == 0 else None
        if isinstance(stage, group):
            result = _frozen_group(stage, given, root_id, parent)
        else:
            result = stage.freeze(root_id=root_id, parent_id=parent, **given)
        if results:
            result.parent = results[-1]
        results.append(result)
    for part, end in ends:
        if 0 <= end < len(results):
            part.id = part.header_group().id if isinstance(part, chord) else results[end].id
    return results[-1] if results else None


def _ids_of_the_last(ends: Iterable[tuple[Any, int]]) -> dict[int, str]:
    """By the index of the stage: the id that a chain or chord says its last stage shall have."""
    ids: dict[int, str] = {}
    for part, end in ends:
        if part.id is not None and not (isinstance(part, chord) and part.header_group().id == part.id):
            ids.setdefault(end, part.id)
    return ids


def _frozen_group(wish: group, given: Mapping[str, Any], root_id: str | None, parent_id: str | None) -> Any:
    options = wish.options
    group_id = options["task_id"] = options.get("task_id") or given.get("_id") or new_id()
    for name, value in (*given.items(), ("root_id", root_id), ("parent_id", parent_id)):
        if value is not None and name != "_id":
            options.setdefault(name, value)
    flat = _flat(wish)
    results = []
    for index, member in enumerate(flat):
        place = {"group_id": group_id, "group_index": index}
        if isinstance(member, (chain, chord)):
            results.append(_frozen(member, place, root_id, parent_id))
        else:
            results.append(member.freeze(root_id=root_id, parent_id=parent_id, **place))
    wish["kwargs"]["tasks"] = flat
    return wish.app.GroupResult(group_id, results)


def _flat(wish: group) -> list[Any]:
    """The members, those of groups in it among them; chains without steps are left out."""
    flat: list[Any] = []
    todo = list(reversed(wish.tasks))
    while todo:
        member = as_member(todo.pop())
        if isinstance(member, group):
            todo.extend(reversed(member.tasks))
        elif not (isinstance(member, chain) and not member.tasks):
            flat.append(member)
    return flat
